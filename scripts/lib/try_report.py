#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""try_report.py - report what each patch of a series changed

Usage: try_report.py --work DIR --out DIR
       try_report.py --worse BELOW DIR
       try_report.py --programs BELOW DIR...
       try_report.py --state DIR

DIR of --work is the work folder of "lab try". It has "states" (see lib/try_levels.sh),
"whole" (all patches of the series), "without" (see lib/try_series.sh), "warnings/LEVEL" and "cost/LEVEL". Prints the matrix of
the test programs and what each patch changed; writes matrix.md with every test, and
report.txt, to DIR of --out. A test whose result differs between two boots of a level is
unstable: it is ignored at that level, and, if that level is the base, at every level.
--worse compares two boots. --programs prints the programs of the tests that are worse than
in boot BELOW in each of the other boots. --state prints the reason if a boot did not run
the tests.
Exit: 0 nothing got worse; 2 a test got worse, or a level is broken; 1 the input is not
valid.
"""

import argparse
import pathlib
import sys

import ktap
import matrix
import try_dmesg

RANK = {"crash": 0, "fail": 1, "skip": 2, "pass": 3}
SHOWN = 12      # lines per heading on the terminal; report.txt has all


def direction(old, new):
    """Returns what happened to a test, or None if nothing; and whether that is worse."""
    if old == new:
        return None, False
    if old is None:
        return f"new, {new}", RANK[new] < RANK["skip"]
    if new is None:
        return f"gone, was {old}", True
    return f"{old} -> {new}", RANK[new] < RANK[old]


def load(directory, name=""):
    return matrix.read_level(f"{name}={pathlib.Path(directory) / 'result.json'}")


def reason(directory):
    """Returns why the boot did not run the tests, or ''."""
    got = load(directory)
    began = any(line.startswith("lab: uname") for line in ktap.lines(pathlib.Path(directory) / "ktap.log"))
    first = got["problems"][0] if got["problems"] else "no reason given"
    if not began:
        return f"does not boot: {first}"
    late = [p for p in got["problems"] if p.startswith("not done after")]
    if late:
        running = [n for n, t in got["tests"].items() if t["result"] == "crash"]
        return f"hangs{' in ' + running[0] if running else ''}: {late[0]}"
    return ""


def test_changes(before, after):
    """Yields (name, text, worse) for each test whose result changed."""
    for name in [*before["tests"], *(n for n in after["tests"] if n not in before["tests"])]:
        old, new = (lv["tests"].get(name) for lv in (before, after))
        what, worse = direction(old and old["result"], new and new["result"])
        if what:
            detail = f" ({new['detail']})" if new and new["detail"] and new["result"] != "pass" else ""
            yield name, f"{name}: {what}{detail}", worse


def worse_programs(before, boots):
    """Returns the programs of the tests that are worse in each boot."""
    worse = [[name for name, _, bad in test_changes(before, after) if bad] for after in boots]
    return list(dict.fromkeys(n.split("/")[0] for n in worse[0] if all(n in other for other in worse)))


def changes(before, after, unstable):
    """Returns (text, worse) for each change of a test, and of the boot as a whole."""
    out = [(text, worse) for name, text, worse in test_changes(before, after) if name not in unstable]
    known = {ktap.kind(p) for p in before["problems"]}
    out += [(p, True) for p in after["problems"] if ktap.kind(p) not in known]
    return out


class Level:
    """A level: its state, its boots, and the tests that differ between these."""

    def __init__(self, name, state, detail):
        self.name, self.state, self.detail = name, state, detail
        self.boots, self.unstable = [], set()
        self.results = []       # the results of each boot, those of "few" included
        self.few = set()        # the tests that ran in these
        self.data = {"name": name, "cached": detail.split(":")[0], "seconds": 0, "problems": [detail], "tests": {}}

    def add_boot(self, directory):
        got = load(directory, self.name)
        self.boots.append(pathlib.Path(directory))
        self.results.append(got["tests"])
        if len(self.boots) == 1:
            self.data = got
            return
        names = self.data["tests"].keys() | got["tests"].keys()
        self.unstable |= {n for n in names if self.result(n) != got["tests"].get(n, {}).get("result")}
        # The patch is not blamed for problems that the second boot does not have.
        known = {ktap.kind(p) for p in got["problems"]}
        self.data["problems"] = [p for p in self.data["problems"] if ktap.kind(p) in known]

    def add_few(self, directory):
        """Adds a boot that ran some of the programs only."""
        tests = load(directory, self.name)["tests"]
        self.results.append(tests)
        self.few |= tests.keys()
        self.unstable |= {n for n, t in tests.items() if self.result(n) != t["result"]}

    def failed(self, name):
        """Returns in how many of the boots that ran it a test did not pass."""
        ran = [tests[name]["result"] for tests in self.results if name in tests]
        return f"{sum(r != 'pass' for r in ran)} of {len(ran)}"

    def result(self, name):
        return self.data["tests"].get(name, {}).get("result")


def read_states(path):
    levels = []
    for line in path.read_text(encoding="utf-8").splitlines():
        name, state, detail = line.split("\t")
        if state in ("again", "few"):
            level = next(lv for lv in levels if lv.name == name)
            (level.add_boot if state == "again" else level.add_few)(detail)
            continue
        level = Level(name, state, detail)
        if state == "booted":
            level.add_boot(detail)
        elif state == "same":
            below = next(lv for lv in levels if lv.name == detail)
            level.boots, level.unstable, level.results = below.boots, below.unstable, below.results
            level.data = {**below.data, "name": name, "cached": "same image", "problems": []}
        levels.append(level)
    return levels


def read_lines(path):
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def costs(work, name):
    return {obj: float(s) for obj, s in (line.split() for line in read_lines(work / "cost" / name))}


def log_news(level, below, base):
    """Returns the lines of the kernel log that are new at the level, in every boot of it."""
    if level.state != "booted":
        return []
    others = base.boots + below.boots
    found = [try_dmesg.new_lines(boot, others) for boot in level.boots]
    return [line for line in found[0] if all(line in more for more in found[1:])]


def compile_news(work, level, known):
    """Returns the compile time of the level's objects, and that of the level below."""
    out = []
    for obj, seconds in costs(work, level.name).items():
        old = known.get(obj)
        if old is None:
            out.append(f"{obj}: new, {seconds:.2f} s")
        else:
            mark = "SLOWER " if seconds > old * 1.25 and seconds > old + 0.2 else ""
            out.append(f"{mark}{obj}: {old:.2f} s -> {seconds:.2f} s")
        known[obj] = seconds
    return out


