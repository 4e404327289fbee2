// SPDX-License-Identifier: GPL-2.0
/*
 * needless - how many others an OOM kills although one victim is enough
 *
 * Usage: needless [-r ROUNDS] [-c CASE ...]; see usage. Needs root and 1 GiB.
 *
 * In a memory cgroup are the victim, with 64 MiB and an oom_score_adj of 500, and
 * two bystanders with 32 MiB each. Somebody then needs memory; the victim's is more
 * than enough. Its parent does not wait for it.
 *
 * A case is WHAT,TRIGGER. WHAT is the kind of the victim's memory (see kinds.h), or
 * one of these, with private memory:
 *   nested    the victim is in a child of the cgroup that has the limit
 *   threads   it has 60 threads
 *   noleader  its main thread has exited, two others live
 *   group     three victims of 24 MiB each, in a child cgroup with memory.oom.group
 *   many      300 small processes are bystanders, too
 * The triggers:
 *   charge    a task of the cgroup needs 24 MiB beyond the limit
 *   lower     somebody outside sets the limit to 50 MiB below what is used
 *   killed    the victim has 160 MiB; userspace kills it, and while it exits, a task
 *             needs 24 MiB: once its mm is gone, or in odd rounds up to 3 ms later
 *   exec      it has 160 MiB and an oom_score_adj of 0; a task needs 24 MiB while
 *             execve() frees them
 *
 * Prints a line for each figure, tab-separated, as oom_bench does:
 *
 *   R  needless  CASE  ROUND  MODE  METRIC  VALUE
 *
 * needless is how many were killed that need not have died; stall, the longest time
 * between two pages of that task, or how long the write of the limit took, in us;
 * events and kills, by how much "oom" and "oom_kill" in memory.events grew; for a
 * group, group_kills, the same for its own "oom_kill".
 *
 * Exit: 0; 1 something went wrong, or took too long, and stderr says what.
 */
#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup_util.h"
#include "kinds.h"
#include "measure.h"

#define VICTIM_SIZE (64 * MiB)
#define MEMBER_SIZE (24 * MiB)		/* of a group of NR_MEMBERS */
#define EXITING_SIZE (160 * MiB)	/* more, because that takes longer to exit */
#define BYSTANDER_SIZE (32 * MiB)
#define NR_MEMBERS 3
#define NR_BYSTANDERS 2
#define NR_SMALL 300
#define NR_THREADS 60

/* What execve(), and a start of the allocator, can have without an OOM. */
#define FREE_SIZE (1 * MiB)
#define CHARGE_SIZE (FREE_SIZE + 24 * MiB)
#define LOWER_SIZE (50 * MiB)

/* The longest time from the kill to the OOM, in us. */
#define MOST_WAIT 3000

enum { CHARGE, LOWER, KILLED, EXEC };
enum { ALONE, NESTED, THREADS, NOLEADER, GROUP, MANY };

static const char * const trigger_name[] = { "charge", "lower", "killed", "exec" };
static const char * const more_name[] = {
	"", "nested", "threads", "noleader", "group", "many"
};

static const struct cell {
	int kind, more, trigger;
} cells[] = {
	{ PRIVATE, ALONE, CHARGE },
	{ PRIVATE, ALONE, LOWER },
	{ PRIVATE, NESTED, LOWER },
	{ PRIVATE, THREADS, LOWER },
	{ PRIVATE, NOLEADER, LOWER },
	{ PRIVATE, GROUP, LOWER },
	{ PRIVATE, MANY, LOWER },
	{ SHARED, ALONE, CHARGE },
	{ SHARED, ALONE, LOWER },
	{ HALF_SHARED, ALONE, LOWER },
	{ MEMFD, ALONE, LOWER },
	{ TMPFS, ALONE, LOWER },
	{ PIPES, ALONE, LOWER },
	{ TABLES, ALONE, CHARGE },
	{ TABLES, ALONE, LOWER },
	{ PRIVATE, ALONE, KILLED },
	{ HALF_SHARED, ALONE, KILLED },
	{ ZEROES, ALONE, KILLED },
	{ PRIVATE, ALONE, EXEC },
};
#define NR_CELLS ((int)(sizeof(cells) / sizeof(*cells)))

