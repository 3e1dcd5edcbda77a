"""Usage: write_help.py FOLDER PROGRAM... Writes what the programs' --help says as manual pages (FOLDER/man/man1) and as
completions for bash and zsh (FOLDER/bash-completion/completions, FOLDER/zsh/site-functions)."""

import json
import os
import sys

from completions import bash_completion, policy_names, zsh_completion
from man_page import file_name, man_page
from program_help import output_of, read_program


def write(folder, name, text):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(text)


def main(folder, programs):
    read = [read_program(program) for program in programs]
    names = [whole.name for whole, _ in read]
    replay = [program for program in programs if os.path.basename(program) == "lava-replay"]
    policies = policy_names(json.loads(output_of(replay[0], "--list-policies", "--format", "json"))) if replay else []
    for whole, commands in read:
        pages = os.path.join(folder, "man", "man1")
        write(pages, file_name(whole.name), man_page(whole, [command.name for command in commands] + names))
        for command in commands:
            write(pages, file_name(command.name), man_page(command, [whole.name]))
        write(os.path.join(folder, "bash-completion", "completions"), whole.name, bash_completion(whole, commands, policies))
        write(os.path.join(folder, "zsh", "site-functions"), f"_{whole.name}", zsh_completion(whole, commands, policies))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
