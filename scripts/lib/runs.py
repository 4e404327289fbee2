#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""runs.py - list the kept runs of the matrix

Usage: runs.py ROOM

ROOM is the folder with one JSON file per run; docs/results.md describes the files.
Prints a line per run, the oldest first.
Exit: 0; 1 no run is kept.

The other scripts for runs import load(), save(), pick() and kept() from here.
"""

import argparse
import json
import os
import pathlib
import re
import sys

FORM = "oom-reaper-lab run 1"
LIMIT = 500
LAST = re.compile(r"last(~(?P<back>\d+))?")
# Key of a run -> the type of its value. A commit is None where there is no git.
RUN = {"date": str, "commit": (str, type(None)), "dirty": bool, "base": str, "flavour": str,
       "which": str, "host": dict, "stages": dict, "seconds": int, "differences": list, "levels": list}
LEVEL = {"name": str, "image": str, "initramfs": str, "built": bool, "booted": bool,
         "build_seconds": int, "boot_seconds": int, "problems": list, "kernel_log": list, "tests": dict}


class BadRun(Exception):
    pass


def has_keys(data, keys):
    return isinstance(data, dict) and all(k in data and isinstance(data[k], t) for k, t in keys.items())


def good_level(level):
    return has_keys(level, LEVEL) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(word, str) for word in pair)
        for pair in level["tests"].values()) and all(
        isinstance(line, str) for line in level["problems"] + level["kernel_log"])


def load(path):
    """Returns the run in that file, with its "name"."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise BadRun(f"{path}: {err.strerror}") from err
    except (ValueError, RecursionError) as err:
        raise BadRun(f"{path} is not a kept run: it is not JSON") from err
    if not isinstance(data, dict) or data.get("form") != FORM:
        raise BadRun(f"{path} is not a kept run: its form is not '{FORM}'")
    if (not has_keys(data, RUN) or not data["levels"] or not all(map(good_level, data["levels"]))
            or not all(isinstance(seconds, int) for seconds in data["stages"].values())):
        raise BadRun(f"{path} is not a kept run: a field is missing or has the wrong type")
    return {**data, "name": path.stem}


def paths(room):
    """Returns the files of the kept runs, the oldest first."""
    return sorted(room.glob("*.json"), key=lambda path: path.stem)


def kept(room, base=None, newest=None):
    """Returns the kept runs, the oldest first, and how many files could not be read."""
    named = re.compile(rf"[^-]+-{re.escape(base or '')}(-\d+)?")
    files = [p for p in paths(room) if base is None or named.fullmatch(p.stem)]
    runs, bad = [], 0
    for path in files[-newest:] if newest else files:
        try:
            runs.append(load(path))
        except BadRun:
            bad += 1
    return [run for run in runs if base in (None, run["base"])], bad


def write(path, run):
    """Writes to a temporary file first, so that path is always complete."""
    part = path.with_name(f".new.{os.getpid()}")
    try:
        part.write_text(json.dumps(run, separators=(",", ":")) + "\n", encoding="utf-8")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def save(room, run):
    """Keeps the run under a new name, and removes the oldest runs."""
    room.mkdir(parents=True, exist_ok=True)
    stem = re.sub("[-:]", "", run["date"]) + "-" + run["base"]
    part = room / f".run.{os.getpid()}"
    try:
        write(part, run)
        number, name = 1, stem
        while True:
            try:
                os.link(part, room / f"{name}.json")
                break
            except FileExistsError:
                number += 1
                name = f"{stem}-{number}"
    finally:
        part.unlink(missing_ok=True)
    for old in paths(room)[:-LIMIT]:
        old.unlink(missing_ok=True)
    return name


def pick(room, word, base):
    """Returns the run that word means: a name, a file, "last" (of the base) or "last~N".

    "last~N" is the Nth before the last one, of the same flavour.
    """
    if m := LAST.fullmatch(word):
        of_base, _ = kept(room, base)
        same = [run for run in of_base if run["flavour"] == of_base[-1]["flavour"]]
        back = int(m["back"] or 0)
        if back >= len(same):
            flavour = f" ({same[-1]['flavour']})" if same else ""
            raise BadRun(f"no run '{word}': {len(same)} of base {base}{flavour} are kept")
        return same[-1 - back]
    if "/" not in word and (room / f"{word}.json").exists():
        return load(room / f"{word}.json")
    if pathlib.Path(word).is_file():
        return load(pathlib.Path(word))
    raise BadRun(f"no run '{word}': use a name that 'lab runs' lists, a file, last or last~N")


def commit(run):
    if run["commit"] is None:
        return "no git"
    return run["commit"][:12] + ("+" if run["dirty"] else "")


def outcome(run):
    count = len(run["differences"])
    if not count:
        return "as expected"
    return f"{count} difference{'s' if count > 1 else ''}"


def table(runs):
    rows = [("name", "date (UTC)", "commit", "base", "levels", "outcome")]
    for run in runs:
        booted = sum(level["booted"] for level in run["levels"])
        rows.append((run["name"], run["date"][:16].replace("T", " "), commit(run),
                     run["base"] + (f" {run['flavour']}" if run["flavour"] != "lean" else ""),
                     f"{run['which']}, {booted} of {len(run['levels'])} booted", outcome(run)))
    wide = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(row, wide)).rstrip() for row in rows)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("room", type=pathlib.Path)
    args = parser.parse_args()
    runs, bad = kept(args.room)
    if not runs and not bad:
        print("runs: no run is kept yet: run scripts/lab boot", file=sys.stderr)
        return 1
    print(table(runs))
    if bad:
        print(f"files that are not kept runs: {bad}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
