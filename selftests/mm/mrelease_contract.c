// SPDX-License-Identifier: GPL-2.0
/*
 * Whom process_mrelease(2) takes memory from, and what it returns. To have a
 * process with SIGKILL pending, keep it from its exit with the version 1
 * freezer.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "../pidfd/pidfd.h"
#include "cgroup_util.h"
#include "vm_util.h"
#include "oom_util.h"

#define VICTIM_SIZE (32 * MiB)
#define VICTIM_KB (VICTIM_SIZE >> 10)
#define NR_USERS 3
#define KTHREADD_PID 2
#define NR_KILLED_CALLERS 6

FIXTURE(contract)
{
	struct oom_cgroups cg;
	pid_t victim;
	int pidfd;		/* of the victim */
	pid_t users[NR_USERS];	/* of its mm, see share_victim() */
	int (*sharer)(void *arg);
};

FIXTURE_SETUP(contract)
{
	const char *why = oom_cgroups_create(&self->cg, false);

	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN_PARENT(contract)
{
	EXPECT_TRUE(oom_cgroups_undone(&self->cg));
}

static int map_victim(const char *cgroup, void *arg)
{
	FIXTURE_DATA(contract) * self = arg;

	return oom_map(VICTIM_SIZE) ? oom_ready(&self->cg) : 1;
}

static int share_victim(const char *cgroup, void *arg)
{
	FIXTURE_DATA(contract) * self = arg;
	int i;

	if (!oom_map(VICTIM_SIZE))
		return 1;
	self->users[0] = getpid();
	for (i = 1; i < NR_USERS; i++) {
		self->users[i] = oom_share_mm(self->sharer, 0, NULL);
		if (self->users[i] < 0)
			return 1;
	}
	return oom_ready(&self->cg);
}

static int start_victim(FIXTURE_DATA(contract) * self,
			int (*setup)(const char *cgroup, void *arg))
{
	self->victim = oom_start(&self->cg, setup, self);
	if (self->victim < 0)
		return -1;
	self->pidfd = sys_pidfd_open(self->victim, 0);
	return self->pidfd < 0 ? -1 : 0;
}

static int start_frozen(FIXTURE_DATA(contract) * self,
			int (*setup)(const char *cgroup, void *arg))
{
	if (start_victim(self, setup) ||
	    cg_enter(self->cg.frozen, self->victim))
		return -1;
	return oom_freeze(&self->cg);
}

static long victim_kb(FIXTURE_DATA(contract) * self)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", self->victim);
	return read_field(path, "RssAnon:");
}

TEST_F_TIMEOUT(contract, bad_fd, OOM_TEST_TIMEOUT_S)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	ASSERT_GE(null, 0);
	EXPECT_EQ(oom_mrelease(-1, 0), -EBADF);
	EXPECT_EQ(oom_mrelease(null, 0), -EBADF);
	close(null);
	EXPECT_EQ(oom_mrelease(null, 0), -EBADF);
}

TEST_F_TIMEOUT(contract, bad_flags, OOM_TEST_TIMEOUT_S)
{
	int bit;

	ASSERT_EQ(start_frozen(self, map_victim), 0);
	ASSERT_EQ(kill(self->victim, SIGKILL), 0);
	for (bit = 0; bit < 32; bit++)
		EXPECT_EQ(oom_mrelease(self->pidfd, 1U << bit), -EINVAL);
	EXPECT_GE(victim_kb(self), VICTIM_KB);
	/* The flags were all that was wrong. */
	EXPECT_EQ(oom_mrelease(self->pidfd, 0), 0);
}

TEST_F_TIMEOUT(contract, live_process, OOM_TEST_TIMEOUT_S)
{
	ASSERT_EQ(start_victim(self, map_victim), 0);
	EXPECT_EQ(oom_mrelease(self->pidfd, 0), -EINVAL);
	EXPECT_GE(victim_kb(self), VICTIM_KB);

	ASSERT_EQ(cg_enter(self->cg.frozen, self->victim), 0);
	ASSERT_EQ(oom_freeze(&self->cg), 0);
	EXPECT_EQ(oom_mrelease(self->pidfd, 0), -EINVAL);
	EXPECT_GE(victim_kb(self), VICTIM_KB);
}

