#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""lava_device.py - print the device file with which lava-run boots QEMU here

Usage: lava_device.py TEMPLATES JOB.yaml ACCEL [CPU]

TEMPLATES is lava-server's folder device-types. Renders its qemu.jinja2 as the server does,
with the context of the job; adds "-accel ACCEL" and, with CPU, "-cpu CPU" to QEMU's
options. Needs Debian's python3-jinja2 and python3-yaml, and so Debian's python3.
Exit: 0; 1 the template or the job does not exist, with the reason.
"""

import sys

if len(sys.argv) not in (4, 5) or sys.argv[1] in ("-h", "--help"):
    print(__doc__)
    sys.exit(0 if sys.argv[1:2] in (["-h"], ["--help"]) else 1)

import jinja2  # noqa: E402
import yaml  # noqa: E402


def main(templates, path, accel, cpu=None):
    try:
        with open(path, encoding="utf-8") as file:
            context = dict(yaml.safe_load(file)["context"])
        # Otherwise the template adds KVM, whether it works or not.
        context["no_kvm"] = True
        more = ["-accel", accel] + (["-cpu", cpu] if cpu else [])
        context["extra_options"] = [*context.get("extra_options", []), *more]
        loader = jinja2.FileSystemLoader(templates)
        env = jinja2.Environment(loader=loader, trim_blocks=True, autoescape=False)
        text = env.get_template("qemu.jinja2").render(**context)
        yaml.safe_load(text)
    except (OSError, KeyError, TypeError, yaml.YAMLError, jinja2.TemplateError) as err:
        print(f"lava_device.py: {path}, {templates}: {err!r}", file=sys.stderr)
        return 1
    print(text)
    return 0


sys.exit(main(*sys.argv[1:]))
