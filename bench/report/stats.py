# SPDX-License-Identifier: GPL-2.0
"""stats.py - figures: medians, their intervals, and whether they are reliable

A figure is the median over all rounds and runs, with the interval that has the true
median in it with a confidence of 95 %, whatever the distribution is (order statistics).
"best" is the ratio of the least values of all runs: what is left where the host gave
both CPUs all the time. A figure is unreliable if it has fewer than LEAST_RUNS values, or
if its interval is wider than LIMITS allows for its unit; it prints as ? [low-high].
Medians of counts and of instructions have no such limit. Of a real OOM's stalls the
least and the longest are printed instead of the interval.
With Figure.smoke one value is enough, if it is possible.
"""

import math
import statistics

# The widest interval, relative to the median: times of single kills jump with the
# timer tick (4 ms) and the host, ratios of neighbours do not.
LIMITS = {"ratio": 0.3, "ms": 1.0, "us": 3.0}
LEAST_RUNS = 6


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
