// SPDX-License-Identifier: GPL-2.0
/*
 * process_mrelease(2): what it promises (fixture mrelease), and that it gets
 * along with exit_mmap() and the OOM reaper (fixture mrelease_race).
 *
 * Environment, for the races only:
 *   OOM_EXIT_ROUNDS   victims of exited_race, 1 or more (default: 200, or as
 *                     many as 6 seconds are enough for)
 *   OOM_RACE_ROUNDS   victims per variant, 1 or more (default: 20)
 *   OOM_RACE_SECONDS  time after which a variant starts no further round,
 *                     1 to 60 (default: 6)
 * Whichever comes first ends a variant, but not before its first round.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "oom_util.h"

#ifndef FIXTURE_TEARDOWN_PARENT
#define FIXTURE_TEARDOWN_PARENT(name) FIXTURE_TEARDOWN(name)
#endif

#ifndef __NR_clone3
#define __NR_clone3 435
#endif

#define STACK_SIZE (64UL << 10)
#define NOBODY 65534

/* Private memory of the process that is released, in both fixtures. */
#define PRIVATE_SIZE (32 * MiB)
/* Memory is back when this is left: kernel stacks, per-CPU batches. */
#define LEFT_SIZE (4 * MiB)

/* A process that waits to be killed, on behalf of one that shares its mm. */
static int wait_for_kill(void *arg)
{
	for (;;)
		pause();
	return 0;
}

/* Starts @fn(@arg) as a process of its own in the caller's memory. */
static pid_t clone_sharer(int (*fn)(void *arg), void *arg)
{
	char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	if (stack == MAP_FAILED)
		return -errno;
	pid = clone(fn, stack + STACK_SIZE, CLONE_VM | SIGCHLD, arg);
	return pid < 0 ? -errno : pid;
}

/* The bytes that a line of smaps_rollup, as "Anonymous", says; or -errno. */
static long long smaps_bytes(pid_t pid, const char *field)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	return oom_figure_kb(path, field);
}

/* A number of the environment, @fallback if it isn't set, or -1. */
static long env_number(const char *name, long fallback, long max)
{
	const char *text = getenv(name);
	char *end;
	long number;

	if (!text || !*text)
		return fallback;
	errno = 0;
	number = strtol(text, &end, 10);
	return errno || *end || number < 1 || number > max ? -1 : number;
}

/* Reaps every child there is; all have been killed, or are about to be. */
static int reap_children(void)
{
	long long deadline = oom_now_ms() + OOM_DEADLINE_MS;
	pid_t pid;

	for (;;) {
		pid = waitpid(-1, NULL, WNOHANG | __WALL);
		if (pid < 0)
			return errno == ECHILD ? 0 : -errno;
		if (pid)
			continue;
		if (oom_now_ms() > deadline)
			return -ETIMEDOUT;
		oom_poll_pause();
	}
}

/* Processes with the mm of the one that is released, in a contract test. */
#define NR_SHARERS 2

/* What the processes of a contract test tell each other. */
struct shared {
	char *mem;		/* PRIVATE_SIZE bytes */
	pid_t sharer[NR_SHARERS];
	atomic_int calls;	/* of release_forever() */
};

FIXTURE(mrelease)
{
	struct oom_cgroups cg;
	struct shared *sh;
	int klog;
};

