#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""try_cost.py - measure the CPU seconds that single objects take to compile

Usage: try_cost.py OBJ OBJECT...

OBJ is a build folder of the kernel, OBJECT a file in it that was built. Runs the command that
Kbuild recorded for each object three more times, without a compiler cache, and discards the
result. Prints "OBJECT SECONDS": user and system time of the fastest of the three.
Exit: 0; 1 an object cannot be compiled, with the reason.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys

RUNS = 3


class Unknown(Exception):
    pass


def command(obj, name):
    """Returns the compiler's command line for an object, with output to /dev/null."""
    path = pathlib.Path(name)
    cmd = obj / path.parent / f".{path.name}.cmd"
    try:
        text = cmd.read_text(encoding="utf-8")
    except OSError as err:
        raise Unknown(f"{cmd}: {err.strerror}") from err
    found = re.search(r"^(?:saved)?cmd_\S+ := (.*)$", text, re.M)
    if not found:
        raise Unknown(f"{cmd} has no command")
    line = found[1].split(" ; ")[0].replace("$(pound)", "#").replace("$$", "$")
    line = re.sub(r"^ccache ", "", line)
    line = re.sub(r"-Wp,-MM?D,\S+ ", "", line)
    line, count = re.subn(rf" -o {re.escape(name)} ", " -o /dev/null ", line)
    if count != 1:
        raise Unknown(f"{cmd}: its command does not write {name}")
    return line


def cpu_seconds(obj, line):
    with subprocess.Popen(["/bin/sh", "-c", line], cwd=obj, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise Unknown(f"'{line[:60]}...' failed")
    return usage.ru_utime + usage.ru_stime


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("obj", metavar="OBJ", type=pathlib.Path)
    parser.add_argument("objects", metavar="OBJECT", nargs="+")
    args = parser.parse_args()
    try:
        for name in args.objects:
            line = command(args.obj, name)
            print(f"{name} {min(cpu_seconds(args.obj, line) for _ in range(RUNS)):.2f}")
    except Unknown as err:
        print(f"try_cost.py: {err}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
