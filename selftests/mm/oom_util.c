// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
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
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cgroup_util.h"
#include "vm_util.h"
#include "oom_util.h"

#define STACK_SIZE (64UL << 10)

static int restore_later(struct oom_cgroups *cg, const char *path, const char *value)
{
	int nr = cg->nr_settings;

	if (nr == OOM_NR_SETTINGS)
		return -1;
	snprintf(cg->settings[nr].path, OOM_PATH, "%s", path);
	snprintf(cg->settings[nr].value, OOM_VALUE, "%s", value);
	cg->nr_settings++;
	return 0;
}

int oom_change_setting(struct oom_cgroups *cg, const char *path, const char *value)
{
	char old[OOM_VALUE];

	if (read_text(path, old, sizeof(old)) <= 0 || restore_later(cg, path, old))
		return -1;
	return write_text(path, (char *)value, strlen(value)) < 0 ? -1 : 0;
}

static void undo(struct oom_cgroups *cg)
{
	if (cg->frozen[0])
		cg_write(cg->frozen, "freezer.state", "THAWED");
	/* cg_destroy() kills whoever is left, and tries again until they are gone. */
	if (cg->memcg[0])
		cg_destroy(cg->memcg);
	if (cg->outside[0])
		cg_destroy(cg->outside);
	if (cg->frozen[0])
		cg_destroy(cg->frozen);
	if (cg->mount[0]) {
		umount2(cg->mount, MNT_DETACH);
		rmdir(cg->mount);
	}
	if (cg->cgroup[0])
		cg_write(cg->cgroup, "cgroup.subtree_control", "-memory");
	while (cg->nr_settings--)
		write_text(cg->settings[cg->nr_settings].path,
			   cg->settings[cg->nr_settings].value,
			   strlen(cg->settings[cg->nr_settings].value));
	/* The next test waits until it can make this one. */
	if (cg->cgroup[0])
		cg_destroy(cg->cgroup);
	cg->undone = true;
}

/*
 * The harness kills a test that times out, and its whole process group: the
 * guard is in a session of its own.
 */
static int start_guard(struct oom_cgroups *cg)
{
	int pidfd = syscall(__NR_pidfd_open, getpid(), 0);
	struct pollfd test = { .fd = pidfd, .events = POLLIN };
	pid_t pid;

	if (pidfd < 0)
		return -1;
	pid = fork();
	if (!pid) {
		setsid();
		while (poll(&test, 1, -1) != 1)
			;
		undo(cg);
		_exit(0);
	}
	close(pidfd);
	return pid < 0 ? -1 : 0;
}

bool oom_cgroups_undone(struct oom_cgroups *cg)
{
	/* Without a cgroup there was nothing to do. */
	return !cg->cgroup[0] || poll_until(cg->undone);
}

static bool create_cgroup(char *path, const char *parent, const char *name)
{
	int len = snprintf(path, OOM_PATH, "%s/%s", parent, name);

	if (len < OOM_PATH && !cg_create(path))
		return true;
	path[0] = '\0';
	return false;
}

static bool enable_memory(struct oom_cgroups *cg, const char *root)
{
	char path[OOM_PATH];

	if (!cg_read_strstr(root, "cgroup.subtree_control", "memory"))
		return true;
	if (snprintf(path, OOM_PATH, "%s/cgroup.subtree_control", root) >= OOM_PATH ||
	    write_text(path, "+memory", 7) != 7)
		return false;
	return !restore_later(cg, path, "-memory");
}

static bool mount_freezer(struct oom_cgroups *cg)
{
	snprintf(cg->mount, sizeof(cg->mount), "/tmp/oom_test.XXXXXX");
	if (mkdtemp(cg->mount) &&
	    !mount("oom_test", cg->mount, "cgroup", 0, "freezer"))
		return true;
	rmdir(cg->mount);
	cg->mount[0] = '\0';
	return false;
}

