#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""test_bench_plan.py - bench/plan.sh: what it reads of a plan, and what it says of a bad one

Usage: test_bench_plan.py [-v]
Exit: 0 all tests pass; 1 not.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench"

PLAN = """
[values]
minutes 10 60 180
most-rounds 1 6 6  # comment
runs 1 3 3
[commands]
go = ./go -r {runs}
[kernels]
real base,tip to-thaw every,*+alt,*+gone
[jobs]
a lean real 2 2G 1 2/older 3
	{go} $s
	smoke,default: ./more
b lockstat base,tip+step/tip 1 1G - 1 1
	./b
c lean tip+gone 1 1G 1 1 1
	./c
"""
STUBS = r"""
die() { echo "bench: $*" >&2; exit 1; }
levels() { printf '%s\n' 'base 0' 'one 1' 'docs 1' 'mm-thaw-it 3' 'last 4'; }
source_id() { echo "$1"; }
find_level() { awk -v n="$1" 'index($1, n) == 1 { print; exit }' <<<"$2"; }
with_patches() { case $1$2 in [013]alt | 4step) ;; *) return 1 ;; esac; }
BASE=${BASE:-mainline}
. "$1"
find_kernels
read_plan "$2" "$3"
echo "left out:$left_out; $minutes min, $most rounds"
for j in "${jobs[@]}"; do
	echo "$j|${flavour[$j]}|${on[$j]}|${cpus[$j]}|${mem[$j]}|${rounds[$j]}|${commands[$j]//$'\n'/;}"
done
"""


class Plan(unittest.TestCase):
    def read(self, text=PLAN, mode="full", **env):
        with tempfile.TemporaryDirectory() as tmp:
            plan = pathlib.Path(tmp) / "plan"
            plan.write_text(text)
            return subprocess.run(["bash", "-euo", "pipefail", "-c", STUBS, "bash", BENCH / "plan.sh", plan, mode],
                                  env=os.environ | env, capture_output=True, text=True, check=False)

    def jobs(self, **args):
        done = self.read(**args)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.splitlines()

    def test_modes_have_columns_of_their_own(self):
        # docs does not change the kernel; alt applies to mm-thaw-it and not to last.
        self.assertEqual(self.jobs(), [
            "left out: gone; 180 min, 6 rounds",
            "a|lean|base one mm-thaw-it last mm-thaw-it+alt|2|2G|3|./go -r 3 $s;",
            "b|lockstat|base last+step|1|1G|1|./b;"])
        self.assertEqual(self.jobs(mode="smoke"), [
            "left out: gone; 10 min, 1 rounds", "a|lean|base last|2|2G|1|./go -r 1 $s;./more;"])

    def test_rounds_of_older_bases(self):
        self.assertEqual([x[0] for x in self.jobs(mode="default")[1:]], ["b"])
        self.assertEqual(self.jobs(mode="default", BASE="6.1")[1],
                         "a|lean|base one mm-thaw-it last|2|2G|2|./go -r 3 $s;./more;")

    def test_jobs_and_levels_are_chosen(self):
        self.assertEqual(self.jobs(BENCH_JOBS="b", BENCH_LEVELS="last")[1:], ["b|lockstat|last+step|1|1G|1|./b;"])
        self.assertEqual(self.jobs(BENCH_LEVELS="thaw")[1:], ["a|lean|mm-thaw-it mm-thaw-it+alt|2|2G|3|./go -r 3 $s;"])

    def test_bad_choice_is_one_line(self):
        for env, text in (({"BENCH_JOBS": "b x"}, "no job 'x' in BENCH_JOBS for mainline; there are: a b"),
                          ({"BENCH_LEVELS": "none"}, "no job of the plan runs on BENCH_LEVELS='none'")):
            done = self.read(**env)
            self.assertEqual((done.returncode, done.stderr), (1, f"bench: {text}\n"))

    def test_bad_plan_names_the_line(self):
        for old, new, text in (
                ("minutes 10 60 180", "minutes 10 60", "a value has 4 columns, this one 3"),
                ("runs 1 3 3", "runs 1 3 x", "'x' is no number"),
                ("go = ./go", "go ./go", "not 'NAME = COMMAND'"),
                ("-r {runs}", "-r {rnus}", "no value or command '{rnus}'"),
                ("[kernels]", "[kernel]", "no section 'kernel'"),
                ("*+gone", "top", "no kernel or set 'top'"),
                ("a lean", "a fat", "no flavour 'fat'"),
                ("real 2 2G", "real 9 2G", "not 1 to 8 CPUs: '9'"),
                ("2 2G", "2 2", "memory '2' is not like 2G"),
                ("2/older 3", "2/older", "a job has 8 columns, this one 7"),
                ("2/older 3", "2/older no", "rounds 'no' are not like 2, 2/older or -"),
                ("b lockstat", "a lockstat", "there is a job 'a' already"),
                ("\t{go} $s\n", "", "job 'a' has no command in mode full"),
                ("[jobs]\n", "[jobs]\n\t./early\n", "a command without a job")):
            with self.subTest(new):
                self.assertIn(old, PLAN)
                done = self.read(PLAN.replace(old, new, 1))
                self.assertEqual(done.returncode, 1)
                self.assertRegex(done.stderr, r"\Abench: \S*plan:[0-9]+: [^\n]*\n\Z")
                self.assertIn(text, done.stderr)

    def test_plan_of_the_lab_is_read(self):
        plan = (BENCH / "plan").read_text()
        for mode in ("smoke", "default", "full"):
            stubs = self.read(plan, mode)
            self.assertEqual((stubs.returncode, stubs.stderr), (0, ""))
            self.assertIn("\nreap|lean|", stubs.stdout)


if __name__ == "__main__":
    if "-h" in sys.argv or "--help" in sys.argv:
        print(__doc__)
        sys.exit(0)
    unittest.main()
