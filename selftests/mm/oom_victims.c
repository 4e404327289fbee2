// SPDX-License-Identifier: GPL-2.0
/*
 * What the OOM killer and its reaper do with victims: how soon their memory is
 * back, what of it, who is killed next, and what becomes of robust futexes.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "cgroup_util.h"
#include "vm_util.h"
#include "hugepage_settings.h"
#include "oom_util.h"

#define MAPPING_SIZE (8 * MiB)

/* A walk from either end is past the shared ones when all others are empty. */
static const struct mapping {
	const char *name;
	int flags, advice;
	bool locked, file, optional, stays;
} mappings[] = {
	{ "anonymous", MAP_PRIVATE | MAP_ANONYMOUS, MADV_NOHUGEPAGE },
	{ "mlocked", MAP_PRIVATE | MAP_ANONYMOUS, MADV_NOHUGEPAGE, .locked = true },
	{ "shared", MAP_SHARED | MAP_ANONYMOUS, MADV_NOHUGEPAGE, .stays = true },
	{ "hugetlb", MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, MADV_NORMAL,
	  .optional = true, .stays = true },
	{ "huge page", MAP_PRIVATE | MAP_ANONYMOUS, MADV_HUGEPAGE,
	  .optional = true },
	{ "private file", MAP_PRIVATE, MADV_NOHUGEPAGE, .file = true },
};

FIXTURE(victims)
{
	struct oom_cgroups cg;
	char *mem[ARRAY_SIZE(mappings)];	/* in the victim */
	atomic_uint futex;
	atomic_int owner;
	int cpu;		/* of the owner */
	atomic_bool busy;	/* that CPU */
	atomic_bool not_allowed;
};

FIXTURE_VARIANT(victims)
{
	int needs;
};

FIXTURE_VARIANT_ADD(victims, global) { .needs = OOM_GLOBAL };
FIXTURE_VARIANT_ADD(victims, memcg) {};

OOM_TEARDOWN(victims, &self->cg)
OOM_SETUP(victims, &self->cg, variant->needs)

static int futex_owner(void *arg)
{
	FIXTURE_DATA(victims) * self = arg;

	return oom_own_futex(&self->futex) || oom_map_victim(NULL);
}

static int threaded_futex_owner(void *arg)
{
	return oom_start_thread() < 0 || oom_start_thread() < 0 || futex_owner(arg);
}

/* The victim exits at once, and a task that waits for its futex is told. */
static void check_no_delay(struct __test_metadata *_metadata,
			   FIXTURE_DATA(victims) * self, pid_t victim)
{
	long ms;

	ASSERT_GT(victim, 0);
	ms = oom_force(&self->cg);
	TH_LOG("%ld ms", ms);
	ASSERT_GE(ms, 0);
	ASSERT_LT(ms, OOM_DELAYED_MS);
	EXPECT_TRUE(poll_for(OOM_DELAYED_MS, oom_is_dead(victim)));
	EXPECT_TRUE(self->futex & FUTEX_OWNER_DIED);
	EXPECT_EQ(oom_event(&self->cg, "oom_kill "), 1);
}

TEST_F_TIMEOUT(victims, running, OOM_TEST_TIMEOUT_S)
{
	check_no_delay(_metadata, self, oom_start(&self->cg, futex_owner, self));
}

TEST_F_TIMEOUT(victims, frozen, OOM_TEST_TIMEOUT_S)
{
	OOM_NEED(return, &self->cg, OOM_FREEZER);
	check_no_delay(_metadata, self, oom_start_frozen(&self->cg, futex_owner, self));
}

/* All threads are thawed, not only the one that the OOM killer looked at. */
TEST_F_TIMEOUT(victims, frozen_threads, OOM_TEST_TIMEOUT_S)
{
	OOM_NEED(return, &self->cg, OOM_FREEZER);
	check_no_delay(_metadata, self, oom_start_frozen(&self->cg, threaded_futex_owner, self));
}

/* Nobody is frozen: the victim's robust futexes are worth the delay. */
TEST_F_TIMEOUT(victims, pinned, OOM_TEST_TIMEOUT_S)
{
	pid_t victim = oom_start(&self->cg, oom_map_victim, NULL);

	OOM_NEED(return, &self->cg, OOM_USERFAULTFD);
	ASSERT_GT(victim, 0);
	ASSERT_GT(oom_start_stuck_reader(&self->cg, victim), 0);
	/* On a busy host, the clock may jump, and the reaper's timer with it. */
	ASSERT_GE(oom_force(&self->cg), OOM_DELAYED_MS / 2);
	EXPECT_TRUE(oom_is_dead(victim));
	EXPECT_EQ(oom_event(&self->cg, "oom_kill "), 1);
}

/* The version 2 freezer lets go of whoever is killed. */
TEST_F_TIMEOUT(victims, frozen_v2, OOM_TEST_TIMEOUT_S)
{
	struct oom_cgroups *cg = &self->cg;
	pid_t victim = oom_start(cg, oom_map_threaded_victim, NULL);
	long long start;

	ASSERT_GT(victim, 0);
	ASSERT_EQ(cg_write(cg->memcg, "cgroup.freeze", "1"), 0);
	ASSERT_TRUE(poll_until(!cg_read_strstr(cg->memcg, "cgroup.events", "frozen 1")));
	start = now_ms();
	ASSERT_EQ(oom_from_outside(cg), 0);
	EXPECT_TRUE(poll_until(oom_is_dead(victim)));
	EXPECT_LT(now_ms() - start, OOM_DELAYED_MS);
	EXPECT_EQ(oom_event(cg, "oom_kill "), 1);
}

