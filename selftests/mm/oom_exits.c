// SPDX-License-Identifier: GPL-2.0
/*
 * A process that has let go of its mm still has memory to free: shared memory,
 * files, pipes, page tables. Test that the OOM killer kills nobody else while it
 * does so, and that it does not wait for long, nor for those who have nothing.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "cgroup_util.h"
#include "vm_util.h"
#include "oom_util.h"

/* A new limit needs that much of what a victim has. */
#define NEEDED_SIZE (OOM_VICTIM_SIZE - 14 * MiB)
/* The OOM killer puts a kill off for that long, and not again after that. */
#define PUT_OFF_MS 1000
/* Long enough for an OOM on a slow machine, and for a report on its console. */
#define SOON_MS (PUT_OFF_MS * 3 / 4)

#define NR_STUCK 10
/* A task that needs more memory needs a few charges. */
#define MOST_OOMS 10
/* A charge has the CPU keep what it does not need; a new limit needs that much. */
#define STOCK_PAGES (OOM_STOCK_PAGES * 5 / 8)
#define NR_ROUNDS 3

FIXTURE(exits)
{
	struct oom_cgroups cg;
	atomic_int victim;
	atomic_bool stuck;	/* the writer of the pipe */
	atomic_bool busy;	/* the CPU */
	atomic_long ms;
	size_t needed;
	char *page;
	int pipe[2], uffd, cpu;
};

OOM_TEARDOWN(exits, &self->cg)
OOM_SETUP(exits, &self->cg, 0)

static int map_shared_victim(void *unused)
{
	return mmap(NULL, OOM_VICTIM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED |
		    MAP_ANONYMOUS | MAP_POPULATE, -1, 0) == MAP_FAILED ?
	       -1 : oom_set_score_adj(1000);
}

static int fill_file(int fd, size_t size)
{
	static const char zeroes[65536];
	size_t i;

	for (i = 0; i < size; i += sizeof(zeroes))
		if (write(fd, zeroes, sizeof(zeroes)) != sizeof(zeroes))
			return -1;
	return 0;
}

static int fill_memfd(void *unused)
{
	int fd = memfd_create("oom_exits", 0);

	return fd < 0 || fill_file(fd, OOM_VICTIM_SIZE) ? -1 : oom_set_score_adj(1000);
}

static int fill_pipes(void *unused)
{
	int fds[2], i;

	for (i = 0; i < OOM_VICTIM_SIZE / MiB; i++)
		if (pipe(fds) || fcntl(fds[1], F_SETPIPE_SZ, MiB) < 0 ||
		    fill_file(fds[1], MiB))
			return -1;
	return oom_set_score_adj(1000);
}

/* Each time, the victim has enough. */
TEST_F_TIMEOUT(exits, shared_memory, OOM_TEST_TIMEOUT_S)
{
	EXPECT_EQ(oom_lower_limits(&self->cg, NR_ROUNDS, map_shared_victim, NEEDED_SIZE), 0);
}

TEST_F_TIMEOUT(exits, memfd, OOM_TEST_TIMEOUT_S)
{
	EXPECT_EQ(oom_lower_limits(&self->cg, NR_ROUNDS, fill_memfd, NEEDED_SIZE), 0);
}

TEST_F_TIMEOUT(exits, pipes, OOM_TEST_TIMEOUT_S)
{
	EXPECT_EQ(oom_lower_limits(&self->cg, NR_ROUNDS, fill_pipes, NEEDED_SIZE), 0);
}

/* RCU frees these. */
TEST_F_TIMEOUT(exits, page_tables, OOM_TEST_TIMEOUT_S)
{
	OOM_NEED(return, &self->cg, OOM_SPARSE);
	EXPECT_EQ(oom_lower_limits(&self->cg, NR_ROUNDS, oom_map_sparse_victim, NEEDED_SIZE), 0);
}

