#!/usr/bin/env python3
"""Calibration rows of chat data, as a program with transformers makes them.

    python chat_rows.py rows --tokenizer DIR --data FILE.jsonl [...] --seq_length N --num_samples N
    python chat_rows.py make FOLDER --tokenizer DIR [--seq_length 128] [--num_samples 24]
    python chat_rows.py compare --binary PATH --tokenizer DIR [--seq_length 128] [--num_samples 24]

`rows` prints a JSON list of ids per row. `make` writes chat data with and without tools (FOLDER/plain.jsonl,
tools.jsonl) and for each of four templates a tokenizer's directory with it (FOLDER/NAME/) and the rows that come of the
data (FOLDER/NAME/plain.rows, tools.rows). `compare` does that and expects the same rows of `BINARY tokenize`.

Each conversation is rendered without a generation prompt, encoded without special tokens and followed by EOS; the
stream is cut into rows; the last may be short. Arguments of tool calls that came as JSON text are objects before.
Source: `_auto_preprocess_sample` and `_pack_documents_into_rows` in Model-Optimizer's `dataset_utils.py`.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "Goldens"))
import chat_cases  # noqa: E402

TEMPLATES = ["llama31", "qwen3", "nemotron3", "glm4"]
DOCUMENTS_PER_ROW = 16


def parsed(arguments):
    """Arguments of a call as an object: parsed where they are text, empty where that is none."""
    if isinstance(arguments, dict):
        return arguments
    try:
        value = json.loads(arguments) if isinstance(arguments, str) else {}
    except ValueError:
        value = {}
    return value if isinstance(value, dict) else {}


def prepared(messages):
    """The conversation with parsed arguments in every call."""
    result = []
    for message in messages:
        if isinstance(message, dict) and isinstance(message.get("tool_calls"), list):
            calls = []
            for call in message["tool_calls"]:
                if isinstance(call, dict):
                    call = dict(call)
                    for holder in (call, call.get("function")):
                        if isinstance(holder, dict) and "arguments" in holder:
                            fixed = {**holder, "arguments": parsed(holder["arguments"])}
                            if holder is call:
                                call = fixed
                            else:
                                call["function"] = fixed
                calls.append(call)
            message = {**message, "tool_calls": calls}
        result.append(message)
    return result


def text(tokenizer, row):
    """The text of a data set's row with a conversation."""
    messages = row["messages"] if row.get("messages") is not None else row["conversations"]
    tools = {} if row.get("tools") is None else {"tools": row["tools"]}
    return tokenizer.apply_chat_template(prepared(messages), tokenize=False, **tools)


def pack(tokenizer, rows, seq_length, count):
    """At most `count` rows of `seq_length` ids; the last may be shorter."""
    stream = []
    for row in rows[:count * DOCUMENTS_PER_ROW]:
        stream += tokenizer.encode(text(tokenizer, row), add_special_tokens=False) + [tokenizer.eos_token_id]
        if len(stream) >= count * seq_length:
            break
    return [stream[at:at + seq_length] for at in range(0, min(len(stream), count * seq_length), seq_length)]


def load(directory):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(directory)


def read(paths):
    rows = []
    for path in paths:
        rows += [json.loads(line) for line in pathlib.Path(path).read_text(encoding="utf-8").split("\n") if line.strip()]
    return rows


WORDS = "The old sailor counts letters by the sea and doesn't know naïve cafés 日本語 😀 x = 3.5; <b> \"quoted\" \n\n again".split(" ")


