// SPDX-License-Identifier: GPL-2.0
/*
 * The OOM killer and its reaper, on victims that cannot exit on their own.
 *
 * Every test runs for an OOM of the whole machine (sysrq f, which takes the
 * victim by its oom_score_adj) and for one of a memory cgroup. The first is
 * timed from the kill until the victim's memory is back. In the second a task
 * allocates beyond the limit, and the time is the longest that it stood still.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "oom_util.h"

#ifndef FIXTURE_TEARDOWN_PARENT
#define FIXTURE_TEARDOWN_PARENT(name) FIXTURE_TEARDOWN(name)
#endif

#define VICTIM_SIZE (64 * MiB)
#define SHARED_SIZE (16 * MiB)
#define SECOND_SIZE (32 * MiB)
/* Room for a victim, and what the task that hits the limit wants beyond. */
#define LIMIT_SIZE (VICTIM_SIZE + 24 * MiB)
#define TOUCH_SIZE (48 * MiB)
/* Memory is back when this is left: page tables, stacks, per-CPU batches. */
#define LEFT_SIZE (8 * MiB)
/* Page tables of a victim, far more than everybody else has. */
#define NR_TABLES 8192

/*
 * What takes longer has waited for the reaper's delay, what doesn't has not.
 * The delay is counted in jiffies, which fall behind by many ms where ticks are
 * late, and without it a slow machine may need some 100 ms: be clear of both.
 */
#define DELAYED_MS (OOM_REAPER_DELAY_MS * 3 / 4)

#define STACK_SIZE (64UL << 10)

enum { MAX_THREADS = 8 };

/* Kinds of mappings, for the test of what the reaper takes and leaves. */
enum kind {
	ANON, MLOCKED, HUGE, PRIVATE_FILE, SHARED, HUGETLB, NR_KINDS
};

static const char * const kind_name[] = {
	"anonymous", "mlocked", "huge page", "private file", "shared",
	"hugetlb"
};

#define KIND_SIZE (8 * MiB)

/* What the processes of a test tell each other. */
struct shared {
	atomic_int step;	/* how far the process under test has come */
	atomic_int err;		/* negative errno of what went wrong there */
	atomic_long stall_ms;	/* longest time that toucher() stood still */
	atomic_uint futex;
	pid_t frozen;		/* process that the freezer holds */
	pid_t victim;		/* process that shares its mm, and is killed */
	char *kind[NR_KINDS];
};

enum owner { NOBODY, VICTIM, SHARER };

/*
 * Two processes, parent and child, that share an mm. The freezer holds one of
 * them, and the other one is to be the victim.
 */
struct pair {
	struct oom_cgroups *cg;
	struct shared *sh;
	size_t shared_size;	/* of memory that the reaper leaves alone */
	int threads;		/* that the parent has */
	bool vfork;		/* freeze the child, else the parent */
	bool freeze_one;	/* freeze one thread of the parent only */
	bool freeze_both;	/* freeze the victim, too */
	bool not_yet;		/* the parent is stuck before it can freeze */
	bool stays;		/* the frozen child stays in the memory cgroup */
	enum owner owner;	/* of the robust futex */
	bool starve;		/* the victim is on a CPU that the test keeps busy */
	struct oom_fault fault;
};

/* What a test has, shared by its process and the one that cleans up. */
struct env {
	struct oom_cgroups cg;
	struct shared *sh;
	char hugepages[32];	/* vm.nr_hugepages to restore */
	int klog;
	int events;		/* the log, too, for what is waited for there */
};

