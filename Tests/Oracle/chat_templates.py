#!/usr/bin/env python3
"""Compares `BINARY render` with transformers: every template of Tests/Goldens/chat with every conversation, then
templates that were changed at random.

    python chat_templates.py --binary PATH [--count 2000] [--seed N] [--show 5]

A changed template must render the same text, or raise in both. Prints what differs, exits 1 if anything does.
"""

import argparse
import json
import pathlib
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "Goldens")]
import chat_cases  # noqa: E402
import chat_reference  # noqa: E402

# What Python writes of objects that have no text of their own holds their address.
ADDRESS = re.compile(r"<[^<>]* (?:object|method)[^<>]*>|<(?:bound|built-in|function|class|Macro|dict_|LoopContext|generator)|generator object|object at 0x|jinja2\.|Cycler|Joiner", re.I)


# A generator that is made into text and counted gives numbers that say nothing.
LAZY = re.compile(r"\b(?:map|select|reject|selectattr|rejectattr|batch|slice|unique|items)\b.*\b(?:length|count|wordcount|string|safe|e|trim|find|rfind|index)\b", re.S)
NUMBER = re.compile(r"-?\d+")


def ask(binary, folder, lines):
    data = "".join(json.dumps(line) + "\n" for line in lines).encode()
    process = subprocess.run([binary, "render", "--hf_model_name_or_path", str(folder)], input=data, capture_output=True)
    answers = [json.loads(line) for line in process.stdout.decode().split("\n") if line]
    if process.returncode != 0 or len(answers) != len(lines):
        print(f"render ended with {process.returncode} after {len(answers)} of {len(lines)} answers: {process.stderr.decode()[-2000:]}")
        if len(answers) < len(lines):
            print("  at", json.dumps(lines[len(answers)])[:4000])
    return answers


class TooLong(BaseException):
    pass


def reference(template, special, case):
    """The answer of transformers; None where it takes more than two seconds."""

    def stop(*_):
        raise TooLong

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 2)
    try:
        return chat_reference.answer(template, special, case)
    except (TooLong, MemoryError):
        return None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def differ(template, wanted, answer):
    if wanted is None:
        return False
    if isinstance(wanted, dict) or isinstance(answer, dict):
        # A budget that is spent says nothing of the template; slices of constants are undefined where jinja folds them.
        spent = isinstance(answer, dict) and any(
            words in answer["error"] for words in ("than this conversation can need", "more than", "is not subscriptable", "unhashable type: 'slice'"))
        return isinstance(wanted, dict) != isinstance(answer, dict) and not spent and not (isinstance(wanted, str) and ADDRESS.search(wanted))
    if wanted == answer or ADDRESS.search(wanted):
        return False
    return not LAZY.search(template) or NUMBER.sub("", wanted) != NUMBER.sub("", answer)


def compare(what, binary, folder, cases, show):
    answers = ask(binary, folder, [{**case, "chat_template": template} for template, case in cases])
    differences = 0 if len(answers) == len(cases) else 1
    rendered = 0
    for (template, case), answer in zip(cases, answers):
        wanted = reference(template, chat_cases.SPECIAL, case)
        rendered += isinstance(wanted, str)
        same = wanted == answer if isinstance(wanted, str) and what == "templates" else not differ(template, wanted, answer)
        if same:
            continue
        differences += 1
        if differences <= show:
            print(f"  {what}: {json.dumps(template)[:1500]}\n    with {json.dumps(case)[:300]}")
            wanted, answer = json.dumps(wanted), json.dumps(answer)
            at = next((i for i, (a, b) in enumerate(zip(wanted, answer)) if a != b), 0)
            print(f"    transformers …{wanted[max(0, at - 60):at + 200]}\n    ours         …{answer[max(0, at - 60):at + 200]}")
    print(f"{what}: {len(cases)} cases, {rendered} texts, {differences} different", flush=True)
    return differences


