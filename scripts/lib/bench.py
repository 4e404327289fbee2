#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""bench.py - tables, plots and a page from what lab bench measured

Usage: bench.py RAW --out DIR --base NAME --release VERSION --machine TEXT
                [--matrix FILE] [--smoke]
       bench.py RAW --wide

RAW has a line for each figure: round, job, level, flavour, CPUs, and what the programs
in bench/ print. A figure is the median over all rounds and runs, with the interval that
holds the true median with a confidence of 95 % whatever the distribution is (order
statistics). A ratio is taken within a run, so that its parts are seconds apart; where
oom_bench makes several tries in a run, both are the least of these. Of a real OOM's
stalls the least and the longest are given. "best" is the ratio of the least of all
runs: what is left where the host gave both CPUs all the time. A figure whose interval
is wider than its kind allows (LIMITS), or that has fewer than 6 runs, is not given: the
interval is, after a question mark. Medians of counts and of instructions have no such
limit.
With --smoke one run is enough, if what it gives is possible.

Gives in DIR report.md, report.html (one file, plots by gnuplot inside) and
summary.csv, and report.md on stdout. --wide prints the jobs that need more runs.
Exit: 0; 2 a figure is missing or is not given; 1 no report, with the reason.
"""

import argparse
import collections
import csv
import html
import math
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

# Widest interval, in parts of the median: times of single kills jump with the
# timer tick (4 ms) and the host, ratios of neighbours do not.
LIMITS = {"ratio": 0.3, "ms": 1.0, "us": 3.0}
LEAST_RUNS = 6

CASES = {"4k": "4 KiB pages", "thp": "huge pages", "4k,swap": "4 KiB pages, half swapped"}
PARENTS = {"reaped": "parent waits", "zombie": "parent does not wait"}
MORE = {"plain": "", "shmem": ", 120 MiB of shared memory", "sparse": ", 80 MiB of page tables",
        "hugetlb": ", 64 MiB of hugetlb pages"}
PLAIN = ("fork+exit", "exec+exit", "64 threads+exit")
HELD = {"unfrozen": "not frozen", "frozen-threads": "frozen, five threads",
        "frozen-sharer": "frozen sharer of the mm"}


def interval(values):
    """Order statistics that enclose the median at 95 %; all, if there are few."""
    values = sorted(values)
    n = len(values)
    k, below = 0, 0.0
    while k < n // 2:
        below += math.comb(n, k) / 2 ** n
        if below > 0.025:
            break
        k += 1
    k = max(k, 1)
    return values[k - 1], values[n - k]


class Figure:
    smoke = False

    def __init__(self, job, values, unit):
        self.job, self.unit, self.n = job, unit, len(values)
        self.median = statistics.median(values) if values else None
        self.low, self.high = interval(values) if values else (None, None)
        self.worst = max(values) if values else None
        self.least = min(values) if values else None
        self.best = None

    @property
    def given(self):
        if not self.n:
            return False
        if self.unit not in LIMITS and self.unit != "stall":
            return True
        if self.smoke:
            return 0 < self.median and (self.unit != "ratio" or 0.02 < self.median < 200)
        if self.unit == "stall":
            return self.n >= LEAST_RUNS
        # A fifth of a tick is nothing to argue about.
        small = self.unit != "ratio" and self.high - self.low < 0.8 * (1000 if self.unit == "us" else 1)
        return self.n >= LEAST_RUNS and (
            small or self.high - self.low <= LIMITS[self.unit] * self.median)

    def number(self, value):
        if self.unit == "ratio":
            return f"{value:.2f}"
        if self.unit in ("ms", "us", "stall", "MiB"):
            return f"{value:.1f}" if value < 10 else f"{value:.0f}"
        return f"{value:.0f}"

    def __str__(self):
        if not self.n:
            return "missing"
        if self.unit == "count":
            return f"{self.number(self.median)} (worst {self.number(self.worst)})"
        if self.unit == "insn":
            return f"{self.median:.0f}"
        if self.unit == "stall":
            spread = f"[{self.number(self.least)}-{self.number(self.worst)}]"
            return f"{self.number(self.median)} {spread}" if self.given else f"? {spread}"
        best = f" best {self.number(self.best)}" if self.best else ""
        spread = f"[{self.number(self.low)}-{self.number(self.high)}]{best}"
        return f"{self.number(self.median)} {spread}" if self.given else f"? {spread}"


class Outcome(Figure):
    """What a real OOM costs: the longest stall, bystanders killed, MiB left."""

    def __init__(self, stalls, killed, left):
        super().__init__("real", stalls, "stall")
        self.parts = {"killed": Figure("real", killed, "count"), "left": Figure("real", left, "MiB")}

    def __str__(self):
        text = super().__str__()
        for name, unit in (("killed", ""), ("left", " MiB")):
            part = self.parts[name]
            if part.n and part.worst > 0.5:
                low, high = part.number(part.least), part.number(part.worst)
                text += f", {low if low == high else f'{low}-{high}'}{unit} {name}"
        return text


class Data:
    def __init__(self, path):
        self.values = collections.defaultdict(dict)
        self.curves = collections.defaultdict(list)
        self.machines = set()
        self.levels, self.cpus = [], {}
        for line in path.read_text(encoding="utf-8").splitlines():
            rnd, job, level, _, cpus, tag, *rest = line.split("\t")
            self.cpus[job] = int(cpus)
            if level not in self.levels:
                self.levels.append(level)
            if tag == "R":
                kind, case, run, mode, metric, value = rest
                self.values[job, level, kind, case, mode, metric][rnd, run] = float(value)
            elif tag == "C":
                kind, case, run, us, size = rest
                self.curves[level, case, rnd, run].append((float(us) / 1000, int(size) / 2 ** 20))
            elif tag == "I":
                self.machines.add(rest[0])

    def get(self, job, level, kind, case, mode, metric):
        return self.values.get((job, level, kind, case, mode, metric), {})

    def figure(self, *key, unit="ms", scale=1000):
        return Figure(key[0], [v / scale for v in self.get(*key).values()], unit)

    def ratio(self, job, level, kind, case, mode, metric, ref, ref_metric=None):
        a = self.get(job, level, kind, case, mode, metric)
        b = self.get(job, level, kind, case, ref, ref_metric or metric)
        figure = Figure(job, [a[i] / b[i] for i in a if b.get(i)], "ratio")
        if figure.n > 1:
            figure.best = min(a.values()) / min(b.values())
        return figure

    def cases(self, job, kind):
        found = {k[3] for k in self.values if k[0] == job and k[2] == kind}
        return sorted(found, key=lambda c: (len(c.split(",")), "thp" in c, [
            int(x) if x.isdigit() else 0 for x in c.split(",")]))

    def on(self, job, kind=None):
        # The base, then the patches in their order.
        return [level for level in sorted(self.levels, key=lambda lv: (not lv.startswith("base"), lv))
                if any(k[0] == job and k[1] == level and kind in (None, k[2]) for k in self.values)]


def case_text(case):
    size, vmas, pages = case.split(",", 2)
    return f"{size} MiB, {vmas} vma{'s' * (vmas != '1')}, {CASES.get(pages, pages)}"


class Table:
    def __init__(self, title, text, head):
        self.title, self.text, self.head, self.rows = title, text, head, []

    def add(self, *cells):
        self.rows.append(cells)

    def figures(self):
        return [c for row in self.rows for c in row if isinstance(c, Figure)]

    def markdown(self):
        rows = [[str(c) for c in row] for row in self.rows]
        width = [max(len(r[i]) for r in [self.head, *rows]) for i in range(len(self.head))]
        out = [f"### {self.title}", "", self.text, ""]
        for n, row in enumerate([self.head, *rows]):
            out.append("| " + " | ".join(
                c.ljust(w) if not i else c.rjust(w) for i, (c, w) in enumerate(zip(row, width))) + " |")
            if not n:
                out.append("| " + " | ".join(
                    "-" * w if not i else "-" * (w - 1) + ":" for i, w in enumerate(width)) + " |")
        return "\n".join(out) + "\n"

    def html(self):
        out = [f"<h2>{html.escape(self.title)}</h2>", f"<p>{html.escape(self.text)}</p>",
               "<div class=wide><table><tr>" + "".join(f"<th>{html.escape(h)}</th>" for h in self.head) + "</tr>"]
        for row in self.rows:
            cells = []
            for c in row:
                text = html.escape(str(c))
                if isinstance(c, Figure):
                    text = text.replace(" [", " <small>[") + "</small>" * (" [" in text)
                    text = text.replace(" (w", " <small>(w").replace(")", ")</small>") if c.unit == "count" else text
                style = " class=no" if isinstance(c, Figure) and not c.given or str(c).startswith("missed") else ""
                cells.append(f"<td{style}>{text}</td>")
            out.append("<tr>" + "".join(cells) + "</tr>")
        return "\n".join(out) + "</table></div>\n"


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


def real_misses(data, level):
    """{goal: ({cases that miss it}, {those that do so within the spread})}; None if too few runs tell."""
    misses = collections.defaultdict(lambda: (set(), set()))
    for case in real_cases(data):
        own, ref = (outcome(data, level, case, mode) for mode in ("frozen", "unfrozen"))
        if not own.given or not ref.given:
            return None
        for goal, f, limit in (("stall", own, max(50, 1.5 * ref.median)),
                               ("killed", own.parts["killed"], ref.parts["killed"].median),
                               ("left", own.parts["left"], ref.parts["left"].median + 2)):
            if f.median > limit:
                misses[goal][f.low <= limit].add(case)
    return misses


def real_goals(data, levels, table):
    misses = [real_misses(data, lv) for lv in levels]
    count = len(real_cases(data))
    for goal, text in (("stall", "stall above 50 ms and 1.5 times that with nobody frozen"),
                       ("killed", "more bystanders killed than with nobody frozen"),
                       ("left", "more than 2 MiB left above that with nobody frozen")):
        cells = ["missing" if m is None else f"{sum(len(s) for s in m[goal])} of {count}" for m in misses]
        if misses[-1] is None:
            verdict = "not known"
        else:
            sure, spread = (" ".join(sorted(s)) for s in misses[-1][goal])
            verdict = f"missed: {sure}" if sure else f"in the spread: {spread}" if spread else "met"
        table.add(f"cases of a real OOM with {text}", "0", *cells, verdict)


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
                      *(data.figure(*locks, metric, unit="count", scale=1) if level in on_locks else "-"
                        for metric in ("contentions", "wait")),
                      *(mlocked(data, level, reaps, metric) for metric in ("drained", "left")))
    return table if table.rows else None


def mlocked(data, level, reaps, metric):
    return Figure("mlock", [v for case in reaps for v in
                            data.get("mlock", level, "mlock", case, "mrelease", metric).values()], "count")


def reap_table(data, jobs, mode, title, text):
    cases = [(job, case) for job in jobs for case in data.cases(job, "reap")]
    table = Table(title, text, ["victim", "level", "exit / alone", "exit / halves", "CPU / alone", "CPU / halves",
                                "reaping / exit alone", "lost"])
    for job, case in cases:
        levels = data.on(job, "reap")
        for level in levels:
            key = (job, level, "reap", case)
            if mode not in {k[4] for k in data.values if k[:4] == key}:
                continue
            lost = int(sum(data.get(*key, mode, "lost").values()))
            table.add(case_text(case), level,
                      data.ratio(*key, mode, "exit", "alone"), data.ratio(*key, mode, "exit", "halves"),
                      data.ratio(*key, mode, "cpu", "alone"), data.ratio(*key, mode, "cpu", "halves"),
                      data.ratio(*key, mode, "reap", "alone", "exit"),
                      str(lost))
        halves = [data.ratio(job, lv, "reap", case, "halves", m, "alone") for m in ("exit", "cpu") for lv in levels[:1]]
        table.add(case_text(case), "two halves", halves[0], "1", halves[1], "1", "-", "-")
    return table if table.rows else None


def lock_table(data):
    table = Table("Contentions of page table locks", "During kill + process_mrelease(), counted by LOCK_STAT "
                  "(times of this kernel are not used); median and worst of all runs. Of 10000 vmas, 78 share a page table: "
                  "in the one where the two meet, each of these can count.",
                  ["victim", *(f"{lv}" for lv in data.on("locks", "reap"))])
    for case in data.cases("locks", "reap"):
        figures = [data.figure("locks", lv, "reap", case, "mrelease", "contentions", unit="count", scale=1)
                   for lv in data.on("locks", "reap")]
        if all(f.n for f in figures):
            table.add(case_text(case), *figures)
    return table if table.rows else None


def steps(data, job):
    for level in data.on(job, "reap"):
        for case in data.cases(job, "reap"):
            modes = {k[4] for k in data.values if k[:4] == (job, level, "reap", case) and k[4].startswith("step-")}
            if modes:
                return level, case, sorted(modes, key=lambda m: (m == "step-whole", len(m), m))
    return None


def step_table(data):
    found = steps(data, "step")
    if not found:
        return None
    level, case, modes = found
    counted = steps(data, "locks")
    table = Table("Size of a step", f"{case_text(case)}, kill + process_mrelease(), the size of patch 2's step in MiB set "
                  "at run time (bench/step.patch); contentions from the kernel with LOCK_STAT.",
                  ["step", "exit / halves", "CPU / halves", "reaping / exit alone", "contentions"])
    for mode in modes:
        table.add(mode.removeprefix("step-"),
                  data.ratio("step", level, "reap", case, mode, "exit", "halves"),
                  data.ratio("step", level, "reap", case, mode, "cpu", "halves"),
                  data.ratio("step", level, "reap", case, mode, "reap", "alone", "exit"),
                  data.figure("locks", counted[0], "reap", counted[1], mode, "contentions", unit="count", scale=1)
                  if counted else "-")
    return table


def wait_table(data):
    levels = data.on("wait", "wait") or [lv.partition("+")[0] for lv in data.on("window", "wait")]
    if not levels:
        return None
    table = Table("exit_mmap() behind a reaper", "How long exit_mmap() waits for the write lock, by the mmap_lock "
                  "tracepoints; us, median and worst. In the window (bench/window.patch) exit_mmap() waits between its "
                  "unlock and the write lock until the OOM reaper has come.",
                  ["victim", "behind", *levels])
    for job, mode, text in (("wait", "alone", "nobody"), ("wait", "mrelease", "process_mrelease()"),
                            ("window", "window", "OOM reaper in the window")):
        for case in data.cases(job, "wait"):
            cells = []
            for lv in levels:
                key = (job, lv + ("+window" if job == "window" else ""), "wait", case, mode, "lock_wait")
                cells.append(data.figure(*key, unit="count", scale=1) if key in data.values else "-")
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


def scale_points(data, by_vmas):
    """{level: [(x, Figure ms per GiB)]}, x in MiB or vmas."""
    out = {}
    for level in data.on("scale"):
        points = []
        for job in ("scale", "scale-full"):
            for case in data.cases(job, "scale"):
                size, vmas = (int(x) for x in case.split(",")[:2])
                if (size == 256 if by_vmas else vmas == 1):
                    f = data.figure(job, level, "scale", case, "frozen", "reap", scale=1000 * size / 1024)
                    if f.n:
                        points.append((vmas if by_vmas else size, f))
        out[level] = sorted(points, key=lambda p: p[0])
    return {k: v for k, v in out.items() if v}


def scale_table(data):
    levels = data.on("scale")
    table = Table("Scaling", "process_mrelease() of a victim that the freezer keeps from exiting, the best of two tries; ms per GiB of "
                  "4 KiB pages.",
                  ["victim", *levels])
    for by_vmas in (False, True):
        points = scale_points(data, by_vmas)
        for x in sorted({x for p in points.values() for x, _ in p}):
            cells = [dict(points.get(lv, [])).get(x, Figure("scale", [], "ms")) for lv in levels]
            text = f"256 MiB, {x} vmas" if by_vmas else f"{x} MiB, 1 vma"
            if not (by_vmas and x == 1):
                table.add(text, *cells)
    return table if table.rows else None


def goals(data):
    """What the series wants to reach, and whether the tip did."""
    tip = [lv for lv in data.levels if "+" not in lv]
    if not tip:
        return None
    tip, base = max(tip[1:], default=tip[0]), tip[0]
    if tip == base:
        return None
    table = Table("Goals", f"Level {tip} against what the series wants to reach. In the spread: the interval of the median "
                  "has the goal in it.", ["goal", "at most", base, tip, "is"])

    def add(text, limit, before, after):
        if not before.n and not after.n:
            return
        verdict = ("not known" if not after.given else "met" if after.median <= limit
                   else "in the spread" if after.low <= limit else "missed")
        table.add(text, f"{limit:g}", before, after, verdict)

    for held in ("frozen-threads", "frozen-sharer"):
        def back(level, held=held):
            ref = data.figure("back", level, "back", "global,unfrozen", "unfrozen", "back")
            own = data.get("back", level, "back", f"global,{held}", held, "back")
            return Figure("back", [v / 1000 / ref.median for v in own.values()] if ref.n else [], "ratio")
        add(f"back, {HELD[held]} / not frozen", 1.5, back(base), back(tip))
    for held, text in HELD.items():
        add(f"stall, {text}, ms", 50, *(data.figure("back", lv, "back", f"memcg,{held}", held, "stall")
                                        for lv in (base, tip)))
    if tip in data.on("real"):
        real_goals(data, (base, tip), table)
    for case in data.cases("reap", "reap"):
        for metric, limit in (("exit", 1.0), ("cpu", 1.02)):
            fs = [data.ratio("reap", lv, "reap", case, "mrelease", metric, "halves") for lv in (base, tip)]
            if case.split(",")[1] == "1" and case.endswith(",4k"):
                add(f"{metric} / two halves, {case_text(case)}", limit, *fs)
    for case in data.cases("locks", "reap"):
        on = data.on("locks")
        fs = [data.figure("locks", lv, "reap", case, "mrelease", "contentions", unit="count", scale=1) for lv in on]
        if len(fs) == 2 and all(f.n for f in fs):
            add(f"contentions, {case_text(case)}", 1, *fs)
    for case in data.cases("mlock", "mlock"):
        key = ("mlock", case, "same", "cpu", "one")
        if case.startswith("exit,"):
            add(f"CPU of {case.split(',')[2]} exits that locked the same file / alone", 1.2,
                *(data.ratio("mlock", lv, *key) for lv in (base, tip)))
        else:
            add("KiB Mlocked after process_mrelease()", 0, *(mlocked(data, lv, [case], "drained") for lv in (base, tip)))
    for vmas in sorted(data.cases("insn", "insn"), key=int):
        for mode in PLAIN:
            if tip not in data.on("insn"):
                continue
            a, b = (insn_count(data, lv, vmas, mode) for lv in (base, tip))
            if a.n and b.n:
                more = 100 * (b.median / a.median - 1)
                table.add(f"instructions, {mode}, {vmas} vmas, %", "+0.1", "-", f"{more:+.3f}",
                          "met" if more <= 0.1 else "missed")
    return table if table.rows else None


def gnuplot(script):
    with tempfile.TemporaryDirectory() as tmp:
        try:
            done = subprocess.run(["gnuplot"], input=script, capture_output=True, text=True, cwd=tmp, check=False)
        except OSError:
            print("bench.py: no gnuplot: run scripts/lab setup bench (package gnuplot-nox)", file=sys.stderr)
            sys.exit(1)
    if done.returncode or "<svg" not in done.stdout:
        print(f"bench.py: gnuplot failed: {done.stderr.strip()[:200]}", file=sys.stderr)
        sys.exit(1)
    svg = done.stdout[done.stdout.index("<svg"):]
    # Names that gnuplot gives to its marks must differ on one page.
    gnuplot.count += 1
    svg = re.sub(r"(id=['\"]|url\(#|xlink:href=['\"]#)(\w+)", rf"\1p{gnuplot.count}_\2", svg)
    return re.sub(r'<svg\s+width="\d+"\s+height="\d+"', "<svg", svg, count=1)


gnuplot.count = 0
COLOURS = ("#b2182b", "#2166ac", "#4d9221", "#762a83")
HEAD = """set term svg size 560,340 font 'sans-serif,13' dynamic
set border 3; set tics nomirror out; set grid lc rgb '#dddddd'; set key top right
"""


def block(name, rows):
    return f"${name} << EOD\n" + "\n".join(" ".join(str(x) for x in r) for r in rows) + "\nEOD\n"


def plot_back(data, held):
    """Memory against time after the kill, of the run with the median time."""
    script, parts = HEAD, []
    levels = data.on("back", "back")
    size = 0
    for n, level in enumerate([levels[0], levels[-1]]):
        case = f"global,{held}"
        runs = data.get("back", level, "back", case, held, "back")
        if not runs:
            return None
        rnd, run = sorted(runs, key=runs.get)[(len(runs) - 1) // 2]
        curve = data.curves[level, case, rnd, run]
        size = max([size, *(m for _, m in curve)])
        # There is no 0 on a logarithmic axis.
        points = [(max(ms, 0.5), mib) for ms, mib in curve]
        script += block(f"d{n}", points)
        parts.append(f"$d{n} using 1:2 with steps lw 2.5 lc rgb '{COLOURS[n]}' title '{level}'")
    script += f"""set title 'Victim: {HELD[held]}'
