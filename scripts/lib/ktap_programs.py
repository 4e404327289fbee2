#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""ktap_programs.py - like ktap.py, for a run of any kselftest targets

Usage: ktap_programs.py DIR [--seconds N] [--timed-out LIMIT]

A test program is the test TARGET:PROGRAM; the tests that it reports are
TARGET:PROGRAM/NAME. Replaces addresses and long numbers in names, because they
differ from boot to boot. If a program fails or skips because the guest lacks a
tool, its result is a skip, "the guest has no TOOL".
Writes DIR/result.json; see ktap.py.
Exit: as ktap.py.
"""

import re
import sys

import ktap

PROGRAM = re.compile(r"^(?:# )?selftests: (?P<target>\S+): (?P<program>\S+)$")
# Some programs give a skipped test no name before the "#".
SKIPPED = re.compile(r"^# ok \d+ # SKIP (?P<name>\S.*)$")
# What a shell says. The name of a function of a script, which has a "_" as a rule, is no tool.
NEEDS = re.compile(r"(?:\bsh: |: (?:line )?\d+: )(?P<tool>[A-Za-z0-9][A-Za-z0-9.+-]*): (?:command )?not found\b")


def stable(name):
    """Returns a test's name without what differs from boot to boot."""
    name = re.sub(r"0x[0-9a-fA-F]+", "0xX", name)
    return re.sub(r"\d{5,}", "N", name)


class Programs(ktap.Run):
    def __init__(self):
        super().__init__()
        self.current = None     # the program that runs, TARGET:PROGRAM
        self.found = []         # its (name, result, note)
        self.tool = None        # a tool that it did not find

    def line(self, line):
        if line == "lab: tests none":
            self.plan = 0
        if (m := ktap.PLAN.match(line)) and not m["depth"]:
            # The runner has a plan for each target.
            self.plan = (self.plan or 0) + int(m["count"])
            return
        if line.startswith("# "):
            if m := PROGRAM.match(line):
                self.current = f"{m['target']}:{m['program']}"
            elif m := SKIPPED.match(line):
                self.program(m["name"], "skip", "")
                return
            elif m := NEEDS.search(line):
                self.tool = self.tool or m["tool"]
        super().line(line)

    def program(self, name, result, note):
        if name == self.running:
            self.running = None
        self.crashed()
        self.found.append((stable(name), result, note))

    def test(self, name, result, note):
        """Deeper levels are counted in the result of the level above."""
        if name == self.running:
            self.running = None

    def crashed(self):
        if self.running:
            self.found.append((stable(self.running), "crash", "started and never ended"))
            self.running = None

    def store(self, whole, result, note):
        """The result of a program, and those that it reported."""
        self.add(whole, result, note)
        times = {}
        for name, verdict, detail in self.found:
            times[name] = times.get(name, 0) + 1
            self.add(f"{whole}/{name}" + (f"#{times[name]}" if times[name] > 1 else ""), verdict, detail)
        self.found, self.tool, self.current = [], None, None

    def runner(self, name, result, note):
        self.crashed()
        self.finished += 1
        m = PROGRAM.match(name)
        if self.tool and result != "pass":
            result, note = "skip", f"the guest has no {self.tool}"
        self.store(f"{m['target']}:{m['program']}" if m else name, result, note)

    def end(self, end_mark):
        self.crashed()
        if self.current:
            self.store(self.current, "crash", "started and never ended")
        super().end(end_mark)


if __name__ == "__main__":
    ktap.Run = Programs
    ktap.__doc__ = __doc__
    sys.exit(ktap.main())