TOKENS = re.compile(r"\{[%{#][-+]?|[-+]?[%}#]\}|\w+|\s+|'[^']*'|\"[^\"]*\"|.", re.S)
PIECES = (
    "{{ loop.index }} {%- -%} {%+ {# #} {% endif %} {% else %} {% endfor %} | trim length tojson first last int float list sort unique "
    "join(',') map(attribute='role') select reverse upper title string default('x') items dictsort indent(2) replace('a','b') round abs sum max "
    "is defined is none is string is mapping is iterable is not in not and or if else == != < <= > >= + - * / // % ** ~ ( ) [ ] { } , : . "
    "0 1 -1 2 1.5 1e3 'a' \"b\" '' none true false messages tools message loop ns namespace() range(3) [1,2] {'a':1} (1,2) x [0] [-1] [1:] "
    "[::-1] .content .items() .get('a') .split() .strip() .upper() .format(1) set for in macro endmacro call endcall {% break %} {% continue %} "
    "{% set x = 1 %} {% set ns.x = 1 %} {% for x in messages %} {% if x %} raise_exception('z') é 😀 \\n {%raw%} {%endraw%} recursive with "
    "{% generation %} {% endgeneration %} {% filter upper %} {% endfilter %} batch(2) groupby('role') slice(2) wordcount e safe urlencode "
    "capitalize center(9) format('a') truncate(5) min random count d attr('role') rejectattr('role') xmlattr striptags "
    "loop.last loop.previtem loop.cycle(1,2) varargs kwargs caller() previtem dict(a=1) cycler(1,2) joiner() strftime_now('%Y')"
).split(" ")


# Pieces that can stand for each other: most templates with such a change still render something.
ALIKE = [
    "upper lower trim title capitalize string length first last list tojson reverse sort unique min max sum int float round abs join e safe wordcount "
    "items dictsort default indent".split(" "),
    "== != < <= > >= in and or + - ~ * % //".split(" "),
    "0 1 2 3 -1 -2 true false none messages message tools loop.index loop.first loop.last loop.length loop.previtem ns x bos_token 'user' 'a' '' [] {} "
    "messages[0] messages|length message.content message.role (1,2) [1,2,3] {'a':1} range(3) 1.5 undefined_name".split(" "),
    "content role tool_calls function name arguments items keys get split strip upper startswith replace type parameters properties".split(" "),
    "defined undefined none string mapping iterable sequence number boolean true false odd even integer float lower upper callable".split(" "),
    ["{%-", "{%", "{%+"], ["-%}", "%}", "+%}"], ["{{-", "{{"], ["-}}", "}}"], ["if", "elif"], ["[0]", "[-1]", "[1:]", "[:1]", "[::-1]", "[::2]"],
]
KIN = {word: words for words in ALIKE for word in words}


def mutate_gently(random_, template):
    """Replaces some pieces by others that can stand in their place."""
    pieces = TOKENS.findall(template)
    places = [index for index, piece in enumerate(pieces) if piece in KIN or piece.isdigit() or piece[:1] in "'\""]
    for at in random_.sample(places, min(len(places), random_.choice([1, 1, 2, 3, 5]))):
        pieces[at] = random_.choice(KIN.get(pieces[at]) or ALIKE[2])
    return "".join(pieces)


def random_value(random_, depth):
    """An expression, such as nobody would write."""
    if depth <= 0 or random_.random() < 0.15:
        return random_.choice(VALUES)
    one = lambda: random_value(random_, depth - 1)  # noqa: E731
    kind = random_.randrange(12)
    if kind == 0:
        return f"({one()} {random_.choice(OPERATORS)} {one()})"
    if kind == 1:
        return f"{one()}|{random_.choice(FILTERS)}"
    if kind == 2:
        return f"({one()} is {random_.choice(['', 'not '])}{random_.choice(TESTS)})"
    if kind == 3:
        return f"({one()} if {one()} else {one()})"
    if kind == 4:
        return f"[{', '.join(one() for _ in range(random_.randrange(4)))}]"
    if kind == 5:
        return "{" + ", ".join(f"{random_.choice(KEYS)}: {one()}" for _ in range(random_.randrange(4))) + "}"
    if kind == 6:
        return f"({one()}){random_.choice(SUBSCRIPTS)}"
    if kind == 7:
        return f"({one()}).{random_.choice(METHODS)}"
    if kind == 8:
        return f"({one()}, {one()})"
    if kind == 9:
        return f"({one()})|{random_.choice(FILTERS_OF_ONE)}({one()})"
    if kind == 10:
        return f"{random_.choice(['not ', '-', '+'])}({one()})"
    return f"({one()}){random_.choice(['|list', '|string', '|tojson', '|length'])}"


