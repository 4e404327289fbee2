# SPDX-License-Identifier: GPL-2.0
# Memory of a victim against time after the kill; for each level: ms, MiB.
data = ARG1
set title ARG2
load 'style.gp'
stats data using 2 name 'mib' nooutput
set key horizontal
set logscale x
set xrange [1:3000]
set yrange [0:1.3 * mib_max]
set xlabel 'ms after the kill'
set ylabel 'MiB still there'
# A logarithmic axis has no 0.
plot for [i = 0:mib_blocks - 1] data index i \
	using ($1 < 0.5 ? 0.5 : $1):2 with steps lw 2.5 lc rgb colours[i + 1]
