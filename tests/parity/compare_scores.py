#!/usr/bin/env python3
"""Scores made-up predictions here and by the formulas of the benchmarks on the Python packages that they are computed with, row by
row. Usage: compare_scores.py [PROGRAM [--rows N] [--seed S] [--longbench metrics.py] [--infinitebench compute_scores.py]]: with
these two, by the benchmarks' own code. Needs rouge, rouge_score, fuzzywuzzy without python-Levenshtein, and jieba."""

import argparse
import importlib.util
import json
import random
import re
import string
import subprocess
import sys
import tempfile
import types
import warnings
from collections import Counter
from pathlib import Path

warnings.filterwarnings("ignore", message="Using slow pure-python SequenceMatcher")

import jieba
from fuzzywuzzy import fuzz
from rouge import Rouge
from rouge_score import rouge_scorer

ROOT = Path(__file__).resolve().parents[2]
jieba.setLogLevel(60)

# -------------------------------------------------------------------------------------------------------------- formulas

CHINESE_PUNCTUATION = ("！？｡。＂＃＄％＆＇（）＊＋，－／：；＜＝＞＠［＼］＾＿｀｛｜｝～｟｠｢｣､、〃》「」『』【】〔〕〖〗〘〙〚〛〜〝〞〟〰〾〿"
                       "–—‘’‛“”„‟…‧﹏.")
WORDS = rouge_scorer.RougeScorer(["rouge1"], use_stemmer=True)
LINES = rouge_scorer.RougeScorer(["rougeLsum"], use_stemmer=False)


def english(text):
    kept = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(?:a|an|the)\b", " ", kept).split()


def chinese(text):
    return "".join("".join(c for c in text.lower() if c not in string.punctuation + CHINESE_PUNCTUATION).split())


def f1(said, right):
    same = (Counter(said) & Counter(right)).total()
    if same == 0:
        return 0
    precision, recall = same / len(said), same / len(right)
    return 2 * precision * recall / (precision + recall)


def rouge_l(said, right):
    try:
        return Rouge().get_scores([said], [right], avg=True)["rouge-l"]["f"]
    except (ValueError, RecursionError):
        return 0


def words(text):
    return [word for word in map(chinese, jieba.cut(text)) if word]


def classification(said, right, classes):
    named = [name for name in classes if name in said]
    for name in named:  # of a list that changes
        if name in right and name != right:
            named.remove(name)
    return 1 / len(named) if right in named else 0


def share_of_numbers(said, right):
    numbers = re.findall(r"\d+", said)
    return numbers.count(right) / len(numbers) if numbers else 0


def code(said, right):
    lines = [line for line in said.lstrip("\n").split("\n") if not re.search("`|#|//", line)]
    return fuzz.ratio(lines[0] if lines else "", right) / 100


LONGBENCH = {
    "qa_f1": lambda said, right, _: f1(english(said), english(right)),
    "qa_f1_zh": lambda said, right, _: f1(words(said), words(right)),
    "rouge-l": lambda said, right, _: rouge_l(said, right),
    "rouge_zh": lambda said, right, _: rouge_l(" ".join(jieba.cut(said)), " ".join(jieba.cut(right))),
    "classification": classification,
    "retrieval": lambda said, right, _: share_of_numbers(said, re.search(r"Paragraph (\d+)", right)[1]),
    "retrieval_zh": lambda said, right, _: share_of_numbers(said, re.search(r"段落(\d+)", right)[1]),
    "count": lambda said, right, _: share_of_numbers(said, right),
    "code_sim": lambda said, right, _: code(said, right),
}
DATASETS = {
    "hotpotqa": "qa_f1", "triviaqa": "qa_f1", "multifieldqa_zh": "qa_f1_zh", "gov_report": "rouge-l", "samsum": "rouge-l",
    "vcsum": "rouge_zh", "trec": "classification", "lsht": "classification", "passage_retrieval_en": "retrieval",
    "passage_retrieval_zh": "retrieval_zh", "passage_count": "count", "lcc": "code_sim",
}


