#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""mutant_qemu.py - run QEMU until a test finds the mutant

Usage: mutant_qemu.py QEMU-ARGUMENT...

The arguments are those of lib/guest.sh: the console goes to a file console.log, and the
tests' output to ktap.log beside it. Ends QEMU when one of the tests of MUTANT_TESTS failed,
or the console has a splat, and writes which to the file "ended" beside the logs.
With --version it prints QEMU's version and these tests, since a boot is cached by both.
Environment: MUTANT_QEMU, the QEMU program; MUTANT_TESTS, names of tests with * and ?.
Exit: QEMU's status; 0 if it was ended.
"""

import fnmatch
import os
import pathlib
import subprocess
import sys
import time

import ktap
import ktap_read

PAUSE = 0.3
# After a splat, the kernel has some more lines to print.
GRACE = 2


class Log:
    """Returns the complete lines that were added to a file since the last look."""

    def __init__(self, path):
        self.path, self.at, self.rest = path, 0, b""

    def new_lines(self):
        try:
            with open(self.path, "rb") as file:
                file.seek(self.at)
                data = file.read()
        except FileNotFoundError:
            return []
        self.at += len(data)
        *whole, self.rest = (self.rest + data).split(b"\n")
        return [line.decode("utf-8", errors="replace").rstrip("\r") for line in whole]


def named(name, patterns):
    return any(fnmatch.fnmatchcase(name, p) for p in patterns)


def failed_test(line, patterns):
    """Returns the test that the line of KTAP says failed, if it is one of the patterns."""
    found = ktap_read.result_of(line)
    if not found or found[0] == 0:
        return None
    _, name, result, _ = found
    name = name.split()[0]
    return name if result == "fail" and named(name, patterns) else None


def why_end(tests, console, patterns):
    """Returns why the guest can be ended; None if it has to go on. Takes new lines."""
    for line in tests:
        if name := failed_test(line, patterns):
            return f"{name} failed"
    for line in console:
        if ktap.is_splat(line):
            return f"console: {line}"
    return None


def folder_of_logs(arguments):
    for argument in arguments:
        if argument.startswith("file:") and argument.endswith("/console.log"):
            return pathlib.Path(argument[len("file:"):]).parent
    sys.exit("mutant_qemu.py: no argument file:.../console.log")


def main():
    arguments = sys.argv[1:]
    if arguments[:1] == ["-h"]:
        print(__doc__)
        return 0
    qemu = os.environ["MUTANT_QEMU"]
    patterns = os.environ["MUTANT_TESTS"].split()
    if arguments == ["--version"]:
        print("until:", *patterns, flush=True)
        os.execlp(qemu, qemu, "--version")
    folder = folder_of_logs(arguments)
    tests, console, ended = Log(folder / "ktap.log"), Log(folder / "console.log"), folder / "ended"
    ended.unlink(missing_ok=True)
    with subprocess.Popen([qemu, *arguments], stdin=subprocess.DEVNULL) as guest:
        while guest.poll() is None:
            time.sleep(PAUSE)
            if why := why_end(tests.new_lines(), console.new_lines(), patterns):
                if why.startswith("console"):
                    time.sleep(GRACE)
                guest.terminate()
                ended.write_text(why + "\n", encoding="utf-8")
                guest.wait()
                return 0
    return guest.returncode


if __name__ == "__main__":
    sys.exit(main())
