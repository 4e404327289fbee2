# SPDX-License-Identifier: GPL-2.0
"""page.py - report.html from Markdown, by pandoc

page.html is the template, style.css the style; cells.lua marks the cells of tables that
are unreliable, missed or failed.
"""

import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent


class PageError(Exception):
    """pandoc is missing, or failed."""


def write_page(markdown, title, folder, path):
    """One file PATH with everything in it; images are looked up in FOLDER."""
    # Debian 12's pandoc has no --embed-resources yet; later ones still know this name.
    command = ["pandoc", "--from=gfm", "--to=html5", "--standalone", "--self-contained",
               f"--resource-path={folder}", f"--template={HERE / 'page.html'}",
               f"--css={HERE / 'style.css'}", f"--lua-filter={HERE / 'cells.lua'}",
               f"--metadata=pagetitle:{title}", f"--output={path.resolve()}"]
    try:
        done = subprocess.run(command, input=markdown, capture_output=True, text=True, check=False)
    except OSError as err:
        raise PageError("no pandoc: run scripts/lab setup bench (package pandoc)") from err
    if done.returncode:
        raise PageError(f"pandoc failed: {done.stderr.strip()[:200]}")