def longbench(dataset, row):
    said = row["pred"]
    if dataset in ("trec", "triviaqa", "samsum", "lsht"):
        said = said.lstrip("\n").split("\n")[0]
    return max([0, *(LONGBENCH[DATASETS[dataset]](said, right, row["all_classes"]) for right in row["answers"])])


def ruler(dataset, row):
    said = re.sub(r"[\x00-\x1f]", "\n", row["pred"].strip()).strip().lower()
    found = [right.lower() in said for right in row["outputs"]]
    return any(found) if dataset.startswith("qa") else sum(found) / len(found)


def needle(row):
    said = row["model_response"]
    overlap = set("eat a sandwich and sit in dolores park on a sunny day".split())
    return (WORDS.score(row["needle"], said)["rouge1"].fmeasure,
            len(overlap & set(said.lower().replace(".", " ").split())) / len(overlap))


def blanked(text, characters):
    for character in characters:
        text = text.replace(character, " ")
    return text


def whole(text):
    try:
        return int(text)
    except ValueError:
        return None


def first(truth):
    return truth[0] if isinstance(truth, list) else truth


def chosen(text, prefixes, expected):
    """What comes one character after the first of `prefixes`; None where there is none of them."""
    for prefix in prefixes:
        if prefix in text:
            return text[text.index(prefix) + len(prefix) + 1:].startswith(expected) and len(text) > text.index(prefix) + len(prefix)
    return None


def code_debug(said, truth):
    said = said.strip()
    if said[:2] in (truth[1] + ".", truth[1] + ":"):
        return True
    said = re.sub(" +", " ", blanked(said, ["\n", "`", "'", '"', "-", "*", "Option", "option"]))
    return bool(chosen(said, ("answer is:", "is:", "answer:", "correct option is:"), (truth[1], truth[0])))


def longbook_choice(said, truth):
    said = said.strip()
    if said[:1] in tuple("ABCD"):
        return said[0] in truth
    if not said or said in truth:
        return bool(said)
    said = re.sub(" +", " ", blanked(said, "\n\"'.,?!{}"))
    option = chosen(said, ("answer is:", "answer:", "answer is", "option is"), tuple(truth))
    if option is None:
        option = next((word in truth for word in said.split() if word in "ABCD"), False)
    return option


def math_find(said, truth):
    number = re.search(r"\d+\.\d+|\d+", said)
    return bool(number) and (float if isinstance(first(truth), float) else whole)(number[0]) == first(truth)


def math_calc(said, truth):
    truth = truth[0] if isinstance(truth[0], list) else truth
    right = 0
    for number, expected in zip(map(int, re.findall("[0-9]+", said)), truth):
        if number != expected:
            break
        right += 1
    return right / len(truth)


INFINITEBENCH = {
    "passkey": lambda said, truth: (re.findall("[0-9]+", said) or [""])[0] == first(truth),
    "number_string": lambda said, truth: (re.findall("[0-9]+", said) or [""])[0] == first(truth),
    "kv_retrieval": lambda said, truth: truth in blanked(said, "\n:\"'.,?!{}").split(),
    "longdialogue_qa_eng": lambda said, truth: truth[0] in [w.upper() for w in blanked(said, "\n:\"'.,?!{}").split()],
    "longbook_sum_eng": lambda said, truth: max(LINES.score(one, said)["rougeLsum"].fmeasure
                                                for one in (truth if isinstance(truth, list) else [truth])),
    "longbook_choice_eng": longbook_choice,
    "longbook_qa_eng": lambda said, truth: max(f1(english(said), english(one)) for one in truth),
    "longbook_qa_chn": lambda said, truth: max(f1(chinese(said), chinese(one)) for one in truth),
    "math_find": math_find,
    "math_calc": math_calc,
    "code_run": lambda said, truth: whole((blanked(said, "\n.`'\":").split() or ["none"])[-1]) == first(truth),
    "code_debug": code_debug,
}