def conversation(random_, has_tools):
    """A conversation that every one of the templates takes."""
    words = lambda: " ".join(random_.choice(WORDS) for _ in range(random_.randrange(1, 30)))  # noqa: E731
    messages = [{"role": "system", "content": words()}] if random_.random() < 0.5 else []
    for _ in range(random_.randrange(1, 4)):
        messages.append({"role": "user", "content": words()})
        if has_tools and random_.random() < 0.7:
            arguments = {"place": words()[:20], "days": random_.randrange(9), "deep": {"a": [1.5, None, True]}}
            arguments = random_.choice([arguments, json.dumps(arguments), json.dumps(arguments, ensure_ascii=False), "not json", "[1]"])
            call = {"id": "abc123def", "type": "function", "function": {"name": "get_weather", "arguments": arguments}}
            messages.append({"role": "assistant", "content": random_.choice(["", words()]), "tool_calls": [call]})
            messages.append({"role": "tool", "content": words(), "tool_call_id": "abc123def"})
        answer = {"role": "assistant", "content": words()}
        if random_.random() < 0.4:
            answer[random_.choice(["reasoning_content", "reasoning", "thinking"])] = words()
        if random_.random() < 0.3:
            answer["tool_calls" if not has_tools else "name"] = None
        messages.append(answer)
    row = {random_.choice(["messages", "conversations"]): messages}
    if has_tools:
        row["tools"] = random_.choice([[chat_cases.WEATHER], [chat_cases.WEATHER, chat_cases.SEARCH], None])
    return row


def make(folder, tokenizer, seq_length, count):
    random_ = random.Random(11)
    folder.mkdir(parents=True, exist_ok=True)
    for kind in ("plain", "tools"):
        rows = [conversation(random_, kind == "tools") for _ in range(80)]
        lines = [json.dumps(row, ensure_ascii=index % 2 == 0) for index, row in enumerate(rows)]
        (folder / f"{kind}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for name in TEMPLATES:
        place = folder / name
        place.mkdir(exist_ok=True)
        for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            if (tokenizer / file).exists():
                shutil.copy(tokenizer / file, place / file)
        shutil.copy(HERE.parent / f"Goldens/chat/templates/{name}.jinja", place / "chat_template.jinja")
        loaded = load(place)
        for kind in ("plain", "tools"):
            packed = pack(loaded, read([folder / f"{kind}.jsonl"]), seq_length, count)
            (place / f"{kind}.rows").write_text("".join(json.dumps(row) + "\n" for row in packed))
            print(f"{name} {kind}: {len(packed)} rows, {sum(map(len, packed))} tokens")


def compare(binary, tokenizer, seq_length, count):
    differences = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        make(folder, tokenizer, seq_length, count)
        for name in TEMPLATES:
            for kind in ("plain", "tools"):
                done = subprocess.run(
                    [str(binary), "tokenize", "--quiet", "--hf_model_name_or_path", str(folder / name), "--calib_dataset_name",
                     str(folder / f"{kind}.jsonl"), "--seq_length", str(seq_length), "--calib_num_samples", str(count)],
                    capture_output=True, text=True)
                if done.returncode or done.stdout != (folder / name / f"{kind}.rows").read_text():
                    differences += 1
                    print(f"{name} {kind}: other rows. {done.stderr[-500:]}")
    print(f"{2 * len(TEMPLATES)} sets of rows, {differences} differences")
    return differences > 0


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    rows, making, comparing = (commands.add_parser(name) for name in ("rows", "make", "compare"))
    comparing.add_argument("--binary", type=pathlib.Path, required=True)
    making.add_argument("folder", type=pathlib.Path)
    rows.add_argument("--data", nargs="+", required=True)
    for command, length, count in ((rows, 4096, 1024), (making, 128, 24), (comparing, 128, 24)):
        command.add_argument("--tokenizer", type=pathlib.Path, required=True)
        command.add_argument("--seq_length", type=int, default=length)
        command.add_argument("--num_samples", type=int, default=count)
    arguments = parser.parse_args()
    if arguments.command == "compare":
        sys.exit(compare(arguments.binary, arguments.tokenizer, arguments.seq_length, arguments.num_samples))
    if arguments.command == "make":
        make(arguments.folder, arguments.tokenizer, arguments.seq_length, arguments.num_samples)
    else:
        for row in pack(load(arguments.tokenizer), read(arguments.data), arguments.seq_length, arguments.num_samples):
            print(json.dumps(row))


if __name__ == "__main__":
    main()
