/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Cgroups and victims for tests of the OOM killer, its reaper and
 * process_mrelease(). Functions that return int return 0, or -1 on failure.
 */
#ifndef _SELFTESTS_MM_OOM_UTIL_H
#define _SELFTESTS_MM_OOM_UTIL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

#define MiB 1048576L

/*
 * What takes longer has waited for OOM_REAPER_DELAY, which is 2 s. Late ticks
 * shorten that, and a slow machine needs some 100 ms without it.
 */
#define OOM_DELAYED_MS 1500

/* Only a broken kernel takes that long, even with debug options on. */
#define OOM_DEADLINE_MS 30000
#define OOM_TEST_TIMEOUT_S 120

#define OOM_VICTIM_SIZE (64 * MiB)
#define OOM_BYSTANDER_SIZE (32 * MiB)
/* What oom_force() asks for, of which only a part is free. */
#define OOM_WANTED_SIZE (48 * MiB)
#define OOM_FREE_SIZE (24 * MiB)
/* What a test's other processes have after a victim's exit, see oom_left(). */
#define OOM_LEFT_SIZE (8 * MiB)
/* A CPU has up to that many pages of a memory cgroup in stock. */
#define OOM_STOCK_PAGES 64L
/* A test has all of this at most. */
#define OOM_NEEDED_SIZE (256 * MiB)

/* Poll @cond for at most @ms milliseconds; returns whether it became true. */
#define poll_for(ms, cond) ({						\
	struct timespec __pause = { .tv_nsec = 200000 };		\
	long long __end = now_ms() + (ms);				\
	bool __true;							\
									\
	while (!(__true = (cond)) && now_ms() < __end)			\
		nanosleep(&__pause, NULL);				\
	__true;								\
})
#define poll_until(cond) poll_for(OOM_DEADLINE_MS, cond)

/* What a test may need. */
#define OOM_GLOBAL	1	/* an OOM of the whole machine, which may kill anybody */
#define OOM_FREEZER	2	/* that of cgroup version 1 */
#define OOM_USERFAULTFD	4
#define OOM_SPARSE	8	/* address space for oom_map_sparse_victim() */
#define OOM_PT_RECLAIM	16	/* MADV_DONTNEED frees page tables that it empties */

/*
 * What a test changes in the system. Another process, the guard, undoes that
 * when the test has ended, or was killed. They have to share this memory, as
 * they do in a fixture with FIXTURE_TEARDOWN_PARENT().
 */
struct oom_cgroups {
	char *memcg;		/* version 2 */
	char *limited;		/* its parent, which gets the limit */
	char *outside;		/* version 2, without a limit */
	char *frozen;		/* version 1 freezer, or NULL */
	bool global;		/* OOM_GLOBAL */
	bool created;
	long dump_tasks;	/* what vm.oom_dump_tasks was before */
	long loglevel;		/* and the first number of kernel.printk */
	atomic_bool undone;
	int (*setup)(void *arg);	/* see oom_start() */
	void *arg;
	atomic_bool ready;
	pid_t bystanders[2];	/* see oom_start_bystanders() */
	atomic_int thread;	/* see oom_exit_main_thread() */
	atomic_long waited_ms;	/* in the last OOM */
};

static inline long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

/* Whether a test may force an OOM of the whole machine: NULL, or why not. */
const char *oom_no_global(void);
/* Whether that much memory is free, and may be mapped: NULL, or why not. */
const char *oom_no_memory(size_t bytes);
/*
 * Create the cgroups, and set the caller's oom_score_adj to -1000. @needs: what
 * of the above all tests of the fixture need. Returns KSFT_PASS, or KSFT_SKIP or
 * KSFT_FAIL and sets @why.
 */
int oom_cgroups_create(struct oom_cgroups *cg, int needs, const char **why);
/* What of @needs is missing here, or NULL. */
const char *oom_lacks(struct oom_cgroups *cg, int needs);
/* For a test that alone needs that: skip it, as SKIP() does. */
#define OOM_NEED(statement, cg, needs)					\
do {									\
	const char *__why = oom_lacks(cg, needs);			\
									\
	if (__why)							\
		SKIP(statement, "%s", __why);				\
} while (0)
/* For the teardown in the parent: wait until the guard is done. */
bool oom_cgroups_undone(struct oom_cgroups *cg);
/*
 * A fixture's setup, and its teardown, which waits for the guard in the parent.
 * checkpatch.pl takes each for a statement, unless it begins with a declaration.
 */
#define OOM_SETUP(fixture, cg, needs)					\
struct oom_cgroups;							\
FIXTURE_SETUP(fixture)							\
{									\
	struct oom_cgroups *oom_cg = (cg);				\
	const char *why = "";						\
	int ret = oom_cgroups_create(oom_cg, needs, &why);		\
									\
	if (ret == KSFT_SKIP) {						\
		SKIP(, "%s", why);					\
	} else {							\
		ASSERT_EQ(ret, KSFT_PASS) TH_LOG("%s", why);		\
	}								\
}

#define OOM_TEARDOWN(fixture, cg)					\
struct oom_cgroups;							\
FIXTURE_TEARDOWN_PARENT(fixture)					\
{									\
	struct oom_cgroups *oom_cg = (cg);				\
									\
	EXPECT_TRUE(oom_cgroups_undone(oom_cg));			\
}

