#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""ktap_read.py - read KTAP: the results of tests, nested to any depth

Usage: ktap_read.py KTAP-FILE

Prints "PATH: RESULT NOTE" for each test, those that it consists of first. The readers of logs
import read().
Follows Documentation/dev-tools/ktap.rst, and what kselftest.h and kselftest's runner print: "# "
is an indentation, too. Takes the output of run_kselftest.sh, of KUnit, of any program that prints
TAP, and a kernel log that has one of these. Other lines are kept as what the next result printed.

tools/testing/kunit/kunit_parser.py of the tree is not used: it takes the runner's "# " for a
comment and XFAIL for a failure, prints while it reads, and whoever has only a log has no tree.
guest/ktap-results reads the runner's two upper levels, on machines without Python.
Exit: 0; 1 cannot read the file.
"""

import argparse
import re
import sys

# Of a kernel log: syslog's words, the level, the time, the caller. The rest may be indented.
STAMP = re.compile(r"^(?:[A-Z][a-z]{2} .{1,80}? kernel: )?(?:<\d+>)?\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? ?")
INDENT = r"^(?P<indent>(?:# | )*)"
# The number is required, but not by TAP. A result need not have a name.
RESULT = re.compile(INDENT + r"(?P<verdict>ok|not ok)(?: +(?P<number>\d+)\b| (?=-\s))(?P<rest>.*)$")
PLAN = re.compile(INDENT + r"1\.\.(?P<count>\d{1,9})\b(?P<rest>.*)$")
BAIL = re.compile(INDENT + r"Bail out!(?P<why>.*)$")
# What begins, and has to end with a result of that name: a test of the kselftest harness, ...
RUN = re.compile(INDENT + r"#\s+RUN\s+(?P<name>\S+) \.\.\.$")
# ... and a suite of KUnit, or a program that the runner starts.
OPEN = re.compile(INDENT + r"# (?:Subtest: *(?P<suite>.*\S)|(?P<program>selftests: \S+: \S+))\s*$")
# A "#" that is not behind a space belongs to the name.
NOTE = re.compile(r"(?:^|\s)#")
SKIP = re.compile(r"SKIP\w*[:\s]*", re.I)
EXPECTED = re.compile(r"(XFAIL|TODO)\b", re.I)
DEEPEST = 100


def depth_of(m):
    return min(len(m["indent"]) // 2, DEEPEST)


def result_of(line):
    """Returns depth, name, result and note of a result line; None for any other line."""
    if not (m := RESULT.match(line)):
        return None
    name, mark, note = m["rest"].partition(found[0]) if (found := NOTE.search(m["rest"])) else (m["rest"], "", "")
    name, note = re.sub(r"^\s*-(\s+|$)", "", name).strip(), note.strip()
    depth = depth_of(m)
    if mark and (skip := SKIP.match(note)):
        note = note[skip.end():]
        # Some programs give a skipped test no name before the "#".
        return (depth, name, "skip", note) if name else (depth, note or m["number"] or "-", "skip", "")
    name = name or m["number"] or "-"
    # An expected failure is none: kselftest.h calls it "ok", the KTAP document "not ok".
    if mark and EXPECTED.match(note):
        return depth, name, "pass", note
    return depth, name, "pass" if m["verdict"] == "ok" else "fail", note


class Node:
    """A test, with those that it consists of.

    result: pass, fail or skip; crash if it began and has no result. depth: levels of indentation.
    plan: how many tests it said to have, or None. log: the lines that it printed itself.
    """

    def __init__(self, name, result, note="", depth=0, children=(), plan=None, log=()):
        self.name, self.result, self.note, self.depth = name, result, note, depth
        self.children, self.plan, self.log = list(children), plan, list(log)

    def all(self):
        """Yields all tests in this one, each behind those that it consists of, with their parents."""
        stack: list = [(child, (self,)) for child in reversed(self.children)]
        seen = set()
        while stack:
            node, parents = stack[-1]
            if node.children and id(node) not in seen:
                seen.add(id(node))
                stack += [(child, (*parents, node)) for child in reversed(node.children)]
                continue
            stack.pop()
            yield node, parents

    def short(self):
        """Returns its name; TARGET:PROGRAM for what kselftest's runner started."""
        return re.sub(r"^selftests: (\S+): (\S+)$", r"\1:\2", self.name)

    def reported(self):
        """Returns how many tests reported a result to this one."""
        upper = min((child.depth for child in self.children), default=0)
        return sum(child.depth == upper and child.result != "crash" for child in self.children)

    def problems(self):
        """Returns what is wrong with this one beside its tests, if it has any: they have results."""
        out = []
        if not self.children and not self.plan:
            return out
        if self.plan is not None and self.plan != self.reported():
            out.append(f"{self.plan} tests planned, {self.reported()} reported")
        bad = any(child.result in ("fail", "crash") for child in self.children)
        if self.result == "fail" and (not bad or re.match(r"(?!exit=1$)exit=|TIMEOUT|ERROR", self.note)):
            out.append(f"failed outside its tests: {self.note or 'no reason given'}")
        return out


