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

/* OOM_REAPER_DELAY in mm/oom_kill.c is 2 * HZ. */
#define OOM_REAPER_DELAY_MS 2000

/*
 * What takes longer has waited for the reaper's delay. Late ticks shorten that,
 * and a slow machine needs some 100 ms without it.
 */
#define OOM_DELAYED_MS 1500

/* Only a broken kernel takes that long, even with debug options on. */
#define OOM_DEADLINE_MS 30000
#define OOM_TEST_TIMEOUT_S 120

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

#define OOM_NR_SETTINGS 4
#define OOM_PATH 128
#define OOM_VALUE 32

/*
 * What a test changes in the system. Another process, the guard, undoes that
 * when the test has ended, or was killed. They have to share this memory, as
 * they do in a fixture with FIXTURE_TEARDOWN_PARENT().
 */
struct oom_cgroups {
	char cgroup[OOM_PATH];	/* version 2, with all processes of the test */
	char memcg[OOM_PATH];	/* below it, for the memory limit */
	char outside[OOM_PATH];	/* below it, without a limit */
	char frozen[OOM_PATH];	/* version 1 freezer */
	char mount[32];		/* the freezer's mount, if the test made it */
	struct {
		char path[OOM_PATH], value[OOM_VALUE];
	} settings[OOM_NR_SETTINGS];
	int nr_settings;
	atomic_bool ready;	/* see oom_start() */
	size_t wanted;		/* see oom_allocate() */
	atomic_long waited_ms;
	atomic_bool undone;
};

static inline long long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

/*
 * Write to one byte in each @step bytes. Returns the longest time between two
 * of them in ms, which is how long the caller waited for memory.
 */
static inline long oom_touch(char *mem, size_t size, size_t step)
{
	long long now, last = now_ms();
	long longest = 0;
	size_t i;

	for (i = 0; i < size; i += step) {
		mem[i] = 1;
		now = now_ms();
		if (now - last > longest)
			longest = now - last;
		last = now;
	}
	return longest;
}

/*
 * Create the cgroups, and set the caller's oom_score_adj to -1000. Returns
 * NULL, or why the test has to be skipped. @global: the test forces an OOM of
 * the whole machine, which may kill anybody.
 */
const char *oom_cgroups_create(struct oom_cgroups *cg, bool global);
/* For the teardown in the parent: wait until the guard is done. */
bool oom_cgroups_undone(struct oom_cgroups *cg);
/* Change a setting in /proc or /sys until the end of the test. */
int oom_change_setting(struct oom_cgroups *cg, const char *path, const char *value);

/*
 * Start a process in cg->memcg that runs setup(cgroup, arg). When that is
 * done, it calls oom_ready(), which waits to be killed. Returns the pid, or -1
 * if setup() returned.
 */
pid_t oom_start(struct oom_cgroups *cg,
		int (*setup)(const char *cgroup, void *arg), void *arg);
/* The same, and freeze it then, with what else is in cg->frozen. */
pid_t oom_start_frozen(struct oom_cgroups *cg,
		       int (*setup)(const char *cgroup, void *arg), void *arg);
int oom_ready(struct oom_cgroups *cg);
/* Start a process that shares the caller's memory and runs fn(arg). */
pid_t oom_share_mm(int (*fn)(void *arg), int flags, void *arg);
int oom_wait_for_kill(void *arg);
/* Start threads of the caller that wait to be killed. */
int oom_start_threads(int nr);

/* Limit what cg->memcg may use. */
int oom_set_limit(struct oom_cgroups *cg, size_t bytes);
/*
 * Have a process in cg->memcg allocate @size bytes and exit. Returns the
 * longest time that it waited for a page in ms, or -1.
 */
long oom_allocate(struct oom_cgroups *cg, size_t size);
/* Have the OOM killer of the whole machine kill somebody; it does so later. */
int oom_kill_one(void);

int oom_freeze(struct oom_cgroups *cg);

/* Whether the process has ended; it may still be a zombie. */
bool oom_is_dead(pid_t pid);
int oom_set_score_adj(int adj);

/* Map private memory without huge pages, and touch each page of it. */
char *oom_map(size_t size);
/* The same, but touch only one page for each of @nr page tables. */
char *oom_map_sparse(size_t nr);
/* Whether the kernel frees page tables that MADV_DONTNEED empties. */
bool oom_reclaims_page_tables(void);

/*
 * A page whose first user is stuck in its page fault until killed.
 * oom_stuck_page() returns it, or NULL without userfaultfd.
 */
struct oom_stuck {
	int uffd;
	char *page;
};

char *oom_stuck_page(struct oom_stuck *stuck);
/* Wait until somebody is stuck. */
int oom_stuck_wait(struct oom_stuck *stuck);

/*
 * Start a process that is stuck in a read of /proc/@pid/mem: it has the mm
 * pinned until it is killed. Returns its pid, or -1.
 */
pid_t oom_start_stuck_reader(struct oom_cgroups *cg, pid_t pid);

/* process_mrelease(2): 0 or a negative errno. */
int oom_mrelease(int pidfd, unsigned int flags);

#endif /* _SELFTESTS_MM_OOM_UTIL_H */
