"""The forms of the paper's tables and figures, laid out from what lava-analyze says of a study's reports."""

from __future__ import annotations

import csv
import io

from programs import Failure
from samples import say, write_whole
from tables import draw

TITLES = {"longbench": "LongBench (tables 2, 6 to 8)", "needle": "Needle in a haystack (table 9)", "ruler": "RULER (table 11)",
          "infinitebench": "InfiniteBench (tables 12, 13)", "passkey": "Pass keys", "kv-retrieval": "Keys and values"}
VARIANTS = ["lava-uniform", "lava-nohead", "lava-pyramid"]  # of lava: equal layers, equal heads, a pyramid of layers
GENERATION = {"gov_report", "qmsum", "multi_news", "vcsum", "samsum", "lcc", "repobench-p", "longbook_sum_eng"}
WAYS = [("--match", "nominal"), ("--match", "retained")]
NEITHER = {"math_find", "math_calc", "code_run", "code_debug"}  # of InfiniteBench: computed, neither found nor written


class Table:
    """Rows of lava-analyze, as texts; `file` below the study's folder holds them."""

    def __init__(self, file, rows, notes):
        self.file, self.rows, self.notes = file, rows, notes


class Page:
    """paper.md, with tables/ and charts/ beside it."""

    def __init__(self, programs, folder, prompts, baseline):
        self.programs, self.folder, self.baseline = programs, folder, baseline
        self.prompts = [prompt for prompt in prompts if folder.is_done(prompt)]
        (folder.path / "tables").mkdir(exist_ok=True)

    def reports(self, prompts):
        return [self.folder.report(prompt) for prompt in prompts]

    def of(self, benchmark):
        return [prompt for prompt in self.prompts if prompt.values["benchmark"] == benchmark]

    def benchmarks(self):
        return [name for name in TITLES if self.of(name)]

    def table(self, name, command, prompts, *options, ways=WAYS):
        """Nominal and at equal retention; also written as tables/NAME.csv. None where lava-analyze cannot make it, which is said."""
        if not prompts:
            return None
        rows, notes, text = [], [], ""
        for way in ways:
            try:
                run = self.programs.run("lava-analyze", command, *self.reports(prompts), *options, *way, "--format", "csv")
            except Failure as failure:
                say(f"no table {name}: {failure}")
                return None
            rows += csv.DictReader(io.StringIO(run.out, newline=""))
            notes += [note for note in run.notes if note not in notes]
            text += run.out.partition("\n")[2] if text else run.out
        write_whole(self.folder.path / "tables" / f"{name}.csv", text)
        rows.sort(key=lambda row: float(row["kept_percent"]))  # stable: else in lava-analyze's order
        return Table(f"tables/{name}.csv", rows, notes)

    def text(self, command):
        parts = [self.head(command)]
        parts += [self.scores(benchmark) for benchmark in self.benchmarks()]
        parts += [self.ablations(), self.losses(), self.gains(), self.kinds(), self.left_out()]
        return "\n".join(part for part in parts if part)

    def head(self, command):
        lines = [self.folder.index[prompt.id] for prompt in self.prompts]
        seconds = sum(line["record_seconds"] + line["replay_seconds"] for line in lines)
        counts = ", ".join(f"{name} {len(self.of(name))}" for name in self.benchmarks())
        return (f"# The paper's tables, in kind\n\n```\n{command}\n```\n\n"
                f"Model: {self.folder.settings['model'].rsplit('/', 1)[-1]}. Prompts: {counts}. Recording and replaying took "
                f"{seconds:.0f} s in all, at most {max((line['peak_mb'] for line in lines), default=0)} MB at once. A cell `a / b` is a policy "
                "at the share that its rule was given (nominal) and at equal retention, `a` where both come out the same. Shares are of "
                "the prompt's cache entries. Intervals are 95 % bootstrap intervals over samples; of few samples they are too narrow, and "
                "of one there is none. Every number is lava-analyze's; the files named hold all of its columns.\n")

    def scores(self, benchmark):
        prompts = self.of(benchmark)
        table = self.table(benchmark, "score", prompts, "--baseline", self.baseline)
        if table is None:
            return ""
        lines = [f"## {TITLES[benchmark]}\n", f"Scores in percent, {table.file}; `vs {self.baseline}`: mean paired difference in points, its "
                 "interval, and prompts won, tied and lost (figure 5).\n", *(f"Note: {note}.\n" for note in table.notes)]
        if benchmark == "needle" and self.table("needle-grid", "score", prompts, "--by", "needle"):
            lines.append("Every length and depth: tables/needle-grid.csv.\n")
        charts = self.folder.path / "charts" / benchmark
        if len(prompts) > 1 and draw(self.programs, self.reports(prompts), charts, "--baseline", self.baseline):
            lines.append(f"Charts: charts/{benchmark}/.\n")
        for share in distinct(table.rows, "kept_percent"):
            lines += [f"{share} % kept:\n", scores_at([row for row in table.rows if row["kept_percent"] == share], self.baseline)]
        return "\n".join(lines)

    def has(self, *policies):
        return all(policy in self.policies() for policy in policies)

    def policies(self):
        if not hasattr(self, "known"):
            table = self.table("attention-loss", "summary", self.prompts, "--baseline", self.baseline)
            self.loss_table, self.known = table, set(distinct(table.rows, "policy")) if table else set()
        return self.known

    def ablations(self):
        """Table 10, of every benchmark."""
        if not self.has("lava", *VARIANTS):
            return ""
        words = [word for policy in ("lava", *VARIANTS) for word in ("-p", policy)]
        tables = [(name, self.table(f"ablation-{name}", "score", self.of(name), *words, "--baseline", "lava")) for name in self.benchmarks()]
        lines = ["## Ablations (table 10)\n", "What lava scores less without its division over layers (`lava-uniform`), over heads "
                 "(`lava-nohead`), and with a pyramid of layers instead (`lava-pyramid`): difference to lava in points, its interval, prompts "
                 "won, tied and lost. tables/ablation-BENCHMARK.csv.\n"]
        for name, table in tables:
            if table:
                rows = [row for row in totals(table.rows) if row["policy"] in VARIANTS]
                lines += [f"{TITLES[name].split(' (')[0]}:\n", beside(rows, "policy", "kept_percent", compared)]
        return "\n".join(lines)

    def losses(self):
        if not self.prompts or not self.policies():
            return ""
        return "\n".join(["## Attention output loss\n", "Mean relative L1 loss of the attention output (attn_out_l1_relative) over all prompts, "
                          f"by share kept, {self.loss_table.file}.\n",
                          beside(self.loss_table.rows, "policy", "kept_percent", lambda row: short(row["attn_out_l1_relative"]))])

    def gains(self):
        """Table 14: first and last layer."""
        if not self.has("ada-snapkv", "lava"):
            return ""
        table = self.table("gain", "gain", self.prompts, "-p", "ada-snapkv", "-p", "lava", ways=[()])
        if table is None:
            return ""
        rows = [{**row, "place": f"layer {row['layer']}"} for row in table.rows]
        return "\n".join(["## Gain of lava over ada-snapkv (table 14)\n", "1 - loss of lava / loss of ada-snapkv, of the attention output "
                          f"in L1, first and last layer, by share kept, {table.file}.\n",
                          beside(rows, "place", "kept_percent", lambda row: short(row["gain"]))])

    def kinds(self):
        """Figures 2 and 4."""
        if not self.has("lava", "lava-uniform", "lava-nohead"):
            return ""
        groups = {"extraction": [], "generation": []}
        for prompt in self.prompts:
            if prompt.task not in NEITHER:
                groups["generation" if prompt.task in GENERATION else "extraction"].append(prompt)
        lines = ["## Extraction and generation (figures 2, 4)\n", "What lava scores more than the same without its division over layers "
                 "(`lava-uniform`) or over heads (`lava-nohead`), by share kept: difference in points, its interval, prompts won, tied and "
                 "lost.\n"]
        for kind, prompts in groups.items():
            tasks = ", ".join(dict.fromkeys(prompt.task for prompt in prompts)) or "no records at hand"
            lines.append(f"{kind.capitalize()}: {tasks}.\n")
            rows = []
            for part, base in (("layer budgets", "lava-uniform"), ("head budgets", "lava-nohead")):
                table = self.table(f"{kind}-{part.split()[0]}s", "score", prompts, "-p", "lava", "-p", base, "--baseline", base)
                rows += [{**row, "gain of": f"{part}, {row['benchmark']}"} for row in (totals(table.rows) if table else [])
                         if row["policy"] == "lava"]
            if rows:
                lines.append(beside(rows, "gain of", "kept_percent", compared))
        return "\n".join(lines)

    def left_out(self):
        lines = [f"- {line['id']}: {line['error']}" for line in self.folder.index.values() if line["status"] == "failed"]
        return "\n".join(["## Left out\n", *lines, ""]) if lines else ""