class Reader:
    def __init__(self):
        self.done = []          # tests that are no part of another one yet
        self.plans = {}         # depth -> number of tests
        self.running = None     # depth and name of a test of the harness
        self.opened = []        # depth, name, and the length of "done" then
        self.log, self.outer = [], []
        self.note = ""          # why there are no tests

    def line(self, line):
        line = STAMP.sub("", line)
        if found := result_of(line):
            self.result(*found)
        elif m := PLAN.match(line):
            self.planned(depth_of(m), int(m["count"]), m["rest"])
        elif m := RUN.match(line):
            self.crashed()
            self.running = depth_of(m), m["name"]
            self.outer += self.log
            self.log = []
        elif m := OPEN.match(line):
            self.open(depth_of(m), m["suite"] or m["program"])
        elif m := BAIL.match(line):
            self.note = f"Bail out!{m['why']}"
        elif line.strip():
            self.log.append(line)

    def planned(self, depth, count, rest):
        # The runner has a plan for each target.
        self.plans[depth] = count + (self.plans.get(depth, 0) if not depth else 0)
        if not count and (m := NOTE.search(rest)):
            self.note = rest[m.end():].strip()

    def open(self, depth, name):
        # KUnit prints it in the suite, TAP above it.
        if self.opened and self.opened[-1][0] == depth:
            self.wrap()
        self.opened.append((depth, name, len(self.done)))

    def wrap(self):
        """The last suite that began has no result."""
        depth, name, start = self.opened.pop()
        children, self.done[start:] = self.done[start:], []
        inside = depth in self.plans or any(child.depth == depth for child in children)
        above = depth - 1 if depth and inside else depth
        self.done.append(Node(name, "crash", "started and never ended", above, children, self.plan(above), self.taken()))

    def plan(self, depth):
        """Returns the number of tests that one at that depth said to have, and forgets it."""
        deeper = sorted(d for d in self.plans if d > depth)
        return [self.plans.pop(d) for d in deeper][0] if deeper else None

    def taken(self):
        log, self.log, self.outer = self.outer + self.log, [], []
        return log

    def crashed(self):
        if self.running:
            depth, name = self.running
            self.done.append(Node(name, "crash", "started and never ended", depth, log=self.log))
            self.running, self.log = None, []

    def closed(self, depth, name):
        """Those that a result of that depth and name ends: it is of the first one, so the others crashed."""
        def ends(there, opened):
            return there > depth or there == depth and (
                opened == name or opened.startswith("selftests: ") and name.startswith("selftests: "))
        while len(self.opened) > 1 and ends(*self.opened[-2][:2]):
            self.wrap()
        if self.opened and ends(*self.opened[-1][:2]):
            self.opened.pop()

    def result(self, depth, name, result, note):
        if self.running and self.running[1] == name:
            self.running = None
        elif self.running and self.running[0] >= depth:
            self.crashed()
        self.closed(depth, name)
        start = len(self.done)
        while start and self.done[start - 1].depth > depth:
            start -= 1
        children, self.done[start:] = self.done[start:], []
        log = self.taken() if children else self.log
        self.log = []
        self.done.append(Node(name, result, note, depth, children, self.plan(depth), log))

    def end(self):
        self.crashed()
        while self.opened:
            self.wrap()
        return Node("", "pass", self.note, -1, self.done, self.plans.get(min(self.plans, default=0)), self.taken())


def read(text):
    """Returns a Node without a name that has all tests of these lines. If it has a note, that is
    why there are none, or no more: what a plan of no tests, or "Bail out!", gave as the reason."""
    reader = Reader()
    for line in text:
        reader.line(line)
    return reader.end()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", metavar="KTAP-FILE")
    name = parser.parse_args().file
    try:
        with open(name, encoding="utf-8", errors="replace") as file:
            root = read(line.rstrip("\r\n") for line in file)
    except OSError as err:
        print(f"ktap_read.py: {name}: {err.strerror}", file=sys.stderr)
        return 1
    for node, parents in root.all():
        print(f"{'/'.join(part.short() for part in (*parents[1:], node))}: {node.result} {node.note}".rstrip())
    return 0


if __name__ == "__main__":
    sys.exit(main())
