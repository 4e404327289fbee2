# SPDX-License-Identifier: GPL-2.0
# Reaping by number of VMAs.
data = ARG1
set title ARG2
load 'style.gp'
set logscale x 10
set xlabel 'VMAs of a victim of 256 MiB'
load 'scale.gp'
