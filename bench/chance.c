// SPDX-License-Identifier: GPL-2.0
/*
 * chance - random OOMs from a printed seed; nobody may die while what is dying is enough
 *
 * Usage: chance [-s SEED] [-n OOMS] [-g]; see usage. Needs root and 1 GiB. Where there
 * is swap, some memory is swapped out. OOMs are those of memory cgroups; with -g, every
 * other one is an OOM of the whole machine, and vm.percpu_pagelist_high_fraction is set:
 * use a disposable machine.
 *
 * OOM number i follows from the seed SEED + i: up to eight processes with random
 * memory (see kinds.h), threads, main thread, freezer (v1 or v2), oom_score_adj and
 * place in these cgroups, and where the limit is (top or b), which of a, b, c and d
 * have memory.oom.group, and which of a, c and d are frozen:
 *
 *   top -+- a
 *        `- b -+- c
 *              |- d
 *              `- room, for the task that needs memory
 *
 * Then a task needs memory beyond the limit (with -g, beyond what the machine has), or
 * the limit is lowered. Some processes are killed by userspace, at a random moment from
 * 20 ms before that to 20 ms after.
 *
 * What each process holds is measured when it starts. A kill is needless if those that
 * the OOM killer has killed before it, and those that have exited by themselves as far
 * as their mm, hold what is wanted, and SLACK more. Who has to be killed together, by
 * memory.oom.group, is looked at once. The order is that of the trace events
 * oom:mark_victim, and sched:sched_process_exit of a process's last thread.
 *
 * Prints a line for each figure, tab-separated, as oom_bench does:
 *
 *   R  chance  all  SEED  MODE  METRIC  VALUE
 *
 * ooms, how many were forced; kills, by the OOM killer, a memory.oom.group as one;
 * needless, how many of these were; late, in how many OOMs somebody waited for more
 * than LATE_MS; stall, the longest time between two pages of that task, or that
 * the write of the limit took, in us; its line has the seed of that OOM.
 * What went wrong, and its seed, go to stderr: "-s SEED -n 1" repeats that OOM.
 *
 * Exit: 0; 1 needless kills, or late, or something went wrong, and stderr says what.
 */
#include <err.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup_util.h"
#include "kinds.h"
#include "oom_bench.h"

#define NR_PROCS 8
/* Page tables and kernel stacks of who exits, and what each CPU keeps of a charge. */
#define SLACK (8 * MiB + sysconf(_SC_NPROCESSORS_CONF) * MiB / 4)
/* Reserves, and free pages in the lists of the CPUs, which MemAvailable does not know. */
#define GLOBAL_SLACK (64 * MiB)
/* For what the OOM itself charges, such as page tables of the task that needs memory. */
#define FREE_SIZE (2 * MiB)

/*
 * A wait for a page, or for the write of the limit, may take OOM_REAPER_DELAY, which is
 * 2 s, and a second for exits; the rest is for emulators. OOM_DEADLINE_MS is for all.
 */
#define LATE_MS 10000

/* When memory is needed, after the start; in us. Kills come up to 20 ms before or after. */
#define OOM_AT 20000
/* A search for a victim has ended that long after its begin, with its report, in us. */
#define SEARCH_US 20000

enum { TOP, A, B, C, D, ROOM, NR_PLACES };
static const char * const place_name[] = { "top", "a", "b", "c", "d", "room" };
static const char * const place_path[] = { "", "a", "b", "b/c", "b/d", "b/room" };

static struct scenario {
	unsigned long long seed;
	int nr;
	struct proc {
		int kind, threads, place, adj;
		size_t size;
		bool no_leader, v1;
		double kill_at;		/* by userspace, in us after the start; -1: not */
		/* What comes of it. */
		pid_t pid;
		long held;
		double killing, killed;	/* by userspace, before and after kill(); 0: not */
		double marked;		/* by the OOM killer */
		bool with_group;	/* it has to be, as another one was */
		int exits;		/* of its threads */
		double gone;		/* its mm, since all of them have exited */
	} proc[NR_PROCS];
	bool group[NR_PLACES], v2[NR_PLACES];
	int limit;			/* TOP or B */
	bool lower;			/* the limit; else somebody needs memory */
	bool global;			/* an OOM of the whole machine */
	int percent;			/* of all that is there is wanted */
	/* While it runs. */
	struct oom_cgroups *cg;
	char *path[NR_PLACES];
	struct allocator allocator;
	long wanted, max;
	double start, end, stall;
	atomic_bool served;
	bool failed;
} sc;

static struct sums {
	int ooms, kills, needless, late;
	double stall;
	unsigned long long slowest;
} *sums;

static uint64_t state;
static bool also_global;
static long available;			/* in the idle machine, with -g */

