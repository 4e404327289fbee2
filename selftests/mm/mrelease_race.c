// SPDX-License-Identifier: GPL-2.0
/*
 * Processes are killed while two threads call process_mrelease(2) for them,
 * until they are gone. Each result is one that is allowed, and all memory comes
 * back.
 *
 * Environment:
 *   OOM_EXIT_ROUNDS   rounds of exited_race (100, or as many as 3 s allow)
 *   OOM_RACE_ROUNDS   rounds of each other test (9)
 *   OOM_RACE_SECONDS  time after which they start no further round (6)
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mman.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "../pidfd/pidfd.h"
#include "cgroup_util.h"
#include "vm_util.h"
#include "oom_util.h"

#define VICTIM_SIZE (32 * MiB)
#define NR_VMAS 2048
#define SMALL_SIZE (MiB / 2)
/* Stacks, page tables, and what the CPUs cache. */
#define LEFT_SIZE (4 * MiB)
/* The rest of the system may need more than before, too. */
#define LEFT_SYSTEM_KB (VICTIM_SIZE / 2 >> 10)
#define NR_SHARERS 8
/* One to be frozen, one for the OOM killer to take, and the sharers. */
#define MAX_USERS (NR_SHARERS + 2)
#define EXIT_RACE_MS 3000
/* Enough for 10000 rounds under KASAN. */
#define EXIT_RACE_TIMEOUT_S 3600

/* In memory that all processes of a test share. */
struct race {
	struct oom_cgroups cg;
	char *(*map)(size_t size);
	char *mem;
	pid_t users[MAX_USERS];	/* the processes that have the mm */
	int pidfds[MAX_USERS];
	int nr_users;
	atomic_bool killed;	/* all of them */
	struct releaser {	/* a thread that calls process_mrelease() */
		struct race *race;
		pthread_t thread;
		bool backwards;
		atomic_bool called;
		atomic_long nr_ok;	/* calls that returned 0 */
	} releasers[2];
	long nr_ok;		/* of all rounds */
};

FIXTURE(mrelease)
{
	struct race race;
};

