// SPDX-License-Identifier: GPL-2.0
/* What the tests of the OOM reaper and of process_mrelease() share. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "oom_util.h"

#ifndef __NR_pidfd_open
#define __NR_pidfd_open 434
#endif
#ifndef __NR_process_mrelease
#define __NR_process_mrelease 448
#endif

/* Between two looks at a condition; short against what the tests measure. */
#define POLL_NS 200000

void oom_poll_pause(void)
{
	struct timespec ts = { .tv_nsec = POLL_NS };

	nanosleep(&ts, NULL);
}

long long oom_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

int oom_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

int oom_read(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len;

	if (fd < 0)
		return -errno;
	len = read(fd, buf, size - 1);
	if (len < 0)
		len = -errno;
	close(fd);
	if (len < 0)
		return len;
	while (len && buf[len - 1] == '\n')
		len--;
	buf[len] = '\0';
	return 0;
}

static int cgroup_write(const char *cgroup, const char *file, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", cgroup, file);
	return oom_write(path, text);
}

static int cgroup_read(const char *cgroup, const char *file, char *buf,
		       size_t size)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", cgroup, file);
	return oom_read(path, buf, size);
}

int oom_cgroup_attach(const char *cgroup, pid_t pid)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", pid);
	return cgroup_write(cgroup, "cgroup.procs", text);
}

int oom_cgroup_attach_thread(const char *cgroup)
{
	return cgroup_write(cgroup, "tasks", "0");
}

/*
 * Mount point of a cgroup hierarchy: v2, or the v1 one that has @controller.
 * Returns false if it is not mounted.
 */
static bool find_hierarchy(const char *controller, char *path, size_t size)
{
	char line[512], point[128], type[32], opts[256];
	FILE *mounts = fopen("/proc/self/mounts", "re");
	bool found = false;

	if (!mounts)
		return false;
	while (!found && fgets(line, sizeof(line), mounts)) {
		char *opt, *save;

		if (sscanf(line, "%*s %127s %31s %255s", point, type, opts) != 3)
			continue;
		if (!controller) {
			found = !strcmp(type, "cgroup2");
			continue;
		}
		if (strcmp(type, "cgroup"))
			continue;
		for (opt = strtok_r(opts, ",", &save); opt && !found;
		     opt = strtok_r(NULL, ",", &save))
			found = !strcmp(opt, controller);
	}
	fclose(mounts);
	if (found)
		snprintf(path, size, "%s", point);
	return found;
}

static bool make_mem_cgroup(struct oom_cgroups *cg)
{
	char *root = cg->mem_root, controllers[256];

	cg->mem_v2 = true;
	if (find_hierarchy(NULL, root, sizeof(cg->mem_root)) &&
	    !cgroup_read(root, "cgroup.controllers", controllers,
			 sizeof(controllers)) &&
	    strstr(controllers, "memory") &&
	    !cgroup_write(root, "cgroup.subtree_control", "+memory"))
		goto found;

	cg->mem_v2 = false;
	if (!find_hierarchy("memory", root, sizeof(cg->mem_root)))
		return false;
found:
	snprintf(cg->mem, sizeof(cg->mem), "%s/oom_test.%d", root, getpid());
	if (mkdir(cg->mem, 0755)) {
		cg->mem[0] = '\0';
		return false;
	}
	return true;
}

