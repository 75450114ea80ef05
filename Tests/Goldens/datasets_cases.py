"""Trees of files that data sets are made of: what make_datasets.py has `datasets` read."""


def card(configs, before="license: mit\n", after="tags:\n- text\n"):
    return f"---\n{before}configs:\n{configs}{after}---\n# Title\n"


ONE = "- config_name: default\n  data_files: "

# Files without contents get one row whose text is their path. Loads are (configuration, split).
LAYOUTS = {
    "flat": (["b.jsonl", "a.jsonl", "sub/c.jsonl", "notes.md"], [(None, "train"), (None, "test"), ("x", "train")]),
    "names": (["train.jsonl", "test.jsonl", "dev.jsonl", "other.jsonl"], [(None, s) for s in ("train", "test", "validation", "dev")]),
    "words": (
        ["my-train.jsonl", "train_2.jsonl", "trainer.jsonl", "a/1train.jsonl", "a/pre train.x.jsonl", "training.jsonl",
         "valid-1.jsonl", "val.jsonl", "eval_set.jsonl", "evaluation.jsonl", "testing.jsonl", "contest.jsonl"],
        [(None, s) for s in ("train", "test", "validation")],
    ),
    "twice": (["train-train.jsonl", "a.train.train.jsonl"], [(None, "train")]),
    "directories": (
        ["train/b.jsonl", "train/a.jsonl", "test/a.jsonl", "x/train-v1/c.jsonl", "x/my.train/deep/er/d.jsonl", "train.jsonl"],
        [(None, "train"), (None, "test")],
    ),
    "directories twice": (["train/train/a.jsonl", "train/train-1/b.jsonl"], [(None, "train")]),
    "sharded": (
        ["data/train-00001-of-00002.jsonl", "data/train-00000-of-00002.jsonl", "data/stem-00000-of-00001.jsonl",
         "data/chat_x.y-00000-of-00001.jsonl", "other/train.jsonl", "data/stray.jsonl"],
        [(None, s) for s in ("train", "stem", "chat_x.y", "chat")],
    ),
    "sharded with hashes": (["data/train-00000-of-00001-a1b2c3d4.jsonl", "data/test-00000-of-00001-a-b.jsonl"], [(None, "train"), (None, "test")]),
    "sharded with a wrong name": (["data/my-split-00000-of-00001.jsonl"], [(None, "train"), (None, "my-split")]),
    "nested": (["data/en/train/0.jsonl", "data/en/test/0.jsonl", "data/de/train/0.jsonl"], [(None, "train"), (None, "test")]),
    "shards elsewhere": (["en/train-00001-of-00002.jsonl", "en/train-00000-of-00002.jsonl", "en/test-00000-of-00001.jsonl"], [(None, "train"), (None, "test")]),
    "hidden": ([".hidden.jsonl", ".dir/a.jsonl", "__pycache__/b.jsonl", "a/__x/c.jsonl", "__d.jsonl", "ok.jsonl", "..e.jsonl"], [(None, "train")]),
    "ignored": (["config.json", ("dataset_infos.json", "{}"), "sub/dataset_dict.json", "x.json"], [(None, "train")]),
    "kinds": (["a.csv", "b.csv", "c.jsonl", "d.txt"], [(None, "train")]),
    "kinds alike": (["a.csv", "b.jsonl", "c.txt"], [(None, "train")]),
    "kinds alike, of one module": (["a.json", "b.jsonl", "c.csv", "d.csv"], [(None, "train")]),
    "metadata": (["metadata.jsonl", "a.csv"], [(None, "train")]),
    "extensions in names": (["a.csv.jsonl", "b.txt.jsonl", "c.jsonl.1"], [(None, "train")]),
    "unreadable alone": (["a.pdfx", "b.bin"], [(None, "train")]),
    "links": (["real/a.jsonl", "b.jsonl -> real/a.jsonl", "dir -> real", "gone.jsonl -> nowhere"], [(None, "train")]),
    "empty": ([], [(None, "train")]),
    "card: a file": (["a.jsonl", "b.jsonl", ("README.md", card(ONE + "b.jsonl\n"))], [(None, "train"), ("default", "train"), ("x", "train"), (None, "test")]),
    "card: a pattern": (["d/b.jsonl", "d/a.jsonl", "d/e/c.jsonl", ("README.md", card(ONE + '"d/*.jsonl"\n'))], [(None, "train")]),
    "card: all below": (["d/b.jsonl", "d/a.jsonl", "d/e/c.jsonl", "d/e/f/g.jsonl", ("README.md", card(ONE + '"d/**"\n'))], [(None, "train")]),
    "card: directories between": (["d/x.jsonl", "d/e/x.jsonl", "d/e/f/x.jsonl", "x.jsonl", ("README.md", card(ONE + "d/**/x.jsonl\n"))], [(None, "train")]),
    "card: stars in a name": (["d/x.jsonl", ("README.md", card(ONE + "d/**.jsonl\n"))], [(None, "train")]),
    "card: list": (["a.jsonl", "b.jsonl", "c.jsonl", ("README.md", card("- config_name: default\n  data_files:\n  - c.jsonl\n  - a.jsonl\n"))], [(None, "train")]),
    "card: a file twice": (["a.jsonl", "b.jsonl", ("README.md", card("- config_name: default\n  data_files: [a.jsonl, '*.jsonl']\n"))], [(None, "train")]),
    "card: splits": (
        ["x/1.jsonl", "x/2.jsonl", "y.jsonl", "z.jsonl",
         ("README.md", card("- config_name: default\n  data_files:\n  - split: train\n    path: x/*\n  - split: my_test\n    path:\n    - z.jsonl\n    - y.jsonl\n"))],
        [(None, "train"), (None, "my_test"), (None, "validation")],
    ),
    "card: configurations": (
        ["en/train.jsonl", "de/train.jsonl",
         ("README.md", card("- config_name: en\n  data_files: en/*\n- config_name: de\n  data_files: de/*\n"))],
        [(None, "train"), ("en", "train"), ("de", "train"), ("fr", "train")],
    ),
    "card: a default": (
        ["en/train.jsonl", "de/train.jsonl",
         ("README.md", card("- config_name: en\n  data_files: en/*\n- config_name: de\n  data_files: de/*\n  default: true\n"))],
        [(None, "train"), ("en", "train")],
    ),
    "card: named default": (
        ["en/train.jsonl", "de/train.jsonl",
         ("README.md", card("- config_name: en\n  data_files: en/*\n- config_name: default\n  data_files: de/*\n"))],
        [(None, "train")],
    ),
    "card: two defaults": (
        ["en/train.jsonl", "de/train.jsonl",
         ("README.md", card("- config_name: en\n  data_files: en/*\n  default: true\n- config_name: default\n  data_files: de/*\n"))],
        [(None, "train")],
    ),
    "card: directories": (
        ["en/train.jsonl", "en/test.jsonl", "de/data/train-00000-of-00001.jsonl", "de/train.jsonl",
         ("README.md", card("- config_name: en\n  data_dir: en\n- config_name: de\n  data_dir: ./de/\n"))],
        [("en", "train"), ("en", "test"), ("de", "train"), ("de", "test")],
    ),
    "card: directory and patterns": (
        ["en/x/1.jsonl", "en/y.jsonl", "x/2.jsonl",
         ("README.md", card("- config_name: en\n  data_dir: en\n  data_files: x/*.jsonl\n"))],
        [(None, "train")],
    ),
    "card: a name alone": (["train.jsonl", "x.jsonl", ("README.md", card("- config_name: only\n"))], [(None, "train"), ("only", "train")]),
    "card: a missing file": (["a.jsonl", ("README.md", card(ONE + "b.jsonl\n"))], [(None, "train")]),
    "card: a pattern without files": (["a.jsonl", ("README.md", card(ONE + "b*.jsonl\n"))], [(None, "train")]),
    "card: one pattern of two": (["a.jsonl", ("README.md", card("- config_name: default\n  data_files: ['b*.jsonl', a.jsonl]\n"))], [(None, "train")]),
    "card: characters": (
        ["a1.jsonl", "a2.jsonl", "a3.jsonl", "a!.jsonl", "ab.jsonl", "é.jsonl",
         ("README.md", card("- config_name: range\n  data_files: 'a[1-2].jsonl'\n- config_name: not\n  data_files: 'a[!1-3].jsonl'\n"
                            "- config_name: one\n  data_files: '?.jsonl'\n- config_name: braces\n  data_files: '{a1,a2}.jsonl'\n"
                            "- config_name: open\n  data_files: 'a[1.jsonl'\n"))],
        [(c, "train") for c in ("range", "not", "one", "braces", "open")],
    ),
    "card: hidden": (
        [".h/a.jsonl", ".h/.b.jsonl", "__s/c.jsonl", "d.jsonl",
         ("README.md", card("- config_name: dir\n  data_files: '.h/*'\n- config_name: both\n  data_files: '.h/.*'\n- config_name: special\n"
                            "  data_files: '__s/*'\n- config_name: any\n  data_files: '**'\n- config_name: named\n  data_files: .h/a.jsonl\n"))],
        [(c, "train") for c in ("dir", "both", "special", "any", "named")],
    ),
    "card: a dot": (["d/a.jsonl", ("README.md", card(ONE + "./d/*.jsonl\n"))], [(None, "train")]),
    "card: splits twice": (["a.jsonl", ("README.md", card("- config_name: default\n  data_files:\n  - {split: train, path: a.jsonl}\n  - {split: train, path: a.jsonl}\n"))], [(None, "train")]),
    "card: a wrong split": (["a.jsonl", ("README.md", card("- config_name: default\n  data_files:\n  - {split: my-train, path: a.jsonl}\n"))], [(None, "train"), (None, "my-train")]),
    "card: a map": (["a.jsonl", ("README.md", card("- config_name: default\n  data_files:\n    train: a.jsonl\n"))], [(None, "train")]),
    "card: texts and maps": (["a.jsonl", ("README.md", card("- config_name: default\n  data_files:\n  - a.jsonl\n  - {split: train, path: a.jsonl}\n"))], [(None, "train")]),
    "card: no list": (["a.jsonl", ("README.md", card("  config_name: default\n  data_files: a.jsonl\n"))], [(None, "train")]),
    "card: no name": (["a.jsonl", ("README.md", card("- data_files: a.jsonl\n"))], [(None, "train")]),
    "card: nothing": (["a.jsonl", ("README.md", "---\nlicense: mit\n---\nconfigs:\n- config_name: x\n")], [(None, "train"), ("x", "train")]),
    "card: empty": (["a.jsonl", ("README.md", card("", after=""))], [(None, "train")]),
    "card: a separator": ([("a.csv", "id;text\n1;a.csv\n"), ("README.md", card(ONE + 'a.csv\n  sep: ";"\n'))], [(None, "train")]),
    "card: a delimiter": ([("a.csv", "id|text\n1|a.csv\n"), ("README.md", card(ONE + 'a.csv\n  delimiter: "|"\n'))], [(None, "train")]),
    "card: a field": ([("a.json", '{"version": 1, "data": [{"text": "one"}, {"text": "two"}]}'), ("README.md", card(ONE + "a.json\n  field: data\n"))], [(None, "train")]),
}

