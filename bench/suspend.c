// SPDX-License-Identifier: GPL-2.0
/*
 * suspend - whether an OOM victim is still exiting when a suspend has frozen all others
 *
 * Usage: suspend [-r ROUNDS (5)] [-s MIB that a victim has to free (768)]. Needs root,
 * CONFIG_PM_DEBUG, and the tracepoints of power and signal (lab build with an EXTRA_CONFIG
 * of CONFIG_SUSPEND, CONFIG_PM_DEBUG and CONFIG_ENABLE_DEFAULT_TRACERS). Suspends the
 * machine up to the freezer (pm_test), and forces OOMs.
 *
 * A process with two threads has a memfd, which is freed in its exit. The OOM killer kills
 * it, and a suspend begins at once. Prints a line for each round, tab-separated:
 *
 *   R  suspend  ROUND  MS
 *
 * MS is how long after the end of freeze_processes() the process had exited; negative if
 * it had done so before. Exit: 0; 1 something went wrong, and stderr says what.
 */
#include <err.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup_util.h"
#include "vm_util.h"
#include "measure.h"

#define TRACING "/sys/kernel/tracing/"

static long size = 768 * MiB;

static int victim(const char *unused, void *ready)
{
	int fd = memfd_create("suspend", 0);

	if (fd < 0 || ftruncate(fd, size) || !oom_map(OOM_FREE_SIZE) || oom_start_thread() < 0)
		_exit(1);
	/* Allocate it, and do not map it: the OOM reaper must not be able to help. */
	must(posix_fallocate(fd, 0, size) ? -1 : 0, "cannot fill a memfd");
	must(oom_set_score_adj(1000), "oom_score_adj");
	*(atomic_bool *)ready = true;
	return oom_wait_for_kill(NULL);
}

/* The time of the last line of the trace with both words, in ms; 0 without one. */
static double traced(const char *word, const char *other)
{
	FILE *trace = fopen(TRACING "trace", "r");
	double s, ms = 0;
	char line[512];

	while (trace && fgets(line, sizeof(line), trace)) {
		if (strstr(line, word) && strstr(line, other) &&
		    sscanf(strchr(line, ']') ?: "", "] %*s %lf:", &s) == 1)
			ms = s * 1000;
	}
	if (trace)
		fclose(trace);
	return ms;
}

int main(int argc, char **argv)
{
	atomic_bool *ready = mmap(NULL, psize(), PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int rounds = 5, opt, i;
	double frozen, exited;
	char filter[64];
	long kills;
	pid_t pid;

	while ((opt = getopt(argc, argv, "r:s:h")) != -1) {
		if (opt == 'r')
			rounds = atoi(optarg);
		else if (opt == 's')
			size = atol(optarg) * MiB;
		else
			errx(opt != 'h', "usage: suspend [-r ROUNDS] [-s MIB]");
	}
	if (rounds < 1 || size < MiB)
		errx(1, "-r and -s need a number of at least 1");
	mount("tracefs", TRACING, "tracefs", 0, NULL);
	must(write_setting("/sys/power/pm_test", "freezer"), "pm_test (CONFIG_PM_DEBUG)");
	write_setting("/sys/module/suspend/parameters/pm_test_delay", "2");
	must(write_setting(TRACING "events/power/suspend_resume/enable", "1"), "suspend_resume");
	snprintf(filter, sizeof(filter), "sig == %d && pid == %d", SIGCHLD, getpid());
	must(write_setting(TRACING "events/signal/signal_generate/filter", filter), "filter");
	must(write_setting(TRACING "events/signal/signal_generate/enable", "1"), "signal_generate");
	must(oom_set_score_adj(-1000), "oom_score_adj");

	for (i = 0; i < rounds; i++) {
		*ready = false;
		pid = fork();
		must(pid, "fork");
		if (!pid)
			victim(NULL, ready);
		if (!poll_until(*ready))
			errx(1, "the victim does not get ready");
		must(write_setting(TRACING "trace", "\n"), "trace");
		kills = read_field("/proc/vmstat", "oom_kill ");
		must(write_setting("/proc/sysrq-trigger", "f"), "sysrq");
		if (!poll_until(read_field("/proc/vmstat", "oom_kill ") > kills))
			errx(1, "nobody was killed");
		must(write_setting("/sys/power/state", "freeze"), "suspend");
		must(waitpid(pid, NULL, 0), "waitpid");
		frozen = traced("freeze_processes", " end");
		exited = traced("signal_generate", "sig=");
		if (!frozen || !exited)
			errx(1, "the trace is not complete");
		printf("R\tsuspend\t%d\t%.0f\n", i, exited - frozen);
		fflush(stdout);
	}
	return 0;
}
