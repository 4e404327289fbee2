// SPDX-License-Identifier: GPL-2.0
/*
 * real_oom - what an OOM costs where a process that shares the victim's mm is frozen
 *
 * Usage: real_oom [-r RUNS] [-c CASE ...]; see usage. Needs root, and a disposable
 * machine with 1 GiB, two CPUs and no swap.
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
 *   fifo     as plain; the allocator is a SCHED_FIFO task on the pair's CPU
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
#include <err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "real_oom.h"

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

static const char * const where_name[] = { "global", "memcg" };
static const char * const parent_name[] = { "reaped", "zombie" };
static const char * const more_name[] = { "plain", "shmem", "sparse", "hugetlb", "fifo" };
static const char * const mode_name[] = { "unfrozen", "frozen" };
static const char * const left_name[] = { "left_anon", "left_pagetables",
					  "left_shmem", "left_hugetlb" };

static struct cell cells[2 * 2 * NR_MORE];

/* Run -1 is the warm-up. */
static void result(const struct try *try, const char *metric, double value)
{
	if (try->run >= 0)
		printf("R\treal\t%s\t%d\t%s\t%s\t%.3f\n", try->cell->name,
		       try->run, mode_name[try->mode], metric, value);
}

static void report(const struct try *try, pid_t allocator,
		   const long long *before)
{
	long long left[NR_LEFT], sum = look_left(try, allocator, before, left);
	int i, killed = 0;

	for (i = 0; i < NR_BYSTANDERS; i++)
		killed += oom_is_dead(try->bystander[i]);
	result(try, "stall", try->stall * 1e3);
	result(try, "bystanders", killed);
	for (i = 0; i < NR_LEFT; i++)
		result(try, left_name[i], left[i] / 1024.0);
	result(try, "left_kib", sum / 1024.0);
}

/* The parent that waits at once. */
static void *wait_thread(void *arg)
{
	while (wait(NULL) > 0)
		;
	return arg;
}

static void one_try(struct oom_cgroups *cg, void *arg)
{
	struct try *try = arg;
	long long before[NR_LEFT];
	pthread_t waiter;
	int i;

	try->cg = cg;
	/* A zombie whose parent has exited is for the thread that waits. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	memset(try->bystander, 0, sizeof(try->bystander));
	look(try, 0, before);
	if (try->cell->where == MEMCG)
		must(oom_set_limit(cg, LIMIT), "no limit");
	start_process(cg, real_pair, try);
	for (i = 0; i < NR_BYSTANDERS; i++)
		try->bystander[i] = start_process(cg, real_bystander, try);
	if (try->mode == FROZEN)
		must(oom_freeze(cg, 0), "cannot freeze");
	if (pthread_create(&waiter, NULL, wait_thread, NULL))
		errx(1, "cannot start a thread");
	report(try, start_process(cg, real_allocator, try), before);
}

static void run_try(struct try *try)
{
	long long huge = try->cell->more == HUGETLB ? HUGETLB_SIZE : 0;

	if (huge)
		set_hugepages(huge / HUGE_SIZE);
	wait_available(try->available - huge - CPU_LISTS);
	try->want = try->cell->where == MEMCG ? LIMIT : try->available - huge;
	try->want -= NR_BYSTANDERS * BYSTANDER_SIZE + SLACK;
	with_cgroups(true, one_try, try);
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

static const char *cell_name(int nr)
{
	return cells[nr].name;
}

static const char usage[] =
	"usage: real_oom [-r RUNS] [-c CASE ...]\n"
	"  -r  runs of each case (3)\n"
	"  -c  run only this case; can be repeated. CASE is WHERE,PARENT,MORE:\n"
	"      global|memcg, reaped|zombie, plain|shmem|sparse|hugetlb|fifo\n"
	"It forces OOMs of the whole machine: use a disposable machine.";

int main(int argc, char **argv)
{
	struct try *try = mmap(NULL, sizeof(*try), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	bool chosen[4 * NR_MORE];
	int nr = all_cells(), i, m;
	int runs = choose_cases(argc, argv, nr, cell_name, chosen, usage);

	setvbuf(stdout, NULL, _IOLBF, 0);
	must(oom_set_score_adj(-1000), "oom_score_adj");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	pin_cpu(0);
	try->available = meminfo("MemAvailable:");
	if (try->available < LIMIT + HUGETLB_SIZE + SLACK)
		errx(1, "too little memory: %lld MiB", try->available >> 20);
	for (try->run = -1; try->run < runs; try->run++) {
		for (i = 0; i < nr; i++) {
			if (!chosen[i])
				continue;
			try->cell = &cells[i];
			for (m = 0; m < NR_MODES; m++) {
				try->mode = (try->run + 1 + m) % NR_MODES;
				run_try(try);
			}
			if (try->run < 0)
				break;
		}
	}
	return 0;
}
