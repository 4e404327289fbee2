#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""test_bench.py - bench/report: statistics, tables and pages

Usage: test_bench.py [-v]
Exit: 0 all tests pass; 1 not.
"""

import pathlib
import subprocess
import sys
import tempfile
import unittest

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH / "report"))
import stats  # noqa: E402  pylint: disable=wrong-import-position


def line(rnd, level, mode, metric, value, run=0, job="reap", case="256,1,4k", kind=None):
    return "\t".join(map(str, (rnd, job, level, "lean", 2, "R", kind or job, case, run, mode, metric, value)))


class Statistics(unittest.TestCase):
    def test_interval_is_of_order_statistics(self):
        # Tables of the sign test: 15 values, 4th and 12th (96.5 %).
        self.assertEqual(stats.interval(range(1, 16)), (4, 12))
        # 6 values: the least and the largest (96.9 %); fewer cannot do better.
        self.assertEqual(stats.interval(range(1, 7)), (1, 6))
        self.assertEqual(stats.interval([3, 1, 2]), (1, 3))

    def test_wide_figure_is_not_given(self):
        narrow = stats.Figure("j", [1.0, 1.01, 0.99] * 3, "ratio")
        self.assertTrue(narrow.given)
        self.assertTrue(str(narrow).startswith("1.00 ["))
        wide = stats.Figure("j", [0.5, 1.0, 1.5] * 3, "ratio")
        self.assertFalse(wide.given)
        self.assertEqual(str(wide), "? [0.50-1.50]")

    def test_few_runs_are_not_given(self):
        self.assertFalse(stats.Figure("j", [1.0] * 5, "ratio").given)
        self.assertEqual(str(stats.Figure("j", [], "ms")), "missing")

    def test_counts_have_their_worst(self):
        self.assertEqual(str(stats.Figure("j", [0, 0, 9], "count")), "0 (worst 9)")


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
        return subprocess.run([sys.executable, BENCH / "report" / "report.py", self.raw, *args], check=False,
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
        self.assertIn("missing or unreliable", done.stderr)

    def test_narrow_job_is_not_named(self):
        self.raw.write_text("\n".join(self.lines()) + "\n")
        self.assertEqual(self.run_bench("--wide").stdout.split(), [])

    def test_broken_file_is_one_line(self):
        self.raw.write_text("1\ttime\n")
        done = self.run_bench("--out", self.tmp.name)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(len(done.stderr.splitlines()), 1)

    def test_comments_are_skipped(self):
        self.raw.write_text("\n".join(["# a\tcomment", *self.lines()]) + "\n")
        self.assertEqual(self.run_bench("--wide").returncode, 0)

    def test_matrix_is_in_both_reports(self):
        self.raw.write_text("\n".join(self.lines()) + "\n")
        matrix = pathlib.Path(self.tmp.name) / "matrix.md"
        matrix.write_text("# Tests\n\n| test | base | 0001 |\n| --- | --- | --- |\n| oom.x_y | FAIL | ok |\n")
        self.assertEqual(self.run_bench("--out", self.tmp.name, "--matrix", matrix).returncode, 0)
        self.assertIn("| oom.x_y | FAIL | ok |", (pathlib.Path(self.tmp.name) / "report.md").read_text())
        self.assertRegex((pathlib.Path(self.tmp.name) / "report.html").read_text(), 'class="no">FAIL<')

    def test_unreliable_figure_is_marked_in_the_page(self):
        self.raw.write_text("\n".join(self.lines(factor=2)) + "\n")
        self.run_bench("--out", self.tmp.name)
        self.assertRegex((pathlib.Path(self.tmp.name) / "report.html").read_text(), r'class="no">\? \[')

    def test_curves_and_scaling_are_drawn(self):
        lines = self.lines()
        for run in range(6):
            for level in ("base", "0001"):
                for held in ("unfrozen", "frozen-threads", "frozen-sharer"):
                    case = f"global,{held}"
                    lines.append(line(0, level, held, "back", 9000, run, "back", case))
                    lines += [f"0\tback\t{level}\tlean\t2\tC\tback\t{case}\t{run}\t{us}\t{size}"
                              for us, size in ((0, 64 << 20), (5000, 32 << 20), (9000, 0))]
                for size, vmas in ((64, 1), (256, 1), (256, 1000)):
                    lines.append(line(0, level, "frozen", "reap", 1000 * size, run, "scale", f"{size},{vmas},4k"))
        self.raw.write_text("\n".join(lines) + "\n")
        done = self.run_bench("--out", self.tmp.name)
        # There is no stall at a memory cgroup's limit in these lines.
        self.assertEqual((done.returncode, done.stdout.count("missing")), (2, 6))
        page = (pathlib.Path(self.tmp.name) / "report.html").read_text()
        # pandoc 2 has the plots as data URIs, pandoc 3 as elements.
        self.assertEqual(page.count("data:image/svg+xml") or page.count("<svg"), 5)

    def test_outcomes_of_the_picture(self):
        self.raw.write_text("\n".join(self.real("base", "frozen", (2040, 2020, 2070), 2, 120 * 1024)) + "\n")
        done = self.run_bench("--outcomes")
        self.assertEqual(done.stdout.splitlines()[1].split("\t"), [
            "global,zombie,shmem", "frozen", "base", "3", "2040.0", "2020.0", "2070.0", "2", "2", "120.0"])
        self.raw.write_text("\n".join(self.lines()) + "\n")
        done = self.run_bench("--outcomes")
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1))

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
        self.assertIn('"not frozen, killed"', (pathlib.Path(self.tmp.name) / "summary.csv").read_text())

    def test_few_ooms_are_not_given(self):
        self.raw.write_text("\n".join(
            self.real("base", "frozen", [20] * 6) + self.real("base", "unfrozen", [20] * 6) +
            self.real("0001", "frozen", [20] * 5) + self.real("0001", "unfrozen", [20] * 6)) + "\n")
        self.assertEqual(self.run_bench("--wide").stdout.split(), ["real"])
        done = self.run_bench("--out", self.tmp.name)
        self.assertEqual(done.returncode, 2)
        self.assertIn("? [", done.stdout)

    def test_killers(self):
        out = []
        for run in range(6):
            for level, back in (("base", 1000 if run else 90), ("0007", 40 + run)):
                for metric, value in (("back", back * 1000), ("second", int(back > 100))):
                    out.append(line(0, level, "-", metric, value, run, "killers", "lmkd,v1,sparse"))
        self.raw.write_text("\n".join(out) + "\n")
        done = self.run_bench("--out", self.tmp.name)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("| lmkd, frozen (v1), half of it page tables | 1000 [90-1000], 5 of 6 again | 42 [40-45] |", done.stdout)

    def test_needless(self):
        out = [line(0, level, "-", metric, value, run, "needless", "memfd,lower")
               for run in range(6) for level, needless in (("base", run % 2), ("0007", 0))
               for metric, value in (("stall", 40000 + run * 1000), ("needless", needless))]
        self.raw.write_text("\n".join(out) + "\n")
        done = self.run_bench("--out", self.tmp.name)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("| 3 of 6, 42 [40-45] | 0 of 6, 42 [40-45] |", done.stdout)


if __name__ == "__main__":
    if "-h" in sys.argv or "--help" in sys.argv:
        print(__doc__)
        sys.exit(0)
    unittest.main()
