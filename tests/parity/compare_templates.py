#!/usr/bin/env python3
"""Renders chat templates here and in transformers, live: those of tests/data/templates, single constructs, and random tags with
random white space around them. Usage: compare_templates.py [MODEL_FOLDER [lava-dump-template [--write | FOLDER]]]. The model is not
looked at; --write renews tests/data/templates/rendered.json; the .jinja files of FOLDER are compared too. Needs transformers."""

import json
import random
import subprocess
import sys
from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = ROOT / "tests" / "data" / "templates"
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}


def say(*contents):
    """A conversation: "system: be kind", or the users' and assistants' turns alternating."""
    roles = ["user", "assistant"]
    messages = []
    for content in contents:
        named, _, rest = content.partition(": ")
        if named in ("system", "tool", "narrator"):
            messages.append({"role": named, "content": rest})
        else:
            messages.append({"role": roles[sum(m["role"] in roles for m in messages) % 2], "content": content})
    return messages


CONVERSATIONS = [
    say("Hello"), say("system: Be kind.", "Hello"), say("  Hello \n", "\nHi there. ", "How\tare you?"),
    say("system: ", "Hello"), say("system:  Be \"kind\" /no_think ", "q", "<think>\n\nhm\n</think>\n\nanswer", "r"),
    say("q", "<think>hm</think>answer", "tool: 42", "tool: 43"), say("Ein schöner\u00a0Tag \U0001f600 {{ 1 }} {% if %}\u2028"),
    say("system: /system_override Pirate.", "Hello"), say("narrator: once", "Hello"), say("a", "b", "c", "d", "e"),
    say("<tool_response>x</tool_response>", "y"), [],
]

