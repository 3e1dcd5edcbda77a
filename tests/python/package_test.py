"""The package lava-kv: its reports against what lava-replay and lava-analyze say on the command line, its wheel, and its example.

Usage: package_test.py BUILD_FOLDER. Needs numpy and h5py; what needs pandas, xarray or torch is skipped where they are missing.
"""

import csv
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import unittest
import zipfile
from pathlib import Path

BUILD = Path(sys.argv[1]).resolve()
ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "python"
SAMPLE = ROOT / "traces/samples/stories260K.trace.h5"
MODEL = ROOT / "models/stories260K"
REPLAY, ANALYZE = BUILD / "replay/lava-replay", BUILD / "analysis/lava-analyze"
POLICIES = ["snapkv", "lava", "ada-snapkv:window=16", "snapkv@adakv", "merging", "criticalkv"]
os.environ["LAVA_BIN"] = str(BUILD)
os.environ["PYTHONPATH"] = str(PACKAGE)
sys.path.insert(0, str(PACKAGE))

import h5py  # noqa: E402
import numpy as np  # noqa: E402

import lava_kv  # noqa: E402


def missing(*modules):
    """The packages among `modules` that are not here: the reason for a skip."""
    return " and ".join(module for module in modules if importlib.util.find_spec(module) is None)


def needs(*modules):
    lacking = missing(*modules)
    return unittest.skipIf(lacking, f"{lacking} not installed")


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, (command, done.returncode, done.stderr)
    return done.stdout


def sentence(kind, call, *arguments, **options):
    """What the exception says, which is of this kind and comes of the call."""
    try:
        call(*arguments, **options)
    except kind as error:
        return error.args[0]
    raise AssertionError(f"expected {kind.__name__}, found none")


def setUpModule():
    global FOLDER, REPORT
    workspace = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(workspace.cleanup)
    FOLDER = Path(workspace.name)
    REPORT = lava_kv.replay(SAMPLE, POLICIES, [40, "128", "75%"], output=FOLDER / "report.h5")
    unittest.addModuleCleanup(REPORT.close)