# ------------------------------------------------------------------------------------------------------ made-up predictions

ENGLISH = """the a an The A AN and of to in is it was for on that with as his her they one two 1 2 3 10 12.5 007 year years cities
running dogs happily generalization relational hopping falling skies dying proceed a_the the_ naïve café ß İstanbul ΣΑΣ K ½ ² Ⅷ ٣ x1
don't U.S. end. e.g. ... - -- — _ the. (the) “quoted” a,b a.the.b 'a' \u00a0 \u2028 \t \x1c \u200b \ufeff 😀 e\u0301 ١٢ traditional
conditional sensibility allowance adjustment adoption communism effective logic geology trouble troubled sized hissing fizzed filing
agreed feed plastered motoring sing happy enjoy flies tried spied sssss eed ied ying yyyy""".split(" ")
ENGLISH = [word for part in ENGLISH for word in (part.split("\n") if "\n" in part else [part])] + ["\n", "\n\n", "\r\n", " ", ""]
CHINESE = """中国 北京 大学 我们 来到 清华大学 的 了 是 在 人工智能 研究 生命 起源 杭研 大厦 小明 硕士 毕业 于 计算所 后 日本 京都 深造 南京市
长江大桥 他 说 确实 在理 龘 靐 齉 一 二 三 2023年 5.5% 3.14 AT&T C++ c# B超 T恤 卡拉OK 。 ， ！ ？ “ ” 《 》 、 … （ ） 段落 段落3 １２ ﹏ 〇 々 𠮷 é \n \r\n
\u3000 hello World 100%. a-b x_y 3-2 -5 % . .. + & 〖 〗 ー カタカナ 한국어 乒乓球 拍卖 完了 台中 正确 应该 不会 被 切开 武汉市""".split(" ")
CHINESE = [word for part in CHINESE for word in (part.split("\n") if "\n" in part else [part])] + ["\n", "\r\n", " "]
CODE = """return self.value x=1 def f(a): // # ` ``` for i in range(10): \n \n\n \t {} }; int main() if else null None foo.bar(baz) import os
class A: 'str' "s" == != += é 中 \r self self self . , ( )""".split(" ") + ["\n", "\n", " "]
CLASSES = ["Food", "Date", "Order, rank", "Date of birth", "Number", "Number of something", "Other number", "Other", "City", "a", ""]