def sections(levels, work):
    """Yields for each patch: name, [(title, lines)], worse."""
    base = below = levels[0]
    known = costs(work, base.name)
    without = [line.split("\t") for line in read_lines(work / "without")]
    for level in levels[1:]:
        parts, worse = [], level.state == "broken"
        if level.state in ("booted", "same"):
            parts.append(("tested without", [other for name, other in without if name == level.name]))
        if level.state == "broken":
            parts.append(("broken", [level.detail]))
        elif level.state == "untested":
            parts.append(("not tested", [level.detail.removeprefix("not tested: ")]))
        else:
            unstable = base.unstable | below.unstable | level.unstable
            found = changes(below.data, level.data, unstable)
            worse = any(w for _, w in found)
            parts.append(("tests", [("WORSE " if w else "") + text for text, w in sorted(found, key=lambda f: not f[1])]))
            unsure = [] if level.boots == below.boots else sorted(
                (level.unstable - base.unstable) |
                {n for n, _, bad in test_changes(below.data, level.data) if bad and n in unstable & level.few})
            parts.append(("unstable, differs between boots of one kernel", [
                f"{n}: no pass in {level.failed(n)} boots, in {below.failed(n)} at the level below" for n in unsure]))
            parts.append(("new in the kernel log", log_news(level, below, base)))
            below = level
        parts.append(("new compiler warnings (W=1)", read_lines(work / "warnings" / level.name)))
        parts.append(("CPU time to compile (best of three, without a cache)", compile_news(work, level, known)))
        yield level.name, parts, worse


def show(name, parts, limit):
    out = [name]
    for title, lines in parts:
        if not lines:
            continue
        out.append(f"  {title}:")
        out += [f"    {line}" for line in lines[:limit]]
        if limit and len(lines) > limit:
            out.append(f"    and {len(lines) - limit} more, see report.txt")
    if len(out) == 1:
        out.append("  nothing changed")
    return out


def report(work, out):
    order = ["base", *(p.removesuffix(".patch") for p in read_lines(work / "whole"))]
    levels = sorted(read_states(work / "states"), key=lambda lv: order.index(lv.name))
    parts = list(sections(levels, work))
    rows = [lv.data for lv in levels]
    names = list(dict.fromkeys(n for d in rows for n in d["tests"]))
    ran = [d for d in rows if d["tests"]]
    changed = {name for _, name, _, _ in matrix.flips(ran, names)}
    shown = [n for n in names if "/" not in n.split(":", 1)[-1] or n in changed]
    worse = [name for name, _, bad in parts if bad]

    tail = []
    if levels[0].unstable:
        tail += ["ignored, because they differ between boots of the base:",
                 *(f"  {n}" for n in sorted(levels[0].unstable))]
    tail.append(f"WORSE or broken: {', '.join(worse)}" if worse else "no test got worse")
    out.mkdir(parents=True, exist_ok=True)
    turned = [f"{name}: {line}" for name, kinds, _ in parts for title, lines in kinds if title == "tests" for line in lines]
    (out / "matrix.md").write_text(matrix.markdown(rows, names, turned, []), encoding="utf-8")
    whole = [line for name, kinds, _ in parts for line in show(name, kinds, None)]
    (out / "report.txt").write_text("\n".join([*whole, *tail]) + "\n", encoding="utf-8")

    print(matrix.terminal(rows, shown))
    print()
    for name, kinds, _ in parts:
        print("\n".join(show(name, kinds, SHOWN)))
    print()
    print("\n".join(tail))
    return 2 if worse else 0


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--worse", nargs=2, type=pathlib.Path, metavar=("BELOW", "DIR"))
    parser.add_argument("--programs", nargs="+", type=pathlib.Path, metavar="DIR")
    parser.add_argument("--state", type=pathlib.Path)
    args = parser.parse_args()
    try:
        if args.state:
            print(reason(args.state))
            return 0
        if args.worse:
            before, after = (load(d) for d in args.worse)
            return 2 if any(w for _, w in changes(before, after, set())) else 0
        if args.programs:
            before, *boots = (load(d) for d in args.programs)
            print("\n".join(worse_programs(before, boots)))
            return 0
        if not args.work or not args.out:
            parser.error("--work and --out are needed")
        return report(args.work, args.out)
    except (matrix.BadInput, OSError, ValueError, StopIteration) as err:
        print(f"try_report.py: {err}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
