#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""matrix.py - print which patch changed which test, and whether that was expected

Usage: matrix.py --expected FILE --base BASE --out DIR LEVEL=RESULT.json ...

The LEVELs are in the order of the series, the base first. A level has the name of its
patch, without ".patch". "LEVEL=cached:RESULT.json" is a level that was not booted in
this run. FILE lists the expected result of each test on each base; the format is
described at the top of patches/expected.

Prints the table, and writes matrix.md, junit.xml and results.ktap to DIR.
Exit: 0 everything is as expected; 2 something differs, one line each; 1 the input is not
valid.
"""

import argparse
import json
import pathlib
import re
import sys
import xml.etree.ElementTree as ET

# Characters that XML does not allow, and that a serial line can contain.
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
EXPECTED = re.compile(r"(?P<name>\S+)(\s+\[(?P<bases>[^]]*)\])?\s+(?P<kind>pass|flips|skip|any)(\s+(?P<argument>.+))?")
MARK = {"pass": "ok", "fail": "FAIL", "skip": "skip", "crash": "CRASH", None: "-"}


class BadInput(Exception):
    pass


def read_expected(path, base, patches):
    """Returns NAME -> (kind, argument) for that base; patches: the names of its patches."""
    expected, seen = {}, set()
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as err:
        raise BadInput(f"{path}: {err.strerror}") from err
    for number, line in enumerate(text.splitlines(), 1):
        line = line.split("#", 1)[0].strip()
        if not line:
            continue
        where = f"{path}:{number}"
        if not (m := EXPECTED.fullmatch(line)):
            raise BadInput(f"{where}: not 'TEST [BASES] pass', '... flips PATCH', '... skip REASON' "
                           "or '... any REASON'")
        name, bases, kind, argument = m["name"], m["bases"], m["kind"], m["argument"] or ""
        if (kind == "pass") != (not argument):
            raise BadInput(f"{where}: '{kind}' with{'out' if not argument else ''} an argument")
        for one in [""] if bases is None else bases.split():
            if (name, one) in seen:
                raise BadInput(f"{where}: {name} is listed twice{' for ' + one if one else ''}")
            seen.add((name, one))
        if bases is None and (name, base) in seen or bases is not None and base not in bases.split():
            continue
        expected[name] = (kind, argument)
    for name, (kind, argument) in expected.items():
        if kind != "flips":
            continue
        found = []
        for word in argument.split():
            found.append([p for p in patches if word in p])
            if len(found[-1]) != 1:
                raise BadInput(f"{path}: {name} flips {word}: {len(found[-1])} patches of {base} "
                               "have that in their name, not one")
        expected[name] = (kind, " ".join(one for one, in found))
    return expected


def wanted(expected, name, index, order):
    """Returns the expected result of the test at level number index of order."""
    kind, argument = expected[name]
    if kind == "flips":
        applied = [index >= order.index(patch) for patch in argument.split()]
        if all(applied):
            return "pass"
        # Only in a topic is a later one applied without an earlier one.
        return "fail" if applied == sorted(applied, reverse=True) else "any"
    return kind


def compare(expected, levels, order):
    """Returns the differences, as (level, test or None, text)."""
    found = []
    for level in levels:
        index = order.index(level["name"])
        for problem in level["problems"]:
            found.append((level["name"], None, problem))
        for name in expected:
            got = level["tests"].get(name)
            want = wanted(expected, name, index, order)
            if got is None:
                found.append((level["name"], name, f"did not run, expected {want}"))
            elif want == "any":
                continue
            elif got["result"] != want:
                detail = f" ({got['detail']})" if got["detail"] else ""
                found.append((level["name"], name, f"{got['result']}{detail}, expected {want}"))
            elif want == "skip" and expected[name][1] not in got["detail"]:
                found.append((level["name"], name,
                              f"skipped for '{got['detail']}', expected '{expected[name][1]}'"))
        for name in level["tests"]:
            if name not in expected:
                found.append((level["name"], name,
                              f"{level['tests'][name]['result']}, but the file of expected results has no such test"))
    return found


def flips(levels, names, order=()):
    """Returns (patch, test, result before, result after) for each result that changed.

    order: the names of all levels. Where some between two levels were not booted, nobody
    knows which patch it was, and "patch" is BEFORE..AFTER.
    """
    out = []
    for before, after in zip(levels, levels[1:]):
        pair = [lv["name"] for lv in (before, after)]
        far = all(name in order for name in pair) and order.index(pair[1]) - order.index(pair[0]) > 1
        for name in names:
            old, new = (lv["tests"].get(name, {}).get("result") for lv in (before, after))
            if old != new:
                out.append(("..".join(pair) if far else pair[1], name, old, new))
    return out


def cell(level, name):
    return MARK[level["tests"].get(name, {}).get("result")]


def row_end(level):
    state = "PROBLEM" if level["problems"] else "clean"
    how = level["cached"] or f"{level['seconds']} s"
    return f"{state}, {'cached' if how is True else how}"


def title(level):
    return level["name"] if level["name"] == "base" else "+ " + level["name"]


def terminal(levels, names):
    width = max(len(title(lv)) for lv in levels)
    width = min(width, 48)
    heads = [str(i) for i in range(1, len(names) + 1)]
    cells = [[cell(lv, n) for n in names] for lv in levels]
    wide = [max([len(h)] + [len(row[i]) for row in cells]) for i, h in enumerate(heads)]
    out = [" ".join([" " * width] + [h.rjust(w) for h, w in zip(heads, wide)])]
    for level, row in zip(levels, cells):
        out.append(" ".join([title(level)[:width].ljust(width)]
                            + [c.rjust(w) for c, w in zip(row, wide)]) + "  " + row_end(level))
    out.append("")
    out += [f"{h:>4}  {n}" for h, n in zip(heads, names)]
    return "\n".join(out)


def markdown(levels, names, changed, differences):
    out = ["| test | " + " | ".join(title(lv) for lv in levels) + " |",
           "| --- |" + " --- |" * len(levels)]
    for name in names:
        out.append(f"| {name} | " + " | ".join(cell(lv, name) for lv in levels) + " |")
    out.append("| *boot* | " + " | ".join(row_end(lv) for lv in levels) + " |")
    out += ["", *(f"- {t}" for t in changed)]
    if differences:
        out += ["", "Not as expected:", "", *(f"- {d}" for d in differences)]
    return "\n".join(out) + "\n"


def differences_at(level, found):
    """Returns TEST -> [what differs], with None for the level as a whole."""
    bad = {}
    for lv, name, text in found:
        if lv == level["name"]:
            bad.setdefault(name, []).append(text)
    return bad


def junit(levels, names, found, whole="boot"):
    """names: the tests, or None for those that each level has. whole: the name of the test case for
    problems of a level as a whole; one without "whole" has none."""
    root = ET.Element("testsuites")
    for level in levels:
        bad = differences_at(level, found)
        suite = ET.SubElement(root, "testsuite", name=level["name"])
        if level["seconds"] is not None:
            suite.set("time", str(level["seconds"]))
        skipped = 0
        keys = [None] * level.get("whole", True) + list(level["tests"] if names is None else names)
        for key in keys:
            case = ET.SubElement(suite, "testcase", classname=level["name"], name=key or whole)
            got = level["tests"].get(key)
            if key in bad:
                failure = ET.SubElement(case, "failure" if key else "error", message=bad[key][0])
                failure.text = "\n".join(bad[key])
            elif got and got["result"] == "skip":
                skipped += 1
                ET.SubElement(case, "skipped", message=got["detail"])
            elif got and got["result"] == "fail":
                ET.SubElement(case, "system-out").text = "fails at this level, as expected: its patch comes later"
        suite.set("tests", str(len(keys)))
        suite.set("failures", str(len(bad.keys() - {None})))
        suite.set("errors", str(int(None in bad)))
        suite.set("skipped", str(skipped))
    ET.indent(root)
    return NOT_XML.sub("\ufffd", ET.tostring(root, encoding="unicode", xml_declaration=True)) + "\n"


def ktap(levels, found):
    out = ["KTAP version 1", f"1..{len(levels)}"]
    for number, level in enumerate(levels, 1):
        bad = differences_at(level, found)
        out += [f"  # Subtest: {level['name']}", "  KTAP version 1", f"  1..{len(level['tests'])}"]
        for i, (name, got) in enumerate(level["tests"].items(), 1):
            verdict = "ok" if got["result"] in ("pass", "skip") else "not ok"
            if got["result"] == "skip":
                note = f" # SKIP {got['detail']}"
            elif name in bad:
                note = f" # {bad[name][0]}"
            else:
                note = "" if verdict == "ok" else " # XFAIL as expected at this level"
            out.append(f"  {verdict} {i} {name}{note}")
        # A level is "ok" if all its results are as expected.
        why = next((f" # {name + ': ' if name else ''}{text[0]}" for name, text in bad.items()), "")
        out.append(f"{'not ok' if bad else 'ok'} {number} {level['name']}{why}")
    return "\n".join(out) + "\n"


def is_result(data):
    """Returns whether that is what ktap.py writes."""
    return (isinstance(data, dict) and "seconds" in data and isinstance(data["seconds"], (int, float, type(None)))
            and isinstance(data.get("problems"), list) and all(isinstance(p, str) for p in data["problems"])
            and isinstance(data.get("tests"), dict)
            and all(isinstance(t, dict) and isinstance(t.get("result"), str) and isinstance(t.get("detail"), str)
                    for t in data["tests"].values()))


def read_level(argument, cached=False):
    name, _, path = argument.partition("=")
    if path.startswith("cached:"):
        path, cached = path.removeprefix("cached:"), True
    try:
        data = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        if not is_result(data):
            raise BadInput(f"no result of level {name}: {path} is damaged: delete it, and run the level again")
        return {"name": name, "cached": cached, "seconds": data["seconds"],
                "problems": data["problems"], "tests": data["tests"]}
    except (OSError, ValueError, RecursionError) as err:
        raise BadInput(f"no result of level {name}: {err}") from err


def parse_arguments(doc):
    """The arguments of matrix.py and page.py; doc is the help text."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--expected", type=pathlib.Path, required=True)
    parser.add_argument("--base", default="mainline")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--order", help="all levels, separated by commas; required if some levels are omitted")
    parser.add_argument("level", nargs="+", metavar="LEVEL=RESULT.json")
    return parser.parse_args()


