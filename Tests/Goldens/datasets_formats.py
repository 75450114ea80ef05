"""Files of every format, compressed in every manner, with the rows that `datasets` reads from them."""

import base64
import bz2
import gzip
import json

import datasets
import lz4.frame
import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

TEXTS = ["one", "zwölf \u0000 \U0001f600 é", '"quoted", and\n\tmore', "", None, "\u2028 end\\"]
LINES = "".join(json.dumps({"id": i, "text": t}, ensure_ascii=i % 2 == 0) + "\n" for i, t in enumerate(TEXTS))
CSV = (
    'id,text,more\n1,one,x\n2,"a ""quoted"", and\nmore",x\n\n  \n3,NA,x\n4,,x\n5,"NA",\n6,é\n7,in "the" middle,x\n'
    '8,"closed"after,x\n9, space ,x\n10,"",x\n11,None,x\n12,1.50,x\n13,true,x\n14,"\r\n",x\n15,n/a ,x\n'
)

CODECS = {
    "": lambda b: b, ".gz": lambda b: gzip.compress(b, mtime=0), ".gzip": lambda b: gzip.compress(b, mtime=0),
    ".zst": zstandard.compress, ".zstd": zstandard.compress, ".bz2": bz2.compress, ".lz4": lz4.frame.compress,
}


def arrow(table, stream, **options):
    sink = pa.BufferOutputStream()
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with new(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=4)
    return sink.getvalue().to_pybytes()


def parquet(table):
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()


table = pa.table({"id": list(range(6)), "text": TEXTS, "image": [{"bytes": b"\xff", "path": None}] * 6})
categories = pa.table({"text": pa.array(TEXTS).dictionary_encode(), "when": pa.array([0] * 6, pa.timestamp("us"))})
long = pa.table({"text": [f"document {i}" for i in range(1000)]})

FILES = {
    "lines.jsonl": LINES.encode(),
    "returns.jsonl": LINES.replace("\n", "\r\n").encode(),
    "mark.jsonl": b"\xef\xbb\xbf" + LINES.encode(),
    "cut.jsonl": LINES.rstrip().encode(),
    "lines.json": LINES.encode(),
    "lines.ndjson": LINES.encode(),
    "list.json": json.dumps([{"text": t} for t in TEXTS]).encode(),
    "pretty.json": json.dumps([{"text": t, "deep": [[{"a": "]}\\\""}]]} for t in TEXTS], indent=2).encode(),
    "strings.json": json.dumps([t for t in TEXTS if t is not None]).encode(),
    "list.jsonl": json.dumps([{"text": t} for t in TEXTS]).encode(),
    "mixed.jsonl": b'{"text": "a", "meta": {"x": 1}}\n{"text": "b", "meta": "y"}\n{"meta": [2], "text": "c"}\n',
    "missing.jsonl": b'{"text": "a"}\n{"other": 1, "text": "b"}\n',
    "table.csv": CSV.encode(),
    "mark.csv": b"\xef\xbb\xbf" + CSV.encode(),
    "returns.csv": CSV.replace("\n", "\r\n").encode(),
    "old.csv": b"id,text\r1,one\r2,two\r",
    "cut.csv": CSV.rstrip().encode(),
    "index.csv": b"id,text\n0,1,one\n1,2,two\n2,3\n",
    "toomany.csv": b"id,text\n1,one\n2,two,three,four\n",
    "open.csv": b'id,text\n1,"one\n2,two\n',
    "header.csv": b"id,text\n",
    "quotedheader.csv": b'"id","text"\n"1","one"\n',
    "table.tsv": b"id\ttext\n1\ta, b\n2\t\"c\td\"\n",
    "lines.txt": "one\n\ntwo \r\nthrée\rfour".encode(),
    "cache.arrow": arrow(table, True),
    "file.arrow": arrow(table, False),
    "packed.arrow": arrow(table, True, compression="zstd"),
    "packedfile.arrow": arrow(table, False, compression="lz4"),
    "categories.arrow": arrow(categories, True),
    "long.arrow": arrow(long, True, compression="zstd"),
    "plain.parquet": parquet(table),
}
SEVERAL = {
    "members.jsonl.gz": b"".join(gzip.compress(line.encode(), mtime=0) for line in LINES.splitlines(True)),
    "frames.jsonl.zst": b"".join(zstandard.compress(line.encode()) for line in LINES.splitlines(True)),
    "streams.jsonl.bz2": b"".join(bz2.compress(line.encode()) for line in LINES.splitlines(True)),
    "frames.jsonl.lz4": b"".join(lz4.frame.compress(line.encode()) for line in LINES.splitlines(True)),
    "empty.jsonl.gz": gzip.compress(b"", mtime=0),
}

