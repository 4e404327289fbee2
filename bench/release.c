// SPDX-License-Identifier: GPL-2.0
/* process_mrelease() alone: how it scales, and what it does after the exit. */
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oom_bench.h"

static void one_scale(struct oom_cgroups *cg, int run)
{
	struct mem m = { opt.size, opt.vmas, 0, 0 };
	pid_t pid = start_process(cg, map_mem, &m);
	int pidfd = open_pidfd(pid);
	double start, cpu;

	kill_frozen(cg, pid);
	cpu = clock_us(CLOCK_THREAD_CPUTIME_ID);
	start = now_us();
	must(oom_mrelease(pidfd, 0), "process_mrelease");
	result(run, "frozen", "reap", now_us() - start);
	result(run, "frozen", "reap_cpu", clock_us(CLOCK_THREAD_CPUTIME_ID) - cpu);
	thaw(cg);
	close(pidfd);
	waitpid(pid, NULL, 0);
}

void bench_scale(struct oom_cgroups *cg, void *arg)
{
	int run, i;

	pin_cpu(1);
	for (run = -1; run < opt.runs; run++) {
		for (i = 0; i < (run < 0 ? 1 : opt.best); i++)
			one_scale(cg, run);
		flush_least(run);
	}
}

/* What came back, and how long the call took; that may be nothing. */
static void timed_release(int run, const char *mode, int pidfd)
{
	long long anon = meminfo("AnonPages:");
	double start = now_us(), took;
	int ret = oom_mrelease(pidfd, 0);

	took = now_us() - start;
	if (ret != -ESRCH)
		must(ret, "process_mrelease");
	anon -= meminfo("AnonPages:");
	result(run, mode, "call", took);
	result(run, mode, "back_mib", anon / (double)MiB);
	result(run, mode, "esrch", ret == -ESRCH);
}

static void release_frozen(struct oom_cgroups *cg, int run)
{
	struct mem m = { opt.size, opt.vmas, 0, 0 };
	pid_t pid = start_process(cg, map_mem, &m);
	int pidfd = open_pidfd(pid);

	kill_frozen(cg, pid);
	timed_release(run, "frozen", pidfd);
	thaw(cg);
	waitpid(pid, NULL, 0);
	close(pidfd);
}

/* A stuck reader pins the mm. */
static void release_exited(struct oom_cgroups *cg, int run)
{
	struct mem m = { opt.size, opt.vmas, 0, 0 };
	pid_t pid = start_process(cg, map_mem, &m), reader;
	int pidfd = open_pidfd(pid);

	reader = oom_start_stuck_reader(cg, pid);
	must(reader, "cannot start a reader that is stuck");
	kill(pid, SIGKILL);
	must(poll_until(oom_is_dead(pid)) ? 0 : -1, "the victim did not exit");
	timed_release(run, "exited", pidfd);
	kill(reader, SIGKILL);
	waitpid(pid, NULL, 0);
	waitpid(reader, NULL, 0);
	close(pidfd);
}

void bench_late(struct oom_cgroups *cg, void *arg)
{
	int run, i;

	pin_cpu(1);
	for (run = -1; run < opt.runs; run++) {
		for (i = 0; i < 2; i++) {
			if ((run + i) & 1)
				release_exited(cg, run);
			else
				release_frozen(cg, run);
		}
	}
}
