/* SPDX-License-Identifier: GPL-2.0 */
/* The processes of real_oom; what they are is said there. */
#ifndef _BENCH_REAL_TASKS_H
#define _BENCH_REAL_TASKS_H

#include <stddef.h>
#include <sys/types.h>

#include "oom_util.h"

#define HUGE_SIZE (2 * MiB)

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
enum { PLAIN, SHMEM, SPARSE, HUGETLB, NR_MORE };

struct cell {
	int where, parent, more;
	char name[32];
};

/* One try. In memory that its processes share. */
struct try {
	const struct cell *cell;
	struct oom_cgroups cg;
	pid_t bystander[NR_BYSTANDERS];
	size_t available;	/* in the machine, at first */
	size_t want;		/* of the allocator */
	double stall;		/* longest time between two of its pages, in us */
};

/* For oom_spawn(). A pair has to be the first in its cgroups: see there. */
int real_pair(void *arg);
int real_bystander(void *arg);
int real_allocator(void *arg);

#endif /* _BENCH_REAL_TASKS_H */
