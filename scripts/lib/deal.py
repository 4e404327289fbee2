#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""deal.py - print the levels of one shard of N

Usage: deal.py [--top DIR] [--note FILE --commit ID] I/N BASE...

Puts the kernels of the BASEs in a row, and cuts it into N ranges, which have the same number
of kernels, or one more. Levels with the same kernel, whose patches change only tests or
documentation, stay together, because they need only one boot. Prints a line "BASE LEVEL..."
per base, in the order of the series. The result depends on the clone only, not on the machine.
Writes to FILE what "merge" has to know: the shard, its commit ID and the bases, as JSON.
Exit: 0; 1 the input is not valid, with the reason.
"""

import argparse
import json
import pathlib
import re
import sys

# These files are not part of the kernel: see source_id in lib/tree.sh.
NO_KERNEL = re.compile(r"Documentation/|MAINTAINERS$|tools/testing/")


class BadInput(Exception):
    pass


def series_of(top, base):
    """Returns the paths of the base's patches, in order."""
    directory = top / "patches" if base == "mainline" else top / "patches" / base
    series = top / "series" if base == "mainline" else directory / "series"
    lines = (line.split("#", 1)[0].strip() for line in series.read_text(encoding="utf-8").splitlines())
    return [directory / line for line in lines if line]


def levels_of(top, base):
    return ["base", *(p.name.removesuffix(".patch") for p in series_of(top, base))]


def kernels_of(top, base):
    """Returns lists of (base, level), one for the levels of each kernel."""
    kernels = [[(base, "base")]]
    for patch in series_of(top, base):
        text = patch.read_text(encoding="utf-8", errors="replace")
        if all(map(NO_KERNEL.match, re.findall(r"^diff --git a/(\S+) b/", text, re.M))):
            kernels[-1].append((base, patch.name.removesuffix(".patch")))
        else:
            kernels.append([(base, patch.name.removesuffix(".patch"))])
    return kernels


def shard_of(text):
    match = re.fullmatch(r"([0-9]{1,4})/([0-9]{1,4})", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise BadInput(f"--shard {text} is not I/N with I from 1 to N, such as 1/3")
    return int(match[1]), int(match[2])


def levels_in(top, index, count, bases):
    """Returns the (base, level) of that shard."""
    kernels = [kernel for base in bases for kernel in kernels_of(top, base)]
    if count > len(kernels):
        raise BadInput(f"{count} shards are too many: there are only {len(kernels)} kernels to boot")
    first, end = (len(kernels) * i // count for i in (index - 1, index))
    return [level for kernel in kernels[first:end] for level in kernel]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--top", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2])
    parser.add_argument("--note", type=pathlib.Path)
    parser.add_argument("--commit")
    parser.add_argument("shard", metavar="I/N")
    parser.add_argument("bases", nargs="+", metavar="BASE")
    args = parser.parse_args()
    try:
        index, count = shard_of(args.shard)
        levels = levels_in(args.top, index, count, args.bases)
        if args.note:
            args.note.write_text(json.dumps({"shard": index, "of": count, "commit": args.commit,
                                             "bases": " ".join(args.bases)}), encoding="utf-8")
    except (BadInput, OSError) as err:
        print(f"deal.py: {err}", file=sys.stderr)
        return 1
    for base in args.bases:
        mine = [level for b, level in levels if b == base]
        if mine:
            print(base, *mine)
    return 0


if __name__ == "__main__":
    sys.exit(main())
