/* SPDX-License-Identifier: GPL-2.0 */
/* The parts of oom_bench; oom_bench.c describes what it measures. */
#ifndef _BENCH_OOM_BENCH_H
#define _BENCH_OOM_BENCH_H

#include <pthread.h>
#include <stdatomic.h>

#include "measure.h"

/* The options, and their defaults. */
extern struct options {
	size_t size;		/* of the victim, -s MiB */
	int vmas;		/* -n */
	bool thp;		/* -p thp */
	bool swap;		/* -z */
	bool oom;		/* -o: the OOM reaper instead of the syscall */
	bool count;		/* -c: no references, only count contentions */
	int runs;		/* -r */
	int best;		/* -b: best of this many tries */
	int window_ms;		/* -w */
	char *steps;		/* -S, MiB, separated by commas */
} opt;

/* ---- result.c ---- */

extern const char *kind;
extern char case_name[96];

/* Print a figure of a run (-1: the warm-up); with -b, keep the least of the run. */
void result(int run, const char *mode, const char *metric, double value);
void flush_least(int run);
/* Count a victim that exited too early; ends the program if there are too many. */
void count_lost(int run, const char *mode, int *lost);
/* Print a line on the machine. */
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
/* Wait for the victim; returns the time it was gone, and adds its CPU time to @cpu. */
double wait_gone(pid_t pid, double *cpu);

/* A thread on CPU 1 that kills and reaps once @go is set. */
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
/* Wait for the thread; returns what process_mrelease() returned. */
int end_caller(struct caller *c);

/* ---- trace.c ---- */

#define TRACE "/sys/kernel/tracing/"

void trace_events(const char *event, bool on);
void trace_clear(void);
char *trace_read(void);
double trace_time(const char *line, const char *event, pid_t pid);
/* How long the task last waited for the mmap_lock to write, or -1. */
double write_lock_wait(pid_t pid);

/* ---- reaper.c ---- */

/* Move the OOM reaper to CPU 1, and return its pid. */
pid_t pin_reaper(void);
/* Let the thread that holds up the victim use all of CPU 0. */
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
