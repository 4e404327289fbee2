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

# What a shell says. The name of a function of a script, which has a "_" as a rule, is no tool.
NEEDS = re.compile(r"(?:\bsh: |: (?:line )?\d+: )(?P<tool>[A-Za-z0-9][A-Za-z0-9.+-]*): (?:command )?not found\b")


def stable(name):
    """Returns a test's name without what differs from boot to boot."""
    name = re.sub(r"0x[0-9a-fA-F]+", "0xX", name)
    return re.sub(r"\d{5,}", "N", name)


class Programs(ktap.Run):
    def read(self, root):
        for node in root.children:
            if node.depth == 0:
                self.whole(node)

    def whole(self, node):
        """The result of a program, and those that it reported. Deeper levels are a part of these."""
        name = node.short()
        logs = [node.log, *(part.log for part, _ in node.all())]
        tool = next((m["tool"] for log in logs for line in log if (m := NEEDS.search(line))), None)
        if tool and node.result != "pass":
            node.result, node.note = "skip", f"the guest has no {tool}"
        self.add(name, node)
        times = {}
        for test, _ in node.all():
            if test.depth == 1 or test.result == "crash":
                one = stable(test.name)
                times[one] = times.get(one, 0) + 1
                self.add(f"{name}/{one}" + (f"#{times[one]}" if times[one] > 1 else ""), test)


if __name__ == "__main__":
    ktap.Run = Programs  # type: ignore[misc]
    ktap.__doc__ = __doc__
    sys.exit(ktap.main())