CONSTRUCTS = r"""
{{ 1 + 2 * 3 - 4 // 3 }} {{ 7 / 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7.5 % 2 }} {{ 2.0 * 3 }} {{ 1e0 is defined }}
{{ 0.1 + 0.2 }} {{ 1.5 }} {{ 100000000000000000.0 * 10 }} {{ 0.00001 * 1 }} {{ 3 / 3 }} {{ -2|abs }} {{ - 3 + 1 }}
{{ 'a' ~ 1 ~ none ~ true ~ 1.0 }} {{ 'ab' * 2 }} {{ [1, 'a', none, true, 2.5, "it's"] }} {{ {'a': 1, 'b': [2]} }} {{ (1, 2)[0] }}
{{ messages[0].role }} {{ messages[-1]['content'] }} {{ messages[99] is defined }} {{ messages | length }} {{ messages.x is defined }}
{{ 'abc'[0] }}{{ 'abc'[-1] }}{{ 'abcdef'[1:4] }}{{ 'abcdef'[::2] }}{{ 'abcdef'[::-1] }}{{ 'äöü'[1] }}{{ 'äöü'|length }}{{ 'abc'[5:] }}{{ 'abc'[-2:] }}
{{ [1,2,3,4][1:] | list }} {{ [1,2,3,4][::-1] }} {{ [1,2,3][-2:] }} {{ [][0] is defined }} {{ [1,2,3,4][3:0:-2] }}
{% for i in range(3) %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }};{% endfor %}
{% for i in range(5, 0, -2) %}{{ i }}{{ loop.previtem }}{{ loop.nextitem }},{% endfor %} {% for i in [] %}x{% else %}none{% endfor %}
{% for i in range(10) if i is odd %}{{ i }}{{ loop.index }} {% endfor %} {% for a, b in [[1, 2], [3, 4]] %}{{ a + b }} {% endfor %}
{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}
{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }} {% endfor %}{% for k in {'a': 1} %}{{ k }}{% endfor %}{% for c in 'äb' %}{{ c }}.{% endfor %}
{% for i in range(3) %}{{ loop.cycle('x', 'y') }}{% endfor %} {% for i in none_such %}x{% endfor %} {% for i in (1, 2) %}{{ i }}{% endfor %}
{% set x = 1 %}{% for i in range(2) %}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }} {% set ns = namespace(n=0) %}{% for i in range(3) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}
{% set a, b = 1, 'two' %}{{ a }}{{ b }} {% set block %}in {{ a }} block{% endset %}[{{ block }}] {% if a %}{% set c = 3 %}{% endif %}{{ c }}
{% macro greet(name, greeting='Hello', mark='') %}{{ greeting }} {{ name }}{{ mark }}{% endmacro %}{{ greet('x') }} {{ greet('y', greeting='Hi', mark='!') }} {{ greet(name='z') | upper }}
{{ 'yes' if messages else 'no' }} {{ 'yes' if nothing else 'no' }} [{{ 'yes' if nothing }}] {{ 1 if true else 2 if true else 3 }} {{ (1 if false else 2) + 1 }}
{{ true and 'a' }} {{ false or 'b' }} {{ not true }} {{ not nothing }} {{ none or 0 or '' or 'last' }} {{ 1 and 0 }} {{ not 1 == 2 }}
{{ 1 < 2 }} {{ 2 <= 2 }} {{ 'a' < 'b' }} {{ 1 == 1.0 }} {{ '1' == 1 }} {{ true == 1 }} {{ [1] == [1] }} {{ {'a': 1} == {'a': 1} }} {{ none == false }}
{{ 'a' in 'cat' }} {{ 1 in [1, 2] }} {{ 'k' in {'k': 1} }} {{ 'z' not in 'cat' }} {{ 'role' in messages[0] }} {{ 3 not in [1] }} {{ nothing in [1] }}
{{ '  x '|trim }}| {{ 'xxaxx'|trim('x') }} {{ nothing|default('d') }} {{ ''|default('d', true) }} {{ none|default('d') }} {{ nothing|d(1) }}
{{ 'hELLO wORLD'|capitalize }} {{ 'hello world'|title }} {{ 'ß'|upper }} {{ 'ÄÖ'|lower }} {{ 'hello' | replace('l', 'L', 1) }} {{ 'a-b' | replace('-', '+') }}
{{ [3, 1, 2]|sort|join(',') }} {{ ['b', 'A', 'c']|sort }} {{ [1,2]|sort(reverse=true) }} {{ ['a','b']|join }} {{ [1,1,2]|unique|list }} {{ 'abc'|reverse }} {{ [1,2]|reverse|list }}
{{ [1,2,3]|first }}{{ [1,2,3]|last }}{{ []|first is defined }}{{ 'abc'|first }} {{ '42'|int + 1 }} {{ 'x'|int }} {{ 'x'|int(7) }} {{ 3.9|int }} {{ '1.5'|float }} {{ 5|string + 'x' }} {{ 'abc'|list }}
{{ messages|map(attribute='role')|list }} {{ ['a','b']|map('upper')|join }} {{ messages|selectattr('role','equalto','user')|list|length }} {{ messages|rejectattr('role','equalto','user')|list|length }}
{{ [1,2,3,4]|select('even')|list }} {{ [1,0,2]|select|list }} {{ [1,2,3]|reject('gt', 1)|list }} {{ {'b':1,'a':2}|dictsort }} {{ {'b':1}|items|list }} {{ {'a':1,'b':2}|length }}
{{ none|selectattr('a')|list }} {{ 0|map('upper')|list }} {{ none|rejectattr('a', 'equalto', 1)|list|length }} {{ ''|select|list }} {{ {}|reject('odd')|list }}
{{ {'a': [1, 2.5, none, true], 'b': "ü\"\n<&>'"}|tojson }} {{ []|tojson }} {{ {}|tojson }} {{ 'x'|tojson }} {{ [1,[2]]|tojson(indent=2) }} {{ {'a':{}}|tojson(indent=4) }}
{{ 'a\nb\n\nc'|indent }} {{ 'a\nb'|indent(2, true) }} {{ 'x'|safe }} {{ 'a,b,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a,b,c'.split(',', 1) }} {{ 'abc'.split('x')[0] }}
{{ '  x '.strip() }}|{{ '  x'.lstrip() }}|{{ 'x  '.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ '\n\nx\n'.strip('\n') }}|{{ 'abcba'.lstrip('ab') }}
{{ 'abc'.startswith('ab') }} {{ 'abc'.endswith('bc') }} {{ 'abc'.startswith(('x', 'a')) }} {{ 'abc'.upper() }} {{ 'ABC'.lower() }} {{ 'a b'.title() }} {{ 'hELLO'.capitalize() }}
{{ 'aXbXc'.replace('X', '-') }} {{ 'aXbXc'.replace('X', '-', 1) }} {{ ','.join(['a', 'b']) }} {{ 'abc'.find('c') }} {{ 'abc'.find('z') }} {{ 'a\nb\n'.splitlines() }}
{{ {'a': 1}.get('a') }} {{ {'a': 1}.get('b') }} {{ {'a': 1}.get('b', 2) }} {{ {'a': 1}.keys()|list }} {{ {'a': 1}.values()|list }} {{ dict(a=1)['a'] }} {{ {'a': 1}['b'] is defined }} {{ {'items': 1}['items'] }}
{{ 1 is number }} {{ 'x' is string }} {{ {} is mapping }} {{ [] is sequence }} {{ 'x' is iterable }} {{ 1 is iterable }} {{ none is none }} {{ true is boolean }} {{ 1 is boolean }} {{ 1.0 is float }} {{ 1 is integer }} {{ true is integer }}
{{ nothing is undefined }} {{ 3 is odd }} {{ 4 is even }} {{ 6 is divisibleby 3 }} {{ 6 is divisibleby(4) }} {{ 1 is eq 1 }} {{ 1 is not none }} {{ true is true }} {{ 0 is false }} {{ 'a' is in ['a'] }} {{ 'A' is upper }} {{ 'a' is lower }} {{ range is callable }}
{{ "dq \"x\" \\ \t|\u00e4\x41|" }} {{ 'it''s' }} {{ 'unknown \d \- escape' }} {{ 1_000 if false else 2 }} {{ [1,2,] }} {{ {'a':1,} }} {{ ((1)) }} {{ (1,) }} {{ () }}
{{ bos_token }}{{ eos_token }}{{ unk_token }}[{{ tools }}]{{ documents is none }}{{ add_generation_prompt }}
{% generation %}inside{% endgeneration %} {{ none }} {{ true }} {{ undefined_name }} {{ undefined_name|upper }} {{ [none_such is defined, 1] }}
{% if false %}a{% elif 0 %}b{% elif [] %}c{% else %}d{% endif %} {% if messages[0].role == 'user' and not loop is defined %}e{% endif %}
{{ messages[0] }} {{ messages[0]|tojson }} {{ messages[0].items()|list|length }} {{ messages[0].get('content', '')|length }}
{% macro f(a=1, b) %}{% endmacro %}
{{ 1.5e3 }} {{ 2e-7 }} {{ 12_345 }} {{ (1, 2) == [1, 2] }} {{ [(1,), ('a', [2])] }} {% set t = 1, 2 %}{{ t }} {{ (1, 2)[::-1]|list }}
{{ raise_exception('no ' ~ 1) }}
{{ undefined_name.member }}
{{ 'a' + 1 }}
{{ none_such() }}
{{ 1 / 0 }}
{{ [1] < 2 }}
{{ 'a'|no_such_filter }}
{{ 'a' is no_such_test }}
{% if %}{% endif %}
{% for x in y %}
{{ 'open }}
{{ (1 }}
{% endif %}
{% set ns = 1 %}{% set ns.x = 2 %}
{% include 'x' %}
{{ range(200000)|length }}
""".strip("\n").split("\n")


