#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""junit.py - convert KTAP, of any depth and from any machine, to JUnit XML

Usage: junit.py KTAP-FILE >junit.xml

KTAP-FILE is the output of run_kselftest.sh, of KUnit or of any test that prints KTAP, or a
kernel log that has such output; see ktap_read.py. Each test that has tests becomes a suite
with its path as the name, and each of these a test case. If the run printed nothing, broke
off, or something failed outside its tests, the case "run" of the suite "run" has an error,
and each of these problems is printed to stderr.
Exit: 0 all tests passed or were skipped; 2 one did not; 1 cannot read the file, no XML.
"""

import argparse
import pathlib
import sys

import ktap
import ktap_read
import matrix

OWN = 20        # lines that a test printed before it failed


def suites(root):
    """Returns the suites, as matrix.junit() takes levels, the first for the run as a whole; and the failures."""
    run: dict = {"name": "run", "seconds": None, "problems": [], "tests": {}, "whole": True}
    failures = []
    all_suites: dict = {"run": run}
    for node, parents in root.all():
        path = "/".join((parent.short() for parent in parents[1:])) or "run"
        if node.children:
            whole = "/".join((part.short() for part in (*parents[1:], node)))
            run["problems"] += [f"{whole}: {problem}" for problem in node.problems()]
            if node.result == "crash":
                run["problems"].append(f"{whole} started and never ended")
            continue
        suite = all_suites.setdefault(path, {"name": path, "seconds": None, "problems": [], "tests": {}, "whole": False})
        name, times = node.short(), 1
        while name in suite["tests"]:
            times += 1
            name = f"{node.short()}#{times}"
        suite["tests"][name] = {"result": node.result, "detail": node.note}
        if node.result not in ("pass", "skip"):
            failures.append((path, name, ": ".join(filter(None, (node.result, node.note)))))
            failures += [(path, name, line.lstrip("# ")) for line in node.log[-OWN:]]
    if not root.children:
        if root.plan == 0 and root.note.upper().startswith("SKIP"):
            run["tests"]["all"] = {"result": "skip", "detail": root.note[4:].strip()}
        else:
            run["problems"].append(f"no test was run{': ' + root.note if root.note else ''}")
    else:
        run["problems"] += [root.note] if root.note.startswith("Bail out!") else []
        run["problems"] += root.problems()
    return list(all_suites.values()), failures


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
    levels, found = suites(ktap_read.read(text))
    problems = levels[0]["problems"]
    if not problems and text[-1]:
        problems.append("the run broke off: its last line is incomplete")
    found += [("run", None, problem) for problem in problems]
    sys.stdout.buffer.write(matrix.junit(levels, None, found, whole="run").encode())
    for problem in problems:
        print(f"junit: {path}: {problem}", file=sys.stderr)
    return 2 if found else 0


if __name__ == "__main__":
    sys.exit(main())
