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

static int restore_later(struct oom_env *env, const char *path, const char *value)
{
	int nr = env->nr_settings;

	if (nr == OOM_NR_SETTINGS)
		return -1;
	snprintf(env->settings[nr].path, OOM_PATH, "%s", path);
	snprintf(env->settings[nr].value, OOM_VALUE, "%s", value);
	env->nr_settings++;
	return 0;
}

int oom_env_set(struct oom_env *env, const char *path, const char *value)
{
	char old[OOM_VALUE];

	if (read_text(path, old, sizeof(old)) <= 0 || restore_later(env, path, old))
		return -1;
	return write_text(path, (char *)value, strlen(value)) < 0 ? -1 : 0;
}

static void undo(struct oom_env *env)
{
	if (env->frozen[0])
		cg_write(env->frozen, "freezer.state", "THAWED");
	/* cg_destroy() kills whoever is left, and tries again until they are gone. */
	if (env->memcg[0])
		cg_destroy(env->memcg);
	if (env->outside[0])
		cg_destroy(env->outside);
	if (env->frozen[0])
		cg_destroy(env->frozen);
	if (env->mount[0]) {
		umount2(env->mount, MNT_DETACH);
		rmdir(env->mount);
	}
	if (env->cgroup[0])
		cg_write(env->cgroup, "cgroup.subtree_control", "-memory");
	while (env->nr_settings--)
		write_text(env->settings[env->nr_settings].path,
			   env->settings[env->nr_settings].value,
			   strlen(env->settings[env->nr_settings].value));
	/* The next test waits until it can make this one. */
	if (env->cgroup[0])
		cg_destroy(env->cgroup);
	env->undone = true;
}

/*
 * The harness kills a test that times out, and its whole process group: the
 * guard is in a session of its own.
 */
static int start_guard(struct oom_env *env)
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
		undo(env);
		_exit(0);
	}
	close(pidfd);
	return pid < 0 ? -1 : 0;
}

bool oom_env_undone(struct oom_env *env)
{
	/* Without a cgroup there was nothing to do. */
	return !env->cgroup[0] || poll_until(env->undone);
}

static bool create_cgroup(char *path, const char *parent, const char *name)
{
	int len = snprintf(path, OOM_PATH, "%s/%s", parent, name);

	if (len < OOM_PATH && !cg_create(path))
		return true;
	path[0] = '\0';
	return false;
}

static bool enable_memory(struct oom_env *env, const char *root)
{
	char path[OOM_PATH];

	if (!cg_read_strstr(root, "cgroup.subtree_control", "memory"))
		return true;
	if (snprintf(path, OOM_PATH, "%s/cgroup.subtree_control", root) >= OOM_PATH ||
	    write_text(path, "+memory", 7) != 7)
		return false;
	return !restore_later(env, path, "-memory");
}

static bool mount_freezer(struct oom_env *env)
{
	snprintf(env->mount, sizeof(env->mount), "/tmp/oom_test.XXXXXX");
	if (mkdtemp(env->mount) &&
	    !mount("oom_test", env->mount, "cgroup", 0, "freezer"))
		return true;
	rmdir(env->mount);
	env->mount[0] = '\0';
	return false;
}

const char *oom_env_create(struct oom_env *env, bool global)
{
	const char *destructive = getenv("RUN_DESTRUCTIVE");
	char root[OOM_PATH] = "", freezer[OOM_PATH] = "", *mnt = freezer;

	memset(env, 0, sizeof(*env));
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

	if (start_guard(env) || oom_set_score_adj(-1000))
		return "cannot prepare for the OOM killer";
	if (!poll_until(create_cgroup(env->cgroup, root, "oom_test")))
		return "the cgroup oom_test of another test is there";
	if (!enable_memory(env, root) ||
	    cg_write(env->cgroup, "cgroup.subtree_control", "+memory") ||
	    !create_cgroup(env->memcg, env->cgroup, "mem") ||
	    !create_cgroup(env->outside, env->cgroup, "outside"))
		return "cannot make a memory cgroup";

	if (cg_find_controller_root(freezer, sizeof(freezer) - 1, "freezer")) {
		if (!mount_freezer(env))
			return "no cgroup v1 freezer (CONFIG_CGROUP_FREEZER)";
		mnt = env->mount;
	}
	if (!create_cgroup(env->frozen, mnt, "oom_test"))
		return "cannot make a freezer cgroup";
	return NULL;
}

int oom_wait_for_kill(void *arg)
{
	for (;;)
		pause();
	return 0;
}

int oom_ready(struct oom_env *env)
{
	env->ready = true;
	return oom_wait_for_kill(NULL);
}

pid_t oom_start(struct oom_env *env,
		int (*setup)(const char *cgroup, void *arg), void *arg)
{
	pid_t pid;

	env->ready = false;
	pid = cg_run_nowait(env->memcg, setup, arg);
	if (pid < 0 || !poll_until(env->ready || oom_is_dead(pid)))
		return -1;
	return env->ready ? pid : -1;
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

int oom_set_limit(struct oom_env *env, size_t bytes)
{
	/* Swap would only put the OOM off; without swap there is no file. */
	cg_write(env->memcg, "memory.swap.max", "0");
	return cg_write_numeric(env->memcg, "memory.max", bytes);
}

static int allocate(const char *cgroup, void *arg)
{
	struct oom_env *env = arg;
	char *mem = map_small_pages(env->wanted);

	if (!mem)
		_exit(1);
	env->waited_ms = oom_touch(mem, env->wanted, psize());
	_exit(0);
}

long oom_allocate(struct oom_env *env, size_t size)
{
	env->wanted = size;
	return cg_run(env->memcg, allocate, env) ? -1 : env->waited_ms;
}

int oom_kill_one(void)
{
	return write_text("/proc/sysrq-trigger", "f", 1) == 1 ? 0 : -1;
}

int oom_freeze(struct oom_env *env)
{
	if (cg_write(env->frozen, "freezer.state", "FROZEN"))
		return -1;
	return poll_until(!cg_read_strcmp(env->frozen, "freezer.state",
					  "FROZEN\n")) ? 0 : -1;
}

pid_t oom_start_frozen(struct oom_env *env,
		       int (*setup)(const char *cgroup, void *arg), void *arg)
{
	pid_t pid = oom_start(env, setup, arg);

	return pid < 0 || cg_enter(env->frozen, pid) || oom_freeze(env) ? -1 : pid;
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
	struct oom_env *env;
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
	return oom_ready(reader->env);
}

pid_t oom_start_stuck_reader(struct oom_env *env, pid_t pid)
{
	struct reader reader = { .env = env };
	char path[64];
	pid_t ret;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	reader.mem = open(path, O_RDONLY | O_CLOEXEC);
	if (reader.mem < 0)
		return -1;
	ret = oom_start(env, reader_setup, &reader);
	close(reader.mem);
	return ret;
}

int oom_mrelease(int pidfd, unsigned int flags)
{
	return syscall(__NR_process_mrelease, pidfd, flags) ? -errno : 0;
}