/* Splitmix64. */
static unsigned int chance(unsigned int below)
{
	uint64_t z = (state += 0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return (z ^ (z >> 31)) % below;
}

static bool in_limit(const struct proc *proc)
{
	return sc.limit == TOP || proc->place != A;
}

static void draw_proc(struct proc *proc, size_t *room)
{
	static const int places[] = { A, C, D };

	proc->kind = chance(NR_KINDS);
	proc->size = (4 + chance(31) * 2) * MiB;
	if (proc->size > *room)
		proc->size = 4 * MiB;
	*room -= proc->size;
	proc->threads = chance(2) ? chance(9) : 0;
	proc->no_leader = !chance(3) && proc->threads;
	proc->place = places[chance(3)];
	proc->adj = (int)chance(1901) - 900;
	/* Who is in the v1 freezer never gets to that of v2. */
	proc->v1 = !chance(4) && !sc.v2[proc->place];
	proc->kill_at = chance(4) ? -1 : (int)chance(2 * OOM_AT);
}

static void draw(unsigned long long seed)
{
	/* The OOM has to be one of the cgroup. */
	size_t room = meminfo("MemTotal:") * 4 / 10;
	bool any = false;
	int i;

	memset(&sc, 0, sizeof(sc));
	sc.seed = state = seed;
	sc.nr = 1 + chance(NR_PROCS);
	for (i = A; i <= D; i++) {
		sc.group[i] = !chance(5);
		sc.v2[i] = !chance(5) && i != B;
	}
	sc.limit = chance(3) ? TOP : B;
	sc.lower = chance(2);
	sc.percent = 3 + chance(83);
	for (i = 0; i < sc.nr; i++) {
		draw_proc(&sc.proc[i], &room);
		any |= in_limit(&sc.proc[i]);
	}
	if (!any)
		sc.limit = TOP;
	sc.global = also_global && chance(2);
	if (!sc.global)
		return;
	sc.limit = TOP;
	sc.lower = false;
	/* With less, it may not come to an OOM. */
	sc.percent = 50 + sc.percent / 3;
	/* Others in the machine have 0. */
	for (i = 0; i < sc.nr; i++)
		sc.proc[i].adj = 50 + (sc.proc[i].adj + 900) / 2;
}

static void be_proc(void *arg)
{
	struct proc *proc = arg;
	char name[16];

	/* Threads get it, too. */
	snprintf(name, sizeof(name), "chance-%d", (int)(proc - sc.proc));
	prctl(PR_SET_NAME, name);
	fill(proc->kind, proc->size);
	start_threads(proc->threads);
	if (proc->v1)
		must(cg_enter_current(sc.cg->frozen), "cannot move to the freezer");
	must(oom_set_score_adj(proc->adj), "oom_score_adj");
}

static void make_cgroups(void)
{
	int i;

	sc.path[TOP] = sc.cg->memcg;
	for (i = TOP; i < NR_PLACES; i++) {
		if (i > TOP) {
			sc.path[i] = cg_name(sc.path[TOP], place_path[i]);
			must(cg_create(sc.path[i]), "cannot create a cgroup");
		}
		if (i == TOP || i == B)
			must(cg_write(sc.path[i], "cgroup.subtree_control", "+memory"),
			     "no child cgroups");
		if (sc.group[i])
			must(cg_write(sc.path[i], "memory.oom.group", "1"), "no oom.group");
	}
}

static void start_all(void)
{
	long before, held = 0;
	struct proc *proc;
	int i;

	for (proc = sc.proc; proc < sc.proc + sc.nr; proc++) {
		before = cg_read_long(sc.path[proc->place], "memory.current");
		proc->pid = start_in(sc.path[proc->place], be_proc, proc);
		if (proc->no_leader)
			end_main_thread(proc->pid);
		proc->held = cg_read_long(sc.path[proc->place], "memory.current") - before;
		if (in_limit(proc))
			held += proc->held;
	}
	sc.wanted = held / 100 * sc.percent;
	if (!sc.lower)
		start_allocator(&sc.allocator, sc.path[ROOM], sc.wanted + FREE_SIZE,
				sc.global ? available - held - GLOBAL_SLACK : 0);
	must(oom_freeze(sc.cg, 0), "cannot freeze");
	for (i = A; i <= D; i++) {
		if (!sc.v2[i])
			continue;
		must(cg_write(sc.path[i], "cgroup.freeze", "1"), "cannot freeze");
		must(poll_until(!cg_read_strstr(sc.path[i], "cgroup.events", "frozen 1")) ?
		     0 : -1, "the freezer does not hold a cgroup");
	}
	/* No more of it can be swapped out now. */
	cg_write(sc.path[sc.limit], "memory.swap.max", "0");
	sc.max = cg_read_long(sc.path[sc.limit], "memory.current") +
		 (sc.lower ? -sc.wanted : FREE_SIZE);
	if (!sc.lower && !sc.global)
		must(cg_write_numeric(sc.path[sc.limit], "memory.max", sc.max), "no limit");
}

static void *need_memory(void *arg)
{
	double start;

	usleep(OOM_AT);
	start = now_us();
	if (sc.lower)
		must(cg_write_numeric(sc.path[sc.limit], "memory.max", sc.max), "no limit");
	else
		sc.stall = allocate(&sc.allocator);
	sc.end = now_us();
	if (sc.lower)
		sc.stall = sc.end - start;
	sc.served = true;
	return arg;
}

/* Kill those whose time has come; returns whether there are no more. */
static bool kill_due(void)
{
	struct proc *proc;
	bool all = true;

	for (proc = sc.proc; proc < sc.proc + sc.nr; proc++) {
		if (proc->kill_at < 0 || proc->killed)
			continue;
		all = false;
		if (now_us() < sc.start + proc->kill_at)
			continue;
		proc->killing = now_us();
		kill(proc->pid, SIGKILL);
		proc->killed = now_us();
	}
	return all;
}

static void describe(void)
{
	struct proc *proc;
	int i;

	fprintf(stderr, "  limit of %s %s from %.1f to %.1f ms, stall %.1f ms; oom.group:",
		sc.global ? "the machine" : place_name[sc.limit], sc.lower ? "lowered" : "hit",
		OOM_AT / 1e3, (sc.end - sc.start) / 1e3, sc.stall / 1e3);
	for (i = A; i <= D; i++)
		if (sc.group[i])
			fprintf(stderr, " %s", place_name[i]);
	for (proc = sc.proc; proc < sc.proc + sc.nr; proc++) {
		fprintf(stderr, "\n  chance-%d: %ld of %ld MiB of %s in %s, adj %d, %d threads%s%s",
			(int)(proc - sc.proc), proc->held / MiB, proc->size / MiB,
			kind_name[proc->kind], place_name[proc->place], proc->adj,
			proc->threads, proc->no_leader ? " without main thread" : "",
			proc->v1 ? ", frozen (v1)" : sc.v2[proc->place] ? ", frozen (v2)" : "");
		if (proc->killed)
			fprintf(stderr, ", killed at %.1f ms", (proc->killed - sc.start) / 1e3);
		if (proc->gone)
			fprintf(stderr, ", exited at %.1f ms", (proc->gone - sc.start) / 1e3);
		if (proc->marked)
			fprintf(stderr, ", OOM killed at %.1f ms",
				(proc->marked - sc.start) / 1e3);
	}
	fprintf(stderr, "\n");
}

#define failed(format, ...) do {						\
	sc.failed = true;							\
	fprintf(stderr, "chance: seed %llu: " format "; wanted: %.1f MiB\n",	\
		sc.seed, ##__VA_ARGS__, (double)sc.wanted / MiB);		\
} while (0)

static void run_oom(void)
{
	pthread_t thread;
	bool late;
	int i;

	sc.start = now_us();
	if (pthread_create(&thread, NULL, need_memory, NULL))
		errx(1, "cannot start a thread");
	poll_until(kill_due());
	late = !poll_until(sc.served);
	must(oom_thaw(sc.cg), "cannot thaw");
	for (i = A; i <= D; i++)
		if (sc.v2[i])
			must(cg_write(sc.path[i], "cgroup.freeze", "0"), "cannot thaw");
	/* That ends it. */
	for (i = 0; late && i < sc.nr; i++) {
		kill(sc.proc[i].pid, SIGKILL);
		sc.proc[i].killed = sc.proc[i].killed ?: now_us();
	}
	pthread_join(thread, NULL);
	if (!late && sc.stall < LATE_MS * 1e3)
		return;
	sums->late++;
	failed("late");
}

/* Who is killed by memory.oom.group together with those of that place; 0: only it. */
static int group_of(int place)
{
	if (place != A && sc.group[B])
		return B;
	return sc.group[place] ? place : 0;
}

/* The OOM killer marked that one: who else dies, and did it have to? */
static void judge(struct proc *proc, double at)
{
	int group = group_of(proc->place);
	struct proc *other;
	long enough = 0;

	for (other = sc.proc; other < sc.proc + sc.nr; other++)
		if (in_limit(other) &&
		    (other->marked || (other->gone && other->gone + SEARCH_US < at)))
			enough += other->held;
	proc->marked = at;
	if (proc->with_group)
		return;
	/* Userspace killed it: it only gets help to exit. */
	if (proc->killing && proc->killing + SEARCH_US < at)
		return;
	for (other = sc.proc; group && other < sc.proc + sc.nr; other++)
		other->with_group |= group_of(other->place) == group;
	/* The same, but perhaps the OOM killer had taken it already. */
	if (proc->killing && proc->killing < at)
		return;
	sums->kills++;
	if (enough < sc.wanted + SLACK)
		return;
	sums->needless++;
	failed("chance-%d was killed at %.1f ms, when %.1f MiB were dying",
	       (int)(proc - sc.proc), (at - sc.start) / 1e3, (double)enough / MiB);
}

static void judge_all(void)
{
	char *line, *save, *comm;
	struct proc *proc;
	double at;
	int i;

	for (line = strtok_r(trace_read(), "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		comm = strstr(line, "comm=chance-");
		i = comm ? atoi(comm + strlen("comm=chance-")) : sc.nr;
		if (i >= sc.nr)
			continue;
		proc = &sc.proc[i];
		at = trace_time(line, "sched_process_exit", 0);
		if (at >= 0 && ++proc->exits == proc->threads + !proc->no_leader)
			proc->gone = at;
		at = trace_time(line, "mark_victim", 0);
		if (at >= 0 && !proc->marked)
			judge(proc, at);
	}
	for (proc = sc.proc; proc < sc.proc + sc.nr; proc++) {
		int status;

		kill(proc->pid, SIGTERM);
		if (waitpid(proc->pid, &status, 0) != proc->pid)
			err(1, "waitpid");
		if (status != SIGTERM && !proc->killed && !proc->marked)
			errx(1, "seed %llu: chance-%d has ended with status %d",
			     sc.seed, (int)(proc - sc.proc), status);
	}
	if (sc.failed)
		describe();
}

static void try_seed(struct oom_cgroups *cg, void *arg)
{
	char text[32];
	int i;

	draw(*(unsigned long long *)arg);
	snprintf(text, sizeof(text), "seed %llu", sc.seed);
	set_deadline(OOM_TEST_TIMEOUT_S, text);
	if (sc.global)
		must(poll_until(meminfo("MemAvailable:") > available - GLOBAL_SLACK / 2) ? 0 : -1,
		     "memory does not come back");
	sc.cg = cg;
	make_cgroups();
	start_all();
	trace_clear();
	run_oom();
	judge_all();
	if (!sc.lower)
		end_allocator(&sc.allocator);
	for (i = NR_PLACES - 1; i > TOP; i--)
		must(cg_destroy(sc.path[i]), "cannot remove a cgroup");
	sums->ooms++;
	if (sc.stall <= sums->stall)
		return;
	sums->stall = sc.stall;
	sums->slowest = sc.seed;
}

static void figure(unsigned long long seed, const char *metric, double value)
{
	printf("R\tchance\tall\t%llu\t-\t%s\t%.0f\n", seed, metric, value);
}

static const char usage[] =
	"usage: chance [-s SEED] [-n OOMS] [-g]\n"
	"  -s  the seed of the first OOM (1); the next has SEED + 1\n"
	"  -n  how many OOMs (50)\n"
	"  -g  also OOMs of the whole machine, which must be a disposable one without swap";

int main(int argc, char **argv)
{
	unsigned long long seed = 1, each;
	int nr = 50, c;

	while ((c = getopt(argc, argv, "s:n:gh")) != -1) {
		if (c == 's')
			seed = strtoull(optarg, NULL, 0);
		else if (c == 'n')
			nr = atoi(optarg);
		else if (c == 'g')
			also_global = true;
		else
			return c != 'h' || puts(usage) < 0;
	}
	if (nr < 1 || optind < argc)
		errx(1, "-n takes a number of OOMs, 1 or more; see -h");
	if (also_global && meminfo("SwapTotal:") > 0)
		errx(1, "-g needs a machine without swap");
	must(oom_set_score_adj(-1000), "oom_score_adj");
	/* Keeps these lists short: they can take an eighth of the memory, even in an OOM. */
	if (also_global)
		must(write_setting("/proc/sys/vm/percpu_pagelist_high_fraction", "1000"),
		     "percpu_pagelist_high_fraction");
	available = meminfo("MemAvailable:");
	sums = mmap(NULL, sizeof(*sums), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		    -1, 0);
	if (sums == MAP_FAILED)
		err(1, "no memory");
	must(write_setting(TRACE "trace_clock", "mono"), TRACE "trace_clock");
	trace_events("oom/mark_victim", true);
	trace_events("sched/sched_process_exit", true);
	for (each = seed; each < seed + nr; each++)
		with_cgroups(also_global, try_seed, &each);
	figure(seed, "ooms", sums->ooms);
	figure(seed, "kills", sums->kills);
	figure(seed, "needless", sums->needless);
	figure(seed, "late", sums->late);
	figure(sums->slowest, "stall", sums->stall);
	return sums->needless || sums->late;
}