const char *oom_cgroups_create(struct oom_cgroups *cg, bool global)
{
	const char *destructive = getenv("RUN_DESTRUCTIVE");
	char root[OOM_PATH] = "", freezer[OOM_PATH] = "", *mnt = freezer;

	memset(cg, 0, sizeof(*cg));
	if (geteuid())
		return "needs root";
	if (read_num("/proc/sys/vm/panic_on_oom"))
		return "vm.panic_on_oom is set";
	if (global && (!destructive || strcmp(destructive, "true")))
		return "an OOM of the whole machine needs run_vmtests.sh -d";
	if (global && access("/proc/sysrq-trigger", W_OK))
		return "no /proc/sysrq-trigger (CONFIG_MAGIC_SYSRQ)";
	if (cg_find_unified_root(root, sizeof(root) - 1, NULL) ||
	    cg_read_strstr(root, "cgroup.controllers", "memory"))
		return "no cgroup v2 with a memory controller";

	if (start_guard(cg) || oom_set_score_adj(-1000))
		return "cannot prepare for the OOM killer";
	if (!poll_until(create_cgroup(cg->cgroup, root, "oom_test")))
		return "the cgroup oom_test of another test is there";
	if (!enable_memory(cg, root) ||
	    cg_write(cg->cgroup, "cgroup.subtree_control", "+memory") ||
	    !create_cgroup(cg->memcg, cg->cgroup, "mem") ||
	    !create_cgroup(cg->outside, cg->cgroup, "outside"))
		return "cannot make a memory cgroup";

	if (cg_find_controller_root(freezer, sizeof(freezer) - 1, "freezer")) {
		if (!mount_freezer(cg))
			return "no cgroup v1 freezer (CONFIG_CGROUP_FREEZER)";
		mnt = cg->mount;
	}
	if (!create_cgroup(cg->frozen, mnt, "oom_test"))
		return "cannot make a freezer cgroup";
	return NULL;
}

int oom_wait_for_kill(void *arg)
{
	for (;;)
		pause();
	return 0;
}

int oom_ready(struct oom_cgroups *cg)
{
	cg->ready = true;
	return oom_wait_for_kill(NULL);
}

pid_t oom_start(struct oom_cgroups *cg,
		int (*setup)(const char *cgroup, void *arg), void *arg)
{
	pid_t pid;

	cg->ready = false;
	pid = cg_run_nowait(cg->memcg, setup, arg);
	if (pid < 0 || !poll_until(cg->ready || oom_is_dead(pid)))
		return -1;
	return cg->ready ? pid : -1;
}

pid_t oom_share_mm(int (*fn)(void *arg), int flags, void *arg)
{
	char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (stack == MAP_FAILED)
		return -1;
	return clone(fn, stack + STACK_SIZE, CLONE_VM | SIGCHLD | flags, arg);
}

static void *thread_wait_for_kill(void *arg)
{
	oom_wait_for_kill(arg);
	return NULL;
}

int oom_start_threads(int nr)
{
	pthread_t thread;

	while (nr--)
		if (pthread_create(&thread, NULL, thread_wait_for_kill, NULL))
			return -1;
	return 0;
}

static char *map_small_pages(size_t size)
{
	char *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			 MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mem == MAP_FAILED)
		return NULL;
	/* Without CONFIG_TRANSPARENT_HUGEPAGE it fails, and is not needed. */
	madvise(mem, size, MADV_NOHUGEPAGE);
	return mem;
}

int oom_set_limit(struct oom_cgroups *cg, size_t bytes)
{
	/* Swap would only put the OOM off; without swap there is no file. */
	cg_write(cg->memcg, "memory.swap.max", "0");
	return cg_write_numeric(cg->memcg, "memory.max", bytes);
}

static int allocate(const char *cgroup, void *arg)
{
	struct oom_cgroups *cg = arg;
	char *mem = map_small_pages(cg->wanted);

	if (!mem)
		_exit(1);
	cg->waited_ms = oom_touch(mem, cg->wanted, psize());
	_exit(0);
}

long oom_allocate(struct oom_cgroups *cg, size_t size)
{
	cg->wanted = size;
	return cg_run(cg->memcg, allocate, cg) ? -1 : cg->waited_ms;
}

int oom_kill_one(void)
{
	return write_text("/proc/sysrq-trigger", "f", 1) == 1 ? 0 : -1;
}

