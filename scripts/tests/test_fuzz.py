#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""test_fuzz.py - what reads files from outside gives a result or one clear line, whatever it reads

Usage: test_fuzz.py [--tries N] [--seed S] [READER...]

Damages good inputs: bytes, lines, their order, their end. A reader must not raise anything
but its own error, and must not take LIMIT seconds. Prints each input on which it does, and
the seed of that try; "--tries 1 --seed SEED READER" repeats it. The default is 150 tries of
each reader, from seed 1.
Exit: 0 nothing was found; 1 something was.
"""

import argparse
import contextlib
import io
import json
import pathlib
import random
import signal
import sys
import tempfile
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "lib"), str(HERE)]

import compare          # noqa: E402
import junit            # noqa: E402
import ktap             # noqa: E402
import ktap_kcsan       # noqa: E402
import ktap_programs    # noqa: E402
import lava_log         # noqa: E402
import matrix           # noqa: E402
import merge            # noqa: E402
import page             # noqa: E402
import rundiff          # noqa: E402
import runs             # noqa: E402
import soak_read        # noqa: E402
import test_ktap        # noqa: E402
import test_lava_log    # noqa: E402
import test_runs        # noqa: E402
import test_try_patches     # noqa: E402
import try_patches      # noqa: E402

LIMIT = 10
WORDS = [b"\xff\xfe", b"\0", b"9" * 40, b"[", b"]", b"(", b"%s", b"From ", b"\r\n", b"\n\n", b"=?utf-8?Q?", b"# ", b"null",
         b"-1", b"{", b"\\x", b"\xe2\x80\xa8", b"Subject: ", b"not ok 1 ", b"1..0", b"lab: suspends x", b"[    1.0] ",
         b"# Subtest: x\n", b"Bail out!"]
MAILS = "".join(test_try_patches.POST + text for text in (
    test_try_patches.note("Subject: [PATCH v2 0/2] c\n\nbase-commit: 0123456789abcdef0123456789abcdef01234567"),
    test_try_patches.mail("[PATCH v2 1/2] a"), test_try_patches.mail("[PATCH v2 2/2] =?utf-8?Q?b=C3=A9?=", "two")))
LOG = test_ktap.OOM_KILL + "[    2.0] WARNING: mm/x.c:1 at f+0x1/0x2, CPU#0: a/1\n[    2.1] BUG: KCSAN: data-race in f / g\n"
SOAK = ("# #  RUN           race.a ...\n# x.c:1:a:7 rounds\n# ok 1 race.a\nlab: before mm_struct 7\nlab: after mm_struct 7\n"
        "lab: suspends 3 0\nlab: suspend ok\nlab: end\n")
RESULT = {"seconds": 1, "problems": ["x: y"], "tests": {"a.b": {"result": "pass", "detail": ""}}}
RUN = test_runs.make_run(levels=[{**test_runs.level(name), "tests": {"a.b": ["pass", ""]}} for name in ("base", "0001-a")])
NESTED = ("[    1.0] KTAP version 1\n[    1.0] 1..2\n[    1.0]     # Subtest: a\n[    1.0]     1..2\n[    1.0]         # Subtest: b\n"
          "[    1.0]         ok 1 x=1\n[    1.0]     not ok 1 b # why\n[    1.0]     ok 2 c # SKIP no c\n[    1.0] not ok 1 a\n"
          "[    1.0] ok 2 d # XFAIL e\n") + matrix.ktap([{"name": "base", "tests": RESULT["tests"]}], [])
SHARD = {"shard": 1, "of": 2, "commit": "a", "bases": "6.1 6.12"}


def lines(data):
    return data.decode("utf-8", errors="replace").split("\n")


def main_of(module, name, *more):
    """Returns a reader that runs the program with the file, and checks what it prints if it fails."""
    def read(path, room):
        sys.argv = [module.__file__, *(str(room / word) if word == "OUT" else word for word in more if word != "FILE")]
        sys.argv.insert(len(sys.argv) if not more or more[0] != "FILE" else 1, str(path))
        out, err = io.TextIOWrapper(io.BytesIO()), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = module.main()
        if code not in (0, 1, 2) or (code == 1 and len(err.getvalue().splitlines()) != 1):
            raise AssertionError(f"exit status {code}, and: {err.getvalue()}")
    return name, read


def function(name, call, *errors):
    def read(path, _):
        with contextlib.suppress(*errors):
            call(path)
    return name, read


def read_log(path):
    text = lines(path.read_bytes())
    ktap.parse_console(text, path)
    ktap.flood(text * 300, path)
    for line in text:
        ktap.kind(line)
        ktap_kcsan.race_of(line)


def read_page(path):
    result = {**RESULT, "problems": ["console.log:2: y"]}
    (path.parent / "result.json").write_text(json.dumps(result), encoding="utf-8")
    (path.parent / "console.log").write_bytes(path.read_bytes())
    level = page.read(f"a={path.parent / 'result.json'}")
    page.around(level)
    page.logs_of(level, "none", True)


def compare_runs(path):
    rundiff.compare({**RUN, "name": "good"}, runs.load(path), path.parent / "none")
    runs.table([runs.load(path)])


def shard_of(path):
    (path.parent / "shard.json").write_bytes(path.read_bytes())
    merge.read_shard(path.parent)


READERS = {
    "patches": (*main_of(try_patches, "series.mbox", "OUT", "FILE"), MAILS),
    "patch": (*main_of(try_patches, "one.patch", "OUT", "FILE"), test_try_patches.mail("[PATCH] a")),
    "junit": (*main_of(junit, "run.ktap"), test_ktap.GOOD),
    "nested": (*main_of(junit, "nested.ktap"), NESTED),
    "lava": (*main_of(lava_log, "log", "FILE", "OUT"),
             test_lava_log.log(test_lava_log.LIVE + test_lava_log.END, test_lava_log.CASES, test_lava_log.JOB)),
    "ktap": (*function("ktap", lambda path: ktap.parse_ktap(lines(path.read_bytes()))), test_ktap.GOOD),
    "programs": (*function("ktap", lambda path: ktap_programs.Programs(lines(path.read_bytes()))), test_ktap.GOOD),
    "compare": (*function("ktap.log", compare.read), test_ktap.GOOD),
    "page": (*function("ktap.log", read_page), test_ktap.GOOD),
    "log": (*function("log", read_log), LOG),
    "soak": (*function("log", lambda path: soak_read.read(lines(path.read_bytes()), ["race.a"], True)), SOAK),
    "run": (*function("run.json", compare_runs, runs.BadRun), json.dumps(RUN, indent=1)),
    "result": (*function("result.json", lambda path: matrix.read_level(f"a={path}"), matrix.BadInput), json.dumps(RESULT, indent=1)),
    "shard": (*function("shard", shard_of, merge.BadInput), json.dumps(SHARD, indent=1)),
}


def damage(data, chance):
    """Returns the input with one to five things wrong."""
    for _ in range(chance.randint(1, 5)):
        at, kind = chance.randrange(len(data) + 1), chance.randrange(7)
        rows = data.splitlines(keepends=True)
        if kind == 0:
            data = data[:at] + bytes([chance.randrange(256)]) + data[at + 1:]
        elif kind == 1:
            data = data[:at] + chance.choice(WORDS) + data[at:]
        elif kind == 2:
            data = data[:at] + data[at + chance.randint(1, 60):]
        elif kind == 3 and not chance.randrange(4):
            data = data[:at]
        elif rows:
            one, other = chance.randrange(len(rows)), chance.randrange(len(rows))
            if kind == 4:
                rows[one], rows[other] = rows[other], rows[one]
            elif kind == 5:
                rows.insert(one, rows[other])
            else:
                del rows[one]
            data = b"".join(rows)
    return data


def too_long(*_):
    raise TimeoutError(f"not done after {LIMIT} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("reader", nargs="*", metavar="READER", help=", ".join(READERS))
    args = parser.parse_args()
    signal.signal(signal.SIGALRM, too_long)
    bad = 0
    for name in args.reader or READERS:
        file, read, good = READERS[name]
        for seed in range(args.seed, args.seed + args.tries):
            with tempfile.TemporaryDirectory() as d:
                path, room = pathlib.Path(d, file), pathlib.Path(d)
                (room / "OUT").mkdir()
                path.write_bytes(damage(good.encode(), random.Random(f"{name} {seed}")))
                signal.alarm(LIMIT)
                try:
                    read(path, room)
                except Exception:   # pylint: disable=broad-except
                    bad += 1
                    print(f"{name}: seed {seed}: {traceback.format_exc().splitlines()[-3:]}")
                    if bad < 4:
                        print(path.read_bytes())
                finally:
                    signal.alarm(0)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
