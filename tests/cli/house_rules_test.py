"""Usage: house_rules_test.py SOURCE_DIR BUILD_DIR. Each check of the house rules refuses a small sample that breaks its rule, and
names the place."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

source, build = (os.path.abspath(folder) for folder in sys.argv[1:3])
checks = os.path.join(source, "tests", "cli")


def run(*command):
    result = subprocess.run(command, capture_output=True, text=True)
    return result.returncode, result.stdout + result.stderr


class Sample(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def write(self, path, text):
        path = os.path.join(self.folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def refuses(self, place, *command):
        status, said = run(*command)
        if status == 77:
            self.skipTest(said.strip())
        self.assertNotEqual(status, 0, said)
        self.assertIn(place, said)

    def edited_docs(self, page, old, new):
        """The repository with another page: links to all that is there but docs/, which is a copy."""
        for name in os.listdir(source):
            if name not in ("docs", "build", ".git"):
                os.symlink(os.path.join(source, name), os.path.join(self.folder, name))
        shutil.copytree(os.path.join(source, "docs"), os.path.join(self.folder, "docs"))
        with open(os.path.join(self.folder, page), encoding="utf-8") as file:
            text = file.read()
        self.assertIn(old, text)
        self.write(page, text.replace(old, new, 1))


class Includes(Sample):
    def check(self):
        return sys.executable, os.path.join(checks, "check_includes.py"), self.folder

    def test_an_include_upwards(self):
        self.write("replay/plan.h", "")
        self.write("base/error.cpp", '#include "replay/plan.h"\n')
        self.refuses("base/error.cpp", *self.check())

    def test_headers_in_a_circle(self):
        self.write("base/a.h", '#include "base/b.h"\n')
        self.write("base/b.h", '#include "base/a.h"\n')
        self.refuses("base/a.h -> base/b.h -> base/a.h", *self.check())

    def test_a_link_upwards(self):
        self.write("replay/CMakeLists.txt", "add_library(lava_replay STATIC plan.cpp)\n")
        self.write("traces/CMakeLists.txt", "add_library(lava_trace STATIC trace.cpp)\n"
                                            "target_link_libraries(lava_trace\n    PUBLIC lava_replay)\n")
        self.refuses("traces/CMakeLists.txt", *self.check())

    def test_what_is_allowed_passes(self):
        self.write("base/error.h", "")
        self.write("traces/trace.cpp", '#include "base/error.h"\n')
        self.assertEqual(run(*self.check()), (0, ""))


class Format(Sample):
    def test_another_format(self):
        shutil.copy(os.path.join(source, ".clang-format"), self.folder)
        for folder in "analysis base bench capture compute docs gui model replay tests traces".split():
            os.mkdir(os.path.join(self.folder, folder))
        self.write("compute/sample.cpp", "int  main( ){return 0;}\n")
        self.refuses("compute/sample.cpp", os.path.join(checks, "check_format.sh"), self.folder)


class Tidy(Sample):
    def check(self, text):
        shutil.copy(os.path.join(source, ".clang-tidy"), self.folder)
        sample = self.write("base/sample.cpp", text)
        command = {"directory": self.folder, "file": sample, "command": f"c++ -std=c++20 -c {sample}"}
        self.write("build/compile_commands.json", json.dumps([command]))
        return sys.executable, os.path.join(checks, "check_tidy.py"), self.folder, os.path.join(self.folder, "build"), sample

    def test_a_long_body_without_braces(self):
        self.refuses("readability-braces-around-statements", *self.check(
            "int sum(int n)\n{\n    int s = 0;\n    for (int i = 0; i < n; ++i)\n        if (i != 1)\n            if (i != 2)\n"
            "                if (i != 3)\n                    s += i;\n    return s;\n}\n"))

    def test_a_value_used_after_it_was_moved(self):
        self.refuses("bugprone-use-after-move", *self.check(
            "#include <string>\n#include <utility>\nvoid take(std::string text);\nstd::size_t f(std::string text)\n{\n"
            "    take(std::move(text));\n    return text.size();\n}\n"))


class Pages(Sample):
    def test_a_link_that_leads_nowhere(self):
        self.edited_docs("docs/method.md", "\n", "\n[a page](no-such-page.md)\n")
        self.refuses("no-such-page.md", sys.executable, os.path.join(checks, "check_docs.py"), self.folder, build)

    def test_a_column_that_the_glossary_lacks(self):
        with open(os.path.join(source, "docs", "glossary.md"), encoding="utf-8") as file:
            row = next(line for line in file if line.startswith("| `"))
        self.edited_docs("docs/glossary.md", row, "")
        self.refuses("docs/glossary.md", sys.executable, os.path.join(checks, "check_glossary.py"), self.folder, build)

    def test_a_command_that_prints_something_else(self):
        page = self.write("page.md", "```sh\necho one\n```\n```\ntwo\n```\n")
        blocks = os.path.join(checks, "page_blocks.py")
        run(sys.executable, blocks, "split", page, self.folder)
        _, printed = run("bash", os.path.join(self.folder, "commands.sh"))
        self.refuses("two", sys.executable, blocks, "compare", page, self.write("printed.txt", printed))


unittest.main(argv=sys.argv[:1])
