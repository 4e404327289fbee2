// SPDX-License-Identifier: GPL-2.0
/* Trace events, and what they tell. */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "oom_bench.h"

#define TRACE_SIZE (4 * MiB)

static char *trace_text;

void trace_events(const char *event, bool on)
{
	char path[128];

	snprintf(path, sizeof(path), TRACE "events/%s/enable", event);
	must(write_setting(path, on ? "1" : "0"), path);
}

void trace_clear(void)
{
	int fd = open(TRACE "trace", O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0)
		err(1, "no " TRACE "trace");
	close(fd);
}

char *trace_read(void)
{
	size_t len = 0;
	ssize_t ret;
	int fd = open(TRACE "trace", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		err(1, "no " TRACE "trace");
	if (!trace_text)
		trace_text = malloc(TRACE_SIZE);
	if (!trace_text)
		err(1, "no memory");
	while (len < (size_t)TRACE_SIZE - 1 &&
	       (ret = read(fd, trace_text + len, TRACE_SIZE - 1 - len)) > 0)
		len += ret;
	close(fd);
	trace_text[len] = '\0';
	return trace_text;
}

/*
 * The line's time in us if it is of @event, and of a task with that pid (0: of
 * anyone); else -1. "TASK-PID [CPU] FLAGS SECONDS: EVENT: ..."
 */
double trace_time(const char *line, const char *event, pid_t pid)
{
	const char *cpu = strstr(line, " ["), *name, *p;
	double at;

	if (line[0] == '#' || !cpu)
		return -1;
	name = strstr(cpu, ": ");
	if (!name || strncmp(name + 2, event, strlen(event)) ||
	    name[2 + strlen(event)] != ':')
		return -1;
	for (p = name; p > cpu && p[-1] != ' '; p--)
		;
	at = atof(p) * 1e6;
	for (p = cpu; p > line && *p == ' '; p--)
		;
	while (p > line && p[-1] != '-')
		p--;
	return !pid || atoi(p) == pid ? at : -1;
}

/* The last time that the task asked for the lock to write, until it had it. */
double write_lock_wait(pid_t pid)
{
	double start = -1, wait = -1, at;
	char *line, *save;

	for (line = strtok_r(trace_read(), "\n", &save); line;
	     line = strtok_r(NULL, "\n", &save)) {
		if (!strstr(line, "write=true"))
			continue;
		at = trace_time(line, "mmap_lock_start_locking", pid);
		if (at >= 0)
			start = at;
		at = trace_time(line, "mmap_lock_acquire_returned", pid);
		if (at >= 0 && start >= 0)
			wait = at - start;
	}
	return wait;
}
