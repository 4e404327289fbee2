// SPDX-License-Identifier: GPL-2.0
/*
 * killers - how soon memory is back when a low-memory killer kills four victims
 *
 * Usage: killers [-r RUNS] [-c CASE ...]; see usage. Needs root and 1 GiB. With
 * swap, half of a victim's memory is swapped out.
 *
 * A case is KILLER,STATE,MORE:
 *   lmkd     as Android's lmkd does it: SIGKILL by pidfd; then its two reaper threads
 *            move the victim to another cgroup, raise its priority, and call
 *            process_mrelease(2)
 *   oomd     as oomd does it: cgroup.kill; then process_mrelease(2) for one victim
 *            after the other
 *   running  the victims run
 *   v1, v2   the freezer of that cgroup version holds them
 *   plain    40 MiB each
 *   sparse   24 MiB, and as much again in page tables
 *   reader   as plain, and somebody is stuck in a read of /proc/<pid>/mem
 *
 * Prints a line for each figure, tab-separated, as oom_bench does:
 *
 *   R  killers  CASE  RUN  MODE  METRIC  VALUE
 *
 * back is the time from the first kill until 90 % of the memory is back, in us, or
 * GIVE_UP_MS if it does not come back; second, 1 if that took longer than a killer
 * waits before it kills somebody else. Run -1, without a figure, is a warm-up.
 *
 * Exit: 0; 1 something went wrong, and stderr says what.
 */
#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup_util.h"
#include "measure.h"

#define NR_VICTIMS 4
#define NR_REAPERS 2
#define PLAIN_SIZE (40 * MiB)
#define SPARSE_SIZE (24 * MiB)
/* A page of each page table: as many page tables as there are pages. */
#define SPARSE_SPAN (SPARSE_SIZE / 4096 * HUGE_SIZE)

/*
 * lmkd waits for a victim for ro.lmk.kill_timeout_ms, which is 100, before it may
 * kill somebody else. Three times that, because emulators are slow.
 */
#define SECOND_KILL_MS 300
#define GIVE_UP_MS 1000

enum { LMKD, OOMD, NR_KILLERS };
enum { RUNNING, V1, V2, NR_STATES };
enum { PLAIN, SPARSE, READER, NR_MORE };
#define NR_CASES (NR_KILLERS * NR_STATES * NR_MORE)

static const char * const killer_name[] = { "lmkd", "oomd" };
static const char * const state_name[] = { "running", "v1", "v2" };
static const char * const more_name[] = { "plain", "sparse", "reader" };

static struct try {
	int killer, state, more, run;
	struct oom_cgroups *cg;
	struct victim {
		pid_t pid, reader;
		int pidfd;
		char *app;	/* its cgroup */
	} victims[NR_VICTIMS];
} try;

static const char *case_name(int nr)
{
	static char name[32];

	snprintf(name, sizeof(name), "%s,%s,%s", killer_name[nr / NR_MORE / NR_STATES],
		 state_name[nr / NR_MORE % NR_STATES], more_name[nr % NR_MORE]);
	return name;
}

/* Of the machine, in memory and in swap. */
static long long used(void)
{
	return meminfo("AnonPages:") + meminfo("PageTables:") +
	       meminfo("SwapTotal:") - meminfo("SwapFree:");
}

/* Of the victims. */
static long long held(void)
{
	static const char * const fields[] = { "RssAnon:", "VmPTE:", "VmSwap:" };
	long long sum = 0;
	char path[64];
	size_t i, j;

	for (i = 0; i < NR_VICTIMS; i++) {
		snprintf(path, sizeof(path), "/proc/%d/status", try.victims[i].pid);
		for (j = 0; j < sizeof(fields) / sizeof(*fields); j++)
			sum += field_bytes(path, fields[j]);
	}
	return sum;
}

static void be_victim(void *arg)
{
	size_t size = try.more == SPARSE ? SPARSE_SPAN : PLAIN_SIZE, i;
	size_t step = try.more == SPARSE ? HUGE_SIZE : getpagesize();
	struct victim *victim = arg;
	char *mem = map_aligned(size);

	madvise(mem, size, MADV_NOHUGEPAGE);
	oom_touch(mem, size, step);
	if (try.more != SPARSE && meminfo("SwapTotal:") > 0)
		for (i = 0; i < size; i += 2 * HUGE_SIZE)
			madvise(mem + i, HUGE_SIZE, MADV_PAGEOUT);
	must(oom_start_thread(), "cannot start a thread");
	must(cg_enter_current(victim->app), "cannot move to the app's cgroup");
	if (try.state == V1)
		must(cg_enter_current(try.cg->frozen), "cannot move to the freezer");
}

static void freeze_app(const char *app)
{
	must(cg_write(app, "cgroup.freeze", "1"), "cannot freeze");
	must(poll_until(!cg_read_strstr(app, "cgroup.events", "frozen 1")) ? 0 : -1,
	     "the freezer does not hold a victim");
}

