// SPDX-License-Identifier: GPL-2.0
/*
 * Whom process_mrelease(2) takes memory from, what it returns, and that it
 * leaves nothing behind. To have a process with SIGKILL pending, keep it from
 * its exit with the version 1 freezer.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "../pidfd/pidfd.h"
#include "cgroup_util.h"
#include "vm_util.h"
#include "oom_util.h"

#define VICTIM_KB (OOM_VICTIM_SIZE >> 10)
#define NR_USERS 3
#define KTHREADD_PID 2
#define NR_KILLED_CALLERS 6
#define NR_FILE_PAGES 5001
/* More than map_areas() maps. */
#define AREAS_SIZE (40000L * psize() + 2 * MORE_SIZE)
#define HUGE_SIZE (128 * MiB)
#define MORE_SIZE (16 * MiB)
#define MAX_ROUNDS 10

FIXTURE(contract)
{
	struct oom_cgroups cg;
	pid_t users[NR_USERS];	/* of its mm, see share_victim() */
	int (*sharer)(void *arg);
	long kb;		/* at least so much is in the victim */
};

OOM_TEARDOWN(contract, &self->cg)
OOM_SETUP(contract, &self->cg, 0)

static int share_victim(void *arg)
{
	FIXTURE_DATA(contract) * self = arg;
	int i;

	if (oom_map_victim(NULL))
		return -1;
	self->users[0] = getpid();
	for (i = 1; i < NR_USERS; i++) {
		self->users[i] = oom_share_mm(self->sharer, 0, NULL);
		if (self->users[i] < 0)
			return -1;
	}
	return 0;
}

TEST_F_TIMEOUT(contract, bad_fd, OOM_TEST_TIMEOUT_S)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	ASSERT_GE(null, 0);
	EXPECT_EQ(oom_mrelease(-1, 0), -EBADF);
	EXPECT_EQ(oom_mrelease(null, 0), -EBADF);
	close(null);
	EXPECT_EQ(oom_mrelease(null, 0), -EBADF);
	/* A kernel thread has no mm. Some PID namespaces have none. */
	if (!proc_read_strstr(KTHREADD_PID, false, "comm", "kthreadd"))
		EXPECT_EQ(oom_mrelease_pid(KTHREADD_PID), -ESRCH);
}

/* Returns the errno, or 0, as its exit status. */
static int release_as_nobody(const char *cgroup, void *arg)
{
	if (setresuid(TEST_UID, TEST_UID, TEST_UID))
		return -1;
	return -oom_mrelease_pid(*(pid_t *)arg);
}

/* Any process with a pidfd may release what goes away anyhow, and nothing else. */
TEST_F_TIMEOUT(contract, live_process, OOM_TEST_TIMEOUT_S)
{
	pid_t victim = oom_start(&self->cg, oom_map_victim, NULL);

	OOM_NEED(return, &self->cg, OOM_FREEZER);
	ASSERT_GT(victim, 0);
	EXPECT_EQ(oom_mrelease_pid(victim), -EINVAL);
	EXPECT_GE(oom_anon_kb(victim), VICTIM_KB);

	ASSERT_EQ(oom_freeze(&self->cg, victim), 0);
	EXPECT_EQ(oom_mrelease_pid(victim), -EINVAL);
	EXPECT_EQ(cg_run(self->cg.memcg, release_as_nobody, &victim), EINVAL);
	EXPECT_GE(oom_anon_kb(victim), VICTIM_KB);

	ASSERT_EQ(kill(victim, SIGKILL), 0);
	EXPECT_EQ(cg_run(self->cg.memcg, release_as_nobody, &victim), 0);
	EXPECT_EQ(oom_anon_kb(victim), 0);
}