set logscale x; set xrange [1:3000]; set yrange [0:{size * 1.3:.0f}]; set key horizontal
set xlabel 'ms after the kill'; set ylabel 'MiB still there'
plot {', '.join(parts)}
"""
    return gnuplot(script)


def plot_steps(data):
    found, timed = steps(data, "locks"), steps(data, "step")
    if not found or not timed:
        return None
    rows = []
    for n, mode in enumerate(found[2]):
        f = data.figure("locks", found[0], "reap", found[1], mode, "contentions", unit="count", scale=1)
        r = data.ratio("step", timed[0], "reap", timed[1], mode, "cpu", "halves")
        rows.append((n, f.median, f.worst, mode.removeprefix("step-"), r.median, r.low, r.high))
    return gnuplot(HEAD + block("d", rows) + f"""set title 'Contention by size of a step'
set boxwidth 0.5; set style fill solid 0.8; set xrange [-0.6:{len(rows) - 0.4}]
set yrange [0:{max(r[2] for r in rows) * 1.15 + 1}]; set y2range [0.5:2]; set y2tics; set border 11
set xlabel 'step, MiB'; set ylabel 'contentions a run'; set y2label 'CPU / two halves'; set key top left
plot $d using 1:2:xtic(4) with boxes lc rgb '{COLOURS[1]}' title 'contentions, median', \
     $d using 1:3 with points pt 2 lc rgb '#333333' title 'worst', \
     $d using 1:5:6:7 axes x1y2 with yerrorlines lw 2 lc rgb '{COLOURS[0]}' title 'CPU / two halves'
