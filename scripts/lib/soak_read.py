#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""soak_read.py - count the rounds of the races in a boot of "soak"

Usage: soak_read.py DIR [--timed-out LIMIT] [--suspend] RACE...

Reads the logs in DIR of a guest that ran these races. Prints a line "TEST ROUNDS" for each
race that passed, and to stderr each problem: a race that failed, never ended or did not run,
a splat, what is still allocated after the races (see LEFT), and an OOM victim that keeps the
kernel from suspending.
Exit: 0 no problem; 2 a problem; 1 no logs.
"""

import pathlib
import re
import sys

import ktap
import ktap_read

ROUNDS = re.compile(r"^# \S+:\d+:\w+:(?P<rounds>\d+) rounds\b")

# Allowed growth since before the races. The guest's shell may grow; cgroups and mms may not.
LEFT = {"mm_struct": 0, "cgroups": 0, "vm_area_struct": 16, "AnonPages_kB": 1024, "PageTables_kB": 128}


def read(text, races, suspend=False):
    """Returns the rounds of each of the races that passed, and the problems."""
    rounds, problems, missing = {}, [], list(races)
    left = {"before": {}, "after": {}}
    ended = suspended = False
    for node, _ in ktap_read.read(text).all():
        missing = [race for race in missing if race != node.name]
        count = [int(m["rounds"]) for line in node.log if (m := ROUNDS.match(line))][-1:]
        if node.result != "pass":
            problems.append(f"{node.name}: {node.result} {node.note}".rstrip())
        elif not any(count):
            problems.append(f"{node.name}: passed without a round")
        else:
            rounds[node.name] = rounds.get(node.name, 0) + count[0]
    for line in text:
        if (m := ktap.MARK.match(line)) and m["what"] in left:
            name, _, number = m["value"].partition(" ")
            if number.isdigit():
                left[m["what"]][name] = int(number)
        elif m and m["what"] == "suspends":
            suspend = False
            words = m["value"].split()
            if len(words) != 2 or not all(word.isdecimal() for word in words):
                problems.append(f"not the numbers of suspends: {m['value']}")
                continue
            ok, failed = map(int, words)
            if failed or not ok:
                problems.append(f"the kernel could not suspend {failed} of {ok + failed} times during the races")
        ended = ended or line == "lab: end"
        suspended = suspended or line == "lab: suspend ok"
    problems += [f"{race} did not run" for race in missing]
    if suspend:
        problems.append("the suspends during the races were not counted")
    if not ended:
        problems.append("the run broke off: no end mark")
    elif not suspended:
        problems.append("the kernel cannot suspend after the races")
    for name, most in LEFT.items():
        before, after = (left[when].get(name) for when in ("before", "after"))
        if before is None or after is None:
            problems.append(f"{name} was not read before and after the races")
        elif after > before + most:
            problems.append(f"{name}: {before} before the races, {after} after them")
    return rounds, problems


def main():
    parser = ktap.arguments(__doc__)
    parser.add_argument("races", nargs="+", metavar="RACE")
    parser.add_argument("--suspend", action="store_true")
    args = parser.parse_args()
    directory = pathlib.Path(args.dir)
    console = directory / "console.log"
    if not console.exists():
        print(f"soak_read.py: no console.log in {directory}", file=sys.stderr)
        return 1
    rounds, problems = read(ktap.lines(directory / "ktap.log"), args.races, args.suspend)
    dmesg = directory / "dmesg.log.gz"
    problems = (ktap.parse_console(ktap.lines(console), console)
                or ktap.parse_console(ktap.lines(dmesg), dmesg)) + problems
    if args.timed_out:
        problems.insert(0, f"not done after {args.timed_out} s")
    for name, count in rounds.items():
        print(name, count)
    for problem in problems:
        print(f"  {problem}", file=sys.stderr)
    return 2 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