def read_order(args, levels):
    """(names of all levels in order, expected results)"""
    order = args.order.split(",") if args.order else [lv["name"] for lv in levels]
    return order, read_expected(args.expected, args.base, order[1:])


def report(levels, expected, order, out):
    """Prints the table, and writes the files to the folder out. Returns the exit status: 0 or 2."""
    names = list(expected)
    names += sorted({n for lv in levels for n in lv["tests"]} - set(names))
    found = compare(expected, levels, order)
    differences = [f"{lv}: {name + ': ' if name else ''}{text}" for lv, name, text in found]
    changed = [f"{patch} changed {name} from {old or 'not run'} to {new or 'not run'}"
              for patch, name, old, new in flips(levels, names, order)]

    out.mkdir(parents=True, exist_ok=True)
    (out / "matrix.md").write_text(markdown(levels, names, changed, differences), encoding="utf-8")
    (out / "junit.xml").write_text(junit(levels, names, found), encoding="utf-8")
    (out / "results.ktap").write_text(ktap(levels, found), encoding="utf-8")

    print(terminal(levels, names))
    print()
    for line in changed:
        print(line)
    for line in differences:
        print(f"NOT AS EXPECTED: {line}")
    return 2 if differences else 0


def main():
    args = parse_arguments(__doc__)
    try:
        levels = [read_level(a) for a in args.level]
        order, expected = read_order(args, levels)
    except BadInput as err:
        print(f"matrix.py: {err}", file=sys.stderr)
        return 1
    return report(levels, expected, order, args.out)


if __name__ == "__main__":
    sys.exit(main())