static void start_victims(void)
{
	struct victim *victim;
	char name[16];
	int i;

	for (i = 0; i < NR_VICTIMS; i++) {
		victim = &try.victims[i];
		snprintf(name, sizeof(name), "app%d", i);
		victim->app = cg_name(try.cg->memcg, name);
		must(cg_create(victim->app), "cannot create a cgroup");
		victim->pid = start_process(try.cg, be_victim, victim);
		victim->pidfd = open_pidfd(victim->pid);
		if (try.more == READER) {
			victim->reader = oom_start_stuck_reader(try.cg, victim->pid);
			must(victim->reader, "cannot start a reader that is stuck");
		}
		if (try.state == V2)
			freeze_app(victim->app);
	}
	if (try.state == V1)
		must(oom_freeze(try.cg, 0), "cannot freeze");
}

static void end_victims(void)
{
	int i;

	must(oom_thaw(try.cg), "cannot thaw");
	for (i = 0; i < NR_VICTIMS; i++) {
		struct victim *victim = &try.victims[i];

		if (victim->reader) {
			kill(victim->reader, SIGKILL);
			waitpid(victim->reader, NULL, 0);
		}
		waitpid(victim->pid, NULL, 0);
		close(victim->pidfd);
		must(cg_destroy(victim->app), "cannot remove a cgroup");
		free(victim->app);
	}
}

/* ESRCH: it has exited. EAGAIN: an mmu notifier would block. Neither killer tries again. */
static void release(const struct victim *victim)
{
	int ret = oom_mrelease(victim->pidfd, 0);

	if (ret && ret != -ESRCH && ret != -EAGAIN)
		must(ret, "process_mrelease");
}

static int next_victim;

static void *lmkd_reaper(void *arg)
{
	struct victim *victim;
	char pid[16];
	int i;

	while ((i = __sync_fetch_and_add(&next_victim, 1)) < NR_VICTIMS) {
		victim = &try.victims[i];
		if (syscall(__NR_pidfd_send_signal, victim->pidfd, SIGKILL, NULL, 0))
			err(1, "pidfd_send_signal");
		/* It may have exited. */
		snprintf(pid, sizeof(pid), "%d", victim->pid);
		cg_write(try.cg->outside, "cgroup.procs", pid);
		setpriority(PRIO_PROCESS, victim->pid, -10);
		release(victim);
	}
	return arg;
}

static void *lmkd(void *arg)
{
	pthread_t reapers[NR_REAPERS];
	int i;

	next_victim = 0;
	for (i = 0; i < NR_REAPERS; i++)
		if (pthread_create(&reapers[i], NULL, lmkd_reaper, NULL))
			errx(1, "cannot start a thread");
	for (i = 0; i < NR_REAPERS; i++)
		pthread_join(reapers[i], NULL);
	return arg;
}

static void *oomd(void *arg)
{
	int i;

	for (i = 0; i < NR_VICTIMS; i++)
		must(cg_write(try.victims[i].app, "cgroup.kill", "1"), "cgroup.kill");
	for (i = 0; i < NR_VICTIMS; i++)
		release(&try.victims[i]);
	return arg;
}

static void result(const char *metric, double value)
{
	if (try.run >= 0)
		printf("R\tkillers\t%s,%s,%s\t%d\t-\t%s\t%.3f\n", killer_name[try.killer],
		       state_name[try.state], more_name[try.more], try.run, metric, value);
}

static void one_try(struct oom_cgroups *cg, void *arg)
{
	long long there, most;
	pthread_t thread;
	double start, at;
	bool back;

	try.cg = cg;
	start_victims();
	there = held();
	if (there < (long long)(NR_VICTIMS * PLAIN_SIZE * 9 / 10))
		errx(1, "the victims have %lld MiB only", there >> 20);
	most = used() - there * 9 / 10;
	start = now_us();
	if (pthread_create(&thread, NULL, try.killer == LMKD ? lmkd : oomd, NULL))
		errx(1, "cannot start a thread");
	back = poll_for(GIVE_UP_MS, used() <= most);
	at = now_us() - start;
	pthread_join(thread, NULL);
	result("back", back ? at : GIVE_UP_MS * 1e3);
	result("second", !back || at > SECOND_KILL_MS * 1e3);
	end_victims();
}

static const char usage[] =
	"usage: killers [-r RUNS] [-c CASE ...]\n"
	"  -r  runs of each case (3)\n"
	"  -c  run only this case; can be repeated. CASE is KILLER,STATE,MORE:\n"
	"      lmkd|oomd, running|v1|v2, plain|sparse|reader";

int main(int argc, char **argv)
{
	bool chosen[NR_CASES];
	int runs = choose_cases(argc, argv, NR_CASES, case_name, chosen, usage), nr;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (try.run = -1; try.run < runs; try.run++) {
		for (nr = 0; nr < NR_CASES; nr++) {
			if (!chosen[nr])
				continue;
			try.killer = nr / NR_MORE / NR_STATES;
			try.state = nr / NR_MORE % NR_STATES;
			try.more = nr % NR_MORE;
			with_cgroups(false, one_try, NULL);
			if (try.run < 0)
				break;
		}
	}
	return 0;
}
