#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""rundiff.py - print what changed from one run of the matrix to another

Usage: rundiff.py --room DIR --base BASE OLD NEW

OLD and NEW are names of kept runs, files, "last" or "last~N" (of BASE). Compares the
levels that both have; docs/results.md describes the output, and the noise of a time.
Exit: 0 nothing got worse; 2 something got worse; 1 no comparison, with the reason.
"""

import argparse
import pathlib
import re
import statistics
import sys

import ktap
import runs

RANK = {"pass": 3, "skip": 2, "fail": 1, "crash": 0}
NUMBER = re.compile(r"^\d+-")
# Least number of kept runs to know the noise, and how many of the newest to read.
LEAST, NEWEST = 5, 50
# A time counts as changed if it moved by three standard deviations of the difference of two runs. A
# standard deviation is 1.4826 median absolute deviations. Times are whole seconds.
DEVIATIONS, SECONDS = 3 * 1.4826 * 2 ** 0.5, 2


def match_levels(old, new):
    """Returns the pairs of levels in both; the number of a patch may differ."""
    by_name = {level["name"]: level for level in old["levels"]}
    by_words = {NUMBER.sub("", name): level for name, level in by_name.items()}
    pairs, left = [], []
    for level in new["levels"]:
        found = by_name.get(level["name"]) or by_words.get(NUMBER.sub("", level["name"]))
        if found:
            pairs.append((found, level))
        else:
            left.append(level["name"])
    met = {a["name"] for a, _ in pairs}
    return pairs, [name for name in by_name if name not in met], left


def some(levels):
    return ", ".join(levels[:2]) + (f" and {len(levels) - 2} more" if len(levels) > 2 else "")


def at(levels):
    return "at " + some(levels)


def tests_changed(pairs):
    """Returns (got worse, line) for each change; one line for the same at several levels."""
    found = {}
    for old, new in pairs:
        for test in [*old["tests"], *(t for t in new["tests"] if t not in old["tests"])]:
            before, after = old["tests"].get(test), new["tests"].get(test)
            if before and after and before[0] == after[0]:
                continue
            key = test, before and before[0], after and after[0]
            entry = found.setdefault(key, ([], after and after[1]))
            entry[0].append(new["name"])
    out = []
    for (test, before, after), (levels, detail) in found.items():
        why = f" ({detail})" if detail else ""
        if before is None:
            # Even one that fails: nothing passed before.
            out.append((False, f"new     {test}: {after}{why} {at(levels)}"))
        elif after is None:
            out.append((True, f"gone    {test}: was {before} {at(levels)}"))
        else:
            worse = RANK.get(after, 0) < RANK.get(before, 0)
            out.append((worse, f"{'WORSE  ' if worse else 'better '} {test}: {before} to {after}{why} {at(levels)}"))
    return sorted(out, key=lambda entry: not entry[0])


def split_log(level):
    """Returns the problems of a level, with the splats in its log, and the other lines."""
    problems = {ktap.kind(line): line for line in level["problems"]}
    others = {}
    for line in level["kernel_log"]:
        (problems if ktap.is_splat(line) else others).setdefault(ktap.kind(line), line)
    return problems, others


def lines_changed(pairs):
    """The same for problems and for kinds of lines; only a new problem is worse."""
    found = {}
    for old, new in pairs:
        (before, before_log), (after, after_log) = split_log(old), split_log(new)
        for key, ours, theirs in (("PROBLEM", after, before), ("solved ", before, after),
                                  ("log    ", after_log, before_log)):
            for kind, line in ours.items():
                if kind not in theirs:
                    found.setdefault((key, kind), (line, []))[1].append(new["name"])
    return [(key == "PROBLEM", f"{key} {'new: ' if key != 'solved ' else ''}{line} {at(levels)}")
            for (key, _), (line, levels) in found.items()]


def stage_key(run, name):
    """Stages of two runs are comparable only if they built and booted the same levels."""
    word = {"build": "built", "boot": "booted"}.get(name)
    return name, tuple(level["name"] for level in run["levels"] if word and level[word])


def times(run):
    """Returns what was timed -> seconds, without cached boots."""
    out: dict = {("boot of", level["name"]): level["boot_seconds"] for level in run["levels"] if level["booted"]}
    out.update({("stage", *stage_key(run, name)): seconds for name, seconds in run["stages"].items()})
    return out


def noise(history, key):
    """Returns the median absolute deviation of that time, or None; and the number of runs."""
    seen = [t[key] for t in history if key in t]
    if len(seen) < LEAST:
        return None, len(seen)
    middle = statistics.median(seen)
    return statistics.median(abs(s - middle) for s in seen), len(seen)


def times_changed(old, new, history):
    before, after = times(old), times(new)
    out, unknown = [], 0
    for key in (key for key in after if key in before):
        a, b = before[key], after[key]
        spread, count = noise(history, key)
        unknown += spread is None
        moved = abs(b - a) > SECONDS and (
            max(a, b) > 2 * min(a, b) if spread is None else abs(b - a) > DEVIATIONS * spread)
        if not moved:
            continue
        known = f"noise unknown, {count} runs" if spread is None else \
            f"median absolute deviation of {count} runs: {spread:g} s"
        # Of a stage, the time also depends on what was cached.
        worse = key[0] != "stage" and spread is not None and b > a
        out.append((worse, f"{'SLOWER ' if worse else 'time   '} {key[0]} {key[1]}: {a} s to {b} s ({known})"))
    if unknown:
        out.append((False, f"note    the noise of {unknown} times is unknown, because fewer than {LEAST} runs of "
                           f"{new['base']}, {new['flavour']}, are kept from this host: of these times, only those "
                           "that more than doubled or halved are listed"))
    return out


def same_host(run, like):
    return all(run[key] == like[key] for key in ("base", "flavour", "host"))


def compare(old, new, room):
    """Returns all changes, as (got worse, line)."""
    pairs, gone, added = match_levels(old, new)
    if not pairs:
        raise runs.BadRun(f"{old['name']} and {new['name']} have no level in common")
    out = [(False, f"note    the {key}s differ: {old[key]} and {new[key]}")
           for key in ("base", "flavour") if old[key] != new[key]]
    out += [(False, f"note    only the {word} run has {some(names)}")
            for word, names in (("old", gone), ("new", added)) if names]
    out += tests_changed(pairs) + lines_changed(pairs)
    if same_host(old, new):
        history = [times(run) for run in runs.kept(room, new["base"], NEWEST)[0] if same_host(run, new)]
        out += times_changed(old, new, history)
    else:
        out.append((False, "note    times are not compared, because base, flavour or host differ"))
    return out


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--room", type=pathlib.Path, required=True)
    parser.add_argument("--base", default="mainline")
    parser.add_argument("run", nargs=2)
    args = parser.parse_args()
    try:
        old, new = (runs.pick(args.room, word, args.base) for word in args.run)
        changes = compare(old, new, args.room)
    except (runs.BadRun, OSError) as err:
        print(f"diff: {err}", file=sys.stderr)
        return 1
    print(runs.table([old, new]))
    for _, line in changes:
        print(line)
    count = sum(worse for worse, _ in changes)
    print(f"worse: {count}" if count else "nothing got worse")
    return 2 if count else 0


if __name__ == "__main__":
    sys.exit(main())