/* Returns why the test has to be skipped, or NULL. */
static const char *setup(struct env *env, bool global)
{
	const char *why;

	env->hugepages[0] = '\0';
	env->sh = mmap(NULL, sizeof(*env->sh), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (env->sh == MAP_FAILED)
		return "no memory";
	why = global ? oom_global_refused() : NULL;
	if (!why)
		why = oom_cgroups_create(&env->cg, true);
	if (why)
		return why;
	/* Neither the harness nor what it starts may be the victim. */
	if (oom_set_score_adj(-1000))
		return "cannot set oom_score_adj";
	/* For wait_exited() on a child's child. */
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	env->klog = oom_klog_open();
	env->events = oom_klog_open();
	return env->events < 0 ? "no /dev/kmsg (CONFIG_PRINTK)" : NULL;
}

static int teardown(struct env *env)
{
	if (env->hugepages[0])
		oom_write("/proc/sys/vm/nr_hugepages", env->hugepages);
	return oom_cgroups_destroy(&env->cg);
}

/* For both kinds of OOM. */
FIXTURE(oom)
{
	struct env env;
};

FIXTURE_VARIANT(oom)
{
	bool memcg;
};

FIXTURE_VARIANT_ADD(oom, global)
{
	.memcg = false,
};

FIXTURE_VARIANT_ADD(oom, memcg)
{
	.memcg = true,
};

FIXTURE_SETUP(oom)
{
	const char *why = setup(&self->env, !variant->memcg);

	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN_PARENT(oom)
{
	EXPECT_EQ(teardown(&self->env), 0);
}

/*
 * For a single kill, after which nothing asks for more: a memory cgroup at its
 * limit goes on to kill until the memory is there.
 */
FIXTURE(oom_once)
{
	struct env env;
};

FIXTURE_SETUP(oom_once)
{
	const char *why = setup(&self->env, true);

	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN_PARENT(oom_once)
{
	EXPECT_EQ(teardown(&self->env), 0);
}

/* For an OOM of a memory cgroup only: it kills until the memory is there. */
FIXTURE(oom_memcg)
{
	struct env env;
};

FIXTURE_SETUP(oom_memcg)
{
	const char *why = setup(&self->env, false);

	if (why)
		SKIP(return, "%s", why);
}

FIXTURE_TEARDOWN_PARENT(oom_memcg)
{
	EXPECT_EQ(teardown(&self->env), 0);
}

static int wait_step(struct shared *sh, int step)
{
	long long deadline = oom_now_ms() + OOM_DEADLINE_MS;

	while (sh->step < step && !sh->err) {
		if (oom_now_ms() > deadline)
			return -ETIMEDOUT;
		oom_poll_pause();
	}
	return sh->err;
}

static void *pause_thread(void *arg)
{
	struct shared *sh = arg;

	sh->step++;
	for (;;)
		pause();
	return NULL;
}

struct plain {
	struct shared *sh;
	size_t size;
	int adj;
	int threads;
};

/* A victim of its own, with private memory, that waits to be killed. */
static int plain_victim(void *arg)
{
	struct plain *plain = arg;
	pthread_t thread;
	int i, ret;

	ret = oom_set_score_adj(plain->adj);
	if (ret)
		return ret;
	if (!oom_map_populated(plain->size))
		return -ENOMEM;
	for (i = 1; i < plain->threads; i++) {
		ret = pthread_create(&thread, NULL, pause_thread, plain->sh);
		if (ret)
			return -ret;
	}
	return wait_step(plain->sh, plain->threads - 1);
}

struct kinds {
	struct shared *sh;
	bool huge, hugetlb;	/* whether these can be had */
};

/* A victim with all kinds of mappings. */
static int kinds_victim(void *arg)
{
	struct kinds *kinds = arg;
	int memfd = memfd_create("oom_reaper", MFD_CLOEXEC);
	size_t i, page = getpagesize();
	enum kind kind;

	if (oom_set_score_adj(1000))
		return -EPERM;
	if (memfd < 0 || ftruncate(memfd, KIND_SIZE))
		return -errno;
	for (kind = 0; kind < NR_KINDS; kind++) {
		int flags = MAP_PRIVATE | MAP_ANONYMOUS, fd = -1;
		size_t size = KIND_SIZE;
		char *mem;

		if ((kind == HUGE && !kinds->huge) ||
		    (kind == HUGETLB && !kinds->hugetlb))
			continue;
		if (kind == SHARED)
			flags = MAP_SHARED | MAP_ANONYMOUS;
		if (kind == HUGETLB)
			flags |= MAP_HUGETLB;
		if (kind == PRIVATE_FILE) {
			flags = MAP_PRIVATE;
			fd = memfd;
		}
		if (kind == HUGE)
			size += KIND_SIZE;	/* to align it */
		mem = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
		if (mem == MAP_FAILED)
			return -errno;
		if (kind == HUGE) {
			mem = (char *)(((uintptr_t)mem + KIND_SIZE - 1) &
				       ~(KIND_SIZE - 1));
			if (madvise(mem, KIND_SIZE, MADV_HUGEPAGE))
				return -errno;
		} else if (kind == ANON || kind == MLOCKED) {
			madvise(mem, KIND_SIZE, MADV_NOHUGEPAGE);
		}
		if (kind == MLOCKED && mlock(mem, KIND_SIZE))
			return -errno;
		for (i = 0; i < KIND_SIZE; i += page)
			mem[i] = 1;
		kinds->sh->kind[kind] = mem;
	}
	return 0;
}

/* A victim with a page table for each of its pages. */
static int sparse_victim(void *arg)
{
	if (oom_set_score_adj(1000))
		return -EPERM;
	return oom_map_sparse(NR_TABLES) ? 0 : -ENOMEM;
}

/*
 * Take the robust futex. Its list is in private memory, which the reaper
 * zaps, and the futex itself is shared with the test, which is not a victim.
 */
static int take_robust_futex(struct pair *pair)
{
	static struct robust_list_head head;
	static struct robust_list entry;

	head.list.next = &entry;
	entry.next = &head.list;
	head.futex_offset = (long)&pair->sh->futex - (long)&entry;
	pair->sh->futex = syscall(SYS_gettid) | FUTEX_WAITERS;
	if (syscall(SYS_set_robust_list, &head, sizeof(head)))
		return -errno;
	return 0;
}

/*
 * What the frozen one of a pair does last. Its memory stays charged to the
 * memory cgroup that it leaves, whose OOM killer cannot see it any more; it
 * would be the next victim there, and be thawed.
 */
static int leave_mem_cgroup(struct pair *pair)
{
	return oom_cgroup_attach(pair->cg->mem_root, 0);
}

/*
 * The child runs in the parent's memory on a stack of its own. It is younger,
 * and of two processes that are equally bad the OOM killer takes the one that
 * it comes to last. The child of a vfork() is none of its candidates.
 */
static int pair_child(void *arg)
{
	struct pair *pair = arg;
	struct shared *sh = pair->sh;
	int ret = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (pair->vfork) {
		sh->frozen = getpid();
		ret = oom_cgroup_attach(pair->cg->frozen, 0);
		if (!ret)
			ret = pair->stays ? oom_set_score_adj(0) :
					    leave_mem_cgroup(pair);
	} else {
		sh->victim = getpid();
		ret = oom_cgroup_attach(pair->freeze_both ? pair->cg->frozen :
				       pair->cg->run, 0);
	}
	if (!ret && pair->owner == VICTIM)
		ret = take_robust_futex(pair);
	if (!ret && pair->starve)
		ret = oom_pin_cpu(1);
	sh->err = ret;
	sh->step++;
	for (;;)
		pause();
	return 0;
}

static void *pair_thread(void *arg)
{
	struct pair *pair = arg;

	if (pair->freeze_one)
		pair->sh->err = oom_cgroup_attach_thread(pair->cg->frozen);
	return pause_thread(pair->sh);
}

/* Tells when the parent is stuck, and goes to the freezer before it. */
static void *stuck_thread(void *arg)
{
	struct pair *pair = arg;

	pair->sh->err = oom_fault_wait(&pair->fault);
	return pause_thread(pair->sh);
}

static int get_stuck(struct pair *pair)
{
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	int ret = oom_fault_create(&pair->fault);
	pthread_t thread;

	if (fd < 0 || ret)
		return ret ?: -errno;
	ret = pthread_create(&thread, NULL, stuck_thread, pair);
	if (ret)
		return -ret;
	/* Only a fatal signal ends that. */
	return read(fd, pair->fault.page, 1) < 0 ? -errno : -EIO;
}

static int pair_parent(struct pair *pair)
{
	bool freeze = !pair->vfork && !pair->freeze_one;
	struct shared *sh = pair->sh;
	pthread_t thread;
	char *stack;
	int i, ret;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (pair->vfork)
		sh->victim = getpid();
	else
		sh->frozen = getpid();
	ret = oom_cgroup_attach(freeze ? pair->cg->frozen : pair->cg->run, 0);
	if (!ret)
		ret = oom_cgroup_attach(pair->cg->mem, 0);
	if (!ret)
		ret = oom_set_score_adj(1000);
	if (ret)
		return ret;

	if (!oom_map_populated(VICTIM_SIZE))
		return -ENOMEM;
	if (pair->shared_size &&
	    mmap(NULL, pair->shared_size, PROT_READ | PROT_WRITE, MAP_SHARED |
		 MAP_ANONYMOUS | MAP_POPULATE, -1, 0) == MAP_FAILED)
		return -errno;
	if (pair->owner == SHARER)
		ret = take_robust_futex(pair);
	if (ret)
		return ret;

	for (i = 1; i < pair->threads; i++) {
		ret = pthread_create(&thread, NULL, pair_thread, pair);
		if (ret)
			return -ret;
	}
	ret = wait_step(sh, pair->threads - 1);
	if (ret)
		return ret;

	stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (stack == MAP_FAILED)
		return -errno;
	if (clone(pair_child, stack + STACK_SIZE, CLONE_VM | SIGCHLD |
		  (pair->vfork ? CLONE_VFORK : 0), pair) < 0)
		return -errno;
	ret = wait_step(sh, pair->threads);
	if (!ret)
		ret = leave_mem_cgroup(pair);
	if (!ret && pair->not_yet)
		ret = get_stuck(pair);
	if (ret)
		return ret;
	sh->step++;
	for (;;)
		pause();
}

/* Starts a pair, and freezes who is to be frozen. */
static int start_pair(struct pair *pair)
{
	struct shared *sh = pair->sh;
	pid_t pid;
	int ret;

	sh->step = 0;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		sh->err = pair_parent(pair);
		_exit(1);
	}
	/*
	 * The parent's threads, the child, and the parent again, but for a
	 * vfork(), which does not return.
	 */
	ret = wait_step(sh, pair->threads + !pair->vfork);
	if (ret)
		return ret;
	return pair->not_yet ? oom_freeze_start(pair->cg) :
			       oom_freeze(pair->cg);
}

/*
 * Runs into the limit of the memory cgroup, and takes down for how long it
 * stood still at most.
 */
static int toucher(void *arg)
{
	struct plain *plain = arg;
	struct timespec prev, now;
	size_t i, page = getpagesize();
	char *mem;
	long max = 0;
	int ret;

	ret = oom_set_score_adj(-1000);
	if (ret)
		return ret;
	mem = mmap(NULL, plain->size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		return -errno;
	madvise(mem, plain->size, MADV_NOHUGEPAGE);
	clock_gettime(CLOCK_MONOTONIC, &prev);
	for (i = 0; i < plain->size; i += page) {
		long ms;

		mem[i] = 1;
		clock_gettime(CLOCK_MONOTONIC, &now);
		ms = (now.tv_sec - prev.tv_sec) * 1000 +
		     (now.tv_nsec - prev.tv_nsec) / 1000000;
		if (ms > max)
			max = ms;
		prev = now;
	}
	plain->sh->stall_ms = max;
	return 0;
}

/*
 * Makes the OOM killer take the victim. Returns how long that kept the system
 * from going on, in ms: for a memory cgroup, how long the task that hit the
 * limit stood still; else until no more than @left is charged.
 */
static long long kill_and_time(struct env *env, bool memcg, size_t left)
{
	struct plain plain = { .sh = env->sh, .size = TOUCH_SIZE };
	long long start, ret;

	if (memcg) {
		ret = oom_mem_set_limit(&env->cg, LIMIT_SIZE);
		if (ret)
			return ret;
		ret = oom_spawn(&env->cg, toucher, &plain);
		return ret < 0 ? ret : env->sh->stall_ms;
	}

	start = oom_now_ms();
	ret = oom_write("/proc/sysrq-trigger", "f");
	if (ret)
		return ret;
	ret = oom_wait_mem_usage(&env->cg, left);
	return ret < 0 ? ret : oom_now_ms() - start;
}

/* For the end of each test: what was held up must go on to its end. */
static void check_end(struct __test_metadata *_metadata,
		      struct env *env)
{
	char line[256];

	EXPECT_EQ(oom_cgroups_destroy(&env->cg), 0);
	if (env->klog >= 0)
		EXPECT_EQ(oom_klog_check(env->klog, line, sizeof(line)), 0)
			TH_LOG("kernel log: %s", line);
}

/* The figure of the process's mm, from a thread that still has it, or -1. */
static long long held_kb(pid_t pid, const char *name)
{
	char path[64], task[384];
	long long kb = -1;
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && kb < 0 && (entry = readdir(dir))) {
		snprintf(task, sizeof(task), "%s/%s/status", path,
			 entry->d_name);
		kb = oom_figure(task, name);
	}
	if (dir)
		closedir(dir);
	return kb;
}

/* All threads of a child: a leader that is gone can leave others behind. */
static bool has_exited(pid_t pid)
{
	siginfo_t info = { .si_pid = 0 };

	return waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT) ||
	       info.si_pid;
}

/* Returns for how many ms it waited, or -ETIMEDOUT after @limit_ms. */
static long long wait_exited(pid_t pid, long long limit_ms)
{
	long long start = oom_now_ms();

	while (!has_exited(pid)) {
		if (oom_now_ms() - start > limit_ms)
			return -ETIMEDOUT;
		oom_poll_pause();
	}
	return oom_now_ms() - start;
}

/*
 * That the process exits, and that its memory cgroup is down to @left then,
 * with nobody who thaws it. Else says what it holds.
 */
static void check_exits(struct __test_metadata *_metadata, struct env *env,
			pid_t pid, size_t left)
{
	long long ms = wait_exited(pid, DELAYED_MS);

	ASSERT_GE(ms, 0)
		TH_LOG("not gone, with %lld kB of page tables, %lld kB of files and shmem",
		       held_kb(pid, "VmPTE"),
		       held_kb(pid, "RssFile") + held_kb(pid, "RssShmem"));
	TH_LOG("exited after another %lld ms", ms);
	EXPECT_GE(oom_wait_mem_usage(&env->cg, left), 0)
		TH_LOG("%lld kB are charged", oom_mem_usage(&env->cg) >> 10);
}

static void test_plain(struct __test_metadata *_metadata,
		       struct env *env, bool memcg, int threads,
		       bool freeze)
{
	struct plain plain = {
		.sh = env->sh, .size = VICTIM_SIZE, .adj = 1000,
		.threads = threads,
	};
	long long ms;
	pid_t pid;

	pid = oom_spawn(&env->cg, plain_victim, &plain);
	ASSERT_GT(pid, 0);
	if (freeze) {
		ASSERT_EQ(oom_cgroup_attach(env->cg.frozen, pid), 0);
		ASSERT_EQ(oom_freeze(&env->cg), 0);
	}

	ms = kill_and_time(env, memcg, LEFT_SIZE);
	TH_LOG("%s after %lld ms", memcg ? "went on" : "memory back",
	       ms);
	ASSERT_GE(ms, 0);
	EXPECT_LT(ms, DELAYED_MS);

	if (freeze)
		EXPECT_EQ(oom_thaw(&env->cg), 0);
	EXPECT_GE(wait_exited(pid, OOM_DEADLINE_MS), 0);
	check_end(_metadata, env);
}

TEST_F_TIMEOUT(oom, running, OOM_TEST_TIMEOUT_S)
{
	test_plain(_metadata, &self->env, variant->memcg, 1, false);
}

TEST_F_TIMEOUT(oom, frozen, OOM_TEST_TIMEOUT_S)
{
	test_plain(_metadata, &self->env, variant->memcg, 1, true);
}

TEST_F_TIMEOUT(oom, frozen_threads, OOM_TEST_TIMEOUT_S)
{
	test_plain(_metadata, &self->env, variant->memcg, 5, true);
}

/* The freezer lets all of them go, and exit. */
TEST_F_TIMEOUT(oom_once, frozen_threads_exit, OOM_TEST_TIMEOUT_S)
{
	struct plain plain = {
		.sh = self->env.sh, .size = VICTIM_SIZE, .adj = 1000,
		.threads = 5,
	};
	pid_t pid;

	pid = oom_spawn(&self->env.cg, plain_victim, &plain);
	ASSERT_GT(pid, 0);
	ASSERT_EQ(oom_cgroup_attach(self->env.cg.frozen, pid), 0);
	ASSERT_EQ(oom_freeze(&self->env.cg), 0);
	ASSERT_EQ(oom_write("/proc/sysrq-trigger", "f"), 0);
	check_exits(_metadata, &self->env, pid, LEFT_SIZE);
	check_end(_metadata, &self->env);
}

static bool is_gone(pid_t pid)
{
	return strchr("ZX", oom_task_state(pid));
}

/*
 * The memory of a pair comes back without the delay, and all of it, for the
 * frozen one exits.
 */
static void test_pair(struct __test_metadata *_metadata,
		      struct env *env, bool memcg, struct pair *pair)
{
	char killed[64];
	long long ms;

	pair->cg = &env->cg;
	pair->sh = env->sh;
	pair->shared_size = SHARED_SIZE;
	ASSERT_EQ(start_pair(pair), 0);
	if (pair->freeze_both) {
		ASSERT_EQ(kill(env->sh->victim, SIGKILL), 0);
		ASSERT_EQ(kill(env->sh->frozen, SIGKILL), 0);
	}

	ms = kill_and_time(env, memcg, LEFT_SIZE + SHARED_SIZE);
	TH_LOG("%s after %lld ms", memcg ? "went on" : "memory back",
	       ms);
	ASSERT_GE(ms, 0);
	EXPECT_LT(ms, DELAYED_MS);

	/* Had the OOM killer taken the other one, nothing would be held up. */
	snprintf(killed, sizeof(killed), "Killed process %d ", env->sh->victim);
	if (!pair->freeze_both)
		EXPECT_EQ(oom_klog_wait(env->events, killed), 0);
	EXPECT_EQ(oom_wait_state(env->sh->victim, "ZX"), 0);
	check_exits(_metadata, env, env->sh->frozen,
		    LEFT_SIZE + (memcg ? TOUCH_SIZE : 0));
	check_end(_metadata, env);
}

/* The victim runs, but a frozen process holds on to its mm. */
TEST_F_TIMEOUT(oom, frozen_sharer, OOM_TEST_TIMEOUT_S)
{
	struct pair pair = { .threads = 3 };

	test_pair(_metadata, &self->env, variant->memcg, &pair);
}

/* The same, but a single thread of the sharer is frozen. */
TEST_F_TIMEOUT(oom, frozen_sharer_thread, OOM_TEST_TIMEOUT_S)
{
	struct pair pair = { .threads = 2, .freeze_one = true };

	test_pair(_metadata, &self->env, variant->memcg, &pair);
}

/* The sharer is to freeze, but not yet at a point where it can. */
TEST_F_TIMEOUT(oom, freezing_sharer, OOM_TEST_TIMEOUT_S)
{
	struct pair pair = { .threads = 1, .not_yet = true };

	if (!oom_have_userfaultfd())
		SKIP(return, "no userfaultfd (CONFIG_USERFAULTFD)");
	test_pair(_metadata, &self->env, variant->memcg, &pair);
}

/* The victim waits in vfork() for a child that is frozen. */
TEST_F_TIMEOUT(oom, frozen_vfork_child, OOM_TEST_TIMEOUT_S)
{
	struct pair pair = { .threads = 1, .vfork = true };

	test_pair(_metadata, &self->env, variant->memcg, &pair);
}

/*
 * Both were killed by somebody else and are frozen. The OOM killer has nobody
 * to kill then: it takes one of them as it is.
 */
TEST_F_TIMEOUT(oom, killed_frozen_sharer, OOM_TEST_TIMEOUT_S)
{
	struct pair pair = { .threads = 3, .freeze_both = true };

	test_pair(_metadata, &self->env, variant->memcg, &pair);
}

/* Nobody is frozen: the delay that protects robust futexes must stay. */
TEST_F_TIMEOUT(oom, pinned_not_frozen, OOM_TEST_TIMEOUT_S)
{
	struct plain plain = {
		.sh = self->env.sh, .size = VICTIM_SIZE, .adj = 1000, .threads = 1,
	};
	long long ms;
	pid_t victim;

	if (!oom_have_userfaultfd())
		SKIP(return, "no userfaultfd (CONFIG_USERFAULTFD)");

	victim = oom_spawn(&self->env.cg, plain_victim, &plain);
	ASSERT_GT(victim, 0);
	ASSERT_GT(oom_spawn_reader(&self->env.cg, victim), 0);

	ms = kill_and_time(&self->env, variant->memcg, LEFT_SIZE);
	TH_LOG("%s after %lld ms", variant->memcg ? "went on" : "memory back",
	       ms);
	EXPECT_GE(ms, DELAYED_MS);

	EXPECT_EQ(oom_wait_state(victim, "ZX"), 0);
	check_end(_metadata, &self->env);
}

static void wait_owner_died(struct __test_metadata *_metadata,
			    struct shared *sh, long long limit_ms)
{
	long long end = oom_now_ms() + limit_ms;
	struct timespec timeout = {
		.tv_sec = limit_ms / 1000,
		.tv_nsec = limit_ms % 1000 * 1000000,
	};
	unsigned int value;

	for (;;) {
		value = sh->futex;
		if (value & FUTEX_OWNER_DIED || oom_now_ms() >= end)
			break;
		syscall(SYS_futex, &sh->futex, FUTEX_WAIT, value, &timeout,
			NULL, 0);
	}
	EXPECT_EQ(value & FUTEX_OWNER_DIED, FUTEX_OWNER_DIED);
}

/* A process that waits on a futex learns that its owner was OOM killed. */
TEST_F_TIMEOUT(oom, robust_futex, OOM_TEST_TIMEOUT_S)
{
	struct pair pair = {
		.cg = &self->env.cg, .sh = self->env.sh, .threads = 1, .owner = VICTIM,
	};
	long long ms;

	ASSERT_EQ(start_pair(&pair), 0);
	ASSERT_EQ(oom_thaw(&self->env.cg), 0);
	ms = kill_and_time(&self->env, variant->memcg, LEFT_SIZE);
	ASSERT_GE(ms, 0);
	wait_owner_died(_metadata, self->env.sh, OOM_DEADLINE_MS);
	check_end(_metadata, &self->env);
}

/* The same where the owner is frozen, and killed because it shares the mm. */
TEST_F_TIMEOUT(oom, robust_futex_of_frozen_sharer, OOM_TEST_TIMEOUT_S)
{
	struct pair pair = {
		.cg = &self->env.cg, .sh = self->env.sh, .threads = 1, .owner = SHARER,
	};
	long long ms;

	ASSERT_EQ(start_pair(&pair), 0);
	ms = kill_and_time(&self->env, variant->memcg, LEFT_SIZE);
	ASSERT_GE(ms, 0);
	wait_owner_died(_metadata, self->env.sh, DELAYED_MS);
	check_end(_metadata, &self->env);
}

/*
 * The victim owns it and has no CPU to exit on: whoever reaps it before it has
 * been through its robust list, only because the freezer held somebody else,
 * breaks its promise.
 */
TEST_F_TIMEOUT(oom_once, robust_futex_frozen_sharer, OOM_TEST_TIMEOUT_S)
{
	struct pair pair = {
		.cg = &self->env.cg, .sh = self->env.sh, .threads = 1,
		.owner = VICTIM, .starve = true,
	};
	long long start, usage;
	struct oom_hog hog;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs two CPUs");
	if (oom_hog_create(&hog, 1))
		SKIP(return, "cannot run at a real-time priority");

	/* The kill is the work of a kworker on the CPU that asks for it. */
	ASSERT_EQ(oom_pin_cpu(0), 0);
	ASSERT_EQ(start_pair(&pair), 0);
	ASSERT_EQ(oom_hog_run(&hog), 0);

	/* Well before the delay is over, the memory must not be touched. */
	start = oom_now_ms();
	ASSERT_EQ(oom_write("/proc/sysrq-trigger", "f"), 0);
	do {
		oom_poll_pause();
		usage = oom_mem_usage(&self->env.cg);
	} while (usage > (long long)LEFT_SIZE &&
		 oom_now_ms() - start < OOM_REAPER_DELAY_MS / 4);
	TH_LOG("%lld MiB left when the victim gets its CPU, after %lld ms",
	       usage / (long long)MiB, oom_now_ms() - start);
	oom_hog_end(&hog);

	wait_owner_died(_metadata, self->env.sh, OOM_DEADLINE_MS);
	EXPECT_GE(oom_wait_mem_usage(&self->env.cg, LEFT_SIZE), 0);
	check_end(_metadata, &self->env);
}

/* The v2 freezer lets go of whoever is killed: there is nothing to wait for. */
TEST_F_TIMEOUT(oom_once, cgroup2_frozen, OOM_TEST_TIMEOUT_S)
{
	struct plain plain = {
		.sh = self->env.sh, .size = VICTIM_SIZE, .adj = 1000,
		.threads = 5,
	};
	long long ms;
	pid_t pid;

	if (!self->env.cg.mem_v2)
		SKIP(return, "the memory cgroup is not of version 2");
	pid = oom_spawn(&self->env.cg, plain_victim, &plain);
	ASSERT_GT(pid, 0);
	ASSERT_EQ(oom_freeze_v2(&self->env.cg), 0);

	ms = kill_and_time(&self->env, false, LEFT_SIZE);
	TH_LOG("memory back after %lld ms", ms);
	ASSERT_GE(ms, 0);
	EXPECT_LT(ms, DELAYED_MS);
	/* It is still to be frozen, and exits all the same. */
	EXPECT_GE(wait_exited(pid, OOM_DEADLINE_MS), 0);
	check_end(_metadata, &self->env);
}

static bool thp_available(void)
{
	char text[64];

	return !oom_read("/sys/kernel/mm/transparent_hugepage/enabled", text,
			 sizeof(text)) && !strstr(text, "[never]");
}

/* Makes sure that there are @nr free hugetlb pages; the fixture restores. */
static bool have_hugetlb(struct env *env, int nr)
{
	static const char path[] = "/proc/sys/vm/nr_hugepages";
	char text[32];

	if (oom_read(path, env->hugepages, sizeof(env->hugepages)))
		return false;
	snprintf(text, sizeof(text), "%d", atoi(env->hugepages) + nr);
	return !oom_write(path, text) && !oom_read(path, text, sizeof(text)) &&
	       atoi(text) == atoi(env->hugepages) + nr;
}

/* The reaper takes what is private, and leaves what others may share. */
TEST_F_TIMEOUT(oom_once, mapping_kinds, OOM_TEST_TIMEOUT_S)
{
	struct kinds kinds = {
		.sh = self->env.sh, .huge = thp_available(),
		.hugetlb = have_hugetlb(&self->env, KIND_SIZE / (2 * MiB)),
	};
	enum kind kind;
	pid_t victim;
	int fd;

	if (!oom_have_userfaultfd())
		SKIP(return, "no userfaultfd (CONFIG_USERFAULTFD)");
	victim = oom_spawn(&self->env.cg, kinds_victim, &kinds);
	ASSERT_GT(victim, 0);
	ASSERT_GT(oom_spawn_reader(&self->env.cg, victim), 0);
	/* The mm stays to be looked at after the victim has exited. */
	fd = oom_pagemap_open(victim);
	ASSERT_GE(fd, 0);

	for (kind = 0; kind < NR_KINDS; kind++) {
		if (!self->env.sh->kind[kind]) {
			TH_LOG("without %s mappings", kind_name[kind]);
			continue;
		}
		ASSERT_EQ(oom_pagemap_present(fd, self->env.sh->kind[kind]), 1)
			TH_LOG("%s", kind_name[kind]);
	}

	ASSERT_EQ(oom_write("/proc/sysrq-trigger", "f"), 0);
	ASSERT_EQ(oom_klog_wait(self->env.events, "reaped process"), 0);

	for (kind = 0; kind < NR_KINDS; kind++) {
		char *mem = self->env.sh->kind[kind];
		int left = kind == SHARED || kind == HUGETLB;

		if (!mem)
			continue;
		EXPECT_EQ(oom_pagemap_present(fd, mem), left)
			TH_LOG("%s", kind_name[kind]);
		EXPECT_EQ(oom_pagemap_present(fd, mem + KIND_SIZE - 1), left)
			TH_LOG("%s", kind_name[kind]);
	}
	EXPECT_TRUE(is_gone(victim));
	close(fd);
	check_end(_metadata, &self->env);
}

/* Bytes of page tables in the memory cgroup, which has version 2. */
static long long page_tables(struct env *env)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/memory.stat", env->cg.mem);
	return oom_figure(path, "pagetables");
}

