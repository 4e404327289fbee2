#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""page.py - write the matrix as one HTML page

Usage: page.py --expected FILE --base BASE --out DIR [--order LEVELS] LEVEL=RESULT.json ...

Takes the same arguments as matrix.py. The lines of a test come from ktap.log in the folder
of its result.json, those of a kernel from console.log; commit and host come from
DIR/run.json, if that exists. The template is matrix.html.j2. The page needs no other file
and no JavaScript.
Writes DIR/matrix.html.
Exit: 0; 1 no page, with the reason.
"""

import os
import pathlib
import re
import sys

import jinja2

import ktap
import ktap_read
import matrix
import runs

TEMPLATE = pathlib.Path(__file__).resolve().with_name("matrix.html.j2")
# How many lines the page shows of a test, and of the end of a log; and how wide.
OWN, TAIL, WIDTH = 60, 25, 400
# A narrow screen may break a name after each of these parts.
PART = re.compile(r"[^._]+[._]*|[._]+")
PLACE = re.compile(r"(?P<log>[\w.]+):(?P<line>\d+): ")
WORD = {"pass": "ok", "fail": "fail", "skip": "skip", "crash": "crash", None: "–"}


def clean(line):
    return matrix.NOT_XML.sub("\ufffd", line[:WIDTH])


def test_lines(text):
    """Returns test -> the lines that it printed; up to the end of the log if it never ended."""
    found = {}
    for node, _ in ktap_read.read(text).all():
        words = [clean(line.lstrip("# ")) for line in node.log]
        found[node.name.split()[0]] = [w for w in words if w and not w.startswith(("FAIL ", "OK "))][-OWN:]
    return found


def tail(path):
    """Returns the last lines of a log with a heading; nothing if the log is empty."""
    text = [clean(line) for line in ktap.lines(path) if line]
    return [(f"the end of {path.name}", text[-TAIL:])] if text else []


def around(level):
    """Returns the lines around each problem that names a log and a line."""
    logs = []
    for problem in level["problems"]:
        if m := PLACE.match(problem):
            at = int(m["line"])
            text = ktap.lines(level["dir"] / m["log"])[max(0, at - 6):at + TAIL]
            logs.append((f"{m['log']}, from line {max(1, at - 5)}", [clean(line) for line in text]))
    return logs


def short(name):
    return name.split("-", 1)[0]


def read(argument):
    """Returns a level as matrix.py reads it, with its logs."""
    level = matrix.read_level(argument)
    level["dir"] = pathlib.Path(argument.partition("=")[2].removeprefix("cached:")).parent
    level["lines"] = test_lines(ktap.lines(level["dir"] / "ktap.log"))
    level["short"] = short(level["name"])
    level["end"] = matrix.row_end(level)
    level["problems"] = [clean(problem.replace(f"{level['dir']}/", "")) for problem in level["problems"]]
    return level


def logs_of(level, test, unexpected):
    """Returns what the page shows of the logs: (heading, lines)."""
    logs = [("ktap.log", level["lines"][test])] if level["lines"].get(test) else []
    if unexpected:
        if level["tests"].get(test, {}).get("result") in ("crash", None):
            logs += tail(level["dir"] / "ktap.log")
        logs += tail(level["dir"] / "console.log")
    return logs


class Page:
    """The cells, and the panels that a click on a cell opens."""

    def __init__(self, levels, order, expected):
        self.levels, self.order, self.expected = levels, order, expected
        self.found = {}
        for level, test, text in matrix.compare(expected, levels, order):
            self.found.setdefault((level, test), []).append(clean(text))
        self.panels, self.links = [], {}

    def names(self):
        """Returns group of tests -> its tests, in the order of the expected results."""
        names = list(self.expected)
        names += sorted({n for level in self.levels for n in level["tests"]} - set(names))
        groups = {}
        for name in names:
            groups.setdefault(name.split(".")[0], []).append(name)
        return groups

    def panel(self, row, column, level, test, verdict, texts, logs):
        key = f"{row}-{column}"
        self.panels.append({"key": key, "level": level, "test": test, "verdict": verdict,
                            "texts": texts, "logs": logs, "dir": level["dir"].name})
        self.links[level["name"], test] = key
        return key

    def cell(self, row, column, level, test):
        got = level["tests"].get(test, {"result": None, "detail": ""})
        texts = self.found.get((level["name"], test), [])
        word, kind = WORD[got["result"]], {"pass": "ok", "fail": "known"}.get(got["result"], "skip")
        if texts:
            word, kind = word.upper(), "bad"
        said = got["result"] or "did not run"
        verdict = "not as expected" if texts else f"{said}, as expected"
        if kind == "known":
            why, text = self.expected[test]
            verdict += f"; {'fixed by ' if why == 'flips' else ''}{text}"
        before = self.levels[column - 1]["tests"].get(test, {}).get("result") if column else got["result"]
        cell = {"id": f"{row}-{column}", "word": word, "kind": kind, "key": None,
                "changed": before != got["result"]}
        if kind != "ok":
            logs = logs_of(level, test, bool(texts))
            notes = texts or [detail for detail in [clean(got["detail"])] if detail]
            cell["key"] = self.panel(row, column, level, test, verdict, notes, logs)
        lines = level["lines"].get(test, [])[:3]
        cell["title"] = "\n".join([f"{test} at {level['short']}: {texts[0] if texts else verdict}", *lines])
        return cell

    def boot_cell(self, column, level):
        cell = {"id": f"0-{column}", "word": "clean", "kind": "ok", "key": None, "changed": False,
                "title": f"{level['name']}: {level['end']}"}
        if level["problems"]:
            cell.update(word="PROBLEM", kind="bad", title="\n".join(level["problems"]))
            logs = around(level) or tail(level["dir"] / "console.log") + tail(level["dir"] / "ktap.log")
            cell["key"] = self.panel(0, column, level, None, level["end"], level["problems"], logs)
        return cell

    def row(self, number, test):
        cells = [self.cell(number, i, level, test) for i, level in enumerate(self.levels)]
        return {"parts": PART.findall(test), "cells": cells, "quiet": all(c["kind"] == "ok" for c in cells)}

    def groups(self):
        boot = {"parts": ["boot"], "quiet": False,
                "cells": [self.boot_cell(i, level) for i, level in enumerate(self.levels)]}
        out, number = [{"name": "level", "rows": [boot], "quiet": False}], 0
        for group, names in self.names().items():
            rows = [self.row(number + i, name) for i, name in enumerate(names, 1)]
            number += len(rows)
            out.append({"name": group, "rows": rows, "quiet": all(row["quiet"] for row in rows)})
        return out

    def differences(self):
        return [{"level": level, "short": short(level), "test": test, "text": text, "key": self.links[level, test]}
                for (level, test), texts in self.found.items() for text in texts]

    def changed(self):
        """Returns patch -> the tests whose result it changes: (test, before, after)."""
        out = {}
        names = [name for group in self.names().values() for name in group]
        for patch, test, old, new in matrix.flips(self.levels, names, self.order):
            out.setdefault(patch, []).append((test, old or "not run", new or "not run"))
        return out


def facts(path):
    """Returns what the page says about the run, from run.json, if that exists."""
    try:
        run = runs.load(path)
    except runs.BadRun:
        return {}
    host = run["host"]
    out = {"date": run["date"].replace("T", " ").replace("Z", " UTC"), "commit": runs.commit(run),
           "flavour": run["flavour"], "seconds": f"{run['seconds']} s"}
    out["stages"] = ", ".join(f"{name} {seconds} s" for name, seconds in run["stages"].items())
    out["guest"] = f"{host.get('guest_cpus')} CPUs, {host.get('guest_memory')}, {host.get('accelerator')}"
    out["host"] = f"{host.get('cpus')} CPUs, {host.get('cpu')}; {host.get('qemu')}"
    return {name: clean(str(value)) for name, value in out.items()}


def bench_report(out):
    """Returns the path of the benchmark's report relative to the page, or None."""
    for path in ("bench/report.html", "../bench/report.html"):
        if (out / path).is_file():
            return path
    return None


def render(page, args):
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined,
                                     trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    groups = page.groups()
    count = sum(len(group["rows"]) for group in groups) - 1
    others = [name for name in ("matrix.md", "junit.xml", "results.ktap", "run.json") if (args.out / name).is_file()]
    return template.render(
        base=args.base, levels=page.levels, groups=groups, count=count, panels=page.panels,
        differences=page.differences(), changed=page.changed(), facts=facts(args.out / "run.json"),
        bench=bench_report(args.out), others=others)


def main():
    args = matrix.parse_arguments(__doc__)
    try:
        levels = [read(argument) for argument in args.level]
        order, expected = matrix.read_order(args, levels)
        text = render(Page(levels, order, expected), args)
        part = args.out / f".matrix.html.{os.getpid()}"
        part.write_text(text, encoding="utf-8")
        os.replace(part, args.out / "matrix.html")
    except (matrix.BadInput, OSError, ValueError, jinja2.TemplateError) as err:
        print(f"page.py: {err}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