FIXTURE_SETUP(mrelease)
{
	const char *why;

	if (!oom_have_mrelease())
		SKIP(return, "no process_mrelease()");
	if (access("/proc/self/smaps_rollup", R_OK))
		SKIP(return, "no smaps_rollup (CONFIG_PROC_PAGE_MONITOR)");
	self->sh = mmap(NULL, sizeof(*self->sh), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(self->sh, MAP_FAILED);

	why = oom_cgroups_create(&self->cg, true);
	if (why) {
		oom_cgroups_destroy(&self->cg);
		SKIP(return, "%s", why);
	}
	/* So that reap_children() has the children's children, too. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	self->klog = oom_klog_open();
}

FIXTURE_TEARDOWN_PARENT(mrelease)
{
	EXPECT_EQ(oom_cgroups_destroy(&self->cg), 0);
}

static void check_klog(struct __test_metadata *_metadata, int klog)
{
	char line[256];

	if (klog < 0)
		return;
	EXPECT_EQ(oom_klog_check(klog, line, sizeof(line)), 0)
		TH_LOG("kernel log: %s", line);
}

/* For the end of each test that started something. */
static void check_end(struct __test_metadata *_metadata,
		      FIXTURE_DATA(mrelease) * self)
{
	EXPECT_EQ(oom_cgroups_destroy(&self->cg), 0);
	EXPECT_EQ(reap_children(), 0);
	check_klog(_metadata, self->klog);
}

static int map_private(void *arg)
{
	struct shared *sh = arg;

	sh->mem = oom_map_populated(PRIVATE_SIZE);
	return sh->mem ? 0 : -ENOMEM;
}

/* The memory is there, or gone, as @present says; and the process exists. */
static void check_memory(struct __test_metadata *_metadata,
			 FIXTURE_DATA(mrelease) * self, pid_t pid, int present)
{
	long long anon = smaps_bytes(pid, "Anonymous");
	int fd = oom_pagemap_open(pid);
	size_t i, at[] = { 0, PRIVATE_SIZE / 2, PRIVATE_SIZE - 1 };

	ASSERT_GE(fd, 0);
	for (i = 0; i < ARRAY_SIZE(at); i++) {
		EXPECT_EQ(oom_pagemap_present(fd, self->sh->mem + at[i]),
			  present)
			TH_LOG("offset %zu", at[i]);
	}
	EXPECT_TRUE(present ? anon >= (long long)PRIVATE_SIZE : !anon)
		TH_LOG("%lld bytes of anonymous memory", anon);
	EXPECT_EQ(strchr("ZX", oom_task_state(pid)), NULL);
	close(fd);
}

static pid_t start_frozen(struct __test_metadata *_metadata,
			  FIXTURE_DATA(mrelease) * self, int (*fn)(void *arg))
{
	pid_t pid = oom_spawn(&self->cg, fn, self->sh);

	ASSERT_GT(pid, 0);
	ASSERT_EQ(oom_cgroup_attach(self->cg.frozen, pid), 0);
	ASSERT_EQ(oom_freeze(&self->cg), 0);
	return pid;
}

TEST_F_TIMEOUT(mrelease, bad_fd, OOM_TEST_TIMEOUT_S)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int pidfd = oom_pidfd_open(getpid());

	EXPECT_EQ(oom_mrelease(-1, 0), -EBADF);
	ASSERT_GE(null, 0);
	EXPECT_EQ(oom_mrelease(null, 0), -EBADF);
	close(null);
	ASSERT_GE(pidfd, 0);
	close(pidfd);
	EXPECT_EQ(oom_mrelease(pidfd, 0), -EBADF);
}

TEST_F_TIMEOUT(mrelease, bad_flags, OOM_TEST_TIMEOUT_S)
{
	pid_t pid = start_frozen(_metadata, self, map_private);
	int pidfd = oom_pidfd_open(pid);
	unsigned int bit;

	ASSERT_GE(pidfd, 0);
	/* The flags alone are in the way: with none, this would succeed. */
	ASSERT_EQ(kill(pid, SIGKILL), 0);
	for (bit = 0; bit < 32; bit++)
		EXPECT_EQ(oom_mrelease(pidfd, 1U << bit), -EINVAL);
	EXPECT_EQ(oom_mrelease(pidfd, ~0U), -EINVAL);
	check_memory(_metadata, self, pid, 1);
	EXPECT_EQ(oom_mrelease(pidfd, 0), 0);
	check_end(_metadata, self);
}

TEST_F_TIMEOUT(mrelease, live_process, OOM_TEST_TIMEOUT_S)
{
	pid_t pid = oom_spawn(&self->cg, map_private, self->sh);
	int pidfd;

	ASSERT_GT(pid, 0);
	pidfd = oom_pidfd_open(pid);
	ASSERT_GE(pidfd, 0);
	EXPECT_EQ(oom_mrelease(pidfd, 0), -EINVAL);
	check_memory(_metadata, self, pid, 1);

	/* That it is frozen makes no difference. */
	ASSERT_EQ(oom_cgroup_attach(self->cg.frozen, pid), 0);
	ASSERT_EQ(oom_freeze(&self->cg), 0);
	EXPECT_EQ(oom_mrelease(pidfd, 0), -EINVAL);
	check_memory(_metadata, self, pid, 1);
	check_end(_metadata, self);
}

TEST_F_TIMEOUT(mrelease, gone_process, OOM_TEST_TIMEOUT_S)
{
	pid_t pid = oom_spawn(&self->cg, map_private, self->sh);
	int pidfd;

	ASSERT_GT(pid, 0);
	pidfd = oom_pidfd_open(pid);
	ASSERT_GE(pidfd, 0);
	ASSERT_EQ(kill(pid, SIGKILL), 0);
	ASSERT_EQ(oom_wait_state(pid, "Z"), 0);
	EXPECT_EQ(oom_mrelease(pidfd, 0), -ESRCH)
		TH_LOG("zombie");
	ASSERT_EQ(waitpid(pid, NULL, 0), pid);
	EXPECT_EQ(oom_mrelease(pidfd, 0), -ESRCH)
		TH_LOG("reaped");
	check_end(_metadata, self);
}

/* A kernel thread has no mm to release. */
TEST_F_TIMEOUT(mrelease, kernel_thread, OOM_TEST_TIMEOUT_S)
{
	char name[32];
	int pidfd;

	if (oom_read("/proc/2/comm", name, sizeof(name)) ||
	    strcmp(name, "kthreadd"))
		SKIP(return, "no kernel threads in this PID namespace");
	pidfd = oom_pidfd_open(2);
	ASSERT_GE(pidfd, 0);
	EXPECT_EQ(oom_mrelease(pidfd, 0), -ESRCH);
}

/* Killed, but held by the freezer, a process is released; twice is fine. */
TEST_F_TIMEOUT(mrelease, frozen_victim, OOM_TEST_TIMEOUT_S)
{
	pid_t pid = start_frozen(_metadata, self, map_private);
	int pidfd = oom_pidfd_open(pid);

	ASSERT_GE(pidfd, 0);
	ASSERT_EQ(kill(pid, SIGKILL), 0);
	check_memory(_metadata, self, pid, 1);
	EXPECT_EQ(oom_mrelease(pidfd, 0), 0);
	check_memory(_metadata, self, pid, 0);
	EXPECT_EQ(oom_mrelease(pidfd, 0), 0);
	check_memory(_metadata, self, pid, 0);

	/* It can still exit, as one that was killed. */
	ASSERT_EQ(oom_thaw(&self->cg), 0);
	EXPECT_EQ(oom_wait_state(pid, "Z"), 0);
	EXPECT_EQ(oom_mrelease(pidfd, 0), -ESRCH);
	check_end(_metadata, self);
}

static int release_as_nobody(void *arg)
{
	int *pidfd = arg;

	if (setresgid(NOBODY, NOBODY, NOBODY) ||
	    setresuid(NOBODY, NOBODY, NOBODY))
		return -errno;
	return oom_mrelease(*pidfd, 0);
}

/*
 * There is no permission check: whoever has got a pidfd may release what is
 * going away anyhow. The caller has neither the victim's uid nor capabilities.
 */
TEST_F_TIMEOUT(mrelease, unprivileged_caller, OOM_TEST_TIMEOUT_S)
{
	pid_t pid = start_frozen(_metadata, self, map_private);
	int pidfd = oom_pidfd_open(pid);

	ASSERT_GE(pidfd, 0);
	/* The same errors for it as for root, too. */
	EXPECT_EQ(oom_spawn(&self->cg, release_as_nobody, &pidfd), -EINVAL);
	check_memory(_metadata, self, pid, 1);
	ASSERT_EQ(kill(pid, SIGKILL), 0);
	EXPECT_GT(oom_spawn(&self->cg, release_as_nobody, &pidfd), 0);
	check_memory(_metadata, self, pid, 0);
	check_end(_metadata, self);
}

static int map_private_shared(void *arg)
{
	struct shared *sh = arg;
	int ret = map_private(sh);

	if (ret)
		return ret;
	ret = clone_sharer(wait_for_kill, NULL);
	sh->sharer[0] = ret;
	return ret < 0 ? ret : 0;
}

/* As long as somebody who lives uses the mm, it must not be touched. */
TEST_F_TIMEOUT(mrelease, shared_mm, OOM_TEST_TIMEOUT_S)
{
	int round;

	for (round = 0; round < 2; round++) {
		int pidfd[2], i;
		pid_t pid[2];

		pid[0] = oom_spawn(&self->cg, map_private_shared, self->sh);
		ASSERT_GT(pid[0], 0);
		pid[1] = self->sh->sharer[0];
		for (i = 0; i < 2; i++) {
			ASSERT_EQ(oom_cgroup_attach(self->cg.frozen, pid[i]), 0);
			pidfd[i] = oom_pidfd_open(pid[i]);
			ASSERT_GE(pidfd[i], 0);
		}
		ASSERT_EQ(oom_freeze(&self->cg), 0);

		for (i = 0; i < 2; i++)
			EXPECT_EQ(oom_mrelease(pidfd[i], 0), -EINVAL);
		/* Either of the two may be the first to be killed. */
		ASSERT_EQ(kill(pid[round], SIGKILL), 0);
		for (i = 0; i < 2; i++)
			EXPECT_EQ(oom_mrelease(pidfd[i], 0), -EINVAL);
		check_memory(_metadata, self, pid[0], 1);

		ASSERT_EQ(kill(pid[!round], SIGKILL), 0);
		EXPECT_EQ(oom_mrelease(pidfd[round], 0), 0);
		check_memory(_metadata, self, pid[0], 0);
		EXPECT_EQ(oom_mrelease(pidfd[!round], 0), 0);

		ASSERT_EQ(oom_thaw(&self->cg), 0);
		EXPECT_EQ(reap_children(), 0);
		close(pidfd[0]);
		close(pidfd[1]);
	}
	check_end(_metadata, self);
}

/* Until all threads of the process have exited, its parent has not waited. */
static int wait_exit(int pidfd)
{
	struct pollfd pollfd = { .fd = pidfd, .events = POLLIN };

	return poll(&pollfd, 1, OOM_DEADLINE_MS) == 1 ? 0 : -ETIMEDOUT;
}

/*
 * The process has exited, and somebody who reads its memory has the mm: that
 * is released for as long as it is there, and can be found.
 */
TEST_F_TIMEOUT(mrelease, exited_pinned, OOM_TEST_TIMEOUT_S)
{
	int round;

	if (!oom_have_userfaultfd())
		SKIP(return, "no userfaultfd (CONFIG_USERFAULTFD)");
	for (round = 0; round < 2; round++) {
		pid_t pid = oom_spawn(&self->cg, map_private, self->sh), reader;
		int pidfd = oom_pidfd_open(pid), reader_fd;
		long long before, after;

		ASSERT_GE(pidfd, 0);
		reader = oom_spawn_reader(&self->cg, pid);
		reader_fd = oom_pidfd_open(reader);
		ASSERT_GE(reader_fd, 0);
		ASSERT_EQ(kill(pid, SIGKILL), 0);
		ASSERT_EQ(wait_exit(pidfd), 0);

		before = oom_mem_usage(&self->cg);
		ASSERT_GE(before, (long long)PRIVATE_SIZE);
		EXPECT_EQ(oom_mrelease(pidfd, 0), 0);
		after = oom_mem_usage(&self->cg);
		EXPECT_GE(before - after, (long long)PRIVATE_SIZE * 95 / 100)
			TH_LOG("%lld of %lu kB are back", (before - after) >> 10,
			       PRIVATE_SIZE >> 10);
		EXPECT_EQ(oom_mrelease(pidfd, 0), 0)
			TH_LOG("again");
		EXPECT_EQ(strchr("ZX", oom_task_state(reader)), NULL);

		/* Nothing is there without a process, or without a reader. */
		if (round) {
			ASSERT_EQ(waitpid(pid, NULL, 0), pid);
			EXPECT_EQ(oom_mrelease(pidfd, 0), -ESRCH);
		}
		ASSERT_EQ(kill(reader, SIGKILL), 0);
		ASSERT_EQ(wait_exit(reader_fd), 0);
		EXPECT_EQ(oom_mrelease(pidfd, 0), -ESRCH);
		EXPECT_EQ(reap_children(), 0);
		close(pidfd);
		close(reader_fd);
	}
	check_end(_metadata, self);
}

/* The process has exited, and another one has the mm, which lives at first. */
TEST_F_TIMEOUT(mrelease, exited_shared, OOM_TEST_TIMEOUT_S)
{
	pid_t pid = oom_spawn(&self->cg, map_private_shared, self->sh);
	pid_t sharer = self->sh->sharer[0];
	int pidfd = oom_pidfd_open(pid);

	ASSERT_GE(pidfd, 0);
	ASSERT_EQ(kill(pid, SIGKILL), 0);
	ASSERT_EQ(wait_exit(pidfd), 0);
	EXPECT_EQ(oom_mrelease(pidfd, 0), -EINVAL);
	check_memory(_metadata, self, sharer, 1);

	/* Killed, but held by the freezer. */
	ASSERT_EQ(oom_cgroup_attach(self->cg.frozen, sharer), 0);
	ASSERT_EQ(oom_freeze(&self->cg), 0);
	EXPECT_EQ(oom_mrelease(pidfd, 0), -EINVAL);
	check_memory(_metadata, self, sharer, 1);
	ASSERT_EQ(kill(sharer, SIGKILL), 0);
	EXPECT_EQ(oom_mrelease(pidfd, 0), 0);
	check_memory(_metadata, self, sharer, 0);

	ASSERT_EQ(oom_thaw(&self->cg), 0);
	ASSERT_EQ(oom_wait_state(sharer, "Z"), 0);
	EXPECT_EQ(oom_mrelease(pidfd, 0), -ESRCH);
	check_end(_metadata, self);
}

/* What a victim of exited_race has: little, for there are many of them. */
#define SMALL_SIZE (MiB / 2)
#define SMALL_THREADS 3
/* Enough for 10000 rounds on a kernel with every debug option. */
#define EXITED_RACE_TIMEOUT_S 3600

static void *pause_thread(void *arg)
{
	wait_for_kill(arg);
	return NULL;
}

static int map_small(void *arg)
{
	struct shared *sh = arg;
	pthread_t thread;
	int i, ret = 0;

	sh->mem = oom_map_populated(SMALL_SIZE);
	for (i = 1; i < SMALL_THREADS && !ret; i++)
		ret = pthread_create(&thread, NULL, pause_thread, NULL);
	return sh->mem ? -ret : -ENOMEM;
}

struct reader {
	int fd;
	char *mem;
};

/* Has the victim's mm for short times, until nobody has it any more. */
static void *read_until_gone(void *arg)
{
	static char buf[SMALL_SIZE];
	struct reader *reader = arg;

	while (pread(reader->fd, buf, sizeof(buf), (uintptr_t)reader->mem) > 0)
		;
	return NULL;
}

static int open_mem(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	return open(path, O_RDONLY | O_CLOEXEC);
}

struct releaser {
	int pidfd;
	unsigned long ok;
	int ret;
};

static void *release_until_gone(void *arg)
{
	struct releaser *releaser = arg;
	long long deadline = oom_now_ms() + OOM_DEADLINE_MS;

	do {
		releaser->ret = oom_mrelease(releaser->pidfd, 0);
		releaser->ok += !releaser->ret;
	} while ((!releaser->ret || releaser->ret == -EAGAIN) &&
		 oom_now_ms() < deadline);
	return NULL;
}

/*
 * Two release it when the process is about to let go of its mm or just has,
 * while nobody, a reader that comes and goes, or one that is stuck until it is
 * killed has the mm, too, and lets go of it as well.
 */
TEST_F_TIMEOUT(mrelease, exited_race, EXITED_RACE_TIMEOUT_S)
{
	long nr, rounds = env_number("OOM_EXIT_ROUNDS", 0, LONG_MAX);
	long long end = rounds ? LLONG_MAX : oom_now_ms() + 6000;
	enum { NO_READER, READER, STUCK_READER, NR_READERS } kind;
	bool have_stuck = oom_have_userfaultfd();
	unsigned long ok[NR_READERS] = {};

	ASSERT_GE(rounds, 0)
		TH_LOG("OOM_EXIT_ROUNDS must be a number from 1");
	for (nr = 0; nr < (rounds ?: 200) && oom_now_ms() < end; nr++) {
		pid_t pid = oom_spawn(&self->cg, map_small, self->sh), stuck = 0;
		struct reader reader = { .mem = self->sh->mem };
		struct releaser first = {}, second = {};
		pthread_t releasing, reading;

		kind = nr % (have_stuck ? NR_READERS : STUCK_READER);
		first.pidfd = oom_pidfd_open(pid);
		ASSERT_GE(first.pidfd, 0);
		second.pidfd = first.pidfd;
		if (kind == READER) {
			reader.fd = open_mem(pid);
			ASSERT_GE(reader.fd, 0);
			ASSERT_EQ(pthread_create(&reading, NULL,
						 read_until_gone, &reader), 0);
		} else if (kind == STUCK_READER) {
			stuck = oom_spawn_reader(&self->cg, pid);
			ASSERT_GT(stuck, 0);
		}

		ASSERT_EQ(kill(pid, SIGKILL), 0);
		if (nr / NR_READERS % 2)
			ASSERT_EQ(wait_exit(first.pidfd), 0);
		ASSERT_EQ(pthread_create(&releasing, NULL, release_until_gone,
					 &second), 0);
		if (stuck)
			kill(stuck, SIGKILL);
		release_until_gone(&first);
		pthread_join(releasing, NULL);
		ASSERT_EQ(first.ret, -ESRCH);
		ASSERT_EQ(second.ret, -ESRCH);
		ok[kind] += first.ok + second.ok;

		if (kind == READER) {
			pthread_join(reading, NULL);
			close(reader.fd);
		}
		ASSERT_EQ(reap_children(), 0);
		close(first.pidfd);
	}
	TH_LOG("%ld rounds; 0 without a reader: %lu, with one: %lu, stuck: %lu",
	       nr, ok[NO_READER], ok[READER], ok[STUCK_READER]);
	EXPECT_GE(oom_wait_mem_usage(&self->cg, LEFT_SIZE), 0);
	check_end(_metadata, self);
}

/*
 * Forks without end: it has the mm locked for writing while it copies it. Not
 * by fork(), which shares state with the other process in libc.
 */
static int fork_forever(void *arg)
{
	struct clone_args args = { .exit_signal = SIGCHLD };

	for (;;) {
		long pid = syscall(__NR_clone3, &args, sizeof(args));

		if (!pid)
			_exit(0);
		if (pid < 0)
			pause();
		waitpid(pid, NULL, 0);
	}
	return 0;
}

/* With two of them, the one has to wait until the other is through. */
static int map_private_forked(void *arg)
{
	struct shared *sh = arg;
	int i, ret;

	ret = setpgid(0, 0) ? -errno : map_private(sh);
	if (ret)
		return ret;
	for (i = 0; i < NR_SHARERS; i++) {
		sh->sharer[i] = clone_sharer(fork_forever, NULL);
		if (sh->sharer[i] < 0)
			return sh->sharer[i];
	}
	return 0;
}

/* Starts a process that calls process_mrelease() again and again. */
static pid_t release_forever(FIXTURE_DATA(mrelease) * self, int pidfd)
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (oom_cgroup_attach(self->cg.run, 0))
		_exit(1);
	for (;;) {
		oom_mrelease(pidfd, 0);
		self->sh->calls++;
	}
}