""")


def plot_scale(data, by_vmas):
    points = scale_points(data, by_vmas)
    if not points:
        return None
    script, parts = HEAD, []
    for n, (level, ps) in enumerate(points.items()):
        script += block(f"d{n}", [(x, f.median, f.low, f.high) for x, f in ps])
        parts.append(f"$d{n} using 1:2:3:4 with yerrorlines lw 2 pt 7 ps 0.6 lc rgb '{COLOURS[n]}' title '{level}'")
    what, unit = ("number of vmas", "vmas of a victim of 256 MiB") if by_vmas else ("size", "MiB in one vma")
    return gnuplot(script + f"""set title 'Reaping by {what}'
set logscale x {10 if by_vmas else 2}; set yrange [0:*]; set key bottom right
set xlabel '{unit}'; set ylabel 'ms per GiB'
plot {', '.join(parts)}
""")


STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2.2rem}p{max-width:50rem}
table{border-collapse:collapse;font-size:.88rem}th,td{padding:.25rem .6rem;border-bottom:1px solid #ddd;
text-align:right;white-space:nowrap}th:first-child,td:first-child{text-align:left}th{border-bottom:2px solid #888}
td.no{color:#b2182b}small{color:#777}.wide{overflow-x:auto}.plots{display:flex;flex-wrap:wrap;gap:1rem}
.plots figure{flex:1 1 30rem;max-width:35rem;margin:0}.plots svg{width:100%;height:auto}"""


