// SPDX-License-Identifier: GPL-2.0
/*
 * Processes are killed while two threads call process_mrelease(2) for them,
 * until they are gone. Each result is one that is allowed, and all memory comes
 * back.
 *
 * OOM_RACE_SECONDS in the environment says for how long each test goes on (2).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/mman.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "../pidfd/pidfd.h"
#include "cgroup_util.h"
#include "vm_util.h"
#include "oom_util.h"

#define VICTIM_SIZE (32 * MiB)
#define SMALL_SIZE (MiB / 2)
/* Left in the cgroup: less than the smallest victim. */
#define LEFT_SIZE (SMALL_SIZE * 3 / 4)
#define NR_SHARERS 8
/* One to be frozen, one for the OOM killer to take, and the sharers. */
#define MAX_USERS (NR_SHARERS + 2)
#define RACE_TIMEOUT_S 3600
#define MIN_ROUNDS 6	/* each kind at least once */

/* In memory that all processes of a test share. */
struct race {
	struct oom_cgroups cg;
	char *area;		/* for victims: mapped once, and touched by each of them */
	bool huge, locked;
	int nr_sharers;
	char *mem;		/* in a small victim */
	pid_t users[MAX_USERS];	/* the processes that have the mm */
	int pidfds[MAX_USERS];
	int nr_users;
	atomic_bool killing;	/* the first of them may be killed */
	atomic_bool killed;	/* all of them */
	struct releaser {	/* a thread that calls process_mrelease() */
		struct race *race;
		pthread_t thread;
		bool backwards;
		atomic_bool called;
		atomic_long nr_ok;	/* calls that returned 0 */
	} releasers[2];
	long nr_ok, nr_ooms;	/* of all rounds */
};

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
			/* Nobody takes memory from a process that lives. */
			if (!race->killing && ret != -EINVAL)
				return (void *)(ret ?: 1);
			if (!ret || ret == -EAGAIN)
				race->killed = true;
			else if (ret != -ESRCH && (ret != -EINVAL || killed))
				return (void *)ret;
			releaser->nr_ok += !ret;
		} while (ret != -ESRCH);
	}
	return NULL;
}

static void start_releasers(struct __test_metadata *_metadata, struct race *race)
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
		ASSERT_EQ(pthread_create(&releaser->thread, NULL, release_all, releaser), 0);
	}
}

static void join_releasers(struct __test_metadata *_metadata, struct race *race)
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

static int small_victim(void *arg)
{
	struct race *race = arg;

	race->mem = oom_map(SMALL_SIZE);
	return race->mem && oom_start_thread() > 0 ? 0 : -1;
}

/* Each read has the mm for a short time. */
static int read_until_gone(void *arg)
{
	static char buf[SMALL_SIZE];
	struct race *race = arg;
	int mem = oom_open_proc(race->users[0], "mem");

	while (pread(mem, buf, sizeof(buf), (uintptr_t)race->mem) > 0)
		race->cg.ready = true;
	return -1;
}

/*
 * A process lets go of its mm, or has just done so. Nobody else has the mm, or
 * somebody who reads it has, again and again or until killed.
 */
static void exited_round(struct __test_metadata *_metadata, struct race *race, long nr)
{
	enum { NO_READER, READER, STUCK_READER, NR_READERS } kind = nr % NR_READERS;
	pid_t reader = 0;

	race->nr_users = 1;
	race->killing = true;
	race->killed = true;
	race->users[0] = oom_start(&race->cg, small_victim, race);
	ASSERT_GT(race->users[0], 0);
	if (kind == READER)
		reader = oom_start(&race->cg, read_until_gone, race);
	else if (kind == STUCK_READER)
		reader = oom_start_stuck_reader(&race->cg, race->users[0]);
	ASSERT_GE(reader, 0);

	ASSERT_EQ(kill(race->users[0], SIGKILL), 0);
	if (nr / NR_READERS % 2)
		ASSERT_TRUE(poll_until(oom_is_dead(race->users[0])));
	start_releasers(_metadata, race);
	if (kind == STUCK_READER)
		ASSERT_EQ(kill(reader, SIGKILL), 0);
	join_releasers(_metadata, race);
	if (kind != NO_READER)
		ASSERT_EQ(waitpid(reader, NULL, 0), reader);
}

/* Of processes that are equally bad, the OOM killer takes the youngest one. */
static int start_users(void *arg)
{
	struct race *race = arg;
	int i;

	race->users[0] = getpid();
	if (race->locked && mlock2(race->area, VICTIM_SIZE, MLOCK_ONFAULT))
		return -1;
	/* Only every fourth page, because page faults take most of a round. */
	oom_touch(race->area, VICTIM_SIZE, 4 * psize());
	/* It may fail, for want of memory, say. */
	if (race->huge)
		madvise(race->area, VICTIM_SIZE, MADV_COLLAPSE);
	if (oom_set_score_adj(1000))
		return -1;
	for (i = 1; i < race->nr_users; i++) {
		race->users[i] = oom_share_mm(oom_wait_for_kill, 0, NULL);
		if (race->users[i] < 0)
			return -1;
	}
	return 0;
}