const char *oom_cgroups_create(struct oom_cgroups *cg, bool need_mem)
{
	char root[128], tmp[] = "/tmp/oom_test.XXXXXX";

	memset(cg, 0, sizeof(*cg));
	if (geteuid())
		return "needs root";

	if (!find_hierarchy("freezer", root, sizeof(root))) {
		if (!mkdtemp(tmp))
			return "cannot make a folder in /tmp";
		if (mount("oom_test", tmp, "cgroup", 0, "freezer")) {
			rmdir(tmp);
			return "no cgroup v1 freezer (CONFIG_CGROUP_FREEZER)";
		}
		snprintf(cg->mount, sizeof(cg->mount), "%s", tmp);
		snprintf(root, sizeof(root), "%s", tmp);
	}

	snprintf(cg->frozen, sizeof(cg->frozen), "%s/oom_test.%d.frozen", root,
		 getpid());
	if (mkdir(cg->frozen, 0755)) {
		cg->frozen[0] = '\0';
		return "cannot make a freezer cgroup";
	}
	snprintf(cg->run, sizeof(cg->run), "%s/oom_test.%d.run", root, getpid());
	if (mkdir(cg->run, 0755)) {
		cg->run[0] = '\0';
		return "cannot make a freezer cgroup";
	}

	if (need_mem && !make_mem_cgroup(cg))
		return "no memory cgroup (CONFIG_MEMCG)";
	return NULL;
}

/* Whether one of the words of a list, by blanks or NULs, in a file is @word. */
static bool file_has_word(const char *path, const char *word)
{
	FILE *file = fopen(path, "re");
	size_t len = 0, want = strlen(word);
	bool same = true, found = false;
	int c = 0;

	if (!file)
		return false;
	while (!found && c != EOF) {
		c = fgetc(file);
		if (c == EOF || c == '\0' || isspace(c)) {
			found = same && len == want;
			same = true;
			len = 0;
		} else {
			same = same && len < want && c == word[len];
			len++;
		}
	}
	fclose(file);
	return found;
}

static bool in_virtual_machine(void)
{
	return file_has_word("/proc/cpuinfo", "hypervisor") ||
	       file_has_word("/proc/device-tree/compatible",
			     "linux,dummy-virt") ||
	       file_has_word("/sys/class/dmi/id/sys_vendor", "QEMU");
}

const char *oom_global_refused(void)
{
	const char *told = getenv("OOM_GLOBAL");

	if (told && strcmp(told, "1"))
		return "OOM_GLOBAL is not 1: no OOM of the whole machine";
	if (!told && !in_virtual_machine())
		return "not a virtual machine: OOM_GLOBAL=1 allows an OOM of the whole machine";
	if (access("/proc/sysrq-trigger", W_OK))
		return "no /proc/sysrq-trigger (CONFIG_MAGIC_SYSRQ)";
	return NULL;
}

/* SIGKILL for all in the cgroup; returns how many there were. */
static int kill_all(const char *cgroup)
{
	char path[256];
	FILE *procs;
	int pid, nr = 0;

	snprintf(path, sizeof(path), "%s/cgroup.procs", cgroup);
	procs = fopen(path, "re");
	if (!procs)
		return 0;
	while (fscanf(procs, "%d", &pid) == 1) {
		if (pid > 0)
			kill(pid, SIGKILL);
		nr++;
	}
	fclose(procs);
	return nr;
}

static int destroy_cgroup(char *cgroup)
{
	long long deadline = oom_now_ms() + OOM_DEADLINE_MS;

	if (!cgroup[0])
		return 0;
	for (;;) {
		/* A child may have been born since the last look. */
		if (!kill_all(cgroup) && !rmdir(cgroup))
			break;
		if (oom_now_ms() > deadline)
			return -ETIMEDOUT;
		/* Those whose parent the caller is would stay zombies. */
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		oom_poll_pause();
	}
	cgroup[0] = '\0';
	return 0;
}

int oom_cgroups_destroy(struct oom_cgroups *cg)
{
	int ret = 0, err;

	if (cg->frozen[0])
		cgroup_write(cg->frozen, "freezer.state", "THAWED");
	if (cg->mem[0])
		kill_all(cg->mem);
	err = destroy_cgroup(cg->frozen);
	ret = ret ?: err;
	err = destroy_cgroup(cg->run);
	ret = ret ?: err;
	err = destroy_cgroup(cg->mem);
	ret = ret ?: err;
	if (cg->mount[0]) {
		umount2(cg->mount, MNT_DETACH);
		rmdir(cg->mount);
		cg->mount[0] = '\0';
	}
	return ret;
}

int oom_freeze_start(struct oom_cgroups *cg)
{
	return cgroup_write(cg->frozen, "freezer.state", "FROZEN");
}

