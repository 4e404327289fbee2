// SPDX-License-Identifier: GPL-2.0
/*
 * An OOM victim gives nothing back while somebody else has the same mm and is
 * frozen. Test that all of it comes back, soon, and that nobody dies for it.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "cgroup_util.h"
#include "oom_util.h"

/* Memory that the reaper leaves alone. */
#define SHARED_SIZE (16 * MiB)

/* In memory that all processes of a test share. */
struct oom_test {
	struct oom_cgroups cg;
	atomic_int victim;	/* the process that the OOM killer takes */
	atomic_int sharer;	/* the process with the same mm */
	bool sharer_stays;	/* in the memory cgroup */
	atomic_uint futex;
	int uffd;
};

FIXTURE(oom)
{
	struct oom_test test;
};

FIXTURE_VARIANT(oom)
{
	int needs;
};

FIXTURE_VARIANT_ADD(oom, global) { .needs = OOM_GLOBAL };
FIXTURE_VARIANT_ADD(oom, memcg) {};

OOM_TEARDOWN(oom, &self->test.cg)
OOM_SETUP(oom, &self->test.cg, variant->needs)

/* Only a memory cgroup kills until it has what is asked for. */
FIXTURE(oom_memcg)
{
	struct oom_test test;
};

OOM_TEARDOWN(oom_memcg, &self->test.cg)
OOM_SETUP(oom_memcg, &self->test.cg, 0)

static int map_shared_victim(void)
{
	if (mmap(NULL, SHARED_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED |
		 MAP_ANONYMOUS | MAP_POPULATE, -1, 0) == MAP_FAILED)
		return -1;
	return oom_map_victim(NULL);
}

/*
 * The sharer leaves the memory cgroup, whose OOM killer would take and thaw it
 * otherwise. Its memory stays charged there.
 */
static int leave_and_freeze(struct oom_test *test)
{
	return cg_enter_current(test->cg.outside) || cg_enter_current(test->cg.frozen);
}

static int wait_as_victim(void *arg)
{
	struct oom_test *test = arg;

	test->victim = getpid();
	return oom_wait_for_kill(NULL);
}

/*
 * The caller becomes the sharer. Of two processes that are equally bad, the
 * OOM killer takes the younger one, its child.
 */
static int start_victim(struct oom_test *test)
{
	test->sharer = getpid();
	if (map_shared_victim() || oom_share_mm(wait_as_victim, 0, test) < 0)
		return -1;
	return poll_until(test->victim) ? 0 : -1;
}

static int frozen_sharer(void *arg)
{
	struct oom_test *test = arg;

	return oom_start_thread() < 0 || start_victim(test) || leave_and_freeze(test);
}

/* The second one starts in the cgroups of the first, which has a robust futex. */
static int frozen_sharers(void *arg)
{
	struct oom_test *test = arg;

	return oom_own_futex(&test->futex) || frozen_sharer(test) ||
	       oom_share_mm(oom_wait_for_kill, 0, NULL) < 0;
}

static int frozen_sharer_thread(void *arg)
{
	struct oom_test *test = arg;
	pid_t thread;

	if (start_victim(test) || cg_enter_current(test->cg.outside))
		return -1;
	thread = oom_start_thread();
	return thread < 0 ? -1 : cg_write_numeric(test->cg.frozen, "tasks", thread);
}

static void *ready_when_stuck(void *arg)
{
	struct oom_test *test = arg;

	/* Then exit: thawing a frozen thread would thaw the stuck one, too. */
	test->cg.ready = !oom_stuck_wait(test->uffd);
	return NULL;
}

static int stuck_sharer(void *arg)
{
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	struct oom_test *test = arg;
	char *page = oom_stuck_page(&test->uffd);
	pthread_t thread;

	if (zero < 0 || !page ||
	    start_victim(test) || leave_and_freeze(test) ||
	    pthread_create(&thread, NULL, ready_when_stuck, test))
		return -1;
	return read(zero, page, 1);
}

static int freeze_vfork_child(void *arg)
{
	struct oom_test *test = arg;

	test->sharer = getpid();
	/* Else the OOM killer takes it after its parent, and so thaws it. */
	if (test->sharer_stays ? oom_set_score_adj(-500) :
				 cg_enter_current(test->cg.outside))
		return 1;
	return cg_enter_current(test->cg.frozen) ? 1 : oom_ready(&test->cg);
}

static int vfork_parent(void *arg)
{
	struct oom_test *test = arg;

	test->victim = getpid();
	if (!map_shared_victim())
		oom_share_mm(freeze_vfork_child, CLONE_VFORK, test);
	return -1;
}

/*
 * Nobody waits for the reaper's delay, the victim and the sharer exit, and give
 * all memory back but @left. The OOM killer counts @kills.
 */
