/* SPDX-License-Identifier: GPL-2.0 */
/* Parts of oom_bench; what it measures is said in oom_bench.c. */
#ifndef _BENCH_OOM_BENCH_H
#define _BENCH_OOM_BENCH_H

#include <pthread.h>
#include <stdatomic.h>

#include "measure.h"

/* Options, and what they are when they are not given. */
extern struct options {
	size_t size;		/* of the victim, -s MiB */
	int vmas;		/* -n */
	bool thp;		/* -p thp */
	bool swap;		/* -z */
	bool mixed;		/* -m: its pages compress to many sizes */
	bool oom;		/* -o: the OOM reaper instead of the syscall */
	bool count;		/* -c: no references, for what counts alone */
	bool locks;		/* -l: print what /proc/lock_stat has of each try */
	int runs;		/* -r */
	int best;		/* -b: of so many tries */
	int window_ms;		/* -w */
	char *steps;		/* -S, MiB, separated by commas */
} opt;

/* ---- result.c ---- */

extern const char *kind;
extern char case_name[96];

/* A figure of a run (-1: the warm-up) goes out at once, or to the least of it. */
void result(int run, const char *mode, const char *metric, double value);
void flush_least(int run);
/* Who lost a race tries again, but not for ever. */
void count_lost(int run, const char *mode, int *lost);
/* What runs this: a line of its own. */
void print_machine(void);

/* ---- victim.c ---- */

struct mem {
	size_t size;
	int vmas;
	int cpu;
	int adj;
};

/* The caller becomes a victim: map and touch its memory. For start_process(). */
void map_mem(void *arg);
/* Wait for the victim; returns when it was gone, and adds the CPU time it had. */
double wait_gone(pid_t pid, double *cpu);

/* A thread on CPU 1 that kills and reaps when it is told to go. */
enum mode { ALONE, HALVES, MRELEASE, OOM };

struct caller {
	pthread_t thread;
	enum mode mode;
	pid_t pid[2];
	int pidfd;
	atomic_bool ready, go;
	double killed, done, cpu;
	int ret;
};

void start_caller(struct caller *c);
/* Wait for the thread; returns what process_mrelease() gave. */
int end_caller(struct caller *c);

/* ---- trace.c ---- */

#define TRACE "/sys/kernel/tracing/"

void trace_events(const char *event, bool on);
void trace_clear(void);
char *trace_read(void);
double trace_time(const char *line, const char *event, pid_t pid);
/* For how long the task waited for mmap_lock to write, the last time; or -1. */
double write_lock_wait(pid_t pid);

/* ---- reaper.c ---- */

/* The OOM reaper; it is on CPU 1 from then on. */
pid_t pin_reaper(void);
/* Give all of CPU 0 to who keeps the victim off it. */
void allow_hold(void);
/* Returns false if the victim was gone before it could be reaped. */
bool one_oom(struct oom_cgroups *cg, int run, const char *mode);

/* ---- the kinds; those with an argument for with_cgroups() ---- */

void bench_reap(struct oom_cgroups *cg, void *arg);
void bench_wait(struct oom_cgroups *cg, void *arg);
void bench_scale(struct oom_cgroups *cg, void *arg);
void bench_late(struct oom_cgroups *cg, void *arg);
void bench_back(void);
void bench_insn(void);

#endif /* _BENCH_OOM_BENCH_H */
