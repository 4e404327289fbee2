#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""test_page.py - the page says what the results say, and stands alone

Usage: test_page.py [-v]
Exit: 0 all tests pass; 1 not.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

LIB = pathlib.Path(__file__).resolve().parents[1] / "lib"
sys.path[:0] = [str(LIB), str(pathlib.Path(__file__).resolve().parent)]
import htmlcheck  # noqa: E402
import page  # noqa: E402
import page_levels  # noqa: E402

EXPECTED = """a.one flips 0001
a.two pass
b.three pass
b.four flips 0002
c_five skip no swap
d.six.seven pass
"""
TESTS = [line.split()[0] for line in EXPECTED.splitlines()]
LEVELS = ["base", "0001-x", "0002-y"]

LOG = """\
TAP version 13
# # # Starting 2 tests from 1 test cases.
# # #  RUN           a.one ...
# # # prog.c:1:one:waited 7 ms
# # #            OK  a.one
# # ok 1 a.one
# # #  RUN           a.two ...
# # # prog.c:2:two:Expected 1 == 2
# # #          FAIL  a.two
# # not ok 2 a.two
# # # FAILED: 1 / 2 tests passed.
# not ok 1 prog # exit=1
# # running ./whole
# # whole: it is broken
# not ok 2 whole # exit=1
# # #  RUN           b.three ...
# # # prog.c:3:three:last words
"""


class Lines(unittest.TestCase):
    def test_lines(self):
        found = page.test_lines(LOG.splitlines())
        self.assertEqual(found["a.one"], ["prog.c:1:one:waited 7 ms"])
        self.assertEqual(found["a.two"], ["prog.c:2:two:Expected 1 == 2"])
        self.assertEqual(found["whole"], ["running ./whole", "whole: it is broken"])
        self.assertEqual(found["b.three"], ["prog.c:3:three:last words"])


class Page(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.dir = pathlib.Path(tmp.name)
        (self.dir / "expected").write_text(EXPECTED)

    def program(self, name, *args):
        return subprocess.run([sys.executable, name, *args], check=False, capture_output=True, text=True)

    def make(self, change=None, name="matrix.html"):
        """The text of a page of the made-up levels, of which change() gets the folder."""
        common = ["--expected", self.dir / "expected", "--base", "mainline"]
        out = self.program(page_levels.__file__, *common, self.dir / "logs", *LEVELS)
        self.assertEqual(out.returncode, 0, out.stderr)
        if change:
            change(self.dir / "logs")
        done = self.program(LIB / "page.py", *common, "--out", self.dir, *out.stdout.splitlines())
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return (self.dir / name).read_text(encoding="utf-8")

    def cell(self, text, row, column):
        start = text.index(f'<td id="cell-{row}-{column}"')
        return text[start:text.index("</td>", start)]

    def test_stands_alone(self):
        text = self.make()
        self.assertEqual(htmlcheck.check(text, [*LEVELS, *TESTS, "boot"]), [])
        self.assertNotIn("<script", text)
        self.assertNotIn("\x1b", text)
        self.assertIn("&lt;b&gt;&amp;amp; see http://example.org/&lt;/pre&gt;", text)
        # Not a word of where it was made.
        self.assertNotIn(str(self.dir), text)

    def test_kinds_of_cells(self):
        text = self.make()
        self.assertIn('class="mark known" href="#panel-1-0">fail<', self.cell(text, 1, 0))
        self.assertIn('class="mark ok">ok<', self.cell(text, 1, 1))
        self.assertIn('class="changed"', self.cell(text, 1, 1))
        for row, word in ((1, "FAIL"), (2, "CRASH"), (3, "–")):
            self.assertIn(f'class="mark bad" href="#panel-{row}-2">{word}<', self.cell(text, row, 2))
        self.assertIn('class="mark skip"', self.cell(text, 5, 0))
        self.assertIn(">PROBLEM<", self.cell(text, 0, 2))
        self.assertIn("4 not as expected", text)

    def test_panels(self):
        text = self.make()
        crash = text[text.index('id="panel-2-2"'):]
        crash = crash[:crash.index("</section>")]
        for word in ("started and never ended", "the end of ktap.log", "the end of console.log", "after it"):
            self.assertIn(word, crash)
        known = text[text.index('id="panel-1-0"'):]
        known = known[:known.index("</section>")]
        self.assertIn("fail, as expected; fixed by 0001-x", known)
        self.assertIn("prog.c:7:", known)
        self.assertNotIn("console.log", known)

    def test_pass_before_its_patch(self):
        def change(logs):
            path = logs / "base" / "result.json"
            data = json.loads(path.read_text())
            data["tests"]["b.four"]["result"] = "pass"
            path.write_text(json.dumps(data))
        self.assertIn('class="mark bad" href="#panel-4-0">OK<', self.cell(self.make(change), 4, 0))

    def test_without_logs(self):
        def change(logs):
            for path in [*logs.glob("*/ktap.log"), *logs.glob("*/console.log")]:
                path.unlink()
        self.assertEqual(htmlcheck.check(self.make(change), TESTS), [])

    def test_link_to_the_benchmark(self):
        self.assertNotIn("bench/report.html", self.make())
        (self.dir / "bench").mkdir()
        (self.dir / "bench" / "report.html").write_text("")
        self.assertIn('href="bench/report.html"', self.make())

    def test_bad_input(self):
        self.make()
        for args in (["base=none.json"], ["--order", "base", f"0001-x={self.dir}/logs/base/result.json"],
                     ["--order", "base", f"base={self.dir}/expected"]):
            out = self.program(LIB / "page.py", "--expected", self.dir / "expected", "--out", self.dir, *args)
            self.assertEqual((out.returncode, len(out.stderr.splitlines())), (1, 1), out.stderr)


class Check(unittest.TestCase):
    """htmlcheck finds the errors it should find."""

    def test_wrong_pages(self):
        def of(body):
            return f"<!DOCTYPE html>\n<html><body>{body}</body></html>"
        self.assertEqual(htmlcheck.check(of('<p id="a">x<br><a href="#a">y</a></p><td>t</td>'), ["t"]), [])
        for body, word in (("<p>", "not closed|closes nothing"), ("<p></div></p>", "closes nothing"),
                           ('<p id="a"></p><p id="a"></p>', "duplicate"), ('<a href="#b"></a>', "nothing has the id b"),
                           ('<img src="http://x/y">', "another machine"), ('<a href="//x"></a>', "another machine"),
                           ("<script></script>", "self-contained"), ('<p onclick="x()"></p>', "runs"),
                           ("<style>a { background: url(x) }</style>", "fetches"), ("<p>t</p>", "no cell has 't'")):
            wrong = htmlcheck.check(of(body), ["t"] if body == "<p>t</p>" else [])
            self.assertTrue(wrong, body)
            self.assertRegex("\n".join(wrong), word)
        self.assertTrue(htmlcheck.check("<html></html>"))


if __name__ == "__main__":
    unittest.main()
