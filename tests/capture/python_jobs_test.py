"""The prompts of lava_capture.py over a tokenizer of words. Usage: python_jobs_test.py SOURCE_FOLDER. Needs numpy and h5py."""

import json
import os
import re
import sys
import tempfile
import unittest
from types import SimpleNamespace

for part in ("capture/python", "traces/python"):
    sys.path.insert(0, os.path.join(sys.argv[1], part))

import lava_jobs  # noqa: E402


class Words:
    """A token is a word, without the space in front of it, or a sign; 1 begins every text."""

    is_fast = True
    template = "<user> {} <end>"

    def __call__(self, text, add_special_tokens, return_offsets_mapping):
        found = list(re.finditer(r"\w+|[^\w\s]", text))
        first = [1] if add_special_tokens else []
        return {"input_ids": first + [100 + len(word.group()) for word in found],
                "offset_mapping": [(0, 0)] * len(first) + [word.span() for word in found]}

    def encode(self, text, add_special_tokens):
        return self(text, add_special_tokens, True)["input_ids"]

    def apply_chat_template(self, messages, add_generation_prompt, tokenize):
        return self.template.format(messages[0]["content"])


class Jobs(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = os.path.join(folder.name, "prompts.jsonl")

    def jobs(self, *lines):
        with open(self.file, "w", encoding="utf-8") as file:
            file.write("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
        return lava_jobs.read_jobs(SimpleNamespace(prompts=self.file))

    def prepared(self, line, tokenizer=None):
        return lava_jobs.prepare(self.jobs(line)[0], tokenizer or Words())

    def test_a_span_has_the_tokens_that_it_overlaps_with_the_space_in_front(self):
        spans = [{"name": "big", "begin": 7, "end": 10}, {"name": "space", "begin": 6, "end": 7}, {"name": "two", "begin": 5, "end": 8},
                 {"name": "all", "begin": 0, "end": 15}]
        for chat, first in ((False, 1), (True, 3)):  # of a text, 1 comes before; of the template, "<", "user" and ">"
            job = self.prepared({"prompt": "a very big ball", "spans": spans, "chat": chat})
            self.assertEqual(job.ids[first:first + 4], [101, 104, 103, 104])
            self.assertEqual(job.spans, [("big", first + 2, first + 3), ("space", first + 2, first + 3), ("two", first + 1, first + 3),
                                         ("all", first, first + 4)])

    def test_an_answer_prefix_is_tokenized_by_itself_and_a_reference_without_what_begins_a_text(self):
        job = self.prepared({"prompt": "a b", "answer_prefix": "it is", "reference": "so, yes"})
        self.assertEqual((job.ids, job.reference), ([1, 101, 101, 102, 102], [102, 101, 103]))
        self.assertEqual(job.tokenization, '{"answer_prefix":"it is","chat":false,"source":"text"}')
        job = self.prepared({"ids": [5, 6], "reference": [7], "id": "x"})
        self.assertEqual((job.id, job.ids, job.spans, job.reference), ("x", [5, 6], [], [7]))

    def test_ids_may_have_spans_in_tokens_and_what_the_answer_is_scored_by(self):
        job = self.prepared({"ids": [4, 5, 6], "spans": [{"name": "needle", "begin": 1, "end": 3}], "answers": ["7"], "task": "mine",
                             "max_new_tokens": 8, "all_classes": None})
        self.assertEqual(job.spans, [("needle", 1, 3)])
        self.assertEqual(job.tokenization, '{"answer_prefix":"","chat":false,"scoring":{"all_classes":null,"answers":["7"],'
                                           '"max_new_tokens":8,"task":"mine"},"source":"ids"}')

    def test_ids_are_the_numbers_of_the_lines(self):
        self.assertEqual([job.id for job in self.jobs({"prompt": "a"}, "", {"prompt": "b"}, {"prompt": "c", "id": 12})],
                         ["00001", "00003", "12"])

    def test_what_does_not_fit_is_named(self):
        for lines, message in (
                ((), "expected a JSON object a line, found none|is empty"),
                (["[1]"], "line 1: expected a JSON object, found array"),
                (["nothing"], "line 1: expected a JSON object, found something else"),
                ([{"prompt": "a"}, {"prompt": "a", "di": 1}], 'line 2: unknown key "di"'),
                ([{"prompt": "a", "ids": [1]}], "line 1: expected prompt or ids, found both"),
                ([{}], "line 1: expected prompt or ids, found neither"),
                ([{"ids": [1], "chat": False}], "line 1: ids and chat contradict each other"),
                ([{"ids": [1], "answers": []}], "line 1: answers: expected a list of at least one string, found \\[\\]"),
                ([{"ids": [1], "max_new_tokens": 0}], "line 1: max_new_tokens: expected a number of tokens, found 0"),
                ([{"ids": []}], "line 1: ids: expected a JSON array of token ids, found an empty one"),
                ([{"ids": [1, True]}], "line 1: ids: element 1: expected a token id, found true"),
                ([{"ids": [2 ** 31]}], "line 1: ids: element 0: expected a token id, found 2147483648"),
                ([{"prompt": 3}], "line 1: prompt: expected a string, found 3"),
                ([{"prompt": "a", "chat": 1}], "line 1: chat: expected true or false, found 1"),
                ([{"prompt": "a", "reference": ""}], "line 1: reference: expected a text or token ids, found an empty one"),
                ([{"prompt": "a", "id": "../b"}], "line 1: id: expected letters, digits"),
                ([{"prompt": "a", "id": "x"}, {"prompt": "a", "id": "x"}], "line 2: id x: line 1 has it, too"),
                ([{"prompt": "a", "spans": [{"name": "s", "begin": 0}]}], "line 1: spans: expected .*begin"),
                ([{"prompt": "a", "spans": [{"name": "s", "begin": 0, "end": 1}] * 2}], "line 1: spans: span s is given twice")):
            with self.assertRaisesRegex(ValueError, message):
                self.jobs(*lines)
        for line, message in (({"prompt": ""}, "line 1: the prompt is empty"),
                              ({"ids": [4], "spans": [{"name": "n", "begin": 0, "end": 2}]}, "span n: expected 0 <= begin < end <= 1 tokens"),
                              ({"prompt": "ab", "spans": [{"name": "s", "begin": 1, "end": 3}]}, "span s: expected 0 <= begin < end <= 2"),
                              ({"prompt": "a", "reference": " "}, "line 1: reference: expected a text, found one without tokens")):
            with self.assertRaisesRegex(ValueError, message):
                self.prepared(line)

    def test_a_template_that_changes_the_text_has_no_spans(self):
        class Upper(Words):
            def apply_chat_template(self, messages, add_generation_prompt, tokenize):
                return messages[0]["content"].upper()

        line = {"prompt": "a b", "chat": True, "spans": [{"name": "s", "begin": 0, "end": 1}]}
        with self.assertRaisesRegex(ValueError, "line 1: spans: expected a chat template that inserts the text as it is"):
            self.prepared(line, Upper())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
