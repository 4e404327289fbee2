// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../clone3/clone3_selftests.h"
#include "cgroup_util.h"
#include "vm_util.h"
#include "oom_util.h"

#define STACK_SIZE (64UL << 10)
/* Errors and worse. */
#define CONSOLE_LOGLEVEL 4
/* The least that /proc/<pid>/oom_score has for an oom_score_adj of 1000. */
#define VICTIM_SCORE 1333
static char root[PATH_MAX];

static void undo(struct oom_cgroups *cg)
{
	if (cg->frozen)
		oom_thaw(cg);
	/* It kills whoever is left, and tries again until they are gone. */
	cg_destroy(cg->memcg);
	cg_destroy(cg->limited);
	if (cg->frozen)
		cg_destroy(cg->frozen);
	cg_write_numeric("/proc/sys/vm", "oom_dump_tasks", cg->dump_tasks);
	cg_write_numeric("/proc/sys/kernel", "printk", cg->loglevel);
	/* The next test waits until it can make this one. */
	cg_destroy(cg->outside);
	cg->undone = true;
}

/*
 * The harness kills a test that times out, and its whole process group: the
 * guard is in a session of its own.
 */
static int start_guard(struct oom_cgroups *cg)
{
	struct pollfd test = { .fd = syscall(__NR_pidfd_open, getpid(), 0), .events = POLLIN };
	pid_t pid = test.fd < 0 ? -1 : fork();

	if (pid)
		return pid < 0 ? -1 : 0;
	setsid();
	/* The reader of the output does not wait for this. */
	close(STDOUT_FILENO);
	close(STDERR_FILENO);
	while (poll(&test, 1, -1) != 1)
		;
	alarm(OOM_TEST_TIMEOUT_S);
	if (cg->created)
		undo(cg);
	_exit(0);
}

bool oom_cgroups_undone(struct oom_cgroups *cg)
{
	return !cg->created || poll_until(cg->undone);
}

/* Whether the OOM killer of the machine may take another process before a victim. */
static bool has_foreign_victim(void)
{
	bool found = false;
	glob_t pids;
	size_t i;

	if (glob("/proc/[0-9]*", 0, NULL, &pids))
		return true;
	for (i = 0; i < pids.gl_pathc; i++)
		found |= cg_read_long(pids.gl_pathv[i], "oom_score") >= VICTIM_SCORE;
	globfree(&pids);
	return found;
}

const char *oom_no_global(void)
{
	const char *destructive = getenv("RUN_DESTRUCTIVE");

	if (!destructive || strcmp(destructive, "true"))
		return "an OOM of the whole machine needs run_vmtests.sh -d";
	if (access("/proc/sysrq-trigger", W_OK))
		return "no /proc/sysrq-trigger (CONFIG_MAGIC_SYSRQ)";
	if (has_foreign_victim())
		return "the OOM killer may take a process that is not the test's";
	return NULL;
}

const char *oom_no_memory(size_t bytes)
{
	long kb = read_field("/proc/meminfo", "MemAvailable:");
	static char why[64];

	if (read_num("/proc/sys/vm/overcommit_memory") == 2)
		kb = read_field("/proc/meminfo", "CommitLimit:") -
		     read_field("/proc/meminfo", "Committed_AS:");
	snprintf(why, sizeof(why), "needs %zu MiB, and may have %ld", bytes >> 20, kb >> 10);
	return kb < (long)(bytes >> 10) ? why : NULL;
}

/* What one page table maps: it has an entry of the size of a long for each page. */
static size_t table_span(void)
{
	return psize() * (psize() / sizeof(long));
}

static char *map_zeroes(size_t size)
{
	char *mem = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return mem == MAP_FAILED ? NULL : mem;
}

/* Have @bytes of page tables: each of them maps the zero page once. */
static char *map_sparse(size_t bytes)
{
	size_t nr = bytes / psize(), size = nr * table_span();
	char *mem = map_zeroes(size);

	if (!mem)
		return NULL;
	madvise(mem, size, MADV_NOHUGEPAGE);
	force_read_pages(mem, nr, table_span());
	return mem;
}

static bool has_sparse_space(void)
{
	size_t size = OOM_VICTIM_SIZE / psize() * table_span();
	char *mem = sizeof(long) < 8 ? NULL : map_zeroes(size);

	return mem && !munmap(mem, size);
}

