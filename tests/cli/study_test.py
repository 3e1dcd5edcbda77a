"""What ./lava study and ./lava paper run, with the small model: what is scored, where a stopped run goes on, what is refused.

Usage: study_test.py BUILD_FOLDER
"""

import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

BUILD = Path(sys.argv.pop(1)).resolve()
ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models/stories260K"
STORY = "Once upon a time there was a little girl named Lily. She liked to play with her big red ball in the park. "
ABLATIONS = ["lava", "lava-uniform", "lava-nohead", "lava-pyramid", "ada-snapkv"]
sys.path.insert(0, str(ROOT / "study"))

import tables  # noqa: E402


def rows_of(path):
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def lines_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_lines(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


class Commands(unittest.TestCase):
    def setUp(self):
        self.work = Path(self.enterContext(tempfile.TemporaryDirectory()))

    def words(self, script, *options):
        return [sys.executable, "-B", str(ROOT / "study" / script), "--build", str(BUILD), *map(str, options)]

    def run_script(self, script, *options):
        return subprocess.run(self.words(script, *options), capture_output=True, text=True, cwd=self.work, check=False)

    def refused(self, status, sentence, script, *options):
        """One sentence, and nothing written."""
        before = sorted(self.work.rglob("*"))
        done = self.run_script(script, *options)
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertIn(sentence, done.stderr)
        self.assertEqual(sorted(self.work.rglob("*")), before)


class Study(Commands):
    options = ("--prompts", "mine.jsonl", "--model", MODEL, "-p", "lava", "-p", "random:seed=2", "-b", "50%,80%", "--output", "out")

    def setUp(self):
        super().setUp()
        write_lines(self.work / "mine.jsonl", [
            {"id": "ball-1", "task": "ball", "prompt": STORY * 4, "answers": ["she", "no such words"], "metric": "string_match_all",
             "max_new_tokens": 12, "stop": {"eos": True, "ids": [], "min_new_tokens": 0}},
            {"id": "long", "prompt": STORY * 40},
            {"id": "free", "prompt": STORY * 3}])

    def test_scores_what_has_answers_and_goes_on_behind_what_fails(self):
        done = self.run_script("study.py", *self.options)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([(line["id"], line["status"]) for line in lines_of(self.work / "out/index.jsonl")],
                         [("ball-1", "done"), ("long", "failed"), ("free", "done")])
        self.assertIn("mine.jsonl: line 2: the prompt's", lines_of(self.work / "out/index.jsonl")[1]["error"])
        rows = rows_of(self.work / "out/samples.csv")
        self.assertEqual(list(rows[0]), tables.COLUMNS)
        self.assertEqual({row["prompt"]: (row["policy"], row["error"][:12]) for row in rows}["long"], ("", "lava-capture"))
        self.check_scores([row for row in rows if row["prompt"] == "ball-1"])
        self.check_compared([row for row in rows if row["prompt"] == "free"])
        self.assertFalse((self.work / "out/recording").exists())
        self.assertTrue((self.work / "out/scores.csv").exists())
        self.assertIn("long is left out", done.stderr)
        self.refused(1, "expected the same budgets as this study was begun with, 50%,80%, found 70%", "study.py", *self.options[:-4], "-b",
                     "70%", "--output", "out")
        (self.work / "other").mkdir()
        (self.work / "other/file").write_text("mine")
        self.refused(1, "other: expected a new or empty folder", "study.py", *self.options[:-1], "other")

    def check_scores(self, rows):
        self.assertEqual({row["policy"] for row in rows}, {"lava", "random:seed=2"})
        self.assertEqual({(row["policy"], row["seed"]) for row in rows}, {("lava", ""), ("random:seed=2", "2")})
        for row in rows:
            self.assertEqual(row["metric"], "string_match_all")
            self.assertEqual(float(row["score"]), 0.5 if "she" in row["answer"].lower() else 0, row["answer"])
            self.assertEqual(row["same_as_dense"], "yes" if row["answer"] == row["dense_answer"] else "no")
            self.assertGreater(float(row["kl"]), 0)

    def check_compared(self, rows):
        self.assertTrue(rows)
        for row in rows:
            self.assertEqual((row["score"], row["metric"], row["error"]), ("", "", ""))
            self.assertIn(row["same_as_dense"], ("yes", "no"))
            self.assertAlmostEqual(float(row["share"]), float(row["budget"]) / float(row["seq_len"]), places=12)

    def test_goes_on_where_it_was_killed(self):
        self.assertEqual(self.run_script("study.py", *self.options[:-1], "whole").returncode, 0)
        process = subprocess.Popen(self.words("study.py", *self.options), cwd=self.work, stderr=subprocess.DEVNULL, start_new_session=True)
        first, index = self.work / "out/reports/ball-1.h5", self.work / "out/index.jsonl"
        while not index.exists() and process.poll() is None:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        written = first.stat().st_mtime_ns
        done = self.run_script("study.py", *self.options)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn("ball-1 (", done.stderr)
        self.assertEqual(first.stat().st_mtime_ns, written)
        self.assertEqual((self.work / "out/samples.csv").read_bytes(), (self.work / "whole/samples.csv").read_bytes())
        self.assertEqual((self.work / "out/scores.csv").read_bytes(), (self.work / "whole/scores.csv").read_bytes())

    def test_what_is_wrong_is_said_before_anything_runs(self):
        def refused(status, sentence, *more):
            self.refused(status, sentence, "study.py", *self.options, *more)
        refused(2, "unknown policy 'lavva'", "-p", "lavva")
        refused(1, "kvzip needs the repeat pass", "-p", "kvzip")
        refused(1, "/none: cannot be read", "-p", "headkv:file=/none")
        refused(2, "--budget: expected N, a:b:xK, P% or ratio:r, found 'much'", "-b", "much")
        refused(1, "--baseline: no policy 'snapkv'", "--baseline", "snapkv")
        refused(1, "none.jsonl: no such file", "--prompts", "none.jsonl")
        refused(1, "nowhere: no such folder", "--model", "nowhere")
        refused(1, "found no config.json", "--model", ROOT / "data")
        refused(2, "unrecognized arguments: --polices", "--polices")
        for text, sentence in (("", "expected a JSON object a line, found none"), ("[1]\n", "line 1: expected a JSON object"),
                               ('{"id": "a", "prompt": "x"}\n\n{"id": "a", "prompt": "x"}\n', "line 3: id a: bad.jsonl: line 1 has it, too"),
                               ('{"prompt": "x"}\n{"prompt": "x"}\n', "line 2: the same prompt as bad.jsonl: line 1"),
                               ('{"id": "a/b", "prompt": "x"}\n', "line 1: id: expected letters"),
                               ('{"input": "x", "context": "y"}\n', "line 1: expected prompt or ids, found neither"),
                               ('{"prompt": "x", "answers": ["y"]}\n', "line 1: expected a metric beside answers, found none"),
                               ('{"prompt": "x", "metric": "qa_f1"}\n', "line 1: expected answers beside metric, found none"),
                               ('{"prompt": "x", "answers": ["y"], "metric": "f2"}\n', "--metric: expected one of")):
            (self.work / "bad.jsonl").write_text(text)
            refused(2 if "one of" in sentence else 1, sentence, "--prompts", "bad.jsonl")


class Paper(Commands):
    def setUp(self):
        super().setUp()
        records = self.work / "records"
        question = {"input": "", "answers": ["Lily"], "length": 22, "language": "en", "all_classes": None}
        for name, texts in (("hotpotqa", ("day", "ball", "park")), ("lcc", ("day", "day"))):
            write_lines(records / f"longbench/{name}.jsonl", [{**question, "context": STORY + text, "dataset": name, "_id": text} for text in texts])
        write_lines(records / "longbench/odd.jsonl", [{"dataset": "odd"}])
        asked = "the value 51090 in the text above"
        chain = "Memorize and track the chain(s) of variable assignment hidden in the following text.\n\nVAR VHU = 51090\n"
        write_lines(records / "ruler/vt.jsonl", [
            {"index": i, "input": f"{chain}{STORY * (1 + 30 * i)}\nQuestion: Find all variables that are assigned {asked}.",
             "outputs": ["VHU"], "length": 100, "length_w_model_temp": 100,
             "answer_prefix": " Answer: According to the chain(s) of variable assignment in the text above, 1 variables are assigned "
                              "the value 51090, they are: "}
            for i in range(2)])
        self.options = ["--records", "records", "--samples", "2", "--model", MODEL, "--max-length", "300", "-b", "60%,80%", "--output", "out",
                        *(word for policy in ABLATIONS for word in ("-p", policy))]

    def test_tables_of_the_records_at_hand(self):
        done = self.run_script("paper.py", *self.options)
        self.assertEqual(done.returncode, 0, done.stderr)
        page = (self.work / "out/paper.md").read_text(encoding="utf-8")
        for title in ("## LongBench (tables 2, 6 to 8)", "## RULER (table 11)", "## Ablations (table 10)", "## Attention output loss",
                      "## Gain of lava over ada-snapkv (table 14)", "## Extraction and generation (figures 2, 4)", "Extraction: hotpotqa, vt",
                      "Generation: lcc", "- longbench-odd: lava-prompts", "- ruler-vt-line2: ruler/vt.jsonl: line 2: ",
                      "- longbench-lcc-line2: longbench/lcc.jsonl: line 2: the same prompt"):
            self.assertIn(title, page)
        self.assertNotIn("InfiniteBench", page)
        statuses = {line["id"]: line["status"] for line in lines_of(self.work / "out/index.jsonl")}
        self.assertEqual([name for name in statuses if statuses[name] == "done"],
                         ["longbench-hotpotqa-0000", "longbench-hotpotqa-0001", "longbench-lcc-0000", "ruler-vt-0000"])
        self.assertEqual({row["prompt"] for row in rows_of(self.work / "out/samples.csv") if row["error"]},
                         {name for name in statuses if statuses[name] == "failed"})
        self.check_cells(page)
        self.check_second_run(page)

    def check_second_run(self, page):
        """It makes nothing anew."""
        reports = {path: path.stat().st_mtime_ns for path in (self.work / "out/reports").iterdir()}
        self.assertEqual(self.run_script("paper.py", *self.options).returncode, 0)
        self.assertEqual({path: path.stat().st_mtime_ns for path in (self.work / "out/reports").iterdir()}, reports)
        self.assertEqual((self.work / "out/paper.md").read_text(encoding="utf-8"), page)

    def check_cells(self, page):
        """A cell of the page is what lava-analyze has for it, nominal and at equal retention."""
        rows = [row for row in rows_of(self.work / "out/tables/longbench.csv")
                if (row["task"], row["policy"], row["kept_percent"]) == ("hotpotqa", "ada-snapkv", "60")]
        nominal, retained = (f"{float(row['percent']):.2f}" for row in rows)
        self.assertEqual([row["match"] for row in rows], ["nominal", "retained"])
        cell = nominal if nominal == retained else f"{nominal} / {retained}"
        table = page.split("60 % kept:")[1].split("80 % kept:")[0]
        line = next(line for line in table.splitlines() if line.startswith("| `ada-snapkv` |"))
        self.assertEqual(line.split(" | ")[1], cell)
        self.assertIn("| policy | hotpotqa | lcc | all | vs lava |", table)

    def test_refusals(self):
        self.refused(1, "none: no such folder", "paper.py", "--model", MODEL, "--records", "none")
        self.refused(2, "argument --benchmark: invalid choice: 'glue'", "paper.py", "--model", MODEL, "--benchmark", "glue")
        self.refused(1, "expected records of infinitebench, such as", "paper.py", *self.options, "--benchmark", "infinitebench")
        self.refused(2, "--samples: expected a number of at least 1, found '0'", "paper.py", "--model", MODEL, "--samples", "0")
        self.refused(1, "leaves no room for answers; --max-length", "paper.py", "--model", MODEL)


if __name__ == "__main__":
    unittest.main()
