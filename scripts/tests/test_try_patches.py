#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""test_try_patches.py - test that try_patches.py takes mails as git am does

Usage: test_try_patches.py [-v]

Needs git, which applies what it wrote.
Exit: 0 all tests passed; 1 a test failed.
"""

import base64
import pathlib
import subprocess
import sys
import tempfile
import unittest

LIB = pathlib.Path(__file__).resolve().parent.parent / "lib"
POST = "From mboxrd@z Thu Jan  1 00:00:00 1970\n"


def diff(name):
    return (f"diff --git a/{name} b/{name}\nnew file mode 100644\n--- /dev/null\n+++ b/{name}\n"
            f"@@ -0,0 +1 @@\n+{name}\n")


def mail(subject, name="one", text="Text", more="", sender="A. Author <a@example.org>"):
    return (f"From: {sender}\nDate: Wed, 1 Jan 2025 00:00:00 +0000\n"
            + (f"Subject: {subject}\n" if subject else "") + f"{more}\n{text}\n\n---\n{diff(name)}-- \n2.39.5\n\n")


def note(subject):
    """A mail without a patch."""
    return f"From: B. Other <b@example.org>\n{subject}\n\nText\n\n"


class TryPatches(unittest.TestCase):
    def setUp(self):
        room = tempfile.TemporaryDirectory()
        self.addCleanup(room.cleanup)
        self.room = pathlib.Path(room.name)

    def convert(self, data, name="series.mbox"):
        path = self.room / name
        self.out = pathlib.Path(tempfile.mkdtemp(dir=self.room))
        path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "surrogateescape"))
        return subprocess.run([sys.executable, LIB / "try_patches.py", self.out, path],
                              capture_output=True, text=True, check=False)

    def takes(self, data, files, name="series.mbox"):
        """git am applies what was written, and these files are there then, in this order."""
        run = self.convert(data, name)
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        tree = self.out / "tree"
        git = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", tree]
        subprocess.run(["git", "init", "-q", tree], check=True)
        for patch in (self.out / "series").read_text(encoding="utf-8").split():
            subprocess.run([*git, "am", "-q", "--patch-format=mboxrd", "--quoted-cr=strip", self.out / patch],
                           check=True, capture_output=True)
        log = subprocess.run([*git, "log", "--reverse", "--format=", "--name-only"],
                             capture_output=True, text=True, check=True).stdout
        self.assertEqual(log.split(), files)
        return subprocess.run([*git, "log", "-1", "--format=%an %ae%n%B"],
                              capture_output=True, text=True, check=True).stdout

    def refuses(self, data, text):
        run = self.convert(data)
        self.assertEqual(run.returncode, 1)
        self.assertEqual(len(run.stderr.splitlines()), 1, run.stderr)
        self.assertIn(text, run.stderr)

    def test_number_behind_another_tag(self):
        self.takes(POST + mail("[a-list] [PATCH 2/2] b", "two") + POST + mail("[a-list] [PATCH 1/2] a"),
                   ["one", "two"])
        self.refuses(POST + note("Subject: [a-list] [PATCH 0/2] c") + POST + mail("[a-list] [PATCH 1/2] a"),
                     "patch 2 of 2 is missing")

    def test_numbers_of_versions(self):
        self.takes(POST + mail("[PATCH 5.10/5.15 2/2] b", "two") + POST + mail("[PATCH 5.10/5.15 1/2] a"),
                   ["one", "two"])
        self.takes(POST + mail("[PATCH 6.1/6.6] a"), ["one"])

    def test_two_versions(self):
        for one, other in (("[PATCH] a", "[PATCH v2] a"), ("[PATCH 1/1] a", "[PATCHv3 1/1] a"),
                           ("[l] [RFC PATCH] a", "[l] [PATCH v2] a")):
            self.refuses(POST + mail(one) + POST + mail(other), "more than one series")

    def test_other_mails(self):
        for subject in ("[tip: core/x] a", "a: five", "=?utf-8?B?562U5aSNOiBbUEFUQ0hdIGE=?="):
            self.takes(POST + mail("[PATCH] a") + POST + mail(subject), ["one"])

    def test_bad_subjects(self):
        for bad in ("X-No: subject", "Subject: =?utf-8?Q?=FF=FE?=", "Subject: =?no-such?Q?a?="):
            self.takes(POST + mail("[PATCH] a") + POST + note(bad), ["one"])

    def test_from_line_in_a_mail(self):
        text = "Before\n\nFrom 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\n\nAfter"
        log = self.takes(mail("[PATCH] a", text=text), ["one"], "one.eml")
        self.assertIn("\nFrom 0123", log)

    def test_base64_with_carriage_returns(self):
        whole = mail("[PATCH] a", more="Content-Transfer-Encoding: base64\nContent-Type: text/plain\n")
        head, text = whole.split("\n\n", 1)
        packed = base64.encodebytes(text.replace("\n", "\r\n").encode()).decode()
        self.takes(f"{POST}{head}\n\n{packed}\n", ["one"])

    def test_what_git_am_reads(self):
        self.takes("\n\n" + POST + mail("[PATCH] a"), ["one"])
        self.takes(POST.replace("1970", "1970 +0200") + mail("[PATCH] a"), ["one"])
        self.takes(" one | 1 +\n 1 file changed, 1 insertion(+)\n\n" + diff("one"), ["one"], "stat.diff")

    def test_author_without_an_address(self):
        log = self.takes(mail("a", sender="A. Author"), ["one"], "a.patch")
        self.assertTrue(log.startswith("A. Author unknown@localhost\n"), log)

    def test_order_of_a_series_file(self):
        (self.room / "b.patch").write_text(mail("[PATCH v2 2/2] b", "two"), encoding="utf-8")
        (self.room / "a.patch").write_text(mail("Re: a"), encoding="utf-8")
        self.takes("b.patch\na.patch\n", ["two", "one"], "series")


if __name__ == "__main__":
    unittest.main()
