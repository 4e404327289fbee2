# SPDX-License-Identifier: GPL-2.0
"""goals.py - the table of what the series wants to reach, and whether the last level did"""

import collections

from data import case_text
from exits import PLAIN, insn_count, mlocked
from oom import HELD, outcome, real_cases
from stats import Figure
from table import Table


def real_misses(data, level):
    """{goal: ({cases that miss it}, {those that do so within the spread})}; None if too few runs tell."""
    misses = collections.defaultdict(lambda: (set(), set()))
    for case in real_cases(data):
        own, ref = (outcome(data, level, case, mode) for mode in ("frozen", "unfrozen"))
        if not own.given or not ref.given:
            return None
        for goal, f, limit in (("stall", own, max(50, 1.5 * ref.median)),
                               ("killed", own.parts["killed"], ref.parts["killed"].median),
                               ("left", own.parts["left"], ref.parts["left"].median + 2)):
            if f.median > limit:
                misses[goal][f.low <= limit].add(case)
    return misses


def real_goals(data, levels, table):
    misses = [real_misses(data, lv) for lv in levels]
    count = len(real_cases(data))
    for goal, text in (("stall", "stall above 50 ms and 1.5 times that with nobody frozen"),
                       ("killed", "more bystanders killed than with nobody frozen"),
                       ("left", "more than 2 MiB left above that with nobody frozen")):
        cells = ["missing" if m is None else f"{sum(len(s) for s in m[goal])} of {count}" for m in misses]
        if misses[-1] is None:
            verdict = "not known"
        else:
            sure, spread = (" ".join(sorted(s)) for s in misses[-1][goal])
            verdict = f"missed: {sure}" if sure else f"in the spread: {spread}" if spread else "met"
        table.add(f"cases of a real OOM with {text}", "0", *cells, verdict)


def add(table, text, limit, before, after):
    """A row with the verdict, if there are figures for it."""
    if not before.n and not after.n:
        return
    verdict = ("not known" if not after.given else "met" if after.median <= limit
               else "in the spread" if after.low <= limit else "missed")
    table.add(text, f"{limit:g}", before, after, verdict)


def back_goals(data, levels, table):
    def back(level, held):
        ref = data.figure("back", level, "back", "global,unfrozen", "unfrozen", "back")
        own = data.get("back", level, "back", f"global,{held}", held, "back")
        return Figure("back", [v / 1000 / ref.median for v in own.values()] if ref.n else [], "ratio")

    for held in ("frozen-threads", "frozen-sharer"):
        add(table, f"back, {HELD[held]} / not frozen", 1.5, *(back(lv, held) for lv in levels))
    for held, text in HELD.items():
        add(table, f"stall, {text}, ms", 50,
            *(data.figure("back", lv, "back", f"memcg,{held}", held, "stall") for lv in levels))


def reap_goals(data, levels, table):
    for case in data.cases("reap", "reap"):
        for metric, limit in (("exit", 1.0), ("cpu", 1.02)):
            if case.split(",")[1] == "1" and case.endswith(",4k"):
                add(table, f"{metric} / two halves, {case_text(case)}", limit,
                    *(data.ratio("reap", lv, "reap", case, "mrelease", metric, "halves") for lv in levels))
    for case in data.cases("locks", "reap"):
        on = data.on("locks")
        fs = [data.count("locks", lv, "reap", case, "mrelease", "contentions") for lv in on]
        if len(fs) == 2 and all(f.n for f in fs):
            add(table, f"contentions, {case_text(case)}", 1, *fs)


def exit_goals(data, levels, table):
    for case in data.cases("mlock", "mlock"):
        if case.startswith("exit,"):
            add(table, f"CPU of {case.split(',')[2]} exits that locked the same file / alone", 1.2,
                *(data.ratio("mlock", lv, "mlock", case, "same", "cpu", "one") for lv in levels))
        else:
            add(table, "KiB Mlocked after process_mrelease()", 0,
                *(mlocked(data, lv, [case], "drained") for lv in levels))
    if levels[1] not in data.on("insn"):
        return
    for vmas in sorted(data.cases("insn", "insn"), key=int):
        for mode in PLAIN:
            a, b = (insn_count(data, lv, vmas, mode) for lv in levels)
            if a.n and b.n:
                more = 100 * (b.median / a.median - 1)
                table.add(f"instructions, {mode}, {vmas} vmas, %", "+0.1", "-", f"{more:+.3f}",
                          "met" if more <= 0.1 else "missed")


def goals(data):
    plain = [lv for lv in data.levels if "+" not in lv]
    if not plain:
        return None
    base, tip = plain[0], max(plain[1:], default=plain[0])
    if tip == base:
        return None
    table = Table("Goals", f"Level {tip} against what the series wants to reach. In the spread: the interval of the median "
                  "has the goal in it.", ["goal", "at most", base, tip, "is"])
    back_goals(data, (base, tip), table)
    if tip in data.on("real"):
        real_goals(data, (base, tip), table)
    reap_goals(data, (base, tip), table)
    exit_goals(data, (base, tip), table)
    return table if table.rows else None
