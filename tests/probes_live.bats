# probes_live.bats - every probe of the table fires on the live kernel, and what it says is true.
#
# tests/probes/scenario.c makes a probe fire, tests/probes/trace_probes.c records it and all others meanwhile, and
# tests/probes/check_events.py checks each event for itself, with the others, and against what the scenario did.
# A test "NAME: ..." is the scenario of the probe NAME: the first test finds a probe that has none.
# shellcheck disable=SC2046,SC2086 # options are meant to be split into words
load lib/common

PROBES="$HAKMEM_SOURCE/probes"
CHECK_EVENTS="$HAKMEM_SOURCE/tests/probes/check_events.py"

setup_file() {
    # A probe belongs to a file: a copy is watched here and used by nobody else.
    cp "$HAKMEM_LIB" "$BATS_FILE_TMPDIR/libhakmem.so"
}

setup() {
    require_command python3
    require_bpf
    STARTED=""
    WATCHED="$BATS_FILE_TMPDIR/libhakmem.so"
    TRACE=$(hk_test_program probes/trace_probes)
    SCENARIO=$(hk_test_program probes/scenario)
}

teardown() {
    end_started
}

# fires PROBE [-m MODE] [-a BYTES] [-d BYTES] [-e] [NAME=VALUE]...: run its scenario under the tracer and check what was seen.
# MODE is what the check expects; the options after it are the tracer's.
fires() {
    local probe="$1" mode="" events="$BATS_TEST_TMPDIR/events" facts="$BATS_TEST_TMPDIR/facts" name
    local -a options=() environment=()
    while read -r name _; do # to watch guard_alloc changes where blocks lie
        [ "$name" = guard_alloc ] && [ "$probe" != guard_alloc ] || options+=(-p "$name")
    done < <(python3 "$PROBES/make_table.py" --names)
    shift
    while [ $# -gt 0 ]; do
        case "$1" in
        -m) mode="$2" && shift ;;
        -a | -d) options+=("$1" "$2") && shift ;;
        -e) options+=("$1") ;;
        *) environment+=("$1") ;;
        esac
        shift
    done
    env "${environment[@]}" timeout 120 "$TRACE" "${options[@]}" "$WATCHED" "$events" "$SCENARIO" "$probe" >"$facts" ||
        fail "$probe $mode: the scenario ended with $?"
    python3 "$CHECK_EVENTS" "$probe" "$events" "$facts" $mode || fail "$probe $mode: wrong, see above"
}

@test "every probe of the table has a scenario, a check and a test" {
    local name missing=""
    while read -r name _; do
        grep -q "^@test \"$name: " "$BATS_TEST_FILENAME" || missing+=" test:$name"
        grep -q "{\"$name\", " "$HAKMEM_SOURCE/tests/probes/scenario.c" || missing+=" scenario:$name"
        python3 "$CHECK_EVENTS" --names | grep -qx "$name" || missing+=" check:$name"
    done < <(python3 "$PROBES/make_table.py" --names)
    [ -z "$missing" ] || fail "not there:$missing"
}

# traced_table OPTION...: a program that fires each probe with arguments which name their places, twice.
traced_table() {
    local program="$BATS_TEST_TMPDIR/fire_all" place=0 name args arg i expected
    echo 'void fire_all(void); int main(void) { fire_all(); fire_all(); return 7; }' >"$program.c"
    cc -O2 -D_GNU_SOURCE -I"$PROBES" "$program.c" "$HAKMEM_SOURCE/tests/probes/fire_all.c" "$PROBES/probes.c" -o "$program"
    run "$TRACE" "$@" "$program" "$program.events" "$program"
    [ "$status" -eq 7 ] || fail "$output"
    while read -r name args; do
        place=$((place + 1)) i=0
        expected="$name PID PID"
        for arg in $args; do
            i=$((i + 1))
            case "$arg" in
            s_*) expected+=" -$((place * 256 + i))" ;;
            *) expected+=" $((place * 256 + i))" ;;
            esac
        done
        [ "$name" != cache_report ] || expected+=" 0 0 0 0" # what it points to can't be read
        echo "$expected"
    done < <(python3 "$PROBES/make_table.py" --names) >"$program.once"
    cat "$program.once" "$program.once" <(echo "lost 0") >"$program.expected"
    sed -E 's/^([a-z_]+) ([0-9]+) \2 /\1 PID PID /' "$program.events" | diff "$program.expected" - >&2
}

