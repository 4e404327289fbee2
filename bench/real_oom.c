// SPDX-License-Identifier: GPL-2.0
/*
 * real_oom - what an OOM costs where a process that shares the victim's mm is frozen
 *
 * Usage: real_oom [-r RUNS] [-c CASE ...]; see usage(). Needs root and a machine
 * of its own with 1 GiB, two CPUs and no swap.
 *
 * The allocator (oom_score_adj -1000) touches page after page until it has all it
 * wants, which is more than there is. The best victim has 300 MiB of private
 * memory. Another process, its elder, shares its mm; the freezer (cgroup v1) holds
 * that one ("frozen") or does not ("unfrozen"). Three bystanders have 40 MiB each.
 *
 * A case is WHERE,PARENT,MORE:
 *   global   an OOM of the whole machine
 *   memcg    all of them are in a memory cgroup, which is at its limit
 *   reaped   the victim's parent waits for it at once
 *   zombie   it does not: it is the frozen process, as after posix_spawn()
 *   plain    nothing but private memory
 *   shmem    the mm also maps 120 MiB of shared memory that nobody else maps
 *   sparse   80 MiB of the private memory are a page in each 2 MiB of 40 GiB,
 *            which makes 80 MiB of page tables
 *   hugetlb  the mm also maps 64 MiB of huge pages from the pool
 *
 * Prints a line for each figure, tab-separated, as oom_bench does:
 *
 *   R  real  CASE  RUN  MODE  METRIC  VALUE
 *
 * stall is the longest time between two pages of the allocator, in us; bystanders,
 * how many of them were killed; left_anon, left_pagetables, left_shmem and
 * left_hugetlb, and left_kib, their sum: what is still there once the allocator
 * has all it wanted, in KiB. Modes take turns within a run, and begin with another
 * one in each. The first case is tried once before, without a figure.
 *
 * Exit: 0; 1 something went wrong, and stderr says what.
 */
#define _GNU_SOURCE
#include <err.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oom_util.h"
#include "real_tasks.h"

/*
 * The allocator wants all that there is without the pair, less the bystanders and
 * SLACK. That is 236 MiB more than there is beside the pair, so an OOM is
 * certain; and it is there once all of the pair's memory is back, so nobody else
 * has to die for it. Where 120 MiB of shared memory stay, two bystanders have to
 * die, for 80 MiB of page tables one. In the whole machine, up to 20 MiB of SLACK
 * are free pages in the lists of the other CPU, which an OOM does not empty.
 */
#define SLACK (64 * MiB)

/* Free pages in the lists of the CPUs, at most; MemAvailable is without them. */
#define CPU_LISTS (48 * MiB)

/* What is about to be freed is not left; what is there after that long is. */
#define SETTLE_MS 500
#define NOTHING_LEFT (256LL << 10)

enum { UNFROZEN, FROZEN, NR_MODES };
enum { ANON, PAGETABLES, SHARED, HUGE, NR_LEFT };

static const char * const where_name[] = { "global", "memcg" };
static const char * const parent_name[] = { "reaped", "zombie" };
static const char * const more_name[] = { "plain", "shmem", "sparse", "hugetlb" };
static const char * const mode_name[] = { "unfrozen", "frozen" };
static const char * const left_name[] = { "left_anon", "left_pagetables",
					  "left_shmem", "left_hugetlb" };

static struct cell cells[2 * 2 * NR_MORE];

/* For what returns a negative errno. */
static long long must(long long ret, const char *what)
{
	if (ret < 0)
		errx(1, "%s: %s", what, strerror(-ret));
	return ret;
}

static long long meminfo(const char *name)
{
	return must(oom_figure_kb("/proc/meminfo", name), name);
}

/* What a process has, of the field of its status; 0 if it is no more. */
static long long own(pid_t pid, const char *field)
{
	long long bytes;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	bytes = oom_figure_kb(path, field);
	return bytes > 0 ? bytes : 0;
}

/*
 * What there is of the kinds of memory that the pair could leave, without what
 * bystanders and allocator have; for the machine, for what is pinned may be in no
 * process's figures.
 */
static void look(struct try *try, pid_t allocator, long long *there)
{
	int i;

	/* Adds up the CPUs' shares of the counters. */
	oom_write("/proc/sys/vm/stat_refresh", "1");
	there[ANON] = meminfo("AnonPages") - own(allocator, "RssAnon");
	there[PAGETABLES] = meminfo("PageTables") - own(allocator, "VmPTE");
	for (i = 0; i < NR_BYSTANDERS; i++) {
		there[ANON] -= own(try->bystander[i], "RssAnon");
		there[PAGETABLES] -= own(try->bystander[i], "VmPTE");
	}
	there[SHARED] = meminfo("Shmem");
	there[HUGE] = (oom_figure("/proc/meminfo", "HugePages_Total") -
		       oom_figure("/proc/meminfo", "HugePages_Free")) *
		      (long long)HUGE_SIZE;
}

/* Returns the sum. */
static long long look_left(struct try *try, pid_t allocator,
			   const long long *before, long long *left)
{
	long long sum = 0;
	int i;

	look(try, allocator, left);
	for (i = 0; i < NR_LEFT; i++) {
		left[i] -= before[i];
		if (left[i] < 0)
			left[i] = 0;
		sum += left[i];
	}
	return sum;
}

/* Run -1 is the warm-up. */
static void result(const struct cell *cell, int run, int mode,
		   const char *metric, double value)
{
	if (run >= 0)
		printf("R\treal\t%s\t%d\t%s\t%s\t%.3f\n", cell->name, run,
		       mode_name[mode], metric, value);
}

