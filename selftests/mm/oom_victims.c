// SPDX-License-Identifier: GPL-2.0
/*
 * What the OOM killer and its reaper do with victims that nobody shares an mm
 * with: how soon their memory is back, what of it, and who is killed next.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "cgroup_util.h"
#include "vm_util.h"
#include "hugepage_settings.h"
#include "oom_util.h"

#define VICTIM_SIZE (64 * MiB)
#define SECOND_SIZE (32 * MiB)
/* What is free below the limit, and what is asked for. */
#define FREE_SIZE (24 * MiB)
#define WANTED_SIZE (48 * MiB)
/* Stacks, page tables, and what the CPUs cache. */
#define LEFT_SIZE (8 * MiB)

#define MAPPING_SIZE (8 * MiB)

/* A walk from either end is past the shared ones when all others are empty. */
enum mapping {
	ANON, MLOCKED, SHARED, HUGETLB, HUGE, PRIVATE_FILE, NR_MAPPINGS
};

static const char * const mapping_name[] = {
	"anonymous", "mlocked", "shared", "hugetlb", "huge page", "private file"
};

FIXTURE(victims)
{
	struct oom_cgroups cg;
};

FIXTURE_VARIANT(victims)
{
	bool global;
};

FIXTURE_VARIANT_ADD(victims, global)
{
	.global = true,
};

FIXTURE_VARIANT_ADD(victims, memcg)
{
	.global = false,
};