TEST_F_TIMEOUT(contract, gone_process, OOM_TEST_TIMEOUT_S)
{
	pid_t victim = oom_start(&self->cg, oom_map_victim, NULL);
	int pidfd = sys_pidfd_open(victim, 0);

	ASSERT_GE(pidfd, 0);
	ASSERT_EQ(kill(victim, SIGKILL), 0);
	ASSERT_TRUE(poll_until(oom_is_dead(victim)));
	/* Somebody may be reading its files in /proc. */
	EXPECT_TRUE(poll_until(oom_mrelease(pidfd, 0) == -ESRCH));
	ASSERT_EQ(waitpid(victim, NULL, 0), victim);
	EXPECT_EQ(oom_mrelease(pidfd, 0), -ESRCH);
}

TEST_F_TIMEOUT(contract, frozen_victim, OOM_TEST_TIMEOUT_S)
{
	int bit, pidfd;
	pid_t victim;

	OOM_NEED(return, &self->cg, OOM_FREEZER);
	victim = oom_start_killed(&self->cg, oom_map_victim, NULL);
	ASSERT_GT(victim, 0);
	pidfd = sys_pidfd_open(victim, 0);
	ASSERT_GE(pidfd, 0);
	for (bit = 0; bit < 32; bit++)
		EXPECT_EQ(oom_mrelease(pidfd, 1U << bit), -EINVAL);
	EXPECT_GE(oom_anon_kb(victim), VICTIM_KB);
	EXPECT_EQ(oom_mrelease(pidfd, 0), 0);
	EXPECT_EQ(oom_anon_kb(victim), 0);
	EXPECT_EQ(oom_mrelease(pidfd, 0), 0);
}

/* Nobody takes memory away from a process that lives. */
TEST_F_TIMEOUT(contract, shared_mm, OOM_TEST_TIMEOUT_S)
{
	pid_t *users = self->users;
	int i, last;

	OOM_NEED(return, &self->cg, OOM_FREEZER);
	self->sharer = oom_wait_for_kill;
	for (last = 0; last < NR_USERS; last++) {
		ASSERT_GT(oom_start(&self->cg, share_victim, self), 0);
		for (i = 0; i < NR_USERS; i++)
			ASSERT_EQ(oom_freeze(&self->cg, users[i]), 0);

		for (i = 0; i < NR_USERS; i++)
			if (i != last)
				ASSERT_EQ(kill(users[i], SIGKILL), 0);
		for (i = 0; i < NR_USERS; i++)
			ASSERT_EQ(oom_mrelease_pid(users[i]), -EINVAL);
		ASSERT_GE(oom_anon_kb(users[0]), VICTIM_KB);

		ASSERT_EQ(kill(users[last], SIGKILL), 0);
		ASSERT_EQ(oom_mrelease_pid(users[last]), 0);
		ASSERT_EQ(oom_anon_kb(users[0]), 0);
		for (i = 0; i < NR_USERS; i++)
			ASSERT_EQ(oom_mrelease_pid(users[i]), 0);
		ASSERT_EQ(oom_thaw(&self->cg), 0);
	}
}

/* Ends by itself only if there is a result that must not be. */
static int release_forever(void *arg)
{
	FIXTURE_DATA(contract) * self = arg;
	int ret;

	do {
		ret = oom_mrelease_pid(self->users[0]);
		self->cg.ready = true;
	} while (!ret || ret == -EINVAL || ret == -EAGAIN);
	return -1;
}

