#!/usr/bin/env python3
"""Compares the token ids of lava-prompts --benchmark with those that the benchmarks' own code gives a model.

Usage: compare_benchmark_prompts.py --model DIR [--model DIR ...] [--sources DIR] [--max-length N ...] [--program lava-prompts]
                                    RECORDS_FOLDER...

Every file of the folders is taken whose records are those of LongBench, RULER, InfiniteBench, LongLM's pass keys or Lost in the Middle's
keys and values; texts (.txt) are haystacks. --sources has clones of the benchmarks' repositories, by name: LongBench, InfiniteBench,
kvpress, lost-in-the-middle, Lava; a comparison whose repository is missing is passed over, and said. LongBench's prompts are what its
get_pred hands to the model: here a model that only takes its input down. Needs transformers and torch."""

import argparse
import ast
import gzip
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "build" / "release" / "capture" / "lava-prompts"
WITHOUT_CHAT = ("trec", "triviaqa", "samsum", "lsht", "lcc", "repobench-p")
RULER_KINDS = {"niah", "vt", "cwe", "fwe", "qa"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", action="append", required=True, type=Path)
    parser.add_argument("--sources", type=Path, default=Path("sources"))
    parser.add_argument("--max-length", action="append", type=int, default=[])
    parser.add_argument("--program", type=Path, default=PROGRAM)
    parser.add_argument("folders", nargs="+", type=Path)
    options = parser.parse_args()
    files = sorted(file for folder in options.folders for file in folder.rglob("*") if file.is_file())
    lengths = options.max_length or [513, 3500, 7950]
    comparison = Comparison(options.program)
    for model in options.model:
        compare_model(comparison, Official(options.sources, model), model, by_kind(files), lengths)
    comparison.finish()


class Comparison:
    def __init__(self, program):
        self.program, self.compared, self.different, self.passed_over = program, 0, [], set()

    def check(self, what, ours, theirs):
        self.compared += max(len(ours), len(theirs))
        if len(ours) != len(theirs):
            self.different.append(f"{what}: {len(ours)} prompts, expected {len(theirs)}")
        for number, (a, b) in enumerate(zip(ours, theirs)):
            if list(a) != list(b):
                at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
                self.different.append(f"{what}: prompt {number}: {len(a)} tokens, expected {len(b)}; the first difference is at {at}")

    def finish(self):
        for reason in sorted(self.passed_over):
            print(f"passed over: {reason}")
        print("\n".join(self.different[:40] + [f"{self.compared} prompts compared, {len(self.different)} differ"]))
        sys.exit(1 if self.different or not self.compared else 0)


def read_lines(file):
    opened = gzip.open if file.suffix == ".gz" else open
    with opened(file, "rt", encoding="utf-8", newline="\n") as stream:
        return [json.loads(line) for line in stream if line.strip()]


def by_kind(files):
    """The files of each benchmark, told by the keys of their first record."""
    kinds = {}
    for file in files:
        if file.suffix == ".txt":
            kinds.setdefault("needle", []).append(file)
        if ".jsonl" not in file.name:
            continue
        try:
            keys = set(read_lines(file)[0])
        except (ValueError, IndexError, AttributeError):
            continue
        for kind, needed in (("longbench", {"dataset", "context", "answers"}), ("ruler", {"input", "outputs"}), ("passkey", {"target"}),
                             ("kv-retrieval", {"ordered_kv_records"}), ("infinitebench", {"context", "options"})):
            if needed <= keys:
                kinds.setdefault(kind, []).append(file)
                break
    return kinds


def run_program(program, model, benchmark, records, *options):
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "prompts.jsonl"
        command = [program, "--model", model, "--benchmark", benchmark, "--records", *records, *options, "-o", output]
        done = subprocess.run([str(part) for part in command], text=True, capture_output=True)
        if done.returncode:
            sys.exit(f"{' '.join(map(str, command))}: {done.stderr}")
        return [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]


def compare_model(comparison, official, model, kinds, lengths):
    chats = [("--no-chat",), ("--chat",)] if official.has_chat else [()]

    def check(benchmark, files, theirs, *arguments, **keywords):
        for file in files:
            try:
                expected = theirs(file, **keywords)
            except FileNotFoundError as missing:
                comparison.passed_over.add(f"{benchmark}: {missing}")
                return
            if not expected:
                continue  # none fits the model's context
            ours = run_program(comparison.program, model, benchmark, [file], *arguments)
            comparison.check(" ".join([model.name, benchmark, file.name, *map(str, arguments)]), [line["ids"] for line in ours], expected)

    for length in lengths:
        cut = ("--max-length", length)
        for chat in [(), *chats]:
            check("longbench", kinds.get("longbench", []), official.longbench, *cut, *chat, length=length,
                  chat={"--chat": True, "--no-chat": False}.get(chat[0] if chat else None))
        check("infinitebench", kinds.get("infinitebench", []), official.infinitebench, *cut, length=length)
        for benchmark in ("longbench", "infinitebench", "ruler"):
            for chat in chats:
                check(benchmark, [file for file in kinds.get(benchmark, []) if not official.is_refused(benchmark, file)],
                      getattr(official, f"kvpress_{benchmark}"), *cut, "--variant", "kvpress", *chat, length=length, chat=chat == ("--chat",))
    ruler = [file for file in kinds.get("ruler", []) if not official.is_refused("ruler", file)]
    for chat in chats:
        check("ruler", ruler, official.ruler, *chat, chat=chat == ("--chat",))
    check("passkey", kinds.get("passkey", []), official.passkey, "--skip-longer", limit=official.context)
    for gold in (None, 0, 37):
        check("kv-retrieval", kinds.get("kv-retrieval", []), official.kv_retrieval, "--skip-longer",
              *(() if gold is None else ("--gold-index", gold)), gold=gold, limit=official.context)
    check("needle", kinds.get("needle", [])[:2], official.needle, "--lengths", "600,2500", "--depths", "0,11,50,100",
          lengths=(600, 2500), depths=(0, 11, 50, 100))


class Official:
    """The benchmarks' prompts as their own code makes them, for one tokenizer."""

    def __init__(self, sources, model):
        from transformers import AutoTokenizer

        self.sources = sources
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.has_chat = self.tokenizer.chat_template is not None
        config = model / "config.json"
        self.context = json.loads(config.read_text())["max_position_embeddings"] if config.exists() else 10 ** 9

    def source(self, repository, path):
        file = self.sources / repository / path
        if not file.exists():
            raise FileNotFoundError(f"{repository}/{path} is not among the sources")
        return file

    def module(self, repository, path, **stubs):
        """A file of a repository as a module; what it imports and does not need here is replaced."""
        file = self.source(repository, path)
        replaced = {name: stub or mock.MagicMock() for name, stub in stubs.items()}
        spec = importlib.util.spec_from_file_location(f"official_{file.stem}", file)
        module = importlib.util.module_from_spec(spec)
        with mock.patch.dict(sys.modules, replaced), mock.patch.object(sys, "path", [str(file.parent), *sys.path]):
            spec.loader.exec_module(module)
        return module

    def ids(self, text):
        return self.tokenizer(text, truncation=False).input_ids

    def in_template(self, text):
        return self.tokenizer.apply_chat_template([{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True)

    @staticmethod
    def is_refused(benchmark, file):
        """Records of RULER with a model's chat template in them are no official prompts."""
        return benchmark == "ruler" and any("start_header_id" in line["input"] or "[INST]" in line["input"] for line in read_lines(file))

    # LongBench ---------------------------------------------------------------------------------------------------------------

    def longbench(self, file, length, chat):
        """What get_pred hands to model.generate. chat: all, none, or (None) as LongBench has it."""
        pred = self.module("LongBench", "LongBench/pred.py", datasets=None, tqdm=None, llama_flash_attn_monkey_patch=None)
        prompts = json.loads(self.source("LongBench", "LongBench/config/dataset2prompt.json").read_text(encoding="utf-8"))
        pred.tqdm = lambda data: data
        pred.dist = mock.MagicMock()
        pred.torch = types.SimpleNamespace(device=lambda name: "cpu")
        template = self.in_template if self.has_chat and chat is not False else lambda text: text
        pred.build_chat = lambda tokenizer, text, model_name: template(text)
        taken = []

        def generate(input_ids, **rest):
            taken.append(input_ids[0].tolist())
            return input_ids

        pred.load_model_and_tokenizer = lambda *rest: (types.SimpleNamespace(generate=generate), self.tokenizer)
        with tempfile.NamedTemporaryFile() as output:
            for record in read_lines(file):
                # get_pred asks some data sets without the template: a name of another one makes it apply the template to all
                dataset = "chat" if chat else record["dataset"]
                pred.get_pred(0, 1, [record], length, 1, prompts[record["dataset"]], dataset, None, "", {"": ""}, output.name)
        return taken

    # RULER -------------------------------------------------------------------------------------------------------------------

    def ruler(self, file, chat):
        """scripts/data/prepare.py puts the task into the model's template and the answer prefix behind it."""
        result = []
        for record in read_lines(file):
            text, prefix = record["input"], record.get("answer_prefix", "")
            if chat and not prefix:
                cut = text.rindex(" Answer:" if " The special magic" not in text else " The special magic")
                text, prefix = text[:cut], text[cut:]
            result.append(self.ids((self.in_template(text) if chat else text) + prefix))
        return result

    # InfiniteBench -----------------------------------------------------------------------------------------------------------

    def infinitebench(self, file, length):
        utils = self.module("InfiniteBench", "src/eval_utils.py", rouge=None, jieba=None)
        runner = self.module("InfiniteBench", "src/eval_yarn_mistral.py", eval_utils=utils, yarn_mistral=None, args=None,
                             **{"yarn_mistral.modeling_mistral_yarn": None})
        runner.print = lambda *said: None
        task = file.name.split(".")[0]
        result = []
        for record in read_lines(file):
            text = utils.create_prompt(record, task, "yarn-mistral", "")
            result.append(self.ids(runner.truncate_by_tokens(text, self.tokenizer, length)))
        return result

    # kvpress -----------------------------------------------------------------------------------------------------------------

    def kvpress_preprocess(self, context, question, prefix, length, chat):
        """KVPressTextGenerationPipeline.preprocess, taken out of its file: its package needs more than is needed here."""
        tree = ast.parse(self.source("kvpress", "kvpress/pipeline.py").read_text())
        pipeline = next(node for node in tree.body if isinstance(node, ast.ClassDef))
        function = next(node for node in pipeline.body if isinstance(node, ast.FunctionDef) and node.name == "preprocess")
        names = {"logger": mock.MagicMock()}
        exec(compile(ast.Module([function], []), "pipeline.py", "exec"), names)
        tokenizer = self.tokenizer
        if not chat:
            tokenizer = types.SimpleNamespace(chat_template=None, bos_token=self.tokenizer.bos_token or "", encode=self.tokenizer.encode)
        ids = names["preprocess"](types.SimpleNamespace(tokenizer=tokenizer), context, [question], prefix, length)
        return ids["context_ids"][0].tolist() + [int(i) for i in ids["questions_ids"][0][0].tolist()]

    def kvpress_tables(self, benchmark):
        """The dictionaries of create_huggingface_dataset.py."""
        tree = ast.parse(self.source("kvpress", f"evaluation/benchmarks/{benchmark}/create_huggingface_dataset.py").read_text())
        wanted = [node for node in tree.body if isinstance(node, (ast.Assign, ast.FunctionDef)) and not _calls_features(node)]
        names = {"re": re}
        exec(compile(ast.Module(wanted, []), "create_huggingface_dataset.py", "exec"), names)
        return names

    def kvpress_longbench(self, file, length, chat):
        tables = self.kvpress_tables("longbench")
        result = []
        for record in read_lines(file):
            task, ends = record["dataset"], {"trec": "Type:", "triviaqa": "Answer:", "samsum": "Summary:"}
            given = {**record, "input": record["input"].removesuffix(ends.get(task, "\0"))}
            result.append(self.kvpress_preprocess(tables["context_prefix"][task].format(**record), tables["question_template"][task].format(**given),
                                                  tables["answer_prefix"].get(task, ""), length, chat))
        return result

    def kvpress_infinitebench(self, file, length, chat):
        tables = self.kvpress_tables("infinite_bench")
        task = file.name.split(".")[0]
        result = []
        for record in read_lines(file):
            options = dict(zip(("OPTION_A", "OPTION_B", "OPTION_C", "OPTION_D"), record["options"]))
            question = record["input"] + tables["question_template"].get(task, "").format(**options)
            given = {"context": record["context"]}
            if task == "kv_retrieval":
                question = question.replace("The value associated with the specified key is:", "")
            elif task == "code_run":
                given["func"] = re.findall(r"(func_[0-9]+)\(-?[0-9]+\)", question)[0]
            elif task == "math_find":
                given.update(input=question, prefix=f"What is {re.findall('The .+ of', question)[0].lower()[:-3]} in the following list?")
            context = tables["context_prefix"][task].format(**given)
            if task == "math_find":
                context = context.replace("You should answer with only one number, no other words. The largest number of the list is:", "")
            result.append(self.kvpress_preprocess(context, question, tables["answer_prefix"].get(task, ""), length, chat))
        return result

    def kvpress_ruler(self, file, length, chat):
        """get_dataframe's split of input at the question and the answer prefix."""
        tables = self.kvpress_tables("ruler")
        kind = file.name.split(".")[0].split("_")[0]
        result = []
        for record in read_lines(file):
            text = record["input"] + record.get("answer_prefix", "")
            question = list(tables["QUESTION_PATTERNS"][kind].finditer(text))[-1].start()
            answer = question + tables["ANSWER_PATTERNS"][kind].search(text[question:]).start()
            result.append(self.kvpress_preprocess(text[:question], text[question:answer], text[answer:], length, chat))
        return result

    # the others --------------------------------------------------------------------------------------------------------------

    def passkey(self, file, limit):
        every = [self.ids(record["input"] + "What is the pass key? The pass key is ") for record in read_lines(file)]
        return [ids for ids in every if len(ids) <= limit]

    def kv_retrieval(self, file, gold, limit):
        prompting = self.module("lost-in-the-middle", "src/lost_in_the_middle/prompting.py", pydantic=None,
                                **{"pydantic.dataclasses": None, "xopen": None})
        result = []
        for record in read_lines(file):
            pairs = record["ordered_kv_records"]
            if gold is not None:
                pairs.remove([record["key"], record["value"]])
                pairs.insert(gold, [record["key"], record["value"]])
            result.append(self.ids(prompting.get_kv_retrieval_prompt(data=pairs, key=record["key"])))
        return [ids for ids in result if len(ids) <= limit]

    def needle(self, file, lengths, depths):
        """The tester of LAVa's experiments. Its tokenizer adds no special tokens before the whole prompt: needle and haystack would have
        them in the middle of the text."""
        runner = self.module("Lava", "experiments/needle_in_haystack/run_needle_in_haystack.py", tiktoken=None, jieba=None,
                             rouge_score=None, adaptive_snapkv=None, **{"adaptive_snapkv.monkeypatch": None,
                                                                        "adaptive_snapkv.monkeypatch.monkeypatch": None})
        tester = object.__new__(runner.LLMNeedleHaystackTester)
        plain = types.SimpleNamespace(encode=lambda text: self.tokenizer.encode(text, add_special_tokens=False), decode=self.tokenizer.decode)
        stops = sorted(set(plain.encode(".")) | {plain.encode("a.")[-1]})
        defaults = dict(zip(("needle", "haystack_dir", "retrieval_question"), runner.LLMNeedleHaystackTester.__init__.__defaults__))
        provider = "Mistral" if len(stops) > 1 and 28723 in stops else "LLaMA" if len(stops) > 1 else "other"
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(file, Path(folder) / "haystack.txt")
            vars(tester).update(defaults, haystack_dir=folder, context_lengths=lengths, final_context_length_buffer=200, enc=plain,
                                model_provider=provider)
            with mock.patch("builtins.print"):
                contexts = [tester.generate_context(length, depth) for length in lengths for depth in depths]
        return [self.ids(tester.generate_prompt(context)) for context in contexts]


def _calls_features(node):
    return any(isinstance(part, ast.Name) and part.id in ("Features", "load_dataset", "Value") for part in ast.walk(node))


if __name__ == "__main__":
    main()
