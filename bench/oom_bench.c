// SPDX-License-Identifier: GPL-2.0
/*
 * oom_bench - time the OOM reaper, process_mrelease(2) and plain exits
 *
 * Usage: oom_bench KIND [OPTION ...]; see usage(). Needs root and a disposable
 * machine.
 *
 * Prints a line for each figure, tab-separated:
 *
 *   R  KIND  CASE  RUN  MODE  METRIC  VALUE	a figure; times are in us
 *   C  KIND  CASE  RUN  US    BYTES		memory at a time after the kill
 *   I  MACHINE				what runs this: see print_machine()
 *
 * Modes of one case take turns within a run. Each run starts with a different
 * mode, so that drift affects all alike. The first run is not printed. Victims
 * run on CPU 0, their reaper on CPU 1.
 *
 * Exit: 0; 1 something went wrong, and stderr says what.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "oom_bench.h"

struct options opt = { .size = 256 * MiB, .vmas = 1, .runs = 5, .best = 1 };

static void usage(void)
{
	puts("usage: oom_bench KIND [OPTION ...]\n"
	     "  reap   kill + process_mrelease() against exit alone, and against two\n"
	     "         unrelated victims of half the size (\"halves\")\n"
	     "  wait   how long exit_mmap() waits for the write lock behind a reaper\n"
	     "  back   from an OOM kill until the memory is back; the stall at the\n"
	     "         limit of a memory cgroup\n"
	     "  insn   fork+exit, exec+exit, and fork, 64 threads, exit, in ticks of the\n"
	     "         time stamp counter: instructions under QEMU's -icount shift=0\n"
	     "  scale  process_mrelease() alone\n"
	     "  late   process_mrelease() after the victim's exit, while a reader of its\n"
	     "         memory is stuck, against one that is frozen\n"
	     "options: -s MIB of the victim (256), -n VMAS (1), -p thp, -z (half of it\n"
	     "  swapped out), -r RUNS (5)\n"
	     "  reap: -o (the OOM reaper instead of the call), -S MIB,... (sizes of a\n"
	     "  step; needs bench/kernel/step.patch), -c (without the references)\n"
	     "  reap, scale: -b TRIES (of a run, whose figures are the least of them)\n"
	     "  wait: -w MS (the OOM reaper, and exit_mmap() waits for it that long before\n"
	     "  it takes the lock; needs bench/kernel/window.patch)\n"
	     "back, reap -o and wait -w force OOMs of the whole machine: use a disposable\n"
	     "machine.");
}

static int number(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*end || n < 1 || n > 1000000)
		errx(1, "'%s' is not a number from 1 to 1000000", text);
	return n;
}

static bool page_size(const char *text)
{
	if (strcmp(text, "thp") && strcmp(text, "4k"))
		errx(1, "-p takes 4k or thp");
	return text[0] == 't';
}

static void options(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "s:n:p:r:b:w:S:zoc")) != -1) {
		switch (c) {
		case 's':
			opt.size = number(optarg) * MiB;
			break;
		case 'n':
			opt.vmas = number(optarg);
			break;
		case 'p':
			opt.thp = page_size(optarg);
			break;
		case 'r':
			opt.runs = number(optarg);
			break;
		case 'b':
			opt.best = number(optarg);
			break;
		case 'w':
			opt.window_ms = number(optarg);
			break;
		case 'S':
			opt.steps = optarg;
			break;
		case 'z':
			opt.swap = true;
			break;
		case 'o':
			opt.oom = true;
			break;
		case 'c':
			opt.count = true;
			break;
		default:
			exit(1);
		}
	}
}

int main(int argc, char **argv)
{
	static char name[64];

	if (!strcmp(argv[0], "nop"))
		return 0;
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 2 || argv[1][0] == '-') {
		usage();
		return argc < 2;
	}
	kind = argv[1];
	/* What err() begins a message with. */
	snprintf(name, sizeof(name), "oom_bench %s", kind);
	program_invocation_short_name = name;
	options(argc - 1, argv + 1);
	if (optind < argc - 1)
		errx(1, "unknown argument '%s'", argv[optind + 1]);
	if (opt.size / opt.vmas < (size_t)getpagesize())
		errx(1, "%d vmas need more than %zu MiB", opt.vmas, (size_t)(opt.size / MiB));
	print_machine();
	snprintf(case_name, sizeof(case_name), "%zu,%d,%s%s",
		 (size_t)(opt.size / MiB), opt.vmas, opt.thp ? "thp" : "4k",
		 opt.swap ? ",swap" : "");

	if (!strcmp(kind, "back"))
		bench_back();
	else if (!strcmp(kind, "insn"))
		bench_insn();
	else if (!strcmp(kind, "reap"))
		with_cgroups(opt.oom, bench_reap, NULL);
	else if (!strcmp(kind, "wait"))
		with_cgroups(opt.window_ms, bench_wait, NULL);
	else if (!strcmp(kind, "scale"))
		with_cgroups(false, bench_scale, NULL);
	else if (!strcmp(kind, "late"))
		with_cgroups(false, bench_late, NULL);
	else
		errx(1, "no such kind; see oom_bench -h");
	return 0;
}