VALUES = (
    "0 1 2 -3 7 10 2.5 -0.5 1e20 1e-7 3.0 99999999999999999999 '' 'a' 'Abc' 'a,b,c' ' x y ' 'é😀' '<&>' '12' '3.7' '%s' '{}' true false none nope "
    "[] [1] [3,1,2] ['b','a','B'] [1,'a',none] [[1,2],[3,4]] {} {'a':1,'b':[2]} {'b':2,'a':1} {1:2} () (1,) (2,1) messages messages[0] "
    "messages[0].content messages[-1].role range(4) range(5,0,-2) ns ns.x loop items tools bos_token dict(a=1) [{'k':1},{'k':2}] [{'k':'x'},{'k':'X'}]"
).split(" ")
OPERATORS = "+ - * / // % ** ~ == != < <= > >= in and or".split(" ") + ["not in"]
FILTERS = (
    "upper lower title capitalize trim string length list first last reverse sort unique min max sum int float round abs join e safe wordcount items "
    "dictsort default('d') default('d',true) indent indent(2,true) join('-') sort(reverse=true) sort(case_sensitive=true) map('upper') map('string') "
    "map(attribute='k') map('length') select reject select('odd') select('string') reject('none') selectattr('k') rejectattr('k','eq',1) batch(2) "
    "batch(2,0) slice(2) groupby('k') round(1) round(2,'floor') round(-1) int(5) float(1.5) replace('a','b') replace('b','',1) center(9) truncate(5) "
    "truncate(3,true,'') tojson(indent=2) tojson(sort_keys=true) tojson(ensure_ascii=true) dictsort(by='value') dictsort(reverse=true) striptags urlencode "
    "count d attr('a') sum(attribute='k') max(attribute='k') unique(attribute='k') forceescape filesizeformat format(1) format('x','y')"
).split(" ")
FILTERS_OF_ONE = "join default format replace round int attr map select truncate indent batch".split(" ")
TESTS = (
    "defined undefined none string mapping iterable sequence number boolean true false odd even integer float lower upper callable escaped "
    "in([1,2]) eq(1) ne('a') lt(2) ge(0) divisibleby(2) sameas(none) equalto('a') filter test"
).split(" ")
KEYS = "'a' 'b' 1 1.0 true none 'items' (1,2)".split(" ")
SUBSCRIPTS = "[0] [-1] [1:] [:2] [::-1] [::2] [-2:] ['a'] ['items'] [5] [none] [1.5] [true] [3:1:-1]".split(" ")
METHODS = (
    "a b k items() keys() values() get('a') get('z',3) copy() upper() lower() title() capitalize() swapcase() strip() strip('a') lstrip() rstrip() split() "
    "split(',') split(',',1) rsplit(',',1) splitlines() startswith('a') endswith(('c','b')) replace('a','x') find('b') rfind('b') index('b') count('a') "
    "index(1) count(1) join(['x','y']) partition(',') isdigit() isalpha() isalnum() isspace() isupper() islower() istitle() isnumeric() center(7) ljust(5) "
    "rjust(5,'*') zfill(5) format(1,2) format(a=1) removeprefix('a') removesuffix('c') expandtabs() casefold() encode append(1) pop() x index0 first last "
    "length real __class__ _x isidentifier() rpartition(',') is_integer() bit_length()"
).split(" ")