FIXTURE_SETUP(mrelease)
{
	const char *why = oom_cgroups_create(&self->race.cg, false);

	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN_PARENT(mrelease)
{
	EXPECT_TRUE(oom_cgroups_undone(&self->race.cg));
}

FIXTURE(mrelease_race)
{
	struct race race;
	bool global;
};

FIXTURE_VARIANT(mrelease_race)
{
	char *(*map)(size_t size);
	int nr_sharers;
};

FIXTURE_VARIANT_ADD(mrelease_race, one_vma)
{
	.map = oom_map,
};

/* Each of these is a VMA of its own, as neighbours differ in protection. */
static char *map_small_vmas(size_t size)
{
	size_t off, each = size / NR_VMAS;
	char *mem = oom_map(size);

	for (off = 0; mem && off < size; off += 2 * each)
		if (mprotect(mem + off, each, PROT_READ))
			return NULL;
	return mem;
}

FIXTURE_VARIANT_ADD(mrelease_race, small_vmas)
{
	.map = map_small_vmas,
};

static char *map_huge(size_t size)
{
	char *mem = aligned_alloc(read_pmd_pagesize(), size);

	if (!mem || madvise(mem, size, MADV_HUGEPAGE))
		return NULL;
	oom_touch(mem, size, psize());
	return madvise(mem, size, MADV_COLLAPSE) ? NULL : mem;
}

FIXTURE_VARIANT_ADD(mrelease_race, thp)
{
	.map = map_huge,
};

static char *map_locked(size_t size)
{
	char *mem = oom_map(size);

	return mem && !mlock(mem, size) ? mem : NULL;
}

FIXTURE_VARIANT_ADD(mrelease_race, mlocked)
{
	.map = map_locked,
};

FIXTURE_VARIANT_ADD(mrelease_race, sharers)
{
	.map = oom_map,
	.nr_sharers = NR_SHARERS,
};

FIXTURE_SETUP(mrelease_race)
{
	const char *destructive = getenv("RUN_DESTRUCTIVE"), *why;
	unsigned long huge = read_pmd_pagesize();

	if (variant->map == map_huge && (!huge || VICTIM_SIZE % huge))
		SKIP(return, "no huge pages, or too large ones");
	self->global = destructive && !strcmp(destructive, "true");
	why = oom_cgroups_create(&self->race.cg, self->global);
	if (why)
		SKIP(return, "%s", why);
	self->race.map = variant->map;
}

FIXTURE_TEARDOWN_PARENT(mrelease_race)
{
	EXPECT_TRUE(oom_cgroups_undone(&self->race.cg));
}

static long env_number(struct __test_metadata *_metadata, const char *name,
		       long fallback)
{
	char *text = getenv(name), *end = "";
	long number = text ? strtol(text, &end, 10) : fallback;

	ASSERT_TRUE(number > 0 && !*end)
		TH_LOG("%s is not a number from 1", name);
	return number;
}

/* Returns 0, or a result that process_mrelease() must not have. */
static void *release_all(void *arg)
{
	struct releaser *releaser = arg;
	struct race *race = releaser->race;
	long i, nr, ret;
	bool killed;

	for (i = 0; i < race->nr_users; i++) {
		nr = releaser->backwards ? race->nr_users - 1 - i : i;
		do {
			/* Before the call, or EINVAL may be right. */
			killed = race->killed;
			ret = oom_mrelease(race->pidfds[nr], 0);
			releaser->called = true;
			if (!ret || ret == -EAGAIN)
				race->killed = true;
			else if (ret != -ESRCH && (ret != -EINVAL || killed))
				return (void *)ret;
			releaser->nr_ok += !ret;
		} while (ret != -ESRCH);
	}
	return NULL;
}

static void start_releasers(struct __test_metadata *_metadata,
			    struct race *race)
{
	struct releaser *releaser;
	int i;

	for (i = 0; i < race->nr_users; i++) {
		race->pidfds[i] = sys_pidfd_open(race->users[i], 0);
		ASSERT_GE(race->pidfds[i], 0);
	}
	for (i = 0; i < 2; i++) {
		releaser = &race->releasers[i];
		*releaser = (struct releaser){ .race = race, .backwards = i };
		ASSERT_EQ(pthread_create(&releaser->thread, NULL, release_all,
					 releaser), 0);
	}
}

static void join_releasers(struct __test_metadata *_metadata,
			   struct race *race)
{
	struct releaser *releaser;
	void *bad;
	int i;

	for (i = 0; i < 2; i++) {
		releaser = &race->releasers[i];
		ASSERT_TRUE(poll_until(!pthread_tryjoin_np(releaser->thread, &bad)));
		ASSERT_EQ((long)bad, 0);
		race->nr_ok += releaser->nr_ok;
	}
	for (i = 0; i < race->nr_users; i++)
		close(race->pidfds[i]);
	ASSERT_EQ(waitpid(race->users[0], NULL, 0), race->users[0]);
}

static void check_memory(struct __test_metadata *_metadata,
			 struct race *race, long anon_kb)
{
	ASSERT_TRUE(poll_until(cg_read_long(race->cg.memcg, "memory.current") <=
			       LEFT_SIZE));
	ASSERT_TRUE(poll_until(read_field("/proc/meminfo", "AnonPages:") <=
			       anon_kb + LEFT_SYSTEM_KB));
}

static int small_victim(const char *cgroup, void *arg)
{
	struct race *race = arg;

	race->mem = oom_map(SMALL_SIZE);
	if (!race->mem || oom_start_threads(2))
		return 1;
	return oom_ready(&race->cg);
}

/* Each read has the mm for a short time. */
static int read_until_gone(const char *cgroup, void *arg)
{
	static char buf[SMALL_SIZE];
	struct race *race = arg;
	char path[64];
	int mem;

	snprintf(path, sizeof(path), "/proc/%d/mem", race->users[0]);
	mem = open(path, O_RDONLY);
	while (pread(mem, buf, sizeof(buf), (uintptr_t)race->mem) > 0)
		race->cg.ready = true;
	return 0;
}

/*
 * A process lets go of its mm, or has just done so. Nobody else has the mm, or
 * somebody who reads it has, again and again or until killed.
 */
TEST_F_TIMEOUT(mrelease, exited_race, EXIT_RACE_TIMEOUT_S)
{
	long nr, rounds = env_number(_metadata, "OOM_EXIT_ROUNDS", 100);
	enum { NO_READER, READER, STUCK_READER, NR_READERS } kind;
	long anon_kb = read_field("/proc/meminfo", "AnonPages:");
	struct race *race = &self->race;
	int nr_kinds = NR_READERS;
	struct oom_stuck stuck;
	pid_t reader = 0;
	long long end;

	end = getenv("OOM_EXIT_ROUNDS") ? LLONG_MAX : now_ms() + EXIT_RACE_MS;
	if (!oom_stuck_page(&stuck))
		nr_kinds = STUCK_READER;
	race->nr_users = 1;
	race->killed = true;
	for (nr = 0; nr < rounds && now_ms() < end; nr++) {
		kind = nr % nr_kinds;
		race->users[0] = oom_start(&race->cg, small_victim, race);
		ASSERT_GT(race->users[0], 0);
		if (kind == READER)
			reader = oom_start(&race->cg, read_until_gone, race);
		else if (kind == STUCK_READER)
			reader = oom_start_stuck_reader(&race->cg, race->users[0]);
		ASSERT_GE(reader, 0);

		ASSERT_EQ(kill(race->users[0], SIGKILL), 0);
		if (nr / nr_kinds % 2)
			ASSERT_TRUE(poll_until(oom_is_dead(race->users[0])));
		start_releasers(_metadata, race);
		if (kind == STUCK_READER)
			ASSERT_EQ(kill(reader, SIGKILL), 0);
		join_releasers(_metadata, race);
		if (kind != NO_READER)
			ASSERT_EQ(waitpid(reader, NULL, 0), reader);
	}
	TH_LOG("%ld rounds, %ld calls returned 0", nr, race->nr_ok);
	check_memory(_metadata, race, anon_kb);
}

/* Of processes that are equally bad, the OOM killer takes the youngest one. */
static int start_users(const char *cgroup, void *arg)
{
	struct race *race = arg;
	int i;

	race->users[0] = getpid();
	if (!race->map(VICTIM_SIZE) || oom_set_score_adj(1000))
		return 1;
	for (i = 1; i < race->nr_users; i++) {
		race->users[i] = oom_share_mm(oom_wait_for_kill, 0, NULL);
		if (race->users[i] < 0)
			return 1;
	}
	return oom_ready(&race->cg);
}

enum way { KILLED, KILLED_FROZEN, OOM_FROZEN, NR_WAYS };

static void race_round(struct __test_metadata *_metadata, struct race *race,
		       int nr_sharers, enum way way)
{
	struct releaser *releasers = race->releasers;
	bool frozen = way != KILLED;
	int i;

	race->nr_users = 1 + nr_sharers + frozen;
	race->killed = false;
	ASSERT_GT(oom_start(&race->cg, start_users, race), 0);
	if (frozen) {
		ASSERT_EQ(cg_enter(race->cg.frozen, race->users[0]), 0);
		ASSERT_EQ(oom_freeze(&race->cg), 0);
	}
	start_releasers(_metadata, race);
	ASSERT_TRUE(poll_until(releasers[0].called && releasers[1].called));

	if (way == OOM_FROZEN) {
		ASSERT_EQ(oom_kill_one(), 0);
		ASSERT_TRUE(poll_until(oom_is_dead(race->users[1])));
	} else {
		for (i = 0; i < race->nr_users; i++)
			ASSERT_EQ(kill(race->users[i], SIGKILL), 0);
		race->killed = true;
	}
	if (way == KILLED_FROZEN)
		ASSERT_TRUE(poll_until(releasers[0].nr_ok && releasers[1].nr_ok));
	ASSERT_EQ(cg_write(race->cg.frozen, "freezer.state", "THAWED"), 0);
	join_releasers(_metadata, race);
}

TEST_F_TIMEOUT(mrelease_race, exit, OOM_TEST_TIMEOUT_S)
{
	long nr, rounds = env_number(_metadata, "OOM_RACE_ROUNDS", 9);
	long seconds = env_number(_metadata, "OOM_RACE_SECONDS", 6);
	long anon_kb = read_field("/proc/meminfo", "AnonPages:");
	int nr_ways = self->global ? NR_WAYS : OOM_FROZEN;
	long long end = now_ms() + seconds * 1000;

	for (nr = 0; nr < rounds && now_ms() < end; nr++)
		race_round(_metadata, &self->race, variant->nr_sharers,
			   nr % nr_ways);
	TH_LOG("%ld rounds, %ld OOM kills, %ld calls returned 0", nr,
	       self->global ? nr / NR_WAYS : 0, self->race.nr_ok);
	check_memory(_metadata, &self->race, anon_kb);
}

TEST_HARNESS_MAIN