def matrix_html(path):
    """The tables of results/matrix.md, if that is there."""
    if not path or not path.exists():
        return ""
    out, table = ["<h2>Tests at each level</h2>"], False
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            cells = [html.escape(c.strip()) for c in line.strip("|").split("|")]
            if all(set(c) <= set("-: ") for c in cells):
                continue
            tag = "td" if table else "th"
            if not table:
                out.append("<div class=wide><table>")
            table = True
            out.append("<tr>" + "".join(
                f"<{tag}{' class=no' if c == 'FAIL' else ''}>{c}</{tag}>" for c in cells) + "</tr>")
            continue
        if table:
            out.append("</table></div>")
            table = False
        if line and not line.startswith("#"):
            out.append(f"<p>{html.escape(line)}</p>")
    return "\n".join(out + ["</table></div>"] * table)


def tables(data):
    return [t for t in (
        goals(data), real_table(data), back_table(data),
        reap_table(data, ("reap", "many", "rest"), "mrelease", "Kill + process_mrelease()",
                   "A victim is killed and reaped at once, while it exits, as parts of what its exit alone takes, and of "
                   "two unrelated victims of half the size that are killed at once: the machine's own limit. "
                   "CPU is that of the exit and the call together. A run takes the best of some tries of each. Lost: how often the "
                   "victim was gone before it could be reaped."),
        reap_table(data, ("big",), "mrelease", "Kill + process_mrelease(), 1 GiB", "As above."),
        reap_table(data, ("four",), "mrelease", "Kill + process_mrelease(), 4 CPUs", "As above."),
        reap_table(data, ("reaper",), "oom", "OOM reaper + exit",
                   "As above, with the OOM reaper: the victim is kept off its CPU until the reaper has taken 4 MiB, and "
                   "the exit is timed from there. The CPU time is the running time of victim and reaper."),
        lock_table(data), mlock_table(data), step_table(data), wait_table(data), late_table(data), insn_table(data), scale_table(data)) if t]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--base", default="")
    parser.add_argument("--release", default="")
    parser.add_argument("--machine", default="")
    parser.add_argument("--matrix", type=pathlib.Path)
    parser.add_argument("--wide", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    args = parser.parse_args()
    Figure.smoke = args.smoke
    try:
        data = Data(args.raw)
    except (OSError, ValueError) as err:
        print(f"bench.py: cannot use {args.raw}: {err}", file=sys.stderr)
        return 1
    found = tables(data)
    bad = [f for t in found for f in t.figures() if not f.given]
    if args.wide:
        print(" ".join(sorted({f.job for f in bad if f.n})))
        return 0
    if not found or not args.out:
        print("bench.py: no figures" if not found else "bench.py: --out is missing", file=sys.stderr)
        return 1

    title = f"OOM reaper: benchmark of the stack on {args.base} ({args.release})"
    guest = f" The guest says: {', '.join(sorted(data.machines))}." if data.machines else ""
    about = (f"{args.machine}.{guest} Medians, with 95 % intervals "
             "in brackets; a question mark stands for a median that is not known well enough. Best: the ratio of the "
             "least of all runs, where the host gave the guest all of its CPUs.")
    text = f"## {title}\n\n{about}\n\n" + "\n".join(t.markdown() for t in found)
    plots = [p for p in (*(plot_back(data, h) for h in HELD if data.on("back", "back")), plot_steps(data),
                         plot_scale(data, False), plot_scale(data, True)) if p]
    figures = "".join(f"<figure>{p}</figure>" for p in plots)
    page = (f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
            f"<title>{html.escape(title)}</title><style>{STYLE}</style><h1>{html.escape(title)}</h1>"
            f"<p>{html.escape(about)}</p>" + found[0].html() + f"<h2>Plots</h2><div class=plots>{figures}</div>"
            + "".join(t.html() for t in found[1:]) + matrix_html(args.matrix) + "</html>\n")
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "report.md").write_text(text, encoding="utf-8")
    (args.out / "report.html").write_text(page, encoding="utf-8")
    with open(args.out / "summary.csv", "w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(["table", "row", "column", "unit", "n", "median", "low", "high", "worst", "given"])
        for t in found:
            for row in t.rows:
                name = " / ".join(str(c) for c in row[:2] if not isinstance(c, Figure))
                for head, f in zip(t.head, row):
                    figures = {head: f, **{f"{head}, {k}": p for k, p in getattr(f, "parts", {}).items()}}
                    for h, g in figures.items():
                        if isinstance(g, Figure) and g.n:
                            rows.writerow([t.title, name, h, g.unit, g.n, *(
                                f"{x:.4f}" for x in (g.median, g.low, g.high, g.worst)), int(g.given)])
    print(text)
    if bad:
        print(f"bench.py: {len(bad)} figures are missing or not known well enough", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
