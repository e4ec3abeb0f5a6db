# hkstat_exact.bats - what the programs gather is what happened: to the last event, for threads, children and processes that
# end, however they end.
load lib/common
load lib/attached

setup_file() {
    attached_setup_file
}

teardown_file() {
    attached_teardown_file
}

setup() {
    attached_setup
}

teardown() {
    attached_teardown
}

# Of a class that nothing but the test uses: C, and what serves it.
LARGE=3000
SMALL=5000

# kernel_is MAJOR MINOR: or later.
kernel_is() {
    local major minor
    IFS=.- read -r major minor _ < <(uname -r)
    [ "$major" -gt "$1" ] || { [ "$major" -eq "$1" ] && [ "$minor" -ge "$2" ]; }
}

# own_statistics_agree: every class's counts in the maps are those that the process tells of itself.
own_statistics_agree() {
    tell stats >"$BATS_TEST_TMPDIR/own"
    refresh
    maps classes "$PID" >"$BATS_TEST_TMPDIR/seen"
    diff "$BATS_TEST_TMPDIR/own" "$BATS_TEST_TMPDIR/seen" >&2 || fail "the maps and the process's own statistics differ"
}

@test "prime counts: the maps, bpftrace and the allocator's own statistics agree, and nothing is lost" {
    require_command bpftrace
    local class tracer out="$BATS_TEST_TMPDIR/bpftrace"
    attach_all
    start_counts
    # Reads the account by the address that a report gives: allocations stand at byte 32, frees at 40, misses at 72.
    bpftrace -p "$PID" -e "
        usdt:$LIBRARY:hakmem:cache_report { @base = arg1 - arg0 * arg3; @length = arg3; @began = 1; }
        usdt:$LIBRARY:hakmem:fast_miss { @misses[arg0] = count(); }
        usdt:$LIBRARY:hakmem:thread_exit /@began/ {
            \$i = 0;
            unroll(121) {
                \$a = @base + \$i * @length;
                if (*(uint64 *)(\$a + 32) > 0) {
                    printf(\"class %d %d %d\\n\", \$i, *(uint64 *)(\$a + 32), *(uint64 *)(\$a + 40));
                }
                \$i++;
            }
        }" >"$out" 2>"$out.log" 3>&- &
    tracer=$!
    STARTED+=" $tracer"
    wait_for 40 watchers_of_misses 1 || fail "bpftrace does not attach:" "$(cat "$out.log")"
    tell keep $LARGE 23
    tell churn $SMALL 9973
    own_statistics_agree
    class=$(class_of $LARGE)
    says_maps "23 0" account "$PID" "$class" allocs frees
    class=$(class_of $SMALL)
    says_maps "9973 9973" account "$PID" "$class" allocs frees
    maps account "$PID" "$class" misses >"$BATS_TEST_TMPDIR/misses"
    finish exit
    wait_for 20 grep -q "^class $class 9973 9973$" "$out" || fail "bpftrace read something else:" "$(cat "$out" "$out.log")"
    kill -INT "$tracer"
    wait "$tracer"
    grep -qx "@misses\[$class\]: $(cat "$BATS_TEST_TMPDIR/misses")" "$out" || fail "other misses:" "$(cat "$out")"
    says_maps "1 9996 9973" ended counts processes allocs frees
    nothing_lost
}

watchers_of_misses() {
    python3 - "$LIBRARY" "$PID" "$1" <<'EOF'
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.environ["HAKMEM_SOURCE"] + "/tests/probes")
from semaphores import semaphores
sys.exit(0 if next(semaphores(sys.argv[1], sys.argv[2])) == int(sys.argv[3]) else 1)
EOF
}
