// SPDX-License-Identifier: GPL-2.0
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup_util.h"
#include "kinds.h"
#include "measure.h"

const char * const kind_name[NR_KINDS] = {
	"private", "shmem", "half", "memfd", "tmpfs", "pipes", "tables", "zeroes", "huge",
	"locked", "swapped",
};

static char *fill_private(size_t size, int advice)
{
	char *mem = map_aligned(size);

	/* It fails on a kernel without huge pages. */
	madvise(mem, size, advice);
	if (madvise(mem, size, MADV_POPULATE_WRITE))
		err(1, "MADV_POPULATE_WRITE");
	return mem;
}

static void fill_shared(size_t size, int fd)
{
	char *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);

	if (mem == MAP_FAILED || madvise(mem, size, MADV_POPULATE_WRITE))
		err(1, "no shared memory");
}

static void fill_memfd(size_t size)
{
	int fd = memfd_create("bench", 0);

	if (fd < 0 || ftruncate(fd, size))
		err(1, "no memfd");
	fill_shared(size, fd);
}

static void fill_file(size_t size, int fd)
{
	static char data[64 << 10];
	ssize_t ret;

	for (; size; size -= ret) {
		ret = write(fd, data, size < sizeof(data) ? size : sizeof(data));
		if (ret <= 0)
			err(1, "cannot write");
	}
}

static void fill_pipes(size_t size)
{
	size_t each;
	int fd[2];

	for (; size; size -= each) {
		each = size < MiB ? size : MiB;
		if (pipe(fd) || fcntl(fd[1], F_SETPIPE_SZ, MiB) < 0)
			err(1, "no pipe of 1 MiB");
		fill_file(each, fd[1]);
	}
}

static void fill_tables(size_t size, bool only)
{
	size_t span = size / getpagesize() * HUGE_SIZE / (only ? 1 : 2), i;
	char *mem = map_aligned(span);

	madvise(mem, span, MADV_NOHUGEPAGE);
	for (i = 0; only && i < span; i += HUGE_SIZE)
		(void)*(volatile char *)(mem + i);
	if (!only)
		oom_touch(mem, span, HUGE_SIZE);
}

void fill(int kind, size_t size)
{
	char *mem;

	switch (kind) {
	case PRIVATE:
		fill_private(size, MADV_NOHUGEPAGE);
		break;
	case HALF_SHARED:
		size /= 2;
		fill_private(size, MADV_NOHUGEPAGE);
		/* Fallthrough */
	case SHARED:
		fill_shared(size, -1);
		break;
	case MEMFD:
		fill_memfd(size);
		break;
	case TMPFS:
		/* The cgroups hide /tmp. */
		fill_file(size, open("/dev/shm", O_TMPFILE | O_RDWR, 0600));
		break;
	case PIPES:
		fill_pipes(size);
		break;
	case TABLES:
	case ZEROES:
		fill_tables(size, kind == ZEROES);
		break;
	case HUGE_PAGES:
		fill_private(size, MADV_HUGEPAGE);
		break;
	case LOCKED:
		if (mlock(fill_private(size, MADV_NOHUGEPAGE), size))
			err(1, "mlock");
		break;
	case SWAPPED:
		mem = fill_private(size, MADV_NOHUGEPAGE);
		madvise(mem, size / 2, MADV_PAGEOUT);
	}
}

pid_t start_in(char *cgroup, void (*setup)(void *arg), void *arg)
{
	struct oom_cgroups in = { .memcg = cgroup };

	return start_process(&in, setup, arg);
}

static void exit_thread(int sig)
{
	syscall(__NR_exit, 0);
}

void start_threads(int nr)
{
	signal(SIGUSR1, exit_thread);
	while (nr--)
		must(oom_start_thread(), "cannot start a thread");
}

void end_main_thread(pid_t pid)
{
	syscall(__NR_tgkill, pid, pid, SIGUSR1);
	must(poll_until(!proc_read_strstr(pid, false, "status", "State:\tZ")) ? 0 : -1,
	     "a main thread does not exit");
}

static struct allocator me;

static void touch(int sig)
{
	double now, last = now_us(), longest = 0;
	size_t i;

	for (i = 0; i < me.size; i += getpagesize()) {
		me.mem[i] = 1;
		now = now_us();
		if (now - last > longest)
			longest = now - last;
		last = now;
	}
	if (write(me.stall[1], &longest, sizeof(longest)) != sizeof(longest))
		_exit(1);
}

static void be_allocator(void *arg)
{
	me = *(struct allocator *)arg;
	if (me.filled)
		fill_private(me.filled, MADV_NOHUGEPAGE);
	me.mem = map_aligned(me.size);
	madvise(me.mem, me.size, MADV_NOHUGEPAGE);
	signal(SIGUSR1, touch);
}

void start_allocator(struct allocator *allocator, char *cgroup, size_t size, size_t filled)
{
	allocator->size = size;
	allocator->filled = filled;
	if (pipe(allocator->stall))
		err(1, "no pipe");
	allocator->pid = start_in(cgroup, be_allocator, allocator);
	close(allocator->stall[1]);
}

double allocate(struct allocator *allocator)
{
	double stall;

	kill(allocator->pid, SIGUSR1);
	if (read(allocator->stall[0], &stall, sizeof(stall)) != sizeof(stall))
		errx(1, "the allocator has ended too early");
	return stall;
}

void end_allocator(struct allocator *allocator)
{
	kill(allocator->pid, SIGKILL);
	waitpid(allocator->pid, NULL, 0);
	close(allocator->stall[0]);
}

static char too_long[128];

static void too_late(int sig)
{
	_exit(write(STDERR_FILENO, too_long, strlen(too_long)) < 0 ? 2 : 1);
}

void set_deadline(int seconds, const char *what)
{
	snprintf(too_long, sizeof(too_long), "%s takes more than %d s\n", what, seconds);
	signal(SIGALRM, too_late);
	alarm(seconds);
}