class Maker:
    """Texts that are now and then empty, repeated, alike, long, or next to nothing."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def text(self, vocabulary, most=30, joint=" "):
        r = self.random
        size = r.choice([0, 1, 2, 3, r.randint(0, most), r.randint(0, most)])
        some = r.sample(vocabulary, min(len(vocabulary), r.choice([2, 5, 20, len(vocabulary)])))
        return (r.choice([joint, joint, "", ". ", "\n"])).join(r.choice(some) for _ in range(size))

    def like(self, text, vocabulary):
        """The text itself, a part of it, or it with something added or changed."""
        r = self.random
        begin, end = sorted(r.randint(0, len(text)) for _ in range(2))
        other = self.text(vocabulary, 8)
        return r.choice([text, text[begin:end], other + text, text + " " + other, text[:begin] + other + text[end:], text.upper(),
                         text[::-1], other, "\n" + text, text + "\n" + other])

    def pair(self, vocabulary, most=30, joint=" "):
        right = [self.text(vocabulary, most, joint) for _ in range(self.random.choice([1, 1, 2, 3]))]
        return self.like(self.random.choice(right), vocabulary), right

    def longbench(self, dataset):
        r = self.random
        classes = None
        if dataset in ("multifieldqa_zh", "vcsum"):
            said, right = self.pair(CHINESE, 60, "")
        elif dataset in ("trec", "lsht"):
            classes = r.sample(CLASSES, r.randint(1, len(CLASSES)))
            classes += r.choices(classes, k=r.choice([0, 0, 2]))
            right = [r.choice(CLASSES)]
            said = r.choice(["", "\n", "\n\n"]) + r.choice([" ", "", "\n"]).join(r.choices(CLASSES + right * 5, k=r.randint(0, 5)))
        elif dataset.startswith("passage"):
            number = r.choice(["3", "12", "007", "١٢"])
            before = {"en": "Paragraph ", "zh": "段落"}.get(dataset[-2:], "")
            right = [before + number]
            said = self.text(["3", "12", "007", "١٢", "１２", "Paragraph", "段落", "3.", "12a", "Paragraph 3", "段落12", "\n", "no"], 8)
        elif dataset == "lcc":
            said, right = self.pair(CODE, r.choice([10, 40, 200]))
            right = right[:1]
        else:
            said, right = self.pair(ENGLISH, r.choice([12, 60, 300]) if dataset != "gov_report" else r.choice([30, 120, 800]))
        return {"pred": said, "answers": right, "all_classes": classes, "length": len(said), "dataset": dataset}

    def ruler(self):
        r = self.random
        right = [r.choice(ENGLISH + ["ab cd", "x\ny", " pad "]) for _ in range(r.randint(1, 5))]
        return {"index": 0, "pred": self.text(right + ENGLISH[:20] + ["\x01", "\x1f"]), "outputs": right}

    def needle(self):
        sentence = "\nThe best thing to do in San Francisco is eat a sandwich and sit in Dolores Park on a sunny day.\n"
        return {"model_response": self.like(sentence, ENGLISH) if self.random.random() < .7 else self.text(ENGLISH), "needle": sentence}

    def infinitebench(self, task, number):
        r = self.random
        option = [r.choice(["Snowfield", "f.g", "A Walk", "B", "é tude", "parse"]), r.choice("ABCD")]
        phrases = ["answer is:", "is:", "answer:", "correct option is:", "answer is", "option is", "The", "Option", "option", " ", "  ",
                   *"ABCD", "A.", "B:", "(C)", "AB", "BCD", *option, "\n", "*", "-", '"', "'", "`", ".", "!"]
        numbers = ["0", "1", "-1", "4", "007", "4.", "4.5", "4.0", "1_0", "10", "+4", "٤", "x4", "4x", "99999999999999999999", "\n", "is",
                   ":", "`4`", "4,5", "-", "1.5.2", "−4"]
        truth, said = None, self.text(numbers, 6)
        if task in ("passkey", "number_string"):
            truth = r.choice(["4", "10", "007", "", "٤", 4])
        elif task == "kv_retrieval":
            truth = r.choice(["5e6b-7b", "ab", "a.b", ""])
            said = self.text(["5e6b-7b", "ab", "a.b", ":", '"', "{", "}", "\n", "x"], 6)
        elif task in ("longbook_choice_eng", "code_debug"):
            truth, said = option, self.text(phrases, 8)
        elif task == "longdialogue_qa_eng":
            truth = [r.choice(["ACE", "STRASSE", "ACE ROTHSTEIN", "É", "ΣΑΣ"]), "Ace"]
            said = self.text(["ace", "Ace.", "straße", "é", "σας", "Rothstein", ":", "\n", "x"], 5)
        elif task in ("longbook_qa_eng", "longbook_sum_eng"):
            said, truth = self.pair(ENGLISH, 40)
            truth = truth if task == "longbook_qa_eng" or r.random() < .3 else truth[0]
        elif task == "longbook_qa_chn":
            said, truth = self.pair(CHINESE, 20, "")
        elif task == "math_find":
            truth = r.choice([4, 10, 0, 4.5, 4.0, [4], [1.5]])
        elif task == "math_calc":
            truth = r.choice([[4, 1, 10], [[4, 1]], [0], [1, 1, 1]])
        elif task == "code_run":
            truth = r.choice([4, -1, 10, 0, [4], 4.0, "4", True])
        return {"id": number, "prediction": said, "ground_truth": truth}


# ------------------------------------------------------------------------------------------------------------- comparison

def module_of(file):
    """A benchmark's own code; what it imports beyond the formulas is not needed."""
    scores = types.SimpleNamespace(compute=lambda predictions, references, **_: {"rougeLsum": [
        (LINES.score_multi if isinstance(references[0], list) else LINES.score)(references[0], predictions[0])["rougeLsum"].fmeasure]})
    sys.modules.setdefault("evaluate", types.SimpleNamespace(load=lambda _: scores))
    sys.modules.setdefault("args", types.SimpleNamespace(parse_args=None))
    specification = importlib.util.spec_from_file_location(Path(file).stem, file)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def use_official(arguments):
    if arguments.longbench:
        official = module_of(arguments.longbench)
        names = {"rouge-l": "rouge", "code_sim": "code_sim"}
        for metric in LONGBENCH:
            function = getattr(official, names.get(metric, metric) + "_score")
            LONGBENCH[metric] = lambda said, right, classes, function=function: function(said, right, all_classes=classes)
    if arguments.infinitebench:
        official = module_of(arguments.infinitebench)

        def score(said, truth, task):
            try:
                return official.get_score_one(said, truth, task, "somebody")
            except ValueError:  # a decimal where math_find expects a whole number: nothing is scored
                return 0

        for task in INFINITEBENCH:
            INFINITEBENCH[task] = lambda said, truth, task=task: score(said, truth, task)