int oom_freeze(struct oom_cgroups *cg)
{
	if (cg_write(cg->frozen, "freezer.state", "FROZEN"))
		return -1;
	return poll_until(!cg_read_strcmp(cg->frozen, "freezer.state",
					  "FROZEN\n")) ? 0 : -1;
}

pid_t oom_start_frozen(struct oom_cgroups *cg,
		       int (*setup)(const char *cgroup, void *arg), void *arg)
{
	pid_t pid = oom_start(cg, setup, arg);

	return pid < 0 || cg_enter(cg->frozen, pid) || oom_freeze(cg) ? -1 : pid;
}

bool oom_is_dead(pid_t pid)
{
	struct pollfd process = {
		.fd = syscall(__NR_pidfd_open, pid, 0), .events = POLLIN,
	};
	bool dead;

	if (process.fd < 0)
		return errno == ESRCH;
	dead = poll(&process, 1, 0) == 1;
	close(process.fd);
	return dead;
}

int oom_set_score_adj(int adj)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", adj);
	return write_text("/proc/self/oom_score_adj", text, strlen(text)) < 0 ? -1 : 0;
}

char *oom_map(size_t size)
{
	char *mem = map_small_pages(size);

	if (mem)
		oom_touch(mem, size, psize());
	return mem;
}

char *oom_map_sparse(size_t nr)
{
	/* A page table has an entry of the size of a long for each page. */
	size_t span = psize() * (psize() / sizeof(long));
	char *mem = map_small_pages((nr + 1) * span);

	if (!mem)
		return NULL;
	mem = (char *)(((uintptr_t)mem + span - 1) & -span);
	oom_touch(mem, nr * span, span);
	return mem;
}

bool oom_reclaims_page_tables(void)
{
	size_t nr = 64, size = nr * psize() * (psize() / sizeof(long));
	char *mem = oom_map_sparse(nr);
	long before, after;

	if (!mem)
		return false;
	before = read_field("/proc/self/status", "VmPTE:");
	madvise(mem, size, MADV_DONTNEED);
	after = read_field("/proc/self/status", "VmPTE:");
	munmap(mem, size);
	return before - after > (long)(nr * psize() / 2 >> 10);
}

char *oom_stuck_page(struct oom_stuck *stuck)
{
	struct uffdio_api api = { .api = UFFD_API };

	stuck->page = map_small_pages(psize());
	stuck->uffd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (!stuck->page || stuck->uffd < 0 ||
	    ioctl(stuck->uffd, UFFDIO_API, &api) ||
	    uffd_register(stuck->uffd, stuck->page, psize(), true, false, false))
		return NULL;
	return stuck->page;
}

int oom_stuck_wait(struct oom_stuck *stuck)
{
	struct pollfd fault = { .fd = stuck->uffd, .events = POLLIN };

	return poll(&fault, 1, OOM_DEADLINE_MS) == 1 ? 0 : -1;
}

struct reader {
	struct oom_cgroups *cg;
	struct oom_stuck stuck;
	int mem;
};

static void *read_mem(void *arg)
{
	struct reader *reader = arg;

	/* This program's code is in the other process, too. */
	if (pread(reader->mem, reader->stuck.page, 1, (uintptr_t)read_mem) < 0)
		close(reader->mem);
	return NULL;
}

static int reader_setup(const char *cgroup, void *arg)
{
	struct reader *reader = arg;
	pthread_t thread;

	if (!oom_stuck_page(&reader->stuck) ||
	    pthread_create(&thread, NULL, read_mem, reader) ||
	    oom_stuck_wait(&reader->stuck))
		return 1;
	return oom_ready(reader->cg);
}

pid_t oom_start_stuck_reader(struct oom_cgroups *cg, pid_t pid)
{
	struct reader reader = { .cg = cg };
	char path[64];
	pid_t ret;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	reader.mem = open(path, O_RDONLY | O_CLOEXEC);
	if (reader.mem < 0)
		return -1;
	ret = oom_start(cg, reader_setup, &reader);
	close(reader.mem);
	return ret;
}

int oom_mrelease(int pidfd, unsigned int flags)
{
	return syscall(__NR_process_mrelease, pidfd, flags) ? -errno : 0;
}
