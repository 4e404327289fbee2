# SPDX-License-Identifier: GPL-2.0
# The plot in README.md, of the figures that COVER_LETTER.md quotes for patch 1:
#   gnuplot docs/figures.gp >docs/figures.svg
set terminal svg size 860,340 font 'sans-serif,12' background '#ffffff'
set style data histograms
set style histogram clustered gap 1
set style fill solid 0.9 noborder
set logscale y
set yrange [5:5000]
set ylabel 'ms'
set key top left
set grid y lc rgb '#dddddd'
set title 'A victim with 256 MiB, in a guest that QEMU emulates (medians of 6 runs)'
set xtics nomirror
set bmargin 4
$figures << EOD
"OOM kill until memory\nis back: not frozen"	103	105
"five frozen\nthreads"	105	111
"frozen\nsharer"	2140	118
"stall at a cgroup's\nlimit: not frozen"	12	11
"five frozen\nthreads"	11	11
"frozen\nsharer"	2011	14
EOD
plot $figures using 2:xtic(1) title 'v7.3.4' lc rgb '#b0b0b0', \
     '' using 3 title 'with the series' lc rgb '#3a6ea5'