@test "the tracer reads every argument of every probe, by one link" {
    traced_table
}

@test "the tracer reads every argument of every probe, by perf events" {
    traced_table -e
}

@test "the check finds events that can't be true" {
    local events="$BATS_TEST_TMPDIR/events" facts="$BATS_TEST_TMPDIR/facts" change expected
    fires os_unmap HAKMEM_CONF=superslabs:6
    while IFS='|' read -r change expected; do
        awk -v CONVFMT=%.0f "$change { print }" "$events" >"$events.false" # mawk rounds addresses else
        ! cmp -s "$events" "$events.false" || fail "changes nothing: $change"
        run python3 "$CHECK_EVENTS" os_unmap "$events.false" "$facts"
        [ "$status" -eq 1 ] || fail "found nothing wrong after: $change"
        [[ "$output" == *"$expected"* ]] || fail "not called '$expected' after: $change" "$output"
    done <<'CHANGES'
$1 == "lost" { $2 = 1 }|the trace ends with
$1 == "os_unmap" && !n++ { next }|bytes are mapped
$1 == "os_map" && $6 == 3 { $5 += 4096 }|bytes are mapped
$1 == "os_purge" { $6 += 1 }|bytes were purged
$1 == "fast_miss" && !n++ { next }|c_misses does not count
$1 == "fast_miss" { $5 = 5000 }|the class is
$1 == "fast_miss" { $6 = 6 }|server is none of
$1 == "tls_drain" { $6 += 16 }|bytes are not blocks x size
$1 == "tls_drain" { $8 += 1 }|c_drains does not count
$1 == "shared_fail" { $6 = 1 }|errno_value is none of
$1 == "legacy_alloc" && !n++ { next }|a slab in neither
$1 == "legacy_free" { $6 *= 2; $5 += 65536 }|frees no chunk
$1 == "superslab_map" && !n++ { next }|c_superslabs is
$1 == "slab_acquire" { $6 += 1 }|not the class's units
$1 == "slab_release" && $4 < 72 && !n++ { next }|c_slabs is
$1 == "thread_start" { $5 = 2 }|c_threads is
$1 == "cache_report" { $NF = 1 }|another class's account
CHANGES
}

@test "fast_miss: class, size, who served, blocks, hits since the last, and its number" {
    fires fast_miss
    fires fast_miss -e
}

@test "cache_report: points to the class's account" {
    fires cache_report
}

@test "tls_drain: overflow, thread exit, trim, idleness and fork, each with its reason" {
    fires tls_drain HAKMEM_CONF=decay_ms:10
}

@test "slab_acquire: the slabs of small, mid and large classes" {
    fires slab_acquire
}

@test "slab_release: the slabs that were acquired" {
    fires slab_release
}

@test "superslab_map: address and number" {
    fires superslab_map
}

@test "superslab_unmap: address and number" {
    fires superslab_unmap
}

@test "shared_fail: the cap, the region and the kernel, each with its reason and errno" {
    fires shared_fail -m cap HAKMEM_CONF=superslabs:1
    fires shared_fail -m region HAKMEM_CONF=region:0
    fires shared_fail -m region HAKMEM_CONF=region:2m
    fires shared_fail -m kernel SCENARIO_MODE=kernel
}

@test "legacy_alloc: a chunk of the class, and the mapping behind it" {
    fires legacy_alloc HAKMEM_CONF=superslabs:1
    fires legacy_alloc HAKMEM_CONF=region:0
}

@test "legacy_free: chunks that were mapped" {
    fires legacy_free HAKMEM_CONF=superslabs:1
}

@test "ace_fail: Threshold, Exhaustion, and MapFail with errno and each resource limit" {
    fires ace_fail -m threshold HAKMEM_CONF=ace_limit:16m
    fires ace_fail -m exhaustion HAKMEM_CONF=region:0 SCENARIO_MODE=exhaustion
    fires ace_fail -m as -a 200000000 SCENARIO_MODE=as
    fires ace_fail -m data -d 200000000 SCENARIO_MODE=data
    fires ace_fail -m map_count SCENARIO_MODE=map_count
}

