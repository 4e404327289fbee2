// SPDX-License-Identifier: GPL-2.0
/*
 * What process_mrelease(2) frees, and in which order. To watch it, have the
 * version 1 freezer keep a process with SIGKILL pending from its exit.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "cgroup_util.h"
#include "vm_util.h"
#include "oom_util.h"

/* Large enough to be watched, and a multiple of any huge page: 128 MiB or more. */
#define WATCHED_SIZE (32768L * psize())
#define NR_VMAS 64
#define MAX_ROUNDS 10

FIXTURE(mrelease)
{
	struct oom_cgroups cg;
	char *mem;		/* in the victim */
	size_t nr_vmas;		/* of that memory */
	pid_t sharer;
};

OOM_TEARDOWN(mrelease, &self->cg)
OOM_SETUP(mrelease, &self->cg, 0)

/* The process has exited, but somebody who reads its memory has the mm. */
TEST_F_TIMEOUT(mrelease, exited_pinned, OOM_TEST_TIMEOUT_S)
{
	pid_t pid = oom_start(&self->cg, oom_map_victim, NULL), reader;

	OOM_NEED(return, &self->cg, OOM_USERFAULTFD);
	ASSERT_GT(pid, 0);
	reader = oom_start_stuck_reader(&self->cg, pid);
	ASSERT_GT(reader, 0);
	ASSERT_EQ(kill(pid, SIGKILL), 0);
	ASSERT_TRUE(poll_until(oom_is_dead(pid)));

	ASSERT_TRUE(poll_until(oom_left(&self->cg) >= OOM_VICTIM_SIZE));
	ASSERT_EQ(oom_mrelease_pid(pid), 0);
	EXPECT_TRUE(poll_until(oom_left(&self->cg) <= OOM_LEFT_SIZE));
	EXPECT_EQ(oom_mrelease_pid(pid), 0);
	EXPECT_FALSE(oom_is_dead(reader));

	/* The mm can be found for as long as both are there. */
	ASSERT_EQ(kill(reader, SIGKILL), 0);
	ASSERT_TRUE(poll_until(oom_is_dead(reader)));
	EXPECT_TRUE(poll_until(oom_mrelease_pid(pid) == -ESRCH));
}

static int share_victim(void *arg)
{
	FIXTURE_DATA(mrelease) * self = arg;

	self->sharer = oom_share_mm(oom_wait_for_kill, 0, NULL);
	return self->sharer < 0 ? -1 : oom_map_victim(NULL);
}

/* The process has exited, but another one, which lives at first, has the mm. */
TEST_F_TIMEOUT(mrelease, exited_shared, OOM_TEST_TIMEOUT_S)
{
	pid_t pid = oom_start(&self->cg, share_victim, self);

	OOM_NEED(return, &self->cg, OOM_FREEZER);
	ASSERT_GT(pid, 0);
	ASSERT_EQ(kill(pid, SIGKILL), 0);
	ASSERT_TRUE(poll_until(oom_is_dead(pid)));
	ASSERT_EQ(oom_mrelease_pid(pid), -EINVAL);
	EXPECT_GE(oom_anon_kb(self->sharer), OOM_VICTIM_SIZE >> 10);

	ASSERT_EQ(oom_freeze(&self->cg, self->sharer), 0);
	EXPECT_EQ(oom_mrelease_pid(pid), -EINVAL);
	EXPECT_GE(oom_anon_kb(self->sharer), OOM_VICTIM_SIZE >> 10);
	ASSERT_EQ(kill(self->sharer, SIGKILL), 0);
	EXPECT_EQ(oom_mrelease_pid(pid), 0);
	EXPECT_EQ(oom_anon_kb(self->sharer), 0);

	ASSERT_EQ(oom_thaw(&self->cg), 0);
	ASSERT_TRUE(poll_until(oom_is_dead(self->sharer)));
	EXPECT_TRUE(poll_until(oom_mrelease_pid(pid) == -ESRCH));
}