def random_template(random_):
    """Statements around expressions, of every kind."""
    value = lambda: random_value(random_, random_.choice([1, 2, 2, 3]))  # noqa: E731

    def statement(depth):
        kind = random_.randrange(16) if depth > 0 else 0
        inner = lambda: "".join(statement(depth - 1) for _ in range(random_.randrange(1, 3)))  # noqa: E731
        if kind < 5:
            return "{{ " + value() + " }}|"
        if kind == 5:
            return "{% if " + value() + " %}" + inner() + random_.choice(["", "{% else %}" + inner(), "{% elif " + value() + " %}" + inner()]) + "{% endif %}"
        if kind == 6:
            target = random_.choice(["x", "x", "item", "a, b"])
            test = random_.choice(["", "", " if " + value()])
            body = inner() + random_.choice(["", "{{ loop.index }}{{ loop.last }}", "{% if loop.index > 1 %}{% break %}{% endif %}", "{{ x }}"])
            return "{% for " + target + " in " + value() + test + " %}" + body + random_.choice(["", "{% else %}" + inner()]) + "{% endfor %}"
        if kind == 7:
            return "{% set " + random_.choice(["x", "y", "ns.x", "a, b", "items"]) + " = " + value() + " %}"
        if kind == 8:
            return "{% set y %}" + inner() + "{% endset %}{{ y }}"
        if kind == 9:
            name = random_.choice("mn")
            return "{% macro " + name + "(x, y=" + value() + ") %}" + inner() + "{{ x }}{{ y }}{% endmacro %}{{ " + name + "(" + value() + ") }}"
        if kind == 10:
            return "{% filter " + random_.choice(FILTERS) + " %}" + inner() + "{% endfilter %}"
        if kind == 11:
            return "{% with x = " + value() + ", z = x %}" + inner() + "{{ z }}{% endwith %}"
        if kind == 12:
            return "{% macro c(k) %}[{{ caller(k) }}]{% endmacro %}{% call(v) c(" + value() + ") %}" + inner() + "{{ v }}{% endcall %}"
        if kind == 13:
            return random_.choice(["\n", "  \n", " text "]) + "{%- if true -%} " + inner() + " {%- endif %}\n"
        if kind == 14:
            return "{% generation %}" + inner() + "{% endgeneration %}"
        return "{{ x }}{{ y }}{{ ns.x }}{{ items is defined }}"

    return "{% set ns = namespace(x=1) %}" + "".join(statement(2) for _ in range(random_.randrange(1, 4)))


def mutate(random_, template, others):
    pieces = TOKENS.findall(template)
    for _ in range(random_.choice([1, 1, 1, 2, 3, 6])):
        kind, at = random_.randrange(8), random_.randrange(len(pieces) or 1)
        if not pieces:
            pieces = [random_.choice(PIECES)]
        elif kind == 0:
            del pieces[at]
        elif kind == 1:
            pieces.insert(at, random_.choice(PIECES))
        elif kind == 2:
            pieces[at] = random_.choice(PIECES)
        elif kind == 3:
            pieces[at] = random_.choice(pieces)
        elif kind == 4:
            other = random_.randrange(len(pieces))
            pieces[at], pieces[other] = pieces[other], pieces[at]
        elif kind == 5:
            word = pieces[at]
            index = random_.randrange(len(word) or 1)
            pieces[at] = word[:index] + chr(random_.choice([9, 10, 13, 32, 34, 39, 92, 123, 125, 37, 35, 45, 48, 97, 233, 0x2028, 0x1F600])) + word[index + 1:]
        elif kind == 6:
            other = TOKENS.findall(random_.choice(others))
            start = random_.randrange(len(other) or 1)
            pieces[at:at] = other[start:start + random_.randrange(1, 20)]
        else:
            end = min(len(pieces), at + random_.randrange(1, 30))
            pieces[at:end] = ["{{ (" if random_.random() < 0.5 else "{% if messages %}"] + pieces[at:end] + [") }}" if random_.random() < 0.5 else "{% endif %}"]
    return "".join(pieces)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=5)
    arguments = parser.parse_args()
    templates = {path.stem: path.read_text(encoding="utf-8") for path in sorted((HERE.parent / "Goldens/chat/templates").glob("*.jinja"))}
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}", **chat_cases.SPECIAL}))
        every = [(source, case) for source in templates.values() for case in chat_cases.CONVERSATIONS]
        differences = compare("templates", arguments.binary, folder, every, arguments.show)
        # What a changed template asks for must not take this process's memory, either.
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        random_, sources = random.Random(arguments.seed), list(templates.values())
        done = 0
        while done < arguments.count:
            size = min(2000, arguments.count - done)
            kinds = [
                lambda: mutate(random_, random_.choice(sources), sources), lambda: mutate_gently(random_, random_.choice(sources)),
                lambda: random_template(random_), lambda: random_template(random_),
            ]
            cases = [(kinds[index % 4](), random_.choice(chat_cases.CONVERSATIONS)) for index in range(size)]
            differences += compare(f"changed templates from {done}", arguments.binary, folder, cases, arguments.show)
            done += size
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