/*
 * EINTR is for a caller with a fatal signal only, so that nobody ever sees it.
 * What can be seen: a caller that is killed goes away, wherever it is at that
 * moment, and has not left the mm locked.
 */
TEST_F_TIMEOUT(mrelease, killed_caller, OOM_TEST_TIMEOUT_S)
{
	long long end = oom_now_ms() + 3000, deadline;
	int round, waiting = 0;

	for (round = 0; round < 12 && oom_now_ms() < end; round++) {
		pid_t *sharer = self->sh->sharer;
		pid_t pid, caller;
		int pidfd, status;
		char state;

		pid = start_frozen(_metadata, self, map_private_forked);
		pidfd = oom_pidfd_open(pid);
		ASSERT_GE(pidfd, 0);

		self->sh->calls = 0;
		caller = release_forever(self, pidfd);
		ASSERT_GT(caller, 0);
		deadline = oom_now_ms() + OOM_DEADLINE_MS;
		while (!self->sh->calls && oom_now_ms() < deadline)
			oom_poll_pause();
		ASSERT_GT(self->sh->calls, 0);

		/* Who copies the mm finishes that, and the caller waits. */
		ASSERT_EQ(kill(-pid, SIGKILL), 0);
		do {
			state = oom_task_state(caller);
		} while (state != 'D' && oom_now_ms() < deadline &&
			 !(strchr("ZX", oom_task_state(sharer[0])) &&
			   strchr("ZX", oom_task_state(sharer[1]))));
		ASSERT_EQ(kill(caller, SIGKILL), 0);
		waiting += state == 'D';

		ASSERT_EQ(oom_wait_state(caller, "Z"), 0);
		ASSERT_EQ(waitpid(caller, &status, 0), caller);
		EXPECT_TRUE(WIFSIGNALED(status) &&
			    WTERMSIG(status) == SIGKILL);

		/* The mm is still there: the freezer has one of its users. */
		EXPECT_EQ(oom_mrelease(pidfd, 0), 0);
		check_memory(_metadata, self, pid, 0);

		/* exit_mmap() needs the lock for writing. */
		ASSERT_EQ(oom_thaw(&self->cg), 0);
		EXPECT_EQ(reap_children(), 0);
		close(pidfd);
	}
	TH_LOG("%d callers killed, %d of them in wait for mmap_lock", round,
	       waiting);
	EXPECT_GT(round, 0);
	check_end(_metadata, self);
}