class Replay(unittest.TestCase):
    def test_the_report_is_the_one_that_lava_replay_writes(self):
        words = [word for policy in POLICIES for word in ("-p", policy)]
        run(REPLAY, SAMPLE, *words, "-b", "40,128,75%", "-o", FOLDER / "same.h5")
        self.assertEqual((FOLDER / "same.h5").read_bytes(), (FOLDER / "report.h5").read_bytes())

    def test_every_option_reaches_lava_replay(self):
        with lava_kv.Trace(SAMPLE) as trace:
            report = lava_kv.replay(trace, "lava", np.int64(64), match="nominal", verify=False, rankings=False, model=MODEL,
                                    closed_loop=True, steps=3, free=True, layer_output=False, threads=1, device="cpu", program=REPLAY)
        with report, h5py.File(report.path) as file:
            self.assertEqual([policy.match for policy in report.policies], ["nominal"])
            self.assertEqual([word for word in ("deviations", "norms/layer_out_l1", "policies/0000/ranking") if word in file], [])
            self.assertEqual(file["policies/0000/closed_loop/kl"].shape, (1, 3))
            self.assertEqual(file["policies/0000/closed_loop/generated_ids"].shape, (1, 3))
            with self.assertRaisesRegex(ValueError, "/policies/0000: expected a ranking of the entries, found none"):
                report.kept_mask("lava", 64)

    def test_a_temporary_report_goes_with_its_object(self):
        report = lava_kv.replay(SAMPLE, "snapkv", 64)
        path = report.path
        self.assertTrue(os.path.exists(path))
        report.close()
        self.assertFalse(os.path.exists(os.path.dirname(path)))
        path = lava_kv.replay(SAMPLE, "snapkv", 64).path
        self.assertFalse(os.path.exists(path))

    def test_what_lava_replay_refuses_is_raised_in_its_own_words(self):
        for options, status, message in (({"policies": "nope"}, 2, "^lava-replay: unknown policy 'nope'; known: full, .*external$"),
                                         ({"policies": "snapkv", "budgets": 1}, 1, "^lava-replay: --budget: 1 leaves nothing to choose"),
                                         ({"match": "some"}, 2, "^lava-replay: --match: "),
                                         ({"trace": FOLDER / "none.h5"}, 1, r"^lava-replay: .*none\.h5: no such file$")):
            with self.subTest(options), self.assertRaisesRegex(lava_kv.ProgramError, message) as caught:
                lava_kv.replay(**{"trace": SAMPLE, **options})
            self.assertEqual(caught.exception.returncode, status)
        with self.assertRaisesRegex(TypeError, "expected whole numbers, or strings such as '20%', found 0.2"):
            lava_kv.replay(SAMPLE, "snapkv", 0.2)

    def test_empty_lists_are_refused(self):
        for policies, budgets, message in (
                ([], [80], "policies: expected at least one, or None for all that the trace can serve, found none"),
                (["snapkv"], [], "budgets: expected at least one, or None for 12 of them, found none"),
                ((), np.array([], int), "policies: expected at least one, or None for all that the trace can serve, found none")):
            self.assertEqual(sentence(ValueError, lava_kv.replay, SAMPLE, policies, budgets), message)

    def test_arguments_of_another_type_are_named(self):
        for options, message in (
                ({"trace": 7}, "trace: expected a path or a Trace, found 7"),
                ({"trace": None}, "trace: expected a path or a Trace, found None"),
                ({"program": 3}, "program: expected a path, found 3"),
                ({"output": 3}, "output: expected a path, found 3"),
                ({"model": [MODEL]}, "model: expected a path, found a list"),
                ({"policies": 7}, "policies: expected strings, found 7"),
                ({"budgets": [True]}, "budgets: expected whole numbers, or strings such as '20%', found True"),
                ({"budgets": [64, np.True_]}, "budgets: expected whole numbers, or strings such as '20%', found True"),
                ({"budgets": [[64]]}, "budgets: expected whole numbers, or strings such as '20%', found a list"),
                ({"budgets": [64, None]}, "budgets: expected whole numbers, or strings such as '20%', found None")):
            with self.subTest(options):
                self.assertEqual(sentence(TypeError, lava_kv.replay, **{"trace": SAMPLE, **options}), message)
        self.assertEqual(sentence(TypeError, lava_kv.find_program, "lava-replay", 3), "place: expected a path, found 3")

    def test_programs_are_found_where_they_are_said_to_be(self):
        script = "import lava_kv, sys; print(lava_kv.find_program('lava-analyze', *sys.argv[1:]))"

        def found(*place, **environment):
            return run(sys.executable, "-c", script, *place, env={"PYTHONPATH": str(PACKAGE), "PATH": "/usr/bin:/bin", **environment}).strip()

        for place in (BUILD, ANALYZE, ANALYZE.parent, REPLAY, REPLAY.parent):
            self.assertEqual(found(place, LAVA_BIN="/nowhere"), str(ANALYZE))
            self.assertEqual(found(LAVA_BIN=str(place)), str(ANALYZE))
        self.assertEqual(found(PATH=f"{ANALYZE.parent}:/usr/bin"), str(ANALYZE))
        with self.assertRaisesRegex(FileNotFoundError, "^/nowhere: expected lava-replay, a folder with it or a build folder, found none$"):
            lava_kv.replay(SAMPLE, program="/nowhere")
        with self.assertRaisesRegex(AssertionError, "LAVA_BIN=/nowhere: expected lava-analyze"):
            found(LAVA_BIN="/nowhere")