static void check_oom(struct __test_metadata *_metadata, struct oom_test *test,
		      long kills, long left)
{
	long ms = oom_force(&test->cg);

	TH_LOG("waited for memory for %ld ms", ms);
	ASSERT_GE(ms, 0);
	ASSERT_LT(ms, OOM_DELAYED_MS);
	ASSERT_TRUE(poll_for(OOM_DELAYED_MS, oom_is_dead(test->victim)));
	ASSERT_TRUE(poll_for(OOM_DELAYED_MS, oom_is_dead(test->sharer)));
	ASSERT_TRUE(poll_until(oom_left(&test->cg) <= left));
	ASSERT_EQ(oom_event(&test->cg, "oom_kill "), kills);
}

static void check_frozen(struct __test_metadata *_metadata,
			 struct oom_test *test, int (*setup)(void *arg))
{
	ASSERT_GT(oom_start(&test->cg, setup, test), 0);
	ASSERT_EQ(oom_freeze(&test->cg, 0), 0);
	check_oom(_metadata, test, 1, OOM_LEFT_SIZE);
}

TEST_F_TIMEOUT(oom, frozen_sharer, OOM_TEST_TIMEOUT_S)
{
	OOM_NEED(return, &self->test.cg, OOM_FREEZER);
	check_frozen(_metadata, &self->test, frozen_sharers);
	/* A task that waits for the futex is told. */
	EXPECT_TRUE(self->test.futex & FUTEX_OWNER_DIED);
}

/* The version 1 freezer can freeze a single thread. */
TEST_F_TIMEOUT(oom, frozen_sharer_thread, OOM_TEST_TIMEOUT_S)
{
	OOM_NEED(return, &self->test.cg, OOM_FREEZER);
	check_frozen(_metadata, &self->test, frozen_sharer_thread);
}

/* The sharer is to freeze, but has not come to a place where it can. */
TEST_F_TIMEOUT(oom, freezing_sharer, OOM_TEST_TIMEOUT_S)
{
	OOM_NEED(return, &self->test.cg, OOM_FREEZER | OOM_USERFAULTFD);
	ASSERT_GT(oom_start(&self->test.cg, stuck_sharer, &self->test), 0);
	ASSERT_EQ(cg_write(self->test.cg.frozen, "freezer.state", "FROZEN"), 0);
	check_oom(_metadata, &self->test, 1, OOM_LEFT_SIZE);
}

/* The victim waits for the child of its vfork(), which is frozen. */
TEST_F_TIMEOUT(oom, frozen_vfork_child, OOM_TEST_TIMEOUT_S)
{
	OOM_NEED(return, &self->test.cg, OOM_FREEZER);
	check_frozen(_metadata, &self->test, vfork_parent);
}

/* Userspace has killed both: the OOM killer takes one of them as it is. */
TEST_F_TIMEOUT(oom, killed_frozen_sharer, OOM_TEST_TIMEOUT_S)
{
	OOM_NEED(return, &self->test.cg, OOM_FREEZER);
	ASSERT_GT(oom_start(&self->test.cg, frozen_sharer, &self->test), 0);
	ASSERT_EQ(oom_freeze(&self->test.cg, self->test.victim), 0);
	ASSERT_EQ(kill(self->test.victim, SIGKILL), 0);
	ASSERT_EQ(kill(self->test.sharer, SIGKILL), 0);
	check_oom(_metadata, &self->test, 0, OOM_LEFT_SIZE);
}

/*
 * The main thread is likely to exit first, and then sleeps: it waits for RCU to
 * free its mount namespace.
 */
static int map_sleepy_main_thread(void *unused)
{
	const struct sched_param param = { .sched_priority = 1 };
	int ret = oom_map_threaded_victim(NULL);

	/* Fails in some cgroups; then the main thread is rarely the first. */
	sched_setscheduler(0, SCHED_FIFO, &param);
	return ret || unshare(CLONE_NEWNS);
}

/*
 * Nobody else is killed while a victim is in exit_mmap(). The kernel searches for
 * a victim all the time until the memory is free.
 */
TEST_F_TIMEOUT(oom_memcg, exiting_victim, OOM_TEST_TIMEOUT_S)
{
	EXPECT_EQ(oom_lower_limits(&self->test.cg, 6, oom_map_victim, OOM_FREE_SIZE), 0);
}

/* The same for the last thread of a victim: a search finds the main thread. */
TEST_F_TIMEOUT(oom_memcg, exiting_last_thread, OOM_TEST_TIMEOUT_S)
{
	struct oom_cgroups *cg = &self->test.cg;

	EXPECT_EQ(oom_lower_limits(cg, 5, oom_exit_main_thread, OOM_FREE_SIZE), 0);
	EXPECT_EQ(oom_lower_limits(cg, 20, map_sleepy_main_thread, OOM_FREE_SIZE), 0);
}

