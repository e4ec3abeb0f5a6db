#!/bin/sh
# localize_hidden.sh READELF OBJCOPY IN OUT
# Copies an object with its hidden symbols made local, so that they can't clash with a program's own names. The marker of
# the probes' notes (_.stapsdt.base) stays: it is shared by all objects with probes, and identified by its name.
set -eu
readelf=$1 objcopy=$2 in=$3 out=$4

"$readelf" -sW "$in" | awk '
    ($5 == "GLOBAL" || $5 == "WEAK") && $6 == "HIDDEN" && $7 != "UND" && $8 !~ /^_\./ { print $8 }
' | sort -u > "$out.names"
"$objcopy" --localize-symbols="$out.names" "$in" "$out"