static void report(struct try *try, int run, int mode, pid_t allocator,
		   const long long *before)
{
	long long left[NR_LEFT], sum, end = oom_now_ms() + SETTLE_MS;
	int i, killed = 0;

	do {
		oom_poll_pause();
		sum = look_left(try, allocator, before, left);
	} while (sum > NOTHING_LEFT && oom_now_ms() < end);
	for (i = 0; i < NR_BYSTANDERS; i++)
		killed += !!strchr("ZX", oom_task_state(try->bystander[i]));
	result(try->cell, run, mode, "stall", try->stall);
	result(try->cell, run, mode, "bystanders", killed);
	for (i = 0; i < NR_LEFT; i++)
		result(try->cell, run, mode, left_name[i], left[i] / 1024.0);
	result(try->cell, run, mode, "left_kib", sum / 1024.0);
}

static void set_hugepages(int nr)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", nr);
	must(oom_write("/proc/sys/vm/nr_hugepages", text), "nr_hugepages");
	if (oom_figure("/proc/meminfo", "HugePages_Total") != nr)
		errx(1, "cannot have %d huge pages", nr);
}

/* Page tables come back only with RCU's next grace period. */
static void wait_available(long long size)
{
	long long end = oom_now_ms() + OOM_DEADLINE_MS;

	while (meminfo("MemAvailable") < size) {
		if (oom_now_ms() > end)
			errx(1, "memory of the try before is not back");
		oom_poll_pause();
	}
}

/* The parent that waits at once, until it has no child any more. */
static void *wait_thread(void *arg)
{
	while (wait(NULL) > 0)
		;
	return arg;
}

static void one_try(struct try *try, int run, int mode)
{
	size_t huge = try->cell->more == HUGETLB ? HUGETLB_SIZE : 0;
	bool memcg = try->cell->where == MEMCG;
	const char *why = oom_cgroups_create(&try->cg, memcg);
	long long before[NR_LEFT];
	pthread_t waiter;
	pid_t pid;
	int i;

	if (why)
		errx(1, "%s", why);
	if (huge)
		set_hugepages(huge / HUGE_SIZE);
	wait_available(try->available - huge - CPU_LISTS);
	memset(try->bystander, 0, sizeof(try->bystander));
	look(try, 0, before);
	try->want = memcg ? LIMIT : try->available - huge;
	try->want -= NR_BYSTANDERS * BYSTANDER_SIZE + SLACK;
	if (memcg)
		must(oom_mem_set_limit(&try->cg, LIMIT), "limit");

	must(oom_spawn(&try->cg, real_pair, try), "cannot start the pair");
	for (i = 0; i < NR_BYSTANDERS; i++)
		try->bystander[i] = must(oom_spawn(&try->cg, real_bystander, NULL),
					 "cannot start a bystander");
	if (mode == FROZEN)
		must(oom_freeze(&try->cg), "freeze");
	if (pthread_create(&waiter, NULL, wait_thread, NULL))
		errx(1, "cannot start a thread");
	pid = must(oom_spawn(&try->cg, real_allocator, try),
		   "cannot start the allocator");
	report(try, run, mode, pid, before);

	must(oom_cgroups_destroy(&try->cg), "cannot remove the cgroups");
	pthread_join(waiter, NULL);
	if (huge)
		set_hugepages(0);
}

static int all_cells(void)
{
	int nr;

	for (nr = 0; nr < 4 * NR_MORE; nr++) {
		struct cell *cell = &cells[nr];

		cell->where = nr / 2 / NR_MORE;
		cell->more = nr / 2 % NR_MORE;
		cell->parent = nr % 2;
		snprintf(cell->name, sizeof(cell->name), "%s,%s,%s",
			 where_name[cell->where], parent_name[cell->parent],
			 more_name[cell->more]);
	}
	return nr;
}

static int find_cell(const char *name)
{
	int i;

	for (i = 0; i < 4 * NR_MORE; i++)
		if (!strcmp(cells[i].name, name))
			return i;
	errx(1, "no case '%s'", name);
}

static int usage(int status)
{
	puts("usage: real_oom [-r RUNS] [-c CASE ...]\n"
	     "  -r  runs of each case (3)\n"
	     "  -c  only this case, and others given so: WHERE,PARENT,MORE, of\n"
	     "      global|memcg, reaped|zombie, plain|shmem|sparse|hugetlb");
	return status;
}

int main(int argc, char **argv)
{
	struct try *try = mmap(NULL, sizeof(*try), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bool some = false, chosen[4 * NR_MORE] = { false };
	int nr = all_cells(), runs = 3, run, i, m, c;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((c = getopt(argc, argv, "r:c:h")) != -1) {
		if (c == 'r')
			runs = atoi(optarg);
		else if (c == 'c')
			some = chosen[find_cell(optarg)] = true;
		else
			return usage(c != 'h');
	}
	if (runs < 1 || optind < argc)
		return usage(1);
	must(oom_set_score_adj(-1000), "oom_score_adj");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	oom_pin_cpu(0);
	try->available = meminfo("MemAvailable");
	if (try->available < LIMIT + HUGETLB_SIZE + SLACK)
		errx(1, "too little memory: %zu MiB", try->available >> 20);
	for (run = -1; run < runs; run++) {
		for (i = 0; i < nr; i++) {
			if (some && !chosen[i])
				continue;
			try->cell = &cells[i];
			for (m = 0; m < NR_MODES; m++)
				one_try(try, run, (run + 1 + m) % NR_MODES);
			if (run < 0)
				break;
		}
	}
	return 0;
}
