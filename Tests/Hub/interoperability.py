"""Do Coppice and `huggingface_hub` use each other's caches? And is the test hub right, as far as its clients can tell?

    python interoperability.py --venvs DIR [--binary .build/release/coppice] [--versions 2.4.0 …] [--no-datasets]
        [--transformers .deps/venv/bin/python]

Makes an environment for each version below DIR. Without a binary, only the first half: what the originals do with the
test hub. One line a case; exit 1 if any fails. Needs pyarrow to make the repositories.
"""

import argparse
import os
import sys
import tempfile

import originals
import repositories
import shared_caches
from clients import DATASETS, VERSIONS, Cases, Client, make_environments
from server import Hub


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--venvs", required=True, help="folder for the environments; those that are there are used")
    parser.add_argument("--binary", help="the program; without it, only the originals run")
    parser.add_argument("--versions", nargs="+", default=list(VERSIONS), choices=VERSIONS)
    parser.add_argument("--no-datasets", action="store_true", help="leave load_dataset out")
    parser.add_argument("--transformers", metavar="PYTHON", help="a Python that has transformers")
    parser.add_argument("--no-originals", action="store_true", help="only what Coppice has to do with them")
    arguments = parser.parse_args()
    folder = os.path.abspath(arguments.venvs)
    with_datasets = not arguments.no_datasets and not arguments.no_originals
    make_environments(folder, [*arguments.versions, *([DATASETS] if with_datasets else [])])
    cases = Cases()
    with tempfile.TemporaryDirectory() as work:
        root = os.path.join(work, "root")
        repositories.make(root)
        originals.controlled(cases, root)
        with Hub(root, originals.TOKENS) as hub:
            for version in arguments.versions:
                if not arguments.no_originals:
                    originals.proven(cases, hub, Client(folder, version))
            if with_datasets:
                originals.loaded(cases, hub, Client(folder, DATASETS))
            if arguments.binary:
                for version in arguments.versions:
                    shared_caches.exchanged(cases, hub, Client(folder, version), arguments.binary)
                if arguments.transformers:
                    client = Client(folder, "transformers", arguments.transformers)
                    shared_caches.exchanged(cases, hub, client, arguments.binary, shared_caches.OF_TRANSFORMERS)
    return cases.end()


if __name__ == "__main__":
    sys.exit(main())
