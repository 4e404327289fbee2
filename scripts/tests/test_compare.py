#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""test_compare.py - the table of all bases says what the logs say

Usage: test_compare.py [-v]
Exit: 0 all tests pass; 1 not.
"""

import pathlib
import subprocess
import sys
import tempfile
import unittest

COMPARE = pathlib.Path(__file__).resolve().parent.parent / "compare.py"

BEFORE = """\
# # #  RUN           oom.global.running ...
# # # oom_reaper.c:1:running:memory back after 58 ms
# # ok 1 oom.global.running
# # #  RUN           oom.global.frozen_threads ...
# # # oom_reaper.c:1:frozen_threads:memory back after 2078 ms
# # not ok 2 oom.global.frozen_threads
# # #  RUN           oom.global.frozen_sharer ...
# # # oom_reaper.c:1:frozen_sharer:memory back after 2092 ms
# # # oom_reaper.c:1:frozen_sharer:not gone, with 264 kB of page tables, 12 kB of files and shmem
# # not ok 2 oom.global.frozen_sharer
# # #  RUN           oom_once.page_tables ...
# # # oom_reaper.c:1:page_tables:32836 of 32768 kB of page tables left
# # not ok 2 oom_once.page_tables
# # #  RUN           mrelease.exited_pinned ...
# # # process_mrelease.c:1:exited_pinned:0 of 32768 kB are back
# # not ok 2 mrelease.exited_pinned
# # #  RUN           walk.highest_vma_first ...
# # # mrelease_walk.c:1:highest_vma_first:the bottom was empty before the top
# # not ok 3 walk.highest_vma_first
# # #  RUN           walk.gives_way_to_exit ...
# # # mrelease_walk.c:1:gives_way_to_exit:the reaper was too fast in 10 rounds
# # not ok 4 walk.gives_way_to_exit
# # #  RUN           mrelease_race.thp.exit ...
# # # process_mrelease.c:1:exit:20 rounds in 1137 ms, 5 with an OOM kill
# # not ok 5 mrelease_race.thp.exit
"""

AFTER = """\
# # #  RUN           oom.global.frozen_threads ...
# # # oom_reaper.c:1:frozen_threads:memory back after 47 ms
# # ok 2 oom.global.frozen_threads
# # #  RUN           oom.global.frozen_sharer ...
# # # oom_reaper.c:1:frozen_sharer:memory back after 15 ms
# # # oom_reaper.c:1:frozen_sharer:exited after another 3 ms
# # ok 2 oom.global.frozen_sharer
# # #  RUN           walk.highest_vma_first ...
# # ok 3 walk.highest_vma_first
# # #  RUN           walk.gives_way_to_exit ...
# # # mrelease_walk.c:1:gives_way_to_exit:the reaper went on for 326 us, and a walk takes 9000 us
# # # mrelease_walk.c:1:gives_way_to_exit:the reaper went on for 926 us, and a walk takes 9000 us
# # ok 4 walk.gives_way_to_exit
# # #  RUN           mrelease_race.thp.exit ...
# # # process_mrelease.c:1:exit:20 rounds in 1137 ms, 5 with an OOM kill
# # ok 5 mrelease_race.thp.exit
"""

ROWS = {
    "memory back: not frozen": ("58", "-"),
    "memory back: frozen, five threads": ("2078", "47"),
    "memory back: frozen sharer of the mm": ("2092", "15"),
    "frozen sharer exits, without a thaw": ("no", "3"),
    "or holds, in kB of page tables + files and shmem": ("264 + 12", "-"),
    "page tables left by the OOM reaper, kB of kB": ("32836 of 32768", "-"),
    "kB back by process_mrelease() after the exit": ("0 of 32768", "-"),
    "first to go of many vmas": ("lowest", "highest"),
    "first to go inside of a vma": ("-", "-"),
    "reaper goes on while exit_mmap() waits": ("-", "0.3"),
    "race rounds passed": ("0 of 20", "20 of 20"),
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