/* The same if nearly all of the victim's memory is needed. A waiter rarely hits that. */
TEST_F_TIMEOUT(oom_memcg, exiting_private_victim, OOM_TEST_TIMEOUT_S)
{
	long long end = now_ms() + OOM_DEADLINE_MS / 3;
	int nr;

	for (nr = 0; nr < 4 && now_ms() < end; nr++) {
		EXPECT_EQ(oom_lower_limits(&self->test.cg, 10, oom_map_private_victim,
					   OOM_VICTIM_SIZE - OOM_LEFT_SIZE), 0);
	}
}

/*
 * A victim that cannot exit, here because of a tracer, shields the others
 * until it is reaped, and no longer.
 */
TEST_F_TIMEOUT(oom_memcg, next_victim, OOM_TEST_TIMEOUT_S)
{
	struct oom_cgroups *cg = &self->test.cg;
	pid_t first = oom_start(cg, oom_map_victim, NULL);
	pid_t second = oom_start(cg, oom_map_bystander, NULL);
	long ms;

	ASSERT_GT(first, 0);
	ASSERT_GT(second, 0);
	ASSERT_EQ(ptrace(PTRACE_SEIZE, first, 0, PTRACE_O_TRACEEXIT), 0);

	ASSERT_GE(oom_force(cg), 0);
	EXPECT_FALSE(oom_is_dead(first));
	EXPECT_EQ(oom_mrelease_pid(first), 0);
	EXPECT_EQ(oom_event(cg, "oom_kill "), 1);
	ms = oom_force(cg);
	ASSERT_GE(ms, 0);
	EXPECT_LT(ms, OOM_DELAYED_MS / 2);
	EXPECT_FALSE(oom_is_dead(first));
	EXPECT_TRUE(poll_until(oom_is_dead(second)));
	EXPECT_EQ(oom_event(cg, "oom_kill "), 2);
}

static void *wait_for_victim(void *arg)
{
	struct oom_test *test = arg;

	waitpid(test->victim, NULL, 0);
	return NULL;
}

/* The victim, the frozen sharer and two others are in one memory cgroup. */
static void check_bystanders(struct __test_metadata *_metadata, struct oom_test *test, bool zombie)
{
	pid_t *bystanders = test->cg.bystanders;
	pthread_t thread;

	OOM_NEED(return, &test->cg, OOM_FREEZER);
	ASSERT_EQ(oom_start_bystanders(&test->cg), 0);
	test->sharer_stays = true;
	ASSERT_GT(oom_start(&test->cg, vfork_parent, test), 0);
	ASSERT_EQ(oom_freeze(&test->cg, bystanders[1]), 0);
	if (!zombie)
		ASSERT_EQ(pthread_create(&thread, NULL, wait_for_victim, test), 0);

	check_oom(_metadata, test, 1, 2 * OOM_BYSTANDER_SIZE + OOM_LEFT_SIZE);
	EXPECT_EQ(proc_read_strstr(bystanders[1], false, "status", "State:\tD"), 0);
}

TEST_F_TIMEOUT(oom_memcg, bystanders_live, OOM_TEST_TIMEOUT_S)
{
	check_bystanders(_metadata, &self->test, false);
}

/* The same with a victim whose parent does not wait for it. */
TEST_F_TIMEOUT(oom_memcg, bystanders_live_zombie, OOM_TEST_TIMEOUT_S)
{
	check_bystanders(_metadata, &self->test, true);
}

/* Page tables and little else; on v6.18 "pagetables" counts nothing. */
static long kernel_memory(struct oom_cgroups *cg)
{
	return cg_read_key_long(cg->memcg, "memory.stat", "kernel ");
}

/* What the reaper empties is of no use to a victim that cannot exit. */
TEST_F_TIMEOUT(oom, page_tables, OOM_TEST_TIMEOUT_S)
{
	struct oom_cgroups *cg = &self->test.cg;
	pid_t victim;

	OOM_NEED(return, cg, OOM_USERFAULTFD | OOM_SPARSE | OOM_PT_RECLAIM);
	victim = oom_start(cg, oom_map_sparse_victim, NULL);
	ASSERT_GT(victim, 0);
	ASSERT_GT(oom_start_stuck_reader(cg, victim), 0);
	ASSERT_TRUE(poll_until(kernel_memory(cg) >= OOM_VICTIM_SIZE));

	ASSERT_EQ(oom_from_outside(cg), 0);
	/* The reaper waits 2 s, RCU frees them, and the figure may be 2 s late. */
	EXPECT_TRUE(poll_for(5 * OOM_DELAYED_MS, kernel_memory(cg) <= OOM_VICTIM_SIZE / 20))
		TH_LOG("%ld of %ld bytes left", kernel_memory(cg), OOM_VICTIM_SIZE);
	EXPECT_EQ(oom_event(cg, "oom_kill "), 1);
}

TEST_HARNESS_MAIN
