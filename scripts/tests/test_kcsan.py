#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""test_kcsan.py - tests of scripts/lib/ktap_kcsan.py

Usage: scripts/tests/test_kcsan.py
"""

import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))
import ktap_kcsan  # noqa: E402

SOURCE = """\
#include <linux/mm.h>
static bool oom_reap_vma(struct vm_area_struct *vma,
			 struct mmu_gather *tlb)
{
	return helper(vma);
}
extern void elsewhere(int a);
SYSCALL_DEFINE2(process_mrelease, int, pidfd, unsigned int, flags)
{
}
"""


class Kcsan(unittest.TestCase):
    def races(self):
        with tempfile.TemporaryDirectory() as name:
            path = pathlib.Path(name) / "mm"
            path.mkdir()
            (path / "oom_kill.c").write_text(SOURCE, encoding="utf-8")
            return ktap_kcsan.Races(pathlib.Path(name))

    def problems(self, *titles):
        races = self.races()
        found = races.parse_console([f"[    1.0] BUG: KCSAN: {title}" for title in titles], "log")
        return found, dict(races.others)

    def test_functions(self):
        ours = self.races().ours
        self.assertLessEqual({"oom_reap_vma", "__do_sys_process_mrelease"}, ours)
        self.assertFalse({"helper", "elsewhere"} & ours)

    def test_ours(self):
        for title in ("data-race in oom_reap_vma / somewhere", "data-race in somewhere / oom_reap_vma",
                      "data-race in oom_reap_vma.isra.0 / oom_reap_vma.isra.0",
                      "data-race in __do_sys_process_mrelease+0x12/0x40",
                      "assert: race in oom_reap_vma / other"):
            self.assertTrue(self.problems(title)[0], title)

    def test_others(self):
        title = "data-race in tick_sched_do_timer / tick_sched_do_timer"
        self.assertEqual(self.problems(title, title, "data-race in elsewhere / helper"),
                         ([], {"tick_sched_do_timer / tick_sched_do_timer": 2, "elsewhere / helper": 1}))

    def test_line_of_ours_after_others(self):
        found = self.problems("data-race in helper / helper", "data-race in oom_reap_vma / helper")[0]
        self.assertTrue(found[0].startswith("log:2:"))

    def test_other_splats_count(self):
        races = self.races()
        self.assertTrue(races.parse_console(["BUG: kernel NULL pointer dereference"], "log"))


if __name__ == "__main__":
    unittest.main()
