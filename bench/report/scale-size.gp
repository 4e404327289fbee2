# SPDX-License-Identifier: GPL-2.0
# Reaping by size of the victim.
data = ARG1
set title ARG2
load 'style.gp'
set logscale x 2
set xlabel 'MiB in one VMA'
load 'scale.gp'
