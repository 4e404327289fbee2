// SPDX-License-Identifier: GPL-2.0
/*
 * mlock_exit - exits of processes that locked a file, and what is left Mlocked
 *
 * Usage: mlock_exit [-s MIB of a file (8)] [-n PROCESSES (64)] [-r RUNS (5)].
 * Needs root. Prints tab-separated lines:
 *
 *   R  mlock  exit,MIB,PROCESSES  RUN  MODE      METRIC  VALUE
 *   R  mlock  reap,MIB            RUN  mrelease  METRIC  VALUE
 *
 * "exit": processes are killed, each of which had locked a tmpfs file. MODE:
 * "one" (one after the other, each alone), "same" (all at once) or "own" (all at
 * once, each with a file of its own). METRIC: cpu and wall, in us for each exit;
 * with CONFIG_LOCK_STAT, for all of them how often i_mmap_rwsem was acquired,
 * contentions and wait (us) of it, and contentions of the LRU lock (lru).
 * "reap": process_mrelease() has been over a frozen victim whose private memory
 * was locked. METRIC: locked (KiB).
 * Both: left, the KiB that are Mlocked still; drained, those that stay so when
 * what the CPUs had put off is done.
 *
 * Modes take turns within a run. A first run is not printed. Exits with 1 when
 * something went wrong; stderr says what.
 */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup_util.h"
#include "measure.h"

#define MAX_PROCS 256
#define REAP_SIZE (64 * MiB)

enum { ONE, SAME, OWN, NR_MODES };
static const char * const modes[] = { "one", "same", "own" };

static size_t size;
static int procs = 64, runs = 5, cpus;

/* Run -1 is the warm-up. */
static void result(int run, const char *mode, const char *metric, double value)
{
	if (run < 0)
		return;
	if (strcmp(mode, "mrelease"))
		printf("R\tmlock\texit,%zu,%d\t", size / MiB, procs);
	else
		printf("R\tmlock\treap,%ld\t", REAP_SIZE / MiB);
	printf("%d\t%s\t%s\t%.3f\n", run, mode, metric, value);
}

/*
 * KiB. munlock_folio() leaves a batch on each CPU, which dropping the page cache
 * drains, and the counter has parts on each CPU, which stat_refresh folds.
 */
static long long mlocked(void)
{
	must(write_setting("/proc/sys/vm/drop_caches", "1"), "drop_caches");
	must(write_setting("/proc/sys/vm/stat_refresh", "1"), "stat_refresh");
	return meminfo("Mlocked:") >> 10;
}

static void mlocked_left(int run, const char *mode, long long before)
{
	long long left = (meminfo("Mlocked:") >> 10) - before;

	result(run, mode, "left", left);
	poll_until((left = mlocked() - before) <= 0);
	result(run, mode, "drained", left);
}

struct figures {
	double cpu, wall, wait;
	long long acquired, contentions, lru;
	bool counts;
};

/*
 * Adds what the locks have seen so far, @sign times, on a kernel that counts.
 * "CLASS: BOUNCES CONTENTIONS MIN MAX TOTAL AVG BOUNCES ACQUISITIONS ...", in us.
 */
static void add_locks(struct figures *f, int sign)
{
	FILE *file = fopen("/proc/lock_stat", "re");
	char line[512], *colon;
	long long nr, acquired;
	double us;

	f->counts = file;
	while (file && fgets(line, sizeof(line), file)) {
		colon = strrchr(line, ':');
		if (!colon || sscanf(colon + 1, "%*d %lld %*f %*f %lf %*f %*d %lld",
				     &nr, &us, &acquired) != 3)
			continue;
		if (strstr(line, "lru_lock"))
			f->lru += sign * nr;
		if (!strstr(line, "i_mmap_rwsem"))
			continue;
		f->acquired += sign * acquired;
		f->contentions += sign * nr;
		f->wait += sign * us;
	}
	if (file)
		fclose(file);
}

static int make_file(void)
{
	int fd = memfd_create("mlock_exit", MFD_CLOEXEC);
	char *mem;

	if (fd < 0 || ftruncate(fd, size))
		err(1, "cannot make a file");
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		err(1, "cannot map a file");
	memset(mem, 1, size);
	munmap(mem, size);
	return fd;
}

struct locker {
	int fd, cpu;
	pid_t group;
};

static void lock_file(void *arg)
{
	struct locker *l = arg;
	void *mem = mmap(NULL, size, PROT_READ, MAP_SHARED, l->fd, 0);

	pin_cpu(l->cpu);
	if (mem == MAP_FAILED || mlock(mem, size) || setpgid(0, l->group))
		err(1, "cannot lock a file");
}

