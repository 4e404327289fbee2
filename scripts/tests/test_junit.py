#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""test_junit.py - test junit with a good run, a bad run, and no run

Usage: test_junit.py [-v]
Exit: 0 all tests passed; 1 a test failed.
"""

import pathlib
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ET

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))

import ktap     # noqa: E402

GOOD = """\
TAP version 13
1..2
# selftests: mm: ksft_oom_reaper.sh
# # 1..3
# # #  RUN           oom.memcg.frozen ...
# # ok 1 oom.memcg.frozen
# # #  RUN           oom_once.next ...
# # ok 2 oom_once.next
# # #  RUN           oom.global.third ...
# # ok 3 oom.global.third # SKIP not a disposable machine
# # [PASS]
# ok 1 oom_reaper
ok 1 selftests: mm: ksft_oom_reaper.sh
# selftests: mm: ksft_process_mrelease.sh
# # 1..1
# # ok 1 Success reaping a child with 1MB of memory allocations
# # [PASS]
# ok 1 mrelease_test
ok 2 selftests: mm: ksft_process_mrelease.sh
# Totals: pass:2 fail:0 xfail:0 xpass:0 skip:0 error:0
"""
BAD = (GOOD.replace("# # ok 2 oom_once.next", "# # not ok 2 oom_once.next # a\x1b[1m<b>&\x00")
       .replace("# ok 1 oom_reaper\nok 1", "# not ok 1 oom_reaper # exit=1\nnot ok 1"))


class Junit(unittest.TestCase):
    def junit(self, text, code, name="ktap.log"):
        """Runs junit, checks the counts of the suite, and returns it."""
        with tempfile.TemporaryDirectory() as d:
            path = pathlib.Path(d) / name
            path.write_bytes(text.encode())
            done = subprocess.run([HERE.parent / "lib" / "junit.py", path], capture_output=True, check=False)
        self.assertEqual(done.returncode, code, done)
        suite = ET.fromstring(done.stdout).find("testsuite")
        for tag, count in (("testcase", "tests"), ("testcase/failure", "failures"),
                           ("testcase/error", "errors"), ("testcase/skipped", "skipped")):
            self.assertEqual(int(suite.get(count)), len(suite.findall(tag)), tag)
        self.assertEqual(len(suite.findall("testcase/error")), int(bool(done.stderr)), done)
        return suite

    def test_good(self):
        suite = self.junit(GOOD, 0)
        self.assertEqual([c.get("name") for c in suite], [
            "run", "oom.memcg.frozen", "oom_once.next", "oom.global.third", "mrelease_test"])
        self.assertEqual(suite.find("testcase/skipped").get("message"), "not a disposable machine")
        self.assertEqual([suite.get(c) for c in ("failures", "errors", "skipped", "time")], ["0", "0", "1", None])

    def test_serial_line(self):
        self.assertEqual(self.junit(GOOD.replace("\n", "\r\n"), 0).get("tests"), "5")

    def test_failed(self):
        failures = self.junit(BAD, 2).findall("testcase/failure")
        self.assertEqual([f.get("message") for f in failures], ["fail: a\ufffd[1m<b>&\ufffd"])

    def test_crashed(self):
        suite = self.junit(GOOD.replace("# # ok 2 oom_once.next\n", ""), 2)
        self.assertIn("crash", suite.find("testcase[@name='oom_once.next']/failure").get("message"))

    def test_no_good(self):
        """An incomplete run is an error, even if no test failed."""
        for text, word in (("", "no test was run"), ("\n\n", "no test was run"),
                           ("\x7fELF\x02\x01", "no test was run"),
                           ("TAP version 13\n1..0\n", "no test was run"),
                           ("".join(GOOD.splitlines(True)[:15]), "1 of 2 test programs"),
                           (GOOD[:GOOD.index("ok 2 selftests")], "1 of 2 test programs"),
                           (GOOD[:-5], "is incomplete"),
                           (GOOD.replace("# # 1..3", "# # 1..4"), "4 tests planned, 3 reported"),
                           (GOOD.replace("ok 2 selftests: mm: ksft_process_mrelease.sh",
                                         "not ok 2 selftests: mm: x.sh # TIMEOUT 900 seconds"), "TIMEOUT")):
            error = self.junit(text, 2).find("testcase[@name='run']/error")
            self.assertIn(word, error.text)

    def test_same_in_shell(self):
        """What guest/ktap-results says of a run is what ktap.py says."""
        for text, whole in ((GOOD, "pass"), (GOOD.replace("\n", "\r\n"), "pass"),
                            (BAD[:BAD.index("ok 2 selftests")], "fail")):
            with tempfile.TemporaryDirectory() as d:
                path = pathlib.Path(d) / "ktap"
                path.write_text(text, encoding="utf-8", newline="")
                done = subprocess.run([HERE.parent / "guest" / "ktap-results", path],
                                      capture_output=True, text=True, check=False)
                tests, _ = ktap.parse_ktap(ktap.lines(path), end_mark=False)
            got = dict(line.split() for line in done.stdout.splitlines())
            self.assertEqual(got.pop("whole-run"), whole, done)
            # Programs that have tests of their own are reported, too.
            self.assertEqual({n: r for n, r in got.items() if n not in ("oom_reaper", "process_mrelease")},
                             {n: t["result"] for n, t in tests.items()})

    def test_no_file(self):
        for path in (HERE / "none", HERE):
            done = subprocess.run([HERE.parent / "lib" / "junit.py", path], capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stdout, done.stderr.count("\n")), (1, "", 1), done)


if __name__ == "__main__":
    unittest.main()