static int wait_freezer_state(struct oom_cgroups *cg, const char *want)
{
	long long deadline = oom_now_ms() + OOM_DEADLINE_MS;
	char state[32];
	int ret;

	for (;;) {
		ret = cgroup_read(cg->frozen, "freezer.state", state,
				  sizeof(state));
		if (ret)
			return ret;
		if (!strcmp(state, want))
			return 0;
		if (oom_now_ms() > deadline)
			return -ETIMEDOUT;
		oom_poll_pause();
	}
}

int oom_freeze(struct oom_cgroups *cg)
{
	int ret = oom_freeze_start(cg);

	return ret ?: wait_freezer_state(cg, "FROZEN");
}

int oom_thaw(struct oom_cgroups *cg)
{
	int ret = cgroup_write(cg->frozen, "freezer.state", "THAWED");

	return ret ?: wait_freezer_state(cg, "THAWED");
}

int oom_freeze_v2(struct oom_cgroups *cg)
{
	long long deadline = oom_now_ms() + OOM_DEADLINE_MS;
	int ret = cgroup_write(cg->mem, "cgroup.freeze", "1");
	char events[128];

	while (!ret) {
		ret = cgroup_read(cg->mem, "cgroup.events", events,
				  sizeof(events));
		if (ret || strstr(events, "frozen 1"))
			break;
		if (oom_now_ms() > deadline)
			return -ETIMEDOUT;
		oom_poll_pause();
	}
	return ret;
}

int oom_mem_set_limit(struct oom_cgroups *cg, size_t bytes)
{
	char text[32];

	snprintf(text, sizeof(text), "%zu", bytes);
	if (!cg->mem_v2)
		return cgroup_write(cg->mem, "memory.limit_in_bytes", text);
	/* Swap would only put the OOM off; without swap there is no file. */
	cgroup_write(cg->mem, "memory.swap.max", "0");
	return cgroup_write(cg->mem, "memory.max", text);
}

long long oom_mem_usage(struct oom_cgroups *cg)
{
	char text[32];
	int ret;

	ret = cgroup_read(cg->mem, cg->mem_v2 ? "memory.current" :
			  "memory.usage_in_bytes", text, sizeof(text));
	return ret ?: atoll(text);
}

long long oom_wait_mem_usage(struct oom_cgroups *cg, size_t bytes)
{
	long long start = oom_now_ms();

	for (;;) {
		long long usage = oom_mem_usage(cg);

		if (usage < 0)
			return usage;
		if (usage <= (long long)bytes)
			return oom_now_ms() - start;
		if (oom_now_ms() - start > OOM_DEADLINE_MS)
			return -ETIMEDOUT;
		oom_poll_pause();
	}
}

long long oom_figure(const char *path, const char *name)
{
	FILE *file = fopen(path, "re");
	size_t len = strlen(name);
	long long value = -ENOENT;
	char line[256];

	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, name, len) || !strchr(": ", line[len]))
			continue;
		value = atoll(line + len + 1);
		break;
	}
	fclose(file);
	return value;
}

long long oom_figure_kb(const char *path, const char *name)
{
	long long kb = oom_figure(path, name);

	return kb < 0 ? kb : kb << 10;
}

char oom_task_state(pid_t pid)
{
	char path[64], text[256], *paren;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	if (oom_read(path, text, sizeof(text)))
		return 'X';
	paren = strrchr(text, ')');
	return paren && paren[1] ? paren[2] : 'X';
}

int oom_wait_state(pid_t pid, const char *states)
{
	long long deadline = oom_now_ms() + OOM_DEADLINE_MS;

	while (!strchr(states, oom_task_state(pid))) {
		if (oom_now_ms() > deadline)
			return -ETIMEDOUT;
		oom_poll_pause();
	}
	return 0;
}

int oom_set_score_adj(int adj)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", adj);
	return oom_write("/proc/self/oom_score_adj", text);
}

