#!/bin/sh
# rename_exports.sh READELF OBJCOPY PREFIX IN OUT
# Copies an object with PREFIX before the name of every symbol that it exports, but for its own hk_ functions and for what
# compilers and sanitizers put there. Done after compiling, so that aliases and attributes follow.
set -eu
readelf=$1 objcopy=$2 prefix=$3 in=$4 out=$5

"$readelf" -sW "$in" | awk -v prefix="$prefix" '
    ($5 == "GLOBAL" || $5 == "WEAK") && $6 == "DEFAULT" && $7 != "UND" &&
    $8 !~ /^(hk_|_\.|DW\.|__asan|__odr_asan|__tsan|__ubsan|__sanitizer|__start_|__stop_)/ { print $8, prefix $8 }
' | sort -u > "$out.names"
grep -q "^malloc " "$out.names" || { echo "$in exports no malloc" >&2; exit 1; }
"$objcopy" --redefine-syms="$out.names" "$in" "$out"
