#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""ktap.py - evaluate one boot: read its logs, write result.json

Usage: ktap.py DIR [--seconds N] [--timed-out LIMIT]

Reads DIR/console.log and dmesg.log.gz (from the kernel) and DIR/ktap.log (from
kselftest's runner).
Writes DIR/result.json: "tests" maps each name to "pass", "fail", "skip" or "crash" and a
detail; "problems" lists why the boot as a whole failed. Prints each problem. Times are
in seconds.
Exit: 0 no problem; 2 a problem; 1 no logs.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import sys
import zlib

import ktap_read

# What a healthy boot never prints. "Call Trace:" is not listed, because an OOM kill
# prints one. "WARNING:" has to begin a message: behind "Spectre V2 : " it is advice.
SPLAT = re.compile(
    r"Kernel panic|\bBUG: |\bBUG at |\bBUG \S+ \(|\bOops\b|\bcut here\b"
    r"|^(?:\S+:\d+: )?(?:<\d+>)?(?:\[[^]]*\]\s*)*WARNING: "
    r"|general protection fault|unable to handle|double fault|divide error|Internal error: "
    r"|\bINFO: (possible|rcu|task|trying|suspicious|lockdep)|rcu: INFO:"
    r"|blocked for more than|soft lockup|hard LOCKUP|hung task"
    r"|\b(KASAN|KCSAN|UBSAN|KFENCE|KMSAN): |\bODEBUG: (?!selftest passed)|sleeping function"
    r"|possible (circular|recursive) lock|suspicious RCU|bad unlock balance"
    r"|still held|Bad page|Bad rss-counter|bad (pgd|p4d|pud|pmd|pte)|Bad swap (file|offset) entry"
    r"|waiting for \S+ to become free"
    r"|(list_add|list_del) corruption|refcount_t:|stack.protector"
    r"|invalid opcode|stall(s)? on CPU|stalls? detected"
)

# The trap of a user program, which is the program's own fault.
USER_TRAP = re.compile(r"\btraps: .+\[(\d+|N)\] ")

# A report that names no function in its first line has it in a later one, the place of the fault.
FAULT = re.compile(r"\bBUG: (kernel|unable)|\bBUG at |\bOops\b|general protection|unable to handle"
                   r"|double fault|divide error|invalid opcode|Internal error: ")
PLACE = re.compile(r"\b(?:RIP: [0-9a-f]+:|pc : )(?P<place>[\w.]+\+0x[0-9a-f]+/0x[0-9a-f]+)")
END = re.compile(r"\bcut here\b|\bend trace\b")
NEAR = 60       # lines

STAMP = r"(<\d+>)?\[[ \d.]+\]\s*(\[ *[TC]\d+\]\s*)?"
NUMBER = r"(?:\d+|N)"
# What differs from boot to boot, and what is put in its place, in this order. A kind of line stays
# what it is: kept runs have such lines.
KIND = [(re.compile(pattern), by) for pattern, by in (
    # Of a problem: the log, and the number of the line in it.
    (r"(^|(?<=\s))\S+\.(log|gz)(:\d+:\s*|(?=\s|$))", ""),
    (rf"^\s*{STAMP}|^<\d+>", ""),
    # The CPU and the task.
    (rf"\bCPU: {NUMBER} (UID: {NUMBER} )?PID: {NUMBER}\b( Comm: .*?(?= (Not t|T)ainted|$))?\s*", ""),
    (rf", CPU#{NUMBER}: .*", ""),
    (rf" \[\S+:{NUMBER}\]$", ""),
    (rf"\btask \S+?[:/]{NUMBER}(?=\s|$)", "task X"),
    (r"\bin process \S+", "in process X"),
    (r"\b(code|scheduling while atomic): \S+$", r"\1: X"),
    (rf"\bpid: {NUMBER}, name: .*", "pid: N"),
    (rf"(^|(?<=held by ))\S+/{NUMBER}(?= (is|just)\b|:$)", "X"),
    # Functions have no offset, and no line: only a level that was built has the line.
    (rf"\+(0x[0-9a-fA-F]+|X|{NUMBER})/(0x[0-9a-fA-F]+|X|{NUMBER})( \(\S+:{NUMBER}(, inlined in \S+:{NUMBER})?\))?", ""),
    (r"0x[0-9a-fA-F]+", "X"),
    (r"\b[0-9a-f]{8,}\b", "X"),
    (r"\b[0-9a-f]{2}(:[0-9a-f]{2}){2,}\b", "X"),
    # With a unit, and not in names such as ext4 or x86_64, but in CPU1.
    (r"(?<![A-Za-z_\d])(-?\d+(\.\d+)*([kKMG]?i?B\b|[kKMG]\b)?|N(\.N)+\b)", "N"),
    (r"\b(CPU#?|cpu)\d+", r"\1N"),
    (r"\s+", " "),
)]

# The letters of the bits of /proc/sys/kernel/tainted: Documentation/admin-guide/tainted-kernels.rst
TAINTS = "PFSRMBUDAWCIOELKXTNJ"

# Lines on the console; the kernel's report of a bug has a hundred.
FLOOD = 2000

# Kinds of splats of one boot that are listed; the rest follows from these.
SPLATS = 20

MARK = re.compile(r"^lab: (?P<what>\w+) (?P<value>.*)$")
# A test of the kselftest harness: fixture.test, or fixture.variant.test
TEST = re.compile(r"^[\w-]+(\.[\w-]+)+$")


def taints(value):
    """Returns the letters of the bits that are set, in brackets; "" if that is no number."""
    if not value.isdecimal():
        return ""
    return f" ({' '.join(letter for bit, letter in enumerate(TAINTS) if int(value) >> bit & 1)})"


def lines(path):
    """Returns the lines of a log; if a compressed log is truncated, the lines before that."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    if path.suffix == ".gz":
        unpack = zlib.decompressobj(wbits=31)
        try:
            data = unpack.decompress(data)
        except zlib.error:
            data = b""
    text = data.decode("utf-8", errors="replace")
    return [line.rstrip("\r") for line in text.split("\n")]


class Run:
    """The tests and the problems of a run of this project's tests by kselftest's runner.

    The runner prefixes the wrapper's output with "# ", and run_vmtests.sh prefixes the
    program's output once more. So results of depth 0 come from the runner, those of
    depth 1 from run_vmtests.sh (one per program), those of depth 2 from a program.
    """

    def __init__(self, text, end_mark=True):
        self.tests, self.problems = {}, []
        self.planned = None
        ended = False
        for line in text:
            if m := MARK.match(line):
                self.mark(m["what"], m["value"])
            ended = ended or line == "lab: end"
        root = ktap_read.read(text)
        self.planned = root.plan if self.planned is None else self.planned
        self.read(root)
        if end_mark and not ended:
            self.problems.append("the run broke off: no end mark")
        if self.planned is None:
            self.problems.append("no test was run: kselftest's runner printed no plan")
        elif root.reported() != self.planned:
            self.problems.append(f"{root.reported()} of {self.planned} test programs finished")

    def mark(self, what, value):
        """Takes a line of the guest's init."""
        if (what, value) == ("tests", "none"):
            self.planned = 0
        elif what == "tainted" and value != "0":
            self.problems.append(f"the kernel is tainted: {value}{taints(value)}")
        elif what == "kmemleak" and value != "0":
            self.problems.append(f"leaks that kmemleak found: {value}")

    def add(self, name, node):
        if name in self.tests:
            self.problems.append(f"test {name} was reported twice")
        self.tests[name] = {"result": node.result, "detail": node.note}

    def read(self, root):
        for node, _ in root.all():
            if TEST.match(node.name) and (node.depth == 2 or node.result == "crash"):
                self.add(node.name, node)
            elif node.depth == 1 and node.result != "crash":
                self.program(node)
            elif not node.depth and node.result != "crash":
                self.runner(node)

    def program(self, node):
        name = node.name.split()[0]
        if any(TEST.match(test.name) for test in node.children):
            self.problems += [f"{name}: {problem}" for problem in node.problems()]
        else:
            # The program does not use the harness: it counts as one test.
            self.add(name, node)

    def runner(self, node):
        if "TIMEOUT" in node.note:
            self.problems.append(f"{node.name}: {node.note}")
        elif node.result == "fail" and all(program.result != "fail" for program in node.children):
            self.problems.append(f"{node.name} failed: {node.note or 'no reason given'}")


def parse_ktap(text, end_mark=True):
    """Returns the tests and the problems in the output of kselftest's runner.

    end_mark: whether to require "lab: end", which the guest's init prints at the end;
    other machines do not print it.
    """
    run = Run(text, end_mark)
    return run.tests, run.problems


def is_splat(line):
    return bool(SPLAT.search(line)) and not USER_TRAP.search(line)


def kind(line):
    """Returns a line of a kernel log, or a problem, without what differs from boot to boot: time,
    CPU, task, addresses, numbers, and the place in the log. Reports of the same bug are of one kind."""
    for pattern, by in KIND:
        line = pattern.sub(by, line)
    return line.strip()


def place_of(line, later):
    """Returns " in FUNCTION+X/Y" if the lines after the first one of a report have it, else ""."""
    if not FAULT.search(line) or "+0x" in line:
        return ""
    for other in later:
        if END.search(other):
            break
        if m := PLACE.search(other):
            return f" in {m['place']}"
    return ""


def parse_console(text, path):
    """Returns the first splat of each kind: one that is known must not hide others."""
    found = {}
    for number, line in enumerate(text, 1):
        if is_splat(line) and not ("cut here" in line and number < len(text) and is_splat(text[number])):
            line = line.strip() + place_of(line, text[number:number + NEAR])
            found.setdefault(kind(line), f"{path}:{number}: {line}")
    return list(found.values())[:SPLATS]


def flood(text, path):
    """Why a run may have been too slow: the console, which gets errors only, has FLOOD lines."""
    if len(text) < FLOOD:
        return []
    kinds = collections.Counter(re.sub(f"^{STAMP}", "", line) for line in text)
    line, count = kinds.most_common(1)[0]
    return [f"{path}: {len(text)} lines, {count} of them '{line.strip()}'"]


def judge(directory, seconds=0, timed_out=None):
    directory = pathlib.Path(directory)
    console, ktap = directory / "console.log", directory / "ktap.log"
    tests, problems = parse_ktap(lines(ktap))
    dmesg = directory / "dmesg.log.gz"
    # The console is the only log of a kernel that died.
    found = parse_console(lines(console), console) or parse_console(lines(dmesg), dmesg)
    if not any(lines(dmesg)):
        problems.append("no kernel log received from the guest")
    if timed_out:
        found.append(f"not done after {timed_out} s")
        found += flood(lines(console), console)
    # Print the cause before the place where the tests broke off.
    problems = found + [f"{p}; see {ktap}" for p in problems]
    return {"seconds": seconds, "problems": problems, "tests": tests}


def arguments(description):
    """Returns the parser of what boot-one gives to each reader of the logs."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir")
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--timed-out", type=int)
    return parser


def main():
    args = arguments(__doc__).parse_args()
    directory = pathlib.Path(args.dir)
    if not (directory / "console.log").exists():
        print(f"ktap.py: no console.log in {directory}", file=sys.stderr)
        return 1
    result = judge(directory, args.seconds, args.timed_out)
    part = directory / "result.json.new"
    part.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    os.replace(part, directory / "result.json")
    for problem in result["problems"]:
        print(f"  {problem}")
    return 2 if result["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
