// SPDX-License-Identifier: GPL-2.0
/* Instructions of a plain exit. */
#include <err.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "oom_bench.h"

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
		err(1, "no memory");
	madvise(mem, vmas * page, MADV_NOHUGEPAGE);
	for (i = 0; i < (size_t)vmas; i++) {
		mem[i * page] = 1;
		if (i & 1 && mprotect(mem + i * page, page, PROT_READ))
			err(1, "mprotect");
	}
	for (run = -1; run < opt.runs; run++) {
		for (plain = FORK; plain < NR_PLAIN; plain++) {
			start = ticks();
			pid = fork();
			if (!pid)
				plain_child(plain);
			if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
				errx(1, "a child failed");
			result(run, plain_name[plain], "insn", ticks() - start);
		}
	}
	exit(0);
}

void bench_insn(void)
{
	ssize_t len = readlink("/proc/self/exe", self_path, sizeof(self_path) - 1);
	int status;
	pid_t pid;

	snprintf(case_name, sizeof(case_name), "%d", opt.vmas);
	if (len < 0)
		err(1, "no /proc/self/exe");
	fflush(stdout);
	pid = fork();
	if (!pid)
		insn_worker(opt.vmas);
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
		errx(1, "the worker failed");
}
