#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""test_bench.py - what bench.py says of figures, and what it does not say

Usage: test_bench.py [-v]
Exit: 0 all tests pass; 1 not.
"""

import pathlib
import subprocess
import sys
import tempfile
import unittest

LIB = pathlib.Path(__file__).resolve().parents[1] / "lib"
sys.path.insert(0, str(LIB))
import bench  # noqa: E402  pylint: disable=wrong-import-position


def line(rnd, level, mode, metric, value, run=0, job="reap", case="256,1,4k", kind=None):
    return "\t".join(map(str, (rnd, job, level, "lean", 2, "R", kind or job, case, run, mode, metric, value)))


class Statistics(unittest.TestCase):
    def test_interval_is_of_order_statistics(self):
        # Tables of the sign test: 15 values, 4th and 12th (96.5 %).
        self.assertEqual(bench.interval(range(1, 16)), (4, 12))
        # 6 values: the least and the largest (96.9 %); fewer cannot do better.
        self.assertEqual(bench.interval(range(1, 7)), (1, 6))
        self.assertEqual(bench.interval([3, 1, 2]), (1, 3))

    def test_wide_figure_is_not_given(self):
        narrow = bench.Figure("j", [1.0, 1.01, 0.99] * 3, "ratio")
        self.assertTrue(narrow.given)
        self.assertTrue(str(narrow).startswith("1.00 ["))
        wide = bench.Figure("j", [0.5, 1.0, 1.5] * 3, "ratio")
        self.assertFalse(wide.given)
        self.assertEqual(str(wide), "? [0.50-1.50]")

    def test_few_runs_are_not_given(self):
        self.assertFalse(bench.Figure("j", [1.0] * 5, "ratio").given)
        self.assertEqual(str(bench.Figure("j", [], "ms")), "missing")

    def test_counts_have_their_worst(self):
        self.assertEqual(str(bench.Figure("j", [0, 0, 9], "count")), "0 (worst 9)")


class Report(unittest.TestCase):
    def setUp(self):
        self.tmp = tempfile.TemporaryDirectory()
        self.addCleanup(self.tmp.cleanup)
        self.raw = pathlib.Path(self.tmp.name) / "raw.tsv"

    def lines(self, factor=1.0):
        out = []
        for rnd in range(3):
            # The machine gets slower by half each round: ratios do not see it.
            slow = 1.5 ** rnd
            for run in range(3):
                for level in ("base", "0001"):
                    for mode, part in (("alone", 1), ("halves", 0.6), ("mrelease", 0.75)):
                        for metric in ("exit", "cpu", "reap"):
                            if metric == "reap" and mode != "mrelease":
                                continue
                            noise = factor ** (run - 1) if mode == "mrelease" else 1
                            out.append(line(rnd, level, mode, metric, 1e5 * slow * part * noise, run))
        return out

    def run_bench(self, *args):
        return subprocess.run([sys.executable, LIB / "bench.py", self.raw, *args], check=False,
                              capture_output=True, text=True)

    def test_ratios_are_within_a_run(self):
        self.raw.write_text("\n".join(self.lines()) + "\n")
        done = self.run_bench("--out", self.tmp.name)
        self.assertIn("1.25 [1.25-1.25] best 1.25", done.stdout)
        self.assertIn("0.75 [0.75-0.75] best 0.75", done.stdout)
        self.assertEqual(done.returncode, 0, done.stderr)
        page = (pathlib.Path(self.tmp.name) / "report.html").read_text()
        self.assertIn("1.25", page)
        self.assertNotIn("http", page.replace("http://www.w3.org", ""))

    def test_wide_job_is_named_and_status_is_2(self):
        self.raw.write_text("\n".join(self.lines(factor=2)) + "\n")
        self.assertEqual(self.run_bench("--wide").stdout.split(), ["reap"])
        done = self.run_bench("--out", self.tmp.name)
        self.assertEqual(done.returncode, 2)
        self.assertIn("? [", done.stdout)
        self.assertIn("not known well enough", done.stderr)

    def test_narrow_job_is_not_named(self):
        self.raw.write_text("\n".join(self.lines()) + "\n")
        self.assertEqual(self.run_bench("--wide").stdout.split(), [])

    def test_broken_file_is_one_line(self):
        self.raw.write_text("1\ttime\n")
        done = self.run_bench("--out", self.tmp.name)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(done.stderr.splitlines()), 1)

    def real(self, level, mode, stalls, killed=0, left=0, case="global,zombie,shmem"):
        return [line(rnd, level, mode, metric, value, job="real", case=case)
                for rnd, stall in enumerate(stalls)
                for metric, value in (("stall", stall * 1000), ("bystanders", killed), ("left_kib", left))]

    def test_outcome_of_an_oom(self):
        self.raw.write_text("\n".join(
            self.real("base", "frozen", range(2090, 2096), 2, 120 * 1024) +
            self.real("base", "unfrozen", range(20, 26)) +
            self.real("0001", "frozen", range(10, 16)) + self.real("0001", "unfrozen", range(20, 26))) + "\n")
        done = self.run_bench("--out", self.tmp.name)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("2092 [2090-2095], 2 killed, 120 MiB left |", done.stdout)
        self.assertIn("12 [10-15] |", done.stdout)
        for goal in ("stall above", "more bystanders", "more than 2 MiB"):
            row = next(r for r in done.stdout.splitlines() if goal in r)
            self.assertEqual([c.strip() for c in row.split("|")[2:6]], ["0", "1 of 1", "0 of 1", "met"])
        self.assertIn('"not frozen, killed"', (pathlib.Path(self.tmp.name) / "summary.csv").read_text())

    def test_missed_case_is_named(self):
        other = "memcg,reaped,plain"
        self.raw.write_text("\n".join(
            self.real("base", "frozen", [20] * 6) + self.real("base", "unfrozen", [20] * 6) +
            self.real("0001", "frozen", [60] * 6) + self.real("0001", "unfrozen", [50] * 6) +
            self.real("0001", "frozen", [20] * 6, 1, case=other) +
            self.real("0001", "unfrozen", [20] * 6, case=other) +
            self.real("base", "frozen", [20] * 6, case=other) +
            self.real("base", "unfrozen", [20] * 6, case=other)) + "\n")
        rows = [r for r in self.run_bench("--out", self.tmp.name).stdout.splitlines() if "real OOM with" in r]
        self.assertEqual([r.split("|")[5].strip() for r in rows], ["met", f"missed: {other}", "met"])

    def test_few_ooms_are_not_given(self):
        self.raw.write_text("\n".join(
            self.real("base", "frozen", [20] * 6) + self.real("base", "unfrozen", [20] * 6) +
            self.real("0001", "frozen", [20] * 5) + self.real("0001", "unfrozen", [20] * 6)) + "\n")
        self.assertEqual(self.run_bench("--wide").stdout.split(), ["real"])
        done = self.run_bench("--out", self.tmp.name)
        self.assertEqual(done.returncode, 2)
        self.assertIn("not known", done.stdout)

    def test_mlock(self):
        out = []
        for rnd in range(6):
            for level in ("base", "0001"):
                for mode, cpu in (("one", 100), ("same", 110), ("own", 105)):
                    out += [line(rnd, level, mode, m, cpu, job="mlock", case="exit,8,64") for m in ("cpu", "wall")]
                out += [line(rnd, level, "mrelease", m, 0, job="mlock", case="reap,64") for m in ("left", "drained")]
                out += [line(rnd, level if level == "base" else "0001+step", "same", m, 3, job="mlock-locks",
                             case="exit,8,64", kind="mlock") for m in ("contentions", "wait")]
        self.raw.write_text("\n".join(out) + "\n")
        done = self.run_bench("--out", self.tmp.name)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"64, a file of 8 MiB \| +0001 \|.*1\.10.*1\.05.*1\.10.*3 \(worst 3\).*0 \(worst 0\)")
        self.assertEqual(done.stdout.count("| met |"), 2)


if __name__ == "__main__":
    if "-h" in sys.argv or "--help" in sys.argv:
        print(__doc__)
        sys.exit(0)
    unittest.main()