def random_template(generator):
    """Tags whose expressions are plain, with all kinds of white space and signs around them."""
    parts = []
    opened = []
    for _ in range(generator.randint(1, 14)):
        left, right = generator.choice(["", "", "-", "+"]), generator.choice(["", "", "-", "+"])
        kind = generator.choice(["text", "text", "print", "comment", "set", "if", "for", "close"])
        if kind == "text":
            parts.append(generator.choice(["a", "  ", "\n", "\n\n", "\n  ", "  \n", "\t", "x \n y", "\r\n", " b", "}}", "{", "%}", "\u00a0\n"]))
        elif kind == "print":  # only blocks may have a plus behind
            parts.append("{{" + left + " " + generator.choice(["1", "'\\n'", "' s '", "{'a':{}}"]) + " " + right.replace("+", "") + "}}")
        elif kind == "comment":
            parts.append("{#" + left + " comment " + right + "#}")
        elif kind == "set":
            parts.append("{%" + left + " set x = 1 " + right + "%}")
        elif kind == "close" and opened:
            parts.append("{%" + left + " " + opened.pop() + " " + right + "%}")
        elif kind == "if":
            parts.append("{%" + left + " if " + generator.choice(["true", "false"]) + right.join([" ", "%}"]))
            opened.append("endif")
        elif kind == "for":
            parts.append("{%" + left + " for i in [1, 2] " + right + "%}")
            opened.append("endfor")
    return "".join(parts) + "".join("{% " + tag + " %}" for tag in reversed(opened)) + generator.choice(["", "\n", "\n\n", " \n"])