static bool reclaims_page_tables(void)
{
	size_t bytes = 64 * psize();
	char *mem = map_sparse(bytes);
	long kb = read_field("/proc/self/status", "VmPTE:");

	madvise(mem, 64 * table_span(), MADV_DONTNEED);
	kb -= read_field("/proc/self/status", "VmPTE:");
	munmap(mem, 64 * table_span());
	return kb > (long)(bytes / 2 >> 10);
}

const char *oom_lacks(struct oom_cgroups *cg, int needs)
{
	int uffd;

	if (needs & OOM_GLOBAL && oom_no_global())
		return oom_no_global();
	if (needs & OOM_FREEZER && !cg->frozen)
		return "no cgroup v1 freezer (CONFIG_CGROUP_FREEZER)";
	if (needs & OOM_USERFAULTFD && !oom_stuck_page(&uffd))
		return "no userfaultfd (CONFIG_USERFAULTFD)";
	if (needs & OOM_SPARSE && !has_sparse_space())
		return "the address space is too small for page tables of 64 MiB";
	if (needs & OOM_PT_RECLAIM && !reclaims_page_tables())
		return "MADV_DONTNEED frees no page tables (CONFIG_PT_RECLAIM)";
	return NULL;
}

/* What of the things that all tests need is missing here, or NULL. */
static const char *missing(void)
{
	if (geteuid())
		return "needs root";
	if (read_num("/proc/sys/vm/panic_on_oom"))
		return "vm.panic_on_oom is set";
	if (oom_no_memory(OOM_NEEDED_SIZE))
		return oom_no_memory(OOM_NEEDED_SIZE);
	if (cg_find_unified_root(root, sizeof(root) - 1, NULL) ||
	    cg_read_strstr(root, "cgroup.controllers", "memory"))
		return "no cgroup v2 with a memory controller";
	return NULL;
}

/*
 * What CPUs have in stock counts as used, and is given back in an OOM. With too
 * many CPUs there would be no OOM: use so many that they have 8 MiB.
 */
