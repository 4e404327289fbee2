// SPDX-License-Identifier: GPL-2.0
/*
 * The walk of process_mrelease(2), and with it of the OOM reaper, leaves
 * nothing behind and splits no huge page.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "../pidfd/pidfd.h"
#include "cgroup_util.h"
#include "vm_util.h"
#include "oom_util.h"

#define HUGE_SIZE (128 * MiB)
#define MAX_ROUNDS 10
#define MAX_AREAS 8

FIXTURE(walk)
{
	struct oom_cgroups cg;
	pid_t pid;
	int pidfd;
	int nr_areas;
	struct {
		char *start;
		size_t size;
	} area[MAX_AREAS];	/* in the victim */
};

FIXTURE_SETUP(walk)
{
	const char *why = oom_cgroups_create(&self->cg, false);

	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN_PARENT(walk)
{
	EXPECT_TRUE(oom_cgroups_undone(&self->cg));
}

/* Start a victim, freeze it, and kill it. */
static int start_killed(FIXTURE_DATA(walk) * self,
			int (*setup)(const char *cgroup, void *arg))
{
	self->pid = oom_start_frozen(&self->cg, setup, self);
	if (self->pid < 0)
		return -1;
	self->pidfd = sys_pidfd_open(self->pid, 0);
	return self->pidfd < 0 ? -1 : kill(self->pid, SIGKILL);
}

static int end_killed(FIXTURE_DATA(walk) * self)
{
	close(self->pidfd);
	if (cg_write(self->cg.frozen, "freezer.state", "THAWED"))
		return -1;
	return waitpid(self->pid, NULL, 0) == self->pid ? 0 : -1;
}

static void add_area(FIXTURE_DATA(walk) * self, char *start, size_t size)
{
	self->area[self->nr_areas].start = start;
	self->area[self->nr_areas++].size = size;
}

/* Every other page is the process's own, the others are the file's. */
static int map_file(FIXTURE_DATA(walk) * self)
{
	int fd = memfd_create("mrelease_walk", MFD_CLOEXEC);
	size_t size = 5001 * psize();
	char *mem;

	if (fd < 0 || ftruncate(fd, size))
		return -1;
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (mem == MAP_FAILED)
		return -1;
	force_read_pages(mem, 5001, psize());
	oom_touch(mem, size, 2 * psize());
	add_area(self, mem, size);
	return 0;
}

/*
 * Sizes around those that a walk may take in one go, off any boundary; the
 * lowest address that can be mapped; and a file.
 */
static int map_areas(const char *cgroup, void *arg)
{
	FIXTURE_DATA(walk) * self = arg;
	static const size_t nr_pages[] = { 2, 511, 4095, 4096, 4097, 10001 };
	unsigned long lowest = read_num("/proc/sys/vm/mmap_min_addr");
	size_t i, size;
	char *mem;

	lowest = (lowest + psize() - 1) & -(unsigned long)psize();
	mem = mmap((void *)lowest, psize(), PROT_READ | PROT_WRITE, MAP_PRIVATE |
		   MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (mem == MAP_FAILED)
		return 1;
	oom_touch(mem, psize(), psize());
	add_area(self, mem, psize());

	for (i = 0; i < ARRAY_SIZE(nr_pages); i++) {
		size = nr_pages[i] * psize();
		/* Without its ends, which keep it away from a boundary. */
		mem = oom_map(size + 2 * psize());
		if (!mem || munmap(mem, psize()) ||
		    munmap(mem + psize() + size, psize()))
			return 1;
		add_area(self, mem + psize(), size);
	}
	return map_file(self) ? 1 : oom_ready(&self->cg);
}

TEST_F_TIMEOUT(walk, leaves_nothing, OOM_TEST_TIMEOUT_S)
{
	size_t off, left;
	int i, pagemap;

	/* A walk downwards ends at address 0, if that can be mapped. */
	ASSERT_EQ(oom_change_setting(&self->cg, "/proc/sys/vm/mmap_min_addr", "0"), 0);
	ASSERT_EQ(start_killed(self, map_areas), 0);
	pagemap = pagemap_open(self->pid);
	ASSERT_GE(pagemap, 0);
	for (i = 0; i < self->nr_areas; i++)
		ASSERT_TRUE(pagemap_get_entry(pagemap, self->area[i].start) &
			    PM_PRESENT);

	ASSERT_EQ(oom_mrelease(self->pidfd, 0), 0);
	for (i = 0; i < self->nr_areas; i++) {
		left = 0;
		for (off = 0; off < self->area[i].size; off += psize())
			left += !!(pagemap_get_entry(pagemap, self->area[i].start +
						     off) & PM_PRESENT);
		EXPECT_EQ(left, 0)
			TH_LOG("in %zu bytes at %p", self->area[i].size,
			       self->area[i].start);
	}
	EXPECT_EQ(end_killed(self), 0);
}

static int map_huge(const char *cgroup, void *arg)
{
	FIXTURE_DATA(walk) * self = arg;
	char *mem = mmap(NULL, HUGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mem == MAP_FAILED || madvise(mem, HUGE_SIZE, MADV_HUGEPAGE))
		return 1;
	oom_touch(mem, HUGE_SIZE, psize());
	return oom_ready(&self->cg);
}

static long nr_splits(void)
{
	return read_field("/proc/vmstat", "thp_split_pmd ");
}

/* A walk in steps must not cut a huge page in two. */
TEST_F_TIMEOUT(walk, splits_no_huge_page, OOM_TEST_TIMEOUT_S)
{
	long before, splits = -1;
	char path[64];
	int round;

	if (nr_splits() < 0)
		SKIP(return, "no thp_split_pmd in /proc/vmstat");
	/* Others may split some, but not in each round. */
	for (round = 0; round < MAX_ROUNDS && splits; round++) {
		ASSERT_EQ(start_killed(self, map_huge), 0);
		snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", self->pid);
		if (read_field(path, "AnonHugePages:") < HUGE_SIZE / 2 >> 10)
			SKIP(return, "got no huge pages");
		before = nr_splits();
		ASSERT_EQ(oom_mrelease(self->pidfd, 0), 0);
		splits = nr_splits() - before;
		ASSERT_EQ(end_killed(self), 0);
	}
	EXPECT_EQ(splits, 0);
}

TEST_HARNESS_MAIN