static char *map_kind(const struct mapping *kind)
{
	/* Aligned for huge pages, and not next to another mapping. */
	char *hint = (char *)(1L << 30) + 2 * (kind - mappings) * MAPPING_SIZE;
	char *mem;
	int fd = -1;

	if (kind->file) {
		fd = memfd_create("oom_victims", MFD_CLOEXEC);
		if (fd < 0 || ftruncate(fd, MAPPING_SIZE))
			return NULL;
	}
	mem = mmap(hint, MAPPING_SIZE, PROT_READ | PROT_WRITE, kind->flags, fd, 0);
	if (mem == MAP_FAILED)
		return NULL;
	/* Without CONFIG_TRANSPARENT_HUGEPAGE there is no such advice. */
	if (madvise(mem, MAPPING_SIZE, kind->advice) && kind->optional)
		return NULL;
	if (kind->locked && mlock(mem, MAPPING_SIZE))
		return NULL;
	oom_touch(mem, MAPPING_SIZE, psize());
	return mem;
}

static int map_all_kinds(void *arg)
{
	FIXTURE_DATA(victims) * self = arg;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(mappings); i++) {
		self->mem[i] = map_kind(&mappings[i]);
		if (!self->mem[i] && !mappings[i].optional)
			return -1;
	}
	return oom_set_score_adj(1000);
}

/* Whether the first and the last page are there: 2, 1, or 0 of them. */
static int nr_present(int pagemap, char *mem)
{
	char *last = mem + MAPPING_SIZE - psize();

	return !!(pagemap_get_entry(pagemap, mem) & PM_PRESENT) +
	       !!(pagemap_get_entry(pagemap, last) & PM_PRESENT);
}

/* The reaper takes what is private, and leaves what others may share. */
TEST_F_TIMEOUT(victims, mapping_kinds, OOM_TEST_TIMEOUT_S)
{
	pid_t victim = oom_start(&self->cg, map_all_kinds, self);
	int pagemap, stays, i;

	OOM_NEED(return, &self->cg, OOM_USERFAULTFD);
	ASSERT_GT(victim, 0);
	pagemap = oom_open_proc(victim, "pagemap");
	ASSERT_GE(pagemap, 0);
	/* The reader keeps the mm after the victim's exit. */
	ASSERT_GT(oom_start_stuck_reader(&self->cg, victim), 0);
	for (i = 0; i < ARRAY_SIZE(mappings); i++) {
		if (!self->mem[i]) {
			TH_LOG("without %s mappings", mappings[i].name);
			continue;
		}
		ASSERT_EQ(nr_present(pagemap, self->mem[i]), 2);
	}

	ASSERT_GE(oom_force(&self->cg), 0);
	EXPECT_EQ(oom_event(&self->cg, "oom_kill "), 1);
	for (stays = 0; stays < 2; stays++)
		for (i = 0; i < ARRAY_SIZE(mappings); i++) {
			if (!self->mem[i] || mappings[i].stays != stays)
				continue;
			EXPECT_TRUE(poll_until(nr_present(pagemap, self->mem[i]) == 2 * stays))
				TH_LOG("%s", mappings[i].name);
		}
}

static void *keep_cpu_busy(void *arg)
{
	FIXTURE_DATA(victims) * self = arg;

	self->not_allowed = oom_keep_cpu_busy(self->cpu, &self->busy, OOM_DEADLINE_MS);
	return NULL;
}

static int starved_owner(void *arg)
{
	FIXTURE_DATA(victims) * self = arg;

	if (oom_own_futex(&self->futex) || oom_use_cpu(self->cpu))
		return 1;
	self->owner = getpid();
	return oom_wait_for_kill(NULL);
}

static int frozen_sharer(void *arg)
{
	FIXTURE_DATA(victims) * self = arg;

	if (oom_map_victim(NULL) ||
	    oom_share_mm(starved_owner, 0, self) < 0 ||
	    !poll_until(self->owner))
		return -1;
	return cg_enter_current(self->cg.outside);
}

/*
 * The owner has no CPU to exit on. It must not be reaped before it has been through
 * its list of futexes, just because somebody else is frozen.
 */
TEST_F_TIMEOUT(victims, starved_futex_owner, OOM_TEST_TIMEOUT_S)
{
	pthread_t busy;
	bool reaped;
	int status;
	pid_t pid;

	OOM_NEED(return, &self->cg, OOM_FREEZER);
	self->cpu = sched_getcpu();
	/* sysrq has a kworker of the CPU that asks do the work. */
	if (oom_use_cpu(oom_other_cpu(self->cpu)))
		SKIP(return, "needs two CPUs");
	ASSERT_GT(oom_start_frozen(&self->cg, frozen_sharer, self), 0);
	ASSERT_EQ(pthread_create(&busy, NULL, keep_cpu_busy, self), 0);
	ASSERT_TRUE(poll_until(self->busy || self->not_allowed));
	if (self->not_allowed)
		SKIP(return, "no SCHED_FIFO (CONFIG_RT_GROUP_SCHED)");

	pid = fork();
	ASSERT_GE(pid, 0);
	if (!pid)
		_exit(oom_from_outside(&self->cg));
	reaped = poll_for(OOM_DELAYED_MS / 3, !oom_anon_kb(self->owner));
	self->busy = false;
	pthread_join(busy, NULL);
	EXPECT_FALSE(reaped);
	EXPECT_TRUE(poll_until(self->futex & FUTEX_OWNER_DIED));
	ASSERT_EQ(waitpid(pid, &status, 0), pid);
	EXPECT_EQ(status, 0);
}

int main(int argc, char **argv)
{
	unsigned long huge = default_huge_page_size();

	/* For mapping_kinds. The old number is set again at the exit. */
	if (!geteuid() && huge)
		hugetlb_setup_default(MAPPING_SIZE / huge);
	return test_harness_run(argc, argv);
}
