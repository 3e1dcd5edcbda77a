"""The Python writer and reader against lava-trace, in both directions.

Usage: python_test.py LAVA_TRACE LAVA_REPLAY FOLDER_OF_LAVA_TRACE_PY. Needs numpy and h5py.
"""

import json
import os
import subprocess
import sys
import tempfile
import unittest

PROGRAM, REPLAY, MODULE_FOLDER = sys.argv[1:4]
sys.path.insert(0, MODULE_FOLDER)

import numpy as np  # noqa: E402
import lava_trace  # noqa: E402

SIZES = {"Hq": 6, "Hkv": 2, "d": 4, "N": 20, "W": 5, "T": 3, "D": 10, "Hq*d": 24}


def run(*arguments, expect=0, program=PROGRAM):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == expect, (arguments, done.returncode, done.stderr)
    return done.stdout if expect == 0 else done.stderr


def printed(file, dataset):
    """The numbers that `lava-trace print` shows, flat."""
    lines = run("print", file, dataset).splitlines()[1:]
    return np.array([float(word) for line in lines for word in line.split()])


def random_layer(seed, keys):
    generator = np.random.default_rng(seed)
    return {key: generator.normal(size=[SIZES[axis] for axis in lava_trace.LAYER_KEYS[key]]) for key in keys}


