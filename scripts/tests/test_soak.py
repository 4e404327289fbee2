#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""test_soak.py - tests of scripts/lib/soak_read.py

Usage: scripts/tests/test_soak.py
"""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import soak_read  # noqa: E402

BEFORE = """\
lab: before mm_struct 40
lab: before vm_area_struct 900
lab: before AnonPages_kB 3000
lab: before PageTables_kB 600
lab: before cgroups 0
"""
RACE = """\
#  RUN           mrelease_race.thp.exit ...
# mrelease_race.c:357:exit:812 rounds, 1400 calls returned 0
#            OK  mrelease_race.thp.exit
ok 1 mrelease_race.thp.exit
"""
END = "lab: suspend ok\nlab: plan exit 0\nlab: end\n"


def read(text, races=("mrelease_race.thp.exit",), suspend=False):
    return soak_read.read(text.splitlines(), races, suspend)


class Soak(unittest.TestCase):
    after = BEFORE.replace("before", "after")

    def test_passed(self):
        self.assertEqual(read(BEFORE + RACE + self.after + END), ({"mrelease_race.thp.exit": 812}, []))

    def test_the_shell_may_grow(self):
        after = self.after.replace("3000", "3100").replace("900", "901")
        self.assertEqual(read(BEFORE + RACE + after + END)[1], [])

    def test_mm_left(self):
        after = self.after.replace("40", "41")
        self.assertEqual(read(BEFORE + RACE + after + END)[1],
                         ["mm_struct: 40 before the races, 41 after them"])

    def test_not_read(self):
        self.assertEqual(len(read(BEFORE + RACE + END)[1]), len(soak_read.LEFT))

    def test_cannot_suspend(self):
        self.assertEqual(read(BEFORE + RACE + self.after + END.partition("\n")[2])[1],
                         ["the kernel cannot suspend after the races"])

    def test_suspends(self):
        self.assertEqual(read(BEFORE + RACE + "lab: suspends 7 0\n" + self.after + END)[1], [])
        self.assertEqual(read(BEFORE + RACE + "lab: suspends 7 2\n" + self.after + END)[1],
                         ["the kernel could not suspend 2 of 9 times during the races"])
        self.assertEqual(len(read(BEFORE + RACE + "lab: suspends 0 0\n" + self.after + END)[1]), 1)
        self.assertEqual(read(BEFORE + RACE + self.after + END, suspend=True)[1],
                         ["the suspends during the races were not counted"])
        self.assertEqual(read(BEFORE + RACE + "lab: suspends 7 0\n" + self.after + END, suspend=True)[1], [])

    def test_failed(self):
        race = RACE.replace("ok 1", "not ok 1")
        rounds, problems = read(BEFORE + race + self.after + END)
        self.assertEqual((rounds, problems), ({}, ["mrelease_race.thp.exit: fail"]))

    def test_skipped(self):
        race = "#  RUN           mrelease_race.thp.exit ...\nok 1 mrelease_race.thp.exit # SKIP no huge pages\n"
        self.assertEqual(read(BEFORE + race + self.after + END)[1],
                         ["mrelease_race.thp.exit: skip no huge pages"])

    def test_did_not_run(self):
        self.assertEqual(read(BEFORE + RACE + self.after + END, ("mrelease_race.thp.exit", "gone"))[1],
                         ["gone did not run"])

    def test_no_round(self):
        race = RACE.replace("812 rounds", "0 rounds")
        self.assertEqual(read(BEFORE + race + self.after + END)[1],
                         ["mrelease_race.thp.exit: passed without a round"])

    def test_broke_off(self):
        problems = read(BEFORE + RACE.splitlines()[0] + "\n")[1]
        self.assertEqual(problems[:2], ["mrelease_race.thp.exit: crash started and never ended",
                                        "the run broke off: no end mark"])


if __name__ == "__main__":
    unittest.main()
