#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""compare.py - print the results of the tests on several kernels in one table

Usage: compare.py NAME=DIR ...

NAME is the head of a column, DIR a folder that lib/boot-one wrote (ktap.log). A cell has
the milliseconds that the test printed, or "ok", from one run; FAIL if it failed; "-" if
the run does not have that test. Prints the table in Markdown.
Exit: 0 success; 1 a DIR has no ktap.log.
"""

import argparse
import pathlib
import re
import sys

import ktap
import ktap_read

TIME = re.compile(r":(?:waited for memory for )?(?P<ms>\d+) ms$")

# The rows, with the test that each one shows.
ROWS = (
    ("memory back: not frozen", "victims.global.running"),
    ("memory back: frozen, one thread", "victims.global.frozen"),
    ("memory back: frozen, three threads", "victims.global.frozen_threads"),
    ("task of a memory cgroup waits: not frozen", "victims.memcg.running"),
    ("... frozen, three threads", "victims.memcg.frozen_threads"),
    ("... frozen sharer of the mm", "oom.memcg.frozen_sharer"),
    ("... frozen child of a vfork()", "oom.memcg.frozen_vfork_child"),
    ("frozen sharer exits, without a thaw", "oom.global.frozen_sharer"),
    ("no bystander is killed: the victim exits", "oom_memcg.exiting_victim"),
    ("... its last thread exits", "oom_memcg.exiting_last_thread"),
    ("... and all of its memory is needed", "oom_memcg.exiting_private_victim"),
    ("... its mm is in a frozen process", "oom_memcg.bystanders_live"),
    ("... and it is a zombie", "oom_memcg.bystanders_live_zombie"),
    ("highest vma first", "mrelease.highest_vma_first"),
    ("from the top inside of a vma", "mrelease.one_vma_from_top"),
    ("page tables freed: OOM reaper", "oom.memcg.page_tables"),
    ("page tables freed: process_mrelease()", "mrelease.frees_page_tables"),
    ("process_mrelease() after the exit", "mrelease.exited_pinned"),
)


def read(path):
    """Returns a dict: test name -> its cell."""
    cells = {}
    with path.open("rb"):
        pass
    for node, _ in ktap_read.read(ktap.lines(path)).all():
        if node.depth and ktap.TEST.match(node.name) and node.result != "crash":
            words = [m["ms"] for line in node.log if (m := TIME.search(line))][-1:] + ["FAIL"] * (node.result == "fail")
            cells[node.name] = "skip" if node.result == "skip" else " ".join(words) or "ok"
    return cells


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
    for row, test in ROWS:
        print("| " + " | ".join([row, *(cells.get(test, "-") for _, cells in columns)]) + " |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
