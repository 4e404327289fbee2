#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""test_decode.py - decode.py names the line of a place, with a compiler and a stand-in for faddr2line

Usage: test_decode.py [-v]
Exit: 0 all tests passed; 1 a test failed.
"""

import json
import pathlib
import subprocess
import tempfile
import unittest

DECODE = pathlib.Path(__file__).resolve().parents[1] / "lib" / "decode.py"
PLACE = "kill+0x0/0x1"


class Decode(unittest.TestCase):
    def decode(self, obj=True):
        """Returns what it prints, and the problem that it leaves."""
        with tempfile.TemporaryDirectory() as d:
            room = pathlib.Path(d).resolve()
            (room / "src/scripts").mkdir(parents=True)
            (room / "src/mm").mkdir()
            (room / "src/mm/x.c").write_text("int y;\nint kill(void) { return y; }\n")
            tool = room / "src/scripts/faddr2line"
            tool.write_text('#!/bin/sh\necho "$2:"\nexec addr2line -f -p -e "$1" 0\n')
            tool.chmod(0o755)
            (room / "obj/mm").mkdir(parents=True)
            command = f"gcc -O2 -c -o mm/x.o {room}/src/mm/x.c "
            if obj:
                subprocess.run(command, shell=True, check=True, cwd=room / "obj")
                (room / "obj/mm/.x.o.cmd").write_text(f"savedcmd_mm/x.o := ccache {command} ; true\n")
            path = room / "result.json"
            path.write_text(json.dumps({"problems": [f"log:1: BUG: x in {PLACE}", "other"]}))
            done = subprocess.run([DECODE, "--obj", room / "obj", "--src", room / "src", room],
                                  capture_output=True, text=True, check=True)
            return done.stdout + done.stderr, json.loads(path.read_text())["problems"]

    def test_line(self):
        self.assertEqual(self.decode(), (f"  {PLACE} is mm/x.c:2\n", [f"log:1: BUG: x in {PLACE} (mm/x.c:2)", "other"]))

    def test_nothing_was_built(self):
        self.assertEqual(self.decode(obj=False), ("", [f"log:1: BUG: x in {PLACE}", "other"]))


if __name__ == "__main__":
    unittest.main()
