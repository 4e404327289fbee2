# SPDX-License-Identifier: GPL-2.0
"""reaping.py - tables of how memory is reaped: time, CPU, locks, steps, scaling"""

from data import case_text
from stats import Figure
from table import Table


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
        figures = [data.count("locks", lv, "reap", case, "mrelease", "contentions")
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
    table = Table("Size of a step", f"{case_text(case)}, kill + process_mrelease(), the size of the reaper's step in MiB set "
                  "at run time (bench/kernel/step.patch); contentions from the kernel with LOCK_STAT.",
                  ["step", "exit / halves", "CPU / halves", "reaping / exit alone", "contentions"])
    for mode in modes:
        table.add(mode.removeprefix("step-"),
                  data.ratio("step", level, "reap", case, mode, "exit", "halves"),
                  data.ratio("step", level, "reap", case, mode, "cpu", "halves"),
                  data.ratio("step", level, "reap", case, mode, "reap", "alone", "exit"),
                  data.count("locks", counted[0], "reap", counted[1], mode, "contentions")
                  if counted else "-")
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