/*
 * Start a process in cg->memcg that runs setup(arg) and then waits to be
 * killed. Returns its pid when it does, or -1 if setup() returned an error.
 */
pid_t oom_start(struct oom_cgroups *cg, int (*setup)(void *arg), void *arg);
/* The same, and freeze it then. */
pid_t oom_start_frozen(struct oom_cgroups *cg, int (*setup)(void *arg), void *arg);
/* The same, and kill it, which takes effect when it is thawed. */
pid_t oom_start_killed(struct oom_cgroups *cg, int (*setup)(void *arg), void *arg);
/* For a setup() that does not return: be what oom_start() waits for. */
int oom_ready(struct oom_cgroups *cg);
int oom_wait_for_kill(void *arg);
/* Start the two processes that nobody should kill. */
int oom_start_bystanders(struct oom_cgroups *cg);
/* Start a process that shares the caller's memory and runs fn(arg). */
pid_t oom_share_mm(int (*fn)(void *arg), int flags, void *arg);
/* Start a thread that waits to be killed. Returns its TID, or -1. */
pid_t oom_start_thread(void);
/* Fork processes that exit at once. It can be used in shared memory. */
int oom_fork_forever(void *pause_ns);
/* Have the caller be the owner of a robust futex that somebody waits for. */
int oom_own_futex(atomic_uint *futex);
int oom_set_score_adj(int adj);
/* Whether the process has ended; it may still be a zombie. */
bool oom_is_dead(pid_t pid);

/* Freeze a process, and what else is in cg->frozen; 0: only that. */
int oom_freeze(struct oom_cgroups *cg, pid_t pid);
int oom_thaw(struct oom_cgroups *cg);

int oom_set_limit(struct oom_cgroups *cg, size_t bytes);
/*
 * With two bystanders: start a victim with setup(cg), and lower the limit, so that
 * @bytes of it are needed, @nr times. Returns how many others were killed, or -1.
 */
long oom_lower_limits(struct oom_cgroups *cg, int nr, int (*setup)(void *arg), size_t bytes);
/* What the version 2 cgroups have counted; @name is that in memory.events. */
long oom_event(struct oom_cgroups *cg, const char *name);
/*
 * Private and shared memory in cg->memcg, in bytes. It does not include what CPUs
 * have in stock, and the kernel may need 2 s until it is exact.
 */
long oom_left(struct oom_cgroups *cg);
/*
 * Force an OOM, and wait until OOM_WANTED_SIZE can be allocated. Returns for how
 * many ms that blocked somebody, or -1. The OOM killer of cg->memcg kills as often
 * as necessary, that of the whole machine once.
 */
long oom_force(struct oom_cgroups *cg);
/*
 * The same without a process in cg->memcg, which is to lose nearly all it has. Waits
 * for the memory, if there is somebody to kill for it; the whole machine does not.
 */
int oom_from_outside(struct oom_cgroups *cg);

/*
 * Write to one byte in each @step bytes. Returns the longest time between two
 * of them in ms, which is how long the caller waited for memory.
 */
long oom_touch(char *mem, size_t size, size_t step);
/* Map private memory without huge pages, and touch each page of it. */
char *oom_map(size_t size);
/* Map such memory as @nr VMAs, and do not touch it. */
char *oom_map_vmas(size_t size, size_t nr);
/*
 * For oom_start(): map memory, and be the OOM killer's first or second choice. A
 * sparse victim has page tables, of OOM_VICTIM_SIZE, and nothing else.
 */
int oom_map_victim(void *unused);
int oom_map_threaded_victim(void *unused);
int oom_map_sparse_victim(void *unused);
int oom_map_bystander(void *unused);
/* The same without shared memory. @arg: the cgroups. */
int oom_map_private_victim(void *arg);
/* The same, but the main thread exits. @arg: the cgroups, which get cg->thread. */
int oom_exit_main_thread(void *arg);

int oom_open_proc(pid_t pid, const char *file);
/* The number after @field in such a file, or -1. */
long oom_read_proc(pid_t pid, const char *file, const char *field);
/* Private memory in KiB; exact, which the counters in "status" are not. */
long oom_anon_kb(pid_t pid);

/*
 * Map a page whose first user, for which oom_stuck_wait() waits, is stuck in
 * its page fault until killed. Returns NULL without userfaultfd.
 */
char *oom_stuck_page(int *uffd);
int oom_stuck_wait(int uffd);
/* Start a thread, and wait until it is stuck so. */
int oom_start_stuck_thread(void *(*fn)(void *arg), void *arg, int uffd);

/*
 * Start a process that is stuck in a read of /proc/@pid/mem, and so has the mm
 * pinned until it is killed. Returns its pid, or -1.
 */
pid_t oom_start_stuck_reader(struct oom_cgroups *cg, pid_t pid);

int oom_use_cpu(int cpu);
/* Another CPU that the caller may use, or -1. */
int oom_other_cpu(int cpu);
/*
 * Keep everybody else off a CPU, until *@busy is cleared, or for @ms: the scheduler
 * saves 5 % of each second for them. Returns -1 if that is not allowed.
 */
int oom_keep_cpu_busy(int cpu, atomic_bool *busy, int ms);

/* process_mrelease(2): 0 or a negative errno. */
int oom_mrelease(int pidfd, unsigned int flags);
int oom_mrelease_pid(pid_t pid);

#endif /* _SELFTESTS_MM_OOM_UTIL_H */
