#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""lava_log.py - convert the log of a LAVA job to the result of a boot

Usage: lava_log.py LOG DIR

LOG is the output of lava-run, or the log of a job from a LAVA server
(https://SERVER/scheduler/job/ID/log_file/plain): one line of YAML per message. The job must
be one that "scripts/lab lava" wrote from ci/lava-job.yaml.
Writes to DIR: console.log (the kernel's messages), ktap.log (the tests' output) and
result.json, as lib/ktap.py does for a boot without LAVA. Compares the results that LAVA
recorded with the output.
Exit: 0 no problem (tests may have failed); 2 a problem, which is printed; 1 cannot read LOG.
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import sys

import ktap

STRING = r'"((?:[^"\\]|\\.)*)"'
MESSAGE = re.compile(r'(?:- )?\{"dt": ' + STRING + r', "lvl": ' + STRING + r', "msg": (.*)\}$')
PAIR = re.compile(r'"(case|definition|result|error_msg)": ' + STRING)
ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)")
# YAML's escapes that are a letter.
LETTERS = {"0": "\0", "a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r",
           "e": "\x1b", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029"}
# Also in the middle of a line: the tests print to the same console.
KERNEL = re.compile(r"\[ *\d+\.\d+\] ")
# The steps of the job end with the same output once more, undisturbed.
AGAIN = "lab: again"
# LAVA's name of the test definition, with its number.
DEFINITION = re.compile(r"\d+_kselftest")


class BadInput(Exception):
    pass


def unquote(text):
    """Returns the content of a double-quoted YAML string."""
    def one(match):
        code = match[1]
        return chr(int(code[1:], 16)) if len(code) > 1 else LETTERS.get(code, code)
    return ESCAPE.sub(one, text)


class Log:
    """Yields the messages of a log."""

    def __init__(self, text):
        self.lines = []         # what the guest printed
        self.times = []
        self.cases = {}         # of the tests, as LAVA recorded them
        self.job = None         # how the job ended
        found = 0
        for line in text.splitlines():
            if m := MESSAGE.fullmatch(line.rstrip()):
                found += 1
                self.message(*m.groups())
        if not found:
            raise BadInput("not the log of a LAVA job: no message in it")

    def message(self, when, level, text):
        if level == "target":
            self.times.append(datetime.datetime.fromisoformat(unquote(when)))
            self.lines += [part.rstrip("\r") for part in unquote(text.strip()[1:-1]).split("\n")]
        elif level == "results":
            got = {key: unquote(value) for key, value in PAIR.findall(text)}
            if DEFINITION.fullmatch(got.get("definition", "")) and "case" in got:
                self.cases[got["case"]] = got.get("result", "nothing")
            elif (got.get("definition"), got.get("case")) == ("lava", "job"):
                self.job = got

    def ktap(self):
        """Returns the tests' output: the copy, or what there is if the job ended early."""
        if AGAIN in self.lines:
            lines = self.lines[self.lines.index(AGAIN) + 1:]
        else:
            lines = self.lines
        return [line for line in lines if not KERNEL.search(line)]

    def kernel(self):
        return [line for line in self.lines if KERNEL.search(line)]

    def seconds(self):
        return round((self.times[-1] - self.times[0]).total_seconds()) if self.times else 0


def disagreements(tests, cases):
    """Returns the tests for which LAVA recorded another result than the output has."""
    found = []
    for name, test in tests.items():
        if test["result"] != "crash" and cases.get(name) != test["result"]:
            found.append(f"{name}: {test['result']} in the output, {cases.get(name, 'nothing')} in LAVA's results")
    for name, result in cases.items():
        if ktap.TEST.match(name) and name not in tests:
            found.append(f"{name}: nothing in the output, {result} in LAVA's results")
    return found


def judge(log, directory):
    """Writes both logs to the directory; returns the result as lib/ktap.py does."""
    console, output = directory / "console.log", directory / "ktap.log"
    console.write_text("".join(f"{line}\n" for line in log.kernel()), encoding="utf-8")
    output.write_text("".join(f"{line}\n" for line in log.ktap()), encoding="utf-8")
    problems = ktap.parse_console(log.kernel(), console)
    tests, found = ktap.parse_ktap(log.ktap())
    # LAVA has no results for a job that ended early.
    if "whole-run" in log.cases:
        found += disagreements(tests, log.cases)
    problems += [f"{p}; see {output}" for p in found]
    if log.job is None:
        problems.append("LAVA's log has no end")
    elif log.job.get("result") != "pass":
        problems.append(f"LAVA's job failed: {' '.join(log.job.get('error_msg', 'no reason given').split())}")
    return {"seconds": log.seconds(), "problems": problems, "tests": tests}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", metavar="LOG", type=pathlib.Path)
    parser.add_argument("dir", metavar="DIR", type=pathlib.Path)
    args = parser.parse_args()
    try:
        log = Log(args.log.read_text(encoding="utf-8", errors="replace"))
        args.dir.mkdir(parents=True, exist_ok=True)
        result = judge(log, args.dir)
        part = args.dir / "result.json.new"
        part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        os.replace(part, args.dir / "result.json")
    except (OSError, ValueError, BadInput) as err:
        print(f"lava_log.py: {args.log}: {getattr(err, 'strerror', None) or err}", file=sys.stderr)
        return 1
    for problem in result["problems"]:
        print(f"  {problem}")
    return 2 if result["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