static int use_few_cpus(void)
{
	int most = 8 * MiB / (OOM_STOCK_PAGES * psize()), nr = 0, i;
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return -1;
	for (i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &set) && ++nr > most)
			CPU_CLR(i, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

int oom_cgroups_create(struct oom_cgroups *cg, int needs, const char **why)
{
	memset(cg, 0, sizeof(*cg));
	cg->global = needs & OOM_GLOBAL;
	*why = missing();
	/* Nobody else sees this mount, and it goes with the test and its guard. */
	if (!*why && !unshare(CLONE_NEWNS) &&
	    !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	    !mount("oom_test", "/tmp", "cgroup", 0, "freezer"))
		cg->frozen = cg_name("/tmp", "oom_test");
	*why = *why ?: oom_lacks(cg, needs);
	if (*why)
		return KSFT_SKIP;

	cg->outside = cg_name(root, "oom_test_outside");
	cg->limited = cg_name(root, "oom_test");
	cg->memcg = cg_name(cg->limited, "inner");
	*why = "cannot prepare for the OOM killer";
	if (oom_set_score_adj(-1000) || use_few_cpus() || start_guard(cg))
		return KSFT_FAIL;
	*why = "cannot make the cgroup oom_test_outside; another test may use it";
	cg->created = poll_until(!cg_create(cg->outside) || errno != EEXIST) &&
		      !access(cg->outside, F_OK);
	if (!cg->created)
		return KSFT_FAIL;
	/* A report, and a list of all tasks in it, takes long on a serial console. */
	cg->dump_tasks = read_num("/proc/sys/vm/oom_dump_tasks");
	cg_write_numeric("/proc/sys/vm", "oom_dump_tasks", 0);
	cg->loglevel = read_num("/proc/sys/kernel/printk");
	cg_write_numeric("/proc/sys/kernel", "printk", CONSOLE_LOGLEVEL);
	*why = "cannot make the cgroups";
	/* It stays on: others may have begun to use it when the test ends. */
	if (cg_write(root, "cgroup.subtree_control", "+memory") ||
	    cg_create(cg->limited) ||
	    cg_write(cg->limited, "cgroup.subtree_control", "+memory") ||
	    cg_create(cg->memcg) || (cg->frozen && cg_create(cg->frozen)))
		return KSFT_FAIL;
	return KSFT_PASS;
}

int oom_wait_for_kill(void *arg)
{
	for (;;)
		pause();
}

int oom_ready(struct oom_cgroups *cg)
{
	cg->ready = true;
	return oom_wait_for_kill(NULL);
}

static int run_setup(const char *cgroup, void *arg)
{
	struct oom_cgroups *cg = arg;

	/* Up to v6.18, cgroup.kill misses a process whose main thread exits. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	return cg->setup(cg->arg) ? 1 : oom_ready(cg);
}

pid_t oom_start(struct oom_cgroups *cg, int (*setup)(void *arg), void *arg)
{
	pid_t pid;

	cg->setup = setup;
	cg->arg = arg;
	cg->ready = false;
	pid = cg_run_nowait(cg->memcg, run_setup, cg);
	return pid > 0 && poll_until(cg->ready || oom_is_dead(pid)) && cg->ready ? pid : -1;
}

pid_t oom_start_frozen(struct oom_cgroups *cg, int (*setup)(void *arg), void *arg)
{
	pid_t pid = oom_start(cg, setup, arg);

	return pid < 0 || oom_freeze(cg, pid) ? -1 : pid;
}

pid_t oom_start_killed(struct oom_cgroups *cg, int (*setup)(void *arg), void *arg)
{
	pid_t pid = oom_start_frozen(cg, setup, arg);

	return pid < 0 || kill(pid, SIGKILL) ? -1 : pid;
}

int oom_start_bystanders(struct oom_cgroups *cg)
{
	cg->bystanders[0] = oom_start(cg, oom_map_bystander, NULL);
	cg->bystanders[1] = oom_start(cg, oom_map_bystander, NULL);
	return cg->bystanders[0] < 0 || cg->bystanders[1] < 0 ? -1 : 0;
}

pid_t oom_share_mm(int (*fn)(void *arg), int flags, void *arg)
{
	char *stack = malloc(STACK_SIZE);

	return stack ? clone(fn, stack + STACK_SIZE, CLONE_VM | SIGCHLD | flags, arg) : -1;
}

pid_t oom_start_thread(void)
{
	return oom_share_mm(oom_wait_for_kill, CLONE_THREAD | CLONE_SIGHAND, NULL);
}

int oom_fork_forever(void *pause_ns)
{
	struct timespec pause = { .tv_nsec = (long)pause_ns };
	struct __clone_args args = { .exit_signal = SIGCHLD };

	for (;;) {
		/* libc's fork() writes to memory. */
		pid_t pid = sys_clone3(&args, sizeof(args));

		if (!pid)
			_exit(0);
		if (pid > 0)
			waitpid(pid, NULL, 0);
		if (pause_ns)
			nanosleep(&pause, NULL);
	}
}

int oom_own_futex(atomic_uint *futex)
{
	static struct robust_list_head head;
	static struct robust_list entry;

	head.list.next = &entry;
	entry.next = &head.list;
	head.futex_offset = (long)futex - (long)&entry;
	*futex = syscall(__NR_gettid) | FUTEX_WAITERS;
	return syscall(__NR_set_robust_list, &head, sizeof(head));
}

int oom_set_score_adj(int adj)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", adj);
	return cg_write("/proc/self", "oom_score_adj", text);
}

bool oom_is_dead(pid_t pid)
{
	struct pollfd process = { .fd = syscall(__NR_pidfd_open, pid, 0), .events = POLLIN };
	bool dead = process.fd < 0 ? errno == ESRCH : poll(&process, 1, 0) == 1;

	close(process.fd);
	return dead;
}

int oom_freeze(struct oom_cgroups *cg, pid_t pid)
{
	if ((pid && cg_enter(cg->frozen, pid)) ||
	    cg_write(cg->frozen, "freezer.state", "FROZEN"))
		return -1;
	return poll_until(!cg_read_strcmp(cg->frozen, "freezer.state", "FROZEN\n")) ? 0 : -1;
}

int oom_thaw(struct oom_cgroups *cg)
{
	return cg_write(cg->frozen, "freezer.state", "THAWED");
}

int oom_set_limit(struct oom_cgroups *cg, size_t bytes)
{
	/* Swap would only put the OOM off; without swap there is no file. */
	cg_write(cg->limited, "memory.swap.max", "0");
	return cg_write_numeric(cg->limited, "memory.max", bytes);
}

