#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""merge.py - combine the results of shards into the matrix of each base

Usage: merge.py --commit ID --out DIR [--top DIR] SHARD...

Each SHARD is a folder that boot_shard (lib/shard.sh) wrote, or one that contains such
folders. ID is the commit of the clone in --top, as clone_id in lib/shard.sh prints it.
Prints the table of each base. Writes BASE/{matrix.md,junit.xml,results.ktap} to --out, with
lib/matrix.py as in a run without shards.
Exit: 0 everything is as expected; 2 a result differs; 1 the shards cannot be merged, with
the reason.
"""

import argparse
import json
import pathlib
import re
import sys

import deal
import matrix as results

HERE = pathlib.Path(__file__).resolve().parent


class BadInput(Exception):
    pass


def shard_folders(paths):
    """Yields the folders that have a shard.json, in the order of the arguments."""
    for path in paths:
        found = [path] if (path / "shard.json").is_file() else \
            sorted(p.parent for p in path.glob("**/shard.json"))
        if not found:
            raise BadInput(f"{path} has no shard.json: it was not written by 'boot --shard'")
        yield from found


def read_shard(path):
    try:
        data = json.loads((path / "shard.json").read_text(encoding="utf-8"))
        shard = {"path": path, "number": int(data["shard"]), "of": int(data["of"]),
                 "commit": str(data["commit"]), "bases": data["bases"].split()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise BadInput(f"{path}/shard.json is not valid: {err!r}") from err
    shard["seconds"] = {base: read_seconds(path / base / "seconds")
                        for base in shard["bases"] if (path / base).is_dir()}
    return shard


def read_seconds(path):
    """Returns STAGE -> seconds."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as err:
        raise BadInput(f"{path}: {err.strerror}") from err
    return {stage: int(n) for stage, n in re.findall(r"^(\w+) ([0-9]+) s$", text, re.M)}


def check_shards(shards, commit):
    """Requires each shard of one run exactly once, all of this commit."""
    first = shards[0]
    seen = {}
    for shard in shards:
        name = f"shard {shard['number']}/{shard['of']} ({shard['path']})"
        if shard["commit"] != commit:
            raise BadInput(f"{name} is of commit {shard['commit']}, but this clone is at {commit}")
        if (shard["of"], shard["bases"]) != (first["of"], first["bases"]):
            raise BadInput(f"{name} of {' '.join(shard['bases'])} does not belong to "
                           f"shard {first['number']}/{first['of']} ({first['path']}) of {' '.join(first['bases'])}")
        if shard["number"] in seen:
            raise BadInput(f"{name} was passed twice, also as {seen[shard['number']]}")
        seen[shard["number"]] = shard["path"]
    missing = [f"{n}/{first['of']}" for n in range(1, first["of"] + 1) if n not in seen]
    if missing:
        raise BadInput(f"shards are missing: {', '.join(missing)}")


def read_levels(shards, base, levels):
    """Returns the results of each level, as matrix.py has them."""
    out = []
    for level in levels:
        found = [s["path"] / base for s in shards if (s["path"] / base / level / "result.json").is_file()]
        if len(found) != 1:
            raise BadInput(f"{base}'s level {level} is in {len(found)} shards"
                           f"{': ' + ', '.join(map(str, found)) if found else ''}")
        cached = level in (found[0] / "cached").read_text(encoding="utf-8").split()
        out.append(results.read_level(f"{level}={found[0] / level / 'result.json'}", cached))
    return out


def matrix(out, base, levels, expected, order):
    """Prints and writes the matrix of a base; returns the exit status."""
    print(f"base {base}")
    # Of an earlier run on one machine: they would not match the new files.
    for name in ("matrix.html", "run.json"):
        (out / base / name).unlink(missing_ok=True)
    code = results.report(levels, expected, order, out / base)
    print()
    return code


def times(shards):
    """Prints how long the stages of each shard took, and the sum."""
    totals = []
    for shard in sorted(shards, key=lambda s: s["number"]):
        stages = {}
        for seconds in shard["seconds"].values():
            for stage, n in seconds.items():
                stages[stage] = stages.get(stage, 0) + n
        totals.append(sum(stages.values()))
        print(f"shard {shard['number']}/{shard['of']}: "
              f"{''.join(f'{stage} {n} s, ' for stage, n in stages.items())}all {totals[-1]} s")
    share = f", {100 * max(totals) / sum(totals):.0f} %" if sum(totals) else ""
    print(f"sum {sum(totals)} s, longest {max(totals)} s{share}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--top", type=pathlib.Path, default=HERE.parents[1])
    parser.add_argument("--commit", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("shards", nargs="+", metavar="SHARD", type=pathlib.Path)
    args = parser.parse_args()
    try:
        shards = [read_shard(path) for path in shard_folders(args.shards)]
        check_shards(shards, args.commit)
        # Read everything before writing anything.
        work = []
        for base in shards[0]["bases"]:
            order = deal.levels_of(args.top, base)
            expected = results.read_expected(args.top / "patches" / "expected", base, order[1:])
            work.append((base, read_levels(shards, base, order), expected, order))
    except (BadInput, results.BadInput, OSError) as err:
        print(f"merge: {err}", file=sys.stderr)
        return 1
    codes = [matrix(args.out, *one) for one in work]
    times(shards)
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())
