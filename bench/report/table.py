# SPDX-License-Identifier: GPL-2.0
"""table.py - tables, as Markdown and as rows of summary.csv"""

import csv

from stats import Figure


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


COLUMNS = ("table", "row", "column", "unit", "n", "median", "low", "high", "worst", "given")


def figures_of(table):
    """(row's name, column's name, figure) of all figures; an outcome has several."""
    for row in table.rows:
        name = " / ".join(str(c) for c in row[:2] if not isinstance(c, Figure))
        for head, cell in zip(table.head, row):
            if isinstance(cell, Figure):
                yield name, head, cell
                for part, figure in getattr(cell, "parts", {}).items():
                    yield name, f"{head}, {part}", figure


def write_csv(path, tables):
    with open(path, "w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(COLUMNS)
        for table in tables:
            for name, head, f in figures_of(table):
                if f.n:
                    numbers = [f"{x:.4f}" for x in (f.median, f.low, f.high, f.worst)]
                    rows.writerow([table.title, name, head, f.unit, f.n, *numbers, int(f.given)])
