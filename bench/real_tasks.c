// SPDX-License-Identifier: GPL-2.0
/* The processes of real_oom; real_oom.c explains the terms. */
#include <err.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cgroup_util.h"
#include "real_oom.h"

/* With so much left until the OOM, the allocator begins to go page by page. */
#define NEAR (48 * MiB)

static char *map(size_t size, int flags)
{
	char *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_ANONYMOUS | MAP_NORESERVE | flags, -1, 0);

	if (mem == MAP_FAILED)
		err(1, "no memory");
	if (!(flags & MAP_HUGETLB))
		madvise(mem, size, MADV_NOHUGEPAGE);
	return mem;
}

static void populate(char *mem, size_t size)
{
	if (madvise(mem, size, MADV_POPULATE_WRITE))
		err(1, "MADV_POPULATE_WRITE");
}

static void map_all(int more)
{
	size_t size = PRIVATE_SIZE;

	if (more == SHMEM)
		populate(map(SHMEM_SIZE, MAP_SHARED), SHMEM_SIZE);
	if (more == HUGETLB)
		populate(map(HUGETLB_SIZE, MAP_PRIVATE | MAP_HUGETLB), HUGETLB_SIZE);
	if (more == SPARSE) {
		char *mem = map_aligned(SPARSE_SPAN);

		madvise(mem, SPARSE_SPAN, MADV_NOHUGEPAGE);
		oom_touch(mem, SPARSE_SPAN, HUGE_SIZE);
		size -= SPARSE_SIZE;
	}
	populate(map(size, MAP_PRIVATE), size);
}

static atomic_bool victim_runs;

static int victim(void *arg)
{
	struct try *try = arg;

	must(cg_enter_current(cg_name(try->cg->frozen, "..")),
	     "the victim cannot leave the freezer");
	victim_runs = true;
	return oom_wait_for_kill(NULL);
}

/*
 * The elder of the pair, with the victim as its child, or as its sibling. Of two
 * that are equally bad the OOM killer takes the one that it comes to last: in
 * the list of all tasks the younger one; in a memory cgroup one whose combination
 * of cgroups came into being later. Hence the victim goes back to the freezer's
 * root, with nobody else of the memory cgroup there: that combination is gone
 * since the elder left it, and is made anew.
 */
void real_pair(void *arg)
{
	struct try *try = arg;
	int flags = try->cell->parent == REAPED ? CLONE_PARENT : 0;

	pin_cpu(0);
	must(oom_set_score_adj(1000), "oom_score_adj");
	map_all(try->cell->more);
	must(cg_enter_current(try->cg->frozen), "cannot move to the freezer");
	must(oom_share_mm(victim, flags, try), "cannot start the victim");
	must(poll_until(victim_runs) ? 0 : -1, "the victim does not run");
}

void real_bystander(void *arg)
{
	must(oom_set_score_adj(0), "oom_score_adj");
	populate(map(BYSTANDER_SIZE, MAP_PRIVATE), BYSTANDER_SIZE);
}

/* How far it is to an OOM. */
static long long room(const struct try *try)
{
	if (try->cell->where == GLOBAL)
		return meminfo("MemAvailable:");
	return LIMIT - cg_read_long(try->cg->memcg, "memory.current");
}

/* In huge pages at first, which takes less time. */
void real_allocator(void *arg)
{
	struct try *try = arg;
	struct sched_param fifo = { .sched_priority = 1 };
	long long quick = (room(try) - NEAR) & -HUGE_SIZE;
	char *mem = map_aligned(try->want);

	madvise(mem, try->want, MADV_NOHUGEPAGE);
	pin_cpu(try->cell->more == FIFO ? 0 : 1);
	if (quick > 0) {
		madvise(mem, quick, MADV_HUGEPAGE);
		populate(mem, quick);
	} else {
		quick = 0;
	}
	if (try->cell->more == FIFO)
		must(sched_setscheduler(0, SCHED_FIFO, &fifo), "no SCHED_FIFO");
	try->stall = oom_touch(mem + quick, try->want - quick, getpagesize());
}