long oom_lower_limits(struct oom_cgroups *cg, int nr, int (*setup)(void *arg), size_t bytes)
{
	long others = -oom_event(cg, "oom_kill ") - nr;
	long long start;
	pid_t pid;

	if (!cg->bystanders[0] && oom_start_bystanders(cg))
		return -1;
	while (nr--) {
		if (cg_write(cg->limited, "memory.max", "max"))
			return -1;
		pid = oom_start(cg, setup, cg);
		if (pid < 0 || !poll_until(proc_read_strstr(pid, false, "oom_score_adj", "-1000")))
			return -1;
		start = now_ms();
		if (oom_set_limit(cg, cg_read_long(cg->memcg, "memory.current") - bytes))
			return -1;
		cg->waited_ms = now_ms() - start;
		if (!poll_until(oom_is_dead(pid)))
			return -1;
	}
	return others + oom_event(cg, "oom_kill ");
}

long oom_event(struct oom_cgroups *cg, const char *name)
{
	return cg_read_key_long(cg->limited, "memory.events", name) +
	       cg_read_key_long(cg->outside, "memory.events", name);
}

long oom_left(struct oom_cgroups *cg)
{
	long anon = cg_read_key_long(cg->memcg, "memory.stat", "anon ");
	long shmem = cg_read_key_long(cg->memcg, "memory.stat", "shmem ");

	return anon < 0 || shmem < 0 ? LONG_MAX : anon + shmem;
}

static int allocate(const char *cgroup, void *arg)
{
	struct oom_cgroups *cg = arg;
	char *mem = oom_map_vmas(OOM_WANTED_SIZE, 1);

	if (mem)
		cg->waited_ms = oom_touch(mem, OOM_WANTED_SIZE, psize());
	_exit(!mem);
}

int oom_from_outside(struct oom_cgroups *cg)
{
	if (!cg->global)
		return oom_set_limit(cg, OOM_LEFT_SIZE);
	return write_text("/proc/sysrq-trigger", "f", 1) == 1 ? 0 : -1;
}

long oom_force(struct oom_cgroups *cg)
{
	long used = cg_read_long(cg->memcg, "memory.current");
	long enough = used - (OOM_WANTED_SIZE - OOM_FREE_SIZE);
	long long start = now_ms();
	pid_t pid;

	if (used < 0)
		return -1;
	if (!cg->global) {
		cg->waited_ms = -1;
		if (oom_set_limit(cg, used + OOM_FREE_SIZE))
			return -1;
		pid = cg_run_nowait(cg->memcg, allocate, cg);
		/* With nobody left to kill, it tries for ever. */
		if (pid > 0 && !poll_until(oom_is_dead(pid)))
			kill(pid, SIGKILL);
		return cg->waited_ms;
	}
	if (oom_from_outside(cg) ||
	    !poll_until(cg_read_long(cg->memcg, "memory.current") <= enough))
		return -1;
	return now_ms() - start;
}

long oom_touch(char *mem, size_t size, size_t step)
{
	long long now, last = now_ms();
	long longest = 0;
	size_t i;

	for (i = 0; i < size; i += step) {
		mem[i] = 1;
		now = now_ms();
		if (now - last > longest)
			longest = now - last;
		last = now;
	}
	return longest;
}

char *oom_map(size_t size)
{
	char *mem = oom_map_vmas(size, 1);

	if (mem)
		oom_touch(mem, size, psize());
	return mem;
}

char *oom_map_vmas(size_t size, size_t nr)
{
	size_t off, each = size / nr;
	char *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			 MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mem == MAP_FAILED)
		return NULL;
	/* Without CONFIG_TRANSPARENT_HUGEPAGE it fails, and is not needed. */
	madvise(mem, size, MADV_NOHUGEPAGE);
	/* Neighbours that differ in this do not merge. */
	for (off = 0; off < size; off += 2 * each)
		if (madvise(mem + off, each, MADV_DONTDUMP))
			return NULL;
	return mem;
}

int oom_map_victim(void *unused)
{
	return oom_map(OOM_VICTIM_SIZE) ? oom_set_score_adj(1000) : -1;
}

/*
 * exit_mmap() collects pages, to free many at once. It frees what it has when it
 * unmaps dirty shared memory, so this victim unmaps that first.
 */
