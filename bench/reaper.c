// SPDX-License-Identifier: GPL-2.0
/* The OOM reaper, beside a victim that exits. */
#include <err.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "cgroup_util.h"
#include "oom_bench.h"

/* A victim that is held up continues once the reaper has freed this much. */
#define BEGUN_SIZE (4 * MiB)

static pid_t find_reaper(void)
{
	char path[64], comm[64];
	pid_t pid;

	/* It starts after the kernel threads of each CPU. */
	for (pid = 2; pid < 100000; pid++) {
		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		if (read_text(path, comm, sizeof(comm)) > 0 &&
		    !strcmp(comm, "oom_reaper\n"))
			return pid;
	}
	errx(1, "found no oom_reaper");
}

pid_t pin_reaper(void)
{
	pid_t reaper = find_reaper();
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(1, &set);
	if (sched_setaffinity(reaper, sizeof(set), &set))
		err(1, "cannot pin the oom_reaper");
	return reaper;
}

void allow_hold(void)
{
	/*
	 * By default, other tasks get 50 ms of each second even if a real-time
	 * task wants to run; since v6.12, the fair server does this.
	 */
	write_setting("/proc/sys/kernel/sched_rt_runtime_us", "-1");
	write_setting("/sys/kernel/debug/sched/fair_server/cpu0/runtime", "0");
}

/*
 * Keeps the victim off its CPU until the reaper has begun. Otherwise the two
 * would not meet: a victim that can run exits within the reaper's delay.
 */
struct hold {
	pthread_t thread;
	long long anon;		/* bytes, when nothing was taken */
	atomic_bool runs;
	double end;
};

static void *hold_thread(void *arg)
{
	struct hold *hold = arg;
	double limit = now_us() + 1e6 * 10;

	hold->runs = true;
	while (meminfo("AnonPages:") > hold->anon - BEGUN_SIZE)
		if (now_us() > limit)
			errx(1, "the OOM reaper did not come");
	hold->end = now_us();
	return NULL;
}

static void start_hold(struct hold *hold)
{
	struct sched_param param = { .sched_priority = 1 };
	pthread_attr_t attr;
	cpu_set_t set;
	int ret;

	hold->anon = meminfo("AnonPages:");
	hold->runs = false;
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
	pthread_attr_setschedparam(&attr, &param);
	ret = pthread_create(&hold->thread, &attr, hold_thread, hold);
	if (ret)
		errx(1, "cannot run at a real-time priority: %s", strerror(ret));
	pthread_attr_destroy(&attr);
	must(poll_until(hold->runs) ? 0 : -1, "cannot keep CPU 0");
}

/* Returns whether the reaper has finished, and sets @took to the time it needed. */
static bool reaper_done(double *took)
{
	double start = -1, at;
	char *line, *save;

	for (line = strtok_r(trace_read(), "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		at = trace_time(line, "start_task_reaping", 0);
		if (at >= 0)
			start = at;
		at = trace_time(line, "finish_task_reaping", 0);
		*took = at - start;
		if (at >= 0 && start >= 0)
			return true;
		/* exit_mmap() finished before the reaper got the lock. */
		*took = -1;
		if (trace_time(line, "skip_task_reaping", 0) >= 0)
			return true;
	}
	return false;
}

bool one_oom(struct oom_cgroups *cg, int run, const char *mode)
{
	struct mem m = { opt.size, opt.vmas, 0, 1000 };
	pid_t reaper = pin_reaper(), pid = start_process(cg, map_mem, &m);
	double before = cpu_us(pid), cpu = 0, reaper_cpu, gone, took;
	struct hold hold;

	pin_cpu(1);
	trace_clear();
	trace_events("oom/start_task_reaping", true);
	trace_events("oom/finish_task_reaping", true);
	trace_events("oom/skip_task_reaping", true);
	reaper_cpu = cpu_us(reaper);
	start_hold(&hold);
	must(write_setting("/proc/sysrq-trigger", "f"), "sysrq f");
	pin_cpu(0);
	gone = wait_gone(pid, &cpu);
	pthread_join(hold.thread, NULL);
	must(poll_until(reaper_done(&took)) ? 0 : -1, "the OOM reaper did not finish");
	reaper_cpu = cpu_us(reaper) - reaper_cpu;
	trace_events("oom", false);
	if (took < 0)
		return false;
	result(run, mode, "exit", gone - hold.end);
	result(run, mode, "exit_cpu", cpu - before);
	result(run, mode, "reap", took);
	result(run, mode, "reap_cpu", reaper_cpu);
	result(run, mode, "cpu", cpu - before + reaper_cpu);
	return true;
}
