#!/usr/bin/env python3
"""Makes chat/expected.json: what transformers renders of every template in chat/templates with every conversation of
chat_cases.py. The templates are written for these tests, in the manner of published ones.

    python Tests/Goldens/make_chat_templates.py          # some seconds; transformers 5.24.0, jinja2 3.1.6

chat/conversations.json holds the conversations, chat/expected.json an object with a list per template: the text, or
null where transformers raises.
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "Oracle")]
import chat_cases  # noqa: E402
import chat_reference  # noqa: E402


def main():
    chat_reference.stop_clock(chat_cases.CLOCK)
    expected, texts = {}, 0
    for path in sorted((HERE / "chat/templates").glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        answers = [chat_reference.answer(source, chat_cases.SPECIAL, case) for case in chat_cases.CONVERSATIONS]
        expected[path.stem] = [answer if isinstance(answer, str) else None for answer in answers]
        texts += sum(isinstance(answer, str) for answer in answers)
    folder = HERE / "chat"
    (folder / "conversations.json").write_text(
        json.dumps({"special": chat_cases.SPECIAL, "clock": chat_cases.CLOCK, "cases": chat_cases.CONVERSATIONS}, indent=1) + "\n")
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(answers)}" for name, answers in expected.items())
    (folder / "expected.json").write_text("{\n" + lines + "\n}\n")
    print(f"{len(expected)} templates, {texts} texts, {len(expected) * len(chat_cases.CONVERSATIONS) - texts} errors")


if __name__ == "__main__":
    main()
