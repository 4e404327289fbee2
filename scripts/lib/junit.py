#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""junit.py - convert the output of run_kselftest.sh, from any machine, to JUnit XML

Usage: junit.py KTAP-FILE >junit.xml

For runs of the tests that scripts/lab kselftest-tar packs. Each test becomes a test
case. If the run printed nothing, broke off, or failed outside its tests, the case "run"
has an error, and each problem is printed to stderr.
Exit: 0 all tests passed or were skipped; 2 one did not; 1 cannot read the file, no XML.
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
        problems.append("the run broke off: its last line is incomplete")
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
