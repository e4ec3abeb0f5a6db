# bpftool.bats - the commands on bpftool of tools/WATCHING.md, run as they stand there, and tools/hkstat-bpftool.
# shellcheck disable=SC2031 # bats runs each test in a subshell
load lib/common
load lib/watching

setup() {
    watching_setup
    require_command bpftool
    require_command jq
    require_file "$HAKMEM_BUILD/hkstat" "hkstat"
    cd "$BATS_TEST_TMPDIR"
    export PID PINS="/sys/fs/bpf/hakmem-bpftool-$BASHPID"
    PATH="$HAKMEM_SOURCE/tools:$HAKMEM_BUILD:$PATH"
    STATISTICS=""
}

teardown() {
    [ -z "$STATISTICS" ] || sysctl -q -w "kernel.bpf_stats_enabled=$STATISTICS"
    [ ! -d "$PINS" ] || hkstat detach --pin-dir "$PINS"
    watching_teardown
}

# attach_as_told: by the page's own command, but in a folder of this test.
attach_as_told() {
    local block
    block=$(page_block bpftool 1)
    [ "$(head -n 1 <<<"$block")" = "export PINS=/sys/fs/bpf/hakmem" ]
    bash -eu -c "$(tail -n +2 <<<"$block")"
}

# told NUMBER: runs a block of the page; OUT is what it says.
told() {
    bash -eu -o pipefail -c "$(page_block bpftool "$1")" >"$OUT" 2>&1 || fail "$(cat "$OUT")"
}

# The load NAME has been watched, and waits.
watched() {
    start_load "$@"
    attach_as_told
    go
    load_is_done
}

@test "the programs and the links are listed, one for each probe" {
    local name
    watched misses
    told 2
    while read -r name _; do
        grep -qE "^[0-9]+: kprobe +name $name " "$OUT" || fail "no program $name:" "$(cat "$OUT")"
    done < <(python3 "$HAKMEM_SOURCE/probes/make_table.py" --names)
    # A link of uprobe_multi is a type that bpftool 7.1 has no name for.
    [ "$(grep -cE '^[0-9]+: (type 12|uprobe_multi|perf_event) +prog [0-9]+' "$OUT")" -ge 20 ] || fail "$(cat "$OUT")"
    finish_load
}

