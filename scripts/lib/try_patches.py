#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""try_patches.py - convert a series of any form to files for git am

Usage: try_patches.py OUT SERIES

SERIES is an mbox (or one mail), a folder of patches, a folder with a quilt
"series" file, or that file. Skips cover letters, replies and, if some mails are
marked [PATCH] or [RFC], all others. Sorts patches that are numbered [n/m]; each
number must be there exactly once, and all must have the same version. Adds a
mail header to patches that have none (quilt).
Writes OUT/NNNN-SUBJECT.patch, one mail each in an mboxrd, and OUT/series, their
names in order.
Prints a line "base-commit ID" or "prerequisite PATCH-ID" for each that the mails name.
Exit: 0; 1 this is not a series, with the reason.
"""

import argparse
import email
import email.errors
import email.header
import email.policy
import pathlib
import re
import sys

FROM = re.compile(rb"^From \S+.*\d\d:\d\d:\d\d.* \d{4}( [+-]\d{4})?\r?\n", re.M)
HEADER = re.compile(rb"[A-Za-z][A-Za-z0-9-]*:[ \t]")
DIFF = re.compile(r"^(diff --git \S|--- \S.*\n\+\+\+ \S)", re.M)
TAGS = re.compile(r"(?:\[[^]]*\]\s*)*")
MARK = re.compile(r"\b(PATCH|RFC)", re.I)
NUMBER = re.compile(r"(?<![\w./])(\d+)/(\d+)(?![\w./])")
VERSION = re.compile(r"(?:\b|PATCH|RFC)v(\d+)\b", re.I)
MAIL = b"From mboxrd@z Thu Jan  1 00:00:00 1970\n"


class BadInput(Exception):
    pass


class Patch:
    """A mail: its bytes, subject, text, and its number in the series or None.

    raw: the mail, or, with in_mbox, its part of an mbox, where "From " is escaped.
    """

    def __init__(self, raw, name, in_mbox=False):
        self.raw = raw if in_mbox else re.sub(rb"^(>*From )", rb">\1", raw, flags=re.M)
        mail = email.message_from_bytes(raw, policy=email.policy.compat32)
        self.subject = re.sub(r"\s+", " ", decoded(mail["Subject"] or str(name))).strip()
        self.text = "\n".join(body(part) for part in mail.walk() if not part.is_multipart())
        found = TAGS.match(self.subject)
        tags = re.findall(r"\[[^]]*\]", found[0] if found else "")
        self.marked = any(MARK.search(tag) for tag in tags)
        # A list may put a tag of its own before the others.
        tags.sort(key=lambda tag: not MARK.search(tag))
        found = next(filter(None, map(NUMBER.search, tags)), None)
        self.number, self.total = (int(found[1]), int(found[2])) if found else (None, None)
        found = next(filter(None, map(VERSION.search, tags)), None)
        self.version = int(found[1]) if found else 1
        self.listed = False     # in a series file

    def is_patch(self):
        reply = re.match(r"(re|aw|fwd?):", self.subject, re.I)
        return self.listed or (not reply and self.number != 0 and bool(DIFF.search(self.text)))

    def slug(self):
        title = re.sub(r"^(\[[^]]*\]\s*)+", "", self.subject)
        return re.sub(r"[^A-Za-z0-9._]+", "-", title)[:52].strip("-.") or "patch"


def decoded(header):
    """Returns a header as text; one that is damaged as well as that can be done."""
    try:
        return str(email.header.make_header(email.header.decode_header(header)))
    except (ValueError, LookupError, email.errors.HeaderParseError):
        return str(header).encode("ascii", "replace").decode()


def body(part):
    data = part.get_payload(decode=True) or b""
    return data.decode("utf-8", errors="replace").replace("\r\n", "\n")


def with_address(data):
    """Returns a mail whose author has an address, which git am wants."""
    top, blank, rest = data.partition(b"\n\n")
    if not re.search(rb"^From:.*@", top, re.M):
        top = re.sub(rb"^(From:[^\r\n<]*)[^\r\n]*", rb"\1 <unknown@localhost>", top, count=1, flags=re.M)
    return top + blank + rest


def split_mbox(data, name):
    """Returns the mails in an mbox, or in a file that is one mail."""
    starts = list(FROM.finditer(data))
    if starts and starts[0].start() == 0:
        ends = [m.start() for m in starts[1:]] + [len(data)]
        return [Patch(data[m.end():end], name, in_mbox=True) for m, end in zip(starts, ends)]
    if HEADER.match(data) and re.search(rb"^Subject:", data, re.M | re.I):
        return [Patch(with_address(data), name)]
    raise BadInput(f"{name} is not an mbox: it does not begin like a mail")


def plain(data, name):
    """Returns a quilt patch, which is a mail, or a diff below some text, as a mail."""
    if FROM.match(data):
        return split_mbox(data, name)[0]
    head = b""
    if not re.match(rb"(From|Subject|Date):[ \t]", data):
        head = b"\n"
    top = data.split(b"\n\n", 1)[0] if not head else b""
    if not re.search(rb"^Subject:", top, re.M):
        head = b"Subject: [PATCH] " + re.sub(r"\.(patch|diff)$", "", name).encode() + b"\n" + head
    if not re.search(rb"^From:", top, re.M):
        head = b"From: unknown <unknown@localhost>\n" + head
    return Patch(with_address(head + data), name)


def read(path):
    try:
        return path.read_bytes()
    except OSError as err:
        raise BadInput(f"cannot read {path}: {err.strerror}") from err


def quilt(series):
    """Returns the patches that a quilt series file names."""
    out = []
    for line in read(series).decode("utf-8", errors="replace").splitlines():
        words = line.split("#", 1)[0].split()
        if not words:
            continue
        if any(w.startswith("-") and w != "-p1" for w in words[1:]):
            raise BadInput(f"{series}: '{line.strip()}': only -p1 is supported")
        out.append(plain(read(series.parent / words[0]), pathlib.Path(words[0]).name))
        if not DIFF.search(out[-1].text):
            raise BadInput(f"{series}: {words[0]} has no diff")
        out[-1].number, out[-1].listed = None, True     # the series file defines the order
    return out


def is_series_file(path, data):
    if path.name == "series":
        return True
    words = [line.split()[0] for line in data.decode("utf-8", errors="replace").splitlines()[:200]
             if line.strip() and not line.startswith("#")]
    return bool(words) and all((path.parent / w).is_file() for w in words)


def collect(path):
    """Returns all mails of the series, in the order of the files."""
    if path.is_dir():
        if (path / "series").is_file():
            return quilt(path / "series")
        files = sorted(f for f in path.iterdir()
                       if f.suffix in (".patch", ".diff", ".eml", ".mbox", ".mbx") and f.is_file())
        if not files:
            raise BadInput(f"{path} has no patches (*.patch, *.diff, *.eml, *.mbox, *.mbx) and no series file")
        mails = []
        for f in files:
            data = read(f)
            single = f.suffix in (".patch", ".diff") and len(FROM.findall(data)) < 2
            mails += [plain(data, f.name)] if single else split_mbox(data, f.name)
        return mails
    data = read(path).lstrip(b"\r\n")
    if data[:2] == b"\x1f\x8b":
        raise BadInput(f"{path} is compressed: run gunzip first")
    if FROM.match(data) is None and is_series_file(path, data):
        return quilt(path)
    if re.match(rb"(diff --git |--- \S)", data) or (
            path.suffix in (".patch", ".diff") and not FROM.match(data) and not HEADER.match(data)):
        return [plain(data, path.name)]
    return split_mbox(data, path)


def in_order(patches, path):
    """Sorts patches by their numbers, if they are numbered."""
    other = next((p for p in patches if not p.listed and p.version != patches[0].version), None)
    if other:
        raise BadInput(f"{path} has more than one series: '{patches[0].subject}' and '{other.subject}'")
    numbered = [p for p in patches if p.number is not None]
    if not numbered:
        return patches
    if len(numbered) < len(patches):
        first = next(p for p in patches if p.number is None)
        raise BadInput(f"{path}: some patches are numbered, but '{first.subject}' is not: is this one series?")
    seen = {}
    for p in patches:
        if p.number in seen or p.total != patches[0].total:
            raise BadInput(f"{path} has more than one series: '{p.subject}' and "
                           f"'{seen.get(p.number, patches[0]).subject}'")
        seen[p.number] = p
    missing = sorted(set(range(1, patches[0].total + 1)) - seen.keys())
    if missing:
        raise BadInput(f"{path}: patch {missing[0]} of {patches[0].total} is missing")
    return sorted(patches, key=lambda p: p.number)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="OUT", type=pathlib.Path)
    parser.add_argument("series", metavar="SERIES", type=pathlib.Path)
    args = parser.parse_args()
    try:
        mails = collect(args.series)
        patches = [m for m in mails if m.is_patch()]
        if any(p.marked for p in patches):
            patches = [p for p in patches if p.marked or p.listed]
        patches = in_order(patches, args.series)
        if not patches:
            raise BadInput(f"{args.series} has no patch")
        names = [f"{i:04}-{p.slug()}.patch" for i, p in enumerate(patches, 1)]
        for name, patch in zip(names, patches):
            (args.out / name).write_bytes(MAIL + patch.raw)
        (args.out / "series").write_text("".join(f"{n}\n" for n in names), encoding="utf-8")
    except (BadInput, OSError, LookupError) as err:
        print(f"try: {err}", file=sys.stderr)
        return 1
    text = "\n".join(m.text for m in mails if not m.subject.lower().startswith("re:"))
    for commit in re.findall(r"^base-commit: ([0-9a-f]{7,64})\s*$", text, re.M)[-1:]:
        print("base-commit", commit)
    for patch_id in re.findall(r"^prerequisite-patch-id: ([0-9a-f]{40,64})\s*$", text, re.M):
        print("prerequisite", patch_id)
    return 0


if __name__ == "__main__":
    sys.exit(main())
