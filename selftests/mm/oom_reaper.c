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
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
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
#define SECOND_SIZE (32 * MiB)
/* Room for a victim, and what the task that hits the limit wants beyond. */
#define LIMIT_SIZE (VICTIM_SIZE + 24 * MiB)
#define TOUCH_SIZE (48 * MiB)
/* Memory is back when this is left: page tables, stacks, per-CPU batches. */
#define LEFT_SIZE (8 * MiB)

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

/*
 * A page that its process gets only from a userfaultfd: who touches it is
 * stuck for as long as nobody handles that, and has the mm pinned.
 */
struct fault {
	int uffd;
	char *page;
};

/*
 * Two processes, parent and child, that share an mm. The freezer holds one of
 * them, and the other one is to be the victim.
 */
struct pair {
	struct oom_cgroups *cg;
	struct shared *sh;
	int threads;		/* that the parent has */
	bool vfork;		/* freeze the child, else the parent */
	bool freeze_one;	/* freeze one thread of the parent only */
	bool not_yet;		/* the parent is stuck before it can freeze */
	bool kinds;		/* all kinds of mappings instead of one */
	bool huge, hugetlb;	/* with these kinds */
	bool robust;		/* the victim holds a robust futex ... */
	bool starve;		/* ... and is on a CPU that the test keeps busy */
	struct fault fault;
};

/* What a test has, shared by its process and the one that cleans up. */
struct env {
	struct oom_cgroups cg;
	struct shared *sh;
	char hugepages[32];	/* vm.nr_hugepages to restore */
	int klog;
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
	env->klog = oom_klog_open();
	return env->klog < 0 ? "no /dev/kmsg (CONFIG_PRINTK)" : NULL;
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

static int map_kinds(struct pair *pair)
{
	struct shared *sh = pair->sh;
	int memfd = memfd_create("oom_reaper", MFD_CLOEXEC);
	size_t i, page = getpagesize();
	enum kind kind;

	if (memfd < 0 || ftruncate(memfd, KIND_SIZE))
		return -errno;
	for (kind = 0; kind < NR_KINDS; kind++) {
		int flags = MAP_PRIVATE | MAP_ANONYMOUS, fd = -1;
		size_t size = KIND_SIZE;
		char *mem;

		if ((kind == HUGE && !pair->huge) ||
		    (kind == HUGETLB && !pair->hugetlb))
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
		sh->kind[kind] = mem;
	}
	return 0;
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

static int make_fault(struct fault *fault)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	fault->uffd = syscall(SYS_userfaultfd, O_CLOEXEC);
	if (fault->uffd < 0 || ioctl(fault->uffd, UFFDIO_API, &api))
		return -errno;
	fault->page = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (fault->page == MAP_FAILED)
		return -errno;
	reg.range.start = (uintptr_t)fault->page;
	reg.range.len = getpagesize();
	return ioctl(fault->uffd, UFFDIO_REGISTER, &reg) ? -errno : 0;
}

/* Returns once somebody is stuck. */
static int wait_fault(struct fault *fault)
{
	struct uffd_msg msg;

	return read(fault->uffd, &msg, sizeof(msg)) == sizeof(msg) ? 0 : -EIO;
}

static bool have_userfaultfd(void)
{
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0)
		return false;
	close(fd);
	return true;
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
			ret = leave_mem_cgroup(pair);
	} else {
		sh->victim = getpid();
		ret = oom_cgroup_attach(pair->cg->run, 0);
	}
	if (!ret && pair->robust)
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

	pair->sh->err = wait_fault(&pair->fault);
	return pause_thread(pair->sh);
}

