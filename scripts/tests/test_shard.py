#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""test_shard.py - each level is in one shard, and what shards booted merges to the whole

Usage: test_shard.py [-v]

Works on a copy of the series, the scripts and the configs, with made-up results.
Exit: 0 all as it should be; 1 not.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "scripts/lib"))
import deal  # noqa: E402
import matrix  # noqa: E402

BASES = ["mainline", *sorted((p.stem for p in (TOP / "configs").glob("[0-9]*.base")),
                             key=lambda b: [-int(n) for n in b.split(".")])]


def run(*command, env=None):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False, env=env)


class Levels(unittest.TestCase):
    def levels(self, count, top=TOP, bases=BASES):
        return [deal.levels_in(top, i, count, bases) for i in range(1, count + 1)]

    def test_each_level_once(self):
        want = [(base, level) for base in BASES for level in deal.levels_of(TOP, base)]
        for count in (1, 2, 3, 5, 9):
            self.assertEqual([level for shard in self.levels(count) for level in shard], want)

    def test_expected_is_in_order(self):
        for base in BASES:
            order = deal.levels_of(TOP, base)
            expected = matrix.read_expected(TOP / "patches/expected", base, order[1:])
            for name, (kind, argument) in expected.items():
                places = [order.index(patch) for patch in argument.split()] if kind == "flips" else []
                self.assertEqual(places, sorted(places), f"{name} on {base}")

    def test_same_kernel_stays_together(self):
        with tempfile.TemporaryDirectory() as d:
            top = pathlib.Path(d)
            (top / "patches").mkdir()
            for name, path in (("1", "mm/x.c"), ("2", "Documentation/x.rst"), ("3", "tools/testing/x.c"),
                               ("4", "include/linux/sched.h"), ("5", "tools/x.c"), ("6", "MAINTAINERS")):
                (top / "patches" / f"{name}.patch").write_text(f"diff --git a/{path} b/{path}\n", encoding="utf-8")
            (top / "series").write_text("# topic a\n1.patch\n2.patch\n3.patch\n\n4.patch # x\n5.patch\n6.patch\n",
                                        encoding="utf-8")
            four, two = ([[level for _, level in shard] for shard in self.levels(n, top, ["mainline"])] for n in (4, 2))
        self.assertEqual(four, [["base"], ["1", "2", "3"], ["4"], ["5", "6"]])
        self.assertEqual(two, [["base", "1", "2", "3"], ["4", "5", "6"]])

    def test_refusals(self):
        for argument in ("0/3", "4/3", "x", "1/0", "-1/3", "1/3/5", "1.0/3", "", "1/999"):
            got = run(TOP / "scripts/lib/deal.py", "--", argument, "mainline")
            self.assertEqual((got.returncode, got.stdout, got.stderr.count("\n")), (1, "", 1), argument)


