// SPDX-License-Identifier: GPL-2.0
/*
 * oom_bench - time the OOM reaper, process_mrelease(2) and plain exits
 *
 * Usage: oom_bench KIND [OPTION ...]; see usage(). Needs root, in a machine that
 * may see an OOM of all its memory.
 *
 * Prints a line for each figure, tab-separated:
 *
 *   R  KIND  CASE  RUN  MODE  METRIC  VALUE	a figure; times are in us
 *   C  KIND  CASE  RUN  US    BYTES		memory at a time after the kill
 *   I  MACHINE				what runs this: see machine()
 *   L  KIND  CASE  RUN  MODE  TEXT		a line of /proc/lock_stat, with -l
 *
 * Modes of one case take turns within a run, and begin with another one in each,
 * so that a drift of the machine meets all of them. A first run is not printed.
 * Victims are on CPU 0, who reaps them is on CPU 1.
 *
 * Exit: 0; 1 something went wrong, and stderr says what.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "oom_util.h"

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(*(a)))
#define HUGE_SIZE (2 * MiB)
#define TRACE "/sys/kernel/tracing/"
#define TRACE_SIZE (4 * MiB)
#define STACK_SIZE (64UL << 10)

/* What the reaper has taken when a victim that is held up may go on. */
#define BEGUN_SIZE (4 * MiB)

#define MAX_LOST 20

static const char *kind;
static char case_name[96];

/* Options, and what they are when they are not given. */
static struct {
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
} opt = { .size = 256 * MiB, .vmas = 1, .runs = 5, .best = 1 };

static void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "oom_bench %s: ", kind);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

/* For what returns a negative errno. */
static void must(long long ret, const char *what)
{
	if (ret < 0)
		fail("%s: %s", what, strerror(-ret));
}

static double clock_us(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts))
		return 0;
	return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}

static double now_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

/* CPU time of a process, as far as it has got. */
static double cpu_us(pid_t pid)
{
	clockid_t clock;

	return clock_getcpuclockid(pid, &clock) ? 0 : clock_us(clock);
}

static double thread_cpu_us(void)
{
	return clock_us(CLOCK_THREAD_CPUTIME_ID);
}

/* "emulated", "virtual: NAME", or "no hypervisor seen", as the CPU tells. */
static void machine(void)
{
#ifdef __x86_64__
	unsigned int a, b, c, d, name[4] = { 0 };

	if (__get_cpuid(1, &a, &b, &c, &d) && c >> 31) {
		__cpuid(0x40000000, a, name[0], name[1], name[2]);
		if (!strcmp((char *)name, "TCGTCGTCGTCG"))
			puts("I\temulated (QEMU TCG)");
		else
			printf("I\tvirtual: %s\n", (char *)name);
		return;
	}
#endif
	puts("I\tno hypervisor seen");
}

static void print(int run, const char *mode, const char *metric, double value)
{
	printf("R\t%s\t%s\t%d\t%s\t%s\t%.3f\n", kind, case_name, run, mode,
	       metric, value);
}

/*
 * What else goes on in a machine only ever adds to a time: with -b, the least of
 * a run's tries is its figure.
 */
static struct {
	char mode[16];
	const char *metric;
	double value;
} least[64];
static int nr_least;

/* Run -1 is the warm-up. */
static void result(int run, const char *mode, const char *metric, double value)
{
	int i;

	if (run < 0)
		return;
	if (opt.best == 1) {
		print(run, mode, metric, value);
		return;
	}
	for (i = 0; i < nr_least; i++)
		if (!strcmp(least[i].mode, mode) &&
		    !strcmp(least[i].metric, metric))
			break;
	if (i == (int)ARRAY_SIZE(least))
		fail("too many figures");
	if (i == nr_least) {
		nr_least++;
		snprintf(least[i].mode, sizeof(least[i].mode), "%s", mode);
		least[i].metric = metric;
		least[i].value = value;
	} else if (value < least[i].value) {
		least[i].value = value;
	}
}

static void flush_least(int run)
{
	int i;

	for (i = 0; i < nr_least; i++)
		print(run, least[i].mode, least[i].metric, least[i].value);
	nr_least = 0;
}

/* ---- victims ---- */

struct mem {
	size_t size;
	int vmas;
	int cpu;
	int adj;
};

static int page_out(char *mem, size_t size)
{
	size_t off;

	for (off = 0; off < size; off += 2 * HUGE_SIZE)
		if (madvise(mem + off, HUGE_SIZE, MADV_PAGEOUT))
			return -errno;
	if (oom_figure_kb("/proc/self/status", "VmSwap") <
	    (long long)size * 2 / 5) {
		fprintf(stderr, "oom_bench: too little was swapped out\n");
		return -ENOSPC;
	}
	return 0;
}

