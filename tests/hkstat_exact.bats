# hkstat_exact.bats - what the programs gather is what happened: to the last event, for threads, children and processes that
# end, however they end.
load lib/common
load lib/attached

# Of a class that nothing but the test uses: C, and what serves it.
LARGE=3000
SMALL=5000

# kernel_is MAJOR MINOR: or later.
kernel_is() {
    local major minor
    IFS=.- read -r major minor _ < <(uname -r)
    [ "$major" -gt "$1" ] || { [ "$major" -eq "$1" ] && [ "$minor" -ge "$2" ]; }
}

# own_statistics_agree: every class's counts, and its hit rate, are in hkstat those that the process tells of itself.
own_statistics_agree() {
    tell stats | awk '{ print $0, sprintf("%.9f", $6 > $4 ? 0 : 1 - $6 / $4) }' >"$BATS_TEST_TMPDIR/own"
    hkstat --json -p "$PID" | jq -r '.processes[].classes[] | select(.allocs > 0)
        | "class \(.class) \(.size) \(.allocs) \(.frees) \(.misses) \(.hit_rate)"' |
        awk '{ $7 = sprintf("%.9f", $7); print }' >"$BATS_TEST_TMPDIR/seen"
    cmp -s "$BATS_TEST_TMPDIR/own" "$BATS_TEST_TMPDIR/seen" ||
        fail "the process says:" "$(cat "$BATS_TEST_TMPDIR/own")" "hkstat:" "$(cat "$BATS_TEST_TMPDIR/seen")"
}

