// SPDX-License-Identifier: GPL-2.0
/* The processes of real_oom; what they are is said there. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "real_tasks.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define STACK_SIZE (64UL << 10)

/* With so much left until the OOM, the allocator begins to go page by page. */
#define NEAR (48 * MiB)

static char *map(size_t size, int flags)
{
	char *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);

	if (mem == MAP_FAILED)
		return NULL;
	if (!(flags & MAP_HUGETLB))
		madvise(mem, size, MADV_NOHUGEPAGE);
	return mem;
}

/* The same, from where a huge page could begin. */
static char *map_aligned(size_t size)
{
	char *mem = map(size + HUGE_SIZE, MAP_PRIVATE);

	return mem ? mem + (-(uintptr_t)mem & (HUGE_SIZE - 1)) : NULL;
}

static int populate(size_t size, int flags)
{
	char *mem = map(size, flags);

	return mem && !madvise(mem, size, MADV_POPULATE_WRITE) ? 0 : -errno;
}

static int populate_sparse(void)
{
	char *mem = map_aligned(SPARSE_SPAN);
	size_t i;

	if (!mem)
		return -errno;
	for (i = 0; i < SPARSE_SPAN; i += HUGE_SIZE)
		mem[i] = 1;
	return 0;
}

static int map_all(int more)
{
	size_t size = PRIVATE_SIZE;
	int ret = 0;

	if (more == SHMEM)
		ret = populate(SHMEM_SIZE, MAP_SHARED);
	if (more == HUGETLB)
		ret = populate(HUGETLB_SIZE, MAP_PRIVATE | MAP_HUGETLB);
	if (more == SPARSE) {
		ret = populate_sparse();
		size -= SPARSE_SIZE;
	}
	return ret ?: populate(size, MAP_PRIVATE);
}

static atomic_int victim_runs;

static int victim(void *arg)
{
	struct try *try = arg;
	int ret = oom_cgroup_attach(try->cg.run, 0);

	victim_runs = ret ?: 1;
	for (;;)
		pause();
	return 0;
}

/*
 * The elder of the pair, with the victim as its child, or as its sibling. Of two
 * that are equally bad the OOM killer takes the one that it comes to last: in
 * the list of all tasks the younger one; in a memory cgroup one whose combination
 * of cgroups came into being later, hence nobody may be in cg.run before.
 */
int real_pair(void *arg)
{
	struct try *try = arg;
	int flags = CLONE_VM | SIGCHLD, ret = oom_pin_cpu(0);
	char *stack = map(STACK_SIZE, MAP_PRIVATE);

	if (!stack)
		return -errno;
	if (!ret)
		ret = oom_set_score_adj(1000);
	if (!ret)
		ret = map_all(try->cell->more);
	if (!ret)
		ret = oom_cgroup_attach(try->cg.frozen, 0);
	if (ret)
		return ret;
	if (try->cell->parent == REAPED)
		flags |= CLONE_PARENT;
	if (clone(victim, stack + STACK_SIZE, flags, try) < 0)
		return -errno;
	while (!victim_runs)
		oom_poll_pause();
	return victim_runs < 0 ? victim_runs : 0;
}

int real_bystander(void *arg)
{
	(void)arg;
	return oom_set_score_adj(0) ?: populate(BYSTANDER_SIZE, MAP_PRIVATE);
}

/* How far it is to an OOM. */
static long long room(struct try *try)
{
	long long usage;

	if (try->cell->where == GLOBAL)
		return oom_figure_kb("/proc/meminfo", "MemAvailable");
	usage = oom_mem_usage(&try->cg);
	return usage < 0 ? usage : (long long)LIMIT - usage;
}

static double now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}

/* In huge pages at first, which takes less time. */
int real_allocator(void *arg)
{
	struct try *try = arg;
	long long quick = room(try) - (long long)NEAR;
	size_t page = getpagesize(), i = 0;
	char *mem = map_aligned(try->want);
	double prev, now, max = 0;

	if (!mem || oom_pin_cpu(1))
		return -errno;
	if (quick > 0) {
		i = quick & -HUGE_SIZE;
		madvise(mem, i, MADV_HUGEPAGE);
		if (madvise(mem, i, MADV_POPULATE_WRITE))
			return -errno;
	}
	prev = now_us();
	for (; i < try->want; i += page) {
		mem[i] = 1;
		now = now_us();
		if (now - prev > max)
			max = now - prev;
		prev = now;
	}
	try->stall = max;
	return 0;
}
