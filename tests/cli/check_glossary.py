"""Usage: check_glossary.py SOURCE_DIR BUILD_DIR. The columns of docs/glossary.md are those that `lava-analyze columns` prints."""

import os
import subprocess
import sys

source, build = (os.path.abspath(folder) for folder in sys.argv[1:])
command = [os.path.join(build, "analysis", "lava-analyze"), "columns", "--format", "markdown"]
printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
with open(os.path.join(source, "docs", "glossary.md"), encoding="utf-8") as file:
    text = file.read()
table = text[text.index("## Columns"):text.index("## Words")].split("\n\n", 1)[1]
if table.strip() != printed.strip():
    sys.exit("docs/glossary.md: Columns: expected what `lava-analyze columns --format markdown` prints, found another table")
