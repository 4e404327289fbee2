/* SPDX-License-Identifier: GPL-2.0 */
/* What needless and chance share: kinds of memory, and processes in cgroups. */
#ifndef _BENCH_KINDS_H
#define _BENCH_KINDS_H

#include <stddef.h>
#include <sys/types.h>

enum {
	PRIVATE,	/* anonymous memory in small pages */
	SHARED,		/* MAP_SHARED and MAP_ANONYMOUS */
	HALF_SHARED,	/* half of it is PRIVATE, the rest SHARED */
	MEMFD,		/* mapped */
	TMPFS,		/* an unlinked file, open, written, and not mapped */
	PIPES,		/* full ones of 1 MiB */
	TABLES,		/* half of it is page tables, with one page in each */
	ZEROES,		/* all of it is page tables, with the zero page in each */
	HUGE_PAGES,	/* transparent ones */
	LOCKED,		/* with mlock() */
	SWAPPED,	/* half of it is in swap, if there is any */
	NR_KINDS,
};

extern const char * const kind_name[NR_KINDS];

/* Have the caller fill @size bytes of memory of that kind, for the rest of its life. */
void fill(int kind, size_t size);

/* start_process() in any cgroup. */
pid_t start_in(char *cgroup, void (*setup)(void *arg), void *arg);

/* Have the caller get threads. With them, end_main_thread() of the process works. */
void start_threads(int nr);
void end_main_thread(pid_t pid);

/*
 * A process with the oom_score_adj of the caller that touches @size bytes when told to.
 * It has @filled bytes already.
 */
struct allocator {
	size_t size, filled;
	pid_t pid;
	char *mem;
	int stall[2];
};

void start_allocator(struct allocator *allocator, char *cgroup, size_t size, size_t filled);
/* Tell it, wait for it, and return the longest time between two pages, in us. */
double allocate(struct allocator *allocator);
void end_allocator(struct allocator *allocator);

/* End the program with a message if it runs longer. @what: it is doing that. */
void set_deadline(int seconds, const char *what);

#endif /* _BENCH_KINDS_H */