@test "prime counts: hkstat, the maps, bpftrace and the allocator's own statistics agree, and nothing is lost" {
    require_command bpftrace
    require_command jq
    local class tracer out="$BATS_TEST_TMPDIR/bpftrace"
    attach_all
    start_counts
    # Reads the account by the address that a report gives: allocations stand at byte 32, frees at 40, misses at 72.
    bpftrace -p "$PID" -e "
        usdt:$LIBRARY:hakmem:cache_report { @base = arg1 - arg0 * arg3; @length = arg3; @began = 1; }
        usdt:$LIBRARY:hakmem:fast_miss { @misses[arg0] = count(); }
        usdt:$LIBRARY:hakmem:thread_exit /@began/ {
            \$i = 0;
            unroll(72) {
                \$a = @base + \$i * @length;
                if (*(uint64 *)(\$a + 32) > 0) {
                    printf(\"class %d %d %d\\n\", \$i, *(uint64 *)(\$a + 32), *(uint64 *)(\$a + 40));
                }
                \$i++;
            }
        }" >"$out" 2>"$out.log" 3>&- &
    tracer=$!
    STARTED+=" $tracer"
    wait_for 20 watchers_of_misses 1 || fail "bpftrace does not attach:" "$(cat "$out.log")"
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

# attached_in_the_middle ARGS...: the process has done its work, settled its counts, and does nothing more.
attached_in_the_middle() {
    local small large
    tell churn $SMALL 9973
    tell keep $LARGE 23
    small=$(class_of $SMALL)
    large=$(class_of $LARGE)
    tell stats >"$BATS_TEST_TMPDIR/own"
    attach "$@"
    refresh
    says_maps "9973 9973" account "$PID" "$small" allocs frees
    says_maps "23 0" account "$PID" "$large" allocs frees
    maps classes "$PID" >"$BATS_TEST_TMPDIR/seen"
    cmp -s "$BATS_TEST_TMPDIR/own" "$BATS_TEST_TMPDIR/seen" ||
        fail "the process says:" "$(cat "$BATS_TEST_TMPDIR/own")" "the maps:" "$(cat "$BATS_TEST_TMPDIR/seen")"
}

@test "an attach in the middle of a life shows all of it at once, though the process rests, and goes on from there" {
    local class
    start_counts
    attached_in_the_middle -p "$PID"
    tell churn $SMALL 101
    own_statistics_agree
    class=$(class_of $SMALL)
    says_maps "10074 10074" account "$PID" "$class" allocs frees
    finish exit
    says_maps "1 10097 10074" ended counts processes allocs frees
    nothing_lost
}

@test "an attach to a library shows each process that has it, and no other" {
    local first other
    start_counts
    first=$PID
    cp "$LIBRARY" "$SHARED/other.so"
    LIBRARY="$SHARED/other.so" start_counts
    other=$PID
    tell churn $SMALL 101
    tell stats >"$BATS_TEST_TMPDIR/others"
    start_counts
    attached_in_the_middle --library "$LIBRARY"
    [ "$(hkstat --json | jq -c '[.processes[].pid] | sort')" = "$(jq -nc '$ARGS.positional | sort' --jsonargs "$first" "$PID")" ] ||
        fail "$(hkstat --json | jq -c '.processes[].pid')"
    # The next attach finds its own.
    attach -p "$other"
    hkstat --json | jq -e --argjson pid "$other" '.processes[] | select(.pid == $pid) | .account_known and .allocs == 101' >/dev/null ||
        fail "$(hkstat --json | jq -c '.processes[] | [.pid, .account_known, .allocs]')"
    nothing_lost
}

@test "an attach in the middle of a life: a library that is stripped, and one that was replaced" {
    strip "$LIBRARY" -o "$SHARED/stripped.so"
    LIBRARY="$SHARED/stripped.so" start_counts
    rm "$SHARED/stripped.so"
    cp "$LIBRARY" "$SHARED/stripped.so"
    attached_in_the_middle -p "$PID"
    nothing_lost
}

@test "an attach in the middle of a life that ends without another event counts it as it was" {
    local way ends=0
    for way in exit kill; do
        start_counts
        tell churn $SMALL 9973
        tell stats >"$BATS_TEST_TMPDIR/own"
        attach --library "$LIBRARY"
        finish "$way"
        ends=$((ends + 1))
        wait_for 20 has_ended $ends
    done
    if kernel_is 6 16; then
        says_maps "2 19946 19946" ended counts processes allocs frees
    else
        says_maps 2 ended counts processes
    fi
    nothing_lost
}

@test "a child of fork that rests when it is attached to counts for itself, not for its parent" {
    start_counts
    tell churn $SMALL 9973
    tell hold $SMALL 101
    attach_all
    hkstat --json | jq -e --argjson pid "$PID" '
        [.processes[] | select(.pid != $pid) | .account_known, (.classes[] | select(.allocs > 90) | .allocs, .size)] == [true, 101, 5120]
    ' >/dev/null || fail "$(hkstat --json | jq -c '.processes[] | [.pid, .allocs]')"
    tell release
    wait_for 20 has_ended 1
    nothing_lost
}

@test "a child that has not entered the allocator yet has no account: its parent's, which it has a copy of, is never taken for its own" {
    start_counts
    tell churn $SMALL 9973
    tell stats >"$BATS_TEST_TMPDIR/own"
    tell clone
    attach_all
    [ "$(hkstat --json | jq -c --argjson pid "$PID" '[.processes[] | select(.pid != $pid) | .account_known, .allocs]')" = '[false,0]' ] ||
        fail "$(hkstat --json | jq -c '.processes[] | [.pid, .account_known, .allocs]')"
    tell release
    wait_for 20 has_ended 1
    says_maps "1 0" ended counts processes allocs
    nothing_lost
}

@test "a live thread's counts lag by its unspent budget at most, and not once it has ended" {
    local class allocs
    attach_all
    start_counts
    tell churn $SMALL 9973
    refresh
    tell stats >"$BATS_TEST_TMPDIR/own" # settles the calling thread's counts, which the refresh before has not seen
    class=$(awk '$4 == 9973 { print $2 }' "$BATS_TEST_TMPDIR/own")
    allocs=$(maps account "$PID" "$class" allocs)
    [ "$allocs" -le 9973 ] && [ "$allocs" -ge $((9973 - 1024)) ] || fail "the maps have $allocs of 9973 allocations"
    tell threads 7 $LARGE 9973
    own_statistics_agree
    class=$(class_of $LARGE)
    says_maps "$((7 * 9973)) $((7 * 9973))" account "$PID" "$class" allocs frees
    nothing_lost
}

@test "a process that ends by exit(3) leaves all its counts, by _exit and SIGKILL all but the unspent budgets" {
    local way allocs floor=0 ends=1
    ! kernel_is 6 16 || floor=$((9973 - 1024))
    attach_all
    start_counts
    tell churn $SMALL 9973
    finish exit
    says_maps "1 9973 9973" ended counts processes allocs frees
    for way in _exit kill; do
        start_counts
        tell churn $SMALL 9973
        finish "$way"
        ends=$((ends + 1))
        wait_for 20 has_ended $ends
    done
    allocs=$(maps ended counts allocs)
    [ "$allocs" -le $((3 * 9973)) ] && [ "$allocs" -ge $((9973 + 2 * floor)) ] || fail "$allocs allocations"
    says_maps "3 $allocs" summary processes_ended allocs
    nothing_lost
}

# has_ended N: so many processes of the load.
has_ended() {
    [ "$(maps ended counts processes)" -ge "$1" ]
}

@test "1,000 short-lived processes: each is counted, none stays" {
    local rounds=1000 seen
    attach_all
    start_counts
    tell spawn $rounds $SMALL 97
    wait_for 20 has_ended $rounds
    says_maps "$rounds $((rounds * 97)) $((rounds * 97))" ended counts processes allocs frees
    seen=$(bpftool -j map dump pinned "$PINS/maps/processes" | python3 -c 'import json, sys; print(len(json.load(sys.stdin)))')
    [ "$seen" -le 2 ] || fail "$seen processes are left"
    nothing_lost
    finish exit
    detach
    nothing_left
}

@test "a copy of an account that is older than what is known takes nothing back" {
    local program pid
    program=$(hk_test_program hkstat/hostile)
    attach_all --library "$program"
    mkfifo "$BATS_TEST_TMPDIR/input"
    "$program" older <"$BATS_TEST_TMPDIR/input" >"$BATS_TEST_TMPDIR/said" 3>&- &
    pid=$!
    STARTED+=" $pid"
    exec 5>"$BATS_TEST_TMPDIR/input"
    wait_for 20 grep -qx done "$BATS_TEST_TMPDIR/said"
    says_maps "1000 900" account "$pid" 5 allocs frees
    exec 5>&-
    wait "$pid"
}

@test "a child of fork counts for itself, a child of vfork is its parent" {
    local class
    attach_all
    start_counts
    tell churn $SMALL 101
    tell fork $SMALL 9973
    wait_for 20 has_ended 1
    says_maps "1 9973 9973" ended counts processes allocs frees
    tell vfork $SMALL 997
    own_statistics_agree
    class=$(class_of $SMALL)
    says_maps "1098 1098" account "$PID" "$class" allocs frees
    says_maps 1 ended counts processes
    nothing_lost
    finish exit
    detach
    nothing_left
}

@test "exec ends one account and begins another" {
    local class
    attach_all
    start_counts
    tell churn $SMALL 9973
    tell exec
    tell churn $SMALL 101
    says_maps 1 ended counts processes
    own_statistics_agree
    class=$(class_of $SMALL)
    says_maps "101 101" account "$PID" "$class" allocs frees
    finish exit
    says_maps 2 ended counts processes
    nothing_lost
}

@test "the summary is the sum of all accounts, live and ended" {
    attach_all
    start_counts
    tell threads 5 $SMALL 9973
    tell fork $LARGE 997
    refresh
    bpftool -j map dump pinned "$PINS/maps/accounts" >"$BATS_TEST_TMPDIR/accounts"
    bpftool -j map dump pinned "$PINS/maps/ended" >"$BATS_TEST_TMPDIR/ended"
    bpftool -j map dump pinned "$PINS/maps/summary" >"$BATS_TEST_TMPDIR/summary"
    python3 - "$BATS_TEST_TMPDIR" <<'EOF'
import json, sys
def read(name):
    return [entry["formatted"]["value"] for entry in json.load(open(f"{sys.argv[1]}/{name}"))]
absolute = {"version", "length", "class_idx", "block_size", "generation", "inherited", "inherited_bytes",
            "cap_blocks", "cached_blocks", "slabs", "slab_blocks"}
parts = read("accounts") + [value["totals"]["account"] for value in read("ended")]
total = read("summary")[0]["totals"]["account"]
assert total["allocs"] > 5 * 9973
for field, value in total.items():
    if field in absolute:
        assert value == 0, field
    elif isinstance(value, list):
        assert value == [sum(column) for column in zip(*(part[field] for part in parts))], field
    else:
        assert value == sum(part[field] for part in parts), field
EOF
    nothing_lost
}

@test "an account that is refreshed while its process calls exec and ends is counted once" {
    local reader rounds=100
    attach_all
    start_counts
    bash -c 'while cat "$1/refresh"; do :; done' _ "$PINS" 2>/dev/null 3>&- &
    reader=$!
    STARTED+=" $reader"
    tell spawn $rounds $SMALL 97
    kill -KILL "$reader"
    wait_for 20 has_ended $rounds
    says_maps "$rounds $((rounds * 97)) $((rounds * 97))" ended counts processes allocs frees
    nothing_lost
}

@test "a reader that is killed leaves the counts right and nothing behind" {
    local reader
    attach_all
    start_counts
    "$HKSTAT" --pin-dir "$PINS" --json 0.05 >"$BATS_TEST_TMPDIR/ticks" 3>&- &
    reader=$!
    STARTED+=" $reader"
    tell churn $SMALL 9973
    wait_for 20 test -s "$BATS_TEST_TMPDIR/ticks"
    kill -KILL "$reader"
    tell churn $SMALL 101
    own_statistics_agree
    nothing_lost
    detach
    watchers 0 0 "$PID"
    nothing_left
}

@test "probes all: as many misses and drains are seen as the account tells" {
    local told
    attach_all --probes all
    start_counts
    tell threads 3 $SMALL 997
    tell keep $LARGE 997
    finish exit
    told=$(maps summary misses)
    says_maps "$told" events 0
    nothing_lost
}
