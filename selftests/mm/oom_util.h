/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of the OOM reaper and of process_mrelease() share: a pair of
 * cgroups that holds every process of a test, processes that wait to be
 * killed, and the few figures to wait for.
 *
 * Functions that return int return 0 or a negative errno. Times are in
 * milliseconds, sizes in bytes. Nothing here sleeps for a fixed time: a wait
 * polls its condition, and OOM_DEADLINE_MS bounds it.
 */
#ifndef _SELFTESTS_MM_OOM_UTIL_H
#define _SELFTESTS_MM_OOM_UTIL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define MiB 1048576UL

/* OOM_REAPER_DELAY in mm/oom_kill.c is 2 * HZ. */
#define OOM_REAPER_DELAY_MS 2000

/*
 * Far more than any wait takes that ends at all, a kernel with every debug
 * option in an emulator included. Only a broken kernel runs into it.
 */
#define OOM_DEADLINE_MS 30000

/* For the harness; above the sum of the waits that a test can be stuck in. */
#define OOM_TEST_TIMEOUT_S 120

/*
 * Every process of a test is in the memory cgroup and in one of the two v1
 * freezer cgroups, so that the end of a test finds them all, whoever their
 * parent is by then. The paths are inside a fixture that parent and child
 * share, hence arrays.
 */
struct oom_cgroups {
	char mount[64];		/* v1 freezer, if mounted by the test */
	char run[192];		/* v1 freezer cgroup, never frozen */
	char frozen[192];	/* v1 freezer cgroup, for oom_freeze() */
	char mem[192];		/* memory cgroup; empty if there is none */
	char mem_root[128];	/* where it is in */
	bool mem_v2;
};

/*
 * Why the cgroups cannot be had, for SKIP(); NULL if they are there. Needs
 * root. oom_cgroups_destroy() takes what was made, from any state: it thaws,
 * kills what is left and removes the cgroups.
 */
const char *oom_cgroups_create(struct oom_cgroups *cg, bool need_mem);
int oom_cgroups_destroy(struct oom_cgroups *cg);

/* Move the process @pid (0: the caller) into the cgroup. */
int oom_cgroup_attach(const char *cgroup, pid_t pid);
/* Move the calling thread alone. v1 only. */
int oom_cgroup_attach_thread(const char *cgroup);

/* Freeze or thaw what is in cg->frozen; returns when the kernel says so. */
int oom_freeze(struct oom_cgroups *cg);
int oom_freeze_start(struct oom_cgroups *cg);
int oom_thaw(struct oom_cgroups *cg);
/* Freeze what is in cg->mem, by the cgroup v2 freezer; needs cg->mem_v2. */
int oom_freeze_v2(struct oom_cgroups *cg);

int oom_mem_set_limit(struct oom_cgroups *cg, size_t bytes);
/* Bytes charged to the memory cgroup, or a negative errno. */
long long oom_mem_usage(struct oom_cgroups *cg);
/*
 * Wait until the cgroup's usage is at most @bytes. Returns for how long the
 * caller waited, or -ETIMEDOUT.
 */
long long oom_wait_mem_usage(struct oom_cgroups *cg, size_t bytes);

/*
 * The number that follows @name in a file of /proc with a line for each figure
 * (meminfo, vmstat, smaps_rollup), or a negative errno.
 */
long long oom_figure(const char *path, const char *name);
/* The same for a figure in kB, in bytes. */
long long oom_figure_kb(const char *path, const char *name);

long long oom_now_ms(void);

/* Between two looks at a condition. */
void oom_poll_pause(void);

/*
 * Why an OOM of the whole machine cannot be forced, for SKIP(); NULL if it can.
 * It may take a process that is none of the test's, so it is for virtual
 * machines, and for others if the environment has OOM_GLOBAL=1. OOM_GLOBAL=0
 * refuses it anywhere.
 */
const char *oom_global_refused(void);

int oom_write(const char *path, const char *text);
/* The file's text, without a newline at its end. */
int oom_read(const char *path, char *buf, size_t size);

/* State letter of /proc/<pid>/stat, or 'X' if the process is gone. */
char oom_task_state(pid_t pid);
/* Wait until @pid is in one of @states (as in "DZX"). */
int oom_wait_state(pid_t pid, const char *states);

/* Sets oom_score_adj of the caller. */
int oom_set_score_adj(int adj);

/* Map private memory without huge pages, and touch all of it. */
void *oom_map_populated(size_t size);

/* Map what needs @nr page tables, and touch one page of each. */
void *oom_map_sparse(size_t nr);
/* Whether the kernel frees page tables that a zap empties (PT_RECLAIM). */
bool oom_have_pt_reclaim(void);

/*
 * Start a child, in cg->run and in the memory cgroup, that runs @fn(@arg) and
 * then waits to be killed. Returns its pid once @fn is through, or a negative
 * errno. A @fn that returns other than 0 has failed.
 */
pid_t oom_spawn(struct oom_cgroups *cg, int (*fn)(void *arg), void *arg);

/*
 * A page that its process gets only from a userfaultfd: who touches it is
 * stuck until killed, and has the mm pinned.
 */
struct oom_fault {
	int uffd;
	char *page;
};

bool oom_have_userfaultfd(void);
int oom_fault_create(struct oom_fault *fault);
/* Wait until somebody is stuck. */
int oom_fault_wait(struct oom_fault *fault);

/*
 * Start a child that reads the memory of the process @pid and is stuck in that:
 * until it is killed, it pins the mm, and nothing else of the process.
 */
pid_t oom_spawn_reader(struct oom_cgroups *cg, pid_t pid);

/* Pins the caller to one CPU. */
int oom_pin_cpu(int cpu);

/*
 * A thread that keeps everybody else off a CPU, at a real-time priority. Not
 * for longer than a few 100 ms: the scheduler saves 5 % of each second for the
 * others.
 */
struct oom_hog {
	pthread_t thread;
	int pipe[2];
	atomic_bool runs, ends;
};

/* The thread sleeps until oom_hog_run(), which returns when it has the CPU. */
int oom_hog_create(struct oom_hog *hog, int cpu);
int oom_hog_run(struct oom_hog *hog);
void oom_hog_end(struct oom_hog *hog);

/* Kernel log from now on; the file descriptor or a negative errno. */
int oom_klog_open(void);
/*
 * The first line in the log since oom_klog_open() that is a kernel's complaint
 * (BUG, WARNING, hung task, ...) goes to @line. Returns 1 if there is one,
 * else 0.
 */
int oom_klog_check(int fd, char *line, size_t size);
/* Wait for a line with @text, in the log since oom_klog_open(). */
int oom_klog_wait(int fd, const char *text);

int oom_pagemap_open(pid_t pid);
/* Whether the page at @addr is present: 1, 0 or a negative errno. */
int oom_pagemap_present(int fd, const void *addr);

int oom_pidfd_open(pid_t pid);
bool oom_have_mrelease(void);
/* process_mrelease(2): 0 or a negative errno. */
int oom_mrelease(int pidfd, unsigned int flags);

#endif /* _SELFTESTS_MM_OOM_UTIL_H */