def distinct(rows, column):
    return list(dict.fromkeys(row[column] for row in rows))


def totals(rows):
    """Of each benchmark the rows of all tasks, or of its only one."""
    whole = {row["benchmark"] for row in rows if row["task"] == "all"}
    return [row for row in rows if row["task"] == "all" or row["benchmark"] not in whole]


def short(number):
    return f"{float(number):.4g}" if number else ""


def points(number):
    return f"{100 * float(number):+.1f}"


def compared(row):
    """Difference to the baseline, its interval, prompts won, tied and lost."""
    if not row["score_difference"]:
        return ""
    interval = f" [{points(row['score_difference_low'])}, {points(row['score_difference_high'])}]" if row["score_difference_low"] else ""
    return f"{points(row['score_difference'])}{interval} ({row['won']}-{row['tied']}-{row['lost']})"


def two_ways(rows, value):
    """Nominal and at equal retention, as one text."""
    texts = {row["match"]: value(row) for row in rows}
    nominal, retained = (texts.get("both", texts.get(way, "")) for way in ("nominal", "retained"))
    return nominal if nominal == retained else f"{nominal or '-'} / {retained or '-'}"


def markdown(head, lines):
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *lines)) + "\n"


def beside(rows, down, across, value):
    """A table of `value`, nominal / at equal retention."""
    columns = distinct(rows, across)
    lines = [[f"`{name}`" if down == "policy" else name,
              *(two_ways([row for row in rows if row[down] == name and row[across] == column], value) for column in columns)]
             for name in distinct(rows, down)]
    return markdown([down, *(f"{column} %" if across == "kept_percent" else column for column in columns)], lines)


def scores_at(rows, baseline):
    """Policies against tasks at one share, below them the whole cache."""
    tasks = list(dict.fromkeys((row["task"], row["metric"]) for row in rows))
    names = [task if [t for t, _ in tasks].count(task) == 1 else f"{task} ({metric})" for task, metric in tasks]
    whole = totals(rows)
    lines = []
    for policy in distinct(rows, "policy"):
        own = [row for row in rows if row["policy"] == policy]
        of_tasks = [two_ways([row for row in own if (row["task"], row["metric"]) == task], lambda row: f"{float(row['percent']):.2f}")
                    for task in tasks]
        first = [row for row in whole if row["policy"] == policy and row["metric"] == whole[0]["metric"]]
        lines.append([f"`{policy}`", *of_tasks, two_ways(first, compared)])
    dense = {(row["task"], row["metric"]): f"{100 * float(row['dense_score']):.2f}" for row in rows}
    lines.append(["whole cache", *(dense[task] for task in tasks), ""])
    return markdown(["policy", *names, f"vs {baseline}"], lines)
