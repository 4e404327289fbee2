#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""compare.py - one table of what the tests measured, over several kernels

Usage: compare.py NAME=DIR ...

NAME is a column's head, DIR a folder that scripts/boot wrote (ktap.log). The
figures are those that the tests print: milliseconds, each of one run.
Gives the table in Markdown on stdout; "-" is what a run does not have.
Exit: 0; 1 a DIR has no ktap.log.
"""

import argparse
import pathlib
import re
import sys

RUN = re.compile(r"^(?:#\s+)+RUN\s+(?P<name>\S+) \.\.\.$")
VERDICT = re.compile(r"^(?:# )+(?P<verdict>ok|not ok) \d+ (?P<name>\w+\.[\w.]+)")
TIME = re.compile(r":(?:memory back|went on) after (?P<ms>\d+) ms$")
WALK = re.compile(r":the reaper went on for (?P<us>-?\d+) us, and a walk takes \d+ us$")
EXIT = re.compile(r":exited after another (?P<ms>\d+) ms$")
HELD = re.compile(r":held until thawed: (?P<pte>-?\d+) kB of page tables, (?P<file>-?\d+) kB of files$")
ORDER = re.compile(r":the bottom was empty before the top$")
ROUNDS = re.compile(r":(?P<n>\d+) rounds in \d+ ms")

# Row, and the test and the figure that it is about.
ROWS = (
    ("memory back: not frozen", "oom.global.running", "ms"),
    ("memory back: frozen, one thread", "oom.global.frozen", "ms"),
    ("memory back: frozen, five threads", "oom.global.frozen_threads", "ms"),
    ("five frozen threads exit, before they are thawed", "oom.global.frozen_threads", "exit"),
    ("or hold until then, in kB of page tables + files", "oom.global.frozen_threads", "held"),
    ("memory back: frozen sharer of the mm", "oom.global.frozen_sharer", "ms"),
    ("memcg task stands still: not frozen", "oom.memcg.running", "ms"),
    ("memcg task stands still: frozen, five threads", "oom.memcg.frozen_threads", "ms"),
    ("memcg task stands still: frozen sharer", "oom.memcg.frozen_sharer", "ms"),
    ("first to go of many vmas", "walk.highest_vma_first", "order"),
    ("first to go inside of a vma", "walk.one_vma_from_top", "order"),
    ("reaper goes on while exit_mmap() waits", "walk.gives_way_to_exit", "walk"),
    ("race rounds passed", "mrelease_race", "rounds"),
)


def read(path):
    """Test name -> what its lines said."""
    found, name = {}, None
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        line = line.rstrip("\r")
        if m := RUN.match(line):
            name = m["name"]
            found[name] = {}
        elif m := VERDICT.match(line):
            found.setdefault(m["name"], {})["ok"] = m["verdict"] == "ok"
        elif name is None:
            continue
        elif m := TIME.search(line):
            found[name]["ms"] = m["ms"]
        elif m := EXIT.search(line):
            found[name]["exit"] = m["ms"]
        elif m := HELD.search(line):
            found[name]["exit"] = "no"
            found[name]["held"] = f"{m['pte']} + {m['file']}"
        elif m := WALK.search(line):
            found[name]["walk"] = f"{int(m['us']) / 1000:.1f}"
        elif ORDER.search(line):
            found[name]["order"] = "lowest"
        elif m := ROUNDS.search(line):
            found[name]["rounds"] = int(m["n"])
    return found


def cell(found, test, figure):
    if figure == "rounds":
        races = [t for n, t in found.items() if n.startswith(test + ".")]
        done = sum(t.get("rounds", 0) for t in races if t.get("ok"))
        return f"{done} of {sum(t.get('rounds', 0) for t in races)}" if races else "-"
    entry = found.get(test, {})
    if figure == "order" and entry.get("ok"):
        return "highest"
    return entry.get(figure, "-")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("column", nargs="+", metavar="NAME=DIR")
    args = parser.parse_args()
    columns = []
    for arg in args.column:
        name, _, directory = arg.partition("=")
        try:
            columns.append((name, read(pathlib.Path(directory) / "ktap.log")))
        except OSError as err:
            print(f"compare.py: no run of {name}: {err}", file=sys.stderr)
            return 1
    print("| " + " | ".join(["ms, one run each", *(n for n, _ in columns)]) + " |")
    print("| --- |" + " ---: |" * len(columns))
    for row, test, figure in ROWS:
        print("| " + " | ".join([row, *(cell(f, test, figure) for _, f in columns)]) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
