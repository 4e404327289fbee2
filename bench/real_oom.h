/* SPDX-License-Identifier: GPL-2.0 */
/* The parts of real_oom; real_oom.c explains the terms. */
#ifndef _BENCH_REAL_OOM_H
#define _BENCH_REAL_OOM_H

#include "measure.h"

#define PRIVATE_SIZE (300 * MiB)
#define SHMEM_SIZE (120 * MiB)
#define SPARSE_SPAN (40960 * MiB)
#define SPARSE_SIZE (SPARSE_SPAN / HUGE_SIZE * 4096)
#define HUGETLB_SIZE (64 * MiB)
#define NR_BYSTANDERS 3
#define BYSTANDER_SIZE (40 * MiB)

/* Of the memory cgroup; 1 GiB has room for it and for the rest of the system. */
#define LIMIT (720 * MiB)

enum { GLOBAL, MEMCG };
enum { REAPED, ZOMBIE };
enum { PLAIN, SHMEM, SPARSE, HUGETLB, FIFO, NR_MORE };
enum { UNFROZEN, FROZEN, NR_MODES };

struct cell {
	int where, parent, more;
	char name[32];
};

/* One try. In memory that its processes share. */
struct try {
	const struct cell *cell;
	int run, mode;
	struct oom_cgroups *cg;
	pid_t bystander[NR_BYSTANDERS];
	long long available;	/* in the machine, at first */
	long long want;		/* of the allocator */
	long stall;		/* longest time between two of its pages, in ms */
};

/* ---- real_tasks.c: for start_process() ---- */

/* Has to be the first in its cgroups: see there. */
void real_pair(void *arg);
void real_bystander(void *arg);
void real_allocator(void *arg);

/* ---- real_left.c ---- */

enum { ANON, PAGETABLES, SHARED, HUGE, NR_LEFT };

/*
 * What there is of the kinds of memory that the pair could leave, without what
 * bystanders and allocator (0: there is none) have.
 */
void look(const struct try *try, pid_t allocator, long long *there);
/* Wait until nothing is left, but not long; returns the sum of what is. */
long long look_left(const struct try *try, pid_t allocator,
		    const long long *before, long long *left);
void set_hugepages(int nr);
void wait_available(long long size);

#endif /* _BENCH_REAL_OOM_H */