def theirs(template, conversation):
    try:
        rendered, _ = render_jinja_template([conversation], chat_template=template, add_generation_prompt=True, **SPECIAL)
        return {"text": rendered[0]}
    except Exception as error:  # any: what it refuses, we must refuse
        return {"error": f"{type(error).__name__}: {error}"}


def main():
    program = sys.argv[2] if len(sys.argv) > 2 else ROOT / "build" / "release" / "tests" / "model" / "lava-dump-template"
    generator = random.Random(5)
    requests = [{"name": file.stem, "template": file.read_bytes().decode("utf-8"), "conversations": CONVERSATIONS}
                for folder in (TEMPLATES, *map(Path, sys.argv[3:])) for file in sorted(folder.glob("*.jinja"))]
    requests += [{"name": f"construct {i + 1}", "template": line, "conversations": CONVERSATIONS[:1]} for i, line in enumerate(CONSTRUCTS)]
    requests += [{"name": f"random {i}", "template": random_template(generator), "conversations": CONVERSATIONS[:1]} for i in range(2000)]
    for request in requests:
        request["special_tokens"] = SPECIAL
    result = subprocess.run([program], input=json.dumps(requests), stdout=subprocess.PIPE, text=True, check=True)
    wrong = total = 0
    for request, ours in zip(requests, json.loads(result.stdout)):
        for conversation, found in zip(request["conversations"], ours):
            expected = theirs(request["template"], conversation)
            total += 1
            if found.get("text") != expected.get("text"):
                wrong += 1
                print(f"{request['name']}: {request['template'][:300]!r} of {conversation}\n  expected {expected}\n  found    {found}")
    print(f"templates: {total - wrong} of {total} renderings alike")
    if sys.argv[3:] == ["--write"]:
        rendered = {file.stem: [theirs(file.read_bytes().decode("utf-8"), c).get("text") for c in CONVERSATIONS]
                    for file in sorted(TEMPLATES.glob("*.jinja"))}
        (TEMPLATES / "rendered.json").write_text(json.dumps({"conversations": CONVERSATIONS, "special_tokens": SPECIAL, "rendered": rendered},
                                                            ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    sys.exit(0 if wrong == 0 else 1)


if __name__ == "__main__":
    main()