# Cards alone: their text, for PyYAML and `MetadataConfigs`.
CARDS = {
    "compact": "---\nconfigs:\n- config_name: a\n  data_files: x\n---\n",
    "indented": "---\nconfigs:\n  - config_name: a\n    data_files:\n      - split: train\n        path:\n          - x\n          - y\n---\n",
    "flow": "---\nconfigs: [{config_name: a, data_files: [x, 'y z', \"w\"]}]\n---\n",
    "flow over lines": "---\nconfigs: [\n  {config_name: a,\n   data_files: [\n     x,\n     y\n   ]}\n  ]\nlicense: mit\n---\n",
    "flow throughout": "---\n{configs: [{config_name: a, data_files: x}], license: mit}\n---\n",
    "quotes": "---\nconfigs:\n- config_name: 'it''s'\n  data_files: \"a\\tb\\u00e9\\x41\\\\\"\n---\n",
    "quoted keys": "---\n'configs':\n- \"config_name\": a\n  'data_files': x\n---\n",
    "comments": "---\n# one\nconfigs: # two\n# three\n- config_name: a # four\n  # five\n\n  data_files: x#y # six\n---\n",
    "blank lines": "---\n\nconfigs:\n\n- config_name: a\n\n  data_files: x\n\n---\n",
    "carriage returns": "---\r\nconfigs:\r\n- config_name: a\r\n  data_files: x\r\n---\r\nmore\r\n",
    "space before": "\n  \n---\nconfigs:\n- config_name: a\n---\n",
    "other keys around": "---\npretty_name: 'x: y'\nextra_gated_prompt: >-\n  Agree to\n  configs: nothing\n\n  here\nconfigs:\n- config_name: a\n  data_files: x\ndataset_info:\n- config_name: b\n  features:\n  - name: text\n    dtype: string\n---\n",
    "text before": "# Title\n---\nconfigs:\n- config_name: a\n---\n",
    "no end": "---\nconfigs:\n- config_name: a\n",
    "end with spaces": "---\nconfigs:\n- config_name: a\n--- \t\nmore",
    "not at the start": "---\nlicense: mit\n---\n---\nconfigs:\n- config_name: a\n---\n",
    "colon in a value": "---\nconfigs:\n- config_name: a:b\n  data_files: x:y/*.jsonl\n---\n",
    "stars": "---\nconfigs:\n- config_name: a\n  data_files: a/*.jsonl\n---\n",
    "a star first": "---\nconfigs:\n- config_name: a\n  data_files: *.jsonl\n---\n",
    "dashes": "---\nconfigs:\n-   config_name: a\n    data_files:\n    -   x\n    -   y\n---\n",
    "an entry below its dash": "---\nconfigs:\n-\n  config_name: a\n  data_files: x\n---\n",
    "folded": "---\nconfigs:\n- config_name: a\n  data_files: x\n    y\n---\n",
    "block text": "---\nconfigs:\n- config_name: a\n  data_files: |-\n    x\n- config_name: b\n  data_files: >-\n    y\n    z\n---\n",
    "null": "---\nconfigs:\n- config_name: a\n  data_files: null\n- config_name: b\n  data_files: ~\n- config_name: c\n  data_files:\n---\n",
    "true": "---\nconfigs:\n- config_name: a\n  default: True\n- config_name: b\n  default: yes\n- config_name: c\n  default: false\n---\n",
    "a name twice": "---\nconfigs:\n- config_name: a\n  data_files: x\n- config_name: b\n- config_name: a\n  data_files: y\n---\n",
    "a version": "---\nconfigs:\n- config_name: 3.0.0\n  version: 1.0.0\n- config_name: 20220301.en\n---\n",
    "a tab": "---\nconfigs:\n\t- config_name: a\n---\n",
    "wrong indents": "---\nconfigs:\n- config_name: a\n    data_files: x\n---\n",
    "unclosed": "---\nconfigs: [{config_name: a\n---\n",
    "an anchor": "---\nconfigs:\n- &x\n  config_name: a\n- *x\n---\n",
    "a tag": "---\nconfigs: !!python/object:x.y\n- config_name: a\n---\n",
    "emoji": "---\nconfigs:\n- config_name: \"\U0001f600é\"\n  data_files: données/*.jsonl\n---\n",
    "a list no deeper than its key": "---\nconfigs:\n- config_name: a\n  data_files:\n  - split: x\n    path: y\n  - split: z\n    path:\n    - y\n  default: true\n---\n",
    "a scalar": "---\njust text\n---\n",
    "nothing": "",
    "dashes only": "---\n---\n",
}
