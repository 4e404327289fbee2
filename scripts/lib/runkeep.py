#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""runkeep.py - keep one run of the matrix as a file

Usage: runkeep.py --room DIR --out FILE --expected FILE --base BASE --order LEVELS
                  [--fact NAME=VALUE ...] [--stage 'NAME SECONDS s' ...] LEVEL ...

LEVEL is one argument of seven words: name, key of the image, key of the initramfs,
"built" or "cached", seconds of the build, "booted" or "cached", and the path of
result.json; console.log is in the same folder. HOST and RUN below list the facts.
Writes FILE and the same file to the folder DIR, and prints its name there.
Exit: 0 kept; 1 not kept, with the reason in one line.
"""

import argparse
import datetime
import os
import pathlib
import re
import subprocess
import sys

import ktap
import matrix
import runs

HOST = ("accelerator", "qemu", "guest_cpus", "guest_memory", "guest_cpu", "kernel_arguments")
RUN = ("key", "flavour", "which", "top", "seconds")
KINDS, WIDTH = 60, 120


def kernel_log(path):
    """The kinds of lines in console.log, which has the kernel's errors only."""
    return sorted({ktap.kind(line)[:WIDTH] for line in ktap.lines(path) if re.match(ktap.STAMP, line)} - {""})[:KINDS]


def short(problem, directory):
    """A problem without the path of this machine: the log's name stays."""
    return problem.replace(f"{directory}/", "")


def read_level(argument):
    try:
        name, image, initramfs, built, seconds, booted, path = argument.split(None, 6)
        seconds = int(seconds)
    except ValueError as err:
        raise matrix.BadInput(f"'{argument}' is no level: seven words are needed") from err
    result = matrix.read_level(f"{name}={path}")
    directory = pathlib.Path(path).parent
    return {
        "name": name, "image": image, "initramfs": initramfs,
        "built": built == "built", "build_seconds": seconds,
        "booted": booted == "booted", "boot_seconds": result["seconds"],
        "problems": [short(problem, directory) for problem in result["problems"]],
        "kernel_log": kernel_log(directory / "console.log"),
        "tests": {test: [got["result"], got["detail"]] for test, got in result["tests"].items()},
    }


def as_matrix(level):
    """The level as matrix.py has it."""
    return {"name": level["name"], "problems": level["problems"],
            "tests": {test: {"result": result, "detail": detail}
                      for test, (result, detail) in level["tests"].items()}}


def differences(levels, expected, base, order):
    order = order.split(",")
    found = matrix.compare(matrix.read_expected(expected, base, order[1:]), map(as_matrix, levels), order)
    return [f"{level}: {test + ': ' if test else ''}{text}" for level, test, text in found]


def git_state(top):
    """The commit of the repository, and whether anything in it is not committed."""
    git = ["git", "-C", top, "-c", f"safe.directory={top}"]
    try:
        head = subprocess.run([*git, "rev-parse", "-q", "--verify", "HEAD"], check=True,
                              capture_output=True, text=True).stdout.strip()
        status = subprocess.run([*git, "status", "--porcelain"], check=True,
                                capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None, False
    return head, bool(status)


def cpu_model():
    found = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M)
    return found[1].strip() if found else os.uname().machine


def collect(args):
    facts = dict(fact.split("=", 1) for fact in args.fact)
    if missing := [name for name in HOST + RUN if name not in facts]:
        raise matrix.BadInput(f"no --fact {missing[0]}=")
    levels = [read_level(argument) for argument in args.level]
    commit, dirty = git_state(facts["top"])
    stages = {name: int(seconds) for name, seconds, _ in (stage.split() for stage in args.stage)}
    return {
        "form": runs.FORM,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": commit, "dirty": dirty,
        "base": facts["key"], "flavour": facts["flavour"], "which": facts["which"],
        "host": {"cpus": os.cpu_count(), "cpu": cpu_model(), **{name: facts[name] for name in HOST}},
        "stages": stages, "seconds": int(facts["seconds"]),
        "differences": differences(levels, args.expected, args.base, args.order),
        "levels": levels,
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--room", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--expected", type=pathlib.Path, required=True)
    parser.add_argument("--base", required=True)
    parser.add_argument("--order", required=True, help="all levels, by comma")
    parser.add_argument("--fact", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--stage", action="append", default=[])
    parser.add_argument("level", nargs="+")
    args = parser.parse_args()
    try:
        run = collect(args)
        runs.write(args.out, run)
        print(runs.save(args.room, run))
    except (matrix.BadInput, OSError, ValueError) as err:
        print(f"runkeep.py: {err}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
