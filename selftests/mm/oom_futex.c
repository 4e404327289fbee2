// SPDX-License-Identifier: GPL-2.0
/*
 * Robust futexes of OOM victims: whoever waits learns that the owner died. The
 * list of them is in private memory, which the reaper zaps.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "cgroup_util.h"
#include "oom_util.h"

#define VICTIM_SIZE (64 * MiB)
/* Stacks, page tables, and what the CPUs cache. */
#define LEFT_SIZE (8 * MiB)

FIXTURE(futex)
{
	struct oom_cgroups cg;
	atomic_uint futex;
	atomic_int victim;
	int cpu[2];		/* of those that the test may use */
	atomic_bool busy;	/* the second one is kept so */
	bool global;
	pthread_t thread;
};

FIXTURE_VARIANT(futex)
{
	bool global;
};

FIXTURE_VARIANT_ADD(futex, global)
{
	.global = true,
};

FIXTURE_VARIANT_ADD(futex, memcg)
{
	.global = false,
};

FIXTURE_SETUP(futex)
{
	const char *why = oom_cgroups_create(&self->cg, variant->global);

	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN_PARENT(futex)
{
	EXPECT_TRUE(oom_cgroups_undone(&self->cg));
}

static int take_futex(FIXTURE_DATA(futex) * self)
{
	static struct robust_list_head head;
	static struct robust_list entry;

	head.list.next = &entry;
	entry.next = &head.list;
	head.futex_offset = (long)&self->futex - (long)&entry;
	self->futex = syscall(__NR_gettid) | FUTEX_WAITERS;
	return syscall(__NR_set_robust_list, &head, sizeof(head));
}

static int futex_owner(const char *cgroup, void *arg)
{
	FIXTURE_DATA(futex) * self = arg;

	if (!oom_map(VICTIM_SIZE) || oom_set_score_adj(1000) ||
	    take_futex(self))
		return 1;
	return oom_ready(&self->cg);
}

/* In a thread, for who lowers a limit waits until the victim is gone. */
static void *force_oom(void *arg)
{
	FIXTURE_DATA(futex) * self = arg;

	if (self->global)
		return (void *)(long)oom_kill_one();
	return (void *)(long)oom_set_limit(&self->cg, LEFT_SIZE);
}

static void start_oom(struct __test_metadata *_metadata,
		      FIXTURE_DATA(futex) * self, bool global)
{
	self->global = global;
	ASSERT_EQ(pthread_create(&self->thread, NULL, force_oom, self), 0);
}

static void check_oom(struct __test_metadata *_metadata,
		      FIXTURE_DATA(futex) * self, int ms)
{
	void *ret;

	EXPECT_TRUE(poll_for(ms, self->futex & FUTEX_OWNER_DIED));
	ASSERT_EQ(pthread_join(self->thread, &ret), 0);
	EXPECT_EQ((long)ret, 0);
}

TEST_F_TIMEOUT(futex, running_owner, OOM_TEST_TIMEOUT_S)
{
	ASSERT_GT(oom_start(&self->cg, futex_owner, self), 0);
	start_oom(_metadata, self, variant->global);
	check_oom(_metadata, self, OOM_DEADLINE_MS);
}

TEST_F_TIMEOUT(futex, frozen_owner, OOM_TEST_TIMEOUT_S)
{
	ASSERT_GT(oom_start_frozen(&self->cg, futex_owner, self), 0);
	start_oom(_metadata, self, variant->global);
	check_oom(_metadata, self, OOM_DELAYED_MS);
}

static int pin_to_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

/* Find two of the CPUs that the test may use. */
static int find_cpus(int *cpu)
{
	cpu_set_t set;
	int i, nr = 0;

	if (sched_getaffinity(0, sizeof(set), &set))
		return -1;
	for (i = 0; i < CPU_SETSIZE && nr < 2; i++)
		if (CPU_ISSET(i, &set))
			cpu[nr++] = i;
	return nr == 2 ? 0 : -1;
}

/*
 * Keep everybody else off a CPU, for some 100 ms at most: the scheduler saves
 * 5 % of each second for them.
 */
static void *keep_cpu_busy(void *arg)
{
	FIXTURE_DATA(futex) * self = arg;
	struct sched_param param = { .sched_priority = 1 };

	if (pin_to_cpu(self->cpu[1]) ||
	    sched_setscheduler(0, SCHED_FIFO, &param))
		return NULL;
	self->busy = true;
	while (self->busy)
		;
	return NULL;
}

static int starved_owner(void *arg)
{
	FIXTURE_DATA(futex) * self = arg;

	if (take_futex(self) || pin_to_cpu(self->cpu[1]))
		return 1;
	self->victim = getpid();
	return oom_wait_for_kill(NULL);
}

static int frozen_sharer(const char *cgroup, void *arg)
{
	FIXTURE_DATA(futex) * self = arg;

	if (!oom_map(VICTIM_SIZE) || oom_set_score_adj(1000) ||
	    oom_share_mm(starved_owner, 0, self) < 0 ||
	    !poll_until(self->victim) || cg_enter_current(self->cg.outside) ||
	    cg_enter(self->cg.frozen, 0))
		return 1;
	return oom_ready(&self->cg);
}

/*
 * The owner has no CPU to exit on. Whoever reaps it before it has been through
 * its list, only because somebody else is frozen, breaks its promise.
 */
TEST_F_TIMEOUT(futex, starved_owner, OOM_TEST_TIMEOUT_S)
{
	struct oom_cgroups *cg = &self->cg;
	pthread_t busy;
	bool reaped;

	if (find_cpus(self->cpu))
		SKIP(return, "needs two CPUs");
	/* sysrq has a kworker of the CPU that asks do the work. */
	ASSERT_EQ(pin_to_cpu(self->cpu[0]), 0);
	ASSERT_GT(oom_start(cg, frozen_sharer, self), 0);
	ASSERT_EQ(oom_freeze(cg), 0);
	ASSERT_EQ(pthread_create(&busy, NULL, keep_cpu_busy, self), 0);
	ASSERT_TRUE(poll_until(self->busy));

	start_oom(_metadata, self, variant->global);
	reaped = poll_for(OOM_REAPER_DELAY_MS / 4,
			  cg_read_long(cg->memcg, "memory.current") <= LEFT_SIZE);
	self->busy = false;
	pthread_join(busy, NULL);
	EXPECT_FALSE(reaped);
	check_oom(_metadata, self, OOM_DEADLINE_MS);
}

TEST_HARNESS_MAIN