/* However often the kernel has to look whether there is memory now. */
TEST_F_TIMEOUT(exits, limit_is_one_oom, OOM_TEST_TIMEOUT_S)
{
	EXPECT_GE(oom_lower_limits(&self->cg, NR_ROUNDS, oom_map_victim, NEEDED_SIZE), 0);
	EXPECT_EQ(oom_event(&self->cg, "oom "), NR_ROUNDS);
}

static bool has_mm(pid_t pid)
{
	return oom_read_proc(pid, "status", "VmSize:") >= 0;
}

/*
 * The kernel frees the last file first. So it is at work for some time before it
 * frees anything that is charged to the memory cgroup.
 */
static int victim_with_files(void *arg)
{
	FIXTURE_DATA(exits) * self = arg;

	return fill_memfd(NULL) || cg_enter_current(self->cg.outside) ||
	       fill_memfd(NULL) || cg_enter_current(self->cg.memcg);
}

/* Charge more than there is, as soon as the victim has no mm any more. */
static int charge_late(const char *cgroup, void *arg)
{
	FIXTURE_DATA(exits) * self = arg;
	long long end = now_ms() + OOM_DEADLINE_MS;

	self->cg.ready = true;
	while (has_mm(self->victim))
		if (now_ms() > end)
			_exit(1);
	_exit(!oom_map(self->needed));
}

/*
 * Userspace kills it, so the OOM killer does not mark it. Without a kill by the
 * OOM killer, all rounds together have to be over in PUT_OFF_MS.
 */
static void check_killed(struct __test_metadata *_metadata,
			 FIXTURE_DATA(exits) * self, int (*setup)(void *),
			 size_t needed, int rounds)
{
	struct oom_cgroups *cg = &self->cg;
	int status;
	pid_t pid;

	ASSERT_EQ(oom_start_bystanders(&self->cg), 0);
	self->needed = needed;
	while (rounds--) {
		ASSERT_EQ(cg_write(cg->limited, "memory.max", "max"), 0);
		self->victim = oom_start(cg, setup, self);
		ASSERT_GT(self->victim, 0);
		cg->ready = false;
		pid = cg_run_nowait(cg->memcg, charge_late, self);
		ASSERT_GT(pid, 0);
		ASSERT_TRUE(poll_until(cg->ready));
		/* Other processes may need a little before the OOM. */
		ASSERT_EQ(oom_set_limit(cg, cg_read_long(cg->memcg, "memory.current") + MiB), 0);
		ASSERT_EQ(kill(self->victim, SIGKILL), 0);
		ASSERT_EQ(waitpid(pid, &status, 0), pid);
		ASSERT_EQ(status, 0);
		ASSERT_EQ(oom_event(cg, "oom_kill "), 0);
		ASSERT_EQ(waitpid(self->victim, NULL, 0), self->victim);
	}
}

TEST_F_TIMEOUT(exits, killed_by_userspace, OOM_TEST_TIMEOUT_S)
{
	check_killed(_metadata, self, victim_with_files, OOM_FREE_SIZE, 2);
}

TEST_F_TIMEOUT(exits, killed_with_page_tables, OOM_TEST_TIMEOUT_S)
{
	OOM_NEED(return, &self->cg, OOM_SPARSE);
	check_killed(_metadata, self, oom_map_sparse_victim, NEEDED_SIZE, 2);
}

static void check_oom(struct __test_metadata *_metadata,
		      FIXTURE_DATA(exits) * self, int least_ms, int most_ms)
{
	long kills = oom_event(&self->cg, "oom_kill "), ms;
	pid_t pid = oom_start(&self->cg, oom_map_victim, NULL);

	ASSERT_GT(pid, 0);
	ms = oom_force(&self->cg);
	TH_LOG("%ld ms", ms);
	ASSERT_GE(ms, least_ms);
	EXPECT_LT(ms, most_ms);
	EXPECT_TRUE(poll_until(oom_is_dead(pid)));
	EXPECT_EQ(oom_event(&self->cg, "oom_kill "), kills + 1);
}

static int fork_forever(const char *cgroup, void *pause_ns)
{
	return oom_fork_forever(pause_ns);
}

