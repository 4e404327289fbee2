#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""test_lava_log.py - the log of a LAVA job gives what a boot without LAVA gives

Usage: test_lava_log.py [-v]
Exit: 0 all tests pass; 1 not.
"""

import json
import pathlib
import subprocess
import tempfile
import unittest

READER = pathlib.Path(__file__).resolve().parents[1] / "lib" / "lava_log.py"

# What the guest prints while the tests run: a kernel message in the middle of a line.
LIVE = r"""
[    0.000000] Linux version 7.3.4 (gcc)
bash-5.2#
+ ./run_kselftest.sh
TAP version 13
1..1
# selftests: mm: ksft_oom_reaper.sh
# # running ./oom_reaper
# # 1..3
# # #  RUN           oom.memcg.frozen ...
# # ok 1 oom.mem[   21.622804] Memory cgroup out of memory: Killed process 179 (oom_reaper)
cg.frozen
# # #  RUN           oom.global.next ...
# # not ok 2 oom.global.next
# # #  RUN           oom.global.third ...
# # ok 3 oom.global.third # SKIP no \"swap\" here
# not ok 1 oom_reaper # exit=1
not ok 1 selftests: mm: ksft_oom_reaper.sh # exit=1
"""
KTAP = LIVE[LIVE.index("TAP version"):].replace(
    "[   21.622804] Memory cgroup out of memory: Killed process 179 (oom_reaper)\n", "")
END = "+ echo 'lab: again'\nlab: again\n" + KTAP + "+ cat /proc/sys/kernel/tainted\nlab: tainted 0\nlab: end\n"
CASES = {"oom.memcg.frozen": "pass", "oom.global.next": "fail", "oom.global.third": "skip",
         "oom_reaper": "fail", "whole-run": "pass"}
WANT = {"oom.memcg.frozen": {"result": "pass", "detail": ""},
        "oom.global.next": {"result": "fail", "detail": ""},
        "oom.global.third": {"result": "skip", "detail": 'no "swap" here'}}
JOB = '{"case": "job", "definition": "lava", "result": "pass"}'
NO_JOB = '{"case": "job", "definition": "lava", "error_msg": "lava-test-shell timed out\\n", "result": "fail"}'


def message(level, text, second=0):
    return f'{{"dt": "2026-11-22T01:40:{second:02}.415425", "lvl": "{level}", "msg": {text}}}'


def log(printed, cases, job):
    """A log as lava-run prints it."""
    out = [message("info", '"lava-dispatcher, installed at version: 2023.01"'),
           message("results", '{"case": "validate", "definition": "lava", "result": "pass"}')]
    printed = printed.strip("\n").split("\n")
    for i, line in enumerate(printed):
        out.append(message("target", f'"{line}"', 1 + 40 * i // len(printed)))
    for case, result in cases.items():
        out += [message("debug", f'"Received signal: <TESTCASE> TEST_CASE_ID={case} RESULT={result}"'),
                message("results", f'{{"case": "{case}", "definition": "0_kselftest", "endtc": ! "965", '
                                   f'"result": "{result}", "starttc": ! "965"}}')]
    if job:
        out.append(message("results", job, 50))
    return "\n".join(out) + "\n"


class LavaLog(unittest.TestCase):
    def read(self, text):
        """Exit status, result and what was printed."""
        with tempfile.TemporaryDirectory() as d:
            path = pathlib.Path(d)
            (path / "log").write_text(text, encoding="utf-8")
            done = subprocess.run([READER, path / "log", path / "out"], capture_output=True, text=True, check=False)
            result = path / "out" / "result.json"
            return (done.returncode, json.loads(result.read_text(encoding="utf-8")) if result.exists() else None,
                    done.stdout + done.stderr)

    def bad(self, text, *patterns):
        code, result, out = self.read(text)
        self.assertEqual(code, 2, out)
        self.assertEqual(len(result["problems"]), len(patterns), out)
        for pattern, problem in zip(patterns, result["problems"]):
            self.assertRegex(problem, pattern)
        return result

    def test_whole(self):
        code, result, out = self.read(log(LIVE + END, CASES, JOB))
        self.assertEqual((code, out), (0, ""))
        self.assertEqual(result["tests"], WANT)
        self.assertEqual(result["problems"], [])
        self.assertIn(result["seconds"], range(35, 41))

    def test_server(self):
        text = "".join(f"- {line}\n" for line in log(LIVE + END, CASES, JOB).splitlines())
        self.assertEqual(self.read(text)[:2], self.read(log(LIVE + END, CASES, JOB))[:2])

    def test_disagreement(self):
        self.bad(log(LIVE + END, {**CASES, "oom.global.next": "pass"}, JOB), "oom.global.next: fail in .*, pass in LAVA")
        self.bad(log(LIVE + END, {**CASES, "oom.other.one": "pass"}, JOB), "oom.other.one: nothing in the output")
        cases = {k: v for k, v in CASES.items() if k != "oom.memcg.frozen"}
        self.bad(log(LIVE + END, cases, JOB), "oom.memcg.frozen: pass in the output, nothing in LAVA")

    def test_broke_off(self):
        live = LIVE[:LIVE.index("# # not ok 2")].replace("oom.mem[ ", "oom.memcg.frozen\n[ ").replace("\ncg.frozen", "")
        result = self.bad(log(live + "[   30.1] Kernel panic - not syncing: x", {}, NO_JOB), "console.log:3: .*Kernel panic",
                          "no end mark", "0 of 1 test programs", "LAVA's job failed: lava-test-shell timed out$")
        self.assertEqual(result["tests"], {**{k: v for k, v in WANT.items() if k == "oom.memcg.frozen"}, "oom.global.next": {
            "result": "crash", "detail": "started and never ended"}})

    def test_kernel(self):
        self.bad(log(LIVE + END.replace("tainted 0", "tainted 512"), CASES, JOB), "the kernel is tainted: 512")
        self.bad(log(LIVE + END.replace("lab: end", "[   88.0] WARNING: mm/x.c:1 at x\nlab: end"), CASES, JOB),
                 "console.log:3: .*WARNING")

    def test_no_end(self):
        self.bad(log(LIVE + END, CASES, ""), "LAVA's log has no end")

    def test_no_log(self):
        code, result, out = self.read("this is\nsomething else\n")
        self.assertEqual((code, result, out.count("\n")), (1, None, 1))
        self.assertIn("not the log of a LAVA job", out)

    def test_escapes(self):
        line = r"\e[1m# # ok 4 oom.global.x\x07\u2028 \\ \"q\""
        code, result, _ = self.read(log(LIVE + END + line, CASES, JOB))
        self.assertEqual((code, len(result["tests"])), (0, 3))


if __name__ == "__main__":
    unittest.main()
