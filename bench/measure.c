// SPDX-License-Identifier: GPL-2.0
#include <err.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup_util.h"
#include "vm_util.h"
#include "measure.h"

void must(long long ret, const char *what)
{
	if (ret == -1)
		errx(1, "%s", what);
	if (ret < 0)
		errx(1, "%s: %s", what, strerror(-ret));
}

double clock_us(clockid_t clock)
{
	struct timespec ts = { 0 };

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}

double cpu_us(pid_t pid)
{
	clockid_t clock;

	return clock_getcpuclockid(pid, &clock) ? 0 : clock_us(clock);
}

void pin_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		err(1, "cannot run on CPU %d", cpu);
}

long long field_bytes(const char *path, const char *field)
{
	long long kb = read_field(path, field);

	return kb < 0 ? -1 : kb << 10;
}

int write_setting(const char *path, const char *text)
{
	ssize_t ret = write_text(path, (char *)text, strlen(text));

	return ret < 0 ? ret : 0;
}

static int find_case(int nr, const char *(*name)(int nr), const char *wanted)
{
	int i;

	for (i = 0; i < nr; i++)
		if (!strcmp(name(i), wanted))
			return i;
	errx(1, "no case '%s': -h lists them", wanted);
}

int choose_cases(int argc, char **argv, int nr, const char *(*name)(int nr),
		 bool *chosen, const char *usage)
{
	bool some = false;
	int runs = 3, c;

	memset(chosen, 0, nr * sizeof(*chosen));
	while ((c = getopt(argc, argv, "r:c:h")) != -1) {
		switch (c) {
		case 'r':
			runs = atoi(optarg);
			break;
		case 'c':
			some = chosen[find_case(nr, name, optarg)] = true;
			break;
		case 'h':
			puts(usage);
			exit(0);
		default:
			exit(1);
		}
	}
	if (runs < 1)
		errx(1, "-r takes a number of runs, 1 or more");
	if (optind < argc)
		errx(1, "unknown argument '%s': see -h", argv[optind]);
	if (!some)
		memset(chosen, true, nr * sizeof(*chosen));
	return runs;
}

int open_pidfd(pid_t pid)
{
	int fd = syscall(__NR_pidfd_open, pid, 0);

	if (fd < 0)
		err(1, "pidfd_open");
	return fd;
}

char *map_aligned(size_t size)
{
	char *mem = mmap(NULL, size + HUGE_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t before;

	if (mem == MAP_FAILED)
		err(1, "no memory");
	before = -(uintptr_t)mem & (HUGE_SIZE - 1);
	munmap(mem + before + size, HUGE_SIZE - before);
	if (before)
		munmap(mem, before);
	return mem + before;
}

void with_cgroups(bool global, void (*fn)(struct oom_cgroups *cg, void *arg), void *arg)
{
	int needs = OOM_FREEZER | OOM_USERFAULTFD | (global ? OOM_GLOBAL : 0);
	static struct oom_cgroups *cg;
	const char *why;
	int status;
	pid_t pid;

	if (!cg)
		cg = mmap(NULL, sizeof(*cg), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (cg == MAP_FAILED)
		err(1, "no memory");
	/* Running this program means that OOMs are acceptable. */
	setenv("RUN_DESTRUCTIVE", "true", 1);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (oom_cgroups_create(cg, needs, &why))
			errx(1, "%s", why);
		fn(cg, arg);
		exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		err(1, "cannot start a process");
	if (!oom_cgroups_undone(cg))
		errx(1, "cannot remove the cgroups");
	/* Zombies that a subreaper gets. */
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
	/* The child printed the reason. */
	if (status)
		exit(1);
}

struct start {
	void (*setup)(void *arg);
	void *arg;
	int done[2];
};

static int started(const char *cgroup, void *arg)
{
	struct start *start = arg;

	start->setup(start->arg);
	if (write(start->done[1], "", 1) != 1)
		err(1, "no pipe");
	return oom_wait_for_kill(NULL);
}

pid_t start_process(struct oom_cgroups *cg, void (*setup)(void *arg), void *arg)
{
	struct start start = { .setup = setup, .arg = arg };
	pid_t pid;
	char byte;

	if (pipe2(start.done, O_CLOEXEC))
		err(1, "no pipe");
	pid = cg_run_nowait(cg->memcg, started, &start);
	must(pid, "cannot start a process");
	close(start.done[1]);
	/* It printed why it ended. */
	if (read(start.done[0], &byte, 1) != 1)
		errx(1, "a process has ended too early");
	close(start.done[0]);
	return pid;
}

void kill_frozen(struct oom_cgroups *cg, pid_t pid)
{
	must(oom_freeze(cg, pid), "cannot freeze");
	kill(pid, SIGKILL);
}

void thaw(struct oom_cgroups *cg)
{
	must(oom_thaw(cg), "cannot thaw");
}
