"""The prompts of lava_kv.capture over a tokenizer of words, and what it refuses of a model without transformers. Usage: python_jobs_test.py
SOURCE_FOLDER. Needs numpy and h5py."""

import json
import os
import re
import sys
import tempfile
import unittest
from types import SimpleNamespace

sys.path.insert(0, os.path.join(sys.argv[1], "python"))

from lava_kv import jobs as lava_jobs  # noqa: E402
from lava_kv import model_folder as lava_model_folder  # noqa: E402


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
                (['{"ids": ' + "[" * 200_000], "line 1: JSON nested deeper than 200 levels"),
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

    def chat_spans(self, change, text, begin, end):
        class Changed(Words):
            def apply_chat_template(self, messages, add_generation_prompt, tokenize):
                return change(messages[0]["content"])

        line = {"prompt": text, "chat": True, "spans": [{"name": "s", "begin": begin, "end": end}]}
        return self.prepared(line, Changed()).spans[0][1:]

    def test_spans_of_a_chat_stand_where_the_template_puts_their_text(self):
        self.assertEqual(self.chat_spans(lambda text: f"user {text.strip()} end", "\n\n a b c\n", 5, 6), (2, 3))
        self.assertEqual(self.chat_spans(lambda text: f"user {text.strip()} end", "\n\n a b c\n", 0, 9), (1, 4))
        self.assertEqual(self.chat_spans(lambda text: text.split(".")[-1], "b c. a b", 7, 8), (1, 2))
        self.assertEqual(self.chat_spans(lambda text: f"{len(text)} 5 {text}", "a 5 b", 2, 3), (3, 4))
        self.assertEqual(self.chat_spans(str.upper, "a 41 b", 2, 4), (1, 2))

    def test_spans_of_a_text_that_the_template_changes_cuts_or_repeats_are_refused(self):
        for change, text, begin, end in ((str.upper, "a b", 0, 1), (lambda text: text.split(".")[-1], "a b. a", 0, 1),
                                         (lambda text: text + text, "a b", 0, 1), (str.strip, "\n a b", 0, 2),
                                         (lambda text: text.replace("b", "c"), "a b", 2, 3), (lambda text: "a b", "a b", 0, 1)):
            with self.assertRaisesRegex(ValueError, "line 1: span s: expected its text as it is, and once, in what the chat template"):
                self.chat_spans(change, text, begin, end)


class Models(unittest.TestCase):
    def test_ids_and_positions_are_the_models(self):
        def model(*modules):
            config = SimpleNamespace(get_text_config=lambda: SimpleNamespace(max_position_embeddings=8, vocab_size=100))
            return SimpleNamespace(get_input_embeddings=lambda: SimpleNamespace(num_embeddings=10), config=config, modules=lambda: modules)

        job = SimpleNamespace(where="p: line 2", ids=[1, 9, 3], reference=None)
        lava_model_folder.check_ids(model(), job, 5)
        with self.assertRaisesRegex(ValueError, "p: line 2: expected at most 8 tokens, the model's positions, found 9 with the steps"):
            lava_model_folder.check_ids(model(), job, 6)
        lava_model_folder.check_ids(model(SimpleNamespace(inv_freq=[1.0])), job, 6)  # a rotary embedding goes on
        job.ids[1] = 10
        with self.assertRaisesRegex(ValueError, "p: line 2: token 1: expected an id below 10, the model's vocabulary, found 10"):
            lava_model_folder.check_ids(model(), job, 0)
        job.ids, job.reference = [1], [2, 30]
        with self.assertRaisesRegex(ValueError, "reference: token 1: expected an id below 10, the model's vocabulary, found 30"):
            lava_model_folder.check_ids(model(), job, 0)

    def test_what_git_lfs_has_not_fetched_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            with open(os.path.join(folder, "config.json"), "w") as file:
                file.write("{}")
            lava_model_folder.refuse_pointers(folder)
            with open(os.path.join(folder, "tokenizer.json"), "w") as file:
                file.write("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 2104556\n")
            with self.assertRaisesRegex(ValueError, "tokenizer.json: a Git LFS pointer, not the file itself"):
                lava_model_folder.refuse_pointers(folder)

    def test_an_error_is_one_line(self):
        self.assertEqual(lava_model_folder.first_line(ImportError("\n it needs protobuf\nsee there\n")), "ImportError: it needs protobuf")
        self.assertEqual(lava_model_folder.first_line(KeyError()), "KeyError")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
