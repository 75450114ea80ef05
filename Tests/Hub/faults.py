"""Runs `coppice download` against a hub that misbehaves as scenarios.py says, and against caches that were
tampered with.

    python faults.py --binary .build/release/coppice [--only WORD] [--show] [--jobs N]

After every run: the exit code and what was said; no token in the output, in any file, at the other host; nothing
outside of the cache; nothing in it that is not what its name says; no snapshot that is taken for whole when it is not;
and the same command succeeds when the hub is well again. One line a case; exit 1 if any fails. Standard library only.
"""

import argparse
import concurrent.futures
import os
import re
import sys
import tempfile

import commands
import repositories
import scenarios
import tampered
from bench import Place, Run, benched, is_right, looked_at, once, variables
from clients import Cases, expect
from originals import GOOD, TOKENS
from server import Hub
from stored import read_repositories


def played(binary, shared, scenario, show):
    """One scenario, with a hub and a cache of its own."""
    with Hub(None, TOKENS, repositories=shared) as hub, tempfile.TemporaryDirectory() as folder:
        place = Place(folder)
        outside = os.path.join(folder, "OUTSIDE")
        hub.settings.update(scenario.settings)
        for rule in scenario.rules:
            names = {"names": [n.replace("/OUTSIDE", outside) for n in rule["names"]]} if "names" in rule else {}
            hub.rules.add({**rule, **names})
        command = [binary, "download", scenario.repository, *scenario.arguments]
        env = variables(hub, place, scenario.token, **scenario.env)
        run = Run(command, env, place.cwd, scenario.seconds)
        if show:
            print(f"      {scenario.name}: exit {run.code}, {run.seconds:.1f} s, {run.memory >> 20} MiB: {run.told}")
        looked_at(run, place, hub, scenario.memory)
        expect(run.code == scenario.code or scenario.code is None, f"exit {run.code}: {run.told[-500:]}")
        for pattern in scenario.says:
            pattern = pattern.replace("ENDPOINT/", re.escape(hub.endpoint) + "/")
            expect(re.search(pattern, run.told), f"nothing of {pattern!r} in: {run.told}")
        if scenario.gets is not None:
            gets = [e for e in hub.log() if e["host"] == "cdn" and e["method"] == "GET"]
            expect(len(gets) == scenario.gets, f"{len(gets)} requests for the weights, expected {scenario.gets}")
        if run.code == 0:
            is_right(hub, scenario.repository, run.out.strip().splitlines()[-1])
        if scenario.once:
            once(hub, 7881504)
        if run.code:
            expect(len(run.err.strip()) > 20 and len(run.err) < 3000, f"a message of {len(run.err)} characters")
            offline = variables(hub, place, scenario.token, **{**scenario.env, "HF_HUB_OFFLINE": "1"})
            hub.clear()
            again = Run(command, offline, place.cwd, 20)
            expect(again.code in (1, 64), f"offline, exit {again.code}: half of it is taken for whole: {again.told}")
            expect(not hub.log(), "a request offline")
        if scenario.recovers and run.code:
            hub.clear()
            hub.settings["page_size"] = 1000
            env = variables(hub, place, GOOD)
            again = Run([binary, "download", scenario.repository], env, place.cwd, 60)
            looked_at(again, place, hub)
            expect(again.code == 0, f"the hub is well again, and: {again.told[-500:]}")
            is_right(hub, scenario.repository, again.out.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True)
    parser.add_argument("--only", default="", help="scenarios with this in their names")
    parser.add_argument("--show", action="store_true", help="what each run says")
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--long", action="store_true", help="also what takes minutes")
    arguments = parser.parse_args()
    binary, cases = os.path.abspath(arguments.binary), Cases()
    with tempfile.TemporaryDirectory() as work:
        root = os.path.join(work, "root")
        repositories.make(root, with_parquet=False)
        shared = read_repositories(root)
        todo = [(f"{part}: {s.name}", lambda s=s: played(binary, shared, s, arguments.show))
                for part, found in scenarios.ALL.items() for s in found if arguments.long or not s.long]
        todo += [(f"{part}: {name}", lambda body=body: benched(binary, shared, body, arguments.show))
                 for part, found in (("tampered", tampered.CASES), ("commands", commands.CASES))
                 for name, body in found.items()]
        todo = [(name, body) for name, body in todo if arguments.only in name]
        with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
            for done in [pool.submit(cases.check, name, body) for name, body in todo]:
                done.result()
    return cases.end()


if __name__ == "__main__":
    sys.exit(main())
