// SPDX-License-Identifier: GPL-2.0
/*
 * The order in which process_mrelease(2), and with it the OOM reaper, walks an
 * address space, that the walk misses nothing, and that it ends when
 * exit_mmap() has been through.
 *
 * The process that is reaped has a SIGKILL pending, and the v1 freezer keeps
 * it from exiting, so that its pagemap can be watched meanwhile.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "oom_util.h"

#ifndef FIXTURE_TEARDOWN_PARENT
#define FIXTURE_TEARDOWN_PARENT(name) FIXTURE_TEARDOWN(name)
#endif

/* Large enough to be watched, and a multiple of any huge page. */
#define BIG_SIZE (128 * MiB)
#define NR_VMAS 64
#define NR_SMALL 16384
/* What exit_mmap() leaves charged until it has the lock: vmas, page tables. */
#define SMALL_LEFT (24 * MiB)

/* How often to try again where the other side was too fast to be seen. */
#define MAX_ROUNDS 10

#define MAX_AREAS 8

/* Page tables of a sparse mapping: 16 GiB with pages of 4 KiB. */
#define NR_TABLES 8192

/* Memory of the process that is reaped, which the test does not share. */
struct areas {
	int nr;
	struct {
		char *start;
		size_t size;
	} area[MAX_AREAS];
};

FIXTURE(walk)
{
	struct oom_cgroups cg;
	struct areas *areas;
	pid_t pid;
	int pidfd;
	int pagemap;
};