static void check_forkers(struct __test_metadata *_metadata,
			  FIXTURE_DATA(exits) * self, int nr, long pause_ns)
{
	while (nr--)
		ASSERT_GT(cg_run_nowait(self->cg.memcg, fork_forever, (void *)pause_ns), 0);
	check_oom(_metadata, self, 0, 2 * PUT_OFF_MS);
	check_oom(_metadata, self, 0, 2 * PUT_OFF_MS);
}

/* Somebody exits all the time: the kill is put off once, and not for ever. */
TEST_F_TIMEOUT(exits, storm, OOM_TEST_TIMEOUT_S)
{
	check_forkers(_metadata, self, 4, 0);
}

/* Somebody exits every few jiffies: some searches meet that, and some do not. */
TEST_F_TIMEOUT(exits, drizzle, OOM_TEST_TIMEOUT_S)
{
	check_forkers(_metadata, self, 1, 8000000);
}

/*
 * The init of a pid namespace waits until all its processes are gone: here for
 * a zombie that somebody else does not wait for. It has nothing to free.
 */
static int stuck_inits(void *arg)
{
	int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC), i;
	pid_t init, other;

	for (i = 0; i < NR_STUCK; i++) {
		if (setns(own, CLONE_NEWPID) || unshare(CLONE_NEWPID))
			return -1;
		init = fork();
		if (!init)
			oom_wait_for_kill(NULL);
		other = fork();
		if (!other)
			_exit(0);
		if (init < 0 || other < 0 || !poll_until(oom_is_dead(other)) ||
		    kill(init, SIGKILL) || !poll_until(!has_mm(init)))
			return -1;
	}
	return 0;
}

TEST_F_TIMEOUT(exits, stuck_inits, OOM_TEST_TIMEOUT_S)
{
	ASSERT_GT(oom_start(&self->cg, stuck_inits, NULL), 0);
	check_oom(_metadata, self, 0, SOON_MS);
}

static void *write_pipe(void *arg)
{
	FIXTURE_DATA(exits) * self = arg;

	return (void *)write(self->pipe[1], self->page, 1);
}

/* Be stuck in a write, with the mutex of the pipe. */
static int stuck_writer(void *arg)
{
	FIXTURE_DATA(exits) * self = arg;

	self->page = oom_stuck_page(&self->uffd);
	return self->page ? oom_start_stuck_thread(write_pipe, self, self->uffd) : -1;
}

/* Have the pipe open, but not the same struct file as others. */
static int open_pipe(void *arg)
{
	FIXTURE_DATA(exits) * self = arg;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", self->pipe[0]);
	return open(path, O_RDONLY) < 0 ? -1 : 0;
}

/* Start processes, and kill them: they have no mm, and cannot close a file. */
static void start_stuck(struct __test_metadata *_metadata, FIXTURE_DATA(exits) * self)
{
	pid_t stuck[NR_STUCK];
	int i;

	ASSERT_EQ(pipe(self->pipe), 0);
	for (i = 0; i < NR_STUCK; i++) {
		stuck[i] = oom_start(&self->cg, open_pipe, self);
		ASSERT_GT(stuck[i], 0);
	}
	ASSERT_GT(oom_start(&self->cg, stuck_writer, self), 0);
	for (i = 0; i < NR_STUCK; i++) {
		ASSERT_EQ(kill(stuck[i], SIGKILL), 0);
		ASSERT_TRUE(poll_until(!has_mm(stuck[i])));
		ASSERT_FALSE(oom_is_dead(stuck[i]));
	}
}

/* However many are stuck, a kill is put off for a second, and the next is not. */
TEST_F_TIMEOUT(exits, stuck_exits, OOM_TEST_TIMEOUT_S)
{
	OOM_NEED(return, &self->cg, OOM_USERFAULTFD);
	start_stuck(_metadata, self);
	check_oom(_metadata, self, PUT_OFF_MS / 2, 2 * PUT_OFF_MS);
	check_oom(_metadata, self, 0, SOON_MS);
	/* A charge that has to try again for a second is one OOM. */
	EXPECT_LE(oom_event(&self->cg, "oom "), MOST_OOMS);
	/* Whoever still has its mm is waited for in any case. */
	EXPECT_EQ(oom_lower_limits(&self->cg, 20, oom_map_private_victim,
				   OOM_VICTIM_SIZE - OOM_LEFT_SIZE), 0);
}