/* What the reaper empties is of no use to a victim that cannot exit. */
TEST_F_TIMEOUT(oom_once, page_tables, OOM_TEST_TIMEOUT_S)
{
	long long size = NR_TABLES * (long long)getpagesize(), left, end;
	pid_t victim;

	if (!self->env.cg.mem_v2)
		SKIP(return, "the memory cgroup is not of version 2");
	if (!oom_have_userfaultfd())
		SKIP(return, "no userfaultfd (CONFIG_USERFAULTFD)");
	if (!oom_have_pt_reclaim())
		SKIP(return, "MADV_DONTNEED frees no page tables (CONFIG_PT_RECLAIM)");
	victim = oom_spawn(&self->env.cg, sparse_victim, NULL);
	ASSERT_GT(victim, 0);
	ASSERT_GT(oom_spawn_reader(&self->env.cg, victim), 0);
	end = oom_now_ms() + OOM_DEADLINE_MS;
	while (page_tables(&self->env) < size && oom_now_ms() < end)
		oom_poll_pause();
	ASSERT_GE(page_tables(&self->env), size);

	ASSERT_EQ(oom_write("/proc/sysrq-trigger", "f"), 0);
	ASSERT_EQ(oom_klog_wait(self->env.events, "reaped process"), 0);
	/* RCU frees them, and the figure may be up to 2 s late. */
	end = oom_now_ms() + 5000;
	do {
		oom_poll_pause();
		left = page_tables(&self->env);
	} while (left > size / 20 && oom_now_ms() < end);
	TH_LOG("%lld of %lld kB of page tables left", left >> 10, size >> 10);
	EXPECT_LE(left, size / 20);
	check_end(_metadata, &self->env);
}