/* A caller that is killed, even in wait for the lock, leaves it to others. */
TEST_F_TIMEOUT(contract, killed_caller, OOM_TEST_TIMEOUT_S)
{
	pid_t caller, *users = self->users;
	int i, round, status, waited = 0;

	OOM_NEED(return, &self->cg, OOM_FREEZER);
	/* It takes the mmap_lock for writing. */
	self->sharer = oom_fork_forever;
	for (round = 0; round < NR_KILLED_CALLERS; round++) {
		ASSERT_GT(oom_start_frozen(&self->cg, share_victim, self), 0);
		caller = oom_start(&self->cg, release_forever, self);
		ASSERT_GT(caller, 0);

		for (i = 0; i < NR_USERS; i++)
			ASSERT_EQ(kill(users[i], SIGKILL), 0);
		/* It waits for the lock while a sharer finishes its copy. */
		ASSERT_TRUE(poll_until((oom_is_dead(users[1]) && oom_is_dead(users[2])) ||
				       !proc_read_strstr(caller, false, "status", "State:\tD")));
		waited += !proc_read_strstr(caller, false, "status", "State:\tD");
		ASSERT_EQ(kill(caller, SIGKILL), 0);
		ASSERT_TRUE(poll_until(waitpid(caller, &status, WNOHANG)));
		ASSERT_TRUE(WIFSIGNALED(status));

		/* The frozen victim has the mm, and its exit needs the lock. */
		ASSERT_EQ(oom_mrelease_pid(users[0]), 0);
		ASSERT_EQ(oom_anon_kb(users[0]), 0);
		ASSERT_EQ(oom_thaw(&self->cg), 0);
		ASSERT_TRUE(poll_until(oom_is_dead(users[0])));
	}
	TH_LOG("%d of %d callers waited for the lock", waited, round);
}

/* Without the process, an mm cannot be found, even if somebody has it. */
TEST_F_TIMEOUT(contract, waited_for_pinned, OOM_TEST_TIMEOUT_S)
{
	pid_t victim = oom_start(&self->cg, oom_map_victim, NULL), reader;
	int pidfd = sys_pidfd_open(victim, 0);

	OOM_NEED(return, &self->cg, OOM_USERFAULTFD);
	ASSERT_GE(pidfd, 0);
	reader = oom_start_stuck_reader(&self->cg, victim);
	ASSERT_GT(reader, 0);
	ASSERT_EQ(kill(victim, SIGKILL), 0);
	ASSERT_EQ(waitpid(victim, NULL, 0), victim);
	EXPECT_EQ(oom_mrelease(pidfd, 0), -ESRCH);
	EXPECT_GE(cg_read_long(self->cg.memcg, "memory.current"), OOM_VICTIM_SIZE);
	EXPECT_FALSE(oom_is_dead(reader));
}

/* The OOM reaper has been there before, and may have given up. */
TEST_F_TIMEOUT(contract, after_oom_reaper, OOM_TEST_TIMEOUT_S)
{
	pid_t pid = oom_start(&self->cg, oom_map_victim, NULL);

	ASSERT_GT(pid, 0);
	ASSERT_GT(oom_start(&self->cg, oom_map_bystander, NULL), 0);
	/* It stops while it still has its mm. */
	ASSERT_EQ(ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACEEXIT), 0);
	ASSERT_GE(oom_force(&self->cg), 0);
	ASSERT_EQ(oom_mrelease_pid(pid), 0);
	EXPECT_EQ(oom_anon_kb(pid), 0);
	EXPECT_EQ(oom_event(&self->cg, "oom_kill "), 1);
}

/* The walk ends at the lowest address, which is 0 unless an LSM forbids that. */
static int map_lowest_page(void)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_POPULATE;
	char *lowest = (char *)read_num("/proc/sys/vm/mmap_min_addr") + psize() - 1;

	lowest -= (uintptr_t)lowest % psize();
	return mmap(NULL, psize(), PROT_WRITE, flags, -1, 0) == MAP_FAILED &&
	       mmap(lowest, psize(), PROT_WRITE, flags, -1, 0) == MAP_FAILED;
}

/* Every other page is the process's own, the others are the file's. */
static int map_file(void)
{
	int fd = memfd_create("mrelease_walk", MFD_CLOEXEC);
	size_t size = NR_FILE_PAGES * psize();
	char *mem;

	if (fd < 0 || ftruncate(fd, size))
		return -1;
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (mem == MAP_FAILED)
		return -1;
	force_read_pages(mem, NR_FILE_PAGES, psize());
	oom_touch(mem, size, 2 * psize());
	return 0;
}

/* Returns NULL without CONFIG_TRANSPARENT_HUGEPAGE. */
static char *map_huge(size_t size)
{
	char *mem = aligned_alloc(read_pmd_pagesize() ?: psize(), size);

	if (!mem || madvise(mem, size, MADV_HUGEPAGE))
		return NULL;
	oom_touch(mem, size, psize());
	return mem;
}