void *oom_map_populated(size_t size)
{
	char *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t i, page = getpagesize();

	if (mem == MAP_FAILED)
		return NULL;
	madvise(mem, size, MADV_NOHUGEPAGE);
	for (i = 0; i < size; i += page)
		mem[i] = 1;
	return mem;
}

/* What one page table maps: it has an entry of a long's size for each page. */
static size_t table_span(void)
{
	size_t page = getpagesize();

	return page * (page / sizeof(long));
}

void *oom_map_sparse(size_t nr)
{
	size_t i, span = table_span(), size = (nr + 1) * span;
	char *mem = mmap(NULL, size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mem == MAP_FAILED)
		return NULL;
	madvise(mem, size, MADV_NOHUGEPAGE);
	mem = (char *)(((uintptr_t)mem + span - 1) & -span);
	for (i = 0; i < nr; i++)
		mem[i * span] = 1;
	return mem;
}

bool oom_have_pt_reclaim(void)
{
	size_t nr = 64, size = nr * table_span();
	char *mem = oom_map_sparse(nr);
	long long before, after;

	if (!mem)
		return false;
	before = oom_figure_kb("/proc/self/status", "VmPTE");
	madvise(mem, size, MADV_DONTNEED);
	after = oom_figure_kb("/proc/self/status", "VmPTE");
	munmap(mem, size);
	return before - after > (long long)(nr * getpagesize() / 2);
}

pid_t oom_spawn(struct oom_cgroups *cg, int (*fn)(void *arg), void *arg)
{
	int ready[2], ret = -EIO;
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC))
		return -errno;
	pid = fork();
	if (pid < 0) {
		ret = -errno;
		close(ready[0]);
		close(ready[1]);
		return ret;
	}
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		ret = oom_cgroup_attach(cg->run, 0);
		if (!ret && cg->mem[0])
			ret = oom_cgroup_attach(cg->mem, 0);
		if (!ret)
			ret = fn(arg);
		if (write(ready[1], &ret, sizeof(ret)) != sizeof(ret) || ret)
			_exit(1);
		for (;;)
			pause();
	}
	close(ready[1]);
	if (read(ready[0], &ret, sizeof(ret)) != sizeof(ret))
		ret = -EIO;
	close(ready[0]);
	if (!ret)
		return pid;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return ret < 0 ? ret : -EIO;
}

bool oom_have_userfaultfd(void)
{
	int fd = syscall(__NR_userfaultfd, O_CLOEXEC);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

int oom_fault_create(struct oom_fault *fault)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };

	fault->uffd = syscall(__NR_userfaultfd, O_CLOEXEC | O_NONBLOCK);
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

int oom_fault_wait(struct oom_fault *fault)
{
	struct pollfd pollfd = { .fd = fault->uffd, .events = POLLIN };
	struct uffd_msg msg;

	if (poll(&pollfd, 1, OOM_DEADLINE_MS) != 1)
		return -ETIMEDOUT;
	return read(fault->uffd, &msg, sizeof(msg)) == sizeof(msg) ? 0 : -EIO;
}

struct reader {
	pid_t pid;
	struct oom_fault fault;
};

static void *reader_thread(void *arg)
{
	struct reader *reader = arg;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", reader->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	/* Whatever is mapped; this program's code is, and it is the same. */
	if (fd >= 0 &&
	    pread(fd, reader->fault.page, 1, (uintptr_t)reader_thread) < 0)
		close(fd);
	return NULL;
}

static int reader_start(void *arg)
{
	struct reader *reader = arg;
	pthread_t thread;
	int ret;

	ret = oom_set_score_adj(-1000);
	if (!ret)
		ret = oom_fault_create(&reader->fault);
	if (!ret)
		ret = -pthread_create(&thread, NULL, reader_thread, reader);
	return ret ?: oom_fault_wait(&reader->fault);
}

pid_t oom_spawn_reader(struct oom_cgroups *cg, pid_t pid)
{
	struct reader reader = { .pid = pid };

	return oom_spawn(cg, reader_start, &reader);
}

int oom_pin_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

