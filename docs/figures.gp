# SPDX-License-Identifier: GPL-2.0
# The picture in README.md: a real OOM, from docs/figures.tsv. Run it in the clone:
#   gnuplot docs/figures.gp >docs/figures.svg
# The colours have middle tones, for the background may be white or dark.
set terminal svg size 830,700 font 'sans-serif,14' noenhanced
set datafile separator tab
ink = '#6e7b88'
levels = 'base no-delay series'
names = "'v7.3.4' 'no delay, no thaw' 'this series'"
colours = '#9aa3ad #c27c1a #3b82d6'
outcomes = '< bench/report/report.py docs/figures.tsv --outcomes'

# The columns of report.py --outcomes; a case gets four rows, one of them empty.
at(list, name) = sum [i = 1:words(list)] (word(list, i) eq name ? i : 0)
here(l) = at(cases, strcol(1)) > 0 && strcol(3) eq word(levels, l)
row(l) = 4 * at(cases, strcol(1)) - 4 + l
killed(l) = column(9) == 0 ? '' : column(8) == column(9) ? sprintf(', %.0f killed', column(9)) : \
	sprintf(', %.0f-%.0f killed', column(8), column(9))
left(l) = column(10) < 1 ? '' : sprintf(', %.0f MiB left', column(10))
note(l) = sprintf('%.0f ms', column(5)).killed(l).left(l)

set border 1 lc rgb ink
set logscale x
set xrange [5:60000]
set xtics (10, 100, 1000) nomirror textcolor rgb ink
set ytics scale 0 textcolor rgb ink
set style fill solid noborder
set title offset 0,-0.4 font ',16' textcolor rgb ink
set key textcolor rgb ink noautotitle
set lmargin at screen 0.25
set rmargin at screen 0.985

set multiplot

cases = 'global,zombie,plain global,zombie,shmem global,zombie,sparse global,zombie,hugetlb global,reaped,plain'
set title 'After an OOM kill'
set tmargin at screen 0.93
set bmargin at screen 0.41
set key at screen 0.985,0.52 right
set yrange [4 * words(cases) + 0.3:0.2]
set ytics ("300 MiB" 2, "... and 120 MiB of shmem" 6, "... 80 MiB of page tables" 10, \
	"... 64 MiB of hugetlb" 14, "300 MiB, parent waits" 18)
plot for [l = 1:3] outcomes using (here(l) ? column(5) : NaN):(row(l)):(5):(column(5)):(row(l) - 0.42):(row(l) + 0.42) \
		with boxxyerror lc rgb word(colours, l) title word(names, l), \
	for [l = 1:3] outcomes using (here(l) ? column(5) : NaN):(row(l)):6:7 with xerrorbars pt 0 lc rgb ink, \
	for [l = 1:3] outcomes using (here(l) ? column(7) * 1.1 : NaN):(row(l)):(note(l)) \
		with labels left font ',13' textcolor rgb ink

cases = 'memcg,zombie,plain memcg,reaped,shmem'
set title "Stall at a memory cgroup's limit"
set tmargin at screen 0.295
set bmargin at screen 0.135
unset key
set yrange [4 * words(cases) + 0.3:0.2]
set ytics ("300 MiB" 2, "... and 120 MiB of shmem,\nparent waits" 6)
set xlabel 'longest stall of the allocating task, ms: median and range' offset 0,0.3 textcolor rgb ink
set label 'killed: of three bystanders; left: of the memory of the victim, when the task has all it wants' \
	at screen 0.5,0.025 center font ',13' textcolor rgb ink
replot
unset multiplot