TEST_F_TIMEOUT(contract, gone_process, OOM_TEST_TIMEOUT_S)
{
	ASSERT_EQ(start_victim(self, map_victim), 0);
	ASSERT_EQ(kill(self->victim, SIGKILL), 0);
	ASSERT_TRUE(poll_until(oom_is_dead(self->victim)));
	EXPECT_EQ(oom_mrelease(self->pidfd, 0), -ESRCH);
	ASSERT_EQ(waitpid(self->victim, NULL, 0), self->victim);
	EXPECT_EQ(oom_mrelease(self->pidfd, 0), -ESRCH);
}

/* A kernel thread has no mm. */
TEST_F_TIMEOUT(contract, kernel_thread, OOM_TEST_TIMEOUT_S)
{
	int pidfd;

	if (proc_read_strstr(KTHREADD_PID, false, "comm", "kthreadd"))
		SKIP(return, "no kernel threads in this PID namespace");
	pidfd = sys_pidfd_open(KTHREADD_PID, 0);
	ASSERT_GE(pidfd, 0);
	EXPECT_EQ(oom_mrelease(pidfd, 0), -ESRCH);
}

TEST_F_TIMEOUT(contract, frozen_victim, OOM_TEST_TIMEOUT_S)
{
	ASSERT_EQ(start_frozen(self, map_victim), 0);
	ASSERT_EQ(kill(self->victim, SIGKILL), 0);
	EXPECT_GE(victim_kb(self), VICTIM_KB);
	EXPECT_EQ(oom_mrelease(self->pidfd, 0), 0);
	EXPECT_EQ(victim_kb(self), 0);
	EXPECT_EQ(oom_mrelease(self->pidfd, 0), 0);
}

/* Returns the errno, or 0, as its exit status. */
static int release_as_nobody(const char *cgroup, void *arg)
{
	FIXTURE_DATA(contract) * self = arg;

	if (setresuid(TEST_UID, TEST_UID, TEST_UID))
		return -1;
	return -oom_mrelease(self->pidfd, 0);
}

/* Whoever has a pidfd may release what goes away anyhow. */
TEST_F_TIMEOUT(contract, unprivileged_caller, OOM_TEST_TIMEOUT_S)
{
	ASSERT_EQ(start_frozen(self, map_victim), 0);
	EXPECT_EQ(cg_run(self->cg.memcg, release_as_nobody, self), EINVAL);
	EXPECT_GE(victim_kb(self), VICTIM_KB);
	ASSERT_EQ(kill(self->victim, SIGKILL), 0);
	EXPECT_EQ(cg_run(self->cg.memcg, release_as_nobody, self), 0);
	EXPECT_EQ(victim_kb(self), 0);
}

/* Nobody takes memory away from a process that lives. */
TEST_F_TIMEOUT(contract, shared_mm, OOM_TEST_TIMEOUT_S)
{
	int i, last, pidfds[NR_USERS];

	self->sharer = oom_wait_for_kill;
	for (last = 0; last < NR_USERS; last++) {
		ASSERT_EQ(start_victim(self, share_victim), 0);
		for (i = 0; i < NR_USERS; i++) {
			pidfds[i] = sys_pidfd_open(self->users[i], 0);
			ASSERT_GE(pidfds[i], 0);
			ASSERT_EQ(cg_enter(self->cg.frozen, self->users[i]), 0);
		}
		ASSERT_EQ(oom_freeze(&self->cg), 0);

		for (i = 0; i < NR_USERS; i++)
			if (i != last)
				ASSERT_EQ(kill(self->users[i], SIGKILL), 0);
		for (i = 0; i < NR_USERS; i++)
			ASSERT_EQ(oom_mrelease(pidfds[i], 0), -EINVAL);
		ASSERT_GE(victim_kb(self), VICTIM_KB);

		ASSERT_EQ(kill(self->users[last], SIGKILL), 0);
		ASSERT_EQ(oom_mrelease(pidfds[last], 0), 0);
		ASSERT_EQ(victim_kb(self), 0);
		for (i = 0; i < NR_USERS; i++)
			ASSERT_EQ(oom_mrelease(pidfds[i], 0), 0);
		ASSERT_EQ(cg_write(self->cg.frozen, "freezer.state", "THAWED"), 0);
	}
}