static struct try {
	const struct cell *cell;
	int round;
	size_t size;			/* of each victim */
	struct oom_cgroups *cg;
	char *victims_in, *others_in;	/* cgroups */
	pid_t pid[NR_MEMBERS + NR_BYSTANDERS + NR_SMALL];
	int nr, nr_victims;		/* those come first */
	struct allocator allocator;
} try;

static const char *cell_name(int nr)
{
	const struct cell *cell = &cells[nr];
	static char name[32];

	snprintf(name, sizeof(name), "%s,%s",
		 cell->more ? more_name[cell->more] : kind_name[cell->kind],
		 trigger_name[cell->trigger]);
	return name;
}

static void result(const char *metric, double value)
{
	printf("R\tneedless\t%s\t%d\t-\t%s\t%.0f\n", cell_name(try.cell - cells),
	       try.round, metric, value);
}

static void exec_pause(int sig)
{
	execl("/proc/self/exe", "needless", "pause", NULL);
	_exit(1);
}

static void be_victim(void *arg)
{
	static const int nr_threads[] = { [THREADS] = NR_THREADS, [NOLEADER] = 2, [MANY] = 0 };

	start_threads(nr_threads[try.cell->more]);
	fill(try.cell->kind, try.size);
	if (try.cell->trigger == EXEC)
		signal(SIGUSR1, exec_pause);
	/* After execve(), it would be the first choice, and rightly so. */
	must(oom_set_score_adj(try.cell->trigger == EXEC ? 0 : 500), "oom_score_adj");
}

static void be_bystander(void *arg)
{
	fill(PRIVATE, *(size_t *)arg);
	must(oom_set_score_adj(0), "oom_score_adj");
}

static char *child_cgroup(const char *name)
{
	char *cgroup = cg_name(try.cg->memcg, name);

	must(cg_create(cgroup), "cannot create a cgroup");
	return cgroup;
}

static void make_cgroups(void)
{
	try.victims_in = try.others_in = try.cg->memcg;
	if (try.cell->more != NESTED && try.cell->more != GROUP)
		return;
	must(cg_write(try.cg->memcg, "cgroup.subtree_control", "+memory"), "no child cgroups");
	try.victims_in = child_cgroup("victims");
	try.others_in = child_cgroup("others");
	if (try.cell->more == GROUP)
		must(cg_write(try.victims_in, "memory.oom.group", "1"), "no oom.group");
}

static void remove_cgroups(void)
{
	if (try.victims_in == try.cg->memcg)
		return;
	must(cg_destroy(try.victims_in), "cannot remove a cgroup");
	must(cg_destroy(try.others_in), "cannot remove a cgroup");
}

static void start_all(void)
{
	size_t size = BYSTANDER_SIZE, small = getpagesize();
	long used, expected;
	int i;

	try.nr = 0;
	try.nr_victims = try.cell->more == GROUP ? NR_MEMBERS : 1;
	try.size = try.cell->more == GROUP ? MEMBER_SIZE :
		   try.cell->trigger >= KILLED ? EXITING_SIZE : VICTIM_SIZE;
	for (i = 0; i < try.nr_victims; i++)
		try.pid[try.nr++] = start_in(try.victims_in, be_victim, NULL);
	for (i = 0; i < NR_BYSTANDERS; i++)
		try.pid[try.nr++] = start_in(try.others_in, be_bystander, &size);
	for (i = 0; try.cell->more == MANY && i < NR_SMALL; i++)
		try.pid[try.nr++] = start_in(try.others_in, be_bystander, &small);
	if (try.cell->more == NOLEADER)
		end_main_thread(try.pid[0]);
	start_allocator(&try.allocator, try.others_in, CHARGE_SIZE, 0);
	used = cg_read_long(try.cg->memcg, "memory.current");
	expected = try.nr_victims * try.size + NR_BYSTANDERS * BYSTANDER_SIZE;
	if (used < expected / 100 * 95)
		errx(1, "the processes have %ld MiB only", used / MiB);
}