/* With the OOM killer only where it may take the whole machine. */
static void race_round(struct __test_metadata *_metadata, struct race *race, long nr)
{
	enum { KILLED, KILLED_FROZEN, OOM_FROZEN, NR_WAYS } way;
	struct releaser *releasers = race->releasers;
	int i;

	way = nr % (race->cg.global ? NR_WAYS : OOM_FROZEN);
	race->nr_users = 1 + race->nr_sharers + (way != KILLED);
	race->killing = false;
	race->killed = false;
	ASSERT_GT(oom_start(&race->cg, start_users, race), 0);
	if (way != KILLED)
		ASSERT_EQ(oom_freeze(&race->cg, race->users[0]), 0);
	start_releasers(_metadata, race);
	ASSERT_TRUE(poll_until(releasers[0].called && releasers[1].called));
	race->killing = true;

	if (way == OOM_FROZEN) {
		ASSERT_EQ(oom_from_outside(&race->cg), 0);
		race->nr_ooms++;
		ASSERT_TRUE(poll_until(oom_is_dead(race->users[1])));
	} else {
		for (i = 0; i < race->nr_users; i++)
			ASSERT_EQ(kill(race->users[i], SIGKILL), 0);
		race->killed = true;
	}
	if (way == KILLED_FROZEN)
		ASSERT_TRUE(poll_until(releasers[0].nr_ok && releasers[1].nr_ok));
	ASSERT_EQ(oom_thaw(&race->cg), 0);
	join_releasers(_metadata, race);
}

FIXTURE(mrelease_race)
{
	struct race race;
};

FIXTURE_VARIANT(mrelease_race)
{
	size_t vma_pages;
	bool exited, huge, locked;
	int nr_sharers;
};

FIXTURE_VARIANT_ADD(mrelease_race, exited) { .exited = true };
FIXTURE_VARIANT_ADD(mrelease_race, one_vma) {};
FIXTURE_VARIANT_ADD(mrelease_race, small_vmas) { .vma_pages = 16 };
FIXTURE_VARIANT_ADD(mrelease_race, thp) { .huge = true };
FIXTURE_VARIANT_ADD(mrelease_race, mlocked) { .locked = true };
FIXTURE_VARIANT_ADD(mrelease_race, sharers) { .nr_sharers = NR_SHARERS };

OOM_TEARDOWN(mrelease_race, &self->race.cg)
OOM_SETUP(mrelease_race, &self->race.cg, oom_no_global() ? 0 : OOM_GLOBAL)

TEST_F_TIMEOUT(mrelease_race, exit, RACE_TIMEOUT_S)
{
	long seconds = atol(getenv("OOM_RACE_SECONDS") ?: "2");
	long long end = now_ms() + 1000 * seconds;
	struct race *race = &self->race;
	unsigned long huge = read_pmd_pagesize();
	size_t nr_vmas = variant->vma_pages ? VICTIM_SIZE / psize() / variant->vma_pages : 1;
	long nr;

	OOM_NEED(return, &race->cg, variant->exited ? OOM_USERFAULTFD : OOM_FREEZER);
	if (variant->huge && (!huge || VICTIM_SIZE % huge))
		SKIP(return, "no huge pages, or too large ones");
	race->area = oom_map_vmas(VICTIM_SIZE, nr_vmas);
	ASSERT_NE(race->area, NULL);
	if (variant->huge)
		ASSERT_EQ(madvise(race->area, VICTIM_SIZE, MADV_HUGEPAGE), 0);
	race->huge = variant->huge;
	race->locked = variant->locked;
	race->nr_sharers = variant->nr_sharers;
	ASSERT_TRUE(seconds > 0 && seconds < RACE_TIMEOUT_S)
		TH_LOG("OOM_RACE_SECONDS is no number below %d", RACE_TIMEOUT_S);
	for (nr = 0; nr < MIN_ROUNDS || now_ms() < end; nr++)
		(variant->exited ? exited_round : race_round)(_metadata, race, nr);
	TH_LOG("%ld rounds, %ld calls returned 0", nr, race->nr_ok);
	if (!variant->exited)
		EXPECT_GT(race->nr_ok, 0);
	EXPECT_TRUE(poll_until(oom_left(&race->cg) <= LEFT_SIZE))
		TH_LOG("%ld bytes left", oom_left(&race->cg));
	EXPECT_EQ(oom_event(&race->cg, "oom_kill "), race->nr_ooms);
}

TEST_HARNESS_MAIN
