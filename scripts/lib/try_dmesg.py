# SPDX-License-Identifier: GPL-2.0
"""Finds the lines of a kernel log that others do not have.

The logs are dmesg.log.gz and console.log in the folder of a boot. Lines are compared as
ktap.kind() has them, without stacks, registers, and messages about an emulated clock.
"""

import pathlib
import re

import ktap

# Stack and registers: an OOM kill prints them, and they differ each time.
TRACE = re.compile(r"^(<\d+>)?\[[^]]*\]\s*(\[[ TC]+\d+\]\s*)?"
                   r"((\? )?[\w.]+\+0x[0-9a-f]+/0x[0-9a-f]+|R\w\w: |\w\w: [0-9a-f]{4} |Code: |</?TASK>)")
# Messages about the emulated clock: they come and go with the load of the host.
CLOCK = re.compile(r"\]\s*(tsc: |clocksource: |sched_clock: Marking|calibrate_delay|hrtimer: interrupt took)")


def log_lines(directory):
    directory = pathlib.Path(directory)
    got = ktap.lines(directory / "dmesg.log.gz")
    # A kernel that died left no other log than the console's.
    got = got if any(got) else ktap.lines(directory / "console.log")
    return [line for line in got if line.strip() and not TRACE.match(line) and not CLOCK.search(line)]


def new_lines(log, others):
    known = {ktap.kind(line) for other in others for line in log_lines(other)}
    out = {}
    for line in map(ktap.kind, log_lines(log)):
        if line and line not in known:
            out[line] = True
    return list(out)