@test "each map is dumped with its fields' names, and holds what the allocator counts" {
    local name
    watched ace HAKMEM_CONF=ace_limit:16m
    told 3
    for name in "$PINS"/maps/*; do
        name=$(basename "$name")
        grep -qE "^[0-9]+: [a-z_]+ +name $name " "$OUT" || fail "no map $name:" "$(cat "$OUT")"
        grep -qE "bpftool map dump pinned .PINS/maps/$name " "$PAGE" || fail "the page does not dump $name"
    done
    for name in '"pid": '"$PID" '"block_size": 16,' '"comm": "load"' '"with_stacks": 1' '"path": "'"$LIBRARY"'"' '"hits_per_miss": \[' \
        '"ace_fail_sizes": \[' '"last_errno": 12' '"processes_ended": 0' '"frames": \[[0-9]+'; do
        grep -qE "$name" "$OUT" || fail "no $name:" "$(cat "$OUT")"
    done
    finish_load
}

@test "as JSON: the processes, their size classes, events, failures, and nothing lost" {
    watched ace HAKMEM_CONF=ace_limit:16m
    cat "$PINS/refresh" >"$BATS_TEST_TMPDIR/refreshed"
    told 4
    grep -qE "^$PID load: [0-9]+ SuperSlabs, [0-9.]+ KiB mapped$" "$OUT" || fail "$(cat "$OUT")"
    says "{\"pid\":$PID,\"ace_fails\":[7,0,5],\"last_errno\":[0,0,12]}"
    equal "$(tail -n 1 "$OUT")" 0 "lost"
    equal "$(grep '^\[' "$OUT" | jq '.[10]')" 12 "events of ace_fail, the eleventh probe"
    finish_load
}

@test "as JSON: allocations and misses of a class as the statistics count them" {
    local size
    watched misses
    cat "$PINS/refresh" >"$BATS_TEST_TMPDIR/refreshed"
    told 4
    for size in 48 112 327680 0; do
        says "$PID $size bytes: $(fact "class $size" allocs) allocations, $(fact "class $size" misses) misses"
    done
    says "$PID 112 bytes: 9973 allocations, $(fact "class 112" misses) misses"
    finish_load
}

@test "what the programs cost" {
    local told_by
    require_command sysctl
    STATISTICS=$(cat /proc/sys/kernel/bpf_stats_enabled)
    start_load misses
    attach_as_told
    told 5 &
    told_by=$!
    wait_for 20 grep -qx 1 /proc/sys/kernel/bpf_stats_enabled
    go
    load_is_done
    wait "$told_by"
    # Nobody else runs these: what is counted is the load's.
    says_runs fast_miss "$(($(fact "class 48" misses) + $(fact "class 112" misses) + $(fact "class 327680" misses) + $(fact "class 0" misses)))"
    equal "$(cat /proc/sys/kernel/bpf_stats_enabled)" 0 "statistics in the end"
    finish_load
}

says_runs() { # PROGRAM RUNS
    grep -qE "^$1: $2 runs, [1-9][0-9]* ns each$" "$OUT" || fail "not $2 runs of $1:" "$(cat "$OUT" "$FACTS")"
}

@test "hkstat-bpftool: the totals and the size classes are those of the statistics, and no rate mixes with them" {
    local size
    watched misses
    told 6
    # Totals, then rates of a process that rests.
    grep -qE "^ +$PID load +[1-9][0-9]+ +[0-9.]+ +[0-9]+ +[0-9]+ +0 +0 +0 +[0-9]+ +([0-9]+|-)$" "$OUT" || fail "$(cat "$OUT")"
    grep -qE "^ +$PID load +0 +- +0 +0 +0 +0 +0 +[0-9]+ +([0-9]+|-)$" "$OUT" || fail "$(cat "$OUT")"
    for size in 48 112 327680; do
        row_is "$size" "$(fact "class $size" allocs)" "$(fact "class $size" misses)" "$(fact "class $size" slabs)"
    done
    row_is huge 3 3 0
    finish_load
    run hkstat-bpftool -d "$PINS" -p "$PID" 1 1
    [ "$status" -eq 1 ] # it has ended
}

# row_is SIZE ALLOCATIONS MISSES SLABS: the row of a class, in the first table of the process.
row_is() {
    awk -v size="$1" -v row="$1 $2 $3 $4" '
        /^process .* since the start; lost 0$/ { here = 1 }
        /^process .* per second/ { here = 0 }
        here && $1 == size && $1 " " $2 " " $4 " " $10 == row { found = 1 }
        END { exit !found }' "$OUT" || fail "not $2 allocations, $3 misses and $4 slabs of $1:" "$(cat "$OUT")"
}

@test "hkstat-bpftool: rates are those of the seconds between, failures too" {
    local table
    start_load "misses ace" HAKMEM_CONF=ace_limit:16m
    attach_as_told
    go
    load_is_done
    hkstat-bpftool -d "$PINS" 2 2 >"$OUT" 2>&1 &
    table=$!
    STARTED+=" $table"
    wait_for 20 grep -q "since the start; lost 0" "$OUT"
    go
    load_is_done
    wait "$table"
    # 12 failures of ACE and 5 NULLs, in 2 seconds and a little.
    awk -v pid="$PID" '/per second/ { here = 1 } here && $1 == pid && $8 >= 4 && $8 <= 6 && $9 >= 1 && $9 <= 3 { found = 1 } END { exit !found }' \
        "$OUT" || fail "$(cat "$OUT")"
    finish_load
}

@test "hkstat-bpftool: a name that would be a terminal's command, or JSON, does no harm" {
    local name
    for name in $'\e[31mred' '", "pid": 1,' '=was time 1'; do
        start_load misses "HAKMEM_LOAD_NAME=$name"
        attach_as_told
        go
        load_is_done
        run hkstat-bpftool -d "$PINS" 1 1
        [ "$status" -eq 0 ] || fail "$output"
        [[ "$output" != *$'\e'* ]] || fail "an escape reached the terminal"
        grep -qE "^ +$PID .* [1-9][0-9]{3,} +9[0-9]\.[0-9]+ " <<<"$output" || fail "$name: $output"
        [ "$(grep -cE '^ +[0-9]+ ' <<<"$output")" -eq 1 ] || fail "$name: $output"
        finish_load
        hkstat detach --pin-dir "$PINS"
    done
}

@test "hkstat-bpftool: needs bpftool and awk, and sleep between two tables" {
    local tools="$BATS_TEST_TMPDIR/tools" name
    mkdir "$tools"
    for name in bpftool awk sleep; do
        ln -s "$(command -v "$name")" "$tools/$name"
    done
    watched misses
    env -i "PATH=$tools" "$HAKMEM_SOURCE/tools/hkstat-bpftool" -d "$PINS" 1 2 >"$OUT" 2>"$OUT.log" || fail "$(cat "$OUT" "$OUT.log")"
    [ ! -s "$OUT.log" ] || fail "$(cat "$OUT.log")"
    grep -qE "^ +$PID load +[1-9]" "$OUT" || fail "$(cat "$OUT")"
    env -i "PATH=$tools" "$HAKMEM_SOURCE/tools/hkstat-bpftool" -h | grep -q "^  -d DIR "
    finish_load
}

@test "hkstat-bpftool: wrong usage, nothing attached, and a process that is not watched" {
    local wrong
    run hkstat-bpftool -h
    [ "$status" -eq 0 ]
    [[ "$output" == usage:* ]]
    for wrong in "-p x" "-p" "0" "1x" "1.2.3" "." "1 x" "1 2 3" "-z"; do
        # shellcheck disable=SC2086
        run hkstat-bpftool $wrong
        [ "$status" -eq 2 ] || fail "hkstat-bpftool $wrong: $status, $output"
    done
    run hkstat-bpftool -d "$PINS"
    [ "$status" -eq 1 ]
    [[ "$output" == *"nothing is attached: there is no $PINS"* ]]
    start_load misses
    attach_as_told
    run hkstat-bpftool -d "$PINS" -p 1
    [ "$status" -eq 1 ]
    [[ "$output" == *"process 1 is not watched"* ]]
}

@test "detaching takes all of it away" {
    watched misses
    told 7
    [ ! -e "$PINS" ]
    armed 0
    finish_load
}
