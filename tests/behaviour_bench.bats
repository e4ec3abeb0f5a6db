# The benchmarks work. What they measure is not asserted: no test may depend on speed.

load lib/common

setup() {
    random_mixed=$HAKMEM_BUILD/bench/random_mixed
    require_file "$random_mixed" "a build with benchmarks"
}

# The answer without the measured fields.
steps() {
    sed 's/mops=[^ ]* rss_kib=[^ ]* //; s/ malloc=.*//'
}

@test "random_mixed takes the same steps on every allocator, and others with another seed" {
    local options=(--ops 100000 --ws 512 --threads 2)
    local without
    without=$("$random_mixed" "${options[@]}" | steps)
    [[ "$without" =~ ^allocs=[1-9][0-9]*\ bytes=[1-9][0-9]*$ ]]
    [ "$(hk_preload "$random_mixed" "${options[@]}" | steps)" = "$without" ]
    [ "$(env LD_PRELOAD="$HAKMEM_BUILD/bench/libfloor.so" "$random_mixed" "${options[@]}" | steps)" = "$without" ]
    [ "$("$random_mixed" "${options[@]}" --null | steps)" = "$without" ]
    [ "$("$random_mixed" "${options[@]}" --seed 2 | steps)" != "$without" ]
}

@test "the floor allocator serves a real program" {
    seq 100000 | sort -R --random-source=<(yes) >"$BATS_TEST_TMPDIR/lines"
    env LD_PRELOAD="$HAKMEM_BUILD/bench/libfloor.so" sort -n "$BATS_TEST_TMPDIR/lines" | cmp - <(seq 100000)
}

@test "bench/run writes a report on hakmem and the C library's allocator" {
    require_command python3
    "$HAKMEM_SOURCE/bench/run" --build "$HAKMEM_BUILD" --rounds 2 --scale 0.001 --only "WS 256" \
        --output "$BATS_TEST_TMPDIR/report" --raw "$BATS_TEST_TMPDIR/raw" 2>/dev/null
    grep -Eq '^\| hakmem \| [0-9.]+ \| [0-9.]+ \| [0-9.]+ \|  \| [0-9.]+ \|$' "$BATS_TEST_TMPDIR/report"
    grep -Eq '^\| glibc \|( [0-9.]+ \|){3} [0-9.]+ \([0-9.]+\.\.[0-9.]+\) \|' "$BATS_TEST_TMPDIR/report"
    python3 -c 'import json, sys; sys.exit(not all(run["mops"] > 0 for run in json.load(open(sys.argv[1]))))' \
        "$BATS_TEST_TMPDIR/raw"
    ! "$HAKMEM_SOURCE/bench/run" --build "$HAKMEM_BUILD" --peer none=/nonexistent.so --only "WS 256"
}

@test "bench/overhead tells what probes cost that are compiled out and that are watched" {
    require_command python3
    local variants=(--variant without) columns=without
    if [ "$(id -u)" -eq 0 ] && [ -x "$HAKMEM_BUILD/hkstat" ]; then
        variants+=(--variant attached --pin-dir "/sys/fs/bpf/hakmem-test-$BASHPID")
        columns="without | attached"
    fi
    "$HAKMEM_SOURCE/bench/overhead" --build "$HAKMEM_BUILD" --rounds 2 --scale 0.001 --only "WS 256" "${variants[@]}" \
        >"$BATS_TEST_TMPDIR/report" 2>"$BATS_TEST_TMPDIR/log" || fail "$(tail -n 3 "$BATS_TEST_TMPDIR/log")"
    grep -Fqx "| load | idle, median | $columns |" "$BATS_TEST_TMPDIR/report"
    grep -Eq '^\| random_mixed, WS 256 \| [0-9.]+ \| [0-9.]+ \([0-9.]+\.\.[0-9.]+\) \|' "$BATS_TEST_TMPDIR/report"
    ! "$HAKMEM_SOURCE/bench/overhead" --build "$HAKMEM_BUILD" --only "no such load"
}

@test "compiled in and idle: malloc and free are the same code, and no load takes a thousandth more instructions" {
    require_command python3
    require_command valgrind
    "$HAKMEM_SOURCE/bench/overhead" --build "$HAKMEM_BUILD" --instructions --scale 0.5 >"$BATS_TEST_TMPDIR/report"
    grep -Fqx "malloc and free, with probes and without: the same code." "$BATS_TEST_TMPDIR/report" || fail "$(cat "$BATS_TEST_TMPDIR/report")"
    awk -F '|' '/WS/ { share = $5; loads++; if (share + 0 > 0.05 || share + 0 < -0.05) bad = 1 } END { exit bad || loads != 3 }' \
        "$BATS_TEST_TMPDIR/report" || fail "$(cat "$BATS_TEST_TMPDIR/report")"
}