/*
 * The races. A round is a victim, made of one or more processes with one mm,
 * that is killed while two threads call process_mrelease() for all of these
 * processes until each is gone. Four kinds of rounds take turns:
 */
enum kind {
	KILLED,		/* everybody exits at once */
	KILLED_PINNED,	/* the freezer holds a process for some time */
	KILLED_AGAIN,
	OOM_PINNED,	/* by the OOM killer, and the reaper joins in */
	NR_KINDS
};

/* One that may be frozen, one that the OOM killer takes, and sharers. */
#define MAX_SHARERS 8
#define MAX_USERS (MAX_SHARERS + 2)
#define NR_CALLERS 2

/* The whole system's AnonPages change without us, too. */
#define ANON_SLACK (PRIVATE_SIZE / 2)

/* Pages per VMA that make 2048 of them, with 4 KiB pages. */
#define SMALL_VMA_PAGES 4
#define HUGE_ALIGN (2 * MiB)

struct race {
	pid_t pid[MAX_USERS];	/* of those that share the mm */
};

struct results {
	unsigned long ok, esrch, eagain, einval;
	bool failed;		/* no further round makes sense */
};

enum progress {
	CALLING,
	RELEASED,	/* has had another result than EINVAL */
	DONE
};

struct caller {
	pthread_t thread;
	struct round *round;
	int nr;
	atomic_int progress;
	struct results results;
	int bad;		/* a result that must not be, or 0 */
};

