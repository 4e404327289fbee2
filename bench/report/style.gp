# SPDX-License-Identifier: GPL-2.0
# What all plots of the report share. Each .gp file is run as "gnuplot -c FILE.gp DATA TITLE"
# and loads this. DATA has blocks; the first line of each is its title.
set term svg size 560,340 font 'sans-serif,13' dynamic
set border 3
set tics nomirror out
set grid lc rgb '#dddddd'
set key top right autotitle columnhead
set datafile missing '?'
array colours[4] = [ '#b2182b', '#2166ac', '#4d9221', '#762a83' ]
