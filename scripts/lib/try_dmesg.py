#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""try_dmesg.py - print the lines of a kernel log that others do not have

Usage: try_dmesg.py LOG OTHER...

LOG and OTHER are the folders of boots, with dmesg.log.gz and console.log. Compares lines
as ktap.kind() has them. Ignores stacks, registers, and messages about an emulated clock.
Prints each line of LOG once that no OTHER has, in the form in which it was compared.
Exit: 0; 1 a folder has no log.
"""

import argparse
import pathlib
import re
import sys

import ktap

# Stack and registers: an OOM kill prints them, and they differ each time.
TRACE = re.compile(r"^(<\d+>)?\[[^]]*\]\s*(\[[ TC]+\d+\]\s*)?"
                   r"((\? )?[\w.]+\+0x[0-9a-f]+/0x[0-9a-f]+|R\w\w: |\w\w: [0-9a-f]{4} |Code: |</?TASK>)")
# Messages about the emulated clock: they come and go with the load of the host.
CLOCK = re.compile(r"\]\s*(tsc: |clocksource: |sched_clock: Marking|calibrate_delay|hrtimer: interrupt took)")


def log_lines(directory):
    directory = pathlib.Path(directory)
    got = ktap.lines(directory / "dmesg.log.gz")
    # A kernel that died left no other log than the console's.
    got = got if any(got) else ktap.lines(directory / "console.log")
    return [line for line in got if line.strip() and not TRACE.match(line) and not CLOCK.search(line)]


def new_lines(log, others):
    known = {ktap.kind(line) for other in others for line in log_lines(other)}
    out = {}
    for line in map(ktap.kind, log_lines(log)):
        if line and line not in known:
            out[line] = True
    return list(out)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", metavar="LOG", type=pathlib.Path)
    parser.add_argument("others", metavar="OTHER", nargs="+", type=pathlib.Path)
    args = parser.parse_args()
    for directory in [args.log, *args.others]:
        if not any(log_lines(directory)):
            print(f"try_dmesg.py: {directory} has no log", file=sys.stderr)
            return 1
    for line in new_lines(args.log, args.others):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
