"""Writes the files beside it (pyarrow 26.0.1, zstandard)."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

here = Path(__file__).parent
texts = ["one", None, "", "zwölf \u0000 é", "one", '"quoted"\n']


def write(name, columns, **options):
    pq.write_table(pa.table(columns), here / f"{name}.parquet", **options)


write("plain", {"id": pa.array(range(6), pa.int32()), "text": texts}, row_group_size=2)
write("dictionary", {"text": pa.array(texts).dictionary_encode()})
write("large", {"text": pa.array(texts, pa.large_string())}, compression="zstd")
write("many", {"text": [f"document {i}" for i in range(1000)]}, row_group_size=300, compression="gzip")
write("chat", {"messages": [[{"role": "user", "content": 'a "b"\n\x01'}], None], "text": ["x", "y"]})
write("pairs", {"prompt": ["p", "q", None], "response": ["r", None, None], "text": ["t", "t", "t"]})
write("bytes", {"text": pa.array([b"fine", b"\xff\xfe"], pa.binary())})
write("numbers", {"text": [1.5, 2.5]})
write("dates", {"text": pa.array([0], pa.timestamp("us"))})
turns = [{"role": "user", "content": "x", "at": 0, "day": 0, "size": 2**63 + 5, "share": np.float16(0.5)}]
turn = pa.struct([("role", pa.string()), ("content", pa.string()), ("at", pa.timestamp("us")), ("day", pa.date32()),
                  ("size", pa.uint64()), ("share", pa.float16())])
write("turns", {"messages": pa.array([turns], pa.list_(turn))})
write("other", {"a": ["x"], "b": [1]})
write("norows", {"text": pa.array([], pa.string())})
questions = {
    "question": ["q0", "q1", "q2"],
    "subject": ["b_c", "a", "b_c"],
    "choices": [["1", "2", "3", "4"]] * 3,
    "answer": [0, 3, 1],
}
write("mmlu", questions)
write("mmlu-short", {**questions, "choices": [["1", "2", "3"]] * 3})
write("mmlu-lacks", {k: v for k, v in questions.items() if k != "answer"})
write("nulls", {"text": pa.array([None] * 3, pa.string())})
odd = pa.array([b"\xff", b"\xff"], pa.binary()).view(pa.string())
write(
    "odd",
    {
        "output": pa.array([0, 1], pa.timestamp("us")),
        "response": pa.array([1, 2], pa.decimal128(5, 2)),
        "completion": odd,
        "id": pa.array([float("nan")] * 2),
        "text": ["one", "two"],
    },
)
# A few kilobytes each that would be gigabytes in memory.
write("long-bomb", {"text": ["a" * 300_000_000]}, compression="zstd", compression_level=19, use_dictionary=False)
write("repeated-bomb", {"text": pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), ["a" * 2_000_000])}, compression="zstd")
struct = pa.StructArray.from_arrays([pa.array([True] * 2_000_000)], names=["a" * 1000])
write("structs-bomb", {"text": pa.ListArray.from_arrays([0, 2_000_000], struct)}, compression="zstd")

# Two hundred megabytes each, compressed as a whole.
import gzip

import zstandard

(here / "bombs").mkdir(exist_ok=True)
size = 200_000_000
sink, stream = pa.BufferOutputStream(), pa.BufferOutputStream()
blank = pa.table({"text": ["a" * 1_000_000] * (size // 1_000_000)})
pq.write_table(blank, sink, use_dictionary=False, compression="none")
with pa.ipc.new_stream(stream, blank.schema) as writer:
    writer.write_table(blank)
for name, content, pack in [
    ("blank.jsonl.zst", b"\n" * size, lambda b: zstandard.compress(b, 19)),
    ("text.jsonl.zst", b'{"text": "' + b"a" * size + b'"}\n', lambda b: zstandard.compress(b, 19)),
    ("list.json.gz", b"[" + b" " * size + b"]", lambda b: gzip.compress(b, 9, mtime=0)),
    ("column.csv.zst", b'text\n"' + b"a" * size + b'"\n', lambda b: zstandard.compress(b, 19)),
    ("rows.parquet.zst", sink.getvalue().to_pybytes(), lambda b: zstandard.compress(b, 19)),
    ("rows.arrow.zst", stream.getvalue().to_pybytes(), lambda b: zstandard.compress(b, 19)),
]:
    (here / "bombs" / name).write_bytes(pack(content))
