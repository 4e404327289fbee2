#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""test_junit.py - test junit with runs of several kinds, good and bad, and with no run

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
import matrix   # noqa: E402

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
        """Runs junit, checks the counts of the suites, and returns SUITE -> it."""
        with tempfile.TemporaryDirectory() as d:
            path = pathlib.Path(d) / name
            path.write_bytes(text.encode())
            done = subprocess.run([HERE.parent / "lib" / "junit.py", path], capture_output=True, check=False)
        self.assertEqual(done.returncode, code, done)
        suites = {suite.get("name"): suite for suite in ET.fromstring(done.stdout)}
        for suite in suites.values():
            for tag, count in (("testcase", "tests"), ("testcase/failure", "failures"),
                               ("testcase/error", "errors"), ("testcase/skipped", "skipped")):
                self.assertEqual(int(suite.get(count)), len(suite.findall(tag)), tag)
        self.assertEqual(suites["run"].get("errors"), str(int(bool(done.stderr))), done)
        return suites

    def results(self, text, code):
        """Returns SUITE/TEST -> pass, skipped, failure or error."""
        return {f"{name}/{case.get('name')}": next((part.tag for part in case if part.tag != "system-out"), "pass")
                for name, suite in self.junit(text, code).items() for case in suite}

    def test_good(self):
        suites = self.junit(GOOD, 0)
        self.assertEqual({name: [c.get("name") for c in suite] for name, suite in suites.items()}, {
            "run": ["run"], "mm:ksft_oom_reaper.sh/oom_reaper": ["oom.memcg.frozen", "oom_once.next", "oom.global.third"],
            "mm:ksft_process_mrelease.sh/mrelease_test": ["Success reaping a child with 1MB of memory allocations"]})
        suite = suites["mm:ksft_oom_reaper.sh/oom_reaper"]
        self.assertEqual(suite.find("testcase/skipped").get("message"), "not a disposable machine")
        self.assertEqual([suite.get(c) for c in ("failures", "errors", "skipped", "time")], ["0", "0", "1", None])

    def test_serial_line(self):
        self.assertEqual(self.results(GOOD.replace("\n", "\r\n"), 0), self.results(GOOD, 0))

    def test_failed(self):
        failures = self.junit(BAD, 2)["mm:ksft_oom_reaper.sh/oom_reaper"].findall("testcase/failure")
        self.assertEqual([f.get("message") for f in failures], ["fail: a\ufffd[1m<b>&\ufffd"])

    def test_crashed(self):
        suite = self.junit(GOOD.replace("# # ok 2 oom_once.next\n", "# # why\n"), 2)["mm:ksft_oom_reaper.sh/oom_reaper"]
        failure = suite.find("testcase[@name='oom_once.next']/failure")
        self.assertEqual((failure.get("message"), failure.text), ("crash: started and never ended", "crash: started and never ended\nwhy"))

    def test_nested(self):
        """The last example of ktap.rst."""
        text = """KTAP version 1
1..1
  KTAP version 1
  1..3
    KTAP version 1
    1..1
    # test_1: initializing test_1
    ok 1 test_1
  ok 1 example_test_1
    KTAP version 1
    1..2
    ok 1 test_1 # SKIP test_1 skipped
    ok 2 test_2
  ok 2 example_test_2
    KTAP version 1
    1..3
    ok 1 test_1
    # test_2: FAIL
    not ok 2 test_2
    ok 3 test_3 # SKIP test_3 skipped
  not ok 3 example_test_3
not ok 1 main_test
"""
        want = {"run/run": "pass", "main_test/example_test_1/test_1": "pass",
                "main_test/example_test_2/test_1": "skipped", "main_test/example_test_2/test_2": "pass",
                "main_test/example_test_3/test_1": "pass", "main_test/example_test_3/test_2": "failure",
                "main_test/example_test_3/test_3": "skipped"}
        self.assertEqual(self.results(text, 2), want)
        # In a kernel log, among other lines, and as a test of another one.
        for stamp in ("[    1.234567] ", "<6>[    1.234567][    T1] ", "Dec  1 00:00:00 host kernel: [    1.234567] "):
            log = "".join(f"{stamp}{line}\n[    1.300000] usb 1-1: ok 1\n" for line in text.splitlines())
            self.assertEqual(self.results(log, 2), want)
        outer = "1..1\n# selftests: a: b\n" + "".join(f"# {line}\n" for line in text.splitlines()) + "not ok 1 selftests: a: b # exit=1\n"
        self.assertEqual(self.results(outer, 2), {k if k == "run/run" else f"a:b/{k}": v for k, v in want.items()})

    def test_kunit(self):
        text = """[    1.0] KTAP version 1
[    1.0] 1..2
[    1.0]     KTAP version 1
[    1.0]     # Subtest: one
[    1.0]     1..2
[    1.0]         KTAP version 1
[    1.0]         # Subtest: params
[    1.0]         ok 1 a=1, b=2
[    1.0]         not ok 2 a=2 # why
[    1.0]     # params: pass:1 fail:1 skip:0 total:2
[    1.0]     not ok 1 params
[    1.0]     ok 2 plain
[    1.0] not ok 1 one
[    1.0] ok 2 two # SKIP no two
"""
        want = {"run/run": "pass", "one/params/a=1, b=2": "pass", "one/params/a=2": "failure", "one/plain": "pass", "run/two": "skipped"}
        self.assertEqual(self.results(text, 2), want)
        # It dies in the middle.
        text = text[:text.index("[    1.0]         not ok 2")]
        want = {"run/run": "error", "one/params/a=1, b=2": "pass"}
        self.assertEqual(self.results(text, 2), want)
        error = self.junit(text, 2)["run"].find("testcase[@name='run']/error").text.splitlines()
        self.assertEqual(error, ["one/params started and never ended", "one: 2 tests planned, 0 reported",
                                 "one started and never ended", "2 tests planned, 0 reported"])

    def test_directives(self):
        text = ("TAP version 13\n1..8\nok 1 a # XFAIL known\nnot ok 2 b # xfail known\nnot ok 3 c # TODO later\nok 4 # SKIP d\n"
                "not ok 5 e # TIMEOUT 3 s\nok 6 - f #1\nok - g\nok 8\n# not ok, but a remark\n")
        self.assertEqual(self.results(text, 2), {"run/run": "pass", **{f"run/{n}": "pass" for n in "abcf8g"},
                                                 "run/d": "skipped", "run/e": "failure"})
        self.assertEqual(self.results("TAP version 13\n1..0 # SKIP not here\n", 0), {"run/run": "pass", "run/all": "skipped"})
        self.assertEqual(self.results("1..2\nok 1 a\nBail out! no memory\n", 2), {"run/run": "error", "run/a": "pass"})

    def test_other_machines(self):
        """Several targets, whose tests print what they like."""
        text = ("TAP version 13\n1..1\n# overriding timeout to 45\n# selftests: net: a.sh\n# TEST: ok 1 [ OK ]\n# ok 1 x\n# ok 2 x\n"
                "ok 1 selftests: net: a.sh\nTAP version 13\n1..2\n# selftests: mm: b\n# 1..0 # SKIP no b\nok 1 selftests: mm: b # SKIP\n"
                "# selftests: mm: c\n# Segmentation fault\nnot ok 2 selftests: mm: c # exit=139\n")
        self.assertEqual(self.results(text, 2), {"run/run": "pass", "net:a.sh/x": "pass", "net:a.sh/x#2": "pass",
                                                 "run/mm:b": "skipped", "run/mm:c": "failure"})
        self.assertEqual(self.results(text[:text.index("not ok 2")], 2)["run/mm:c"], "failure")

    def test_own_results(self):
        """What boot writes."""
        levels = [{"name": name, "problems": [], "tests": {test: {"result": result, "detail": "no a" if result == "skip" else ""}
                                                           for test, result in tests.items()}}
                  for name, tests in (("base", {"a.a": "skip", "b.b": "fail"}), ("0001-b", {"a.a": "skip", "b.b": "pass"}))]
        self.assertEqual(self.results(matrix.ktap(levels, []), 0), {
            "run/run": "pass", "base/a.a": "skipped", "base/b.b": "pass", "0001-b/a.a": "skipped", "0001-b/b.b": "pass"})
        found = [("base", "b.b", "fail, expected pass"), ("0001-b", None, "console.log:1: BUG: x")]
        self.assertEqual(self.results(matrix.ktap(levels, found), 2), {
            "run/run": "error", "base/a.a": "skipped", "base/b.b": "failure", "0001-b/a.a": "skipped", "0001-b/b.b": "pass"})

    def test_no_good(self):
        """An incomplete run is an error, even if no test failed."""
        for text, word in (("", "no test was run"), ("\n\n", "no test was run"),
                           ("\x7fELF\x02\x01", "no test was run"),
                           ("TAP version 13\n1..0\n", "no test was run"),
                           ("".join(GOOD.splitlines(True)[:15]), "2 tests planned, 1 reported"),
                           (GOOD[:GOOD.index("ok 2 selftests")], "2 tests planned, 1 reported"),
                           (GOOD[:-5], "is incomplete"),
                           (GOOD.replace("# # 1..3", "# # 1..4"), "4 tests planned, 3 reported"),
                           (GOOD.replace("ok 2 selftests: mm: ksft_process_mrelease.sh",
                                         "not ok 2 selftests: mm: x.sh # TIMEOUT 900 seconds"), "TIMEOUT")):
            error = self.junit(text, 2)["run"].find("testcase[@name='run']/error")
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
