#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""test_compare.py - test that the table of all bases matches the logs

Usage: test_compare.py [-v]
Exit: 0 all tests passed; 1 a test failed.
"""

import pathlib
import subprocess
import sys
import tempfile
import unittest

COMPARE = pathlib.Path(__file__).resolve().parents[1] / "lib" / "compare.py"

BEFORE = """\
# # #  RUN           victims.global.running ...
# # # oom_victims.c:1:running:58 ms
# # ok 1 victims.global.running
# # #  RUN           victims.global.frozen_threads ...
# # # oom_victims.c:1:frozen_threads:2078 ms
# # not ok 2 victims.global.frozen_threads
# # #  RUN           oom.global.frozen_sharer ...
# # not ok 1 oom.global.frozen_sharer
# # #  RUN           oom.memcg.frozen_sharer ...
# # # oom_reaper.c:1:frozen_sharer:waited for memory for 1985 ms
# # not ok 2 oom.memcg.frozen_sharer
# # #  RUN           oom.memcg.page_tables ...
# # # oom_reaper.c:1:page_tables:33624064 of 33554432 bytes left
# # not ok 3 oom.memcg.page_tables
# # #  RUN           mrelease.frees_page_tables ...
# # ok 4 mrelease.frees_page_tables # SKIP no CONFIG_PT_RECLAIM
"""

AFTER = """\
# # #  RUN           victims.global.frozen_threads ...
# # # oom_victims.c:1:frozen_threads:47 ms
# # ok 2 victims.global.frozen_threads
# # #  RUN           oom.global.frozen_sharer ...
# # ok 1 oom.global.frozen_sharer
# # #  RUN           oom.memcg.frozen_sharer ...
# # # oom_reaper.c:1:frozen_sharer:waited for memory for 15 ms
# # ok 2 oom.memcg.frozen_sharer
# # #  RUN           oom.memcg.page_tables ...
# # ok 3 oom.memcg.page_tables
"""

ROWS = {
    "memory back: not frozen": ("58", "-"),
    "memory back: frozen, three threads": ("2078 FAIL", "47"),
    "... frozen sharer of the mm": ("1985 FAIL", "15"),
    "frozen sharer exits, without a thaw": ("FAIL", "ok"),
    "page tables freed: OOM reaper": ("FAIL", "ok"),
    "page tables freed: process_mrelease()": ("skip", "-"),
    "highest vma first": ("-", "-"),
}


class Compare(unittest.TestCase):
    def run_it(self, *logs):
        with tempfile.TemporaryDirectory() as tmp:
            args = []
            for i, text in enumerate(logs):
                directory = pathlib.Path(tmp, str(i))
                directory.mkdir()
                if text is not None:
                    (directory / "ktap.log").write_text(text, encoding="utf-8")
                args.append(f"c{i}={directory}")
            return subprocess.run([sys.executable, COMPARE, *args], check=False,
                                  capture_output=True, text=True)

    def test_table(self):
        out = self.run_it(BEFORE, AFTER)
        self.assertEqual(out.returncode, 0, out.stderr)
        rows = {}
        for line in out.stdout.splitlines():
            head, *cells = [c.strip() for c in line.strip("|").split("|")]
            rows[head] = tuple(cells)
        for head, cells in ROWS.items():
            self.assertEqual(rows[head], cells, head)

    def test_no_log(self):
        out = self.run_it(BEFORE, None)
        self.assertEqual(out.returncode, 1)
        self.assertEqual(len(out.stderr.splitlines()), 1)
        self.assertIn("no run of c1", out.stderr)


if __name__ == "__main__":
    unittest.main()
