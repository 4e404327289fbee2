#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""test_lava.py - test that LAVA accepts ci/lava-job.yaml, and that its steps report the KTAP

Usage: test_lava.py [JOB.yaml]

Validates the job with LAVA's own schema (Debian 12's lava-common), and runs its
steps here, on a made-up run.
Exit: 0 all tests passed; 1 a test failed; 4 LAVA's schema is not installed.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

import test_junit

TOP = pathlib.Path(__file__).resolve().parents[2]
RESULTS = TOP / "scripts/guest/ktap-results"

WANT = {"oom.memcg.frozen": "pass", "oom_once.next": "fail", "oom.global.third": "skip",
        "oom_reaper": "fail", "mrelease_test": "pass"}
STUB = """#!/bin/sh
echo "$1 $3" >>results
"""


def results(job, ktap):
    """What the steps say of a run that printed ktap."""
    steps = job["actions"][2]["test"]["definitions"][0]["repository"]["run"]["steps"]
    with tempfile.TemporaryDirectory() as d:
        path = pathlib.Path(d)
        (path / "ktap").write_text(ktap, encoding="utf-8")
        for name, text in (("run_kselftest.sh", "#!/bin/sh\ncat ktap\n"), ("lava-test-case", STUB),
                           ("dmesg", "#!/bin/sh\n"),
                           ("ktap-results", RESULTS.read_text(encoding="utf-8"))):
            (path / name).write_text(text, encoding="utf-8")
            (path / name).chmod(0o755)
        script = "\n".join(steps).replace("/opt/kselftest", d).replace("/tmp/kselftest", f"{d}/out")
        done = subprocess.run(["sh", "-c", script], env={**os.environ, "PATH": f"{d}:{os.environ['PATH']}"},
                              capture_output=True, text=True, check=False)
        if done.stderr or ktap not in done.stdout:
            raise ValueError(f"the steps gave: {done.stdout}{done.stderr}")
        return dict(line.split() for line in (path / "results").read_text(encoding="utf-8").splitlines())


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", nargs="?", metavar="JOB.yaml", type=pathlib.Path,
                        default=TOP / "ci/lava-job.yaml")
    path = parser.parse_args().job
    try:
        import voluptuous
        import yaml
        from lava_common import schemas
    except ImportError as err:
        print(f"no python3 module {err.name}: Debian 12's package lava-common has it")
        return 4

    try:
        job = yaml.safe_load(path.read_text(encoding="utf-8"))
        schemas.validate(job)
        for ktap, whole in ((test_junit.BAD.replace("a\x1b[1m<b>&\x00", "exit=1"), "pass"),
                            (test_junit.BAD[:test_junit.BAD.index("ok 2 selftests")], "fail")):
            got = results(job, ktap)
            if got != {**WANT, "whole-run": whole}:
                raise ValueError(f"the steps report {got}")
    except (OSError, ValueError, LookupError, yaml.YAMLError, voluptuous.Invalid) as err:
        print(f"{path}: {err}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
