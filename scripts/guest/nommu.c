// SPDX-License-Identifier: GPL-2.0
/*
 * The init of "lab nommu", for a kernel without an MMU. Built with the kernel's nolibc.
 *
 * Starts two tasks, one after the other, which allocate until they are killed, and does not
 * wait for them. Prints "lab: PID STATUS" for each, where STATUS is "killed", or "stuck" if it
 * is not dead after LIMIT seconds. Then turns the machine off.
 */
#include <sched.h>
#include <sys/mman.h>
#include <sys/reboot.h>
#include <sys/wait.h>

#define LIMIT 60

static int hog(void)
{
	/* Larger pieces need no OOM killer: their allocation may fail. */
	while (mmap(NULL, 32768, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
		;
	perror("lab: mmap");
	return 1;
}

/* Starts a hog; returns whether it is dead, without waiting for it. */
static bool start_hog(char *program)
{
	char name[] = "hog";
	char *argv[] = { program, name, NULL };
	siginfo_t info = {};
	pid_t pid = vfork();
	int s;

	if (!pid) {
		execve(program, argv, NULL);
		_exit(1);
	}
	for (s = 0; s < LIMIT && !info.si_pid; s++) {
		sleep(1);
		waitid(P_PID, pid, &info, WEXITED | WNOHANG | WNOWAIT);
	}
	printf("lab: %d %s\n", pid, info.si_pid ? "killed" : "stuck");
	return info.si_pid;
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return hog();
	if (start_hog(argv[0]))
		start_hog(argv[0]);
	reboot(LINUX_REBOOT_CMD_POWER_OFF);
	return 1;
}