/*
 * Copying the mm needs its lock for writing. Not with libc's fork(), which
 * writes to memory that the others use.
 */
static int fork_forever(void *arg)
{
	struct __clone_args args = { .exit_signal = SIGCHLD };

	for (;;) {
		pid_t pid = sys_clone3(&args, sizeof(args));

		if (!pid)
			_exit(0);
		if (pid > 0)
			waitpid(pid, NULL, 0);
	}
	return 0;
}

/* Ends by itself only if there is a result that must not be. */
static int release_forever(const char *cgroup, void *arg)
{
	FIXTURE_DATA(contract) * self = arg;
	int ret;

	do {
		ret = oom_mrelease(self->pidfd, 0);
		self->cg.ready = true;
	} while (!ret || ret == -EINVAL || ret == -EAGAIN);
	return 1;
}

static bool waits_for_lock(pid_t pid)
{
	return !proc_read_strstr(pid, false, "status", "State:\tD");
}

/* A caller that is killed, even in wait for the lock, leaves it to others. */
TEST_F_TIMEOUT(contract, killed_caller, OOM_TEST_TIMEOUT_S)
{
	int i, round, status, nr_waiting = 0;
	pid_t caller;
	bool waits;

	self->sharer = fork_forever;
	for (round = 0; round < NR_KILLED_CALLERS; round++) {
		ASSERT_EQ(start_frozen(self, share_victim), 0);
		caller = oom_start(&self->cg, release_forever, self);
		ASSERT_GT(caller, 0);

		for (i = 0; i < NR_USERS; i++)
			ASSERT_EQ(kill(self->users[i], SIGKILL), 0);
		/* A sharer finishes its copy, if it is at one. */
		ASSERT_TRUE(poll_until((waits = waits_for_lock(caller)) ||
				       (oom_is_dead(self->users[1]) &&
					oom_is_dead(self->users[2]))));
		nr_waiting += waits;
		ASSERT_EQ(kill(caller, SIGKILL), 0);
		ASSERT_TRUE(poll_until(waitpid(caller, &status, WNOHANG)));
		ASSERT_TRUE(WIFSIGNALED(status));

		/* The frozen victim has the mm, and its exit needs the lock. */
		ASSERT_EQ(oom_mrelease(self->pidfd, 0), 0);
		ASSERT_EQ(victim_kb(self), 0);
		ASSERT_EQ(cg_write(self->cg.frozen, "freezer.state", "THAWED"), 0);
		ASSERT_TRUE(poll_until(oom_is_dead(self->victim)));
	}
	TH_LOG("%d of %d callers waited for the lock", nr_waiting, round);
}

/* Without the process, an mm cannot be found, even if somebody has it. */
TEST_F_TIMEOUT(contract, waited_for_pinned, OOM_TEST_TIMEOUT_S)
{
	struct oom_stuck stuck;
	pid_t reader;

	if (!oom_stuck_page(&stuck))
		SKIP(return, "no userfaultfd (CONFIG_USERFAULTFD)");
	ASSERT_EQ(start_victim(self, map_victim), 0);
	reader = oom_start_stuck_reader(&self->cg, self->victim);
	ASSERT_GT(reader, 0);
	ASSERT_EQ(kill(self->victim, SIGKILL), 0);
	ASSERT_EQ(waitpid(self->victim, NULL, 0), self->victim);
	EXPECT_EQ(oom_mrelease(self->pidfd, 0), -ESRCH);
	EXPECT_GE(cg_read_long(self->cg.memcg, "memory.current"), VICTIM_SIZE);
	EXPECT_FALSE(oom_is_dead(reader));
}

TEST_HARNESS_MAIN
