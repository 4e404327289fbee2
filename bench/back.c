// SPDX-License-Identifier: GPL-2.0
/* Until the memory is back, and the stall at a memory cgroup's limit. */
#include <err.h>
#include <stdio.h>

#include "cgroup_util.h"
#include "oom_bench.h"

enum held { RUNNING, THREADS, SHARER, NR_HELD };

static const char * const held_name[] = { "unfrozen", "frozen-threads",
					  "frozen-sharer" };

struct back {
	struct oom_cgroups *cg;
	int run;
	enum held held;
	bool memcg;
};

/* In the process that is frozen, and in the victim if none is. */
static void back_victim(void *arg)
{
	struct back *b = arg;
	struct mem m = { opt.size, 1, 0, 1000 };
	int nr_threads = b->held == THREADS ? 4 : b->held == SHARER ? 2 : 0;

	map_mem(&m);
	while (nr_threads--)
		must(oom_start_thread(), "cannot start threads");
	if (b->held == SHARER) {
		must(oom_share_mm(oom_wait_for_kill, 0, NULL), "cannot share the mm");
		/* Where its own limit cannot choose it next; see oom_reaper.c. */
		must(cg_enter_current(b->cg->outside), "cannot leave the memory cgroup");
	}
	if (b->held != RUNNING)
		must(cg_enter_current(b->cg->frozen), "cannot move to the freezer");
}

static void until_back(const struct back *b)
{
	double start, at, limit = 1e3 * OOM_DEADLINE_MS;
	long long before = meminfo("AnonPages:"), last = before, anon;

	if (b->run >= 0)
		printf("C\t%s\t%s\t%d\t0\t%zu\n", kind, case_name, b->run,
		       opt.size);
	start = now_us();
	must(write_setting("/proc/sysrq-trigger", "f"), "sysrq f");
	do {
		anon = meminfo("AnonPages:");
		at = now_us() - start;
		if (b->run >= 0 && last - anon >= (long long)opt.size / 64) {
			printf("C\t%s\t%s\t%d\t%.0f\t%lld\n", kind, case_name,
			       b->run, at, anon - before + (long long)opt.size);
			last = anon;
		}
		if (at > limit)
			errx(1, "the victim's memory did not come back");
	} while (anon > before - (long long)opt.size * 9 / 10);
	result(b->run, held_name[b->held], "back", at);
}

static void one_back(struct oom_cgroups *cg, void *arg)
{
	struct back *b = arg;
	long ms;

	b->cg = cg;
	snprintf(case_name, sizeof(case_name), "%s,%s",
		 b->memcg ? "memcg" : "global", held_name[b->held]);
	start_process(cg, back_victim, b);
	if (b->held != RUNNING)
		must(oom_freeze(cg, 0), "cannot freeze");
	if (!b->memcg) {
		until_back(b);
		return;
	}
	ms = oom_force(cg);
	must(ms, "no memory at the limit");
	result(b->run, held_name[b->held], "stall", ms * 1e3);
}

void bench_back(void)
{
	struct back b;
	int i;

	must(oom_set_score_adj(-1000), "oom_score_adj");
	pin_cpu(1);
	for (b.run = -1; b.run < opt.runs; b.run++) {
		for (i = 0; i < 2 * NR_HELD; i++) {
			b.held = i % NR_HELD;
			b.memcg = i >= NR_HELD;
			with_cgroups(!b.memcg, one_back, &b);
		}
	}
}
