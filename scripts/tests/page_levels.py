#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""page_levels.py - logs of levels that nobody booted, for tests of the page

Usage: page_levels.py --expected FILE --base BASE DIR LEVEL ...

Writes result.json, ktap.log and console.log of each LEVEL to DIR/LEVEL. The tests give
what is expected; but at the last LEVEL the first fails, the second crashed, the third
did not run, and the kernel has a problem. Some lines have what HTML would trip over.
Prints the arguments of matrix.py and page.py, one a line.
Exit: 0; 1 not done.
"""

import argparse
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import matrix  # noqa: E402

NASTY = "prog.c:7:<b>&amp; see http://example.org/</pre>\x01\x1b[31m " + "x" * 500
PROBLEM = "[    3.25] BUG: <script>alert(1)</script>"


def results(expected, index, order, spoil):
    tests = {name: {"result": matrix.wanted(expected, name, index, order), "detail": ""} for name in expected}
    for name, got in tests.items():
        if got["result"] == "skip":
            got["detail"] = expected[name][1]
        elif got["result"] == "any":
            got["result"] = "fail"
    if spoil:
        first, second, third = list(tests)[:3]
        tests[first]["result"] = "crash" if tests[first]["result"] == "fail" else "fail"
        tests[second] = {"result": "crash", "detail": "started and never ended"}
        del tests[third]
    return tests


def ktap_log(tests):
    out = ["TAP version 13", "1..1"]
    for number, (name, got) in enumerate(tests.items(), 1):
        out.append(f"# # #  RUN           {name} ...")
        if got["result"] == "crash":
            continue
        if got["result"] == "fail":
            out.append(f"# # # {NASTY}")
        note = f" # SKIP {got['detail']}" if got["result"] == "skip" else ""
        out.append(f"# # {'not ok' if got['result'] == 'fail' else 'ok'} {number} {name}{note}")
    return "\n".join(out) + "\n"


def write_level(directory, tests, problem):
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "ktap.log").write_text(ktap_log(tests), encoding="utf-8")
    (directory / "console.log").write_text("[    1.5] boot\n" + (PROBLEM + "\nafter it\n" if problem else ""))
    problems = [f"{directory}/console.log:2: {PROBLEM}"] if problem else []
    (directory / "result.json").write_text(json.dumps({"seconds": 9, "problems": problems, "tests": tests}))


def make(directory, expected, levels):
    """The arguments for page.py."""
    for index, name in enumerate(levels):
        last = index == len(levels) - 1
        write_level(directory / name, results(expected, index, levels, last), last)
    return [f"{name}={'cached:' if name == levels[1] else ''}{directory / name / 'result.json'}" for name in levels]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--expected", type=pathlib.Path, required=True)
    parser.add_argument("--base", required=True)
    parser.add_argument("dir", type=pathlib.Path)
    parser.add_argument("level", nargs="+")
    args = parser.parse_args()
    try:
        expected = matrix.read_expected(args.expected, args.base, args.level[1:])
        if len(expected) < 3 or len(args.level) < 2:
            raise matrix.BadInput("three tests and two levels are needed")
        print("\n".join(make(args.dir, expected, args.level)))
    except (matrix.BadInput, OSError) as err:
        print(f"page_levels.py: {err}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
