"""Does what the program prints fit the terminal, whatever its width, also when that changes on the way?

    python terminal.py --binary .build/release/coppice

Runs commands in pseudo-terminals and looks at the screen that a terminal which reflows lines would show. One line per
check; exit 1 if any fails. Standard library only.
"""

import argparse
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unicodedata

ESCAPE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b\][^\x07]*\x07")
UNATTENDED = ("CI", "AGENT", "CLAUDE", "CODEX", "CURSOR", "GEMINI", "OPENCODE", "GITHUB_ACTIONS", "NO_COLOR", "COLUMNS")


def width_of(text):
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


class Screen:
    """Lines as a terminal keeps them: each as long as it is, shown in rows of the present width."""

    def __init__(self, columns):
        self.columns, self.lines, self.at, self.offset = columns, [""], 0, 0
        self.widest = 0  # the longest line ever written at a width, as a share of it

    def row_start(self):
        offset = self.offset
        if offset and offset % self.columns == 0 and offset == len(self.lines[self.at]):
            offset -= 1  # the cursor waits at the end of the full row
        return offset - offset % self.columns

    def up(self):
        column, start = self.offset - self.row_start(), self.row_start()
        if start:
            self.offset = start - self.columns + column
        elif self.at:
            self.at -= 1
            last = max(len(self.lines[self.at]) - 1, 0)
            self.offset = last - last % self.columns + column

    def write(self, text):
        position = 0
        while position < len(text):
            escape = ESCAPE.match(text, position)
            if escape:
                position = escape.end()
                number, kind = escape.group(1) or "", escape.group(2)
                if kind == "A":
                    for _ in range(int(number or 1)):
                        self.up()
                elif kind == "K":
                    start = self.row_start()
                    line = self.lines[self.at]
                    rest = line[start + self.columns:]
                    self.lines[self.at] = line[:start] + (" " * self.columns + rest if rest else "")
                elif kind == "J":
                    self.lines[self.at] = self.lines[self.at][:self.offset]
                    del self.lines[self.at + 1:]
                continue
            character = text[position]
            position += 1
            if character == "\r":
                self.offset = self.row_start()
            elif character == "\n":
                self.at += 1
                self.offset = 0
                if self.at == len(self.lines):
                    self.lines.append("")
            else:
                line = self.lines[self.at].ljust(self.offset)
                self.lines[self.at] = line[:self.offset] + character + line[self.offset + 1:]
                self.offset += 1

    def shown(self):
        return [line.rstrip() for line in self.lines]


def environment(**more):
    kept = {k: v for k, v in os.environ.items() if not k.startswith(UNATTENDED) and k != "BUILD_NUMBER"}
    return {**kept, "TERM": "xterm-256color", "OMP_NUM_THREADS": "1", **more}


def resize(descriptor, columns):
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))


def run(command, columns, folder, resizes=(), after="", **more):
    """The screen, the text as written, and the texts drawn after the last resize."""
    controller, terminal = pty.openpty()
    resize(terminal, columns)
    process = subprocess.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, cwd=folder, env=environment(**more), close_fds=True,
        start_new_session=True)
    os.close(terminal)
    screen, raw, since, pending = Screen(columns), b"", b"", list(resizes)
    told = time.monotonic()
    while True:
        ready, _, _ = select.select([controller], [], [], 60)
        if not ready:
            process.kill()
            raise ValueError("nothing for a minute")
        try:
            chunk = os.read(controller, 65536)
        except OSError:
            break
        if not chunk:
            break
        raw += chunk
        since += chunk
        # Whole redraws only: what was written before a resize was written for the old width.
        if pending and after in raw.decode("utf-8", "replace") and time.monotonic() - told > 0.4:
            screen.write(since.decode("utf-8", "replace"))
            since = b""
            screen.columns = pending.pop(0)
            resize(controller, screen.columns)
            told = time.monotonic()
    tail = since.decode("utf-8", "replace")
    screen.write(tail)
    os.close(controller)
    code = process.wait()
    if code:
        raise ValueError(f"exit {code}: {raw.decode('utf-8', 'replace')[-500:]}")
    return screen, raw.decode("utf-8", "replace"), tail, bool(pending)


