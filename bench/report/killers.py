# SPDX-License-Identifier: GPL-2.0
"""killers.py - tables of low-memory killers, and of needless kills by the OOM killer"""

from stats import Figure
from table import Table

STATES = {"running": "running", "v1": "frozen (v1)", "v2": "frozen (v2)"}
MORE = {"plain": "", "sparse": ", half of it page tables", "reader": ", a stuck reader of its memory"}


class Back(Figure):
    """Until the memory is back, and how often the killer would have killed again."""

    def __init__(self, back, second):
        super().__init__("killers", back, "stall")
        self.parts = {"second kills": Figure("killers", second, "count")}
        self.again = sum(second)

    def __str__(self):
        text = super().__str__()
        return f"{text}, {self.again:.0f} of {self.n} again" if self.n and self.again else text


def killers_table(data):
    levels = data.on("killers")
    if not levels:
        return None
    table = Table("Low-memory killers", "Four victims of 40 to 48 MiB are killed at once; half of that is in zram (with "
                  "page tables: none). From the first kill until 90 % of their memory is back, at most 1000; ms, "
                  "median and range. Again: how often that took "
                  "more than 300 ms: lmkd may kill somebody else after 100.",
                  ["killer, victims", *levels])
    for case in dict.fromkeys(k[3] for k in data.values if k[0] == "killers"):
        killer, state, more = case.split(",")
        cells = []
        for level in levels:
            key = ("killers", level, "killers", case, "-")
            cells.append(Back([v / 1000 for v in data.get(*key, "back").values()],
                              list(data.get(*key, "second").values())))
        table.add(f"{killer}, {STATES[state]}{MORE[more]}", *cells)
    return table


class Needless(Figure):
    """For how long somebody waited for memory, and in how many rounds others died in vain."""

    def __init__(self, stall, needless):
        super().__init__("needless", stall, "stall")
        self.parts = {"needless kills": Figure("needless", needless, "count")}
        self.rounds = sum(n > 0 for n in needless)

    def __str__(self):
        text = super().__str__()
        return f"{self.rounds} of {self.n}, {text}" if self.n else text


def needless_table(data):
    levels = data.on("needless")
    if not levels:
        return None
    table = Table("Needless kills", "A memory cgroup has a victim of 64 MiB or more, which is enough, and two bystanders "
                  "of 32 MiB. In how many rounds somebody else than the victim was killed; the longest stall of a "
                  "round in ms, median and range.",
                  ["memory of the victim, or its state; what happens", *levels])
    for case in dict.fromkeys(k[3] for k in data.values if k[0] == "needless"):
        cells = []
        for level in levels:
            key = ("needless", level, "needless", case, "-")
            cells.append(Needless([v / 1000 for v in data.get(*key, "stall").values()],
                                  list(data.get(*key, "needless").values())))
        table.add(case.replace(",", ", "), *cells)
    return table
