# SPDX-License-Identifier: GPL-2.0
"""exits.py - tables of what other exits pay: mlocked files, instructions"""

from stats import Figure
from table import Table

PLAIN = ("fork+exit", "exec+exit", "64 threads+exit")


def mlock_table(data):
    levels = data.on("mlock")
    table = Table("Exits of processes that locked the same file", "So many processes at once, each of which had locked the "
                  "file, or a file of its own, against one alone; how often they wait for i_mmap_rwsem, and for how long in us "
                  "(all of them, by LOCK_STAT); KiB that still count as Mlocked after process_mrelease() of a victim "
                  "whose 64 MiB were locked, once the CPUs' batches are drained, and at once.",
                  ["processes", "level", "CPU, same / alone", "CPU, own / alone", "wall, same / alone", "waits", "us waited",
                   "Mlocked", "at once"])
    on_locks = {lv.partition("+")[0]: lv for lv in data.on("mlock-locks")}
    reaps = [c for c in data.cases("mlock", "mlock") if c.startswith("reap,")]
    for case in data.cases("mlock", "mlock"):
        if not case.startswith("exit,"):
            continue
        size, count = case.split(",")[1:]
        for level in levels:
            key = ("mlock", level, "mlock", case)
            locks = ("mlock-locks", on_locks.get(level), "mlock", case, "same")
            table.add(f"{count}, a file of {size} MiB", level,
                      *(data.ratio(*key, mode, metric, "one") for mode, metric in
                        (("same", "cpu"), ("own", "cpu"), ("same", "wall"))),
                      *(data.count(*locks, metric) if level in on_locks else "-"
                        for metric in ("contentions", "wait")),
                      *(mlocked(data, level, reaps, metric) for metric in ("drained", "left")))
    return table if table.rows else None


def mlocked(data, level, reaps, metric):
    return Figure("mlock", [v for case in reaps for v in
                            data.get("mlock", level, "mlock", case, "mrelease", metric).values()], "count")


def insn_count(data, level, vmas, mode):
    """The least of the runs: what interrupts it only adds."""
    values = data.get("insn", level, "insn", vmas, mode, "insn").values()
    return Figure("insn", [min(values)] if values else [], "insn")


def insn_table(data):
    levels = data.on("insn")
    if not levels:
        return None
    table = Table("Instructions of a plain exit", "One CPU, -icount shift=0, where QEMU counts them; the least of all "
                  "runs, and what it is more than on the base. fork and exec are in it.",
                  ["vmas", "of", levels[0], *levels[1:]])
    for vmas in sorted(data.cases("insn", "insn"), key=int):
        for mode in PLAIN:
            first = insn_count(data, levels[0], vmas, mode)
            cells = []
            for lv in levels[1:]:
                f = insn_count(data, lv, vmas, mode)
                cells.append(f"{100 * (f.median / first.median - 1):+.3f} %" if f.n and first.n else "missing")
            table.add(vmas, mode, first, *cells)
    return table