class Reports(unittest.TestCase):
    def test_info_and_policies_are_the_files(self):
        with h5py.File(FOLDER / "report.h5") as file:
            for index, policy in enumerate(REPORT.policies):
                group = file[f"policies/{index:04d}"]
                for name in ("policy", "name", "variant", "match", "window", "cache_heads"):
                    self.assertEqual(getattr(policy, name), group.attrs[name])
                for name in ("budgets", "nominal", "asked", "granted", "counts"):
                    np.testing.assert_array_equal(getattr(policy, name), group[name])
        self.assertEqual(REPORT.policies[0].parameters["window"], "32")
        with lava_kv.Trace(SAMPLE) as trace:
            for name in ("num_layers", "num_kv_heads", "seq_len", "spans", "prompt_texts", "eval_texts"):
                self.assertEqual(REPORT.info[name], trace.info[name], name)
            np.testing.assert_array_equal(REPORT.info["prompt_ids"], trace.info["prompt_ids"])

    def test_kept_entries_are_those_that_lava_analyze_prints(self):
        for policy, match in (("lava", "nominal"), ("lava", "retained"), ("snapkv@adakv", None), ("criticalkv", "nominal")):
            options = ["--match", match] if match else []
            said = json.loads(run(ANALYZE, "retained", REPORT.path, "-p", policy, "-b", "128", *options, "-f", "json"))
            mask = REPORT.kept_mask(policy, 128, match)
            self.assertEqual([[np.flatnonzero(head).tolist() for head in layer] for layer in mask], said["kept"])

    def test_what_is_not_there_is_named(self):
        for arguments, message in ((("nope", 128), "no policy 'nope'; there are snapkv, lava, "),
                                   (("lava", 127), "no budget 127; there are 40, 128, 338"),
                                   (("lava", 40), "expected one policy at one budget, found 2: lava, match nominal; lava, match retained"),
                                   (("lava", 40, "both"), "match: expected 'nominal' or 'retained', found 'both'")):
            with self.assertRaisesRegex(ValueError, message):
                REPORT.kept_mask(*arguments)

    def test_files_that_are_no_reports_are_refused(self):
        with self.assertRaisesRegex(ValueError, "stories260K.trace.h5: not a report: expected format lava-report, found lava-trace"):
            lava_kv.Report(SAMPLE)
        path = FOLDER / "changed.h5"
        for change, message in (
                (lambda file: file.attrs.modify("format_major", 2), r"format version: expected 1\.x, found 2\.\d; a newer version"),
                (lambda file: file["policies/0001/counts"].write_direct(np.zeros((3, 5, 4), "i8")),
                 "/policies/0001/counts: does not match its digest: the file is damaged"),
                (lambda file: file["policies/0001"].pop("counts"), "a part is missing: .*counts")):
            path.write_bytes((FOLDER / "report.h5").read_bytes())
            with h5py.File(path, "r+") as file:
                change(file)
            with self.assertRaisesRegex(ValueError, message):
                lava_kv.Report(path)


    def test_arguments_of_another_type_are_named(self):
        self.assertEqual(sentence(TypeError, lava_kv.Report, 3), "path: expected a path, found 3")
        self.assertEqual(sentence(TypeError, lava_kv.Report, REPORT), "path: expected a path, found a Report")
        self.assertEqual(sentence(TypeError, lava_kv.Report, REPORT.path, program=3), "program: expected a path, found 3")
        self.assertEqual(sentence(TypeError, REPORT.analyze, 4), "command: expected a string, found 4")

    def test_only_tables_of_a_report_are_analyzed(self):
        for command in ("--help", "--version", "columns", "plot", "score", "curves", "retained", "Table", ""):
            self.assertEqual(sentence(ValueError, REPORT.analyze, command), "analyze: expected table, layers, heads, budgets, map, bounds, "
                             f"spans, gain, summary or answers, found {command!r}")

    def test_one_is_counted_as_one(self):
        with lava_kv.replay(SAMPLE, "snapkv", 64) as report:
            self.assertRegex(repr(report), ": 5 layers x 4 KV heads, 451 tokens, 1 policy, 1 cell>$")
        self.assertRegex(repr(REPORT), r", 6 policies, \d+ cells>$")

    def test_a_closed_report_says_so(self):
        report = lava_kv.Report(REPORT.path)
        report.close()
        self.assertEqual(sentence(ValueError, report.kept_mask, "lava", 128, "nominal"), f"{REPORT.path}: the report is closed")