/* Sizes around those that a walk may take in one go, off any boundary. */
static int map_areas(void *arg)
{
	FIXTURE_DATA(contract) * self = arg;
	static const size_t nr_pages[] = { 2, 511, 4095, 4096, 4097, 10001 };
	size_t i, size, total = NR_FILE_PAGES * psize();
	char *mem;

	for (i = 0; i < ARRAY_SIZE(nr_pages); i++) {
		size = nr_pages[i] * psize();
		/* Without its ends, which keep it away from a boundary. */
		mem = oom_map(size + 2 * psize());
		if (!mem || munmap(mem, psize()) ||
		    munmap(mem + psize() + size, psize()))
			return -1;
		total += size;
	}
	self->kb = total >> 10;
	/* In swap, if there is any. */
	mem = oom_map(MORE_SIZE);
	madvise(mem, MORE_SIZE, MADV_PAGEOUT);
	/* Half of each huge page, if there are any. */
	mem = map_huge(MORE_SIZE);
	for (i = 0; mem && i < MORE_SIZE; i += 2 * MiB)
		if (madvise(mem + i, MiB, MADV_DONTNEED))
			return -1;
	return map_file() || map_lowest_page();
}

TEST_F_TIMEOUT(contract, leaves_nothing, OOM_TEST_TIMEOUT_S)
{
	pid_t victim;

	OOM_NEED(return, &self->cg, OOM_FREEZER);
	if (oom_no_memory(AREAS_SIZE))
		SKIP(return, "%s", oom_no_memory(AREAS_SIZE));
	victim = oom_start_killed(&self->cg, map_areas, self);
	ASSERT_GT(victim, 0);
	ASSERT_GE(oom_read_proc(victim, "smaps_rollup", "Rss:"), self->kb);

	ASSERT_EQ(oom_mrelease_pid(victim), 0);
	EXPECT_EQ(oom_anon_kb(victim), 0);
	EXPECT_EQ(oom_read_proc(victim, "smaps_rollup", "Swap:"), 0);
	EXPECT_TRUE(poll_until(oom_left(&self->cg) <= NR_FILE_PAGES * psize() + OOM_LEFT_SIZE));
	/* This includes what is shared with others. */
	EXPECT_LE(oom_read_proc(victim, "smaps_rollup", "Rss:"), self->kb / 100);
}

static int map_huge_victim(void *arg)
{
	char *mem = map_huge(HUGE_SIZE);

	/* Move its end off the boundary of a huge page. */
	return mem ? munmap(mem + HUGE_SIZE - psize(), psize()) : -1;
}

static long nr_splits(void)
{
	return read_field("/proc/vmstat", "thp_split_pmd ");
}

/* A walk in steps must not cut a huge page in two. */
TEST_F_TIMEOUT(contract, splits_no_huge_page, OOM_TEST_TIMEOUT_S)
{
	long before, splits = -1;
	pid_t victim;
	int round;

	OOM_NEED(return, &self->cg, OOM_FREEZER);
	if (nr_splits() < 0)
		SKIP(return, "no thp_split_pmd in /proc/vmstat");
	/* Others may split some, but not in each round. */
	for (round = 0; round < MAX_ROUNDS && splits; round++) {
		victim = oom_start_killed(&self->cg, map_huge_victim, NULL);
		ASSERT_GT(victim, 0);
		if (oom_read_proc(victim, "smaps_rollup", "AnonHugePages:") <
		    HUGE_SIZE / 2 >> 10)
			SKIP(return, "got no huge pages");
		before = nr_splits();
		ASSERT_EQ(oom_mrelease_pid(victim), 0);
		splits = nr_splits() - before;
		ASSERT_EQ(oom_thaw(&self->cg), 0);
		ASSERT_EQ(waitpid(victim, NULL, 0), victim);
	}
	EXPECT_EQ(splits, 0);
}

TEST_HARNESS_MAIN
