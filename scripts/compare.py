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
HELD = re.compile(r":not gone, with (?P<pte>-?\d+) kB of page tables, (?P<file>-?\d+) kB of files and shmem$")
TABLES = re.compile(r":(?P<left>\d+) of (?P<all>\d+) kB of page tables left$")
BACK = re.compile(r":(?P<back>\d+ of \d+) kB are back$")
ORDER = re.compile(r":the bottom was empty before the top$")
ROUNDS = re.compile(r":(?P<n>\d+) rounds in \d+ ms")

# Row, and the test and the figure that it is about.
ROWS = (
    ("memory back: not frozen", "oom.global.running", "ms"),
    ("memory back: frozen, one thread", "oom.global.frozen", "ms"),
    ("memory back: frozen, five threads", "oom.global.frozen_threads", "ms"),
    ("five frozen threads exit", "oom_once.frozen_threads_exit", "exit"),
    ("memory back: frozen sharer of the mm", "oom.global.frozen_sharer", "ms"),
    ("frozen sharer exits, without a thaw", "oom.global.frozen_sharer", "exit"),
    ("or holds, in kB of page tables + files and shmem", "oom.global.frozen_sharer", "held"),
    ("memcg task stands still: not frozen", "oom.memcg.running", "ms"),
    ("memcg task stands still: frozen, five threads", "oom.memcg.frozen_threads", "ms"),
    ("memcg task stands still: frozen sharer", "oom.memcg.frozen_sharer", "ms"),
    ("first to go of many vmas", "walk.highest_vma_first", "order"),
    ("first to go inside of a vma", "walk.one_vma_from_top", "order"),
    ("reaper goes on while exit_mmap() waits", "walk.gives_way_to_exit", "walk"),
    ("page tables left by the OOM reaper, kB of kB", "oom_once.page_tables", "tables"),
    ("kB back by process_mrelease() after the exit", "mrelease.exited_pinned", "back"),
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
            # Of some catches, the one that nothing else held up.
            least = min(int(m["us"]), found[name].get("us", int(m["us"])))
            found[name].update(us=least, walk=f"{least / 1000:.1f}")
        elif m := TABLES.search(line):
            found[name]["tables"] = f"{m['left']} of {m['all']}"
        elif m := BACK.search(line):
            found[name]["back"] = m["back"]
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
