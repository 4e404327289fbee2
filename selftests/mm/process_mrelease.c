// SPDX-License-Identifier: GPL-2.0
/*
 * What process_mrelease(2) frees, and in which order. To watch it, have the
 * version 1 freezer keep a process with SIGKILL pending from its exit.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
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

#define VICTIM_SIZE (32 * MiB)
/* Large enough to be watched, and a multiple of any huge page. */
#define WATCHED_SIZE (128 * MiB)
#define NR_VMAS 64
#define NR_PAGE_TABLES 8192
#define MAX_ROUNDS 10

FIXTURE(mrelease)
{
	struct oom_cgroups cg;
	size_t size;
	char *mem;		/* in the victim, of that size */
	pid_t sharer;
};

FIXTURE_SETUP(mrelease)
{
	const char *why = oom_cgroups_create(&self->cg, false);

	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN_PARENT(mrelease)
{
	EXPECT_TRUE(oom_cgroups_undone(&self->cg));
}

static int map_victim(const char *cgroup, void *arg)
{
	FIXTURE_DATA(mrelease) * self = arg;

	self->mem = oom_map(self->size);
	return self->mem ? oom_ready(&self->cg) : 1;
}

static int map_sparse(const char *cgroup, void *arg)
{
	return oom_map_sparse(NR_PAGE_TABLES) ? oom_ready(arg) : 1;
}

static int share_victim(const char *cgroup, void *arg)
{
	FIXTURE_DATA(mrelease) * self = arg;

	self->mem = oom_map(self->size);
	self->sharer = oom_share_mm(oom_wait_for_kill, 0, NULL);
	return self->mem && self->sharer > 0 ? oom_ready(&self->cg) : 1;
}

/* Whether the process has all of its memory: 1, none: 0, or some: -1. */
static int has_memory(FIXTURE_DATA(mrelease) * self, pid_t pid)
{
	int pagemap = pagemap_open(pid);
	size_t off, nr = 0;

	for (off = 0; off < self->size; off += psize())
		nr += !!(pagemap_get_entry(pagemap, self->mem + off) & PM_PRESENT);
	close(pagemap);
	return !nr ? 0 : nr == self->size / psize() ? 1 : -1;
}

/* The process has exited, but somebody who reads its memory has the mm. */
TEST_F_TIMEOUT(mrelease, exited_pinned, OOM_TEST_TIMEOUT_S)
{
	struct oom_stuck stuck;
	pid_t pid, reader;
	long before, after;
	int pidfd;

	if (!oom_stuck_page(&stuck))
		SKIP(return, "no userfaultfd (CONFIG_USERFAULTFD)");
	self->size = VICTIM_SIZE;
	pid = oom_start(&self->cg, map_victim, self);
	ASSERT_GT(pid, 0);
	pidfd = sys_pidfd_open(pid, 0);
	ASSERT_GE(pidfd, 0);
	reader = oom_start_stuck_reader(&self->cg, pid);
	ASSERT_GT(reader, 0);
	ASSERT_EQ(kill(pid, SIGKILL), 0);
	ASSERT_TRUE(poll_until(oom_is_dead(pid)));

	before = cg_read_long(self->cg.memcg, "memory.current");
	ASSERT_GE(before, VICTIM_SIZE);
	ASSERT_EQ(oom_mrelease(pidfd, 0), 0);
	after = cg_read_long(self->cg.memcg, "memory.current");
	EXPECT_GE(before - after, VICTIM_SIZE / 100 * 95);
	EXPECT_EQ(oom_mrelease(pidfd, 0), 0);
	EXPECT_FALSE(oom_is_dead(reader));

	/* The mm can be found for as long as both are there. */
	ASSERT_EQ(kill(reader, SIGKILL), 0);
	ASSERT_TRUE(poll_until(oom_is_dead(reader)));
	EXPECT_EQ(oom_mrelease(pidfd, 0), -ESRCH);
}

/* The process has exited, but another one, which lives at first, has the mm. */
TEST_F_TIMEOUT(mrelease, exited_shared, OOM_TEST_TIMEOUT_S)
{
	int pidfd;
	pid_t pid;

	self->size = VICTIM_SIZE;
	pid = oom_start(&self->cg, share_victim, self);
	ASSERT_GT(pid, 0);
	pidfd = sys_pidfd_open(pid, 0);
	ASSERT_GE(pidfd, 0);
	ASSERT_EQ(kill(pid, SIGKILL), 0);
	ASSERT_TRUE(poll_until(oom_is_dead(pid)));
	ASSERT_EQ(oom_mrelease(pidfd, 0), -EINVAL);
	EXPECT_EQ(has_memory(self, self->sharer), 1);

	ASSERT_EQ(cg_enter(self->cg.frozen, self->sharer), 0);
	ASSERT_EQ(oom_freeze(&self->cg), 0);
	EXPECT_EQ(oom_mrelease(pidfd, 0), -EINVAL);
	EXPECT_EQ(has_memory(self, self->sharer), 1);
	ASSERT_EQ(kill(self->sharer, SIGKILL), 0);
	EXPECT_EQ(oom_mrelease(pidfd, 0), 0);
	EXPECT_EQ(has_memory(self, self->sharer), 0);

	ASSERT_EQ(cg_write(self->cg.frozen, "freezer.state", "THAWED"), 0);
	ASSERT_TRUE(poll_until(oom_is_dead(self->sharer)));
	EXPECT_EQ(oom_mrelease(pidfd, 0), -ESRCH);
}

/* Each of these is a VMA of its own, as neighbours differ in protection. */
static int map_many_vmas(const char *cgroup, void *arg)
{
	FIXTURE_DATA(mrelease) * self = arg;
	size_t off, each = self->size / NR_VMAS;

	self->mem = oom_map(self->size);
	for (off = 0; self->mem && off < self->size; off += 2 * each)
		if (mprotect(self->mem + off, each, PROT_READ))
			return 1;
	return self->mem ? oom_ready(&self->cg) : 1;
}

static void *mrelease_thread(void *arg)
{
	return (void *)(long)oom_mrelease(*(int *)arg, 0);
}

enum order { UNSEEN, TOP_FIRST, BOTTOM_FIRST };

/* Release a victim, and see which end of its memory becomes empty first. */
static enum order release_order(struct __test_metadata *_metadata,
				FIXTURE_DATA(mrelease) * self,
				int (*setup)(const char *cgroup, void *arg))
{
	bool top_there, bottom_there, done;
	int pidfd, pagemap;
	pthread_t thread;
	pid_t pid;
	void *ret;
	char *top;

	pid = oom_start_frozen(&self->cg, setup, self);
	ASSERT_GT(pid, 0);
	ASSERT_EQ(kill(pid, SIGKILL), 0);
	pidfd = sys_pidfd_open(pid, 0);
	ASSERT_GE(pidfd, 0);
	pagemap = pagemap_open(pid);
	ASSERT_GE(pagemap, 0);
	top = self->mem + self->size - psize();

	ASSERT_EQ(pthread_create(&thread, NULL, mrelease_thread, &pidfd), 0);
	do {
		done = !pthread_tryjoin_np(thread, &ret);
		top_there = pagemap_get_entry(pagemap, top) & PM_PRESENT;
		bottom_there = pagemap_get_entry(pagemap, self->mem) & PM_PRESENT;
	} while (top_there && bottom_there && !done);
	/* Pages do not come back: the top was there when the bottom was not. */
	if (top_there)
		top_there = pagemap_get_entry(pagemap, top) & PM_PRESENT;
	if (!done)
		pthread_join(thread, &ret);
	ASSERT_EQ((long)ret, 0);

	close(pagemap);
	close(pidfd);
	ASSERT_EQ(cg_write(self->cg.frozen, "freezer.state", "THAWED"), 0);
	ASSERT_EQ(waitpid(pid, NULL, 0), pid);
	if (top_there == bottom_there)
		return UNSEEN;
	return top_there ? BOTTOM_FIRST : TOP_FIRST;
}

static void check_order(struct __test_metadata *_metadata,
			FIXTURE_DATA(mrelease) * self,
			int (*setup)(const char *cgroup, void *arg))
{
	enum order order = UNSEEN;
	int round;

	self->size = WATCHED_SIZE;
	for (round = 0; round < MAX_ROUNDS && order == UNSEEN; round++)
		order = release_order(_metadata, self, setup);
	EXPECT_EQ(order, TOP_FIRST);
}

/* exit_mmap() starts at the bottom: a reaper that does too is in its way. */
TEST_F_TIMEOUT(mrelease, one_vma_from_top, OOM_TEST_TIMEOUT_S)
{
	check_order(_metadata, self, map_victim);
}

TEST_F_TIMEOUT(mrelease, highest_vma_first, OOM_TEST_TIMEOUT_S)
{
	check_order(_metadata, self, map_many_vmas);
}

/* Page tables that it has emptied go, too. */
TEST_F_TIMEOUT(mrelease, frees_page_tables, OOM_TEST_TIMEOUT_S)
{
	long kb = NR_PAGE_TABLES * (long)psize() >> 10;
	char path[64];
	int pidfd;
	pid_t pid;

	if (!oom_reclaims_page_tables())
		SKIP(return, "MADV_DONTNEED frees no page tables (CONFIG_PT_RECLAIM)");
	pid = oom_start_frozen(&self->cg, map_sparse, &self->cg);
	ASSERT_GT(pid, 0);
	ASSERT_EQ(kill(pid, SIGKILL), 0);
	pidfd = sys_pidfd_open(pid, 0);
	ASSERT_GE(pidfd, 0);
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	ASSERT_GE(read_field(path, "VmPTE:"), kb);
	EXPECT_EQ(oom_mrelease(pidfd, 0), 0);
	EXPECT_LE(read_field(path, "VmPTE:"), kb / 20);
}

TEST_HARNESS_MAIN
