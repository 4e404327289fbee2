#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""ktap_kcsan.py - as ktap.py, for a kernel with KCSAN

Usage: KCSAN_SOURCES=DIR ktap_kcsan.py DIR [--seconds N] [--timed-out LIMIT]

Every kernel has data races. One is a problem of the boot if one of its two accesses is
in a function of a file in the folder KCSAN_SOURCES, which has the files that the stack
touches. KCSAN names an inline function by its caller. The other races are listed in
DIR/races, with the number of reports.
Gives DIR/result.json, see ktap.py.
Exit: as ktap.py.
"""

import collections
import os
import pathlib
import re
import sys

import ktap

RACE = re.compile(r"BUG: KCSAN: (?P<type>[\w -]+|assert: race) in (?P<where>.+)$")
# In kernel style, a definition begins in the first column, with the name before a "(".
DEFINITION = re.compile(r"^[A-Za-z_].*[^;\s]\s*$", re.M)
SYSCALL = re.compile(r"^(?:COMPAT_)?SYSCALL_DEFINE\d\((?P<name>\w+)", re.M)
HEALTHY = re.compile(r"kcsan: selftest: (\d+)/\1 tests passed")


def functions(text):
    """The names of the functions that a C source defines."""
    names = {name for line in DEFINITION.findall(text) for name in re.findall(r"(\w+)\s*\(", line)}
    for name in SYSCALL.findall(text):
        names |= {prefix + name for prefix in ("__do_sys_", "__se_sys_", "__x64_sys_", "__arm64_sys_")}
    return names


def race_of(line):
    """The functions of the two accesses of a race, without what the compiler adds."""
    if not (m := RACE.search(line)):
        return None
    return [name.split("+")[0].split(".")[0] for name in m["where"].strip().split(" / ")]


class Races:
    """Tells the races of the stack's files from the others."""

    def __init__(self, sources):
        texts = [path.read_text(encoding="utf-8") for path in sorted(sources.rglob("*.c"))]
        self.ours = set().union(*map(functions, texts))
        self.others = collections.Counter()

    def parse_console(self, text, path, parse=ktap.parse_console):
        self.others.clear()
        kept = []
        for line in text:
            race = race_of(line)
            if race and not self.ours.intersection(race):
                self.others[" / ".join(race)] += 1
                line = ""
            kept.append(line)
        return parse(kept, path)


def main():
    ktap.__doc__ = __doc__
    if not (sources := os.environ.get("KCSAN_SOURCES")):
        return ktap.main() if "-h" in sys.argv else "ktap_kcsan.py: KCSAN_SOURCES is not set"
    races = Races(pathlib.Path(sources))
    if not races.ours:
        return f"ktap_kcsan.py: no source files in {sources}"
    ktap.parse_console = races.parse_console
    judge = ktap.judge

    def judge_kcsan(directory, *args):
        result = judge(directory, *args)
        if not any(HEALTHY.search(line) for line in ktap.lines(pathlib.Path(directory) / "dmesg.log.gz")):
            result["problems"].append("KCSAN did not pass its selftest, or does not run")
        text = "".join(f"{count} {where}\n" for where, count in races.others.most_common())
        (pathlib.Path(directory) / "races").write_text(text, encoding="utf-8")
        print(f"  data races in files that the stack does not touch: {races.others.total()}")
        return result

    ktap.judge = judge_kcsan
    return ktap.main()


if __name__ == "__main__":
    sys.exit(main())
