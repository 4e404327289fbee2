// SPDX-License-Identifier: GPL-2.0
/* How long exit_mmap() waits for the write lock behind a reaper. */
#include <err.h>
#include <errno.h>
#include <stdio.h>

#include "oom_bench.h"

static void print_wait(int run, const char *mode, pid_t pid)
{
	double wait = write_lock_wait(pid);

	if (wait < 0)
		errx(1, "exit_mmap() left no trace of its write lock");
	result(run, mode, "lock_wait", wait);
}

/* Returns false if the victim was gone before it could be reaped. */
static bool one_wait(struct oom_cgroups *cg, int run, bool reap)
{
	struct mem m = { opt.size, opt.vmas, 0, 0 };
	struct caller c = { .mode = reap ? MRELEASE : ALONE };
	double cpu = 0;

	c.pid[0] = start_process(cg, map_mem, &m);
	start_caller(&c);
	trace_clear();
	c.go = true;
	wait_gone(c.pid[0], &cpu);
	if (end_caller(&c) == -ESRCH)
		return false;
	print_wait(run, reap ? "mrelease" : "alone", c.pid[0]);
	return true;
}

/*
 * The OOM reaper comes two seconds after the kill, and exit_mmap() is in its
 * widened window until it has come.
 */
static void one_window(struct oom_cgroups *cg, int run)
{
	static const char file[] = "/sys/module/mmap/parameters/window_ms";
	struct mem m = { opt.size, opt.vmas, 0, 1000 };
	pid_t pid = start_process(cg, map_mem, &m);
	double cpu = 0;
	char ms[16];

	pin_reaper();
	trace_clear();
	snprintf(ms, sizeof(ms), "%d", opt.window_ms);
	must(write_setting(file, ms), file);
	must(write_setting("/proc/sysrq-trigger", "f"), "sysrq f");
	wait_gone(pid, &cpu);
	must(write_setting(file, "0"), file);
	print_wait(run, "window", pid);
}

void bench_wait(struct oom_cgroups *cg, void *arg)
{
	int run, i;

	trace_events("mmap_lock/mmap_lock_start_locking", true);
	trace_events("mmap_lock/mmap_lock_acquire_returned", true);
	must(write_setting(TRACE "events/mmap_lock/filter", "write == 1"),
	     "filter");
	pin_cpu(0);
	for (run = -1; run < opt.runs; run++) {
		if (opt.window_ms) {
			one_window(cg, run);
			continue;
		}
		for (i = 0; i < 2; i++) {
			bool reap = (run + i) & 1;
			int lost = 0;

			while (!one_wait(cg, run, reap))
				count_lost(run, "mrelease", &lost);
		}
	}
	trace_events("mmap_lock", false);
}
