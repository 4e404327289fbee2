#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""decode.py - add the line of the source to each place in the problems of a boot

Usage: decode.py --obj OBJ --src SRC DIR

OBJ is the folder in which the kernel was built, SRC the tree that it was built from, DIR has
result.json. The kernels have no debug information. So this compiles the object with the function
once more with -g, which changes no code, and has the tree's scripts/faddr2line look there.
Changes "f+0x1/0x2" in the problems to "f+0x1/0x2 (mm/x.c:12)", and prints one line for each.
Where that is not possible, the problem stays as it is.
Exit: 0; 1 there is no result.json.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import try_cost

PLACE = re.compile(r"\b([A-Za-z_][\w.]*)\+0x[0-9a-f]+/0x[0-9a-f]+(?! \()")
DECODED = re.compile(r" at (\S+?):(\d+)\b")
MOST = 5        # places; each takes a compiler's run


def output(*command, **more):
    return subprocess.run(command, capture_output=True, text=True, check=False, **more).stdout


def objects_with(obj, function):
    """Returns the objects in the build folder that define the function."""
    paths = [str(path.relative_to(obj)) for path in sorted(obj.rglob("*.o"))
             if path.with_name(f".{path.name}.cmd").exists() and path.with_suffix(".o").stat().st_size]
    lines = output("xargs", "-0", "nm", "-A", "--defined-only", input="\0".join(paths), cwd=obj).splitlines()
    found = [m[1] for line in lines if (m := re.fullmatch(rf"(\S+\.o):\S+ [tTwW] {re.escape(function)}", line))]
    return [name for name in found if (obj / name).read_bytes()[:4] == b"\x7fELF"]


def decode(obj, src, place):
    """Returns "FILE:LINE" for "FUNCTION+OFFSET/SIZE", and where it is inlined, or None."""
    for name in objects_with(obj, place.split("+")[0]):
        with tempfile.TemporaryDirectory() as room:
            part = f"{room}/part.o"
            try:
                command = try_cost.command(obj, name).replace(" -o /dev/null ", f" -g -o {part} ")
            except try_cost.Unknown:
                continue    # linked from others, which have it too
            output("/bin/sh", "-c", command, cwd=obj)
            # The function itself comes last, behind what is inlined there.
            found = DECODED.findall(output(src / "scripts" / "faddr2line", part, place))
        if found:
            lines = [f"{pathlib.Path(obj, file).resolve()}:{line}".removeprefix(f"{src}/") for file, line in found]
            return lines[0] if len(lines) == 1 else f"{lines[0]}, inlined in {lines[-1]}"
    return None


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--obj", type=pathlib.Path, required=True)
    parser.add_argument("--src", type=pathlib.Path, required=True)
    parser.add_argument("dir", metavar="DIR", type=pathlib.Path)
    args = parser.parse_args()
    path = args.dir / "result.json"
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        print(f"decode.py: {path}: {err}", file=sys.stderr)
        return 1
    places = list(dict.fromkeys(m[0] for problem in result["problems"] for m in PLACE.finditer(problem)))
    for place in places[:MOST]:
        if line := decode(args.obj.resolve(), args.src.resolve(), place):
            print(f"  {place} is {line}")
            result["problems"] = [problem.replace(place, f"{place} ({line})") for problem in result["problems"]]
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