def drawings(text):
    """What was put on a line at once."""
    return [ESCAPE.sub("", part) for part in re.split(r"[\r\n]+", text)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", required=True)
    binary = os.path.abspath(parser.parse_args().binary)
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    examples = os.path.join(root, "Examples")
    model = ["--hf_model_name_or_path", "model"]
    search = ["--prune_target_params", "3e6", "--ss_channel_divisor", "32", "--prune_score_func", "mmlu_4pct_bs1", "--top_k", "4"]
    failed = 0

    def check(name, body):
        nonlocal failed
        try:
            body()
            print(f"ok    {name}")
        except Exception as error:
            failed += 1
            print(f"FAIL  {name}: {type(error).__name__}: {' '.join(str(error).split())[:600]}")

    with tempfile.TemporaryDirectory() as folder:
        os.symlink(os.path.join(examples, "model"), os.path.join(folder, "model"))
        os.symlink(os.path.join(examples, "data"), os.path.join(folder, "data"))

        def prune(output, *more):
            return [binary, "prune", *model, "--output_hf_path", output, "--prune_intermediate_ckpt", "s" + output,
                    *search, "--calib_dataset_name", "data/calib.jsonl", "--seq_length", "192", *more]

        questions = ["--mmlu_dataset", "data/mmlu", "--calib_num_samples", "16"]
        commands = {
            "plan": [binary, "plan", *model, *search],
            "inspect": [binary, "inspect", *model],
            "families": [binary, "families"],
            "eval": [binary, "eval", *model, "--mmlu_dataset", "data/mmlu", "--mmlu_percent", "20"],
            "dry run": prune("dry", "--dry_run", *questions),
            "prune": None,
        }

        for columns in (40, 60, 80, 120):
            for name, command in commands.items():
                def fits(name=name, command=command, columns=columns):
                    command = command or prune(f"out{columns}", *questions)
                    screen, text, _, _ = run(command, columns, folder)
                    for line in drawings(text):
                        # A word that is longer than a line is left in one piece: a path.
                        if width_of(line) > columns and " " in line.strip():
                            raise ValueError(f"{width_of(line)} columns: {line}")
                    if "‰" in text:
                        raise ValueError("per mille")
                    for row in screen.shown():
                        if row.startswith("│") and not row.endswith("│"):
                            raise ValueError(f"a broken frame: {row}")
                check(f"{name}, {columns} columns", fits)

        def doctor():
            _, text, _, _ = run([binary, "doctor"], 50, folder)
            wide = [line for line in drawings(text) if width_of(line) > 50]
            if wide:
                raise ValueError(wide[0])
        check("doctor, 50 columns", doctor)

        def candidates():
            screen, text, _, _ = run(commands["plan"], 80, folder)
            if "num_layers" not in text or "active" in text or "The same everywhere" not in text:
                raise ValueError(text)
        check("what is the same in all candidates is said once", candidates)

        def resized(start, widths):
            def body():
                screen, text, tail, missed = run(
                    prune(f"resized{start}", "--mmlu_dataset", "data/mmlu", "--calib_num_samples", "400"), start,
                    folder, widths, after="calibration  ")
                if missed:
                    raise ValueError("the run was over before the terminal was resized")
                rows = [row for row in screen.shown() if "calibration" in row and "%" in row]
                if rows:
                    raise ValueError(f"left on the screen: {rows}")
                lefts = [line for line in drawings(text) if "%" in line and "tokens/s" in line]
                if not all(line.rstrip().endswith(" left") or "100%" in line for line in lefts):
                    raise ValueError(f"time left is cut: {[line for line in lefts if 'left' not in line][:3]}")
                wide = [line for line in drawings(tail)[1:] if width_of(line) > widths[-1] - line.endswith("left")]
                if wide:
                    raise ValueError(f"wider than the terminal is by now: {wide[:3]}")
            return body
        check("made narrower while it runs", resized(120, [60]))
        check("made narrower and wider while it runs", resized(100, [50, 120, 70]))

        for name, more in (
            ("CI", {"CI": "true"}), ("TERM=dumb", {"TERM": "dumb"}), ("CLAUDECODE", {"CLAUDECODE": "1"}),
            ("CODEX_SANDBOX", {"CODEX_SANDBOX": "seatbelt"}), ("CURSOR_AGENT", {"CURSOR_AGENT": "1"}),
        ):
            def plain(more=more):
                output = "plain" + "".join(more)
                _, text, _, _ = run(prune(output, *questions), 80, folder, **more)
                if "\x1b" in text or re.search(r"\r(?!\n)", text) or "│" in text:
                    raise ValueError(text[:300])
            check(f"plain output with {name}", plain)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
