#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""report.py - tables, plots and a page from what lab bench measured

Usage: report.py RAW --out DIR --base NAME --release VERSION --machine TEXT
                 [--matrix FILE] [--smoke]
       report.py RAW --wide
       report.py RAW --outcomes

RAW is a raw.tsv: a line for each value, with round, job, level, flavour, CPUs, and what
the programs in bench/ print. Figures are medians; stats.py says what makes one reliable.
Unreliable figures print as ? [low-high].

Writes to DIR report.md, report.html (one file, with the plots) and summary.csv, and the
tables on stdout. FILE is a matrix.md that the reports end with, if it is there.
  --smoke     accept one run if its values are plausible
  --wide      prints the jobs with unreliable figures, which need more runs
  --outcomes  prints a line for each case of a real OOM and level: medians and ranges
Exit: 0; 2 a figure is missing or unreliable; 1 there is no report, with the reason.
"""

import argparse
import pathlib
import sys
import tempfile

import exits
import killers
import oom
import page
import plots
import reaping
from data import Data
from stats import Figure
from table import write_csv

MRELEASE = ("A victim is killed and reaped at once, while it exits, relative to its exit alone, and to "
            "two unrelated victims of half the size that are killed at once: the machine's own limit. CPU is that of "
            "the exit and the call together. A run takes the best of some tries of each. Lost: how often the victim "
            "was gone before it could be reaped.")
REAPER = ("As above, with the OOM reaper: the victim is kept off its CPU until the reaper has taken 4 MiB, and the "
          "exit is timed from there. The CPU time is the running time of victim and reaper.")
ABOUT = ("Medians, with 95 % intervals in brackets. Unreliable figures print as ? [low-high]. Best: the ratio of the "
         "least of all runs, where the host gave the guest all of its CPUs.")


def tables(data):
    """All tables that there is data for, in the order of the report."""
    call = "Kill + process_mrelease()"
    found = (
        oom.real_table(data),
        oom.back_table(data),
        killers.killers_table(data),
        killers.needless_table(data),
        reaping.reap_table(data, ("reap", "many", "rest"), "mrelease", call, MRELEASE),
        reaping.reap_table(data, ("big",), "mrelease", f"{call}, 1 GiB", "As above."),
        reaping.reap_table(data, ("four",), "mrelease", f"{call}, 4 CPUs", "As above."),
        reaping.reap_table(data, ("reaper",), "oom", "OOM reaper + exit", REAPER),
        reaping.lock_table(data),
        reaping.step_table(data),
        oom.wait_table(data),
        oom.late_table(data),
        exits.insn_table(data),
        reaping.scale_table(data))
    return [table for table in found if table]


def matrix(path):
    """A section with the tables of results/matrix.md, if that is there."""
    if not path or not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return ["\n".join(["### Tests at each level", "", *(x for x in lines if not x.startswith("#"))]) + "\n"]


def write_report(data, found, args):
    """report.md, report.html and summary.csv; returns the text of the tables."""
    title = f"OOM reaper: benchmark of the stack on {args.base} ({args.release})"
    guest = f" The guest says: {', '.join(sorted(data.machines))}." if data.machines else ""
    head = f"## {title}\n\n{args.machine}.{guest} {ABOUT}\n"
    sections = [table.markdown() for table in found]
    tests = matrix(args.matrix)
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as tmp:
        folder = pathlib.Path(tmp)
        images = [f"![{text}]({name})" for text, name in plots.plots(data, folder)]
        drawn = ["\n".join(["### Plots", "", *images]) + "\n"] if images else []
        text = "\n".join([head, sections[0], *drawn, *sections[1:], *tests])
        page.write_page(text, title, folder, args.out / "report.html")
    (args.out / "report.md").write_text("\n".join([head, *sections, *tests]), encoding="utf-8")
    write_csv(args.out / "summary.csv", found)
    return "\n".join([head, *sections])


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--base", default="")
    parser.add_argument("--release", default="")
    parser.add_argument("--machine", default="")
    parser.add_argument("--matrix", type=pathlib.Path)
    parser.add_argument("--wide", action="store_true")
    parser.add_argument("--outcomes", action="store_true")
    parser.add_argument("--smoke", action="store_true")
    return parser.parse_args()


def fail(text):
    print(f"report.py: {text}", file=sys.stderr)
    return 1


def main():
    args = parse()
    Figure.smoke = args.smoke
    try:
        data = Data(args.raw)
    except (OSError, ValueError) as err:
        return fail(f"cannot use {args.raw}: {err}")
    if args.outcomes:
        lines = oom.outcome_lines(data)
        print(*lines, sep="\n")
        return 0 if len(lines) > 1 else fail(f"no real OOM in {args.raw}")
    found = tables(data)
    bad = [f for t in found for f in t.figures() if not f.given]
    if args.wide:
        print(" ".join(sorted({f.job for f in bad if f.n})))
        return 0
    if not found or not args.out:
        return fail("no figures" if not found else "--out is missing")
    try:
        print(write_report(data, found, args))
    except (OSError, plots.PlotError, page.PageError) as err:
        return fail(err)
    if bad:
        print(f"report.py: {len(bad)} figures are missing or unreliable", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