struct round {
	struct caller callers[NR_CALLERS];
	int pidfd[MAX_USERS];
	int users;
	atomic_bool go;
	atomic_bool killed;	/* SIGKILL was sent to all users of the mm */
	atomic_bool stop;
};

FIXTURE(mrelease_race)
{
	struct oom_cgroups cg;
	struct race *race;
	long long anon_pages;
	char taint[32];
	long rounds;
	long seconds;
	int klog;
};

FIXTURE_VARIANT(mrelease_race)
{
	bool small_vmas;
	bool huge;
	bool locked;
	int sharers;
};

FIXTURE_VARIANT_ADD(mrelease_race, one_vma)
{
	.small_vmas = false,
};

FIXTURE_VARIANT_ADD(mrelease_race, small_vmas)
{
	.small_vmas = true,
};

FIXTURE_VARIANT_ADD(mrelease_race, thp)
{
	.huge = true,
};

FIXTURE_VARIANT_ADD(mrelease_race, mlocked)
{
	.locked = true,
};

FIXTURE_VARIANT_ADD(mrelease_race, sharers)
{
	.sharers = MAX_SHARERS,
};

FIXTURE_SETUP(mrelease_race)
{
	const char *why;

	if (!oom_have_mrelease())
		SKIP(return, "no process_mrelease()");
	self->rounds = env_number("OOM_RACE_ROUNDS", 20, LONG_MAX);
	self->seconds = env_number("OOM_RACE_SECONDS", 6, 60);
	ASSERT_GT(self->rounds, 0)
		TH_LOG("OOM_RACE_ROUNDS must be a number from 1");
	ASSERT_GT(self->seconds, 0)
		TH_LOG("OOM_RACE_SECONDS must be a number from 1 to 60");

	self->race = mmap(NULL, sizeof(*self->race), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(self->race, MAP_FAILED);
	why = oom_cgroups_create(&self->cg, true);
	/* Neither the harness nor the callers may be the OOM killer's choice. */
	if (!why && oom_set_score_adj(-1000))
		why = "cannot set oom_score_adj";
	if (why) {
		oom_cgroups_destroy(&self->cg);
		SKIP(return, "%s", why);
	}
	/* So that reap_children() has the children's children, too. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	self->klog = oom_klog_open();
	oom_read("/proc/sys/kernel/tainted", self->taint, sizeof(self->taint));
	self->anon_pages = oom_figure_kb("/proc/meminfo", "AnonPages");
}

FIXTURE_TEARDOWN_PARENT(mrelease_race)
{
	EXPECT_EQ(oom_cgroups_destroy(&self->cg), 0);
}

struct victim {
	const FIXTURE_VARIANT(mrelease_race) * variant;
	struct race *race;
	int users;
};

static int map_victim(const FIXTURE_VARIANT(mrelease_race) * variant)
{
	size_t i, size = PRIVATE_SIZE, page = getpagesize();
	size_t vma = SMALL_VMA_PAGES * page;
	char *mem;

	mem = mmap(NULL, size + HUGE_ALIGN, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return -errno;
	mem = (char *)(((uintptr_t)mem + HUGE_ALIGN - 1) & ~(HUGE_ALIGN - 1));
	madvise(mem, size, variant->huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	if (variant->locked && mlock(mem, size))
		return -errno;
	for (i = 0; i < size; i += page)
		mem[i] = 1;
	/* Neighbours of the same protection would be one VMA. */
	for (i = 0; variant->small_vmas && i < size; i += 2 * vma)
		if (mprotect(mem + i, vma, PROT_READ))
			return -errno;
	return 0;
}

/*
 * The process that is frozen in pinned rounds makes all others, for the OOM
 * killer takes the youngest of those that are equally bad.
 */
static int start_victim(void *arg)
{
	struct victim *victim = arg;
	struct race *race = victim->race;
	int i, ret;

	/* One kill() for all. */
	if (setpgid(0, 0))
		return -errno;
	ret = oom_set_score_adj(1000);
	if (!ret)
		ret = map_victim(victim->variant);
	if (ret)
		return ret;
	race->pid[0] = getpid();
	for (i = 1; i < victim->users; i++) {
		race->pid[i] = clone_sharer(wait_for_kill, NULL);
		if (race->pid[i] < 0)
			return race->pid[i];
	}
	return 0;
}

/* Takes down what process_mrelease() said, and whether it may say so. */
static void count(struct caller *caller, int ret, bool killed)
{
	struct results *results = &caller->results;

	switch (ret) {
	case 0:
		results->ok++;
		break;
	case -EAGAIN:
		results->eagain++;
		break;
	case -ESRCH:
		results->esrch++;
		break;
	case -EINVAL:
		results->einval++;
		if (killed)
			caller->bad = ret;
		return;
	default:
		caller->bad = ret;
		return;
	}
	/* The kernel found all users dying, and that is for good. */
	if (ret != -ESRCH)
		caller->round->killed = true;
	caller->progress = RELEASED;
}

/* Two of these go through the victim's processes in opposite directions. */
static void *caller_thread(void *arg)
{
	struct caller *caller = arg;
	struct round *round = caller->round;
	int i, ret;

	while (!round->go)
		;
	for (i = 0; i < round->users; i++) {
		int user = caller->nr ? i : round->users - 1 - i;

		do {
			/* Before the call, or EINVAL may be right. */
			bool killed = round->killed;

			ret = oom_mrelease(round->pidfd[user], 0);
			count(caller, ret, killed);
		} while (ret != -ESRCH && !caller->bad && !round->stop);
	}
	caller->progress = DONE;
	return NULL;
}

static int wait_callers(struct round *round, enum progress progress)
{
	long long deadline = oom_now_ms() + OOM_DEADLINE_MS;
	int i;

	for (i = 0; i < NR_CALLERS; i++)
		while (round->callers[i].progress < (int)progress) {
			if (oom_now_ms() > deadline)
				return -ETIMEDOUT;
			oom_poll_pause();
		}
	return 0;
}

/* Is the victim what the variant says? Else the race is one of another kind. */
static const char *check_victim(struct __test_metadata *_metadata, pid_t pid,
				const FIXTURE_VARIANT(mrelease_race) * variant)
{
	char path[64], line[256];
	int vmas = 0;
	FILE *maps;

	if (variant->huge && smaps_bytes(pid, "AnonHugePages") <= 0)
		return "no huge pages to be had";
	if (variant->locked)
		EXPECT_GE(smaps_bytes(pid, "Locked"), (long long)PRIVATE_SIZE);
	if (!variant->small_vmas)
		return NULL;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "re");
	ASSERT_NE(maps, NULL);
	while (fgets(line, sizeof(line), maps))
		vmas++;
	fclose(maps);
	EXPECT_GE(vmas, (int)(PRIVATE_SIZE / getpagesize() /
			      SMALL_VMA_PAGES));
	return NULL;
}

