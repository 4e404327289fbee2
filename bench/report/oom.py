# SPDX-License-Identifier: GPL-2.0
"""oom.py - tables of what an OOM waits for: memory back, a real OOM, exit_mmap()"""

from data import case_text
from stats import Outcome
from table import Table

PARENTS = {"reaped": "parent waits", "zombie": "parent does not wait"}
MORE = {"plain": "", "shmem": ", 120 MiB of shared memory", "sparse": ", 80 MiB of page tables",
        "hugetlb": ", 64 MiB of hugetlb pages", "fifo": ", SCHED_FIFO on the CPU of the victim"}
HELD = {"unfrozen": "not frozen", "frozen-threads": "frozen, five threads",
        "frozen-sharer": "frozen sharer of the mm"}


def back_table(data):
    levels = data.on("back", "back")
    table = Table("Until the memory is back", "From the OOM kill (sysrq f) until 90 % of the victim's memory is "
                  "back, and the longest time that a task stood still at the limit of its memory cgroup; ms.",
                  ["victim", *levels])
    if not levels:
        return None
    for held, text in HELD.items():
        table.add(f"{text}: back", *(data.figure("back", lv, "back", f"global,{held}", held, "back") for lv in levels))
    for held, text in HELD.items():
        table.add(f"{text}: stall", *(data.figure("back", lv, "back", f"memcg,{held}", held, "stall") for lv in levels))
    return table


def real_case(case):
    where, parent, more = case.split(",")
    return f"{'memory cgroup' if where == 'memcg' else 'whole machine'}, {PARENTS[parent]}{MORE[more]}"


def real_cases(data):
    """In the order in which they were first seen."""
    return list(dict.fromkeys(k[3] for k in data.values if k[0] == "real"))


def outcome(data, level, case, mode):
    key = ("real", level, "real", case, mode)
    return Outcome([v / 1000 for v in data.get(*key, "stall").values()], data.get(*key, "bystanders").values(),
                   [v / 1024 for v in data.get(*key, "left_kib").values()])


def real_table(data):
    levels = data.on("real")
    if not levels:
        return None
    plain = [lv for lv in levels if "+" not in lv][-1]
    table = Table("A real OOM", "A task allocates until it has all it wants; a process that shares the mm of the best victim "
                  "(300 MiB) is frozen, and the victim's parent waits for it or is that process. The longest stall of "
                  "the task in ms, median and range; of three bystanders of 40 MiB, how many were killed, if any; what is left "
                  f"of the victim's memory when the task has all. Last: the same on {plain} with nobody frozen.",
                  ["victim", *levels, "not frozen"])
    for case in real_cases(data):
        table.add(real_case(case), *(outcome(data, lv, case, "frozen") for lv in levels),
                  outcome(data, plain, case, "unfrozen"))
    return table


def wait_table(data):
    levels = data.on("wait", "wait") or [lv.partition("+")[0] for lv in data.on("window", "wait")]
    if not levels:
        return None
    table = Table("exit_mmap() behind a reaper", "How long exit_mmap() waits for the write lock, by the mmap_lock "
                  "tracepoints; us, median and worst. In the window (bench/kernel/window.patch) exit_mmap() waits between its "
                  "unlock and the write lock until the OOM reaper has come.",
                  ["victim", "behind", *levels])
    for job, mode, text in (("wait", "alone", "nobody"), ("wait", "mrelease", "process_mrelease()"),
                            ("window", "window", "OOM reaper in the window")):
        for case in data.cases(job, "wait"):
            cells = []
            for lv in levels:
                key = (job, lv + ("+window" if job == "window" else ""), "wait", case, mode, "lock_wait")
                cells.append(data.count(*key) if key in data.values else "-")
            table.add(case_text(case), text, *cells)
    return table


def late_table(data):
    levels = data.on("late")
    if not levels:
        return None
    table = Table("process_mrelease() after the exit", "A victim was killed and has exited, while a reader of its memory is "
                  "stuck; against one that is frozen. MiB back when the call returns, and how long it takes in ms.",
                  ["victim", *levels])
    for case in data.cases("late", "late"):
        for mode in ("frozen", "exited"):
            for metric, text, unit, scale in (("back_mib", "MiB back", "MiB", 1), ("call", "ms", "ms", 1000)):
                table.add(f"{case_text(case)}, {mode}: {text}",
                          *(data.figure("late", lv, "late", case, mode, metric, unit=unit, scale=scale) for lv in levels))
    return table


def outcome_lines(data):
    """For plots: tab-separated lines, the first of them the names of the columns."""
    out = ["\t".join(("case", "mode", "level", "runs", "stall", "least", "longest",
                      "killed_least", "killed_most", "left"))]
    for case in real_cases(data):
        for mode in ("frozen", "unfrozen"):
            for level in data.on("real"):
                f = outcome(data, level, case, mode)
                if f.n:
                    killed, left = f.parts["killed"], f.parts["left"]
                    out.append("\t".join([case, mode, level, str(f.n), *(f"{x:.1f}" for x in (f.median, f.least, f.worst)),
                                          *(f"{x:.0f}" for x in (killed.least, killed.worst)), f"{left.median:.1f}"]))
    return out
