#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""wire.py - make a tree's kselftest build and run what a selftest patch adds

Usage: wire.py SPEC SOURCES TREE [--dir mm] [--cflags FLAGS]

SPEC is a file of configs/selftests/: lines "Key: value", an empty line, the
commit's message. SOURCES is selftests/mm of this repository. TREE has the files
to change, at their places in a kernel tree; --dir is the name of the mm
selftests' folder there. --cflags is what that folder's Makefile lacks.

  Programs    sources NAME.c, each a program
  Files       further sources; the first .c is linked to each program
  Wrapper     script for kselftest's runner, where the tree has such scripts
  Category    of run_vmtests.sh, where that has categories
  After       the test that they come after in run_vmtests.sh
  About       what run_vmtests.sh says of a category that is new
  Config      symbols for the "config" file, without CONFIG_
  Maintained  pattern for MAINTAINERS, where mm/oom_kill.c has an entry

Gives the changed and the added files in TREE; prints their paths there, and
after an empty line the message. Exit: 0; 1 a file is not as this expects it.
"""

import argparse
import pathlib
import re
import shutil
import sys


class Unexpected(Exception):
    pass


def read_spec(path):
    head, _, message = path.read_text(encoding="utf-8").partition("\n\n")
    spec = dict(line.split(": ", 1) for line in head.splitlines())
    return spec, message


def insert_after(lines, where, new, what):
    """New lines behind the last line for which where() holds."""
    at = [i for i, line in enumerate(lines) if where(line)]
    if not at:
        raise Unexpected(f"found no {what}")
    lines[at[-1] + 1:at[-1] + 1] = new


def insert_sorted(lines, pattern, name, new):
    """Behind the largest NAME that is smaller, of the lines with pattern."""
    found = [(m[1], i) for i, line in enumerate(lines) if (m := re.match(pattern, line))]
    smaller = [(n, i) for n, i in found if n < name]
    if not smaller:
        raise Unexpected(f"found no place for {name}")
    at = max(smaller)[1] + 1
    lines[at:at] = new


def wire_makefile(lines, spec, folder, cflags):
    programs = spec["Programs"].split()
    for name in programs:
        insert_sorted(lines, r"TEST_GEN_FILES \+?= (\S+)$", name, [f"TEST_GEN_FILES += {name}"])
    wrapper = spec.get("Wrapper")
    if wrapper and any(line.startswith("TEST_PROGS += ksft_") for line in lines):
        insert_sorted(lines, r"TEST_PROGS \+= (\S+)$", wrapper, [f"TEST_PROGS += {wrapper}"])

    header = [f for f in spec.get("Files", "").split() if f.endswith(".h")]
    for name in header:
        insert_after(lines, lambda line: line.startswith("LOCAL_HDRS += "),
                     [f"LOCAL_HDRS += $(selfdir)/{folder}/{name}"], "LOCAL_HDRS")
        if cflags:
            insert_after(lines, lambda line: line.startswith("CFLAGS = "),
                         [f"CFLAGS += {cflags}"], "CFLAGS")

    # All programs are linked with the same helper: one block, sorted.
    rules = [line for line in lines if line.endswith(": oom_util.c")]
    mine = [f"$(OUTPUT)/{name}: oom_util.c" for name in programs]
    if rules:
        at = lines.index(rules[0])
        lines[at:at + len(rules)] = sorted(rules + mine)
    else:
        insert_after(lines, lambda line: re.match(r"\$\(\S+: vm_util\.c", line),
                     ["", *mine], "rule with vm_util.c")


def wire_run(lines, spec):
    category = spec["Category"]
    prefix = ""
    if any(line.startswith('CATEGORY="') for line in lines):
        prefix = f'CATEGORY="{category}" '
    new = [f"{prefix}run_test ./{name}" for name in spec["Programs"].split()]
    after = re.compile(r'(CATEGORY="\w+" )?run_test \./' + spec["After"] + "$")
    if "About" in spec:
        new = ["", *new]
        if prefix:
            # The list of categories is in no order; it is next to its sibling.
            insert_after(lines, lambda line: line == "- memfd_secret", [], "list of categories")
            at = lines.index("- process_mrelease")
            lines[at:at] = [f"- {category}", f"\t{spec['About']}"]
    insert_after(lines, after.match, new, f"test {spec['After']}")


def wire_config(lines, spec):
    for name in spec.get("Config", "").split():
        if f"CONFIG_{name}=y" not in lines:
            lines.append(f"CONFIG_{name}=y")


def wire_gitignore(lines, spec):
    if "*" not in lines:
        lines += [name for name in spec["Programs"].split() if name not in lines]


def wire_maintainers(lines, spec, folder):
    # Lines of an entry are sorted, the more special pattern first.
    if "F:\tmm/oom_kill.c" in lines:
        insert_after(lines, lambda line: line == "F:\tmm/oom_kill.c",
                     [f"F:\ttools/testing/selftests/{folder}/{spec['Maintained']}"], "entry")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", type=pathlib.Path)
    parser.add_argument("sources", type=pathlib.Path)
    parser.add_argument("tree", type=pathlib.Path)
    parser.add_argument("--dir", default="mm")
    parser.add_argument("--cflags", default="")
    args = parser.parse_args()

    folder = args.tree / "tools/testing/selftests" / args.dir
    try:
        spec, message = read_spec(args.spec)
        changed = []
        for path, wire in (
                (folder / "Makefile", lambda t: wire_makefile(t, spec, args.dir, args.cflags)),
                (folder / "run_vmtests.sh", lambda t: wire_run(t, spec)),
                (folder / "config", lambda t: wire_config(t, spec)),
                (folder / ".gitignore", lambda t: wire_gitignore(t, spec)),
                (args.tree / "MAINTAINERS", lambda t: wire_maintainers(t, spec, args.dir))):
            before = path.read_text(encoding="utf-8")
            lines = before.split("\n")[:-1]
            try:
                wire(lines)
            except Unexpected as err:
                raise Unexpected(f"{path.relative_to(args.tree)}: {err}") from err
            after = "\n".join(lines) + "\n"
            if after != before:
                path.write_text(after, encoding="utf-8")
                changed.append(path)
        names = [f"{n}.c" for n in spec["Programs"].split()] + spec.get("Files", "").split()
        if "Wrapper" in spec and any(folder.glob("ksft_*.sh")):
            names.append(spec["Wrapper"])
        for name in names:
            shutil.copy(args.sources / name, folder / name)
            changed.append(folder / name)
    except (OSError, Unexpected, ValueError, KeyError) as err:
        print(f"wire.py: {err}", file=sys.stderr)
        return 1
    for path in changed:
        print(path.relative_to(args.tree))
    print()
    print(message.replace("@DIR@", args.dir), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
