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
ADDRESS = re.compile(r"<[^<>]* (?:object|method)[^<>]*>|<(?:bound|built-in|function|class|Macro|dict_|LoopContext|generator)|object at 0x|jinja2\.|Cycler|Joiner")


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


def differ(wanted, answer):
    if wanted is None:
        return False
    if isinstance(wanted, dict) or isinstance(answer, dict):
        # A budget that is spent says nothing of the template.
        spent = isinstance(answer, dict) and ("than this conversation can need" in answer["error"] or "more than" in answer["error"])
        return isinstance(wanted, dict) != isinstance(answer, dict) and not spent and not (isinstance(wanted, str) and ADDRESS.search(wanted))
    return wanted != answer and not ADDRESS.search(wanted)


def compare(what, binary, folder, cases, show):
    answers = ask(binary, folder, [{**case, "chat_template": template} for template, case in cases])
    differences = 0 if len(answers) == len(cases) else 1
    rendered = 0
    for (template, case), answer in zip(cases, answers):
        wanted = reference(template, chat_cases.SPECIAL, case)
        rendered += isinstance(wanted, str)
        if not differ(wanted, answer):
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
            cases = [
                (mutate(random_, random_.choice(sources), sources), random_.choice(chat_cases.CONVERSATIONS)) for _ in range(size)
            ]
            differences += compare(f"changed templates from {done}", arguments.binary, folder, cases, arguments.show)
            done += size
    sys.exit(1 if differences else 0)


if __name__ == "__main__":
    main()