/*
 * Pages of zeros would take no room in zram. Those of one byte are all of one
 * size there; with -m they have up to 3300 bytes that do not compress.
 */
static void fill(char *mem, size_t size)
{
	static unsigned int noise[1 << 16];
	size_t page = getpagesize(), i;
	unsigned int x = 1;

	for (i = 0; i < ARRAY_SIZE(noise); i++) {
		x = x * 1664525 + 1013904223;
		noise[i] = x;
	}
	for (i = 0; i < size; i += page) {
		x = x * 1664525 + 1013904223;
		if (opt.mixed)
			memcpy(mem + i, noise + (x >> 17), (x >> 8) % 3300);
		mem[i] = 1;
	}
}

/* Maps and touches the victim's memory; the parent of a victim is done then. */
static int map_mem(void *arg)
{
	struct mem *m = arg;
	size_t page = getpagesize(), i, each;
	int ret = oom_pin_cpu(m->cpu);
	char *mem;

	if (!ret)
		ret = oom_set_score_adj(m->adj);
	if (ret)
		return ret;
	mem = mmap(NULL, m->size + HUGE_SIZE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (mem == MAP_FAILED)
		return -errno;
	i = -(uintptr_t)mem & (HUGE_SIZE - 1);
	munmap(mem + i + m->size, HUGE_SIZE - i);
	if (i)
		munmap(mem, i);
	mem += i;
	if (madvise(mem, m->size, opt.thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		return -errno;
	/* In one go, for a fault is dear in an emulator. */
	if (madvise(mem, m->size, MADV_POPULATE_WRITE))
		return -errno;
	if (opt.swap)
		fill(mem, m->size);
	if (opt.thp && oom_figure_kb("/proc/self/smaps_rollup",
				     "AnonHugePages") < (long long)m->size * 9 / 10) {
		fprintf(stderr, "oom_bench: got too few huge pages\n");
		return -ENOMEM;
	}
	/* Neighbours whose protections differ do not merge. */
	each = m->size / m->vmas & -page;
	for (i = 1; i < (size_t)m->vmas; i += 2)
		if (mprotect(mem + i * each, each, PROT_READ))
			return -errno;
	return opt.swap ? page_out(mem, m->size) : 0;
}

static pid_t start_victim(struct oom_cgroups *cg, struct mem *m)
{
	pid_t pid = oom_spawn(cg, map_mem, m);

	must(pid, "cannot start a victim");
	return pid;
}

/* Waits for the victim; returns when it was gone, and the CPU time it had. */
static double wait_gone(pid_t pid, double *cpu)
{
	struct rusage ru;

	if (wait4(pid, NULL, 0, &ru) != pid)
		fail("wait4: %s", strerror(errno));
	*cpu += ru.ru_utime.tv_sec * 1e6 + ru.ru_utime.tv_usec +
		ru.ru_stime.tv_sec * 1e6 + ru.ru_stime.tv_usec;
	return now_us();
}

/* ---- tracing ---- */

static char *trace_text;

static void trace_events(const char *event, bool on)
{
	char path[128];

	snprintf(path, sizeof(path), TRACE "events/%s/enable", event);
	must(oom_write(path, on ? "1" : "0"), path);
}

static void trace_clear(void)
{
	int fd = open(TRACE "trace", O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0)
		fail("no " TRACE "trace");
	close(fd);
}

static char *trace_read(void)
{
	size_t len = 0;
	ssize_t ret;
	int fd = open(TRACE "trace", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		fail("no " TRACE "trace");
	if (!trace_text)
		trace_text = malloc(TRACE_SIZE);
	while (len < TRACE_SIZE - 1 &&
	       (ret = read(fd, trace_text + len, TRACE_SIZE - 1 - len)) > 0)
		len += ret;
	close(fd);
	trace_text[len] = '\0';
	return trace_text;
}

/*
 * The line's time in us if it is of @event, and of a task with that pid (0: of
 * anyone); else -1. "TASK-PID [CPU] FLAGS SECONDS: EVENT: ..."
 */
static double trace_time(const char *line, const char *event, pid_t pid)
{
	const char *cpu = strstr(line, " ["), *name, *p;
	double at;

	if (line[0] == '#' || !cpu)
		return -1;
	name = strstr(cpu, ": ");
	if (!name || strncmp(name + 2, event, strlen(event)) ||
	    name[2 + strlen(event)] != ':')
		return -1;
	for (p = name; p > cpu && p[-1] != ' '; p--)
		;
	at = atof(p) * 1e6;
	for (p = cpu; p > line && *p == ' '; p--)
		;
	while (p > line && p[-1] != '-')
		p--;
	return !pid || atoi(p) == pid ? at : -1;
}

/* ---- kill and process_mrelease(), or the OOM reaper, against exit alone ---- */

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

/* Kills, and reaps. Spins before it, to be at once where it belongs. */
static void *caller_thread(void *arg)
{
	struct caller *c = arg;

	c->ret = oom_pin_cpu(1);
	c->ready = true;
	while (!c->go)
		;
	c->killed = now_us();
	kill(c->pid[0], SIGKILL);
	if (c->mode == HALVES)
		kill(c->pid[1], SIGKILL);
	if (c->mode == MRELEASE) {
		c->cpu = thread_cpu_us();
		c->ret = oom_mrelease(c->pidfd, 0);
		c->cpu = thread_cpu_us() - c->cpu;
		c->done = now_us();
	}
	return NULL;
}

static void start_caller(struct caller *c)
{
	c->pidfd = oom_pidfd_open(c->pid[0]);
	must(c->pidfd, "pidfd_open");
	if (pthread_create(&c->thread, NULL, caller_thread, c))
		fail("cannot start a thread");
	while (!c->ready)
		oom_poll_pause();
	must(c->ret, "cannot use CPU 1");
}

/* Contentions of page table locks so far, or -1 on a kernel that has no count. */
static long long contentions(void)
{
	FILE *file = fopen("/proc/lock_stat", "re");
	long long sum = 0, acquired, bounces;
	char line[512], *colon;

	if (!file)
		return -1;
	while (fgets(line, sizeof(line), file)) {
		if (!strstr(line, "ptlock_ptr("))
			continue;
		colon = strrchr(line, ':');
		/* con-bounces, contentions */
		if (colon && sscanf(colon + 1, "%lld %lld", &bounces, &acquired) == 2)
			sum += acquired;
	}
	fclose(file);
	return sum;
}

/* What /proc/lock_stat has on the locks that were contended. */
static void print_locks(int run, const char *mode)
{
	FILE *file = fopen("/proc/lock_stat", "re");
	long long contended = 1;
	char line[512], *colon;

	if (!file || run < 0)
		contended = 0;
	/* The most contended come first, each with its callers below it. */
	while (contended && fgets(line, sizeof(line), file)) {
		colon = strrchr(line, ':');
		if (colon && sscanf(colon + 1, "%*d %lld", &contended) == 1 &&
		    !contended)
			break;
		if (strchr(line, '[') || colon)
			printf("L\t%s\t%s\t%d\t%s\t%s", kind, case_name, run,
			       mode, line);
	}
	if (file)
		fclose(file);
}

static pid_t find_reaper(void)
{
	char path[64], comm[64];
	pid_t pid;

	for (pid = 2; pid < 1000; pid++) {
		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		if (!oom_read(path, comm, sizeof(comm)) &&
		    !strcmp(comm, "oom_reaper"))
			return pid;
	}
	fail("found no oom_reaper");
	return -1;
}

static void pin_reaper(pid_t reaper)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(1, &set);
	if (sched_setaffinity(reaper, sizeof(set), &set))
		fail("cannot pin the oom_reaper: %s", strerror(errno));
}

/*
 * Keeps the victim off its CPU until the reaper has begun. That is how the two
 * meet, on any kernel: a victim that can run has two seconds of its own.
 */
struct hold {
	pthread_t thread;
	long long anon;		/* bytes, when nothing was taken */
	atomic_bool runs;
	double end;
};

static void *hold_thread(void *arg)
{
	struct hold *hold = arg;
	double limit = now_us() + 1e6 * 10;

	hold->runs = true;
	while (oom_figure_kb("/proc/meminfo", "AnonPages") >
	       hold->anon - (long long)BEGUN_SIZE)
		if (now_us() > limit)
			fail("the OOM reaper did not come");
	hold->end = now_us();
	return NULL;
}

static void start_hold(struct hold *hold)
{
	struct sched_param param = { .sched_priority = 1 };
	pthread_attr_t attr;
	cpu_set_t set;
	int ret;

	hold->anon = oom_figure_kb("/proc/meminfo", "AnonPages");
	hold->runs = false;
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
	pthread_attr_setschedparam(&attr, &param);
	ret = pthread_create(&hold->thread, &attr, hold_thread, hold);
	if (ret)
		fail("cannot run at a real-time priority: %s", strerror(ret));
	pthread_attr_destroy(&attr);
	while (!hold->runs)
		oom_poll_pause();
}

/* When the reaper was at work, from its trace events. */
static double reaper_time(void)
{
	double start = -1, at, limit = now_us() + 1e6 * 10;
	char *line, *save;

	for (;;) {
		for (line = strtok_r(trace_read(), "\n", &save); line;
		     line = strtok_r(NULL, "\n", &save)) {
			at = trace_time(line, "start_task_reaping", 0);
			if (at >= 0)
				start = at;
			at = trace_time(line, "finish_task_reaping", 0);
			if (at >= 0 && start >= 0)
				return at - start;
			/* exit_mmap() was through before it had the lock. */
			if (trace_time(line, "skip_task_reaping", 0) >= 0)
				return -1;
		}
		if (now_us() > limit)
			fail("the OOM reaper did not finish");
		oom_poll_pause();
	}
}

/* Returns false if the victim was gone before it could be reaped. */
static bool one_oom(struct oom_cgroups *cg, int run, const char *mode)
{
	struct mem m = { opt.size, opt.vmas, 0, 1000 };
	pid_t reaper = find_reaper(), pid = start_victim(cg, &m);
	double before = cpu_us(pid), cpu = 0, reaper_cpu, gone, took;
	struct hold hold;

	pin_reaper(reaper);
	oom_pin_cpu(1);
	trace_clear();
	trace_events("oom/start_task_reaping", true);
	trace_events("oom/finish_task_reaping", true);
	trace_events("oom/skip_task_reaping", true);
	reaper_cpu = cpu_us(reaper);
	start_hold(&hold);
	must(oom_write("/proc/sysrq-trigger", "f"), "sysrq f");
	oom_pin_cpu(0);
	gone = wait_gone(pid, &cpu);
	pthread_join(hold.thread, NULL);
	took = reaper_time();
	reaper_cpu = cpu_us(reaper) - reaper_cpu;
	trace_events("oom", false);
	if (took < 0)
		return false;
	result(run, mode, "exit", gone - hold.end);
	result(run, mode, "exit_cpu", cpu - before);
	result(run, mode, "reap", took);
	result(run, mode, "reap_cpu", reaper_cpu);
	result(run, mode, "cpu", cpu - before + reaper_cpu);
	return true;
}

static bool one_reap(struct oom_cgroups *cg, int run, enum mode mode,
		     const char *name)
{
	int i, nr = mode == HALVES ? 2 : 1;
	struct caller c = { .mode = mode };
	double before = 0, cpu = 0, gone = 0;
	long long contended;

	if (mode == OOM)
		return one_oom(cg, run, name);
	for (i = 0; i < nr; i++) {
		struct mem m = { opt.size / nr, (opt.vmas + nr - 1) / nr, i, 0 };

		c.pid[i] = start_victim(cg, &m);
		before += cpu_us(c.pid[i]);
	}
	start_caller(&c);
	if (opt.locks)
		must(oom_write("/proc/lock_stat", "0"), "/proc/lock_stat");
	contended = contentions();
	c.go = true;
	for (i = 0; i < nr; i++)
		gone = wait_gone(c.pid[i], &cpu);
	pthread_join(c.thread, NULL);
	contended = contentions() - contended;
	if (opt.locks)
		print_locks(run, name);
	close(c.pidfd);

	if (c.ret) {
		/* The victim was past exit_mm() before it could be reaped. */
		if (c.ret != -ESRCH)
			fail("process_mrelease: %s", strerror(-c.ret));
		return false;
	}
	result(run, name, "exit", gone - c.killed);
	result(run, name, "exit_cpu", cpu - before);
	if (mode == MRELEASE) {
		result(run, name, "reap", c.done - c.killed);
		result(run, name, "reap_cpu", c.cpu);
	}
	result(run, name, "cpu", cpu - before + c.cpu);
	if (contentions() >= 0)
		result(run, name, "contentions", contended);
	return true;
}

/* Not for ever: a machine that always loses has nothing to measure. */
static void count_lost(int run, const char *name, int *lost)
{
	if (++*lost > MAX_LOST)
		fail("the victim was gone before it could be reaped, %d times",
		     *lost);
	if (run >= 0)
		print(run, name, "lost", *lost);
}

static void set_step(const char *mib)
{
	const char *file = "/sys/module/memory/parameters/step_mib";

	must(oom_write(file, strcmp(mib, "whole") ? mib : "1048576"), file);
}

struct turn {
	enum mode mode;
	char name[16];
	char step[16];
};

static void bench_reap(struct oom_cgroups *cg)
{
	struct turn turns[16] = {
		{ .mode = ALONE, .name = "alone" },
		{ .mode = HALVES, .name = "halves" },
	};
	int nr = opt.count ? 0 : 2, run, i;
	char *step, *save;

	if (!oom_have_mrelease())
		fail("no process_mrelease(2)");
	if (opt.steps) {
		for (step = strtok_r(opt.steps, ",", &save); step && nr < 16;
		     step = strtok_r(NULL, ",", &save)) {
			turns[nr].mode = MRELEASE;
			snprintf(turns[nr].name, 16, "step-%.10s", step);
			snprintf(turns[nr++].step, 16, "%s", step);
		}
	} else if (!opt.oom) {
		turns[nr].mode = MRELEASE;
		turns[nr].step[0] = '\0';
		strcpy(turns[nr++].name, "mrelease");
	} else {
		turns[nr].mode = OOM;
		turns[nr].step[0] = '\0';
		strcpy(turns[nr++].name, "oom");
		/*
		 * Or others get 50 ms of each second in spite of a task of a
		 * higher priority; since 6.12 it is a server that sees to it.
		 */
		oom_write("/proc/sys/kernel/sched_rt_runtime_us", "-1");
		oom_write("/sys/kernel/debug/sched/fair_server/cpu0/runtime", "0");
	}
	must(oom_write("/proc/sys/kernel/lock_stat", "1") == -EACCES ? -EACCES : 0,
	     "lock_stat");
	oom_pin_cpu(0);
	for (run = -1; run < opt.runs; run++) {
		for (i = 0; i < nr * (run < 0 ? 1 : opt.best); i++) {
			struct turn *t = &turns[(i + run + 1) % nr];
			int lost = 0;

			if (t->step[0])
				set_step(t->step);
			while (!one_reap(cg, run, t->mode, t->name))
				count_lost(run, t->name, &lost);
		}
		flush_least(run);
	}
}

/* ---- how long exit_mmap() waits for the write lock behind a reaper ---- */

/* The last time that the task asked for the lock to write, until it had it. */
static double write_lock_wait(pid_t pid)
{
	double start = -1, wait = -1, at;
	char *line, *save;

	for (line = strtok_r(trace_read(), "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (!strstr(line, "write=true"))
			continue;
		at = trace_time(line, "mmap_lock_start_locking", pid);
		if (at >= 0)
			start = at;
		at = trace_time(line, "mmap_lock_acquire_returned", pid);
		if (at >= 0 && start >= 0)
			wait = at - start;
	}
	return wait;
}

static bool one_wait(struct oom_cgroups *cg, int run, bool reap)
{
	struct mem m = { opt.size, opt.vmas, 0, 0 };
	struct caller c = { .mode = reap ? MRELEASE : ALONE };
	const char *name = reap ? "mrelease" : "alone";
	double cpu = 0, wait;

	c.pid[0] = start_victim(cg, &m);
	start_caller(&c);
	trace_clear();
	c.go = true;
	wait_gone(c.pid[0], &cpu);
	pthread_join(c.thread, NULL);
	close(c.pidfd);
	if (c.ret == -ESRCH)
		return false;
	wait = write_lock_wait(c.pid[0]);
	if (wait < 0)
		fail("exit_mmap() left no trace of its write lock");
	result(run, name, "lock_wait", wait);
	return true;
}

/*
 * The OOM reaper comes two seconds after the kill, and exit_mmap() is in its
 * widened window until it has come.
 */
static void one_window(struct oom_cgroups *cg, int run)
{
	static const char file[] = "/sys/module/mmap/parameters/window_ms";
	struct mem m = { opt.size, opt.vmas, 0, 1000 };
	pid_t pid = start_victim(cg, &m);
	double cpu = 0, wait;
	char ms[16];

	pin_reaper(find_reaper());
	trace_clear();
	snprintf(ms, sizeof(ms), "%d", opt.window_ms);
	must(oom_write(file, ms), file);
	must(oom_write("/proc/sysrq-trigger", "f"), "sysrq f");
	wait_gone(pid, &cpu);
	must(oom_write(file, "0"), file);
	wait = write_lock_wait(pid);
	if (wait < 0)
		fail("exit_mmap() left no trace of its write lock");
	result(run, "window", "lock_wait", wait);
}

static void bench_wait(struct oom_cgroups *cg)
{
	int run, i;

	trace_events("mmap_lock/mmap_lock_start_locking", true);
	trace_events("mmap_lock/mmap_lock_acquire_returned", true);
	must(oom_write(TRACE "events/mmap_lock/filter", "write == 1"),
	     "filter");
	oom_pin_cpu(0);
	for (run = -1; run < opt.runs; run++) {
		if (opt.window_ms) {
			one_window(cg, run);
			continue;
		}
		for (i = 0; i < 2; i++) {
			bool reap = (run + i) & 1;
			int lost = 0;

			while (!one_wait(cg, run, reap))
				count_lost(run, "mrelease", &lost);
		}
	}
	trace_events("mmap_lock", false);
}

/* ---- until the memory is back, and the stall at a memory cgroup's limit ---- */

enum held { RUNNING, THREADS, SHARER, NR_HELD };

static const char * const held_name[] = { "unfrozen", "frozen-threads",
					  "frozen-sharer" };

struct back {
	struct oom_cgroups *cg;
	enum held held;
	bool memcg;
	atomic_int step, err;
	double stall;
	size_t touch;
};

static void *pause_thread(void *arg)
{
	struct back *b = arg;

	b->step++;
	for (;;)
		pause();
	return NULL;
}

static int sharer_child(void *arg)
{
	struct back *b = arg;

	b->err = oom_cgroup_attach(b->cg->run, 0);
	pause_thread(b);
	return 0;
}

/* Runs in the process that is frozen, and in the victim if none is. */
static int back_victim(void *arg)
{
	struct back *b = arg;
	struct mem m = { opt.size, 1, 0, 1000 };
	int i, want, nr = b->held == RUNNING ? 0 : b->held == THREADS ? 4 : 2;
	double limit;
	char *stack;
	pthread_t thread;
	int ret = map_mem(&m);

	for (i = 0; !ret && i < nr; i++)
		ret = -pthread_create(&thread, NULL, pause_thread, b);
	if (!ret && b->held == SHARER) {
		stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (stack == MAP_FAILED ||
		    clone(sharer_child, stack + STACK_SIZE, CLONE_VM | SIGCHLD, b) < 0)
			ret = -errno;
	}
	want = nr + (b->held == SHARER);
	limit = now_us() + 1e3 * OOM_DEADLINE_MS;
	while (!ret && b->step < want) {
		oom_poll_pause();
		if (now_us() > limit)
			ret = -ETIMEDOUT;
	}
	/* Where its own limit cannot choose it next; see oom_reaper.c. */
	if (!ret && b->held == SHARER)
		ret = oom_cgroup_attach(b->cg->mem_root, 0);
	if (!ret && b->held != RUNNING)
		ret = oom_cgroup_attach(b->cg->frozen, 0);
	return ret ?: b->err;
}

/* Runs into the limit; how long it stood still at most goes to b->stall. */
static int toucher(void *arg)
{
	struct back *b = arg;
	size_t page = getpagesize(), i;
	double prev, now, max = 0;
	char *mem;
	int ret = oom_set_score_adj(-1000);

	if (!ret)
		ret = oom_pin_cpu(1);
	if (ret)
		return ret;
	mem = mmap(NULL, b->touch, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return -errno;
	madvise(mem, b->touch, MADV_NOHUGEPAGE);
	prev = now_us();
	for (i = 0; i < b->touch; i += page) {
		mem[i] = 1;
		now = now_us();
		if (now - prev > max)
			max = now - prev;
		prev = now;
	}
	b->stall = max;
	return 0;
}

static void until_back(struct back *b, int run)
{
	double start, at, limit = 1e3 * OOM_DEADLINE_MS;
	long long before, anon, last;

	before = oom_figure_kb("/proc/meminfo", "AnonPages");
	last = before;
	if (run >= 0)
		printf("C\t%s\t%s\t%d\t0\t%zu\n", kind, case_name, run,
		       opt.size);
	start = now_us();
	must(oom_write("/proc/sysrq-trigger", "f"), "sysrq f");
	do {
		anon = oom_figure_kb("/proc/meminfo", "AnonPages");
		at = now_us() - start;
		if (run >= 0 && last - anon >= (long long)opt.size / 64) {
			printf("C\t%s\t%s\t%d\t%.0f\t%lld\n", kind, case_name,
			       run, at, anon - before + (long long)opt.size);
			last = anon;
		}
		if (at > limit)
			fail("the victim's memory did not come back");
	} while (anon > before - (long long)opt.size * 9 / 10);
	result(run, held_name[b->held], "back", at);
}

static void one_back(int run, enum held held, bool memcg)
{
	struct back *b = mmap(NULL, sizeof(*b), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct oom_cgroups cg;
	const char *why = oom_cgroups_create(&cg, true);
	long long usage;

	if (why)
		fail("%s", why);
	*b = (struct back){ .cg = &cg, .held = held, .memcg = memcg,
			    .touch = 32 * MiB };
	snprintf(case_name, sizeof(case_name), "%s,%s",
		 memcg ? "memcg" : "global", held_name[held]);
	must(oom_spawn(&cg, back_victim, b), "cannot start a victim");
	if (held != RUNNING)
		must(oom_freeze(&cg), "freeze");
	if (memcg) {
		usage = oom_mem_usage(&cg);
		must(usage, "no usage");
		must(oom_mem_set_limit(&cg, usage + 8 * MiB), "no limit");
		must(oom_spawn(&cg, toucher, b), "cannot start the toucher");
		result(run, held_name[held], "stall", b->stall);
	} else {
		until_back(b, run);
	}
	must(oom_cgroups_destroy(&cg), "cannot remove the cgroups");
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	munmap(b, sizeof(*b));
}

static void bench_back(void)
{
	int run, i;

	must(oom_set_score_adj(-1000), "oom_score_adj");
	oom_pin_cpu(1);
	for (run = -1; run < opt.runs; run++)
		for (i = 0; i < 2 * NR_HELD; i++)
			one_back(run, i % NR_HELD, i >= NR_HELD);
}

/* ---- instructions of a plain exit ---- */

/*
 * Under QEMU's -icount shift=0 the time stamp counter is the number of
 * instructions; where it is not, it is time.
 */
static double ticks(void)
{
#ifdef __x86_64__
	return __builtin_ia32_rdtsc();
#else
	return now_us() * 1e3;
#endif
}

static char self_path[256];

/* What a plain exit is part of: MODE, as it is printed. */
enum plain { FORK, EXEC, THREADED, NR_PLAIN };
static const char * const plain_name[] = { "fork+exit", "exec+exit",
					   "64 threads+exit" };

static void *idle_thread(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void plain_child(enum plain plain)
{
	static char * const argv[] = { "nop", NULL };
	pthread_t thread;
	int i;

	if (plain == EXEC)
		execv(self_path, argv);
	for (i = 1; plain == THREADED && i < 64; i++)
		if (pthread_create(&thread, NULL, idle_thread, NULL))
			_exit(1);
	_exit(plain == EXEC);
}

static void insn_worker(int vmas)
{
	size_t page = getpagesize(), i;
	char *mem = mmap(NULL, vmas * page, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	enum plain plain;
	int run, status;
	double start;
	pid_t pid;

	if (mem == MAP_FAILED)
		fail("no memory");
	madvise(mem, vmas * page, MADV_NOHUGEPAGE);
	for (i = 0; i < (size_t)vmas; i++) {
		mem[i * page] = 1;
		if (i & 1 && mprotect(mem + i * page, page, PROT_READ))
			fail("mprotect: %s", strerror(errno));
	}
	for (run = -1; run < opt.runs; run++) {
		for (plain = FORK; plain < NR_PLAIN; plain++) {
			start = ticks();
			pid = fork();
			if (!pid)
				plain_child(plain);
			if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
				fail("a child failed");
			result(run, plain_name[plain], "insn", ticks() - start);
		}
	}
	exit(0);
}

static void bench_insn(void)
{
	ssize_t len = readlink("/proc/self/exe", self_path, sizeof(self_path) - 1);
	int status;
	pid_t pid;

	if (len < 0)
		fail("no /proc/self/exe");
	fflush(stdout);
	pid = fork();
	if (!pid)
		insn_worker(opt.vmas);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		fail("the worker failed");
}

/* ---- how the reaping scales, with nobody beside it ---- */

static void one_scale(struct oom_cgroups *cg, int run)
{
	struct mem m = { opt.size, opt.vmas, 0, 0 };
	pid_t pid = start_victim(cg, &m);
	int pidfd = oom_pidfd_open(pid);
	double start, cpu;

	must(pidfd, "pidfd_open");
	/* The freezer keeps it from exiting meanwhile. */
	must(oom_cgroup_attach(cg->frozen, pid), "attach");
	must(oom_freeze(cg), "freeze");
	kill(pid, SIGKILL);
	cpu = thread_cpu_us();
	start = now_us();
	must(oom_mrelease(pidfd, 0), "process_mrelease");
	result(run, "frozen", "reap", now_us() - start);
	result(run, "frozen", "reap_cpu", thread_cpu_us() - cpu);
	must(oom_thaw(cg), "thaw");
	close(pidfd);
	waitpid(pid, NULL, 0);
}

static void bench_scale(struct oom_cgroups *cg)
{
	int run, i;

	oom_pin_cpu(1);
	for (run = -1; run < opt.runs; run++) {
		for (i = 0; i < (run < 0 ? 1 : opt.best); i++)
			one_scale(cg, run);
		flush_least(run);
	}
}

/* ---- process_mrelease() when the victim has exited, and a reader has its mm ---- */

/* What came back, and how long the call took; that may be nothing. */
static void timed_release(int run, const char *mode, int pidfd)
{
	long long anon = oom_figure_kb("/proc/meminfo", "AnonPages");
	double start = now_us(), took;
	int ret = oom_mrelease(pidfd, 0);

	took = now_us() - start;
	if (ret && ret != -ESRCH)
		must(ret, "process_mrelease");
	anon -= oom_figure_kb("/proc/meminfo", "AnonPages");
	result(run, mode, "call", took);
	result(run, mode, "back_mib", anon / (double)MiB);
	result(run, mode, "esrch", ret == -ESRCH);
}

/* With @exited, after the exit; else the freezer keeps the victim from it. */
static void one_late(struct oom_cgroups *cg, int run, bool exited)
{
	struct mem m = { opt.size, opt.vmas, 0, 0 };
	pid_t pid = start_victim(cg, &m), reader = 0;
	struct pollfd exit = { .events = POLLIN };

	exit.fd = oom_pidfd_open(pid);
	must(exit.fd, "pidfd_open");
	if (exited) {
		reader = oom_spawn_reader(cg, pid);
		must(reader, "cannot start a reader that is stuck");
		kill(pid, SIGKILL);
		if (poll(&exit, 1, OOM_DEADLINE_MS) != 1)
			fail("the victim did not exit");
	} else {
		must(oom_cgroup_attach(cg->frozen, pid), "attach");
		must(oom_freeze(cg), "freeze");
		kill(pid, SIGKILL);
	}
	timed_release(run, exited ? "exited" : "frozen", exit.fd);
	if (!exited)
		must(oom_thaw(cg), "thaw");
	else
		kill(reader, SIGKILL);
	waitpid(pid, NULL, 0);
	if (exited)
		waitpid(reader, NULL, 0);
	close(exit.fd);
}

static void bench_late(struct oom_cgroups *cg)
{
	int run, i;

	oom_pin_cpu(1);
	for (run = -1; run < opt.runs; run++)
		for (i = 0; i < 2; i++)
			one_late(cg, run, (run + i) & 1);
}

static void usage(void)
{
	puts("usage: oom_bench KIND [OPTION ...]\n"
	     "  reap   kill + process_mrelease() against exit alone, and against two\n"
	     "         unrelated victims of half the size (\"halves\")\n"
	     "  wait   how long exit_mmap() waits for the write lock behind a reaper\n"
	     "  back   from an OOM kill until the memory is back; the stall at the\n"
	     "         limit of a memory cgroup\n"
	     "  insn   fork+exit, exec+exit, and fork, 64 threads, exit, in ticks of the\n"
	     "         time stamp counter: instructions under QEMU's -icount shift=0\n"
	     "  scale  process_mrelease() alone\n"
	     "  late   process_mrelease() after the victim's exit, while a reader of its\n"
	     "         memory is stuck, against one that is frozen\n"
	     "options: -s MIB of the victim (256), -n VMAS (1), -p thp, -z (half of it\n"
	     "  swapped out), -m (with -z: pages that compress to many sizes), -r RUNS (5)\n"
	     "  reap: -o (the OOM reaper instead of the call), -S MIB,... (sizes of a\n"
	     "  step; needs bench/step.patch), -c (without the references), -l\n"
	     "  (print /proc/lock_stat of each try); reap, scale:\n"
	     "  -b TRIES (of a run, whose figures are the least of them); wait: -w MS (the OOM reaper, and exit_mmap() waits for\n"
	     "  it that long before it takes the lock; needs bench/window.patch)");
}

static int number(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*end || n < 1 || n > 1000000)
		fail("'%s' is not a number above 0", text);
	return n;
}

int main(int argc, char **argv)
{
	struct oom_cgroups cg;
	const char *why;
	int c;

	if (!strcmp(argv[0], "nop"))
		return 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 2 || argv[1][0] == '-') {
		usage();
		return argc < 2;
	}
	kind = argv[1];
	while ((c = getopt(argc - 1, argv + 1, "s:n:p:r:b:w:S:zmocl")) != -1) {
		switch (c) {
		case 's':
			opt.size = number(optarg) * MiB;
			break;
		case 'n':
			opt.vmas = number(optarg);
			break;
		case 'p':
			if (strcmp(optarg, "thp") && strcmp(optarg, "4k"))
				fail("-p takes 4k or thp");
			opt.thp = optarg[0] == 't';
			break;
		case 'r':
			opt.runs = number(optarg);
			break;
		case 'b':
			opt.best = number(optarg);
			break;
		case 'w':
			opt.window_ms = number(optarg);
			break;
		case 'S':
			opt.steps = optarg;
			break;
		case 'z':
			opt.swap = true;
			break;
		case 'o':
			opt.oom = true;
			break;
		case 'c':
			opt.count = true;
			break;
		case 'l':
			opt.locks = true;
			break;
		case 'm':
			opt.mixed = true;
			break;
		default:
			return 1;
		}
	}
	machine();
	snprintf(case_name, sizeof(case_name), "%zu,%d,%s%s",
		 (size_t)(opt.size / MiB), opt.vmas, opt.thp ? "thp" : "4k",
		 !opt.swap ? "" : opt.mixed ? ",swap,mixed" : ",swap");

	if (!strcmp(kind, "back")) {
		bench_back();
	} else if (!strcmp(kind, "insn")) {
		snprintf(case_name, sizeof(case_name), "%d", opt.vmas);
		bench_insn();
	} else if (!strcmp(kind, "reap") || !strcmp(kind, "wait") ||
		   !strcmp(kind, "scale") || !strcmp(kind, "late")) {
		why = oom_cgroups_create(&cg, false);
		if (why)
			fail("%s", why);
		if (kind[0] == 'r')
			bench_reap(&cg);
		else if (kind[0] == 'w')
			bench_wait(&cg);
		else if (kind[0] == 'l')
			bench_late(&cg);
		else
			bench_scale(&cg);
		must(oom_cgroups_destroy(&cg), "cannot remove the cgroups");
	} else {
		fail("no such kind; see oom_bench -h");
	}
	return 0;
}
