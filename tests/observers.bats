# observers.bats - tracers come and go, are killed, and work side by side, while threads of a process are busy in the allocator: its
# counts stay right, its blocks whole, and no semaphore stays up.

load lib/common
load lib/attached

teardown() {
    attached_teardown # first what holds the events
    [ -z "${EVENTS:-}" ] || perf probe -q -d 'sdt_hakmem:*'
}

ROUNDS=$(if full_tier; then echo 1000; else echo 10; fi)

# start_busy SECONDS: four threads exchange blocks, and check every byte; PID is the process.
start_busy() {
    env "LD_PRELOAD=$LIBRARY" "$(hk_test_program behaviour/threads)" exchange 4 "$1" >"$BATS_TEST_TMPDIR/busy" 2>&1 3>&- &
    PID=$!
    STARTED+=" $PID"
    wait_for 20 grep -q libhakmem "/proc/$PID/maps"
}

ends_well() {
    wait "$PID" || fail "the load ended with $?: $(cat "$BATS_TEST_TMPDIR/busy")"
}

runs() {
    [ -d "/proc/$PID" ] && [ "$(awk '{ print $3 }' "/proc/$PID/stat")" != Z ]
}

@test "tracers that attach and detach again and again leave a busy process as it was" {
    local round=0
    start_busy 2000000000
    while [ "$round" -lt "$ROUNDS" ]; do
        attach -p "$PID" --probes all >/dev/null
        detach >/dev/null
        round=$((round + 1))
        runs || ends_well
    done
    watchers 0 0 "$PID"
    nothing_left
    kill "$PID" # which tells it to end: it looks at every block once more
    ends_well
    grep -q '^exchange: ' "$BATS_TEST_TMPDIR/busy" || fail "$(cat "$BATS_TEST_TMPDIR/busy")"
}

@test "a tracer that is killed leaves no semaphore up, and no count wrong" {
    require_command bpftrace
    local round tracer
    attach_all
    start_counts
    for round in 1 2 3; do
        bpftrace -p "$PID" -e "usdt:$LIBRARY:hakmem:fast_miss { @ = count(); }" >"$BATS_TEST_TMPDIR/trace" 2>&1 3>&- &
        tracer=$!
        wait_for 20 eval '[ "$(python3 "$HAKMEM_SOURCE/tests/watching/armed.py" "$LIBRARY" "$PID")" -ge 15 ]'
        tell churn 3000 1009
        kill -KILL "$tracer"
        wait "$tracer" || [ $? -eq 137 ]
    done
    tell churn 3000 1009
    finish exit
    says_maps "1 4036 4036" ended counts processes allocs frees
    nothing_lost
    detach
    nothing_left
}

counts_events() { # PID: a perf that has begun
    [ -n "$(find "/proc/$1/fd" -lname 'anon_inode:*perf_event*')" ]
}

@test "perf, bpftrace and hkstat at once see the same" {
    require_command bpftrace
    require_command perf
    local misses bpf
    export HOME="$BATS_TEST_TMPDIR" # perf keeps files there
    attach_all --probes all
    start_counts
    perf buildid-cache --add "$LIBRARY"
    perf probe -q sdt_hakmem:fast_miss >"$BATS_TEST_TMPDIR/probe" 2>&1 || fail "$(cat "$BATS_TEST_TMPDIR/probe")"
    EVENTS=yes
    env --default-signal=INT perf stat -x, -e sdt_hakmem:fast_miss -p "$PID" -o "$BATS_TEST_TMPDIR/perf" 3>&- &
    local perf=$!
    STARTED+=" $perf"
    env --default-signal=INT bpftrace -p "$PID" -e "usdt:$LIBRARY:hakmem:fast_miss { @ = count(); } BEGIN { printf(\"attached\n\"); }" \
        >"$BATS_TEST_TMPDIR/trace" 2>&1 3>&- &
    bpf=$!
    STARTED+=" $bpf"
    wait_for 20 grep -q attached "$BATS_TEST_TMPDIR/trace"
    wait_for 20 counts_events "$perf" || fail "perf does not begin"
    misses=$(tell stats | awk '{ sum += $6 } END { print sum + 0 }')
    tell threads 4 3000 997
    tell keep 5000 997
    misses=$(($(tell stats | awk '{ sum += $6 } END { print sum + 0 }') - misses))
    interrupt "$bpf"
    interrupt "$perf" || [ $? -eq 130 ] || fail "perf ended with $?: $(cat "$BATS_TEST_TMPDIR/perf")"
    perf probe -q -d 'sdt_hakmem:*'
    EVENTS=""
    [ "$misses" -gt 10 ]
    grep -qx "@: $misses" "$BATS_TEST_TMPDIR/trace" || fail "$misses misses; bpftrace: $(cat "$BATS_TEST_TMPDIR/trace")"
    [ "$(awk -F, '/fast_miss/ { sum += $1 } END { print sum + 0 }' "$BATS_TEST_TMPDIR/perf")" = "$misses" ] ||
        fail "$misses misses; perf: $(cat "$BATS_TEST_TMPDIR/perf")"
    finish exit
    says_maps 1 ended counts processes
    nothing_lost
}
