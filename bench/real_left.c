// SPDX-License-Identifier: GPL-2.0
/* What memory there is, and what a try leaves of it. */
#include <err.h>
#include <stdio.h>

#include "vm_util.h"
#include "real_oom.h"

/* What is still there after this time counts as left. */
#define SETTLE_MS 500
#define NOTHING_LEFT (256LL << 10)

/* Bytes in that field of /proc/PID/status; 0 if the process is gone. */
static long long own(pid_t pid, const char *field)
{
	long long bytes;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	bytes = field_bytes(path, field);
	return bytes > 0 ? bytes : 0;
}

/* System-wide, because pinned memory may belong to no process. */
void look(const struct try *try, pid_t allocator, long long *there)
{
	int i;

	/* Adds up the CPUs' shares of the counters. */
	write_setting("/proc/sys/vm/stat_refresh", "1");
	there[ANON] = meminfo("AnonPages:") - own(allocator, "RssAnon:");
	there[PAGETABLES] = meminfo("PageTables:") - own(allocator, "VmPTE:");
	for (i = 0; i < NR_BYSTANDERS; i++) {
		there[ANON] -= own(try->bystander[i], "RssAnon:");
		there[PAGETABLES] -= own(try->bystander[i], "VmPTE:");
	}
	there[SHARED] = meminfo("Shmem:");
	there[HUGE] = HUGE_SIZE * (read_field("/proc/meminfo", "HugePages_Total:") -
				   read_field("/proc/meminfo", "HugePages_Free:"));
}

static long long sum_left(const struct try *try, pid_t allocator,
			  const long long *before, long long *left)
{
	long long sum = 0;
	int i;

	look(try, allocator, left);
	for (i = 0; i < NR_LEFT; i++) {
		left[i] -= before[i];
		if (left[i] < 0)
			left[i] = 0;
		sum += left[i];
	}
	return sum;
}

long long look_left(const struct try *try, pid_t allocator,
		    const long long *before, long long *left)
{
	long long sum;

	poll_for(SETTLE_MS, (sum = sum_left(try, allocator, before, left)) <=
		 NOTHING_LEFT);
	return sum;
}

void set_hugepages(int nr)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", nr);
	must(write_setting("/proc/sys/vm/nr_hugepages", text), "nr_hugepages");
	if (read_field("/proc/meminfo", "HugePages_Total:") != nr)
		errx(1, "cannot have %d huge pages", nr);
}

/* Page tables come back only with RCU's next grace period. */
void wait_available(long long size)
{
	must(poll_until(meminfo("MemAvailable:") >= size) ? 0 : -1,
	     "memory of the try before is not back");
}
