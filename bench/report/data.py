# SPDX-License-Identifier: GPL-2.0
"""data.py - reads raw.tsv, and makes figures of what is in it

Each line of raw.tsv is a value: round, job, level, flavour, CPUs, and what a program in
bench/ printed. Lines that begin with # are comments.
"""

import collections

from stats import Figure

CASES = {"4k": "4 KiB pages", "thp": "huge pages", "4k,swap": "4 KiB pages, half swapped"}


class Data:
    """The values of a raw.tsv by job, level, kind, case, mode and metric."""

    def __init__(self, path):
        self.values = collections.defaultdict(dict)
        self.curves = collections.defaultdict(list)
        self.machines = set()
        self.levels, self.cpus = [], {}
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("#"):
                continue
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

    def count(self, *key):
        return self.figure(*key, unit="count", scale=1)

    def ratio(self, job, level, kind, case, mode, metric, ref, ref_metric=None):
        a = self.get(job, level, kind, case, mode, metric)
        b = self.get(job, level, kind, case, ref, ref_metric or metric)
        # Both parts are of one run, so seconds apart.
        figure = Figure(job, [a[i] / b[i] for i in a if b.get(i)], "ratio")
        if figure.n > 1:
            figure.best = min(a.values()) / min(b.values())
        return figure

    def cases(self, job, kind):
        found = {k[3] for k in self.values if k[0] == job and k[2] == kind}
        return sorted(found, key=lambda c: (len(c.split(",")), "thp" in c, [
            int(x) if x.isdigit() else 0 for x in c.split(",")]))

    def on(self, job, kind=None):
        return [level for level in self.levels
                if any(k[0] == job and k[1] == level and kind in (None, k[2]) for k in self.values)]


def case_text(case):
    size, vmas, pages = case.split(",", 2)
    return f"{size} MiB, {vmas} vma{'s' * (vmas != '1')}, {CASES.get(pages, pages)}"