class Files(unittest.TestCase):
    def test_what_is_no_file_of_hdf5_is_one_sentence(self):
        text, cut = FOLDER / "text.h5", FOLDER / "cut.h5"
        text.write_text("no trace")
        whole = SAMPLE.read_bytes()
        cut.write_bytes(whole[:len(whole) // 2])
        for path, kind, message in ((FOLDER / "none.h5", FileNotFoundError, "no such file"), (text, OSError, "not an HDF5 file"),
                                    (FOLDER, OSError, "expected an HDF5 file, found a folder"),
                                    (cut, OSError, f"a truncated HDF5 file: expected {len(whole)} bytes, found {len(whole) // 2}")):
            for opened in (lava_kv.Trace, lava_kv.Report):
                self.assertEqual(sentence(kind, opened, path), f"{path}: {message}")

    def test_arguments_of_another_type_are_named(self):
        path, layer = FOLDER / "types.h5", {"k": np.ones((1, 4, 2)), "v": np.ones((1, 4, 2)), "q_window": np.ones((1, 2, 2))}
        sizes = {"num_layers": 1, "num_heads": 1, "num_kv_heads": 1, "head_dim": 2, "seq_len": 4, "window": 2}
        for call, arguments, options, message in (
                (lava_kv.Trace, (3,), {}, "path: expected a path, found 3"),
                (lava_kv.TraceWriter, (None,), sizes, "path: expected a path, found None"),
                (lava_kv.write_trace, (path, None), {}, "layers: expected a list of dictionaries, found None"),
                (lava_kv.write_trace, (path, "k"), {}, "layers: expected a list of dictionaries, found 'k'"),
                (lava_kv.write_trace, ([layer], path), {}, "path: expected a path, found a list"),
                (lava_kv.write_trace, (path, [[1]]), {}, "layer 0: expected a dictionary, found a list"),
                (lava_kv.write_trace, (path, [layer, np.ones(3)]), {}, "layer 1: expected a dictionary, found an ndarray"),
                (lava_kv.write_trace, (path, [layer]), {"weights_file": 3}, "weights_file: expected a path, found 3")):
            self.assertEqual(sentence(TypeError, call, *arguments, **options), message)
        self.assertFalse(path.exists())
        for place in (path, str(path), os.fsencode(path)):
            lava_kv.write_trace(place, (one for one in [layer]))
            with lava_kv.Trace(place) as trace:
                self.assertEqual(trace.path, str(path))

    def test_arrays_that_are_not_there_are_named(self):
        with lava_kv.Trace(SAMPLE) as trace:
            layer = trace.layers[1]
            for key in ("zz", "b_o", 3):
                self.assertEqual(sentence(KeyError, layer.__getitem__, key),
                                 f"{SAMPLE}: layer 1 has no {key!r}; it has {', '.join(layer)}")
                self.assertNotIn(key, layer)
            self.assertTrue(", ".join(layer).startswith("k, v, q_window, "))
            self.assertEqual(sentence(KeyError, trace.stored_type, "zz").partition(";")[0], f"{SAMPLE}: layer 0 has no 'zz'")
        for call in (lambda: layer["k"], lambda: "k" in layer, lambda: list(layer), lambda: len(layer), lambda: trace.logits,
                     lambda: trace.stored_type("k")):
            self.assertEqual(sentence(ValueError, call), f"{SAMPLE}: the trace is closed")

    def test_a_lost_weights_file_and_a_lost_layer_are_named(self):
        layer = {"k": np.ones((1, 4, 2)), "v": np.ones((1, 4, 2)), "q_window": np.ones((1, 2, 2)), "w_o": np.ones((3, 2))}
        path, weights = FOLDER / "linked.h5", FOLDER / "weights.h5"
        lava_kv.write_trace(path, [layer, layer], weights_file=weights)
        weights.unlink()
        with lava_kv.Trace(path) as trace:
            self.assertEqual(sentence(KeyError, trace.layers[1].__getitem__, "w_o"), f"{path}: /layers/01/w_o: links to the weights file "
                             "weights.h5, which cannot be opened or does not hold it")
        with h5py.File(path, "r+") as file:
            del file["layers/01"]
        self.assertEqual(sentence(ValueError, lava_kv.Trace, path), f"{path}: /: expected a group layers/01, found none")


@needs("pandas")
class Tables(unittest.TestCase):
    def expect_csv(self, frame, report, command, *options):
        rows = list(csv.DictReader(io.StringIO(run(ANALYZE, command, report.path, *options, "-f", "csv"))))
        self.assertEqual(frame.columns.tolist(), list(rows[0]))
        self.assertEqual(len(frame), len(rows))
        for column in frame.columns:
            for found, said in zip(frame[column].tolist(), (row[column] for row in rows)):
                if isinstance(found, str):
                    self.assertEqual(found, said)
                elif said == "":
                    self.assertNotEqual(found, found)
                else:
                    self.assertEqual(float(found), float(said), column)

    def test_tables_are_those_of_lava_analyze(self):
        self.expect_csv(REPORT.table(), REPORT, "table")
        self.expect_csv(REPORT.table("lava", [40, "75%"], "retained"), REPORT, "table", "-p", "lava", "-b", "40,75%", "--match", "retained")
        self.expect_csv(REPORT.layers(["lava", "snapkv"]), REPORT, "layers", "-p", "lava", "-p", "snapkv")
        self.expect_csv(REPORT.analyze("spans", "lava", 128, None, "--by=head"), REPORT, "spans", "-p", "lava", "-b", "128", "--by", "head")
        for command in ("heads", "budgets", "map", "bounds", "summary"):
            self.expect_csv(REPORT.analyze(command, "lava", 128), REPORT, command, "-p", "lava", "-b", "128")
        self.expect_csv(REPORT.analyze("gain", ["snapkv", "lava"]), REPORT, "gain", "-p", "snapkv", "-p", "lava")
        for option in ("--help", "--format=csv"):
            with self.assertRaises((ValueError, lava_kv.ProgramError)) as caught:
                REPORT.analyze("table", None, None, None, option)
            self.assertNotIn("Expecting value", str(caught.exception))
        with self.assertRaisesRegex(lava_kv.ProgramError, "^lava-analyze: .*: no policy 'nope'; there are snapkv, "):
            REPORT.table("nope")
        for selected in (REPORT.table, REPORT.layers, REPORT.kept):
            with self.assertRaisesRegex(ValueError, "^policies: expected at least one, or None for all, found none$"):
                selected([])
            with self.assertRaisesRegex(ValueError, "^budgets: expected at least one, or None for all, found none$"):
                selected("lava", np.array([]))
        with lava_kv.replay(SAMPLE, "lava", 64, model=MODEL, closed_loop=True, free=True) as closed:
            self.expect_csv(closed.table(), closed, "table")
            self.expect_csv(closed.analyze("answers"), closed, "answers")
            self.assertGreater(closed.table()["kl"].min(), 0)

    def test_scores_are_those_of_lava_analyze(self):
        run(BUILD / "capture/lava-prompts", "--model", MODEL, "--benchmark", "needle", "--records", ROOT / "data/pocahontas.txt",
            "--lengths", "300", "--depths", "0,100", "-o", FOLDER / "needles.jsonl")
        run(BUILD / "capture/lava-capture", "--model", MODEL, "--prompts", FOLDER / "needles.jsonl", "-o", FOLDER / "needles")
        traces = [FOLDER / f"needles/needle-300-{depth}.h5" for depth in (0, 100)]
        reports = [lava_kv.replay(trace, ["snapkv", "lava"], "50%", model=MODEL, closed_loop=True, free=True) for trace in traces]
        for options in ({}, {"by": "sample"}, {"by": "needle"}):
            frame = lava_kv.scores(reports, "lava", baseline="snapkv", **options)
            printed = run(ANALYZE, "score", *(report.path for report in reports), "-p", "lava", "--baseline", "snapkv", "-f", "json",
                          "--by", options.get("by", "run"))
            rows = json.loads(printed)
            self.assertEqual(list(frame.columns), list(rows[0]))
            self.assertEqual(frame["score"].tolist(), [row["score"] for row in rows])
        self.assertEqual(len(lava_kv.scores(reports[0].path, "lava", match="nominal")), 2)  # a needle has two metrics
        with self.assertRaisesRegex(lava_kv.ProgramError, "does not say what its answers are scored by"):
            lava_kv.scores(REPORT)
        self.assertEqual(sentence(ValueError, lava_kv.scores, []), "reports: expected at least one, found none")
        self.assertEqual(sentence(ValueError, lava_kv.scores, REPORT, by="layer"), "by: expected run, sample or needle, found 'layer'")
        for report in reports:
            report.close()

    def test_losses_and_sums_are_those_of_the_files_arrays(self):
        table = REPORT.table().set_index(["policy", "match", "budget"])
        layers = REPORT.layers().set_index(["policy", "match", "budget", "layer"]).sort_index()
        with h5py.File(REPORT.path) as file:
            for index, policy in enumerate(REPORT.policies):
                for number, budget in enumerate(policy.budgets):
                    loss, key = file[f"policies/{index:04d}/attn_out_l1"][number], (policy.policy, policy.match, budget)
                    self.assertAlmostEqual(table.loc[key, "attn_out_l1"], loss.mean(), 12)
                    self.assertAlmostEqual(table.loc[key, "attn_out_l1_relative"], loss.sum() / file["norms/attn_out_l1"][()].sum(), 12)
                    np.testing.assert_allclose(layers.loc[key]["attn_out_l1"], loss.mean(1))
                    np.testing.assert_array_equal(layers.loc[key]["retained"], policy.counts[number].sum(1))

    def test_kept_is_what_the_file_ranks_first(self):
        kept = REPORT.kept()
        with h5py.File(REPORT.path) as file:
            for index, policy in enumerate(REPORT.policies):
                group = file[f"policies/{file[f'policies/{index:04d}'].attrs.get('ranking_of', index):04d}"]
                for number, budget in enumerate(policy.budgets):
                    ranking = group["ranking"][number] if group["ranking"].ndim == 4 else group["ranking"]
                    rows = kept[(kept["policy"] == policy.policy) & (kept["match"] == policy.match) & (kept["budget"] == budget)]
                    self.assertEqual(len(rows), policy.counts[number].sum())
                    self.assertTrue((ranking[()][rows["layer"], rows["kv_head"], rows["rank"]] == rows["position"]).all())
                    self.assertTrue((rows["rank"] < policy.counts[number][rows["layer"], rows["kv_head"]]).all())
        self.assertEqual(len(REPORT.kept("lava", 128, "nominal")), REPORT.kept_mask("lava", 128, "nominal").sum())

    def test_tokens_have_their_texts_and_spans(self):
        tokens = REPORT.tokens()
        self.assertEqual("".join(tokens["text"][tokens["span"] == "ball"]), " One day, she saw a big, red ball.")
        self.assertEqual(tokens["id"].tolist(), REPORT.info["prompt_ids"].tolist())

    def test_a_part_of_a_model_has_the_models_numbers(self):
        generator = np.random.default_rng(0)
        layers = [{"k": generator.normal(size=(2, 80, 8)), "v": generator.normal(size=(2, 80, 8)), "q_window": generator.normal(size=(4, 32, 8))}
                  for _ in range(2)]
        lava_kv.write_trace(FOLDER / "part.h5", layers, layer_numbers=[7, 9], kv_head_numbers=[1, 4])
        with lava_kv.replay(FOLDER / "part.h5", ["snapkv", "snapkv@adakv"], 50) as report:
            said = report.analyze("budgets").set_index(["policy", "layer", "kv_head"])["retained"].sort_index()
            found = report.kept().groupby(["policy", "layer", "kv_head"], observed=True).size().sort_index()
            self.assertEqual(found.tolist(), said.tolist())
            self.assertEqual([tuple(key) for key in found.index], [tuple(key) for key in said.index])

    @needs("xarray")
    def test_the_dataset_has_the_files_arrays(self):
        arrays = REPORT.to_xarray(kept=True)
        cell = 0
        with h5py.File(REPORT.path) as file:
            np.testing.assert_array_equal(arrays["dense_attn_out_l1"], file["norms/attn_out_l1"])
            for index, policy in enumerate(REPORT.policies):
                group, heads = file[f"policies/{index:04d}"], policy.cache_heads
                for number, budget in enumerate(policy.budgets):
                    one = arrays.isel(cell=cell)
                    self.assertEqual((one["policy"], one["match"], one["budget"]), (policy.policy, policy.match, budget))
                    np.testing.assert_array_equal(one["counts"][:, :heads], policy.counts[number])
                    self.assertTrue((one["counts"][:, heads:] == -1).all())
                    np.testing.assert_array_equal(one["kept"].sum("position")[:, :heads], policy.counts[number])
                    losses = [name for name, array in group.items() if isinstance(array, h5py.Dataset) and array.dtype.kind == "f"]
                    self.assertLessEqual({"head_l1", "head_output_l2", "attn_out_l1"}, set(losses))
                    for name in [*losses, "bound_lava"]:
                        found = one[name].values
                        np.testing.assert_array_equal(found, group[name][number] if name in group else np.full_like(found, np.nan))
                    cell += 1
        self.assertEqual(arrays.sizes["cell"], cell)
        self.assertEqual(arrays.attrs["model_name"], "stories260K")
        with lava_kv.replay(SAMPLE, "lava", 64, model=MODEL, closed_loop=True) as closed, h5py.File(closed.path) as file:
            arrays, group = closed.to_xarray(), file["policies/0000/closed_loop"]
            for name in ("kl", "top_ids", "drift_l1"):
                np.testing.assert_array_equal(arrays[name][:1], group[name])
            np.testing.assert_array_equal(arrays["cross_entropy"][:1, :-1], group["cross_entropy"])
            self.assertTrue(np.isnan(arrays["cross_entropy"][:, -1]).all())


class Recording(unittest.TestCase):
    @unittest.skipUnless(missing("torch", "transformers"), "torch and transformers are installed")
    def test_what_is_missing_is_said(self):
        with self.assertRaisesRegex(ImportError, r"^record\(\) needs (torch|transformers), which is not installed: pip install \1$"):
            lava_kv.record(None, None, [1], FOLDER / "none.h5")

    @needs("torch", "transformers")
    def test_a_model_is_recorded_as_lava_capture_records_it(self):
        import transformers

        transformers.utils.logging.disable_progress_bar()
        model = transformers.AutoModelForCausalLM.from_pretrained(MODEL).eval()
        with lava_kv.Trace(SAMPLE) as sample:
            info = sample.info
            spans = [{"name": name, "begin": begin, "end": end} for name, begin, end in info["spans"]]
            with lava_kv.record(model, None, info["prompt_ids"], FOLDER / "recorded.h5", spans=spans, reference=info["eval_ids"],
                                window=info["window"], weights=MODEL) as trace:
                self.assertEqual(trace.info["spans"], info["spans"])
                self.assertEqual(trace.info["weights_sha256"], info["weights_sha256"])
                for key in ("k", "q_window", "attn_out"):
                    np.testing.assert_allclose(trace.layers[4][key], sample.layers[4][key], atol=2e-2)
                with lava_kv.replay(trace, "lava", 64, model=MODEL) as report:
                    self.assertEqual(report.info["spans"], info["spans"])
        for options, message in (({"prompt": "text"}, "tokenizer: expected one"), ({"chat": True}, "chat: expected a text as prompt"),
                                 ({"spans": [("a", 1)]}, "spans: expected ")):
            with self.assertRaisesRegex(ValueError, message):
                lava_kv.record(**{"model": model, "tokenizer": None, "prompt": [1, 2], "path": FOLDER / "none.h5", **options})

    @needs("torch", "transformers")
    def test_the_script_records_as_before(self):
        (FOLDER / "ids.json").write_text("[1, 5, 9, 13, 5, 9]")
        run(sys.executable, ROOT / "capture/python/lava_capture.py", MODEL, "--ids", FOLDER / "ids.json", "--continue", 2, "-o",
            FOLDER / "script.h5", env={**os.environ, "PYTHONPATH": ""})
        with lava_kv.Trace(FOLDER / "script.h5") as trace:
            self.assertEqual((trace.info["seq_len"], trace.info["generator"]), (6, "lava_capture.py"))


class Package(unittest.TestCase):
    def test_nothing_is_imported_before_it_is_needed(self):
        script = "import sys, lava_kv; print([name for name in ('pandas', 'xarray', 'torch', 'transformers') if name in sys.modules])"
        self.assertEqual(run(sys.executable, "-c", script).strip(), "[]")

    @unittest.skipUnless(missing("pandas"), "pandas is installed")
    def test_a_missing_package_is_one_sentence(self):
        for name in ("table", "layers", "kept", "tokens"):
            with self.assertRaisesRegex(ImportError, "^(kept\\(\\)|tokens\\(\\)|a table of a report) needs pandas, which is not installed"):
                getattr(REPORT, name)()

    def test_the_version_is_the_programs(self):
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        said = run(REPLAY, "--version").split()[1]
        self.assertEqual([project["version"], lava_kv.__version__], [said, said])

    def test_the_wheel_holds_the_package(self):
        sys.path.insert(0, str(PACKAGE / "backend"))
        import lava_build

        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(ROOT)
        wheel = FOLDER / lava_build.build_wheel(FOLDER)
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if name.startswith("lava_kv/")]
            self.assertEqual(names, sorted(f"lava_kv/{path.name}" for path in (PACKAGE / "lava_kv").iterdir() if path.is_file()))
            self.assertEqual(archive.read("lava_kv/trace.py"), (ROOT / "traces/python/lava_trace.py").read_bytes())
            record = archive.read("lava_kv-0.1.0.dist-info/RECORD".replace("0.1.0", lava_kv.__version__)).decode()
            self.assertEqual([line.split(",")[0] for line in record.splitlines()], archive.namelist())
        env = {**os.environ, "PYTHONPATH": str(wheel)}
        self.assertIn(".whl", run(sys.executable, "-c", "import lava_kv; print(lava_kv.__file__)", env=env))

    def test_the_example_and_the_readme_run(self):
        said = run(sys.executable, PACKAGE / "examples/tour.py", cwd=FOLDER)
        self.assertIn("4 policies, 12 cells", said)
        self.assertIn("The rest of the tour: " if missing("pandas") else "streaming-llm", said)
        readme = (PACKAGE / "README.md").read_text(encoding="utf-8")
        (FOLDER / "readme.py").write_text(re.search("```python\n(.*?)```", readme, re.DOTALL).group(1))
        self.assertIn("[", run(sys.executable, FOLDER / "readme.py", cwd=ROOT))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
