# SPDX-License-Identifier: GPL-2.0
# By size of a step: its name, contentions (median, worst), CPU time relative to that of
# two halves (median, low, high).
data = ARG1
set title ARG2
load 'style.gp'
stats data using 3 name 'worst' nooutput
set boxwidth 0.5
set style fill solid 0.8
set border 11
set xrange [-0.6:worst_records - 0.4]
set yrange [0:1.15 * worst_max + 1]
set y2range [0.5:2]
set y2tics
set xlabel 'step, MiB'
set ylabel 'contentions a run'
set y2label 'CPU / two halves'
set key top left
plot data using 0:2:xtic(1) with boxes lc rgb colours[2] title 'contentions, median', \
     data using 0:3 with points pt 2 lc rgb '#333333' title 'worst', \
     data using 0:4:5:6 axes x1y2 with yerrorlines lw 2 lc rgb colours[1] title 'CPU / two halves'
