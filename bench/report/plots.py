# SPDX-License-Identifier: GPL-2.0
"""plots.py - the plots of the report: a data file and a .gp file for each

gnuplot runs in the folder where both the data and the SVG go. A data file has blocks; the
first line of each is its title. "?" stands for a missing value.
"""

import os
import pathlib
import subprocess

from oom import HELD
from reaping import scale_points, steps

HERE = pathlib.Path(__file__).resolve().parent


class PlotError(Exception):
    """gnuplot is missing, or failed."""


def gnuplot(folder, script, name, title, blocks):
    """Writes NAME.dat with the BLOCKS, each (title, rows), and draws NAME.svg.

    Returns the title and the name of the SVG.
    """
    with open(folder / f"{name}.dat", "w", encoding="utf-8") as out:
        for head, rows in blocks:
            print(f'"{head}"', *("\t".join(map(str, row)) for row in rows), "\n", sep="\n", file=out)
    # Where the .gp files find each other.
    env = os.environ | {"GNUPLOT_LIB": str(HERE)}
    try:
        done = subprocess.run(["gnuplot", "-c", HERE / script, f"{name}.dat", title], env=env,
                              capture_output=True, text=True, cwd=folder, check=False)
    except OSError as err:
        raise PlotError("no gnuplot: run scripts/lab setup bench (package gnuplot-nox)") from err
    if done.returncode or "<svg" not in done.stdout:
        raise PlotError(f"gnuplot failed at {script}: {done.stderr.strip()[:200]}")
    (folder / f"{name}.svg").write_text(done.stdout, encoding="utf-8")
    return title, f"{name}.svg"


def plot_back(data, folder, held):
    """Memory against time after the kill, of the run with the median time."""
    levels = data.on("back", "back")
    case, blocks = f"global,{held}", []
    for level in (levels[0], levels[-1]):
        runs = data.get("back", level, "back", case, held, "back")
        if not runs:
            return None
        rnd, run = sorted(runs, key=runs.get)[(len(runs) - 1) // 2]
        blocks.append((level, data.curves[level, case, rnd, run]))
    return gnuplot(folder, "back.gp", f"back-{held}", f"Victim: {HELD[held]}", blocks)


def plot_steps(data, folder):
    """Contentions and CPU time against the size of the reaper's step."""
    found, timed = steps(data, "locks"), steps(data, "step")
    if not found or not timed:
        return None
    rows = []
    for mode in found[2]:
        f = data.count("locks", found[0], "reap", found[1], mode, "contentions")
        r = data.ratio("step", timed[0], "reap", timed[1], mode, "cpu", "halves")
        ratio = (r.median, r.low, r.high) if r.n else "???"
        rows.append((mode.removeprefix("step-"), f.median, f.worst, *ratio))
    return gnuplot(folder, "steps.gp", "steps", "Contention by size of a step", [("step", rows)])


def plot_scale(data, folder, by_vmas):
    """Time per GiB against the size of the victim, or its number of VMAs."""
    points = scale_points(data, by_vmas)
    if not points:
        return None
    blocks = [(level, [(x, f.median, f.low, f.high) for x, f in ps]) for level, ps in points.items()]
    name = "vmas" if by_vmas else "size"
    title = "Reaping by number of VMAs" if by_vmas else "Reaping by size"
    return gnuplot(folder, f"scale-{name}.gp", f"scale-{name}", title, blocks)


def plots(data, folder):
    """[(title, file name of the SVG)] of all plots that there is data for."""
    made = [plot_back(data, folder, held) for held in HELD] if data.on("back", "back") else []
    made += [plot_steps(data, folder), plot_scale(data, folder, False), plot_scale(data, folder, True)]
    return [plot for plot in made if plot]