/*
 * A victim that cannot exit shields the others until it is reaped, and no
 * longer. A tracer holds this one, when it has begun to exit.
 */
TEST_F_TIMEOUT(oom_memcg, next_victim, OOM_TEST_TIMEOUT_S)
{
	struct plain first = {
		.sh = self->env.sh, .size = VICTIM_SIZE, .adj = 1000, .threads = 1,
	};
	struct plain second = {
		.sh = self->env.sh, .size = SECOND_SIZE, .adj = 500, .threads = 1,
	};
	struct plain plain = { .sh = self->env.sh, .size = TOUCH_SIZE };
	pid_t pid[2];

	pid[0] = oom_spawn(&self->env.cg, plain_victim, &first);
	ASSERT_GT(pid[0], 0);
	pid[1] = oom_spawn(&self->env.cg, plain_victim, &second);
	ASSERT_GT(pid[1], 0);
	ASSERT_EQ(ptrace(PTRACE_SEIZE, pid[0], 0, PTRACE_O_TRACEEXIT), 0);
	ASSERT_EQ(oom_mem_set_limit(&self->env.cg, LIMIT_SIZE + SECOND_SIZE), 0);

	ASSERT_GT(oom_spawn(&self->env.cg, toucher, &plain), 0);
	EXPECT_EQ(oom_task_state(pid[0]), 't');
	EXPECT_FALSE(is_gone(pid[1]));

	ASSERT_GT(oom_spawn(&self->env.cg, toucher, &plain), 0);
	EXPECT_EQ(oom_task_state(pid[0]), 't');
	EXPECT_EQ(oom_wait_state(pid[1], "ZX"), 0);
	EXPECT_EQ(ptrace(PTRACE_DETACH, pid[0], 0, 0), 0);
	check_end(_metadata, &self->env);
}

