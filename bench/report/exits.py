# SPDX-License-Identifier: GPL-2.0
"""exits.py - the table of what other exits pay: instructions"""

from stats import Figure
from table import Table

PLAIN = ("fork+exit", "exec+exit", "64 threads+exit")


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
