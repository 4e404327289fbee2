#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""junit.py - what run_kselftest.sh printed on any machine, as JUnit XML

Usage: junit.py KTAP-FILE >junit.xml

For a run of what scripts/lab kselftest-tar packs. Each test is a test case; a run
that printed nothing, broke off or had trouble beyond its tests has an error in
the case "run", and a line on stderr for each.
Exit: 0 all tests passed or were skipped; 2 not; 1 no such file, and no XML.
"""

import argparse
import pathlib
import sys

import ktap
import matrix


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="KTAP-FILE", type=pathlib.Path)
    path = parser.parse_args().file
    try:
        with path.open("rb"):
            pass
    except OSError as err:
        print(f"junit: {path}: {err.strerror}", file=sys.stderr)
        return 1

    text = ktap.lines(path)
    tests, problems = ktap.parse_ktap(text, end_mark=False)
    if not problems and not tests:
        problems.append("no test was run")
    elif not problems and text[-1]:
        problems.append("the run broke off: its last line has no end")
    found = [("kselftest", None, problem) for problem in problems]
    found += [("kselftest", name, ": ".join(filter(None, (test["result"], test["detail"]))))
              for name, test in tests.items() if test["result"] not in ("pass", "skip")]
    level = {"name": "kselftest", "seconds": None, "problems": problems, "tests": tests}
    sys.stdout.buffer.write(matrix.junit([level], list(tests), found, whole="run").encode())
    for problem in problems:
        print(f"junit: {path}: {problem}", file=sys.stderr)
    return 2 if found else 0


if __name__ == "__main__":
    sys.exit(main())
