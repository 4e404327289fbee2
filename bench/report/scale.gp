# SPDX-License-Identifier: GPL-2.0
# What the plots of scaling share; for each level: size or VMAs, ms per GiB (median,
# low, high).
stats data using 2 name 'ms' nooutput
set yrange [0:*]
set key bottom right
set ylabel 'ms per GiB'
plot for [i = 0:ms_blocks - 1] data index i \
	using 1:2:3:4 with yerrorlines lw 2 pt 7 ps 0.6 lc rgb colours[i + 1]