FIXTURE_SETUP(victims)
{
	const char *why = oom_cgroups_create(&self->cg, variant->global);

	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN_PARENT(victims)
{
	EXPECT_TRUE(oom_cgroups_undone(&self->cg));
}

FIXTURE(victims_memcg)
{
	struct oom_cgroups cg;
	char *mem[NR_MAPPINGS];	/* in the victim */
	bool have_hugetlb;
};

FIXTURE_SETUP(victims_memcg)
{
	const char *why = oom_cgroups_create(&self->cg, false);

	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN_PARENT(victims_memcg)
{
	EXPECT_TRUE(oom_cgroups_undone(&self->cg));
}

static int map_victim(const char *cgroup, void *arg)
{
	if (!oom_map(VICTIM_SIZE) || oom_set_score_adj(1000))
		return 1;
	return oom_ready(arg);
}

static int map_threaded_victim(const char *cgroup, void *arg)
{
	return oom_start_threads(4) ? 1 : map_victim(cgroup, arg);
}

static int map_second_victim(const char *cgroup, void *arg)
{
	if (!oom_map(SECOND_SIZE) || oom_set_score_adj(500))
		return 1;
	return oom_ready(arg);
}

/* Force an OOM; returns for how long it kept anybody from going on, or -1. */
static long force_oom(struct oom_cgroups *cg, bool global)
{
	long long start = now_ms();

	if (!global) {
		if (oom_set_limit(cg, VICTIM_SIZE + FREE_SIZE))
			return -1;
		return oom_allocate(cg, WANTED_SIZE);
	}
	if (oom_kill_one() ||
	    !poll_until(cg_read_long(cg->memcg, "memory.current") <= LEFT_SIZE))
		return -1;
	return now_ms() - start;
}

static void check_no_delay(struct __test_metadata *_metadata,
			   struct oom_cgroups *cg, bool global)
{
	long ms = force_oom(cg, global);

	TH_LOG("%ld ms", ms);
	ASSERT_GE(ms, 0);
	ASSERT_LT(ms, OOM_DELAYED_MS);
}

TEST_F_TIMEOUT(victims, running, OOM_TEST_TIMEOUT_S)
{
	pid_t victim = oom_start(&self->cg, map_victim, &self->cg);

	ASSERT_GT(victim, 0);
	check_no_delay(_metadata, &self->cg, variant->global);
	EXPECT_TRUE(poll_until(oom_is_dead(victim)));
}

static void test_frozen(struct __test_metadata *_metadata, struct oom_cgroups *cg,
			bool global, int (*setup)(const char *cgroup, void *arg))
{
	pid_t victim = oom_start_frozen(cg, setup, cg);

	ASSERT_GT(victim, 0);
	check_no_delay(_metadata, cg, global);
	EXPECT_TRUE(poll_for(OOM_DELAYED_MS, oom_is_dead(victim)));
}

TEST_F_TIMEOUT(victims, frozen, OOM_TEST_TIMEOUT_S)
{
	test_frozen(_metadata, &self->cg, variant->global, map_victim);
}

/* All threads are thawed, not only the one that the OOM killer looked at. */
TEST_F_TIMEOUT(victims, frozen_threads, OOM_TEST_TIMEOUT_S)
{
	test_frozen(_metadata, &self->cg, variant->global, map_threaded_victim);
}

/* Nobody is frozen: the victim's robust futexes are worth the delay. */
TEST_F_TIMEOUT(victims, pinned, OOM_TEST_TIMEOUT_S)
{
	struct oom_stuck stuck;
	pid_t victim;

	if (!oom_stuck_page(&stuck))
		SKIP(return, "no userfaultfd (CONFIG_USERFAULTFD)");
	victim = oom_start(&self->cg, map_victim, &self->cg);
	ASSERT_GT(victim, 0);
	ASSERT_GT(oom_start_stuck_reader(&self->cg, victim), 0);
	ASSERT_GE(force_oom(&self->cg, variant->global), OOM_DELAYED_MS);
	EXPECT_TRUE(oom_is_dead(victim));
}

/* The version 2 freezer lets go of whoever is killed. */
TEST_F_TIMEOUT(victims_memcg, frozen_v2, OOM_TEST_TIMEOUT_S)
{
	struct oom_cgroups *cg = &self->cg;
	pid_t victim = oom_start(cg, map_threaded_victim, cg);
	long long start;

	ASSERT_GT(victim, 0);
	ASSERT_EQ(cg_write(cg->memcg, "cgroup.freeze", "1"), 0);
	ASSERT_TRUE(poll_until(!cg_read_strstr(cg->memcg, "cgroup.events",
					       "frozen 1")));
	start = now_ms();
	ASSERT_EQ(oom_set_limit(cg, LEFT_SIZE), 0);
	EXPECT_LT(now_ms() - start, OOM_DELAYED_MS);
	EXPECT_TRUE(poll_until(oom_is_dead(victim)));
}

static char *map_kind(enum mapping kind)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS, fd = -1;
	size_t step = psize();
	char *mem;

	if (kind == SHARED)
		flags = MAP_SHARED | MAP_ANONYMOUS;
	if (kind == HUGETLB) {
		flags |= MAP_HUGETLB;
		step = default_huge_page_size();
	}
	if (kind == PRIVATE_FILE) {
		flags = MAP_PRIVATE;
		fd = memfd_create("oom_victims", MFD_CLOEXEC);
		if (fd < 0 || ftruncate(fd, MAPPING_SIZE))
			return NULL;
	}
	mem = mmap(NULL, kind == HUGE ? 2 * MAPPING_SIZE : MAPPING_SIZE,
		   PROT_READ | PROT_WRITE, flags, fd, 0);
	if (mem == MAP_FAILED)
		return NULL;
	if (kind == HUGE) {
		mem = (char *)(((uintptr_t)mem + MAPPING_SIZE - 1) & -MAPPING_SIZE);
		if (madvise(mem, MAPPING_SIZE, MADV_HUGEPAGE))
			return NULL;
	} else if (kind != HUGETLB) {
		madvise(mem, MAPPING_SIZE, MADV_NOHUGEPAGE);
	}
	if (kind == MLOCKED && mlock(mem, MAPPING_SIZE))
		return NULL;
	oom_touch(mem, MAPPING_SIZE, step);
	return mem;
}

static int map_all_kinds(const char *cgroup, void *arg)
{
	FIXTURE_DATA(victims_memcg) * self = arg;
	enum mapping kind;

	for (kind = 0; kind < NR_MAPPINGS; kind++) {
		if ((kind == HUGE && !thp_available()) ||
		    (kind == HUGETLB && !self->have_hugetlb))
			continue;
		self->mem[kind] = map_kind(kind);
		if (!self->mem[kind])
			return 1;
	}
	return oom_set_score_adj(1000) ? 1 : oom_ready(&self->cg);
}

/* Whether the first and the last page are there: 2, 1, or 0 of them. */
static int nr_present(int pagemap, char *mem)
{
	return !!(pagemap_get_entry(pagemap, mem) & PM_PRESENT) +
	       !!(pagemap_get_entry(pagemap, mem + MAPPING_SIZE - psize()) & PM_PRESENT);
}

static bool is_shared(enum mapping kind)
{
	return kind == SHARED || kind == HUGETLB;
}

static bool have_hugetlb(struct oom_cgroups *cg)
{
	unsigned long nr = MAPPING_SIZE / (default_huge_page_size() ?: -1UL);
	char text[32];

	snprintf(text, sizeof(text), "%lu", hugetlb_nr_default_pages() + nr);
	return nr && !oom_change_setting(cg, "/proc/sys/vm/nr_hugepages", text) &&
	       hugetlb_free_default_pages() >= nr;
}

static void check_mapping(struct __test_metadata *_metadata,
			  FIXTURE_DATA(victims_memcg) * self, int pagemap,
			  enum mapping kind, int left)
{
	if (self->mem[kind])
		EXPECT_TRUE(poll_until(nr_present(pagemap, self->mem[kind]) == left))
			TH_LOG("%s", mapping_name[kind]);
}

/* The reaper takes what is private, and leaves what others may share. */
TEST_F_TIMEOUT(victims_memcg, mapping_kinds, OOM_TEST_TIMEOUT_S)
{
	struct oom_stuck stuck;
	enum mapping kind;
	pid_t victim;
	int pagemap;

	if (!oom_stuck_page(&stuck))
		SKIP(return, "no userfaultfd (CONFIG_USERFAULTFD)");
	self->have_hugetlb = have_hugetlb(&self->cg);
	victim = oom_start(&self->cg, map_all_kinds, self);
	ASSERT_GT(victim, 0);
	pagemap = pagemap_open(victim);
	ASSERT_GE(pagemap, 0);
	/* The reader keeps the mm after the victim's exit. */
	ASSERT_GT(oom_start_stuck_reader(&self->cg, victim), 0);
	for (kind = 0; kind < NR_MAPPINGS; kind++) {
		if (!self->mem[kind]) {
			TH_LOG("without %s mappings", mapping_name[kind]);
			continue;
		}
		ASSERT_EQ(nr_present(pagemap, self->mem[kind]), 2);
	}

	/* The file's own pages stay, like those that are shared. */
	ASSERT_EQ(oom_set_limit(&self->cg, 2 * MAPPING_SIZE + LEFT_SIZE), 0);
	for (kind = 0; kind < NR_MAPPINGS; kind++)
		if (!is_shared(kind))
			check_mapping(_metadata, self, pagemap, kind, 0);
	check_mapping(_metadata, self, pagemap, SHARED, 2);
	check_mapping(_metadata, self, pagemap, HUGETLB, 2);
}

/*
 * A victim that cannot exit, here because of a tracer, shields the others
 * until it is reaped, and no longer.
 */
TEST_F_TIMEOUT(victims_memcg, next_victim, OOM_TEST_TIMEOUT_S)
{
	struct oom_cgroups *cg = &self->cg;
	pid_t first, second;

	first = oom_start(cg, map_victim, cg);
	ASSERT_GT(first, 0);
	second = oom_start(cg, map_second_victim, cg);
	ASSERT_GT(second, 0);
	ASSERT_EQ(ptrace(PTRACE_SEIZE, first, 0, PTRACE_O_TRACEEXIT), 0);
	ASSERT_EQ(oom_set_limit(cg, VICTIM_SIZE + SECOND_SIZE + FREE_SIZE), 0);

	ASSERT_GE(oom_allocate(cg, WANTED_SIZE), 0);
	EXPECT_FALSE(oom_is_dead(first));
	EXPECT_FALSE(oom_is_dead(second));
	ASSERT_GE(oom_allocate(cg, VICTIM_SIZE + WANTED_SIZE), 0);
	EXPECT_FALSE(oom_is_dead(first));
	EXPECT_TRUE(poll_until(oom_is_dead(second)));
}

TEST_HARNESS_MAIN