/* Returns why this variant can't be had, else NULL. */
static const char *race_round(struct __test_metadata *_metadata,
			      FIXTURE_DATA(mrelease_race) * self,
			      const FIXTURE_VARIANT(mrelease_race) * variant,
			      int nr, enum kind kind, struct results *sum)
{
	bool pinned = kind == KILLED_PINNED || kind == OOM_PINNED;
	struct victim victim = {
		.race = self->race, .variant = variant,
		.users = 1 + variant->sharers + pinned,
	};
	struct round round = { .users = victim.users };
	const char *why;
	pid_t pid;
	int i;

	pid = oom_spawn(&self->cg, start_victim, &victim);
	ASSERT_GT(pid, 0);
	why = check_victim(_metadata, pid, variant);
	if (why)
		return why;
	if (pinned) {
		ASSERT_EQ(oom_cgroup_attach(self->cg.frozen, pid), 0);
		ASSERT_EQ(oom_freeze(&self->cg), 0);
	}
	for (i = 0; i < round.users; i++) {
		round.pidfd[i] = oom_pidfd_open(self->race->pid[i]);
		ASSERT_GE(round.pidfd[i], 0);
	}
	for (i = 0; i < NR_CALLERS; i++) {
		struct caller *caller = &round.callers[i];

		caller->round = &round;
		caller->nr = i;
		ASSERT_EQ(pthread_create(&caller->thread, NULL, caller_thread,
					 caller), 0);
	}

	round.go = true;
	if (kind == OOM_PINNED) {
		ASSERT_EQ(oom_write("/proc/sysrq-trigger", "f"), 0);
	} else {
		ASSERT_EQ(kill(-pid, SIGKILL), 0);
		round.killed = true;
	}
	if (pinned) {
		long long end = oom_now_ms() + nr / NR_KINDS % 8 * 4;

		/* Should the OOM killer take another one, end this here. */
		EXPECT_EQ(wait_callers(&round, RELEASED), 0) {
			sum->failed = true;
			kill(-pid, SIGKILL);
		}
		/*
		 * The reaper comes on a tick of the timer, if at all: let the
		 * exit begin before it, during its work, and after it.
		 */
		while (oom_now_ms() < end)
			oom_poll_pause();
		EXPECT_EQ(oom_thaw(&self->cg), 0);
	}
	EXPECT_EQ(wait_callers(&round, DONE), 0)
		sum->failed = true;
	round.stop = true;

	for (i = 0; i < NR_CALLERS; i++) {
		struct caller *caller = &round.callers[i];

		pthread_join(caller->thread, NULL);
		EXPECT_EQ(caller->bad, 0)
			TH_LOG("round %d, kind %d: process_mrelease(): %s", nr,
			       kind, strerror(-caller->bad));
		sum->failed |= !!caller->bad;
		sum->ok += caller->results.ok;
		sum->esrch += caller->results.esrch;
		sum->eagain += caller->results.eagain;
		sum->einval += caller->results.einval;
	}
	for (i = 0; i < round.users; i++)
		close(round.pidfd[i]);
	EXPECT_EQ(reap_children(), 0)
		sum->failed = true;
	check_klog(_metadata, self->klog);
	return NULL;
}

