"""Completions for bash and zsh from what --help says."""

import re
import shlex

BASH = """# Completes {name}, from its --help
_{function}()
{{
    local line=${{COMP_LINE:0:COMP_POINT}} word last="" command="" given
    read -ra given <<<"$line"
    word=${{line##*[[:space:]]}}
    [[ -n $word ]] || given+=("")
    ((${{#given[@]}} > 2)) && last=${{given[-2]}}
    [[ $word == --*=* ]] && last=${{word%%=*}} word=${{word#*=}}
{commands}    local words="" kind=""
    case $command:$last in
{values}    *) kind=words words={others} ;;
    esac
    [[ $word == -* && $kind != value ]] && case $command in
{options}    esac
    local IFS=$'\\n'
    case $kind in
    folders) COMPREPLY=($(compgen -d -- "$word")) && compopt -o filenames ;;
    files) COMPREPLY=($(compgen -f -- "$word")) && compopt -o filenames ;;
    words | value)
        IFS=$' \\n'
        COMPREPLY=($(compgen -W "$words" -- "$word"))
        [[ $kind == words && -z $words ]] && {{ IFS=$'\\n'; COMPREPLY=($(compgen -f -- "$word")) && compopt -o filenames; }}
        ;;
    esac
    # Bash replaces only what stands behind the last of its word breaks, which are in policies' names
    local before=${{word%"${{word##*[$COMP_WORDBREAKS]}}"}} at
    for at in "${{!COMPREPLY[@]}}"; do COMPREPLY[at]=${{COMPREPLY[at]#"$before"}}; done
}}
complete -F _{function} {name}
"""


def policy_names(policies):
    """Names and variants of what lava-replay --list-policies --format json prints"""
    return [name for policy in policies for name in [policy["name"]] + [f"{policy['name']}@{v['name']}" for v in policy["variants"]]]


def kind_of(option, policies, words):
    """What an option's value completes to: (kind, words)"""
    if option.choices:
        return "value", option.choices
    if "--policy" in option.names or option.names[-1] == "--baseline":
        return "value", policies
    if option.names[-1] in words:
        return "value", words[option.names[-1]]
    if re.match(r"(DIR|FOLDER)\b", option.value):
        return "folders", []
    if re.match(r"(FILE|PATH|TRACE)\b", option.value):
        return "files", []
    # a value in brackets, as of --free, is no word of its own
    return ("value", []) if option.value and not option.value.startswith("[") else ("", [])


def words_named(help):
    """Words that the help lists for an option: its section is the option's name in the plural, as Tasks: of --task"""
    found = {}
    for section in help.sections:
        words = [item.names[0] for item in section.items if not isinstance(item, str) and not item.is_option]
        if words and " " not in section.title:
            found["--" + section.title.lower().removesuffix("s")] = words
    return found


def quoted_words(words):
    return shlex.quote(" ".join(words))


def bash_completion(whole, commands, policies):
    parts = [("", whole)] + [(command.name.split()[-1], command) for command in commands]
    values, options = "", ""
    for name, help in parts:
        for option in help.options():
            kind, words = kind_of(option, policies, words_named(help))
            if kind:
                pattern = " | ".join(f"{name}:{spelling}" for spelling in option.names)
                values += f"    {pattern}) kind={kind} words={quoted_words(words)} ;;\n"
        spellings = [option.names[-1] for option in help.options()]
        options += f"    '{name}') kind=value words={quoted_words(spellings)} ;;\n".replace("''", '""')
    names = [entry.names[0] for entry in whole.commands()]
    finding, others = "", "''"
    if names:
        finding = f"    ((${{#given[@]}} > 2)) && [[ \" {' '.join(names)} \" == *\" ${{given[1]}} \"* ]] && command=${{given[1]}}\n"
        others = f"$([[ -n $command ]] || echo {' '.join(names)})"
    return BASH.format(name=whole.name, function=whole.name.replace("-", "_"), commands=finding, values=values, options=options,
                       others=others)


def zsh_text(text):
    return text.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:").replace("'", "'\\''")


def zsh_argument(option, policies, words):
    kind, choices = kind_of(option, policies, words)
    action = {"folders": "_files -/", "files": "_files", "value": f"({' '.join(zsh_text(word) for word in choices)})" if choices else " "}
    value = f":{zsh_text(option.value)}:{action[kind]}" if kind else ""
    text = f"[{zsh_text(option.text)}]{value}"
    if len(option.names) == 1:
        return f"'*{option.names[0]}{text}'"
    return "'*'{" + ",".join(option.names) + "}" + f"'{text}'"


def zsh_arguments(help, policies, last):
    lines = [zsh_argument(option, policies, words_named(help)) for option in help.options()] + [last]
    return "_arguments -S " + " \\\n    ".join(lines) + "\n"


def zsh_completion(whole, commands, policies):
    text = f"#compdef {whole.name}\n# Completes {whole.name}, from its --help\n"
    if not commands:
        return text + zsh_arguments(whole, policies, "'*:file:_files'")
    described = " ".join(f"'{entry.names[0]}:{zsh_text(entry.text)}'" for entry in whole.commands())
    text += f"if ((CURRENT == 2)); then\n    local -a commands=({described})\n    _describe command commands\n    return\nfi\n"
    text += "local command=$words[2]\nshift words\n((CURRENT--))\ncase $command in\n"
    for help in commands:
        text += f"{help.name.split()[-1]}) {zsh_arguments(help, policies, chr(39) + '*:file:_files' + chr(39))};;\n"
    return text + "esac\n"