static int map_watched(void *arg)
{
	FIXTURE_DATA(mrelease) * self = arg;

	self->mem = oom_map_vmas(WATCHED_SIZE, self->nr_vmas);
	if (!self->mem)
		return -1;
	oom_touch(self->mem, WATCHED_SIZE, psize());
	return 0;
}

static void *mrelease_thread(void *arg)
{
	return (void *)(long)oom_mrelease_pid(*(pid_t *)arg);
}

static bool is_present(int pagemap, char *page)
{
	return pagemap_get_entry(pagemap, page) & PM_PRESENT;
}

/* Release a victim. Whether the top of its memory is empty first, -1: not seen. */
static int top_is_first(struct __test_metadata *_metadata,
			FIXTURE_DATA(mrelease) * self, pid_t pid)
{
	char *top = self->mem + WATCHED_SIZE - psize();
	int pagemap = oom_open_proc(pid, "pagemap");
	bool top_there, bottom_there, done;
	pthread_t thread;
	void *ret;

	ASSERT_GE(pagemap, 0);
	ASSERT_EQ(pthread_create(&thread, NULL, mrelease_thread, &pid), 0);
	do {
		done = !pthread_tryjoin_np(thread, &ret);
		top_there = is_present(pagemap, top);
		bottom_there = is_present(pagemap, self->mem);
	} while (top_there && bottom_there && !done);
	/* Pages do not come back: the top was there when the bottom was not. */
	if (top_there)
		top_there = is_present(pagemap, top);
	if (!done)
		pthread_join(thread, &ret);
	ASSERT_EQ((long)ret, 0);
	close(pagemap);
	return top_there == bottom_there ? -1 : !top_there;
}

/* exit_mmap() starts at the bottom: a reaper that does too is in its way. */
static void check_order(struct __test_metadata *_metadata,
			FIXTURE_DATA(mrelease) * self, size_t nr_vmas)
{
	int round, first = -1;
	pid_t pid;

	OOM_NEED(return, &self->cg, OOM_FREEZER);
	if (oom_no_memory(2 * WATCHED_SIZE))
		SKIP(return, "%s", oom_no_memory(2 * WATCHED_SIZE));
	self->nr_vmas = nr_vmas;
	for (round = 0; round < MAX_ROUNDS && first < 0; round++) {
		pid = oom_start_killed(&self->cg, map_watched, self);
		ASSERT_GT(pid, 0);
		first = top_is_first(_metadata, self, pid);
		ASSERT_EQ(oom_thaw(&self->cg), 0);
		ASSERT_EQ(waitpid(pid, NULL, 0), pid);
	}
	if (first < 0)
		SKIP(return, "did not see half of the memory go");
	EXPECT_TRUE(first);
}

TEST_F_TIMEOUT(mrelease, one_vma_from_top, OOM_TEST_TIMEOUT_S)
{
	check_order(_metadata, self, 1);
}

TEST_F_TIMEOUT(mrelease, highest_vma_first, OOM_TEST_TIMEOUT_S)
{
	check_order(_metadata, self, NR_VMAS);
}

/* Page tables that it has emptied go, too. */
TEST_F_TIMEOUT(mrelease, frees_page_tables, OOM_TEST_TIMEOUT_S)
{
	long kb = OOM_VICTIM_SIZE >> 10;
	pid_t pid;

	OOM_NEED(return, &self->cg, OOM_FREEZER | OOM_SPARSE | OOM_PT_RECLAIM);
	pid = oom_start_killed(&self->cg, oom_map_sparse_victim, NULL);
	ASSERT_GT(pid, 0);
	ASSERT_GE(oom_read_proc(pid, "status", "VmPTE:"), kb);
	EXPECT_EQ(oom_mrelease_pid(pid), 0);
	EXPECT_LE(oom_read_proc(pid, "status", "VmPTE:"), kb / 20);
}

TEST_HARNESS_MAIN
