#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""deal.py - distribute the levels of the bases to shards that take about the same time

Usage: deal.py [--top DIR] [--costs FILE] --shard I/N BASE...
       deal.py [--top DIR] [--costs FILE] --plan N BASE...

Puts all levels of the BASEs in a row, and cuts it into N pieces, so that the longest piece
is as short as possible over all orders of the bases. If a base is cut, both pieces have to
fetch its source and to compile a first kernel. Levels with the same kernel, whose patches
change only tests or documentation, stay together, because they need only one boot. FILE
(configs/costs) has the seconds of each stage.

--shard prints a line "BASE LEVEL..." per base: the levels of that shard, in the order of
the series. --plan prints the expected seconds of each shard, their sum, and the seconds of
one machine that does all. The result depends on the clone only, not on the machine.
Exit: 0; 1 the input is not valid, with the reason.
"""

import argparse
import itertools
import pathlib
import re
import sys

STAGES = ("fetch", "selftests", "first", "wide", "next", "boot")
# These files are not part of the kernel: see source_id in lib/tree.sh.
NO_KERNEL = re.compile(r"Documentation/|MAINTAINERS$|tools/testing/")
WIDE = re.compile(r"include/linux/(sched(\.h|/)|mm_types\.h)")
# With more bases than this, there are too many orders to try: keep the given one.
ORDERED = 6


class BadInput(Exception):
    pass


def read_costs(path):
    """Returns (BASE or None, STAGE) -> seconds."""
    costs = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        if len(words) not in (2, 3) or words[-2] not in STAGES or not words[-1].isdigit():
            raise BadInput(f"{path}:{number}: not 'STAGE SECONDS' or 'BASE STAGE SECONDS' "
                           f"({', '.join(STAGES)})")
        costs[(words[0] if len(words) == 3 else None, words[-2])] = int(words[-1])
    missing = [s for s in STAGES if (None, s) not in costs]
    if missing:
        raise BadInput(f"{path}: no line for {', '.join(missing)}")
    return costs


def series_of(top, base):
    """Returns the paths of the base's patches, in order."""
    directory = top / "patches" if base == "mainline" else top / "patches" / base
    series = top / "series" if base == "mainline" else directory / "series"
    lines = (line.split("#", 1)[0].strip() for line in series.read_text(encoding="utf-8").splitlines())
    return [directory / line for line in lines if line]


def levels_of(top, base):
    return ["base", *(p.name.removesuffix(".patch") for p in series_of(top, base))]


def changes(patch):
    """Returns the kind of compilation that the patch needs: "wide", "next", or None."""
    found = re.findall(r"^diff --git a/(\S+) b/", patch.read_text(encoding="utf-8", errors="replace"), re.M)
    found = [name for name in found if not NO_KERNEL.match(name)]
    if not found:
        return None
    return "wide" if any(WIDE.match(name) for name in found) else "next"


class Group:
    """Levels of a base that share a kernel."""

    def __init__(self, base, level, kind):
        self.base, self.levels, self.kind = base, [level], kind


def groups_of(top, base):
    groups = [Group(base, "base", "first")]
    for patch in series_of(top, base):
        level, kind = patch.name.removesuffix(".patch"), changes(patch)
        if kind:
            groups.append(Group(base, level, kind))
        else:
            groups[-1].levels.append(level)
    return groups


class Costs:
    def __init__(self, table):
        self.table = table

    def of(self, base, stage):
        return self.table.get((base, stage), self.table[(None, stage)])

    def piece(self, groups):
        """Returns the seconds of a shard that has these groups."""
        if not groups:
            return 0
        total, fetched = self.of("mainline", "fetch") + self.of("mainline", "selftests"), {"mainline"}
        built = set()
        for group in groups:
            if group.base not in fetched:
                total += self.of(group.base, "fetch")
                fetched.add(group.base)
            total += self.of(group.base, group.kind if group.base in built else "first")
            built.add(group.base)
            total += self.of(group.base, "boot")
        return total


def cut(groups, count, limit, costs):
    """Returns count pieces of at most limit seconds each, or None if that is impossible."""
    pieces, left = [], list(groups)
    while left:
        size = 0
        # One more group never makes a piece cheaper.
        while size < len(left) and costs.piece(left[:size + 1]) <= limit:
            size += 1
        # Leave one group for each piece that follows.
        size = min(size, len(left) - (count - len(pieces) - 1))
        if size < 1 or len(pieces) == count:
            return None
        pieces.append(left[:size])
        left = left[size:]
    return pieces if len(pieces) == count else None


def deal(bases, count, costs):
    """Returns the best cut into count pieces of bases, the groups of each base."""
    total = sum(len(groups) for groups in bases)
    if count > total:
        raise BadInput(f"{count} shards are too many: there are only {total} kernels to boot")
    orders = itertools.permutations(bases) if len(bases) <= ORDERED else [bases]
    best, pieces = None, None
    for order in orders:
        line = [group for groups in order for group in groups]
        low, high = 0, costs.piece(line)
        if best is not None:
            if cut(line, count, best - 1, costs) is None:
                continue
            high = best - 1
        # Find the least possible limit.
        while low < high:
            middle = (low + high) // 2
            if cut(line, count, middle, costs) is None:
                low = middle + 1
            else:
                high = middle
        pieces = cut(line, count, low, costs)
        best = max(costs.piece(p) for p in pieces)
    return pieces


def shard_of(text):
    match = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise BadInput(f"--shard {text} is not I/N with I from 1 to N, such as 1/3")
    return int(match[1]), int(match[2])


def print_shard(pieces, index, bases):
    """Prints the levels of the piece, base by base, in the order of the arguments."""
    for base in bases:
        levels = [level for group in pieces[index - 1] if group.base == base for level in group.levels]
        if levels:
            print(base, *levels)


def print_plan(pieces, costs):
    seconds = [costs.piece(piece) for piece in pieces]
    one = costs.piece([group for piece in pieces for group in piece])
    for index, (piece, took) in enumerate(zip(pieces, seconds), 1):
        counts = {}
        for group in piece:
            counts[group.base] = counts.get(group.base, 0) + 1
        kernels = ", ".join(f"{base} {n}" for base, n in counts.items())
        print(f"shard {index}/{len(pieces)}: {took} s (kernels: {kernels})")
    print(f"sum {sum(seconds)} s, longest {max(seconds)} s, one machine {one} s: "
          f"{100 * max(seconds) / one:.0f} %")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    top = pathlib.Path(__file__).resolve().parents[2]
    parser.add_argument("--top", type=pathlib.Path, default=top)
    parser.add_argument("--costs", type=pathlib.Path)
    parser.add_argument("--shard")
    parser.add_argument("--plan", type=int)
    parser.add_argument("bases", nargs="+", metavar="BASE")
    args = parser.parse_args()
    try:
        if (args.shard is None) == (args.plan is None) or args.plan is not None and args.plan < 1:
            raise BadInput("pass either --shard I/N or --plan N, with N at least 1")
        index, count = shard_of(args.shard) if args.shard is not None else (None, args.plan)
        costs = Costs(read_costs(args.costs or args.top / "configs" / "costs"))
        pieces = deal([groups_of(args.top, base) for base in args.bases], count, costs)
    except (BadInput, OSError) as err:
        print(f"deal.py: {err}", file=sys.stderr)
        return 1
    if index:
        print_shard(pieces, index, args.bases)
    else:
        print_plan(pieces, costs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