static int get_stuck(struct pair *pair)
{
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	int ret = make_fault(&pair->fault);
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

	if (pair->kinds)
		ret = map_kinds(pair);
	else if (!oom_map_populated(VICTIM_SIZE))
		ret = -ENOMEM;
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
 * limit stood still; else until the memory is back.
 */
static long long kill_and_time(struct env *env, bool memcg)
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
	ret = oom_wait_mem_usage(&env->cg, LEFT_SIZE);
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
 * Says what became of a victim that the freezer held: that it is gone, or what
 * it goes on to hold until it is thawed. Older kernels thaw one of its threads,
 * newer ones all, which is not for this test to judge.
 */
static void log_rest(struct __test_metadata *_metadata, pid_t pid)
{
	long long ms = wait_exited(pid, DELAYED_MS);

	if (ms >= 0)
		TH_LOG("exited after another %lld ms", ms);
	else
		TH_LOG("held until thawed: %lld kB of page tables, %lld kB of files",
		       held_kb(pid, "VmPTE"),
		       held_kb(pid, "RssFile") + held_kb(pid, "RssShmem"));
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

	ms = kill_and_time(env, memcg);
	TH_LOG("%s after %lld ms", memcg ? "went on" : "memory back",
	       ms);
	ASSERT_GE(ms, 0);
	EXPECT_LT(ms, DELAYED_MS);

	if (freeze && !memcg)
		log_rest(_metadata, pid);
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

static bool is_gone(pid_t pid)
{
	return strchr("ZX", oom_task_state(pid));
}

static void test_pair(struct __test_metadata *_metadata,
		      struct env *env, bool memcg, struct pair *pair)
{
	long long ms;

	pair->cg = &env->cg;
	pair->sh = env->sh;
	ASSERT_EQ(start_pair(pair), 0);

	ms = kill_and_time(env, memcg);
	TH_LOG("%s after %lld ms", memcg ? "went on" : "memory back",
	       ms);
	ASSERT_GE(ms, 0);
	EXPECT_LT(ms, DELAYED_MS);

	/*
	 * Had the OOM killer taken the other one, nothing would be held up.
	 * Of a process with one frozen thread, the rest does exit.
	 */
	EXPECT_EQ(oom_wait_state(env->sh->victim, "ZX"), 0);
	if (!pair->freeze_one)
		EXPECT_FALSE(is_gone(env->sh->frozen));

	EXPECT_EQ(oom_thaw(&env->cg), 0);
	EXPECT_EQ(oom_wait_state(env->sh->frozen, "ZX"), 0);
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

	if (!have_userfaultfd())
		SKIP(return, "no userfaultfd (CONFIG_USERFAULTFD)");
	test_pair(_metadata, &self->env, variant->memcg, &pair);
}

/* The victim waits in vfork() for a child that is frozen. */
TEST_F_TIMEOUT(oom, frozen_vfork_child, OOM_TEST_TIMEOUT_S)
{
	struct pair pair = { .threads = 1, .vfork = true };

	test_pair(_metadata, &self->env, variant->memcg, &pair);
}

/* A process that reads the victim's memory, and is stuck in that. */
struct reader {
	struct shared *sh;
	pid_t victim;
	struct fault fault;
};

static void *reader_thread(void *arg)
{
	struct reader *reader = arg;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", reader->victim);
	fd = open(path, O_RDONLY);
	/* Whatever is mapped; this program's code is, and it is the same. */
	if (fd < 0 ||
	    pread(fd, reader->fault.page, 1, (uintptr_t)reader_thread) != 1)
		reader->sh->err = -errno;
	return NULL;
}

static int reader_start(void *arg)
{
	struct reader *reader = arg;
	pthread_t thread;
	int ret;

	ret = oom_set_score_adj(-1000);
	if (!ret)
		ret = make_fault(&reader->fault);
	if (ret)
		return ret;
	ret = pthread_create(&thread, NULL, reader_thread, reader);
	if (ret)
		return -ret;
	ret = wait_fault(&reader->fault);
	return ret ?: reader->sh->err;
}

/* Nobody is frozen: the delay that protects robust futexes must stay. */
TEST_F_TIMEOUT(oom, pinned_not_frozen, OOM_TEST_TIMEOUT_S)
{
	struct plain plain = {
		.sh = self->env.sh, .size = VICTIM_SIZE, .adj = 1000, .threads = 1,
	};
	struct reader reader = { .sh = self->env.sh };
	pid_t victim, pid;
	long long ms;

	if (!have_userfaultfd())
		SKIP(return, "no userfaultfd (CONFIG_USERFAULTFD)");

	victim = oom_spawn(&self->env.cg, plain_victim, &plain);
	ASSERT_GT(victim, 0);
	reader.victim = victim;
	pid = oom_spawn(&self->env.cg, reader_start, &reader);
	ASSERT_GT(pid, 0);

	ms = kill_and_time(&self->env, variant->memcg);
	TH_LOG("%s after %lld ms", variant->memcg ? "went on" : "memory back",
	       ms);
	EXPECT_GE(ms, DELAYED_MS);

	EXPECT_EQ(oom_wait_state(victim, "ZX"), 0);
	check_end(_metadata, &self->env);
}

static void wait_owner_died(struct __test_metadata *_metadata,
			    struct shared *sh)
{
	struct timespec timeout = { .tv_sec = OOM_DEADLINE_MS / 1000 };
	unsigned int value;

	for (;;) {
		value = sh->futex;
		if (value & FUTEX_OWNER_DIED)
			break;
		if (syscall(SYS_futex, &sh->futex, FUTEX_WAIT, value, &timeout,
			    NULL, 0) && errno == ETIMEDOUT)
			break;
	}
	EXPECT_EQ(value & FUTEX_OWNER_DIED, FUTEX_OWNER_DIED);
}

/* A process that waits on a futex learns that its owner was OOM killed. */
TEST_F_TIMEOUT(oom, robust_futex, OOM_TEST_TIMEOUT_S)
{
	struct pair pair = {
		.cg = &self->env.cg, .sh = self->env.sh, .threads = 1, .robust = true,
	};
	long long ms;

	ASSERT_EQ(start_pair(&pair), 0);
	ASSERT_EQ(oom_thaw(&self->env.cg), 0);
	ms = kill_and_time(&self->env, variant->memcg);
	ASSERT_GE(ms, 0);
	wait_owner_died(_metadata, self->env.sh);
	check_end(_metadata, &self->env);
}

/*
 * The same with a frozen sharer, while the victim has no CPU to exit on:
 * whoever reaps it before it has been through its robust list, only because
 * the freezer holds somebody else, breaks its promise.
 */
TEST_F_TIMEOUT(oom_once, robust_futex_frozen_sharer, OOM_TEST_TIMEOUT_S)
{
	struct pair pair = {
		.cg = &self->env.cg, .sh = self->env.sh, .threads = 1,
		.robust = true, .starve = true,
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

	wait_owner_died(_metadata, self->env.sh);
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

	ms = kill_and_time(&self->env, false);
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

/* Until the reaper is through, and the OOM killer has nothing to gain. */
static void wait_reaped(struct __test_metadata *_metadata, pid_t pid)
{
	long long deadline = oom_now_ms() + OOM_DEADLINE_MS;
	char path[64], text[32];

	snprintf(path, sizeof(path), "/proc/%d/oom_score", pid);
	do {
		oom_poll_pause();
		ASSERT_EQ(oom_read(path, text, sizeof(text)), 0);
	} while (strcmp(text, "0") && oom_now_ms() < deadline);
	EXPECT_STREQ(text, "0");
}

/* The reaper takes what is private, and leaves what others may share. */
TEST_F_TIMEOUT(oom_once, mapping_kinds, OOM_TEST_TIMEOUT_S)
{
	struct pair pair = {
		.cg = &self->env.cg, .sh = self->env.sh, .threads = 1,
		.kinds = true, .huge = thp_available(),
		.hugetlb = have_hugetlb(&self->env, KIND_SIZE / (2 * MiB)),
	};
	long long deadline;
	enum kind kind;
	int fd;

	ASSERT_EQ(start_pair(&pair), 0);
	fd = oom_pagemap_open(self->env.sh->frozen);
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

	deadline = oom_now_ms() + OOM_DEADLINE_MS;
	for (kind = 0; kind < NR_KINDS; kind++) {
		char *mem = self->env.sh->kind[kind];
		int first = -1, last = -1;

		if (!mem || kind == SHARED || kind == HUGETLB)
			continue;
		do {
			oom_poll_pause();
			first = oom_pagemap_present(fd, mem);
			last = oom_pagemap_present(fd, mem + KIND_SIZE - 1);
		} while ((first || last) && oom_now_ms() < deadline);
		EXPECT_EQ(first, 0) TH_LOG("%s", kind_name[kind]);
		EXPECT_EQ(last, 0) TH_LOG("%s", kind_name[kind]);
	}

	/* The sharer, which cannot exit, still has the rest. */
	wait_reaped(_metadata, self->env.sh->frozen);
	for (kind = SHARED; kind < NR_KINDS; kind++) {
		if (!self->env.sh->kind[kind])
			continue;
		EXPECT_EQ(oom_pagemap_present(fd, self->env.sh->kind[kind]), 1)
			TH_LOG("%s", kind_name[kind]);
	}
	close(fd);

	EXPECT_EQ(oom_thaw(&self->env.cg), 0);
	EXPECT_EQ(oom_wait_state(self->env.sh->frozen, "ZX"), 0);
	check_end(_metadata, &self->env);
}

/* A victim that is reaped and cannot exit does not shield the others. */
TEST_F_TIMEOUT(oom_once, next_victim, OOM_TEST_TIMEOUT_S)
{
	struct pair pair = {
		.cg = &self->env.cg, .sh = self->env.sh, .threads = 1,
	};
	struct plain plain = {
		.sh = self->env.sh, .size = SECOND_SIZE, .adj = 500, .threads = 1,
	};
	pid_t second;

	ASSERT_EQ(start_pair(&pair), 0);
	self->env.sh->step = 0;
	second = oom_spawn(&self->env.cg, plain_victim, &plain);
	ASSERT_GT(second, 0);

	ASSERT_EQ(oom_write("/proc/sysrq-trigger", "f"), 0);
	ASSERT_GE(oom_wait_mem_usage(&self->env.cg, SECOND_SIZE + LEFT_SIZE), 0);
	EXPECT_FALSE(is_gone(second));

	wait_reaped(_metadata, self->env.sh->frozen);

	EXPECT_EQ(oom_write("/proc/sysrq-trigger", "f"), 0);
	EXPECT_EQ(oom_wait_state(second, "ZX"), 0);
	EXPECT_FALSE(is_gone(self->env.sh->frozen));
	check_end(_metadata, &self->env);
}

TEST_HARNESS_MAIN
