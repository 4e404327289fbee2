// SPDX-License-Identifier: GPL-2.0
#include <err.h>
#include <stdio.h>
#include <string.h>
#ifdef __x86_64__
#include <cpuid.h>
#endif

#include "oom_bench.h"

#define MAX_LEAST 64
#define MAX_LOST 20

const char *kind;
char case_name[96];

static void print(int run, const char *mode, const char *metric, double value)
{
	printf("R\t%s\t%s\t%d\t%s\t%s\t%.3f\n", kind, case_name, run, mode,
	       metric, value);
}

/*
 * What else goes on in a machine only ever adds to a time: with -b, the least of
 * a run's tries is its figure.
 */
static struct {
	char mode[16];
	const char *metric;
	double value;
} least[MAX_LEAST];
static int nr_least;

void result(int run, const char *mode, const char *metric, double value)
{
	int i;

	if (run < 0)
		return;
	if (opt.best == 1) {
		print(run, mode, metric, value);
		return;
	}
	for (i = 0; i < nr_least; i++)
		if (!strcmp(least[i].mode, mode) &&
		    !strcmp(least[i].metric, metric))
			break;
	if (i == MAX_LEAST)
		errx(1, "too many figures");
	if (i == nr_least) {
		nr_least++;
		snprintf(least[i].mode, sizeof(least[i].mode), "%s", mode);
		least[i].metric = metric;
		least[i].value = value;
	} else if (value < least[i].value) {
		least[i].value = value;
	}
}

void flush_least(int run)
{
	int i;

	for (i = 0; i < nr_least; i++)
		print(run, least[i].mode, least[i].metric, least[i].value);
	nr_least = 0;
}

void count_lost(int run, const char *mode, int *lost)
{
	if (++*lost > MAX_LOST * opt.best)
		errx(1, "in one run, %d victims were gone before they could be reaped",
		     *lost);
	if (run >= 0)
		print(run, mode, "lost", *lost);
}

/* "emulated", "virtual: NAME", or "no hypervisor seen", as the CPU tells. */
void print_machine(void)
{
#ifdef __x86_64__
	unsigned int a, b, c, d, name[4] = { 0 };

	if (__get_cpuid(1, &a, &b, &c, &d) && c >> 31) {
		__cpuid(0x40000000, a, name[0], name[1], name[2]);
		if (!strcmp((char *)name, "TCGTCGTCGTCG"))
			puts("I\temulated (QEMU TCG)");
		else
			printf("I\tvirtual: %s\n", (char *)name);
		return;
	}
#endif
	puts("I\tno hypervisor seen");
}