static int oom_score(pid_t pid)
{
	char text[32] = "";

	/* Unlike most files there, this one does not take a reference to the mm. */
	proc_read_text(pid, false, "oom_score", text, sizeof(text));
	return atoi(text);
}

/* Have the victim free its memory; return when it has begun. */
static void free_victim(void)
{
	int score = oom_score(try.pid[0]);
	double start = now_us();

	if (try.cell->trigger == EXEC) {
		/* The victim has 160 of at most some 1000 MiB: the score falls by 100. */
		kill(try.pid[0], SIGUSR1);
		while (oom_score(try.pid[0]) > score - 20)
			;
		return;
	}
	kill(try.pid[0], SIGKILL);
	if (try.round % 2)
		while (now_us() - start < try.round * 1237 % MOST_WAIT)
			;
	else
		while (oom_score(try.pid[0]) > 0)
			;
}

/* Returns for how long that blocked somebody, in us. */
static double trigger_oom(void)
{
	long used = cg_read_long(try.cg->memcg, "memory.current");
	double start = now_us();

	if (try.cell->trigger == LOWER) {
		must(cg_write_numeric(try.cg->memcg, "memory.max", used - LOWER_SIZE),
		     "cannot lower the limit");
		return now_us() - start;
	}
	must(cg_write_numeric(try.cg->memcg, "memory.max", used + FREE_SIZE), "no limit");
	if (try.cell->trigger != CHARGE)
		free_victim();
	return allocate(&try.allocator);
}

/*
 * End all, and count who was killed in vain. A process that the OOM killer has killed
 * ends by SIGKILL, even if SIGTERM reaches it before its end.
 */
static int end_all(void)
{
	int needless = 0, i, status;

	for (i = 0; i < try.nr; i++)
		kill(try.pid[i], SIGTERM);
	for (i = 0; i < try.nr; i++) {
		if (waitpid(try.pid[i], &status, 0) != try.pid[i])
			err(1, "waitpid");
		if (!WIFSIGNALED(status))
			errx(1, "a process has ended with status %d", status);
		if (i < try.nr_victims && try.cell->trigger != EXEC)
			continue;
		needless += WTERMSIG(status) == SIGKILL;
	}
	end_allocator(&try.allocator);
	return needless;
}

static long event(const char *cgroup, const char *key)
{
	return cg_read_key_long(cgroup, "memory.events", key);
}

static void one_round(struct oom_cgroups *cg, void *arg)
{
	double stall;

	set_deadline(OOM_TEST_TIMEOUT_S, "the start of the processes");
	try.cg = cg;
	cg_write(cg->memcg, "memory.swap.max", "0");
	make_cgroups();
	start_all();
	set_deadline(OOM_DEADLINE_MS / 1000, cell_name(try.cell - cells));
	stall = trigger_oom();
	result("needless", end_all());
	result("stall", stall);
	result("events", event(cg->memcg, "oom "));
	result("kills", event(cg->memcg, "oom_kill "));
	if (try.cell->more == GROUP)
		result("group_kills", event(try.victims_in, "oom_kill "));
	remove_cgroups();
}

static const char usage[] =
	"usage: needless [-r ROUNDS] [-c CASE ...]\n"
	"  -r  rounds of each case (3)\n"
	"  -c  run only this case; can be repeated. CASE is one of these:";

int main(int argc, char **argv)
{
	bool chosen[NR_CELLS];
	char text[1024];
	int rounds, len, nr;

	if (argc == 2 && !strcmp(argv[1], "pause"))
		return oom_wait_for_kill(NULL);
	len = snprintf(text, sizeof(text), "%s", usage);
	for (nr = 0; nr < NR_CELLS; nr++)
		len += snprintf(text + len, sizeof(text) - len, "%s%s",
				nr % 5 ? " " : "\n      ", cell_name(nr));
	rounds = choose_cases(argc, argv, NR_CELLS, cell_name, chosen, text);
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (nr = 0; nr < NR_CELLS; nr++) {
		try.cell = &cells[nr];
		for (try.round = 0; chosen[nr] && try.round < rounds; try.round++)
			with_cgroups(false, one_round, NULL);
	}
	return 0;
}
