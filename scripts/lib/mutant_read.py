#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""mutant_read.py - report whether the tests found the planted fault

Usage: mutant_read.py DIR [--seconds N] [--timed-out LIMIT]
       mutant_read.py DIR --scripts

Reads the logs that boot-one left in DIR, as ktap.py does. Writes DIR/result.json, and
DIR/verdict: a word, and by what it was found. The word is

  found     a test failed or never ended, or the kernel's log has a splat
  other     the same, but it was none of the tests of MUTANT_TESTS
  hung      no test failed, but the guest did not end in time
  survived  all tests passed or were skipped
  unknown   no test failed, and not all of them were run

MUTANT_TESTS may have the word "splat". See mutant_qemu.py, which may have ended the guest.
With --scripts, only prints the test scripts that run the tests of MUTANT_TESTS, as
kselftest's runner names them; nothing if it cannot tell.
Environment: MUTANT_TESTS, names of tests with * and ?
Exit: 0 the verdict is sure, and can be cached; 2 hung or unknown; 1 no logs.
"""

import json
import os
import pathlib
import sys

import ktap
import ktap_read
import mutant_qemu

SHOWN = 3


def clear(result, ended):
    """Drops what is only there because the guest was ended before its last test."""
    if ended:
        result["problems"] = [p for p in result["problems"] if "; see " not in p]
        result["tests"] = {n: t for n, t in result["tests"].items() if t["result"] != "crash"}
    return result


def shown(names):
    more = len(names) - SHOWN
    return " ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def judge(result, patterns, timed_out=None):
    """Returns the verdict: a word, and what led to it."""
    failed = [n for n, t in result["tests"].items() if t["result"] in ("fail", "crash")]
    splats = [p for p in result["problems"] if ktap.is_splat(p)]
    found = [n for n in failed if mutant_qemu.named(n, patterns)]
    if found or splats and "splat" in patterns:
        return "found", shown(found + [n for n in failed if n not in found]) or splats[0]
    if failed or splats:
        return "other", shown(failed) or splats[0]
    if timed_out:
        return "hung", f"not done after {timed_out} s"
    if result["problems"]:
        return "unknown", result["problems"][0]
    skipped = [n for n, t in result["tests"].items()
               if t["result"] == "skip" and mutant_qemu.named(n, patterns)]
    return "survived", f"skipped: {shown(skipped)}" if skipped else ""


def scripts_with(lines, patterns):
    """Returns the scripts ("mm:ksft_x.sh") that run these tests; [] if any is not there."""
    scripts, missing, tests = [], set(patterns), []
    for line in lines:
        if not (found := ktap_read.result_of(line)):
            continue
        depth, name, _, _ = found
        if depth:
            tests.append(name.split()[0])
            continue
        here = {p for p in patterns if any(mutant_qemu.named(t, [p]) for t in tests)}
        if here:
            scripts.append(name.removeprefix("selftests: ").replace(": ", ":"))
        missing, tests = missing - here, []
    return [] if missing else scripts


def main():
    parser = ktap.arguments(__doc__)
    parser.add_argument("--scripts", action="store_true")
    args = parser.parse_args()
    directory = pathlib.Path(args.dir)
    patterns = os.environ.get("MUTANT_TESTS", "").split()
    if args.scripts:
        print(*scripts_with(ktap.lines(directory / "ktap.log"), patterns))
        return 0
    if not (directory / "console.log").exists():
        print(f"mutant_read.py: no console.log in {directory}", file=sys.stderr)
        return 1
    result = ktap.judge(directory, args.seconds, args.timed_out)
    result = clear(result, (directory / "ended").exists())
    word, why = judge(result, patterns, args.timed_out)
    (directory / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (directory / "verdict").write_text(f"{word} {why}\n", encoding="utf-8")
    return 2 if word in ("hung", "unknown") else 0


if __name__ == "__main__":
    sys.exit(main())