/* Two processes that no OOM killer needs to take. */
struct bystanders {
	pid_t pid[2];
};

static int start_bystanders(struct env *env, struct bystanders *bystanders)
{
	struct plain plain = {
		.sh = env->sh, .size = SECOND_SIZE, .adj = 500, .threads = 1,
	};
	int i;

	for (i = 0; i < 2; i++) {
		bystanders->pid[i] = oom_spawn(&env->cg, plain_victim, &plain);
		if (bystanders->pid[i] < 0)
			return bystanders->pid[i];
	}
	return 0;
}

static int nr_alive(struct bystanders *bystanders)
{
	return !is_gone(bystanders->pid[0]) + !is_gone(bystanders->pid[1]);
}

/* Nobody else is killed while a victim exits, which takes a moment. */
TEST_F_TIMEOUT(oom_memcg, exiting_victim, OOM_TEST_TIMEOUT_S)
{
	struct plain plain = {
		.sh = self->env.sh, .size = VICTIM_SIZE, .adj = 1000, .threads = 1,
	};
	struct plain more = { .sh = self->env.sh, .size = TOUCH_SIZE };
	struct bystanders bystanders;
	pid_t victim, pid;
	int round;

	ASSERT_EQ(start_bystanders(&self->env, &bystanders), 0);
	ASSERT_EQ(oom_mem_set_limit(&self->env.cg, LIMIT_SIZE +
				    2 * SECOND_SIZE), 0);
	for (round = 0; round < 8 && nr_alive(&bystanders) == 2; round++) {
		victim = oom_spawn(&self->env.cg, plain_victim, &plain);
		ASSERT_GT(victim, 0);
		pid = oom_spawn(&self->env.cg, toucher, &more);
		ASSERT_GT(pid, 0);
		EXPECT_EQ(oom_wait_state(victim, "ZX"), 0);
		kill(pid, SIGKILL);
		EXPECT_GE(wait_exited(pid, OOM_DEADLINE_MS), 0);
	}
	EXPECT_EQ(nr_alive(&bystanders), 2)
		TH_LOG("in round %d", round);
	check_end(_metadata, &self->env);
}

