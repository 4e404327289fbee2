#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""runflakes.py - list tests whose result changed although the kernel did not

Usage: runflakes.py --room DIR

Counts, over all kept runs, how often a test gave another result than in the previous boot
of the same kernel image and initramfs. Ignores cached boots. The pseudo-test "(boot)" passes
if the boot had no problem.
Exit: 0 no result changed; 2 a result changed; 1 fewer than two runs are kept.
"""

import argparse
import collections
import pathlib
import sys

import runs


def boots(kept):
    """Returns (base, flavour, image, initramfs) -> its boots, the oldest first."""
    groups = {}
    for run in kept:
        for level in run["levels"]:
            if level["booted"]:
                key = run["base"], run["flavour"], level["image"], level["initramfs"]
                groups.setdefault(key, []).append(level)
    return groups


def results(level):
    out = {test: result for test, (result, _) in level["tests"].items()}
    out["(boot)"] = "fail" if level["problems"] else "pass"
    return out


def flakes(groups):
    """Returns (changes, boots, test, where, results) for each test that changed, the worst first."""
    out = []
    for (base, flavour, _, _), levels in groups.items():
        every = [results(level) for level in levels]
        where = f"{base}{' ' + flavour if flavour != 'lean' else ''} {levels[0]['name']}"
        for test in sorted({test for one in every for test in one}):
            got = [one.get(test, "not run") for one in every]
            changes = sum(a != b for a, b in zip(got, got[1:]))
            if changes:
                count = ", ".join(f"{n} {word}" for word, n in collections.Counter(got).most_common())
                out.append((changes, len(got), test, where, count))
    return sorted(out, key=lambda flake: (-flake[0] / flake[1], flake[2:]))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--room", type=pathlib.Path, required=True)
    args = parser.parse_args()
    kept, bad = runs.kept(args.room)
    if len(kept) < 2:
        print(f"flakes: needs at least two kept runs, but there are {len(kept)}", file=sys.stderr)
        return 1
    groups = boots(kept)
    again = [levels for levels in groups.values() if len(levels) > 1]
    found = flakes(groups)
    for changes, count, test, where, words in found:
        print(f"{test} at {where}: {changes} change{'s' if changes > 1 else ''} in {count} boots ({words})")
    print(f"{len(kept)} runs with {sum(map(len, groups.values()))} boots of {len(groups)} kernels; "
          f"{len(again)} of these were booted more than once")
    if bad:
        print(f"files that are not kept runs: {bad}")
    return 2 if found else 0


if __name__ == "__main__":
    sys.exit(main())