/* Only this thread has the file. */
static int exit_stuck_main_thread(void *arg)
{
	FIXTURE_DATA(exits) * self = arg;

	if (oom_set_score_adj(-1000) || oom_start_thread() < 0 || open_pipe(self))
		return -1;
	self->cg.ready = true;
	poll_until(self->stuck);
	return syscall(__NR_exit, 0);
}

/* One thread is stuck in its exit, but the other one is alive: nobody waits. */
TEST_F_TIMEOUT(exits, live_process, OOM_TEST_TIMEOUT_S)
{
	pid_t pid;

	OOM_NEED(return, &self->cg, OOM_USERFAULTFD);
	ASSERT_EQ(pipe(self->pipe), 0);
	pid = oom_start(&self->cg, exit_stuck_main_thread, self);
	ASSERT_GT(pid, 0);
	ASSERT_GT(oom_start(&self->cg, stuck_writer, self), 0);
	self->stuck = true;
	ASSERT_TRUE(poll_until(!has_mm(pid) &&
			       !proc_read_strstr(pid, false, "status", "State:\tD")));
	check_oom(_metadata, self, 0, SOON_MS);
}

static int fill_at_limit(const char *cgroup, void *arg)
{
	FIXTURE_DATA(exits) * self = arg;
	long long start = now_ms();

	if (!fill_memfd(NULL))
		_exit(1);
	self->ms = now_ms() - start;
	_exit(0);
}

/* A charge for which nobody can be killed fails, and does not wait. */
TEST_F_TIMEOUT(exits, nobody_to_kill, OOM_TEST_TIMEOUT_S)
{
	struct oom_cgroups *cg = &self->cg;

	OOM_NEED(return, &self->cg, OOM_USERFAULTFD);
	start_stuck(_metadata, self);
	ASSERT_EQ(oom_set_limit(cg, cg_read_long(cg->memcg, "memory.current") + OOM_FREE_SIZE), 0);
	ASSERT_EQ(cg_run(cg->memcg, fill_at_limit, self), 0);
	EXPECT_LT(self->ms, SOON_MS);
	EXPECT_EQ(oom_event(cg, "oom_kill "), 0);
}

/*
 * memory.oom.group: all of them, and each of them once. The first one still has
 * its mm when the others are killed, because it stops for a tracer.
 */
TEST_F_TIMEOUT(exits, group_counted_once, OOM_TEST_TIMEOUT_S)
{
	struct oom_cgroups *cg = &self->cg;
	pid_t pid = oom_start(cg, oom_map_victim, NULL);

	ASSERT_GT(pid, 0);
	ASSERT_EQ(oom_start_bystanders(&self->cg), 0);
	ASSERT_EQ(ptrace(PTRACE_SEIZE, pid, 0, PTRACE_O_TRACEEXIT), 0);
	ASSERT_EQ(cg_write(cg->memcg, "memory.oom.group", "1"), 0);
	ASSERT_EQ(oom_set_limit(cg, OOM_LEFT_SIZE), 0);
	EXPECT_TRUE(poll_until(oom_is_dead(cg->bystanders[0]) && oom_is_dead(cg->bystanders[1])));
	EXPECT_EQ(oom_event(cg, "oom_kill "), 3);
	EXPECT_EQ(oom_event(cg, "oom_group_kill "), 1);
}

