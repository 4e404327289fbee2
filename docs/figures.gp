# SPDX-License-Identifier: GPL-2.0
# The plot in README.md, of the figures that COVER_LETTER.md quotes for a real OOM:
#   gnuplot docs/figures.gp >docs/figures.svg
set terminal svg size 860,340 font 'sans-serif,12' background '#ffffff'
set style data histograms
set style histogram clustered gap 1
set style fill solid 0.9 noborder
set logscale y
set yrange [5:60000]
set ylabel 'longest stall, ms'
set key top right
set grid y lc rgb '#dddddd'
set title "The victim's parent is frozen and shares its memory (emulated, medians of 3 runs)"
set xtics nomirror
set bmargin 4
$figures << EOD
"300 MiB of\nprivate memory"	2043	22	""
"and 120 MiB of\nshared memory"	2022	24	"2-3 killed,\n120 MiB stay"
"and 80 MiB of\npage tables"	2037	21	"1 killed,\n80 MiB stay"
"and 64 MiB\nof hugetlb"	2011	20	"64 MiB stay"
EOD
plot $figures using 2:xtic(1) title 'v7.3.4' lc rgb '#b0b0b0', \
     '' using 3 title 'with the series' lc rgb '#3a6ea5', \
     '' using ($0 - 0.17):2:4 with labels offset 0,1.8 notitle