/* All memory is back, and the kernel has nothing to complain about. */
static void check_race_end(struct __test_metadata *_metadata,
			   FIXTURE_DATA(mrelease_race) * self)
{
	long long deadline = oom_now_ms() + OOM_DEADLINE_MS;
	char taint[32] = "";
	long long anon;

	EXPECT_GE(oom_wait_mem_usage(&self->cg, LEFT_SIZE), 0)
		TH_LOG("%lld bytes are still charged",
		       oom_mem_usage(&self->cg));
	do {
		anon = oom_figure_kb("/proc/meminfo", "AnonPages");
		if (anon <= self->anon_pages + (long long)ANON_SLACK)
			break;
		oom_poll_pause();
	} while (oom_now_ms() < deadline);
	EXPECT_LE(anon, self->anon_pages + (long long)ANON_SLACK);

	EXPECT_EQ(oom_cgroups_destroy(&self->cg), 0);
	check_klog(_metadata, self->klog);
	oom_read("/proc/sys/kernel/tainted", taint, sizeof(taint));
	EXPECT_STREQ(taint, self->taint);
}

TEST_F_TIMEOUT(mrelease_race, exit, OOM_TEST_TIMEOUT_S)
{
	bool global = !oom_global_refused();
	long long start = oom_now_ms();
	int nr, rounds = 0, pinned = 0, oom = 0;
	struct results sum = { .failed = false };

	for (nr = 0; rounds < self->rounds && !sum.failed; nr++) {
		enum kind kind = nr % NR_KINDS;
		const char *why;

		if (rounds && oom_now_ms() - start >= self->seconds * 1000)
			break;
		if (kind == OOM_PINNED && !global)
			continue;
		why = race_round(_metadata, self, variant, nr, kind, &sum);
		if (why)
			SKIP(return, "%s", why);
		rounds++;
		pinned += kind == KILLED_PINNED || kind == OOM_PINNED;
		oom += kind == OOM_PINNED;
	}
	TH_LOG("%d rounds in %lld ms, %d with an OOM kill", rounds,
	       oom_now_ms() - start, oom);
	TH_LOG("0: %lu, ESRCH: %lu, EAGAIN: %lu, EINVAL before the kill: %lu",
	       sum.ok, sum.esrch, sum.eagain, sum.einval);
	EXPECT_GT(rounds, 0);
	/* Held by the freezer, a victim can't be gone before the first call. */
	if (pinned)
		EXPECT_NE(sum.ok, 0UL);
	/* Else there is nothing to wait for, and much to wait. */
	if (!sum.failed)
		check_race_end(_metadata, self);
}

TEST_HARNESS_MAIN