int oom_map_private_victim(void *arg)
{
	struct oom_cgroups *cg = arg;
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long start, end;
	char line[512], mode;

	if (!maps || !oom_map(OOM_VICTIM_SIZE))
		return -1;
	cg->ready = true;
	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%lx rw-%c", &start, &end, &mode) == 3 &&
		    mode == 's' && munmap((void *)start, end - start))
			return -1;
	return oom_set_score_adj(1000) || oom_wait_for_kill(NULL);
}

int oom_map_threaded_victim(void *unused)
{
	return oom_start_thread() < 0 || oom_start_thread() < 0 || oom_map_victim(NULL);
}

int oom_exit_main_thread(void *arg)
{
	struct oom_cgroups *cg = arg;

	cg->thread = oom_start_thread();
	if (cg->thread < 0 || oom_map_threaded_victim(NULL))
		return -1;
	cg->ready = true;
	return syscall(__NR_exit, 0);
}

int oom_map_bystander(void *unused)
{
	/* For few large pages, the kernel rounds the weight of more than 0 down. */
	return oom_map(OOM_BYSTANDER_SIZE) ? oom_set_score_adj(0) : -1;
}

int oom_map_sparse_victim(void *unused)
{
	return map_sparse(OOM_VICTIM_SIZE) ? oom_set_score_adj(1000) : -1;
}

int oom_open_proc(pid_t pid, const char *file)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	return open(path, O_RDONLY | O_CLOEXEC);
}

long oom_read_proc(pid_t pid, const char *file, const char *field)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	return read_field(path, field);
}

long oom_anon_kb(pid_t pid)
{
	return oom_read_proc(pid, "smaps_rollup", "Anonymous:");
}

char *oom_stuck_page(int *uffd)
{
	struct uffdio_api api = { .api = UFFD_API };
	char *page = oom_map_vmas(psize(), 1);

	*uffd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (!page || *uffd < 0 || ioctl(*uffd, UFFDIO_API, &api) ||
	    uffd_register(*uffd, page, psize(), true, false, false))
		return NULL;
	return page;
}

int oom_stuck_wait(int uffd)
{
	struct pollfd fault = { .fd = uffd, .events = POLLIN };

	return poll(&fault, 1, OOM_DEADLINE_MS) == 1 ? 0 : -1;
}

int oom_start_stuck_thread(void *(*fn)(void *arg), void *arg, int uffd)
{
	pthread_t thread;

	return pthread_create(&thread, NULL, fn, arg) ? -1 : oom_stuck_wait(uffd);
}

struct reader {
	int mem, uffd;
	char *page;
};

static void *read_mem(void *arg)
{
	struct reader *reader = arg;

	/* This program's code is in the other process, too. */
	if (pread(reader->mem, reader->page, 1, (uintptr_t)read_mem) < 0)
		close(reader->mem);
	return NULL;
}

static int start_reader(void *arg)
{
	struct reader *reader = arg;

	reader->page = oom_stuck_page(&reader->uffd);
	return reader->page ? oom_start_stuck_thread(read_mem, reader, reader->uffd) : -1;
}

pid_t oom_start_stuck_reader(struct oom_cgroups *cg, pid_t pid)
{
	struct reader reader = { .mem = oom_open_proc(pid, "mem") };
	pid_t ret;

	if (reader.mem < 0)
		return -1;
	ret = oom_start(cg, start_reader, &reader);
	close(reader.mem);
	return ret;
}

int oom_use_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

int oom_other_cpu(int cpu)
{
	cpu_set_t set;
	int i;

	if (sched_getaffinity(0, sizeof(set), &set))
		return -1;
	for (i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &set) && i != cpu)
			return i;
	return -1;
}

int oom_keep_cpu_busy(int cpu, atomic_bool *busy, int ms)
{
	struct sched_param param = { .sched_priority = 1 };
	long long end = now_ms() + ms;

	if (oom_use_cpu(cpu) || sched_setscheduler(0, SCHED_FIFO, &param))
		return -1;
	*busy = true;
	while (*busy && now_ms() < end)
		;
	return 0;
}

int oom_mrelease(int pidfd, unsigned int flags)
{
	return syscall(__NR_process_mrelease, pidfd, flags) ? -errno : 0;
}

int oom_mrelease_pid(pid_t pid)
{
	int pidfd = syscall(__NR_pidfd_open, pid, 0);
	int ret = oom_mrelease(pidfd, 0);

	close(pidfd);
	return ret;
}