@test "ace_fail: MapFail for more than the machine can promise" {
    [ "$(cat /proc/sys/vm/overcommit_memory)" != 1 ] || skip_or_fail "vm.overcommit_memory is 1: the kernel promises all"
    fires ace_fail -m overcommit SCENARIO_MODE=overcommit
}

@test "ace_adapt: caps rise below the target and fall above it" {
    fires ace_adapt -m 90
    fires ace_adapt -m 50 HAKMEM_CONF=ace_hit_rate:50
}

@test "os_map: every purpose, and the bytes mapped by then" {
    fires os_map HAKMEM_CONF=superslabs:2
}

@test "os_unmap: every purpose, and the bytes mapped by then" {
    fires os_unmap HAKMEM_CONF=superslabs:6
}

@test "os_purge: within what is mapped, and the bytes purged by then" {
    fires os_purge
}

@test "alloc_fail: the size, ENOMEM and the limit" {
    fires alloc_fail -m size
    fires alloc_fail -m as -a 200000000 SCENARIO_MODE=limit
    fires alloc_fail -m data -d 200000000 SCENARIO_MODE=limit
}

@test "guard_alloc: address, size and count of each guarded block, and the misuse of one" {
    fires guard_alloc HAKMEM_CONF=guard:1
}

@test "misuse: kind, address and size of each" {
    fires misuse
}

@test "thread_start: once a thread" {
    fires thread_start
}

@test "thread_exit: once a thread, the main thread included" {
    fires thread_exit
}

@test "process_fork: in children of fork, of their children and of a raw clone, with the parent's pid" {
    fires process_fork
}

# watchers LEAST GREATEST PID: so many watch the probes of a process.
watchers() {
    [ "$(python3 "$HAKMEM_SOURCE/tests/probes/semaphores.py" "$WATCHED" "$3")" = "$1 $2" ]
}

@test "a process that runs is watched at once, and no longer once the tracer was killed" {
    local process tracer each
    env LD_PRELOAD="$WATCHED" sleep 60 3>&- &
    process=$!
    STARTED="$process"
    wait_for 20 watchers 0 0 "$process"
    for each in "" -e; do
        "$TRACE" $each "$WATCHED" "$BATS_TEST_TMPDIR/events" sleep 20 3>&- &
        tracer=$!
        STARTED+=" $tracer"
        wait_for 20 watchers 1 1 "$process" || fail "the semaphores are not up $each"
        kill -KILL "$tracer"
        wait_for 20 watchers 0 0 "$process" || fail "the semaphores stay up $each"
    done
}

# seen_by PID OUTPUT: a run whose first event is there; bpftrace does not say when it has attached.
seen_by() {
    env LD_PRELOAD="$WATCHED" "$SCENARIO" fast_miss >/dev/null
    kill -0 "$1" 2>/dev/null || fail "bpftrace ended:" "$(cat "$2.log")"
    grep -q '^fast_miss ' "$2"
}

# complete PID OUTPUT: the three huge blocks are the last that a run takes.
complete() {
    [ "$(grep -c "^fast_miss $1 $1 120 " "$2")" -eq 3 ]
}

@test "bpftrace reads fast_miss by its name" {
    require_command bpftrace
    local events="$BATS_TEST_TMPDIR/events" facts="$BATS_TEST_TMPDIR/facts" pid
    bpftrace -B line -e "usdt:$WATCHED:hakmem:fast_miss /comm == \"scenario\"/ {
        printf(\"fast_miss %d %d %d %d %d %d %d %d\\n\", pid, tid, arg0, arg1, arg2, arg3, arg4, arg5); }" \
        >"$events" 2>"$events.log" 3>&- &
    STARTED=$!
    wait_for 60 seen_by "$STARTED" "$events" || fail "bpftrace saw nothing:" "$(cat "$events.log")"
    env LD_PRELOAD="$WATCHED" "$SCENARIO" fast_miss >"$facts" 3>&- &
    pid=$!
    wait "$pid"
    wait_for 30 complete "$pid" "$events" || fail "bpftrace did not see all of process $pid:" "$(cat "$events")"
    { grep "^fast_miss $pid " "$events" && echo "lost 0"; } >"$events.run"
    python3 "$CHECK_EVENTS" fast_miss "$events.run" "$facts" || fail "$(cat "$events.run")"
}