/* What userspace has killed is no kill of the OOM killer, also in this case. */
TEST_F_TIMEOUT(exits, killed_without_main_thread, OOM_TEST_TIMEOUT_S)
{
	struct oom_cgroups *cg = &self->cg;
	pid_t pid = oom_start(cg, oom_exit_main_thread, cg);
	int status;

	ASSERT_GT(pid, 0);
	ASSERT_TRUE(poll_until(!proc_read_strstr(pid, false, "status", "State:\tZ")));
	/* It stops before it lets go of its mm. */
	ASSERT_EQ(ptrace(PTRACE_SEIZE, cg->thread, 0, PTRACE_O_TRACEEXIT), 0);
	ASSERT_EQ(kill(pid, SIGKILL), 0);
	ASSERT_EQ(waitpid(cg->thread, &status, __WALL), cg->thread);
	ASSERT_EQ(status >> 8, SIGTRAP | (PTRACE_EVENT_EXIT << 8));
	ASSERT_GE(oom_force(cg), 0);
	EXPECT_EQ(oom_event(cg, "oom_kill "), 0);
}

/* A task of high priority waits for a victim that has no other CPU. */
TEST_F_TIMEOUT(exits, waits_on_one_cpu, OOM_TEST_TIMEOUT_S)
{
	struct sched_param param = { .sched_priority = 1 };
	struct oom_cgroups *cg = &self->cg;

	ASSERT_EQ(oom_use_cpu(sched_getcpu()), 0);
	if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param))
		SKIP(return, "no SCHED_FIFO (CONFIG_RT_GROUP_SCHED)");
	EXPECT_GE(oom_lower_limits(cg, 1, oom_map_victim, NEEDED_SIZE), 0);
	EXPECT_LT(cg->waited_ms, SOON_MS);
}

/* Charge pages until a CPU has more of them in stock than it needs, and be busy. */
static int keep_cpu_busy(const char *cgroup, void *arg)
{
	FIXTURE_DATA(exits) * self = arg;
	/* One of any 64 pages needs a new charge. */
	char *mem = oom_map_vmas(2 * OOM_STOCK_PAGES * psize(), 1);
	long before, after = cg_read_long(cgroup, "memory.current");

	if (oom_use_cpu(self->cpu) || !mem)
		_exit(1);
	do {
		before = after;
		*mem = 1;
		mem += psize();
		after = cg_read_long(cgroup, "memory.current");
	} while (after - before < STOCK_PAGES * psize());
	/* Time for real-time tasks is limited, and so is the wait for this one. */
	_exit(oom_keep_cpu_busy(self->cpu, &self->busy, SOON_MS) ? KSFT_SKIP : 0);
}

/* A CPU is busy, and has memory in stock: this is no reason to kill. */
TEST_F_TIMEOUT(exits, stock_of_busy_cpu, OOM_TEST_TIMEOUT_S)
{
	struct oom_cgroups *cg = &self->cg;
	int cpu = sched_getcpu(), status;
	pid_t busy;
	long used;

	self->cpu = oom_other_cpu(cpu);
	if (self->cpu < 0)
		SKIP(return, "needs two CPUs");
	ASSERT_EQ(oom_use_cpu(cpu), 0);
	ASSERT_EQ(oom_start_bystanders(cg), 0);
	busy = cg_run_nowait(cg->memcg, keep_cpu_busy, self);
	ASSERT_GT(busy, 0);
	ASSERT_TRUE(poll_until(self->busy || oom_is_dead(busy)));
	/* This CPU gives back what it has in stock itself. */
	used = cg_read_long(cg->memcg, "memory.current");
	ASSERT_EQ(cg_write_numeric(cg->memcg, "memory.high", used - psize()), 0);
	ASSERT_EQ(cg_write(cg->memcg, "memory.high", "max"), 0);
	used = cg_read_long(cg->memcg, "memory.current");
	ASSERT_EQ(oom_set_limit(cg, used - STOCK_PAGES * psize()), 0);
	ASSERT_EQ(waitpid(busy, &status, 0), busy);
	if (WEXITSTATUS(status) == KSFT_SKIP)
		SKIP(return, "no SCHED_FIFO (CONFIG_RT_GROUP_SCHED)");
	EXPECT_GT(oom_event(cg, "oom "), 0);
	EXPECT_EQ(oom_event(cg, "oom_kill "), 0);
}

TEST_HARNESS_MAIN
