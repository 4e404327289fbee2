// SPDX-License-Identifier: GPL-2.0
/* The processes that are killed, and the thread that kills and reaps them. */
#include <err.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oom_bench.h"

static void page_out(char *mem, size_t size)
{
	size_t off;

	for (off = 0; off < size; off += 2 * HUGE_SIZE)
		if (madvise(mem + off, HUGE_SIZE, MADV_PAGEOUT))
			err(1, "MADV_PAGEOUT");
	if (field_bytes("/proc/self/status", "VmSwap:") <
	    (long long)size * 2 / 5)
		errx(1, "too little was swapped out");
}

/* Pages of zeros would need no memory in zram. */
static void fill(char *mem, size_t size)
{
	size_t page = getpagesize(), i;

	for (i = 0; i < size; i += page)
		mem[i] = 1;
}

void map_mem(void *arg)
{
	const struct mem *m = arg;
	size_t page = getpagesize(), each = m->size / m->vmas & -page, i;
	char *mem;

	pin_cpu(m->cpu);
	must(oom_set_score_adj(m->adj), "oom_score_adj");
	mem = map_aligned(m->size);
	if (madvise(mem, m->size, opt.thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		err(1, "no such pages");
	/* In one call, because faults are slow in an emulator. */
	if (madvise(mem, m->size, MADV_POPULATE_WRITE))
		err(1, "MADV_POPULATE_WRITE");
	if (opt.swap)
		fill(mem, m->size);
	if (opt.thp && field_bytes("/proc/self/smaps_rollup",
				   "AnonHugePages:") < (long long)m->size * 9 / 10)
		errx(1, "got too few huge pages");
	/* Adjacent vmas with different protection do not merge. */
	for (i = 1; i < (size_t)m->vmas; i += 2)
		if (mprotect(mem + i * each, each, PROT_READ))
			err(1, "mprotect");
	if (opt.swap)
		page_out(mem, m->size);
}

double wait_gone(pid_t pid, double *cpu)
{
	struct rusage ru;

	if (wait4(pid, NULL, 0, &ru) != pid)
		err(1, "wait4");
	*cpu += ru.ru_utime.tv_sec * 1e6 + ru.ru_utime.tv_usec +
		ru.ru_stime.tv_sec * 1e6 + ru.ru_stime.tv_usec;
	return now_us();
}

/* Spins before the kill, so that no wakeup delays it. */
static void *caller_thread(void *arg)
{
	struct caller *c = arg;

	pin_cpu(1);
	c->ready = true;
	while (!c->go)
		;
	c->killed = now_us();
	kill(c->pid[0], SIGKILL);
	if (c->mode == HALVES)
		kill(c->pid[1], SIGKILL);
	if (c->mode == MRELEASE) {
		c->cpu = clock_us(CLOCK_THREAD_CPUTIME_ID);
		c->ret = oom_mrelease(c->pidfd, 0);
		c->cpu = clock_us(CLOCK_THREAD_CPUTIME_ID) - c->cpu;
		c->done = now_us();
	}
	return NULL;
}

void start_caller(struct caller *c)
{
	c->pidfd = open_pidfd(c->pid[0]);
	if (pthread_create(&c->thread, NULL, caller_thread, c) ||
	    !poll_until(c->ready))
		errx(1, "cannot start a thread");
}

int end_caller(struct caller *c)
{
	pthread_join(c->thread, NULL);
	close(c->pidfd);
	return c->ret;
}