def attention_output(layer):
    """attn_out by definition, in double."""
    group = SIZES["Hq"] // SIZES["Hkv"]
    rows = []
    for step in range(SIZES["T"]):
        heads = []
        for head in range(SIZES["Hq"]):
            keys = np.concatenate([layer["k"][head // group], layer["k_eval"][head // group][:step + 1]])
            values = np.concatenate([layer["v"][head // group], layer["v_eval"][head // group][:step + 1]])
            weights = np.exp(keys @ layer["q_eval"][head, step] / np.sqrt(SIZES["d"]))
            heads.append(weights / weights.sum() @ values)
        rows.append(layer["w_o"] @ np.concatenate(heads) + layer["b_o"])
    return np.array(rows)


NEEDED = ["k", "v", "q_window"]
LOSSES = [*NEEDED, "w_o", "q_eval", "k_eval", "v_eval"]


class PythonTraces(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def path(self, name):
        return os.path.join(self.folder.name, name)

    def info(self, name):
        return json.loads(run("info", "--check", "--json", self.path(name)))

    def test_python_reads_the_numbers_that_lava_trace_prints(self):
        for store in lava_trace.STORES:
            file = self.path(store)
            run("synth", "-o", file, "--layers", 2, "--seq-len", 40, "--window", 8, "--head-dim", 8, "--hidden-size",
                12, "--store", store)
            with lava_trace.read_trace(file) as trace:
                self.assertEqual(trace.info["num_layers"], 2)
                self.assertEqual(trace.info["spans"], [("middle", 20, 21)])
                self.assertEqual(set(trace.layers[0]), set(lava_trace.LAYER_KEYS) - {"b_o"})
                for key in trace.layers[1] if store == "f32" else ("k", "w_o"):
                    array = trace.layers[1][key]
                    self.assertEqual(array.dtype, np.float32)
                    np.testing.assert_array_equal(array.ravel(), printed(file, f"layers/01/{key}").astype("f4"), key)

    def test_keys_values_and_window_queries_are_enough(self):
        lava_trace.write_trace(self.path("x.h5"), [random_layer(i, NEEDED) for i in range(3)])
        info = self.info("x.h5")
        self.assertEqual((info["num_layers"], info["num_heads"], info["num_kv_heads"], info["head_dim"]), (3, 6, 2, 4))
        self.assertEqual((info["seq_len"], info["window"], info["eval_len"], info["has_losses"]), (20, 5, 0, False))

    def test_losses_need_no_more_than_queries_keys_values_and_w_o(self):
        lava_trace.write_trace(self.path("x.h5"), [random_layer(i, LOSSES) for i in range(2)])
        info = self.info("x.h5")
        self.assertTrue(info["has_losses"])
        self.assertFalse(info["has_outputs"])
        self.assertEqual((info["eval_len"], info["hidden_size"]), (3, 10))
        self.assertIn("attn_out was not recorded", run("verify", self.path("x.h5"), expect=1))

    def test_what_python_recorded_verifies_in_every_store_type(self):
        for store in lava_trace.STORES:
            layers = [random_layer(i, [*LOSSES, "b_o"]) for i in range(2)]
            for layer in layers:
                layer["attn_out"] = attention_output(layer)
            lava_trace.write_trace(self.path("x.h5"), layers, store=store, weights_file=self.path("weights." + store))
            rows = json.loads(run("verify", "--json", self.path("x.h5")))["layers"]
            self.assertEqual(len(rows), 2)
            layers[1]["attn_out"][2] *= 1.2
            lava_trace.write_trace(self.path("y.h5"), layers, store=store)
            self.assertIn("does not verify: layer 1", run("verify", self.path("y.h5"), expect=1))

    def test_lava_trace_prints_what_python_wrote(self):
        layer = random_layer(0, list(lava_trace.LAYER_KEYS))
        lava_trace.write_trace(self.path("f32"), [layer])
        lava_trace.write_trace(self.path("f16"), [layer], store="f16")
        lava_trace.write_trace(self.path("bf16"), [layer], store="bf16")
        for key in ("k", "w_o", "resid_mid"):
            single = layer[key].astype("f4").ravel()
            np.testing.assert_array_equal(printed(self.path("f32"), f"layers/00/{key}").astype("f4"), single)
        single = layer["k"].astype("f4").ravel()
        np.testing.assert_array_equal(printed(self.path("f16"), "layers/00/k").astype("f2"), single.astype("f2"))
        np.testing.assert_allclose(printed(self.path("bf16"), "layers/00/k"), single, rtol=2 ** -8)
        sums = layer["observed_attention"].astype("f4").ravel()  # float32 whatever the rest is stored as
        np.testing.assert_array_equal(printed(self.path("f16"), "layers/00/observed_attention").astype("f4"), sums)

    def test_tokens_spans_and_logits_arrive(self):
        layers = [random_layer(0, LOSSES)]
        texts = ["é"] * 19 + [b"\xff"]
        logits = np.arange(21.0).reshape(3, 7)
        lava_trace.write_trace(self.path("x.h5"), layers, prompt_ids=range(20), eval_ids=[4, 5, 6], prompt_texts=texts,
                               eval_texts=["a", "", "b"], spans=[("needle", 3, 7)], logits=logits, model="mine")
        info = self.info("x.h5")
        self.assertEqual(info["spans"], [{"name": "needle", "begin": 3, "end": 7}])
        self.assertEqual((info["model"], info["vocab_size"], info["has_logits"]), ("mine", 7, True))
        np.testing.assert_array_equal(printed(self.path("x.h5"), "logits"), logits.ravel())
        with lava_trace.read_trace(self.path("x.h5")) as trace:
            self.assertIsNone(trace.info["rope_inv_freq"])
            self.assertEqual(trace.info["prompt_texts"][-2:], ["é".encode(), b"\xff"])
            self.assertEqual(trace.info["eval_texts"], [b"a", b"", b"b"])
            np.testing.assert_array_equal(trace.logits, logits)

    def test_the_rotary_embedding_and_the_query_statistics_arrive(self):
        keys = [*NEEDED, "q_pre_rope_mean", "q_pre_rope_cov", "repeat_maxima"]
        layer = random_layer(0, keys)
        lava_trace.write_trace(self.path("x.h5"), [layer], rope_inv_freq=[1.0, 0.1], rope_attention_scaling=1.5,
                               store="bf16")
        info = self.info("x.h5")
        self.assertEqual((info["rope_inv_freq"], info["rope_attention_scaling"]), ([1.0, 0.1], 1.5))
        self.assertTrue(info["has_query_statistics"] and info["has_repeat_maxima"])
        self.assertFalse(info["has_repeat_maxima_plus"])
        np.testing.assert_array_equal(printed(self.path("x.h5"), "layers/00/q_pre_rope_cov").astype("f4"),
                                      layer["q_pre_rope_cov"].astype("f4").ravel())
        with lava_trace.read_trace(self.path("x.h5")) as trace:
            np.testing.assert_array_equal(trace.info["rope_inv_freq"], [1.0, 0.1])
            self.assertEqual(trace.info["rope_attention_scaling"], 1.5)

    def test_a_part_of_a_model_is_replayed_with_its_numbers(self):
        layers = [random_layer(i, LOSSES) for i in range(2)]
        lava_trace.write_trace(self.path("x.h5"), layers, layer_numbers=[7, 9], kv_head_numbers=[1, 4],
                               layer_windows=[0, 64])
        info = self.info("x.h5")
        self.assertEqual((info["layer_numbers"], info["kv_head_numbers"]), ([7, 9], [1, 4]))
        self.assertEqual(info["layer_windows"], [0, 64])
        with lava_trace.read_trace(self.path("x.h5")) as trace:
            np.testing.assert_array_equal(trace.info["kv_head_numbers"], [1, 4])
            np.testing.assert_array_equal(trace.info["layer_windows"], [0, 64])
        said = run(self.path("x.h5"), "-p", "snapkv:window=5", "-b", "8", "-o", self.path("r.h5"), program=REPLAY)
        self.assertIn("(layers 7,9, KV heads 1,4 of the model)", said)

    def test_some_layers_with_all_heads_verify(self):
        layers = [random_layer(i, [*LOSSES, "b_o"]) for i in range(2)]
        for layer in layers:
            layer["attn_out"] = attention_output(layer)
        lava_trace.write_trace(self.path("x.h5"), layers, layer_numbers=[0, 31])
        rows = json.loads(run("verify", "--json", self.path("x.h5")))["layers"]
        self.assertEqual(len(rows), 2)
        self.assertIn("layers 0,31", run(self.path("x.h5"), "-p", "snapkv:window=5", "-b", "8", "-o",
                                         self.path("r.h5"), program=REPLAY))

    def test_bfloat16_rounds_to_nearest_even(self):
        halfway = np.array([1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -8 + 2 ** -20, -3.0], "f4")
        stored = lava_trace._to_bfloat16(halfway)
        np.testing.assert_array_equal((stored.astype("u4") << 16).view("f4"), [1, 1 + 2 ** -6, 1 + 2 ** -7, -3])

    def test_weights_are_shared_by_the_traces_of_a_model_only(self):
        layers, weights = [random_layer(0, LOSSES)], self.path("w.h5")
        for name in ("a.h5", "b.h5"):
            lava_trace.write_trace(self.path(name), layers, weights_file=weights)
            self.assertTrue(self.info(name)["has_losses"])
        other = [dict(random_layer(1, LOSSES))]
        with self.assertRaisesRegex(ValueError, "weights of another model: weights_sha256"):
            lava_trace.write_trace(self.path("c.h5"), other, weights_file=weights)
        os.rename(weights, self.path("elsewhere.h5"))
        self.assertIn("/layers/00/w_o: links to the weights file", run("info", self.path("a.h5"), expect=1))

    def test_piece_by_piece_is_the_same_trace(self):
        layers, logits = [random_layer(i, lava_trace.LAYER_KEYS) for i in range(2)], np.ones((3, 7))
        rest = {"prompt_ids": range(20), "eval_ids": [4, 5, 6], "spans": [("a", 1, 3)], "logits": logits,
                "rope_inv_freq": [1.0, 0.1], "prompt_texts": ["x"] * 20, "eval_texts": ["y"] * 3}
        lava_trace.write_trace(self.path("whole.h5"), layers, store="f16", model="mine", device="cpu", **rest)
        sizes = dict(num_layers=2, num_heads=6, num_kv_heads=2, head_dim=4, seq_len=20, window=5, eval_len=3,
                     hidden_size=10, vocab_size=7, store="f16")
        with lava_trace.TraceWriter(self.path("pieces.h5"), model="mine", device="cpu", **sizes) as writer:
            for index in (1, 0):
                writer.write(index, {key: layers[index][key] for key in NEEDED})
            for index in (0, 1):
                writer.write(index, {key: value for key, value in layers[index].items() if key not in NEEDED})
            writer.set(**rest)
        self.assertEqual({**self.info("pieces.h5"), "file": ""}, {**self.info("whole.h5"), "file": ""})
        with lava_trace.read_trace(self.path("whole.h5")) as a, lava_trace.read_trace(self.path("pieces.h5")) as b:
            for left, right in zip(a.layers, b.layers, strict=True):
                for key in lava_trace.LAYER_KEYS:
                    np.testing.assert_array_equal(left[key], right[key], key)
            self.assertEqual(a.info["prompt_texts"], b.info["prompt_texts"])

    def test_pieces_that_do_not_make_a_trace_leave_nothing_behind(self):
        sizes = dict(num_layers=2, num_heads=6, num_kv_heads=2, head_dim=4, seq_len=20, window=5)
        first, second = random_layer(0, NEEDED), random_layer(1, NEEDED)
        more = random_layer(1, ["repeat_maxima"])
        for pieces, message in (([(0, first)], "layer 1: k: missing"),
                                ([(0, first), (1, second), (1, more)], "layer 1: repeat_maxima: expected all layers"),
                                ([(0, first), (0, first)], "layer 0: k: expected it once"),
                                ([(0, {"k": first["k"][:, 1:]})], r"layer 0: k: expected \[2, 20, 4\], found \[2, 19")):
            with self.assertRaisesRegex(ValueError, message):
                with lava_trace.TraceWriter(self.path("x.h5"), **sizes) as writer:
                    for index, piece in pieces:
                        writer.write(index, piece)
            self.assertEqual(os.listdir(self.folder.name), [], message)

    def test_what_does_not_fit_is_named(self):
        good = random_layer(0, LOSSES)
        for layers, options, message in (
                (good, {}, "layers: expected a sequence of dicts, one a layer, found a single dict"),
                ([good], {"logits": np.ones((3, 7), complex)}, "logits: expected real numbers, found complex128"),
                ([good], {"rope_inv_freq": [1j]}, "rope_inv_freq: expected real numbers, found complex128"),
                ([{**good, "k": good["k"] * 1j}], {}, "layer 0: k: expected floating-point numbers, found complex128"),
                ([good], {"vocab_size": [3, 4]}, r"vocab_size: expected a whole number of at least 0, found \[3, 4"),
                ([good], {"spans": [("a", 0.5, 3)]}, "span a: expected tokens within"),
                ([good], {"vocab_size": -3}, "vocab_size: expected a whole number of at least 0, found -3"),
                ([good], {"prompt_ids": np.arange(good["k"].shape[1]) + 0.5}, "prompt_ids: expected whole numbers"),
                ([{**good, "keys": good["k"]}], {}, "layer 0: unknown key 'keys'; known are k, v, q_window, "),
                ([good, {**good, "v": good["v"][:, :19]}], {}, r"layer 1: v: expected \[2, 20, 4\], found \[2, 19"),
                ([{**good, "w_o": good["w_o"][:, :5]}], {}, r"layer 0: w_o: expected \[10, 24\], found \[10, 5\]"),
                ([{"k": good["k"], "v": good["v"]}], {}, "layer 0: q_window is missing"),
                ([good, random_layer(1, NEEDED)], {}, "layer 1: k_eval: expected all layers alike"),
                ([{**good, "k": good["k"] * 1e9}], {"store": "f16"}, "layer 0: k: expected finite numbers that fit"),
                ([], {}, "layers: expected at least one"),
                ([good], {"spans": [("x", 5, 21)]}, r"span x: expected tokens within \[0, 20\)"),
                ([good], {"eval_ids": [1]}, "eval_ids: expected 3, found 1"),
                ([good], {"rope_inv_freq": [1.0, 0.5, 0.1]}, "rope_inv_freq: expected at most head_dim / 2 = 2"),
                ([good], {"rope_attention_scaling": 0}, "rope_attention_scaling: expected a number above 0, found 0"),
                ([good], {"layer_numbers": [3, 4]}, "layer_numbers: expected 1, found 2"),
                ([good], {"kv_head_numbers": [4, 4]}, r"kv_head_numbers: expected ascending numbers, found \[4, 4\]"),
                ([good], {"layer_windows": [-1]}, "layer_windows: expected whole numbers of at least 0"),
                ([{**good, "b_o": np.ones(10)}], {"kv_head_numbers": [0, 1]}, "layer 0: b_o: is of all heads"),
                ([good], {"kv_head_numbers": [0, 1], "weights_file": self.path("w.h5")}, "weights_file: expected none"),
                ([good], {"span": []}, "unknown 'span'"),
                ([good], {"store": "int8"}, "store: expected one of f32, f16, bf16")):
            with self.assertRaisesRegex(ValueError, message):
                lava_trace.write_trace(self.path("x.h5"), layers, **options)
            self.assertEqual(os.listdir(self.folder.name), [], message)

    def change(self, store, change):
        """A trace of one layer, then `change` of its open file; its path."""
        layer = random_layer(0, NEEDED)
        lava_trace.write_trace(self.path("x.h5"), [layer], store=store)
        with lava_trace.h5py.File(self.path("x.h5"), "r+") as file:
            change(file)
        return self.path("x.h5")

    def test_other_spellings_of_attributes_mean_the_same(self):
        for change in (lambda file: file["layers/00/k"].attrs.__setitem__("dtype", np.bytes_("bfloat16")),
                       lambda file: file.attrs.__setitem__("format", np.bytes_("lava-trace")),
                       lambda file: file.attrs.__setitem__("format_major", np.array([1])),
                       lambda file: file["run"].attrs.__setitem__("seq_len", np.array([20])),
                       lambda file: file["model"].attrs.__setitem__("name", np.bytes_("mine"))):
            file = self.change("bf16", change)
            run("info", file)
            with lava_trace.read_trace(file) as trace:
                self.assertEqual(trace.info["seq_len"], 20)
                self.assertIsInstance(trace.info["seq_len"], int)
                self.assertIn(trace.info["name"], ("", "mine"))
                np.testing.assert_array_equal(trace.layers[0]["k"].ravel(), printed(file, "layers/00/k").astype("f4"))

    def test_unknown_attributes_are_read_as_they_are(self):
        def change(file):
            file["model"].attrs["rope_scaling"] = np.arange(3.0)
            file["run"].attrs["host"] = np.bytes_("node1")
            file["run"].attrs["note"] = lava_trace.h5py.Empty("f8")
            file["run"].attrs["seconds"] = 1.5

        file = self.change("f32", change)
        run("info", file)
        with lava_trace.read_trace(file) as trace:
            self.assertEqual(trace.info["rope_scaling"].tolist(), [0, 1, 2])
            self.assertEqual((trace.info["host"], trace.info["note"], trace.info["seconds"]), ("node1", None, 1.5))

    def test_what_lava_trace_refuses_is_refused_in_its_words(self):
        def replaced(values):
            def change(file):
                del file["layers/00/k"]
                file["layers/00/k"] = values
            return change

        keys = random_layer(0, NEEDED)["k"]
        not_finite = keys.astype("f4")
        not_finite[1, 2, 3] = np.inf
        types = "expected float32, float16, bfloat16 or uint16 with the attribute dtype = bfloat16, found "
        for store, change, message in (
                ("bf16", lambda file: file["layers/00/k"].attrs.__delitem__("dtype"), f"/layers/00/k: {types}uint16"),
                ("f32", replaced(keys), f"/layers/00/k: {types}float64"),
                ("f32", replaced(keys[:, :19].astype("f4")), "/layers/00/k: expected [2, 20, 4], found [2, 19, 4]"),
                ("f32", replaced(not_finite), "/layers/00/k: expected finite numbers, found infinity at [1, 2, 3]"),
                ("f32", lambda file: file["run"].attrs.__setitem__("seq_len", 20.0),
                 "/run: attribute seq_len: expected an integer, found a floating-point number"),
                ("f32", lambda file: file["run"].attrs.__setitem__("seq_len", [20, 20]),
                 "/run: attribute seq_len: expected one value, found several or none"),
                ("f32", lambda file: file["run"].attrs.__delitem__("seq_len"), "/run: attribute seq_len: missing"),
                ("f32", lambda file: file["model"].attrs.__setitem__("name", 3),
                 "/model: attribute name: expected a string, found an integer"),
                ("f32", lambda file: file["model"].attrs.__setitem__("rope_attention_scaling", "1"),
                 "/model: attribute rope_attention_scaling: expected a number, found a string")):
            file = self.change(store, change)
            self.assertIn(message, run("info", "--check", file, expect=1))
            with self.assertRaises(ValueError) as caught:
                with lava_trace.read_trace(file) as trace:
                    trace.layers[0]["k"]
            self.assertEqual(str(caught.exception), f"{file}: {message}")

    def test_complex_numbers_are_refused_rather_than_halved(self):
        keys = random_layer(0, NEEDED)["k"]

        def change(file):
            del file["layers/00/k"]
            file["layers/00/k"] = keys.astype("c8")

        file = self.change("f32", change)
        run("info", file, expect=1)
        with lava_trace.read_trace(file) as trace, self.assertRaisesRegex(ValueError, "expected float32.* complex64"):
            trace.layers[0]["k"]

    def test_a_bfloat16_type_of_hdf5_itself_is_read(self):
        h5py = lava_trace.h5py
        keys = lava_trace._to_bfloat16(random_layer(0, NEEDED)["k"].astype("f4")).astype("u4") << 16

        def change(file):
            del file["layers/00/k"]
            kind = h5py.h5t.IEEE_F32LE.copy()
            kind.set_fields(15, 7, 8, 0, 7)
            kind.set_size(2)
            kind.set_ebias(127)
            dataset = h5py.h5d.create(file["layers/00"].id, b"k", kind, h5py.h5s.create_simple(keys.shape))
            dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, keys.view("f4"), mtype=h5py.h5t.NATIVE_FLOAT)

        with lava_trace.read_trace(self.change("f32", change)) as trace:
            np.testing.assert_array_equal(trace.layers[0]["k"], keys.view("f4"))

    def test_where_attention_outputs_were_taken_is_said(self):
        layer = random_layer(0, [*LOSSES, "b_o"])
        layer["attn_out"] = attention_output(layer)
        place = "before the post-attention norm"
        for at in (place, ""):
            lava_trace.write_trace(self.path("x.h5"), [layer], attn_out_at=at)
            self.assertEqual(self.info("x.h5")["attn_out_at"], at)
            with lava_trace.read_trace(self.path("x.h5")) as trace:
                self.assertEqual(trace.info["attn_out_at"], at)
            said = run("info", self.path("x.h5"))
            self.assertIn(f"attention outputs: yes{f' ({at})' if at else ''}, ", said)
            said = run(self.path("x.h5"), "-p", "snapkv:window=5", "-b", "8", "-o", self.path("r.h5"), program=REPLAY)
            self.assertEqual(f"attention outputs {place}" in said, bool(at))
            with lava_trace.h5py.File(self.path("r.h5")) as report:
                self.assertEqual(report["trace"].attrs.get("attn_out_at", ""), at)

    def test_the_token_that_the_prompt_leads_to_arrives(self):
        for given in (None, 6):
            lava_trace.write_trace(self.path("x.h5"), [random_layer(0, NEEDED)], next_id=given)
            self.info("x.h5")
            with lava_trace.read_trace(self.path("x.h5")) as trace:
                self.assertEqual(trace.info["next_id"], given)

    def test_a_newer_major_version_is_refused(self):
        lava_trace.write_trace(self.path("x.h5"), [random_layer(0, NEEDED)])
        with lava_trace.h5py.File(self.path("x.h5"), "r+") as file:
            file.attrs["format_major"] = 2
        with self.assertRaisesRegex(ValueError, "format version 2.3 is newer than 1.3"):
            lava_trace.read_trace(self.path("x.h5"))
        self.assertIn("format version 2.3 is newer than 1.3", run("info", self.path("x.h5"), expect=1))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
