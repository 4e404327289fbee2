#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""test_runs.py - runs are kept, and what changed between them is found

Usage: test_runs.py [-v]
Exit: 0 all tests pass; 1 not.
"""

import copy
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import unittest

LIB = pathlib.Path(__file__).resolve().parents[1] / "lib"
sys.path.insert(0, str(LIB))
import rundiff  # noqa: E402
import runflakes  # noqa: E402
import runkeep  # noqa: E402
import runs  # noqa: E402

TESTS = [f"fixture.test_{n}" for n in range(60)]


def level(name, booted=True, seconds=90, image="i1"):
    return {"name": name, "image": image, "initramfs": "r1", "built": False, "booted": booted,
            "build_seconds": 1, "boot_seconds": seconds, "problems": [], "kernel_log": ["reboot: N"],
            "tests": {test: ["pass", ""] for test in TESTS}}


def make_run(minute=0, levels=None, **more):
    levels = levels or [level("base"), *(level(f"{n:04}-patch-{n}", image=f"i{n + 1}") for n in range(1, 18))]
    return {"form": runs.FORM, "date": f"2026-01-01T{minute // 60:02}:{minute % 60:02}:00Z", "commit": "0" * 40,
            "dirty": False, "base": "mainline", "flavour": "lean", "which": "all", "host": {"cpus": 2},
            "stages": {"fetch": 3, "boot": 900}, "seconds": 903, "differences": [], "levels": levels, **more}


class WithRoom(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.room = pathlib.Path(tmp.name, "runs")

    def keep(self, *kept):
        return [runs.save(self.room, run) for run in kept]

    def program(self, name, *args):
        return subprocess.run([sys.executable, LIB / name, *args], check=False, capture_output=True, text=True)

    def diff(self, old="last~1", new="last"):
        return self.program("rundiff.py", "--room", self.room, "--base", "mainline", old, new)


class Store(WithRoom):
    def test_names(self):
        names = self.keep(make_run(1), make_run(1), make_run(2, base="6.1"), make_run(3, flavour="debug"))
        self.assertEqual(names, ["20260101T000100Z-mainline", "20260101T000100Z-mainline-2",
                                 "20260101T000200Z-6.1", "20260101T000300Z-mainline"])
        self.assertEqual([p.stem for p in runs.paths(self.room)], names)
        self.assertEqual(runs.pick(self.room, "last", "mainline")["name"], names[3])
        self.assertEqual(runs.pick(self.room, "last", "6.1")["name"], names[2])
        self.assertEqual(runs.pick(self.room, names[1], "6.1")["name"], names[1])
        with self.assertRaisesRegex(runs.BadRun, "1 of base mainline .debug"):
            runs.pick(self.room, "last~1", "mainline")
        out = self.program("runs.py", self.room)
        self.assertEqual((out.returncode, len(out.stdout.splitlines())), (0, 5), out)

    def test_oldest_are_dropped(self):
        self.addCleanup(setattr, runs, "LIMIT", runs.LIMIT)
        runs.LIMIT = 3
        self.keep(*(make_run(n) for n in range(5)))
        self.assertEqual([run["date"][14:16] for run in runs.kept(self.room)[0]], ["02", "03", "04"])

    def test_bad_files(self):
        self.keep(make_run(1))
        good = make_run(2)
        no_tests = copy.deepcopy(good)
        no_tests["levels"][3]["tests"] = {"x": "pass"}
        path = self.room / "20260101T000900Z-mainline.json"
        for data in (b"", b"\xff", b"{", b"[]", b"[" * 100000, b'{"form": "another"}',
                     json.dumps({**good, "levels": []}).encode(), json.dumps(no_tests).encode(),
                     json.dumps({**good, "stages": {"boot": "x"}}).encode()):
            path.write_bytes(data)
            out = self.diff(str(path), "last")
            self.assertEqual((out.returncode, len(out.stderr.splitlines())), (1, 1), (data[:40], out.stderr))
            self.assertIn("is not a kept run", out.stderr)
        # Elsewhere it is in nobody's way.
        self.assertEqual(runs.kept(self.room)[1], 1)
        self.assertIn("files that are not kept runs: 1", self.program("runs.py", self.room).stdout)

    def test_bad_words(self):
        for words, text in ((("last~1", "last"), "no run 'last~1': 0"), (("nope", "last"), "no run 'nope'")):
            out = self.diff(*words)
            self.assertEqual((out.returncode, len(out.stderr.splitlines())), (1, 1), out.stderr)
            self.assertIn(text, out.stderr)
        for name, args in (("runs.py", [self.room]), ("runflakes.py", ["--room", self.room])):
            out = self.program(name, *args)
            self.assertEqual((out.returncode, len(out.stderr.splitlines())), (1, 1), out.stderr)


class Keep(WithRoom):
    def arguments(self, problem=None):
        args = ["--room", self.room, "--out", self.room.parent / "run.json", "--base", "mainline",
                "--order", "base,0001-a", "--expected", self.room.parent / "expected", "--stage", "boot 5 s",
                *(f"--fact={fact}=3" for fact in runkeep.HOST + runkeep.RUN)]
        (self.room.parent / "expected").write_text("a.a pass\n")
        for name in ("base", "0001-a"):
            logs = self.room.parent / name
            logs.mkdir(exist_ok=True)
            problems = [f"{logs}/console.log:1: BUG: x"] if problem else []
            (logs / "result.json").write_text(json.dumps({
                "seconds": 7, "problems": problems, "tests": {"a.a": {"result": "pass", "detail": ""}}}))
            (logs / "console.log").write_text("[    1.5] at 0xff1 17 times\n[   2.25] at 0x1 3 times\nlab: x\n")
            args.append(f"{name} i r built 4 booted {logs}/result.json")
        return args

    def test_keep(self):
        out = self.program("runkeep.py", *self.arguments())
        self.assertEqual(out.returncode, 0, out.stderr)
        run = runs.load(self.room / f"{out.stdout.strip()}.json")
        self.assertEqual(run["levels"][1]["kernel_log"], ["at X N times"])
        self.assertEqual((run["stages"], run["differences"]), ({"boot": 5}, []))
        self.assertEqual(runs.load(self.room.parent / "run.json")["levels"], run["levels"])
        out = self.program("runkeep.py", *self.arguments(problem=True))
        run = runs.load(self.room / f"{out.stdout.strip()}.json")
        self.assertEqual(run["levels"][0]["problems"], ["console.log:1: BUG: x"])
        self.assertEqual(len(run["differences"]), 2)

    def test_no_space(self):
        """A file that cannot be written: a reason of one line, and nothing half is left."""
        args = self.arguments()
        self.room.mkdir()
        out = subprocess.run([sys.executable, LIB / "runkeep.py", *args], check=False, capture_output=True, text=True,
                             preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (99, 99)))
        self.assertEqual((out.returncode, len(out.stderr.splitlines())), (1, 1), out.stderr)
        self.assertEqual(list(self.room.iterdir()), [])
        self.assertFalse((self.room.parent / "run.json").exists())

    def test_run_goes_on(self):
        """keep_run of runs.sh: a warning of one line, whatever goes wrong."""
        for cache, word in (("/dev/null", "warning: this run is not kept"), (self.room.parent, "run: 2")):
            script = f"""set -euo pipefail; say() {{ echo "$@"; }}; . "$LIB/runs.sh"; stage_times=("boot 5 s")
                QEMU=/none KEY=mainline ARCH_DIR='' BASE=mainline EXPECTED="$D/expected" CACHE={cache} TOP=/
                run_levels=("base i r built 4 booted $D/base/result.json")
                keep_run all lean "$D" base,0001-a; echo on"""
            self.arguments()
            out = subprocess.run(["bash", "-c", script], check=False, capture_output=True, text=True,
                                 env={"PATH": "/usr/bin:/bin", "LIB": str(LIB), "D": str(self.room.parent)})
            lines = out.stdout.splitlines()
            self.assertEqual((out.returncode, len(lines), lines[-1]), (0, 2, "on"), out)
            self.assertIn(word, lines[0])


class Diff(WithRoom):
    def changed(self, change, history=0):
        """The output of a comparison with a run that was changed, and its exit status."""
        self.keep(*(make_run(n) for n in range(1 + history)))
        new = make_run(200)
        change(new)
        self.keep(new)
        out = self.diff()
        self.assertEqual(out.stderr, "")
        return out.stdout, out.returncode

    def test_nothing(self):
        out, rc = self.changed(lambda run: None)
        self.assertEqual((rc, out.splitlines()[-1]), (0, "nothing got worse"), out)

    def test_planted_regression_in_a_second(self):
        def plant(run):
            run["levels"][11]["tests"][TESTS[7]] = ["fail", "why"]
        out, rc = self.changed(plant, history=120)
        self.assertEqual(rc, 2)
        self.assertIn(f"WORSE   {TESTS[7]}: pass to fail (why) at 0011-patch-11", out.splitlines())
        # CPU time, as the machine may have other work.
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.diff()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.assertLess(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1)

    def test_results(self):
        for before, after, word, rc in (
                (["pass", ""], ["crash", ""], "WORSE ", 2), (["fail", ""], ["pass", ""], "better", 0),
                (["fail", ""], ["crash", ""], "WORSE ", 2), (["pass", ""], ["skip", "no swap"], "WORSE ", 2),
                (["pass", ""], None, "gone  ", 2), (None, ["fail", ""], "new   ", 0)):
            old, new = make_run(), make_run()
            for run, result in ((old, before), (new, after)):
                run["levels"][2]["tests"].pop(TESTS[3])
                if result:
                    run["levels"][2]["tests"][TESTS[3]] = result
            found = rundiff.tests_changed(rundiff.match_levels(old, new)[0])
            self.assertEqual([(2 if worse else 0, line[:6]) for worse, line in found], [(rc, word)])

    def test_problems_and_log(self):
        def change(run):
            run["levels"][1]["problems"] = ["console.log:7: BUG: at 0x77"]
            run["levels"][1]["kernel_log"] = ["reboot: N", "ACPI Error: N"]
        out, rc = self.changed(change)
        self.assertEqual(rc, 2)
        self.assertIn("PROBLEM new: console.log:7: BUG: at 0x77 at 0001-patch-1", out)
        self.assertIn("log     new: ACPI Error: N at 0001-patch-1", out)

    def test_splat_in_the_log_is_a_problem(self):
        def change(run):
            run["levels"][1]["kernel_log"] = ["BUG: KASAN: use-after-free in f+N/N"]
        out, rc = self.changed(change)
        self.assertEqual(rc, 2)
        self.assertIn("PROBLEM new: BUG: KASAN: use-after-free in f+N/N at 0001-patch-1", out)

    def test_levels_move(self):
        def change(run):
            run["levels"][1]["name"] = "0002-patch-1"
            run["levels"][2]["name"] = "0001-patch-2"
            run["levels"][3]["name"] = "0003-patch-new"
        out, rc = self.changed(change)
        self.assertEqual(rc, 0)
        self.assertIn("only the old run has 0003-patch-3", out)
        self.assertIn("only the new run has 0003-patch-new", out)

    def test_noise_is_known(self):
        for seconds, rc, word in ((110, 0, None), (140, 2, "SLOWER  boot of base: 90 s to 140 s"),
                                  (40, 0, "time    boot of base: 90 s to 40 s")):
            self.setUp()
            self.keep(*(make_run(n, [level("base", seconds=90 + (n % 7 - 3) * 3)]) for n in range(10)))
            self.keep(make_run(20, [level("base", seconds=90)]), make_run(30, [level("base", seconds=seconds)]))
            out = self.diff()
            self.assertEqual(out.returncode, rc, out)
            self.assertEqual(word in out.stdout if word else "boot of" not in out.stdout, True, out)

    def test_noise_is_not_known(self):
        out, rc = self.changed(lambda run: run["levels"][0].update(boot_seconds=170))
        self.assertEqual((rc, "boot of" in out, "is unknown" in out), (0, False, True), out)
        self.setUp()
        out, rc = self.changed(lambda run: run["levels"][0].update(boot_seconds=270))
        self.assertEqual((rc, "boot of base: 90 s to 270 s (noise unknown" in out), (0, True), out)

    def test_cached_boots_have_no_time(self):
        out, rc = self.changed(lambda run: run["levels"][0].update(boot_seconds=999, booted=False), history=9)
        self.assertEqual((rc, "boot of base" in out), (0, False), out)

    def test_other_host(self):
        out, rc = self.changed(lambda run: run.update(host={"cpus": 9}), history=9)
        self.assertEqual((rc, "times are not compared" in out), (0, True), out)


class Flakes(WithRoom):
    def test_flakes(self):
        kept = [make_run(n) for n in range(6)]
        kept[2]["levels"][1]["tests"][TESTS[1]] = ["fail", ""]
        kept[3]["levels"][0]["problems"] = ["x"]
        # Cached, and another kernel: these say nothing.
        kept[4]["levels"][2]["tests"][TESTS[2]] = ["fail", ""]
        kept[4]["levels"][2]["booted"] = False
        kept[5]["levels"][3]["tests"][TESTS[3]] = ["fail", ""]
        kept[5]["levels"][3]["image"] = "changed"
        found = runflakes.flakes(runflakes.boots(kept))
        self.assertEqual([flake[:4] for flake in found], [
            (2, 6, "(boot)", "mainline base"), (2, 6, TESTS[1], "mainline 0001-patch-1")])
        self.keep(*kept)
        out = self.program("runflakes.py", "--room", self.room)
        self.assertEqual(out.returncode, 2)
        self.assertIn(f"{TESTS[1]} at mainline 0001-patch-1: 2 changes in 6 boots (5 pass, 1 fail)", out.stdout)


if __name__ == "__main__":
    unittest.main()
