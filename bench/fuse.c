// SPDX-License-Identifier: GPL-2.0
/*
 * fuse - an OOM of a FUSE server whose killed clients wait for it in their exit
 *
 * Usage: fuse [-r ROUNDS (3)] [-n CLIENTS (20)]. Needs root and CONFIG_FUSE_FS (lab build with
 * an EXTRA_CONFIG). Forces OOMs in a memory cgroup.
 *
 * Server and clients are in one memory cgroup. The clients have a file of the server open, and
 * are killed: they have no mm any more, and wait until the server answers to their close().
 * Before it does so, the server needs more memory than there is, and the OOM killer has to
 * kill a process that can be killed. Prints a line for each round, tab-separated:
 *
 *   R  fuse  ROUND  MS  KILLS
 *
 * MS is how long the server waited for memory, KILLS how many the OOM killer killed; one is
 * enough. Exit: 0; 1 something went wrong, and stderr says what.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cgroup_util.h"
#include "vm_util.h"
#include "measure.h"

/* Nobody else sees this mount, see oom_cgroups_create(). */
#define DIR_NAME "/root"
#define FILE_NAME DIR_NAME "/file"
#define FILE_NODE 2
#define MOST_CLIENTS 1000

/* In memory that all share. */
static struct shared {
	atomic_int clients;	/* that have the file open */
	atomic_bool hungry;	/* the server needs memory before it answers to a close() */
	atomic_long ms;
	int device;
} *shared;

static int rounds = 3, nr = 20;

static void answer(struct fuse_in_header *request, int error, void *data, size_t size)
{
	struct fuse_out_header out = { .error = error, .unique = request->unique };
	char buffer[512];

	out.len = sizeof(out) + size;
	memcpy(buffer, &out, sizeof(out));
	memcpy(buffer + sizeof(out), data, size);
	/* The kernel no longer waits for what it has interrupted. */
	if (write(shared->device, buffer, out.len) < 0 && errno != ENOENT)
		err(1, "cannot answer to the kernel");
}

static void close_file(struct fuse_in_header *request)
{
	char *mem;

	if (atomic_exchange(&shared->hungry, false)) {
		mem = oom_map_vmas(OOM_WANTED_SIZE, 1);
		if (!mem)
			errx(1, "no address space");
		shared->ms = oom_touch(mem, OOM_WANTED_SIZE, psize());
		munmap(mem, OOM_WANTED_SIZE);
	}
	answer(request, 0, NULL, 0);
}

static int serve(const char *unused, void *arg)
{
	static char buffer[FUSE_MIN_READ_BUFFER * 2];
	struct fuse_in_header *request = (void *)buffer;

	for (;;) {
		struct fuse_init_out init = { .major = FUSE_KERNEL_VERSION,
					      .minor = FUSE_KERNEL_MINOR_VERSION,
					      .max_write = 4096 };
		struct fuse_attr file = { .ino = FILE_NODE, .mode = S_IFREG | 0600, .nlink = 1 };
		struct fuse_entry_out entry = { .nodeid = FILE_NODE, .attr = file };
		struct fuse_attr_out attr = { .attr = file };
		struct fuse_open_out open = { .fh = 1 };

		if (read(shared->device, buffer, sizeof(buffer)) < (ssize_t)sizeof(*request))
			err(1, "cannot read from the kernel");
		switch (request->opcode) {
		case FUSE_INIT:
			answer(request, 0, &init, sizeof(init));
			break;
		case FUSE_LOOKUP:
			answer(request, 0, &entry, sizeof(entry));
			break;
		case FUSE_GETATTR:
			if (request->nodeid == FUSE_ROOT_ID)
				attr.attr.mode = S_IFDIR | 0700;
			answer(request, 0, &attr, sizeof(attr));
			break;
		case FUSE_OPEN:
			answer(request, 0, &open, sizeof(open));
			break;
		case FUSE_FLUSH:
			close_file(request);
			break;
		case FUSE_RELEASE:
			answer(request, 0, NULL, 0);
			break;
		case FUSE_FORGET:
		case FUSE_BATCH_FORGET:
		case FUSE_INTERRUPT:
			break;
		default:
			answer(request, -ENOSYS, NULL, 0);
		}
	}
}

static int client(const char *unused, void *arg)
{
	if (open(FILE_NAME, O_RDONLY) < 0)
		err(1, "cannot open %s", FILE_NAME);
	shared->clients++;
	return oom_wait_for_kill(NULL);
}

static void one_round(struct oom_cgroups *cg, int round)
{
	long kills = oom_event(cg, "oom_kill ");
	pid_t pids[MOST_CLIENTS], victim;
	int i;

	must(cg_write(cg->limited, "memory.max", "max"), "cannot lift the limit");
	shared->clients = 0;
	for (i = 0; i < nr; i++) {
		pids[i] = cg_run_nowait(cg->memcg, client, NULL);
		must(pids[i], "fork");
	}
	if (!poll_until(shared->clients == nr))
		errx(1, "the clients cannot open their file");
	victim = oom_start(cg, oom_map_victim, NULL);
	must(victim, "no victim");
	must(oom_set_limit(cg, cg_read_long(cg->memcg, "memory.current") + OOM_FREE_SIZE), "limit");
	shared->ms = -1;
	shared->hungry = true;
	for (i = 0; i < nr; i++)
		kill(pids[i], SIGKILL);
	if (!poll_until(shared->ms >= 0))
		errx(1, "the server does not get memory");
	for (i = 0; i < nr; i++)
		waitpid(pids[i], NULL, 0);
	kills = oom_event(cg, "oom_kill ") - kills;
	printf("R\tfuse\t%d\t%ld\t%ld\n", round, (long)shared->ms, kills);
	fflush(stdout);
	kill(victim, SIGKILL);
	waitpid(victim, NULL, 0);
}

static void run_rounds(struct oom_cgroups *cg, void *unused)
{
	char options[64];
	pid_t server;
	int i;

	shared->device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	must(shared->device, "/dev/fuse (CONFIG_FUSE_FS)");
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0",
		 shared->device);
	must(mount("bench", DIR_NAME, "fuse", 0, options), "cannot mount");
	server = cg_run_nowait(cg->memcg, serve, NULL);
	must(server, "fork");
	for (i = 0; i < rounds; i++)
		one_round(cg, i);
	kill(server, SIGKILL);
	umount2(DIR_NAME, MNT_DETACH);
}

int main(int argc, char **argv)
{
	int opt;

	while ((opt = getopt(argc, argv, "r:n:h")) != -1) {
		if (opt == 'r')
			rounds = atoi(optarg);
		else if (opt == 'n')
			nr = atoi(optarg);
		else
			errx(opt != 'h', "usage: fuse [-r ROUNDS] [-n CLIENTS]");
	}
	if (rounds < 1 || nr < 1 || nr > MOST_CLIENTS)
		errx(1, "-r needs a number of at least 1, and -n one of 1 to %d", MOST_CLIENTS);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	must(shared == MAP_FAILED ? -1 : 0, "no memory");
	with_cgroups(false, run_rounds, NULL);
	return 0;
}
