/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs of the benchmark share: clocks, CPUs, figures of /proc, and
 * the cgroups to work in. Whatever fails here ends the program, with a message.
 */
#ifndef _BENCH_MEASURE_H
#define _BENCH_MEASURE_H

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

#include "oom_util.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define HUGE_SIZE (2 * MiB)

/* Exit with a message if @ret is -1 or a negative errno. */
void must(long long ret, const char *what);

double clock_us(clockid_t clock);
/* CPU time of a process so far. */
double cpu_us(pid_t pid);

static inline double now_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

/* Keep the caller on that CPU. */
void pin_cpu(int cpu);

/* Bytes in the line that begins with @field, such as "VmPTE:"; -1 if none does. */
long long field_bytes(const char *path, const char *field);
static inline long long meminfo(const char *field)
{
	return field_bytes("/proc/meminfo", field);
}

/*
 * Read the options -r RUNS and -c CASE (repeatable) of a program with @nr cases. Sets
 * which of them are @chosen: those of -c, or all without -c. Returns the runs (3 by
 * default). -h prints @usage and exits with 0; bad options end the program, too.
 */
int choose_cases(int argc, char **argv, int nr, const char *(*name)(int nr),
		 bool *chosen, const char *usage);

/* 0, or a negative errno. */
int write_setting(const char *path, const char *text);

int open_pidfd(pid_t pid);

/* Private memory, aligned to a huge page, in a vma of its own. */
char *map_aligned(size_t size);

/*
 * Make the cgroups and run fn(cg, arg), in a separate process. Returns when that
 * process has ended and all that it left behind is gone. @global: fn() forces OOMs
 * of the whole machine.
 */
void with_cgroups(bool global, void (*fn)(struct oom_cgroups *cg, void *arg), void *arg);

/*
 * Start a process in cg->memcg that runs setup(arg) and then waits to be killed.
 * Returns its pid once setup() has returned. Unlike oom_start(), this has no time
 * limit, because setup() may use all memory, and does not poll, because that would
 * disturb what is measured.
 */
pid_t start_process(struct oom_cgroups *cg, void (*setup)(void *arg), void *arg);

/* Kill a process, but have the freezer keep it from exiting until thaw(). */
void kill_frozen(struct oom_cgroups *cg, pid_t pid);
void thaw(struct oom_cgroups *cg);

#endif /* _BENCH_MEASURE_H */