static void *hog_thread(void *arg)
{
	struct oom_hog *hog = arg;
	char byte;

	if (read(hog->pipe[0], &byte, 1) == 1)
		hog->runs = true;
	while (hog->runs && !hog->ends)
		;
	return NULL;
}

int oom_hog_create(struct oom_hog *hog, int cpu)
{
	struct sched_param param = { .sched_priority = 1 };
	pthread_attr_t attr;
	cpu_set_t set;
	int ret;

	memset(hog, 0, sizeof(*hog));
	if (pipe2(hog->pipe, O_CLOEXEC))
		return -errno;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	pthread_attr_init(&attr);
	pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
	pthread_attr_setschedparam(&attr, &param);
	ret = pthread_create(&hog->thread, &attr, hog_thread, hog);
	pthread_attr_destroy(&attr);
	if (!ret)
		return 0;
	close(hog->pipe[0]);
	close(hog->pipe[1]);
	return -ret;
}

int oom_hog_run(struct oom_hog *hog)
{
	long long deadline = oom_now_ms() + OOM_DEADLINE_MS;

	if (write(hog->pipe[1], "", 1) != 1)
		return -errno;
	while (!hog->runs)
		if (oom_now_ms() > deadline)
			return -ETIMEDOUT;
	return 0;
}

void oom_hog_end(struct oom_hog *hog)
{
	hog->ends = true;
	/* Ends the wait of a hog that never ran. */
	close(hog->pipe[1]);
	pthread_join(hog->thread, NULL);
	close(hog->pipe[0]);
}

int oom_klog_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	lseek(fd, 0, SEEK_END);
	return fd;
}

/* The next record of the log; false if there is none yet. */
static bool klog_read(int fd, char *record, size_t size)
{
	ssize_t len;

	/* EPIPE: records were overwritten before they were read. */
	do {
		len = read(fd, record, size - 1);
	} while (len < 0 && errno == EPIPE);
	if (len <= 0)
		return false;
	record[len] = '\0';
	return true;
}

int oom_klog_wait(int fd, const char *text)
{
	long long deadline = oom_now_ms() + OOM_DEADLINE_MS;
	char record[1024];

	for (;;) {
		while (klog_read(fd, record, sizeof(record)))
			if (strstr(record, text))
				return 0;
		if (oom_now_ms() > deadline)
			return -ETIMEDOUT;
		oom_poll_pause();
	}
}

int oom_klog_check(int fd, char *line, size_t size)
{
	static const char * const complaints[] = {
		"BUG: ", "WARNING: ", "INFO: task ", "INFO: rcu", "Oops",
		"general protection fault", "unable to reap", NULL
	};
	char record[1024];
	unsigned int i;

	while (klog_read(fd, record, sizeof(record))) {
		for (i = 0; complaints[i]; i++) {
			if (!strstr(record, complaints[i]))
				continue;
			snprintf(line, size, "%s", strchr(record, ';') ?: record);
			return 1;
		}
	}
	return 0;
}

int oom_pagemap_open(pid_t pid)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int oom_pagemap_present(int fd, const void *addr)
{
	unsigned long long entry;
	off_t pos = (uintptr_t)addr / getpagesize() * sizeof(entry);
	ssize_t len = pread(fd, &entry, sizeof(entry), pos);

	if (len < 0)
		return -errno;
	/* A process whose mm is gone has no pages, and no entries. */
	if (len != sizeof(entry))
		return 0;
	/* Documentation/admin-guide/mm/pagemap.rst: bit 63 is "present". */
	return entry >> 63;
}

int oom_pidfd_open(pid_t pid)
{
	int fd = syscall(__NR_pidfd_open, pid, 0);

	return fd < 0 ? -errno : fd;
}

bool oom_have_mrelease(void)
{
	int err = syscall(-1) ? errno : 0;

	/* What a kernel without it says to any unknown number. */
	return oom_mrelease(-1, 0) != -err;
}

int oom_mrelease(int pidfd, unsigned int flags)
{
	return syscall(__NR_process_mrelease, pidfd, flags) ? -errno : 0;
}
