#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""test_ktap.py - test that ktap.py and matrix.py report bad boots and results

Usage: test_ktap.py [-v]
Exit: 0 all tests passed; 1 a test failed.
"""

import gzip
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
LIB = HERE.parent / "lib"
sys.path.insert(0, str(LIB))

import ktap     # noqa: E402
import ktap_programs    # noqa: E402
import matrix   # noqa: E402
import rundiff  # noqa: E402
import try_report   # noqa: E402

GOOD = """\
lab: uname Linux 7.3.4
TAP version 13
1..2
# timeout set to 900
# selftests: mm: ksft_oom_reaper.sh
# TAP version 13
# # ------------------
# # running ./oom_reaper
# # TAP version 13
# # 1..3
# # # Starting 3 tests from 2 test cases.
# # #  RUN           oom.memcg.frozen ...
# # # oom_reaper.c:568:frozen:went on after 11 ms
# # #            OK  oom.memcg.frozen
# # ok 1 oom.memcg.frozen
# # #  RUN           oom_once.next ...
# # # next: Test terminated by assertion
# # #          FAIL  oom_once.next
# # not ok 2 oom_once.next
# # #  RUN           global.third ...
# # ok 3 global.third # SKIP no swap here
# # # FAILED: 2 / 3 tests passed.
# # [FAIL]
# not ok 1 oom_reaper # exit=1
not ok 1 selftests: mm: ksft_oom_reaper.sh # exit=1
# selftests: mm: ksft_process_mrelease.sh
# TAP version 13
# # TAP version 13
# # 1..1
# # ok 1 Success reaping a child with 1MB of memory allocations
# # [PASS]
# ok 1 mrelease_test
ok 2 selftests: mm: ksft_process_mrelease.sh
lab: runner exit 1
lab: tainted 0
lab: end
"""

OOM_KILL = """\
[    1.0] task invoked oom-killer: gfp_mask=0xcc0, order=0
[    1.0] CPU: 0 UID: 0 PID: 90 Comm: oom_reaper Not tainted
[    1.0] Call Trace:
[    1.0]  dump_stack_lvl+0x4b/0x70
[    1.0] Memory cgroup out of memory: Killed process 141 (oom_reaper)
[    1.1] oom_reaper: reaped process 141 (oom_reaper), now anon-rss:0kB
"""


def parse(text):
    return ktap.parse_ktap(text.split("\n"))


def programs(text):
    run = ktap_programs.Programs(text.split("\n"), end_mark=False)
    return {name: (test["result"], test["detail"]) for name, test in run.tests.items()}, run.problems


class Ktap(unittest.TestCase):
    def test_good(self):
        tests, problems = parse(GOOD)
        self.assertEqual(problems, [])
        self.assertEqual({n: t["result"] for n, t in tests.items()}, {
            "oom.memcg.frozen": "pass", "oom_once.next": "fail",
            "global.third": "skip", "mrelease_test": "pass"})
        self.assertEqual(tests["global.third"]["detail"], "no swap here")

    def test_carriage_returns(self):
        with tempfile.TemporaryDirectory() as d:
            d = pathlib.Path(d)
            (d / "ktap.log").write_bytes(GOOD.replace("\n", "\r\n").encode())
            (d / "console.log").write_text("")
            (d / "dmesg.log.gz").write_bytes(gzip.compress(OOM_KILL.encode()))
            result = ktap.judge(d)
        self.assertEqual(result["problems"], [])
        self.assertEqual(len(result["tests"]), 4)

    def test_crash_in_the_middle(self):
        text = GOOD.replace("# # not ok 2 oom_once.next\n", "")
        tests, problems = parse(text)
        self.assertEqual(tests["oom_once.next"]["result"], "crash")
        self.assertTrue(any("3 tests planned, 2 reported" in p for p in problems))

    def test_program_dies(self):
        tests, problems = parse(GOOD.replace("oom_reaper # exit=1\n", "oom_reaper # exit=139\n"))
        self.assertTrue(any("exit=139" in p for p in problems))

    def test_program_fails_though_its_tests_pass(self):
        text = GOOD.replace("# # not ok 2 oom_once", "# # ok 2 oom_once")
        self.assertTrue(any("outside its tests" in p for p in parse(text)[1]))

    def test_program_killed_by_the_runner(self):
        text = GOOD.replace("ksft_oom_reaper.sh # exit=1", "ksft_oom_reaper.sh # TIMEOUT 900 seconds")
        self.assertTrue(any("TIMEOUT" in p for p in parse(text)[1]))

    def test_broken_off(self):
        for text in (GOOD.replace("lab: end\n", ""), GOOD[:600], ""):
            self.assertTrue(any("broke off" in p for p in parse(text)[1]))

    def test_no_test_at_all(self):
        self.assertTrue(parse("lab: tainted 0\nlab: end\n")[1])

    def test_taint(self):
        self.assertTrue(any("taint" in p for p in parse(GOOD.replace("tainted 0", "tainted 512"))[1]))

    def test_leaks(self):
        for value, bad in (("0", False), ("3", True), ("cannot scan", True)):
            problems = parse(GOOD.replace("lab: tainted", f"lab: kmemleak {value}\nlab: tainted"))[1]
            self.assertEqual([f"leaks that kmemleak found: {value}"] if bad else [], problems)

    def test_taint_has_letters(self):
        problems = parse(GOOD.replace("tainted 0", "tainted 544"))[1]
        self.assertEqual(problems, ["the kernel is tainted: 544 (B W)"])

    def test_expected_failure(self):
        for line in ("# # ok 2 oom_once.next # XFAIL known", "# # not ok 2 oom_once.next # XFAIL known"):
            text = GOOD.replace("# # not ok 2 oom_once.next", line)
            text = text.replace("not ok 1 ", "ok 1 ").replace(" # exit=1", "")
            tests, problems = parse(text)
            self.assertEqual((tests["oom_once.next"], problems), ({"result": "pass", "detail": "XFAIL known"}, []))
            self.assertIn("oom_once.next pass\n", self.by_script(text))

    def test_names(self):
        one = "# ok 1 a b\n# not ok 2 # why\n# not ok 3\n# not ok 4 size#2\n# ok 5 - c  # SKIP  no d\n# ok 6 # SKIP e\n"
        two = "# not ok 1 slow  # 12 s\n"
        got = programs(f"1..2\n# selftests: mm: one\n{one}not ok 1 selftests: mm: one # exit=1\n"
                       f"# selftests: mm: two\n{two}not ok 2 selftests: mm: two  # exit=1\n")
        self.assertEqual(got, ({
            "mm:one": ("fail", "exit=1"), "mm:one/a b": ("pass", ""), "mm:one/2": ("fail", "why"), "mm:one/3": ("fail", ""),
            "mm:one/size#2": ("fail", ""), "mm:one/c": ("skip", "no d"), "mm:one/e": ("skip", ""),
            "mm:two": ("fail", "exit=1"), "mm:two/slow": ("fail", "12 s")}, []))

    def test_missing_tools(self):
        for line, result in (("./x.sh: line 3: jq: command not found", "skip"), ("./x.sh: 3: tc: not found", "skip"),
                             ("sh: ip6tables-save: not found", "skip"), ("./x.sh: line 3: check_it: command not found", "fail"),
                             ("Error: eth0: not found", "fail")):
            got = programs(f"1..1\n# selftests: net: x.sh\n# {line}\nnot ok 1 selftests: net: x.sh # exit=1\n")
            self.assertEqual(got[0]["net:x.sh"][0], result, line)

    def test_words_of_a_log(self):
        for line, want in (("[    1.0] WARNING: mm/x.c:12 at f+0x1/0x2", "WARNING: mm/x.c:N at f"),
                           ("[    1.0] NMI watchdog: on", "NMI watchdog: on"), ("[    1.0] 16384kB of 2G left, ext4", "N of N left, ext4")):
            self.assertEqual((ktap.kind(line), ktap.kind(want)), (want, want))

    def test_same_report_in_another_task(self):
        """It is not new: not for "try", nor for "diff", whether it is a problem or a line."""
        for one, other in (
                ("WARNING: mm/x.c:12 at f+0x1/0x2, CPU#1: a/30", "WARNING: mm/x.c:14 at f+0x7/0x9, CPU#0: kworker/u8:3/57"),
                ("WARNING: CPU: 1 PID: 40 at mm/x.c:12 f+0x1/0x2", "WARNING: CPU: 0 PID: 7 at mm/x.c:12 f+0x1/0x2"),
                ("CPU: 1 UID: 0 PID: 40 Comm: a Not tainted 7.3.4 #1", "CPU: 0 UID: 0 PID: 7 Comm: two words Not tainted 7.3.4 #1"),
                ("Read of size 8 at addr ffff888012345678 by task a/30", "Read of size 8 at addr ffff88800000beef by task kworker/0:1/7"),
                ("INFO: task a:30 blocked for more than 120 seconds.", "INFO: task kworker/0:1:7 blocked for more than 241 seconds."),
                ("watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [a:30]", "watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [b:7]"),
                ("BUG: Bad page state in process a  pfn:1", "BUG: Bad page state in process bc  pfn:12"),
                ("BUG: scheduling while atomic: a/1/0x2", "BUG: scheduling while atomic: swapper/0/0/0x2"),
                ("BUG: using smp_processor_id() in preemptible [00000000] code: a/1",
                 "BUG: using smp_processor_id() in preemptible [00000001] code: swapper/0/7"),
                ("in_atomic(): 1, non_block: 0, pid: 1, name: a", "in_atomic(): 1, non_block: 0, pid: 77, name: b c"),
                ("a/30 is trying to acquire lock:", "swapper/0/1 is trying to acquire lock:"),
                ("2 locks held by a/30:", "2 locks held by b/7:"),
                ("BUG: KASAN: use-after-free in f+0x1/0x2 (mm/x.c:7)", "BUG: KASAN: use-after-free in f+0x1/0x2"),
                ("Oops in f+0x1/0x2 (a.h:7, inlined in mm/x.c:7)", "Oops in f+0x1/0x2")):
            found = [{"name": "x", "problems": [f"console.log:{n}: [    2.{n}] {line}"], "kernel_log": [ktap.kind(line)], "tests": {}}
                     for n, line in ((1, one), (2, other))]
            self.assertEqual(try_report.changes(*found, set()), [], (ktap.kind(one), ktap.kind(other)))
            self.assertEqual(rundiff.lines_changed([found]), [])
            # Also if a run was kept with N for each number.
            found[0]["kernel_log"] = [re.sub(r"0x[0-9a-f]+|\b[0-9a-f]{16}\b|\d+", "N", one)]
            self.assertEqual(len({ktap.kind(lv["kernel_log"][0]).replace("X", "N") for lv in found}), 1, found)

    def test_other_report(self):
        for one, other in (
                ("WARNING: mm/x.c:12 at f+0x1/0x2, CPU#1: a/30", "WARNING: mm/x.c:12 at g+0x1/0x2, CPU#1: a/30"),
                ("BUG: KASAN: use-after-free in f+0x1/0x2", "BUG: KASAN: out-of-bounds in f+0x1/0x2"),
                ("Comm: a Tainted: G W", "Comm: a Tainted: G B W"), ("ext4: 7", "ext3: 7")):
            self.assertNotEqual(ktap.kind(one), ktap.kind(other))

    def test_function_of_a_fault(self):
        def oops(function):
            return [f"[    2.0] {line}" for line in (
                "BUG: kernel NULL pointer dereference, address: 0000000000000008", "Oops: Oops: 0000 [#1] SMP",
                "CPU: 0 UID: 0 PID: 7 Comm: a Not tainted", f"RIP: 0010:{function}+0x12/0x30", "---[ end trace 0 ]---")]
        found = ktap.parse_console([*oops("f"), *oops("g"), *oops("f")], "log")
        self.assertEqual([line.split(":")[1] for line in found], ["1", "2", "6", "7"])
        self.assertTrue(found[2].endswith("address: 0000000000000008 in g+0x12/0x30"), found)

    def test_cut_here(self):
        found = ktap.parse_console(["------------[ cut here ]------------", "WARNING: mm/x.c:1 at f+0x1/0x2"], "log")
        self.assertEqual(found, ["log:2: WARNING: mm/x.c:1 at f+0x1/0x2"])

    def test_failure_that_is_a_skip(self):
        text = GOOD.replace("# # not ok 2 oom_once.next", "# # not ok 2 oom_once.next # SKIP no swap")
        self.assertEqual(parse(text)[0]["oom_once.next"]["result"], "skip")
        self.assertIn("oom_once.next skip\n", self.by_script(text))

    @staticmethod
    def by_script(text):
        """Returns what the reader for guests without Python makes of it."""
        with tempfile.NamedTemporaryFile("w") as f:
            f.write(text)
            f.flush()
            return subprocess.run([HERE.parent / "guest" / "ktap-results", f.name], capture_output=True, text=True, check=True).stdout

    def test_twice(self):
        text = GOOD.replace("global.third", "oom_once.next")
        self.assertTrue(any("twice" in p for p in parse(text)[1]))

    def test_oom_kill_is_no_splat(self):
        self.assertEqual(ktap.parse_console(OOM_KILL.split("\n"), "log"), [])

    def test_splats(self):
        for line in (
                "Kernel panic - not syncing: System is deadlocked on memory",
                "BUG: kernel NULL pointer dereference, address: 0000000000000008",
                "BUG: KASAN: slab-use-after-free in oom_reaper+0x1/0x2",
                "WARNING: CPU: 1 PID: 40 at mm/oom_kill.c:600 oom_reap_task+0x1/0x2",
                "WARNING: possible circular locking dependency detected",
                "WARNING: suspicious RCU usage",
                "INFO: task oom_reaper:30 blocked for more than 120 seconds.",
                "rcu: INFO: rcu_sched detected stalls on CPUs/tasks:",
                "watchdog: BUG: soft lockup - CPU#0 stuck for 22s!",
                "BUG: sleeping function called from invalid context at mm/oom_kill.c:1",
                "BUG: Bad page state in process a  pfn:1",
                "BUG: Bad rss-counter state mm:1 type:MM_ANONPAGES val:3",
                "UBSAN: array-index-out-of-bounds in mm/oom_kill.c:1",
                "------------[ cut here ]------------",
                "Oops: general protection fault, probably for non-canonical address",
                "ODEBUG: free active (active state 0) object",
                "refcount_t: underflow; use-after-free.",
                "INFO: rcu_preempt self-detected stall on CPU",
                "WARNING: mm/oom_kill.c:600 at oom_reap_task+0x1/0x2, CPU#1: oom_reaper/30",
                "BUG skbuff_head_cache (Tainted: G    B): Poison overwritten",
                "get_swap_device: Bad swap offset entry 3fff",
                "mm/pgtable-generic.c:40: bad pud 00000000aa(00000000bb)",
                "unregister_netdevice: waiting for eth0 to become free. Usage count = 1",
                "Internal error: Oops - Undefined instruction: 0 [#1] SMP"):
            found = ktap.parse_console([OOM_KILL, f"[    2.0] {line}"], "log")
            self.assertEqual(len(found), 1, line)
            self.assertTrue(found[0].startswith("log:2: "), found)

    def test_no_splats(self):
        for line in (
                "MDS: WARNING: data leaks are possible",
                "ODEBUG: selftest passed",
                "traps: a.out[7] general protection fault ip:4011 sp:7ffd error:0 in a.out[1000+1000]",
                "traps: a.out[N] general protection fault ip:N",
                "traps: two words[7] trap invalid opcode ip:4011 sp:7ffd error:0 in a.out[1000+1000]"):
            self.assertEqual(ktap.parse_console([f"[    2.0] {line}"], "log"), [], line)

    def test_each_kind_of_splat(self):
        one, other = "WARNING: a.c:1 at f+0x1/0x2, CPU#0: a/1", "BUG: KASAN: slab-use-after-free in g+0x1/0x2"
        again = one.replace("CPU#0: a/1", "CPU#1: b/22")
        found = ktap.parse_console([f"[    2.0] {line}" for line in (one, again, other)], "log")
        self.assertEqual([line.split(":")[1] for line in found], ["1", "3"])

    def test_packed_log(self):
        with tempfile.TemporaryDirectory() as d:
            d = pathlib.Path(d)
            (d / "console.log").write_text("")
            (d / "ktap.log").write_text(GOOD)
            packed = gzip.compress((OOM_KILL + "[ 2.0] WARNING: suspicious RCU usage\n").encode())
            for data in (packed, packed[:-4], b"", b"no gzip"):
                (d / "dmesg.log.gz").write_bytes(data)
                self.assertEqual(len(ktap.judge(d)["problems"]), 1)
            (d / "dmesg.log.gz").write_bytes(gzip.compress(OOM_KILL.encode()))
            self.assertEqual(ktap.judge(d)["problems"], [])

    def test_program_judges(self):
        """As boot calls it: exit code and message name the log and the line."""
        with tempfile.TemporaryDirectory() as d:
            path = pathlib.Path(d)
            for console, ktap_log, more, code, word in (
                    (OOM_KILL, GOOD, (), 0, ""),
                    ("Kernel panic - not syncing: x\n", GOOD, (), 2, "console.log:1: Kernel panic"),
                    (OOM_KILL, GOOD, ("--timed-out", "300"), 2, "not done after 300 s"),
                    (OOM_KILL, GOOD[:900], (), 2, "ktap.log")):
                (path / "console.log").write_text(console)
                (path / "dmesg.log.gz").write_bytes(gzip.compress(OOM_KILL.encode()))
                (path / "ktap.log").write_text(ktap_log)
                done = subprocess.run([sys.executable, LIB / "ktap.py", d, *more],
                                      capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, code, done)
                self.assertIn(word, done.stdout)


def level(name, problems=(), **tests):
    return {"name": name, "cached": False, "seconds": 9, "problems": list(problems),
            "tests": {n: {"result": r, "detail": "no swap" if r == "skip" else ""}
                      for n, r in tests.items()}}


class Matrix(unittest.TestCase):
    order = ["base", "0001-a", "0002-b"]
    expected = {"one": ("flips", "0001-a"), "two": ("pass", ""), "three": ("skip", "swap")}

    def levels(self, one=("fail", "pass", "pass"), two=("pass",) * 3, three=("skip",) * 3, problems=()):
        return [level(n, problems if i == 1 else (), one=one[i], two=two[i], three=three[i])
                for i, n in enumerate(self.order)]

    def differences(self, levels, expected=None):
        return matrix.compare(expected or self.expected, levels, self.order)

    def test_as_expected(self):
        self.assertEqual(self.differences(self.levels()), [])
        both = {**self.expected, "one": ("flips", "0001-a 0002-b")}
        self.assertEqual(self.differences(self.levels(one=("fail", "fail", "pass")), both), [])
        self.assertEqual(len(self.differences(self.levels(), both)), 1)
        # A topic may have the later patch only: there, any result will do.
        both["one"] = ("flips", "0002-b 0001-a")
        self.assertEqual(self.differences(self.levels(), both), [])
        self.assertEqual(self.differences(self.levels(one=("fail", "fail", "pass")), both), [])
        self.assertEqual(len(self.differences(self.levels(one=("pass", "pass", "fail")), both)), 2)
        self.assertEqual({patch for patch, *_ in matrix.flips(self.levels()[::2], ["one"], self.order)}, {"base..0002-b"})
        self.assertEqual(matrix.flips(self.levels(), ["one", "two", "three"]),
                         [("0001-a", "one", "fail", "pass")])

    def test_each_direction(self):
        for one in (("pass", "pass", "pass"), ("fail", "fail", "pass"), ("fail", "fail", "fail"),
                    ("fail", "pass", "fail"), ("crash", "pass", "pass"), ("skip", "pass", "pass")):
            self.assertEqual({d[1] for d in self.differences(self.levels(one=one))}, {"one"}, one)
        self.assertTrue(self.differences(self.levels(two=("pass", "pass", "fail"))))
        self.assertTrue(self.differences(self.levels(three=("skip", "pass", "skip"))))

    def test_reason_of_a_skip(self):
        self.assertTrue(self.differences(self.levels(), {**self.expected, "three": ("skip", "no root")}))

    def test_any_result(self):
        expected = {**self.expected, "two": ("any", "not ported")}
        self.assertEqual(self.differences(self.levels(two=("pass", "fail", "skip")), expected), [])
        levels = self.levels()
        del levels[2]["tests"]["two"]
        self.assertEqual([d[:2] for d in self.differences(levels, expected)], [("0002-b", "two")])

    def test_missing_on_either_side(self):
        levels = self.levels()
        del levels[2]["tests"]["two"]
        self.assertEqual([d[:2] for d in self.differences(levels)], [("0002-b", "two")])
        expected = dict(self.expected)
        del expected["two"]
        self.assertEqual(len(self.differences(self.levels(), expected)), 3)

    def test_problem_of_a_level(self):
        found = self.differences(self.levels(problems=["log:3: BUG: x"]))
        self.assertEqual(found, [("0001-a", None, "log:3: BUG: x")])
        self.assertIn("<error", matrix.junit(self.levels(problems=["x"]), ["one"], found))
        self.assertIn("not ok 2 0001-a", matrix.ktap(self.levels(), found))

    def test_damaged_result(self):
        with tempfile.TemporaryDirectory() as d:
            path = pathlib.Path(d) / "result.json"
            for text in ("", "{", "[" * 100000, '{"problems": [], "tests": {}}', '{"seconds": 1, "problems": [1], "tests": {}}'):
                path.write_text(text)
                with self.assertRaises(matrix.BadInput, msg=text[:50]):
                    matrix.read_level(f"base={path}")

    def test_file(self):
        with tempfile.TemporaryDirectory() as d:
            path = pathlib.Path(d) / "expected"
            path.write_text("# all\none flips 0001\ntwo pass # always\nthree skip swap\n"
                            "two [6.1 6.12] flips -b 0001\nthree [6.1] pass\nfour [6.1] pass\n")
            self.assertEqual(matrix.read_expected(path, "mainline", self.order[1:]), self.expected)
            self.assertEqual(matrix.read_expected(path, "6.1", self.order[1:]), {
                "one": ("flips", "0001-a"), "two": ("flips", "0002-b 0001-a"), "three": ("pass", ""), "four": ("pass", "")})
            for bad in ("one", "one maybe", "one flips 0009", "one flips base", "one flips 000", "one flips",
                        "one skip", "one any", "one pass 0001", "one pass\none pass", "one [6.1] pass\none [6.12 6.1] skip x",
                        "one 6.1 pass", "one [6.1 pass"):
                path.write_text(bad + "\n")
                with self.assertRaises(matrix.BadInput, msg=bad):
                    matrix.read_expected(path, "mainline", self.order[1:])
            with self.assertRaises(matrix.BadInput):
                matrix.read_expected(path / "none", "mainline", [])


if __name__ == "__main__":
    unittest.main()
