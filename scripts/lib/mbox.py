#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""mbox.py - convert mails that b4 wrote to an mbox that is the same on each run

Usage: mbox.py MAIL...                 print the mbox
       mbox.py --patches MAIL...       ... without the cover letter, for git am
       mbox.py --recipients MAIL...    print the recipients, one per line

Each MAIL is an .eml file from a dry run of "b4 send". b4 makes new message ids on each
run, and uses the current time. This script makes the ids from a hash of the mails, in
b4's format, and takes the date from the start of the change-id. It removes b4's own
header X-B4-Tracking.
Exit: 0 success; 1 a mail has an unexpected format, with the reason.
"""

import argparse
import email
import email.policy
import email.utils
import datetime
import hashlib
import re
import sys

# Keep the bytes: no line of a patch may be folded or recoded.
POLICY = email.policy.compat32.clone(max_line_length=None, linesep="\n")


class Unexpected(Exception):
    pass


def read_mails(paths):
    mails = []
    for path in paths:
        with open(path, "rb") as file:
            mail = email.message_from_bytes(file.read(), policy=POLICY)
        if not mail["Message-Id"] or not mail["Subject"]:
            raise Unexpected(f"{path} is not a mail from b4")
        mails.append(mail)
    return mails


def subject(mail):
    return re.sub(r"\s+", " ", str(email.header.make_header(email.header.decode_header(mail["Subject"]))))


def number(mail):
    """Returns the N of "[PATCH v2 N/6]", or 1 for a single patch."""
    found = re.match(r"\[[^]]*?(\d+)/\d+\]", subject(mail))
    return int(found[1]) if found else 1


def set_header(mail, name, value):
    if mail[name] is None:
        mail.add_header(name, value)
    else:
        mail.replace_header(name, value)


def stable(mails):
    """Replaces the headers that differ from run to run."""
    digest = hashlib.sha256()
    for mail in mails:
        for name in ("From", "To", "Cc", "Subject"):
            digest.update((mail[name] or "").encode())
        digest.update(mail.get_payload(decode=True))
    form = re.match(r"<(.*-v\d+)-\d+-[0-9a-f]+(@.*)>$", mails[0]["Message-Id"])
    day = re.search(r"^change-id: (\d{8})-", mails[0].get_payload(decode=True).decode(), re.M)
    if not form or not day:
        raise Unexpected(f"cannot read the id {mails[0]['Message-Id']} or the change-id")
    ids = [f"<{form[1]}-{number(mail)}-{digest.hexdigest()[:12]}{form[2]}>" for mail in mails]
    date = datetime.datetime.strptime(day[1] + "+0000", "%Y%m%d%z")
    for i, mail in enumerate(mails):
        # b4 0.12 cannot read a folded subject from a file.
        set_header(mail, "Subject", re.sub(r"\s+", " ", mail["Subject"]))
        set_header(mail, "Message-Id", ids[i])
        set_header(mail, "Date", email.utils.format_datetime(date + datetime.timedelta(seconds=i)))
        if i:
            set_header(mail, "References", ids[0])
            set_header(mail, "In-Reply-To", ids[0])
        del mail["X-B4-Tracking"]


def recipients(mails):
    for name in ("To", "Cc"):
        seen = {}
        for mail in mails:
            for who, address in email.utils.getaddresses([re.sub(r"\s+", " ", v) for v in mail.get_all(name, [])]):
                who = str(email.header.make_header(email.header.decode_header(who)))
                seen.setdefault(address, email.utils.formataddr((who, address), "utf-8") if who.isascii() else f"{who} <{address}>")
        for who in seen.values():
            print(f"  {name}: {who}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patches", action="store_true")
    parser.add_argument("--recipients", action="store_true")
    parser.add_argument("mails", nargs="+", metavar="MAIL")
    args = parser.parse_args()
    try:
        mails = sorted(read_mails(args.mails), key=number)
        if [number(mail) for mail in mails] not in ([1], list(range(len(mails)))):
            raise Unexpected("the mails are not one patch, or a cover letter and all of its patches")
        if args.recipients:
            recipients(mails)
            return 0
        stable(mails)
        for mail in mails[args.patches and not number(mails[0]):]:
            body = mail.as_bytes()
            if re.search(rb"^From ", body, re.M):
                raise Unexpected(f"'{subject(mail)}' has a line that begins with 'From ', which ends a mail in an mbox")
            sys.stdout.buffer.write(b"From b4 Mon Sep 17 00:00:00 2001\n" + body.rstrip(b"\n") + b"\n\n")
    except (OSError, Unexpected, ValueError) as err:
        print(f"mbox.py: {err}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