/* Moving to a CPU makes it account the time of the task that ran there. */
static void visit_cpus(void)
{
	int i;

	for (i = 0; i < cpus; i++)
		pin_cpu(i);
}

static bool sleeps(pid_t pid)
{
	return !proc_read_strstr(pid, false, "status", "State:\tS");
}

/* Has @nr processes lock the files. */
static void start_lockers(struct oom_cgroups *cg, const int *fds, int nr, int first,
			  pid_t *pid)
{
	struct locker l = { 0 };
	int i;

	for (i = 0; i < nr; i++) {
		l.fd = fds[first + i];
		l.cpu = (first + i) % cpus;
		pid[i] = start_process(cg, lock_file, &l);
		l.group = pid[0];
	}
	for (i = 0; i < nr; i++)
		must(poll_until(sleeps(pid[i])) ? 0 : -1, "a process does not wait");
}

/* They die together; adds up their figures. */
static void together(struct oom_cgroups *cg, const int *fds, int nr, int first,
		     struct figures *f)
{
	pid_t pid[MAX_PROCS];
	siginfo_t info;
	int i;

	start_lockers(cg, fds, nr, first, pid);
	visit_cpus();
	for (i = 0; i < nr; i++)
		f->cpu -= cpu_us(pid[i]);
	add_locks(f, -1);
	f->wall -= now_us();
	kill(-pid[0], SIGKILL);
	for (i = 0; i < nr; i++)
		if (waitid(P_PID, pid[i], &info, WEXITED | WNOWAIT))
			err(1, "waitid");
	f->wall += now_us();
	add_locks(f, 1);
	visit_cpus();
	for (i = 0; i < nr; i++) {
		f->cpu += cpu_us(pid[i]);
		waitpid(pid[i], NULL, 0);
	}
}

static void one_exit(struct oom_cgroups *cg, int run, int mode)
{
	struct figures f = { 0 };
	int fds[MAX_PROCS], i;
	long long before;

	for (i = 0; i < procs; i++)
		fds[i] = !i || mode == OWN ? make_file() : fds[0];
	before = mlocked();
	for (i = 0; i < (mode == ONE ? procs : 1); i++)
		together(cg, fds, mode == ONE ? 1 : procs, i, &f);
	result(run, modes[mode], "cpu", f.cpu / procs);
	result(run, modes[mode], "wall", f.wall / procs);
	if (f.counts) {
		result(run, modes[mode], "acquired", f.acquired);
		result(run, modes[mode], "contentions", f.contentions);
		result(run, modes[mode], "wait", f.wait);
		result(run, modes[mode], "lru", f.lru);
	}
	mlocked_left(run, modes[mode], before);
	for (i = 0; i < (mode == OWN ? procs : 1); i++)
		close(fds[i]);
}

static void lock_memory(void *arg)
{
	void *mem = oom_map(REAP_SIZE);

	if (!mem || mlock(mem, REAP_SIZE))
		err(1, "cannot lock memory");
}

static void one_reap(struct oom_cgroups *cg, int run)
{
	long long before = mlocked(), locked;
	pid_t victim = start_process(cg, lock_memory, NULL);
	int pidfd;

	locked = mlocked() - before;
	if (locked < REAP_SIZE >> 10)
		errx(1, "only %lld KiB were locked", locked);
	result(run, "mrelease", "locked", locked);
	pidfd = open_pidfd(victim);
	kill_frozen(cg, victim);
	must(oom_mrelease(pidfd, 0), "process_mrelease");
	mlocked_left(run, "mrelease", before);
	thaw(cg);
	close(pidfd);
	waitpid(victim, NULL, 0);
}

static void bench(struct oom_cgroups *cg, void *arg)
{
	int run, i;

	for (run = -1; run < runs; run++) {
		for (i = 0; i < NR_MODES; i++)
			one_exit(cg, run, (i + run + 1) % NR_MODES);
		one_reap(cg, run);
	}
}

int main(int argc, char **argv)
{
	int c, mib = 8;

	while ((c = getopt(argc, argv, "hs:n:r:")) != -1) {
		if (c == 'h' || c == '?') {
			puts("usage: mlock_exit [-s MIB (8)] [-n PROCESSES (64)] [-r RUNS (5)]");
			return c != 'h';
		}
		*(c == 's' ? &mib : c == 'n' ? &procs : &runs) = atoi(optarg);
	}
	if (mib < 1 || procs < 1 || procs > MAX_PROCS || runs < 1)
		errx(1, "a number is out of range");
	size = mib * MiB;
	setvbuf(stdout, NULL, _IOLBF, 0);
	cpus = sysconf(_SC_NPROCESSORS_ONLN);
	with_cgroups(false, bench, NULL);
	return 0;
}