def scored_here(program, rows, *options):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        file.flush()
        run = subprocess.run([program, "score", "--predictions", file.name, "--by", "sample", "--format", "json", "--jieba",
                              Path(jieba.__file__).parent, *options], capture_output=True, text=True, check=False)
    if run.returncode:
        sys.exit(f"compare_scores: {run.stderr}")
    return json.loads(run.stdout)


def compare(name, rows, expected, here, column="score", tolerance=1e-9):
    differing = [(row, right, one[column]) for row, right, one in zip(rows, expected, here, strict=True)
                 if not abs(right - one[column]) <= tolerance]
    for row, right, found in differing[:3]:
        print(f"  {name}: expected {right}, found {found}: {json.dumps(row, ensure_ascii=False)[:2000]}")
    print(f"{name}: {len(rows) - len(differing)} of {len(rows)} rows agree, mean {sum(expected) / len(expected):.3f}")
    return len(differing)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", nargs="?", default=ROOT / "build/release/analysis/lava-analyze")
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longbench")
    parser.add_argument("--infinitebench")
    arguments = parser.parse_args()
    use_official(arguments)
    make = Maker(arguments.seed)
    count = range(arguments.rows)
    wrong = 0
    for dataset in DATASETS:
        rows = [make.longbench(dataset) for _ in count]
        wrong += compare(dataset, rows, [longbench(dataset, row) for row in rows], scored_here(arguments.program, rows))
    for dataset in ("niah_single_1", "qa_1"):
        rows = [make.ruler() for _ in count]
        wrong += compare(dataset, rows, [ruler(dataset, row) for row in rows],
                         scored_here(arguments.program, rows, "--dataset", dataset))
    rows = [make.needle() for _ in count]
    here, expected = scored_here(arguments.program, rows, "--dataset", "needle"), [needle(row) for row in rows]
    wrong += compare("needle_rouge_1", rows, [one for one, _ in expected], here)
    wrong += compare("needle_word_overlap", rows, [one for _, one in expected], here, "needle_word_overlap")
    for task, formula in INFINITEBENCH.items():
        rows = [make.infinitebench(task, number) for number in count]
        expected = [float(formula(row["prediction"], row["ground_truth"])) for row in rows]
        wrong += compare(task, rows, expected, scored_here(arguments.program, rows, "--dataset", task))
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