# Chats as they are published: objects that differ, tools as lists or texts, turns of other names.
CALL = {"role": "assistant", "content": None, "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": '{"a": 1.0}'}}]}
CHATS = [
    {"messages": [{"role": "user", "content": "hé"}, {"role": "assistant", "content": "yes"}]},
    {"messages": [{"role": "user", "content": "x"}, CALL, {"role": "tool", "content": "1"}], "tools": [{"type": "function", "function": {"name": "f"}}]},
    {"messages": [{"role": "system", "content": ""}, {"role": "user", "content": [{"type": "text", "text": "part"}]}], "tools": None},
]
ALIKE = [
    {"messages": [{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": "a" if i else None}], "score": 0.5 * i}
    for i in range(3)
]


def read(folder, name, content):
    folder.mkdir()
    (folder / name).write_bytes(content)
    try:
        return list(datasets.load_dataset(str(folder), split="train", streaming=True))
    except Exception as error:
        return {"error": type(error).__name__}


def texts(rows):
    return [row["text"] for row in rows] if isinstance(rows, list) else rows


def formats(scratch):
    cases, count = [], 0

    def add(name, content, rows=None, kind="text"):
        nonlocal count
        count += 1
        found = read(scratch / f"file{count}", name, content) if rows is None else rows
        if kind == "text":
            found = texts(found)
        else:
            # As they would be given to a chat template.
            found = [[row["messages"], row.get("tools")] for row in found]
        cases.append({"name": name, "bytes": base64.b64encode(content).decode(), "kind": kind, "rows": found})
        return found

    for name, content in FILES.items():
        plain = add(name, content)
        # Every compression of one file of a format, and one of the others.
        every = name.split(".")[0] in ("lines", "table", "list", "plain", "cache")
        for suffix, pack in CODECS.items():
            if not suffix or not every and suffix != ".gz" or len(content) > 4000:
                continue
            packed = pack(content)
            # `datasets` does not unpack these two formats; they hold what they hold.
            own = name.endswith((".arrow", ".parquet"))
            rows = [{"text": t} for t in plain] if own else None
            if not isinstance(plain, list):
                continue
            again = add(name + suffix, packed, rows)
            assert again == plain, (name, suffix, again, plain)
    for name, content in SEVERAL.items():
        add(name, content)
    add("chats.jsonl", "".join(json.dumps(c) + "\n" for c in CHATS).encode(), kind="chat")
    # Streamed from a list, the library gives objects of different shapes as texts, which no chat template takes.
    add("chats.json", json.dumps(CHATS).encode(), [{"tools": None, **c} for c in CHATS], kind="chat")
    add("alike.jsonl", "".join(json.dumps(c) + "\n" for c in ALIKE).encode(), kind="chat")
    add("alike.parquet", parquet(pa.Table.from_pylist(ALIKE)), kind="chat")
    add("alike.arrow", arrow(pa.Table.from_pylist(ALIKE), True), kind="chat")
    # What the library keeps objects of different shapes as.
    kept = datasets.Dataset.from_list(CHATS, on_mixed_types="use_json")
    add("kept.parquet", parquet(kept.data.table), kind="chat")
    add("kept.arrow", arrow(kept.data.table, True), kind="chat")
    return cases