/*
 * All in one memory cgroup: the victim, the frozen child of its vfork(), which
 * the OOM killer would take last, and two others, one of them frozen. What is
 * wanted comes from the victim's exit, and later all that it had. Its parent
 * does not wait.
 */
TEST_F_TIMEOUT(oom_memcg, bystanders_live, OOM_TEST_TIMEOUT_S)
{
	struct pair pair = {
		.cg = &self->env.cg, .sh = self->env.sh, .threads = 1,
		.shared_size = SHARED_SIZE, .vfork = true, .stays = true,
	};
	struct plain more = { .sh = self->env.sh, .size = TOUCH_SIZE };
	struct bystanders bystanders;

	ASSERT_EQ(start_bystanders(&self->env, &bystanders), 0);
	ASSERT_EQ(oom_cgroup_attach(self->env.cg.frozen, bystanders.pid[1]), 0);
	ASSERT_EQ(start_pair(&pair), 0);
	ASSERT_EQ(oom_mem_set_limit(&self->env.cg, LIMIT_SIZE + SHARED_SIZE +
				    2 * SECOND_SIZE), 0);

	ASSERT_GT(oom_spawn(&self->env.cg, toucher, &more), 0);
	TH_LOG("went on after %ld ms", (long)self->env.sh->stall_ms);
	EXPECT_LT(self->env.sh->stall_ms, DELAYED_MS);
	EXPECT_EQ(nr_alive(&bystanders), 2);
	EXPECT_EQ(oom_wait_state(self->env.sh->victim, "ZX"), 0);
	check_exits(_metadata, &self->env, self->env.sh->frozen,
		    TOUCH_SIZE + 2 * SECOND_SIZE + LEFT_SIZE);
	EXPECT_EQ(nr_alive(&bystanders), 2);
	check_end(_metadata, &self->env);
}

TEST_HARNESS_MAIN
