#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""htmlcheck.py - check an HTML page that must not need other files

Usage: htmlcheck.py PAGE [WORD ...]

Requires that each tag is closed, in order; that each id is unique, and each "#..." link has
a target; that there is no script and no address of another machine; and that each WORD is
the whole text of a <td> or <th>.
Exit: 0; 2 the page has errors, one per line; 1 cannot read PAGE.
"""

import argparse
import html.parser
import pathlib
import re
import sys

VOID = {"br", "col", "hr", "img", "input", "link", "meta", "wbr"}
FETCHES = re.compile(r"@import|url\(", re.I)
ELSEWHERE = re.compile(r"\s*([a-z][a-z0-9+.-]*:|//)", re.I)


class Reader(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.ids, self.leads, self.cells = [], [], {}, {}, set()
        self.cell = None

    def say(self, text):
        self.wrong.append(f"line {self.getpos()[0]}: {text}")

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append((tag, self.getpos()[0]))
        if tag in ("script", "iframe", "link", "base"):
            self.say(f"<{tag}> is not allowed in a self-contained page")
        for name, value in attrs:
            value = value or ""
            if name == "id":
                if value in self.ids:
                    self.say(f"duplicate id {value}")
                self.ids[value] = True
            elif name in ("href", "src", "action", "srcset", "data", "poster"):
                if value.startswith("#"):
                    self.leads[value[1:]] = self.getpos()[0]
                elif ELSEWHERE.match(value):
                    self.say(f"{name}={value} is on another machine")
            elif name.startswith("on") or (name == "style" and FETCHES.search(value)):
                self.say(f"{name}={value} runs or fetches something")
        if tag in ("td", "th"):
            self.cell = []

    def handle_endtag(self, tag):
        if tag in VOID:
            self.say(f"</{tag}>: there is no such end tag")
        elif not self.open or self.open[-1][0] != tag:
            self.say(f"</{tag}> closes nothing: open is {self.open[-1:]}")
        else:
            self.open.pop()
        if tag in ("td", "th") and self.cell is not None:
            self.cells.add("".join(self.cell).strip())
            self.cell = None

    def handle_data(self, data):
        if self.cell is not None:
            self.cell.append(data)
        if self.open and self.open[-1][0] == "style" and FETCHES.search(data):
            self.say("the style fetches something")

    def result(self, words):
        self.close()
        self.wrong += [f"line {line}: <{tag}> is not closed" for tag, line in self.open]
        self.wrong += [f"line {line}: nothing has the id {lead}"
                       for lead, line in self.leads.items() if lead not in self.ids]
        self.wrong += [f"no cell has '{word}'" for word in words if word not in self.cells]
        return self.wrong


def check(text, words=()):
    reader = Reader()
    if not text.startswith("<!DOCTYPE html>"):
        reader.say("it does not begin with <!DOCTYPE html>")
    reader.feed(text)
    return reader.result(words)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=pathlib.Path)
    parser.add_argument("word", nargs="*")
    args = parser.parse_args()
    try:
        text = args.page.read_text(encoding="utf-8")
    except (OSError, ValueError) as err:
        print(f"htmlcheck.py: {args.page}: {err}", file=sys.stderr)
        return 1
    wrong = check(text, args.word)
    for line in wrong:
        print(f"{args.page}: {line}")
    return 2 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