class Merge(unittest.TestCase):
    """The merged files against those of one run, from the same results."""

    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.dir = pathlib.Path(holder.name)
        self.top = self.dir / "clone"
        self.top.mkdir()
        for name in ("scripts", "configs", "patches"):
            shutil.copytree(TOP / name, self.top / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(TOP / "series", self.top)
        (self.top / ".gitignore").write_text("__pycache__\n", encoding="utf-8")
        unwanted = ("LAB_LOCKED", "LAB_READY", "KERNEL", "BASE", "FRESH")
        self.env = {**{k: v for k, v in os.environ.items() if k not in unwanted},
                    "LAB_DIR": f"{self.dir}/lab", "XDG_CACHE_HOME": f"{self.dir}/cache",
                    "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@t",
                    "GIT_COMMITTER_NAME": "t", "GIT_COMMITTER_EMAIL": "t@t"}
        for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
            self.assertEqual(self.git(*command).returncode, 0)
        self.commit = self.git("rev-parse", "HEAD").stdout.strip()

    def git(self, *command):
        return run("git", "-C", self.top, *command, env=self.env)

    def result(self, base, index, order):
        """What is expected of the level, by name and place different seconds."""
        expected = matrix.read_expected(TOP / "patches/expected", base, order[1:])
        tests = {}
        for name, (kind, argument) in expected.items():
            want = matrix.wanted(expected, name, index, order)
            tests[name] = {"result": "fail" if want == "any" else want,
                           "detail": argument if kind == "skip" else ""}
        return {"seconds": 50 + index, "problems": [], "tests": tests}

    def results(self, broken=None):
        """BASE -> LEVEL=[cached:]FILE of each level, as boot_each gives them."""
        found = {}
        for base in BASES:
            order = deal.levels_of(TOP, base)
            for index, level in enumerate(order):
                data = self.result(base, index, order)
                if (base, level) == broken:
                    data["problems"] = ["Kernel panic; see <console>"]
                    next(iter(data["tests"].values()))["result"] = "crash"
                path = self.dir / "results" / base / level / "result.json"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(data), encoding="utf-8")
                found.setdefault(base, []).append(f"{level}={'cached:' if index % 3 == 2 else ''}{path}")
        return found

    def shards(self, results, count, bases=BASES):
        """The folders that boot_shard leaves of these results."""
        folders = []
        for number in range(1, count + 1):
            folder = self.dir / "shards" / f"{number}-of-{count}"
            folder.mkdir(parents=True)
            got = run(TOP / "scripts/lib/deal.py", "--note", folder / "shard.json", "--commit", self.commit,
                      f"{number}/{count}", *bases)
            self.assertEqual(got.returncode, 0, got.stderr)
            for line in got.stdout.splitlines():
                self.fill(folder, line.split(), results)
            folders.append(folder)
        return folders

    @staticmethod
    def fill(folder, words, results):
        base, levels, cached = words[0], words[1:], []
        for argument in results[base]:
            level, _, path = argument.partition("=")
            if level not in levels:
                continue
            if path.startswith("cached:"):
                cached.append(level)
            (folder / base / level).mkdir(parents=True)
            shutil.copy(path.removeprefix("cached:"), folder / base / level)
        (folder / base / "cached").write_text("".join(f"{c}\n" for c in cached), encoding="utf-8")
        (folder / base / "seconds").write_text("fetch 60 s\nbuild 300 s\nboot 200 s\n", encoding="utf-8")

    def merge(self, *folders):
        return run(self.top / "scripts/commands/merge", *folders, env=self.env)

    def whole(self, results):
        code = 0
        for base, levels in results.items():
            got = run(TOP / "scripts/lib/matrix.py", "--expected", TOP / "patches/expected", "--base", base,
                      "--out", self.dir / "whole" / base, *levels)
            code = max(code, got.returncode)
        return code

    def same(self, bases=BASES):
        for base in bases:
            for name in ("matrix.md", "junit.xml", "results.ktap"):
                one, other = (d / base / name for d in (self.dir / "whole", self.dir / "lab/results"))
                self.assertEqual(one.read_bytes(), other.read_bytes(), f"{base}/{name}")

    def test_as_one_run(self):
        results = self.results()
        got = self.merge(*reversed(self.shards(results, 3)))
        self.assertEqual((got.returncode, self.whole(results)), (0, 0), got.stdout + got.stderr)
        self.same()
        self.assertIn("shard 3/3: fetch ", got.stdout)
        self.assertRegex(got.stdout.splitlines()[-1], r"^sum \d+ s, longest \d+ s, \d\d %$")

    def test_not_as_expected(self):
        results = self.results(("6.12", "base"))
        self.shards(results, 4)
        got = self.merge(self.dir / "shards")
        self.assertEqual((got.returncode, self.whole(results)), (2, 2), got.stderr)
        self.same()

    def test_one_base(self):
        results = self.results()
        got = self.merge(*self.shards(results, 2, ["6.12"]))
        self.whole(results)
        self.assertEqual(got.returncode, 0, got.stderr)
        self.same(["6.12"])

    def refused(self, pattern, *folders):
        got = self.merge(*folders)
        self.assertEqual((got.returncode, got.stderr.count("\n")), (1, 1), got.stdout + got.stderr)
        self.assertRegex(got.stderr, pattern)
        self.assertFalse((self.dir / "lab/results/6.12").exists())

    def test_refusals(self):
        results = self.results()
        a, b, c = self.shards(results, 3)
        self.refused("shards are missing: 2/3$", a, c)
        self.refused("shard 2/3 .* was passed twice", a, b, c, b)
        self.refused("no shard.json", a, b, c, self.dir / "none")
        self.refused("does not belong", a, b, c, self.shards(results, 2)[0])
        level = next(p for p in b.glob("*/*/result.json"))
        level.rename(b / "aside")
        self.refused("is in 0 shards", a, b, c)
        (b / "aside").rename(level)
        right = level.read_text(encoding="utf-8")
        for wrong in ("null", "[]", "{", '{"seconds": 1, "problems": {}, "tests": {}}'):
            level.write_text(wrong, encoding="utf-8")
            self.refused("no result of level", a, b, c)
        level.write_text(right, encoding="utf-8")
        shutil.copytree(level.parents[1], a / level.parts[-3], dirs_exist_ok=True)
        self.refused("is in 2 shards", a, b, c)

    def test_other_commit(self):
        shards = self.shards(self.results(), 3)
        with (self.top / "patches/expected").open("a", encoding="utf-8") as out:
            out.write("# changed\n")
        self.refused(f"is of commit {self.commit}, but this clone is at {self.commit}-", *shards)
        self.git("commit", "-q", "-a", "-m", "y")
        self.refused("is of commit", *shards)
        (shards[1] / "shard.json").write_text("{}", encoding="utf-8")
        self.refused("shard.json is not valid", *shards)

    def test_boot_refuses(self):
        for argument, pattern in (("0/3", "from 1 to N"), ("4/3", "from 1 to N"), ("x", "not I/N"), ("-1/3", "not I/N"),
                                  ("1/9999", "too many")):
            got = run(self.top / "scripts/commands/boot", "--shard", argument, env=self.env)
            self.assertEqual((got.returncode, got.stderr.count("\n")), (1, 1), got.stderr)
            self.assertRegex(got.stderr, pattern)
        for arguments in (["--shard"], ["--shard", "1/2", "x"]):
            got = run(self.top / "scripts/commands/boot", *arguments, env=self.env)
            self.assertEqual(got.returncode, 1)
            self.assertRegex(got.stderr, "usage: .*--shard|--shard boots all levels")


if __name__ == "__main__":
    unittest.main()