FIXTURE_SETUP(walk)
{
	const char *why;

	self->areas = mmap(NULL, sizeof(*self->areas), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(self->areas, MAP_FAILED);
	why = oom_cgroups_create(&self->cg, true);
	if (why)
		SKIP(return, "%s", why);
	if (!oom_have_mrelease())
		SKIP(return, "no process_mrelease(2)");
}

FIXTURE_TEARDOWN_PARENT(walk)
{
	EXPECT_EQ(oom_cgroups_destroy(&self->cg), 0);
}

/* Starts a process that runs @fn and leaves it frozen, killed but not gone. */
static int start_killed(FIXTURE_DATA(walk) * self, int (*fn)(void *arg))
{
	int ret;

	self->pid = oom_spawn(&self->cg, fn, self->areas);
	if (self->pid < 0)
		return self->pid;
	self->pidfd = oom_pidfd_open(self->pid);
	if (self->pidfd < 0)
		return self->pidfd;
	self->pagemap = oom_pagemap_open(self->pid);
	if (self->pagemap < 0)
		return self->pagemap;
	ret = oom_cgroup_attach(self->cg.frozen, self->pid);
	if (!ret)
		ret = oom_freeze(&self->cg);
	if (!ret && kill(self->pid, SIGKILL))
		ret = -errno;
	return ret;
}

static int end_killed(FIXTURE_DATA(walk) * self)
{
	int ret = oom_thaw(&self->cg);

	close(self->pidfd);
	close(self->pagemap);
	if (waitpid(self->pid, NULL, 0) != self->pid)
		ret = ret ?: -errno;
	return ret;
}

static void *mrelease_thread(void *arg)
{
	return (void *)(long)oom_mrelease(*(int *)arg, 0);
}

static int map_big(void *arg)
{
	struct areas *areas = arg;

	areas->nr = 1;
	areas->area[0].start = oom_map_populated(BIG_SIZE);
	areas->area[0].size = BIG_SIZE;
	return areas->area[0].start ? 0 : -ENOMEM;
}

/* Neighbours whose protections differ do not merge. */
static int split_vmas(char *mem, size_t size, size_t each)
{
	size_t i;

	for (i = 0; i < size; i += 2 * each)
		if (mprotect(mem + i, each, PROT_READ))
			return -errno;
	return 0;
}

static int map_many(void *arg)
{
	struct areas *areas = arg;
	int ret = map_big(areas);

	return ret ?: split_vmas(areas->area[0].start, BIG_SIZE,
				 BIG_SIZE / NR_VMAS);
}

enum order { UNSEEN, TOP_FIRST, BOTTOM_FIRST };

/*
 * Which end of @mem empties first. Pages do not come back, so that one that is
 * there after another was seen missing was there at that time too.
 */
static enum order watch(int pagemap, char *mem, size_t size)
{
	long long deadline = oom_now_ms() + OOM_DEADLINE_MS;
	char *top = mem + size - 1;

	while (oom_now_ms() < deadline) {
		int top_there = oom_pagemap_present(pagemap, top);
		int bottom_there = oom_pagemap_present(pagemap, mem);

		if (!top_there)
			return bottom_there == 1 ? TOP_FIRST : UNSEEN;
		if (!bottom_there && oom_pagemap_present(pagemap, top) == 1)
			return BOTTOM_FIRST;
	}
	return UNSEEN;
}

static void test_order(struct __test_metadata *_metadata,
		       FIXTURE_DATA(walk) * self, int (*fn)(void *arg))
{
	enum order order = UNSEEN;
	pthread_t thread;
	int round;
	void *ret;

	for (round = 0; round < MAX_ROUNDS && order == UNSEEN; round++) {
		ASSERT_EQ(start_killed(self, fn), 0);
		ASSERT_EQ(pthread_create(&thread, NULL, mrelease_thread,
					 &self->pidfd), 0);
		order = watch(self->pagemap, self->areas->area[0].start,
			      self->areas->area[0].size);
		ASSERT_EQ(pthread_join(thread, &ret), 0);
		EXPECT_EQ((long)ret, 0);
		EXPECT_EQ(end_killed(self), 0);
	}
	EXPECT_EQ(order, TOP_FIRST) {
		if (order == UNSEEN)
			TH_LOG("too fast to be seen in %d rounds", MAX_ROUNDS);
		else
			TH_LOG("the bottom was empty before the top");
	}
}

/* exit_mmap() starts at the bottom; a reaper that does too is in its way. */
TEST_F_TIMEOUT(walk, one_vma_from_top, OOM_TEST_TIMEOUT_S)
{
	test_order(_metadata, self, map_big);
}

TEST_F_TIMEOUT(walk, highest_vma_first, OOM_TEST_TIMEOUT_S)
{
	test_order(_metadata, self, map_many);
}

/* A private mapping of a file; every other page of it is written to. */
static int map_file(struct areas *areas)
{
	size_t page = getpagesize(), size = 5001 * page, i;
	int fd = memfd_create("mrelease_walk", MFD_CLOEXEC);
	char *mem;

	if (fd < 0 || ftruncate(fd, size))
		return -errno;
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (mem == MAP_FAILED || madvise(mem, size, MADV_POPULATE_READ))
		return -errno;
	for (i = 0; i < size; i += 2 * page)
		mem[i] = 1;
	areas->area[areas->nr].start = mem;
	areas->area[areas->nr++].size = size;
	return 0;
}

/*
 * Sizes around those that a walk may take in one go, the lowest mapping that
 * can be, one that starts and ends off any boundary, and a file.
 */
static int map_odd(void *arg)
{
	static const size_t sizes[] = { 1, 2, 511, 4095, 4096, 4097, 10001 };
	size_t page = getpagesize(), i, j;
	struct areas *areas = arg;
	char text[32];

	if (oom_read("/proc/sys/vm/mmap_min_addr", text, sizeof(text)))
		return -ENOENT;
	areas->nr = ARRAY_SIZE(sizes);
	for (i = 0; i < (size_t)areas->nr; i++) {
		size_t size = sizes[i] * page;
		int flags = MAP_PRIVATE | MAP_ANONYMOUS;
		char *hint = NULL, *mem;

		if (!i) {
			flags |= MAP_FIXED_NOREPLACE;
			hint = (char *)((atol(text) + page - 1) & -page);
		}
		/* Off by a page from where the kernel would place it. */
		mem = mmap(hint, i ? size + 2 * page : size,
			   PROT_READ | PROT_WRITE, flags, -1, 0);
		if (mem == MAP_FAILED)
			return -errno;
		if (i) {
			munmap(mem, page);
			munmap(mem + page + size, page);
			mem += page;
		}
		for (j = 0; j < size; j += page)
			mem[j] = 1;
		areas->area[i].start = mem;
		areas->area[i].size = size;
	}
	return map_file(areas);
}

TEST_F_TIMEOUT(walk, leaves_nothing, OOM_TEST_TIMEOUT_S)
{
	static const char min_addr[] = "/proc/sys/vm/mmap_min_addr";
	size_t page = getpagesize(), off, left;
	char old[32];
	int i, ret;

	/* If it may be had, the very first page: a walk downwards ends there. */
	ASSERT_EQ(oom_read(min_addr, old, sizeof(old)), 0);
	oom_write(min_addr, "0");
	ret = start_killed(self, map_odd);
	oom_write(min_addr, old);
	ASSERT_EQ(ret, 0);
	TH_LOG("the lowest vma is at %p", self->areas->area[0].start);
	for (i = 0; i < self->areas->nr; i++)
		ASSERT_EQ(oom_pagemap_present(self->pagemap,
					      self->areas->area[i].start), 1);

	EXPECT_EQ(oom_mrelease(self->pidfd, 0), 0);
	for (i = 0; i < self->areas->nr; i++) {
		left = 0;
		for (off = 0; off < self->areas->area[i].size; off += page)
			left += oom_pagemap_present(self->pagemap,
					self->areas->area[i].start + off) != 0;
		EXPECT_EQ(left, 0) {
			TH_LOG("in the vma of %zu pages at %p",
			       self->areas->area[i].size / page,
			       self->areas->area[i].start);
		}
	}
	EXPECT_EQ(end_killed(self), 0);
}

static int map_sparse(void *arg)
{
	return oom_map_sparse(NR_TABLES) ? 0 : -ENOMEM;
}

/* Nor does it leave the page tables that it has emptied. */
TEST_F_TIMEOUT(walk, frees_page_tables, OOM_TEST_TIMEOUT_S)
{
	long long size = NR_TABLES * (long long)getpagesize(), left;
	char path[64];

	if (!oom_have_pt_reclaim())
		SKIP(return, "MADV_DONTNEED frees no page tables (CONFIG_PT_RECLAIM)");
	ASSERT_EQ(start_killed(self, map_sparse), 0);
	snprintf(path, sizeof(path), "/proc/%d/status", self->pid);
	ASSERT_GE(oom_figure_kb(path, "VmPTE"), size);

	EXPECT_EQ(oom_mrelease(self->pidfd, 0), 0);
	left = oom_figure_kb(path, "VmPTE");
	TH_LOG("%lld of %lld kB of page tables left", left >> 10, size >> 10);
	EXPECT_GE(left, 0);
	EXPECT_LE(left, size / 20);
	EXPECT_EQ(end_killed(self), 0);
}

static int map_huge(void *arg)
{
	struct areas *areas = arg;
	size_t page = getpagesize(), i;
	char *mem = mmap(NULL, BIG_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED || madvise(mem, BIG_SIZE, MADV_HUGEPAGE))
		return -errno;
	for (i = 0; i < BIG_SIZE; i += page)
		mem[i] = 1;
	areas->nr = 1;
	areas->area[0].start = mem;
	areas->area[0].size = BIG_SIZE;
	return 0;
}

/* A walk in steps must not cut a huge page in two. */
TEST_F_TIMEOUT(walk, splits_no_huge_page, OOM_TEST_TIMEOUT_S)
{
	long long before, splits = -1;
	char path[64];
	int round;

	before = oom_figure("/proc/vmstat", "thp_split_pmd");
	if (before < 0)
		SKIP(return, "no thp_split_pmd in /proc/vmstat (CONFIG_VM_EVENT_COUNTERS)");

	/* The count is everybody's: others may add to it, but not each time. */
	for (round = 0; round < MAX_ROUNDS && splits; round++) {
		ASSERT_EQ(start_killed(self, map_huge), 0);
		snprintf(path, sizeof(path), "/proc/%d/smaps_rollup",
			 self->pid);
		if (oom_figure_kb(path, "AnonHugePages") <
		    (long long)BIG_SIZE / 2) {
			end_killed(self);
			SKIP(return, "got no huge pages for the test");
		}
		before = oom_figure("/proc/vmstat", "thp_split_pmd");
		EXPECT_EQ(oom_mrelease(self->pidfd, 0), 0);
		splits = oom_figure("/proc/vmstat", "thp_split_pmd") - before;
		EXPECT_EQ(end_killed(self), 0);
	}
	EXPECT_EQ(splits, 0);
}

static int map_small(void *arg)
{
	struct areas *areas = arg;
	size_t page = getpagesize(), size = NR_SMALL * page;
	int ret;

	/* The test's own CPU, away from where it holds up the reaper. */
	ret = oom_pin_cpu(0);
	if (ret)
		return ret;
	areas->nr = 1;
	areas->area[0].start = oom_map_populated(size);
	areas->area[0].size = size;
	if (!areas->area[0].start)
		return -ENOMEM;
	return split_vmas(areas->area[0].start, size, page);
}

static long long thread_cpu_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static int compare_ns(const void *a, const void *b)
{
	long long diff = *(long long *)a - *(long long *)b;

	return (diff > 0) - (diff < 0);
}

/*
 * What a whole walk costs where there is nothing to zap, in CPU time: the
 * median, for an emulator's clocks are no good.
 */
static long long empty_walk_ns(FIXTURE_DATA(walk) * self)
{
	long long ns[5], start;
	int i, ret;

	ret = start_killed(self, map_small);
	if (ret)
		return ret;
	ret = oom_mrelease(self->pidfd, 0);
	for (i = 0; i < 5 && !ret; i++) {
		start = thread_cpu_ns(CLOCK_THREAD_CPUTIME_ID);
		ret = oom_mrelease(self->pidfd, 0);
		ns[i] = thread_cpu_ns(CLOCK_THREAD_CPUTIME_ID) - start;
	}
	ret = end_killed(self) ?: ret;
	if (ret)
		return ret;
	qsort(ns, 5, sizeof(ns[0]), compare_ns);
	return ns[2];
}

struct slow {
	int pidfd;
	atomic_bool done;
	long long cpu_ns;	/* of the reaper when it was done */
	int ret;
};

static void *slow_mrelease(void *arg)
{
	struct slow *slow = arg;

	slow->ret = oom_pin_cpu(1);
	if (!slow->ret)
		slow->ret = oom_mrelease(slow->pidfd, 0);
	slow->cpu_ns = thread_cpu_ns(CLOCK_THREAD_CPUTIME_ID);
	slow->done = true;
	return NULL;
}

/*
 * Holds up a reaper in the first half of its walk while exit_mmap() goes
 * through. Returns the CPU time that the reaper needs when it can go on, or 0
 * if it was not to be caught there.
 */
static long long held_up_ns(struct __test_metadata *_metadata,
			    FIXTURE_DATA(walk) * self)
{
	long long deadline = oom_now_ms() + OOM_DEADLINE_MS, before, start;
	struct slow slow = { .done = false };
	struct oom_hog hog;
	pthread_t reaper;
	clockid_t clock;
	char *mem;

	ASSERT_EQ(start_killed(self, map_small), 0);
	slow.pidfd = self->pidfd;
	if (oom_hog_create(&hog, 1)) {
		end_killed(self);
		SKIP(return 0, "cannot run at a real-time priority");
	}
	ASSERT_EQ(pthread_create(&reaper, NULL, slow_mrelease, &slow), 0);
	ASSERT_EQ(pthread_getcpuclockid(reaper, &clock), 0);

	/* Once the top is gone, the reaper is inside. */
	mem = self->areas->area[0].start;
	while (oom_pagemap_present(self->pagemap, mem +
				   self->areas->area[0].size - 1) &&
	       oom_now_ms() < deadline)
		;
	ASSERT_EQ(oom_hog_run(&hog), 0);
	/* It has its CPU no more, and has not been to the middle. */
	if (oom_pagemap_present(self->pagemap, mem +
				self->areas->area[0].size / 2) != 1) {
		oom_hog_end(&hog);
		pthread_join(reaper, NULL);
		EXPECT_EQ(end_killed(self), 0);
		return 0;
	}

	/* The process exits, up to where it needs the lock for itself. */
	ASSERT_EQ(oom_thaw(&self->cg), 0);
	ASSERT_GE(oom_wait_mem_usage(&self->cg, SMALL_LEFT), 0);
	ASSERT_EQ(oom_wait_state(self->pid, "DZX"), 0);
	EXPECT_EQ(oom_task_state(self->pid), 'D')
		TH_LOG("exit_mmap() did not wait for the reaper");
	EXPECT_FALSE(slow.done);

	before = thread_cpu_ns(clock);
	start = oom_now_ms();
	/* Both were only held up by the hog. */
	oom_hog_end(&hog);
	ASSERT_EQ(oom_wait_state(self->pid, "ZX"), 0);
	TH_LOG("exit_mmap() waited for another %lld ms", oom_now_ms() - start);
	pthread_join(reaper, NULL);
	EXPECT_EQ(slow.ret, 0);
	close(self->pidfd);
	close(self->pagemap);
	waitpid(self->pid, NULL, 0);
	return slow.cpu_ns - before;
}

/*
 * exit_mmap() waits for the reaper to leave, which has nothing left to do and
 * a long way to go.
 */
TEST_F_TIMEOUT(walk, gives_way_to_exit, OOM_TEST_TIMEOUT_S)
{
	long long empty, ns, least = LLONG_MAX;
	int round, caught = 0;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs two CPUs");
	ASSERT_EQ(oom_pin_cpu(0), 0);
	empty = empty_walk_ns(self);
	ASSERT_GT(empty, 0);

	/*
	 * To go on to the end takes half an empty walk at least, for each
	 * reaper. A quarter is far more than a step takes, but on a busy
	 * machine not in each round.
	 */
	for (round = 0; round < MAX_ROUNDS && caught < 3 && least >= empty / 4;
	     round++) {
		ns = held_up_ns(_metadata, self);
		if (!ns)
			continue;
		TH_LOG("the reaper went on for %lld us, and a walk takes %lld us",
		       ns / 1000, empty / 1000);
		caught++;
		least = ns < least ? ns : least;
	}
	EXPECT_GT(caught, 0)
		TH_LOG("the reaper was too fast in %d rounds", MAX_ROUNDS);
	EXPECT_LT(least, empty / 4);
}

TEST_HARNESS_MAIN
