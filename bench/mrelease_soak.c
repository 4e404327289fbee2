// SPDX-License-Identifier: GPL-2.0
/*
 * mrelease_soak - many rounds of kill, wait, process_mrelease(2)
 *
 * Usage: mrelease_soak [ROUNDS]	(default: 10000)
 *
 * In turn: nobody else has the victim's mm when it has exited, and the call gives
 * ESRCH; a reader of /proc/<pid>/mem is stuck with it, and the call gives 0; the
 * call comes right after the kill, and races with the exit. Every second victim
 * has threads. Prints the rounds each 1000. What the kernel has to say about it
 * is in its log. Needs root, a kernel with userfaultfd and patch "let
 * process_mrelease() reap an mm after exit_mm()".
 *
 * Exit: 0 all calls gave what they should; 1 not, and stderr says which.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "measure.h"

#define SIZE (256UL << 10)
#define NR_THREADS 3

enum kind { EXITED, PINNED, RACING, NR_KINDS };

static char *stuck_page;
static int uffd;
static atomic_int *ready;	/* threads of the victim; shared with it */

static void *pause_thread(void *arg)
{
	++*ready;
	for (;;)
		pause();
	return arg;
}

static pid_t start_victim(int threads)
{
	pthread_t thread;
	pid_t pid;

	*ready = 0;
	pid = fork();
	if (pid < 0)
		err(1, "fork");
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (!oom_map(SIZE))
			_exit(1);
		while (--threads)
			if (pthread_create(&thread, NULL, pause_thread, NULL))
				_exit(1);
		pause_thread(NULL);
	}
	if (!poll_until(*ready == threads || oom_is_dead(pid)) || oom_is_dead(pid))
		errx(1, "a victim ended too early");
	return pid;
}

/* Has the victim's mm, and stays in the copy until the fault is resolved. */
static void *reader(void *arg)
{
	int fd = *(int *)arg;

	if (pread(fd, stuck_page, 1, (uintptr_t)reader) < 0 && errno != EIO)
		err(1, "pread");
	return NULL;
}

static void let_reader_go(pthread_t thread)
{
	struct uffdio_zeropage zero = {
		.range = { (uintptr_t)stuck_page, getpagesize() },
	};

	if (ioctl(uffd, UFFDIO_ZEROPAGE, &zero))
		err(1, "UFFDIO_ZEROPAGE");
	pthread_join(thread, NULL);
	/* The next reader is to fault, too. */
	if (madvise(stuck_page, getpagesize(), MADV_DONTNEED))
		err(1, "MADV_DONTNEED");
}

static void check(long nr, int ret, int want)
{
	if (ret != want)
		errx(1, "round %ld gave %d, not %d", nr, ret, want);
}

static void one_round(long nr)
{
	enum kind kind = nr % NR_KINDS;
	pid_t pid = start_victim(nr / NR_KINDS % 2 ? NR_THREADS : 1);
	struct pollfd exited = { .fd = open_pidfd(pid), .events = POLLIN };
	char path[32];
	pthread_t thread;
	int fd, ret;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		err(1, "%s", path);
	if (kind == PINNED) {
		if (pthread_create(&thread, NULL, reader, &fd) ||
		    oom_stuck_wait(uffd))
			errx(1, "no reader");
	}
	kill(pid, SIGKILL);
	if (kind == RACING) {
		do {
			ret = oom_mrelease(exited.fd, 0);
		} while (!ret || ret == -EAGAIN);
		check(nr, ret, -ESRCH);
	}
	if (poll(&exited, 1, OOM_DEADLINE_MS) != 1)
		errx(1, "a victim did not exit");
	if (kind == PINNED) {
		check(nr, oom_mrelease(exited.fd, 0), 0);
		let_reader_go(thread);
	}
	check(nr, oom_mrelease(exited.fd, 0), -ESRCH);
	if (waitpid(pid, NULL, 0) != pid)
		err(1, "waitpid");
	check(nr, oom_mrelease(exited.fd, 0), -ESRCH);
	close(fd);
	close(exited.fd);
}

int main(int argc, char **argv)
{
	long nr, rounds = argc > 1 ? atol(argv[1]) : 10000;

	if (argc > 2 || rounds < 1) {
		puts("usage: mrelease_soak [ROUNDS]");
		return argc < 2 || strcmp(argv[1], "-h");
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	stuck_page = oom_stuck_page(&uffd);
	if (!stuck_page)
		err(1, "no userfaultfd");
	ready = mmap(NULL, sizeof(*ready), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (ready == MAP_FAILED)
		err(1, "mmap");
	for (nr = 0; nr < rounds; nr++) {
		one_round(nr);
		if (!((nr + 1) % 1000) || nr + 1 == rounds)
			printf("%ld rounds\n", nr + 1);
	}
	return 0;
}
