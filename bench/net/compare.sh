#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# compare.sh RESULTS_DIR: one table of the newest run of each back end, with gains over `virtio` (or
# the first back end), and jitter as p99/p50; with gnuplot also RESULTS_DIR/compare.png.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [ $# -ne 1 ] || [ "$1" = --help ]; then
    echo "usage: compare.sh RESULTS_DIR    (what run-all.sh has written)"
    [ "${1:-}" = --help ] && exit 0
    exit 2
fi
[ -d "$1" ] || { echo "compare.sh: there is no folder '$1'" >&2; exit 2; }
python3 "$here/compare.py" "$1"
if command -v gnuplot >/dev/null && [ -s "$1/compare.dat" ]; then
    gnuplot -e "set terminal png size 1000,500; set output '$1/compare.png';
        set style data histogram; set style fill solid; set yrange [0:*];
        set ylabel 'relative to the first'; set xtics rotate by -30;
        plot for [i=2:$(head -n 1 "$1/compare.dat" | wc -w)] '$1/compare.dat' using i:xtic(1) title columnheader(i)"
    echo "plot: $1/compare.png"
fi
