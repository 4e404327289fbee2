// SPDX-License-Identifier: GPL-2.0
/* Kill and process_mrelease(), or the OOM reaper, against exit alone. */
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "oom_bench.h"

#define MAX_TURNS 16

/* Contentions of page table locks so far, or -1 on a kernel that has no count. */
static long long contentions(void)
{
	FILE *file = fopen("/proc/lock_stat", "re");
	long long sum = 0, acquired, bounces;
	char line[512], *colon;

	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file)) {
		if (!strstr(line, "ptlock_ptr("))
			continue;
		colon = strrchr(line, ':');
		/* con-bounces, contentions */
		if (colon && sscanf(colon + 1, "%lld %lld", &bounces, &acquired) == 2)
			sum += acquired;
	}
	fclose(file);
	return sum;
}

/* Returns false if the victim was gone before it could be reaped. */
static bool one_reap(struct oom_cgroups *cg, int run, enum mode mode,
		     const char *name)
{
	int i, nr = mode == HALVES ? 2 : 1, ret;
	struct caller c = { .mode = mode };
	double before = 0, cpu = 0, gone = 0;
	long long contended;

	if (mode == OOM)
		return one_oom(cg, run, name);
	for (i = 0; i < nr; i++) {
		struct mem m = { opt.size / nr, (opt.vmas + nr - 1) / nr, i, 0 };

		c.pid[i] = start_process(cg, map_mem, &m);
		before += cpu_us(c.pid[i]);
	}
	start_caller(&c);
	contended = contentions();
	c.go = true;
	for (i = 0; i < nr; i++)
		gone = wait_gone(c.pid[i], &cpu);
	ret = end_caller(&c);
	contended = contentions() - contended;

	/* The victim was past exit_mm() before it could be reaped. */
	if (ret == -ESRCH)
		return false;
	must(ret, "process_mrelease");
	result(run, name, "exit", gone - c.killed);
	result(run, name, "exit_cpu", cpu - before);
	if (mode == MRELEASE) {
		result(run, name, "reap", c.done - c.killed);
		result(run, name, "reap_cpu", c.cpu);
	}
	result(run, name, "cpu", cpu - before + c.cpu);
	if (contentions() >= 0)
		result(run, name, "contentions", contended);
	return true;
}

static void set_step(const char *mib)
{
	const char *file = "/sys/module/memory/parameters/step_mib";

	must(write_setting(file, strcmp(mib, "whole") ? mib : "1048576"), file);
}

/* What takes turns within a run. */
static struct turn {
	enum mode mode;
	char name[16];
	char step[16];
} turns[MAX_TURNS];
static int nr_turns;

static void add_turn(enum mode mode, const char *name, const char *step)
{
	struct turn *turn = &turns[nr_turns++];

	if (nr_turns > MAX_TURNS)
		errx(1, "too many sizes of a step");
	turn->mode = mode;
	snprintf(turn->name, sizeof(turn->name), "%s%.10s", name, step);
	snprintf(turn->step, sizeof(turn->step), "%s", step);
}

static void choose_turns(void)
{
	char *step, *save;

	if (!opt.count) {
		add_turn(ALONE, "alone", "");
		add_turn(HALVES, "halves", "");
	}
	if (opt.steps) {
		for (step = strtok_r(opt.steps, ",", &save); step;
		     step = strtok_r(NULL, ",", &save))
			add_turn(MRELEASE, "step-", step);
	} else if (opt.oom) {
		add_turn(OOM, "oom", "");
		allow_hold();
	} else {
		add_turn(MRELEASE, "mrelease", "");
	}
}

void bench_reap(struct oom_cgroups *cg, void *arg)
{
	int run, i;

	if (oom_mrelease(-1, 0) == -ENOSYS)
		errx(1, "no process_mrelease(2)");
	choose_turns();
	if (write_setting("/proc/sys/kernel/lock_stat", "1") == -EACCES)
		errx(1, "cannot have locks counted");
	pin_cpu(0);
	for (run = -1; run < opt.runs; run++) {
		/* Of all tries of a run: of several lines, the report takes the last. */
		int lost[MAX_TURNS] = { 0 };

		for (i = 0; i < nr_turns * (run < 0 ? 1 : opt.best); i++) {
			int nr = (i + run + 1) % nr_turns;
			struct turn *t = &turns[nr];

			if (t->step[0])
				set_step(t->step);
			while (!one_reap(cg, run, t->mode, t->name))
				count_lost(run, t->name, &lost[nr]);
		}
		flush_least(run);
	}
}
