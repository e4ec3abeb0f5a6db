# bpftrace.bats - each script of tools/ watches a load that provokes what it tells of; its numbers are those of the allocator's
# own statistics, and those that are known beforehand.
load lib/common
load lib/watching

TOOLS="$HAKMEM_SOURCE/tools"

setup() {
    watching_setup
    require_command bpftrace
}

# probes_of SCRIPT: how many probes of the library it watches.
probes_of() {
    grep -oE 'usdt:\$1:hakmem:[a-z_]+' "$1" | sort -u | wc -l
}

# trace NAME [ARGUMENT...]: the script tools/hakmem_NAME.bt watches; without arguments the process PID.
trace() {
    local script="$TOOLS/hakmem_$1.bt"
    shift
    if [ $# -eq 0 ]; then
        start_tool "$(probes_of "$script")" bpftrace -B line -p "$PID" "$script"
    else
        start_tool "$(probes_of "$script")" bpftrace -B line "$script" "$@"
    fi
}

# watch NAME LOAD [NAME=VALUE...]: the script watches all of the load, and is ended.
watch() {
    local name="$1"
    export BPFTRACE_CACHE_USER_SYMBOLS=1
    shift
    start_load "$@"
    trace "$name"
    go
    load_is_done
    end_tool
    nothing_amiss
}

@test "every script has a header, an example, a test, and a place in WATCHING.md" {
    local script name count=0
    for script in "$TOOLS"/hakmem_*.bt; do
        name=$(basename "$script" .bt)
        [ "$(sed -n 1p "$script")" = "#!/usr/bin/env bpftrace" ] || fail "$name: does not begin with the interpreter"
        [[ "$(sed -n 3p "$script")" == " * $name - "* ]] || fail "$name: says not what it is for"
        grep -q "^ \* usage: bpftrace .*$name.bt" "$script" || fail "$name: no usage"
        grep -q "^ \* Overhead: " "$script" || fail "$name: no word on its overhead"
        [ "$(head -n 1 "$TOOLS/${name}_example.txt")" = "$name.bt: an example" ] || fail "$name: no example"
        grep -qE "bpftrace .*hakmem_?.*$name\.bt|bpftrace .*$name\.bt" "$TOOLS/${name}_example.txt" || fail "$name: no command"
        grep -qF "$name.bt" "$TOOLS/WATCHING.md" || fail "$name: not in WATCHING.md"
        grep -qE "^@test \"${name#hakmem_}: " "$BATS_TEST_FILENAME" || fail "$name: no test"
        count=$((count + 1))
    done
    [ "$count" -ge 11 ]
}

@test "misses: as many as the statistics count, by class, with who served them and what they brought" {
    local size
    watch misses misses
    says "@misses[$PID, 327680]: 7" "@served_by[$PID, 0, new SuperSlab]: 3" "@misses[$PID, 0]: 3"
    for size in 48 112 327680 0; do
        says "@misses[$PID, $size]: $(fact "class $size" misses)"
        equal "$(sum_of @served_by "^@served_by.$PID, $size,")" "$(fact "class $size" refills)" "refills of class $size"
        equal "$(counted_in "@hits_before_a_miss[$PID, $size]")" "$(fact "class $size" misses)" "histogram of class $size"
    done
    equal "$(fact "class 112" allocs)" 9973 "allocations"
    grep -qE "^@blocks_a_refill\[$PID, 327680\]: count 7, average 1, total 7$" "$OUT" || fail "$(cat "$OUT")"
    finish_load
}

@test "misses: all processes of a library, also one that starts later; each has its own counts" {
    local -a pids inputs facts
    start_load misses
    pids[0]=$PID inputs[0]=$INPUT facts[0]=$FACTS
    trace misses "$LIBRARY"
    start_load misses
    pids[1]=$PID inputs[1]=$INPUT facts[1]=$FACTS
    for i in 0 1; do
        PID=${pids[i]} INPUT=${inputs[i]} FACTS=${facts[i]} GONE=0
        go
        load_is_done
    done
    end_tool
    nothing_amiss
    for i in 0 1; do
        PID=${pids[i]} INPUT=${inputs[i]} FACTS=${facts[i]}
        says "@misses[$PID, 112]: $(fact "class 112" misses)" "@misses[$PID, 48]: $(fact "class 48" misses)"
        finish_load
    done
}

@test "hit_rate: the misses that the statistics count, and the hit rate that follows from them" {
    local allocs misses
    watch hit_rate hit_rate
    allocs=$(says_number "@allocs[$PID, 112]: ") misses=$(says_number "@misses[$PID, 112]: ")
    equal "$misses" "$(fact "class 112" misses)" "misses"
    says "@hits_in_10000[$PID, 112]: $((10000 - misses * 10000 / allocs))"
    # What came since the last report, which is at most 64 ms older.
    [ "$allocs" -le "$(fact "class 112" allocs)" ] || fail "$allocs allocations, more than there were"
    [ "$allocs" -ge "$((19 * 997))" ] || fail "$allocs allocations, fewer than had come before the last report"
    [ "$(counted_in "@hit_rate_percent[$PID, 112]")" -ge 2 ] || fail "no histogram:" "$(cat "$OUT")"
    finish_load
}

@test "hit_rate: reads the account as hakmem_overview.bt does, which is held to src/account.h" {
    diff <(sed -n '/^struct hk_class_account {/,/^};/p' "$TOOLS/hakmem_overview.bt") \
        <(sed -n '/^struct hk_class_account {/,/^};/p' "$TOOLS/hakmem_hit_rate.bt") >&2
    [ "$(grep -c '^struct hk_class_account {' "$TOOLS/hakmem_hit_rate.bt")" -eq 1 ]
}

@test "drains: batches and blocks that the statistics count, by thread and reason" {
    local size
    watch drains drains
    for size in 256 512; do
        equal "$(sum_of @blocks "^@blocks.$PID, $size,")" "$(fact "class $size" drain_blocks)" "blocks of class $size"
    done
    says "@blocks[$PID, 256, trim]: 16"
    equal "$(sum_of @drains ", drainer, (overflow|idle|thread exit)\]")" "$(fact "class 512" drains)" "drains of the thread"
    grep -qE "^@drains\[$PID, [0-9]+, drainer, thread exit\]: [1-9]" "$OUT" || fail "no thread exit:" "$(cat "$OUT")"
    finish_load
}

@test "shared_fail: every request that the cap or the region refused, with the stack of who asked" {
    local reason option
    for option in cap=superslabs:1 region=region:0; do
        reason=${option%%=*}
        watch shared_fail fallback "HAKMEM_CONF=${option#*=}"
        says "@fails[$PID, 1024, $reason, 0]: $(fact "class 1024" fallbacks)"
        says "@fails[$PID, 12288, $reason, 0]: $(fact "class 12288" fallbacks)"
        equal "$(sum_of @fails "^@fails.$PID, [0-9]+, $reason, 0\]")" "$(fact peak fallbacks)" "all fallbacks"
        grep -q "^@by_stack\[$PID, $reason, $" "$OUT" || fail "no stacks:" "$(cat "$OUT")"
        grep -qE '^ +ask_for_memory\+[0-9]+$' "$OUT" || fail "no caller in the stacks:" "$(cat "$OUT")"
        finish_load
    done
}

@test "shared_fail: the kernel's refusal with its errno" {
    local pid
    start_load misses
    trace shared_fail "$LIBRARY"
    env "LD_PRELOAD=$LIBRARY" SCENARIO_MODE=kernel "$(hk_test_program probes/scenario)" shared_fail >"$FACTS" 3>&-
    end_tool
    nothing_amiss
    grep -qE '^@fails\[[0-9]+, 1024, kernel, 12\]: [1-9][0-9]*$' "$OUT" || fail "$(cat "$OUT")"
}

@test "legacy: chunks that come and go, second by second, and none left in the end; ends with the process" {
    start_load fallback HAKMEM_CONF=superslabs:1
    trace legacy
    go
    load_is_done
    wait_for 20 grep -q "^@grown_KiB\[$PID, 1024\]: " "$OUT" || fail "nothing told while it runs:" "$(cat "$OUT")"
    finish_load
    tool_ends
    nothing_amiss
    says "@chunks[$PID]: 0" "@fails[$PID, 1024]: $(fact "class 1024" fallbacks)"
    equal "$(fact end chunks)" 0 "chunks in the end"
    equal "$(sum_of @mapped "^@")" "$(fact peak chunks)" "chunks mapped"
    equal "$(sum_of @unmapped "^@")" "$(fact peak chunks)" "chunks unmapped"
    equal "$(sum_of @fails "^@")" "$(fact peak fallbacks)" "fallbacks"
    says "@grown_KiB[$PID, 1024]: 0" "@grown_KiB[$PID, 12288]: 0"
}

@test "ace_fail: Threshold and MapFail as often as the statistics count, with limit, size and stack" {
    watch ace_fail ace HAKMEM_CONF=ace_limit:16m
    says "@fails[$PID, Threshold, 0, none]: 7" "@fails[$PID, MapFail, 12, RLIMIT_AS]: $(fact ace_fails mapfail)"
    equal "$(fact ace_fails threshold) $(fact ace_fails alloc_fails)" "7 5" "failures"
    equal "$(counted_in "@request_KiB[$PID, Threshold]")" 7 "sizes"
    grep -qE '^\[16K, 32K\) +7 ' "$OUT" || fail "not 7 of 20 MiB:" "$(cat "$OUT")"
    grep -qE '^ +ask_for_memory\+[0-9]+$' "$OUT" || fail "no caller in the stacks:" "$(cat "$OUT")"
    finish_load
}

@test "os_memory: what was mapped, unmapped and purged is what is mapped in the end; every call but the first is timed" {
    local kind calls=0 timed=0 net
    start_load os_memory HAKMEM_CONF=ace_limit:16m
    trace os_memory
    go
    load_is_done
    wait_for 20 grep -q "^@KiB\[" "$OUT" || fail "nothing told while it runs:" "$(cat "$OUT")"
    end_tool
    nothing_amiss
    says "@calls[$PID, map, huge]: 11" "@calls[$PID, unmap, huge]: 11"
    equal "$(says_number "@mapped_KiB[$PID]: " | tail -n 1)" "$(fact memory mapped)" "mapped in the end"
    net=$(($(sum_of @KiB ", map, (SuperSlab|huge|metadata)") - $(sum_of @KiB ", unmap, (SuperSlab|huge|metadata)")))
    equal "$net" "$(($(fact memory mapped) - $(fact memory before)))" "mapped and not unmapped"
    equal "$(says_number "@KiB[$PID, purge, pages]: " | tail -n 1)" "$(fact memory purged)" "purged"
    for kind in map unmap purge; do
        calls=$((calls + $(sum_of @calls ", $kind, ")))
        timed=$((timed + $(counted_in "@latency_us[$PID, $kind]")))
    done
    equal "$timed" "$((calls - 1))" "calls that were timed"
    finish_load
}

@test "alloc_fail: each NULL with its size, errno and limit, and who asked" {
    watch_lines alloc_fail alloc_fail 6 ' load '
    says "@fails[$PID, 12, RLIMIT_AS]: 5" "@fails[$PID, 12, none]: 1"
    equal "$(fact alloc_fails alloc_fails)" 6 "failures"
    [ "$(grep -cE "^[0-9:]{8} $PID +$PID +load +6000000011 +12 RLIMIT_AS$" "$OUT")" -eq 5 ] || fail "$(cat "$OUT")"
    [ "$(grep -cE "^[0-9:]{8} $PID +$PID +load +9223372036854775808 +12 none$" "$OUT")" -eq 1 ] || fail "$(cat "$OUT")"
    [ "$(grep -cE '^ +ask_for_memory\+[0-9]+$' "$OUT")" -eq 6 ] || fail "not six callers:" "$(cat "$OUT")"
    finish_load
}

# watch_lines NAME LOAD COUNT PATTERN: until so many lines match.
watch_lines() {
    start_load "$2"
    trace "$1"
    go
    load_is_done
    wait_for 20 lines_seen "$3" "$4" || fail "not $3 lines with $4:" "$(cat "$OUT")"
    end_tool
    nothing_amiss
}

lines_seen() {
    [ "$(grep -c -e "$2" "$OUT")" -ge "$1" ]
}

@test "misuse: kind, address and size of a block that is freed twice; ends with the process" {
    start_load double_free
    trace misuse
    go
    tool_ends
    nothing_amiss
    says "@misuse[DOUBLE_FREE]: 1"
    grep -qE "^[0-9:]{8} $PID +$PID +load +DOUBLE_FREE +$(fact block block) +48$" "$OUT" || fail "$(cat "$OUT" "$FACTS")"
}

@test "misuse: every kind there is, by its name" {
    local kinds kind scenario address
    kinds=$(sed -n 's/^HK_MISUSE(\([A-Z_]*\),.*/\1/p' "$HAKMEM_SOURCE/src/misuse.def")
    scenario=$(hk_test_program probes/scenario)
    start_load misses
    trace misuse "$LIBRARY"
    env "LD_PRELOAD=$LIBRARY" "$scenario" misuse >"$FACTS" 3>&-
    wait_for 20 lines_seen "$(wc -w <<<"$kinds")" ' scenario ' || fail "$(cat "$OUT")"
    end_tool
    nothing_amiss
    for kind in $kinds; do
        says "@misuse[$kind]: 1"
    done
    while read -r _ kind address size; do
        kind=$(sed -n "$((kind + 1))p" <<<"$kinds")
        grep -qE " scenario +$kind +0x$(printf %x "$address") +$size$" "$OUT" || fail "no $kind:" "$(cat "$OUT" "$FACTS")"
    done <"$FACTS"
}

@test "growth: the slabs that each class holds, and what it grew by" {
    watch growth growth
    says "@slabs[$PID, 8192]: $(fact "class 8192" slabs)" "@slabs[$PID, 20480]: 0" "@slabs[$PID, 327680]: 0"
    says "@grown_KiB[$PID, 8192]: $(($(fact "class 8192" slabs) * 64))"
    says "@grown_KiB[$PID, 20480]: 0" "@grown_KiB[$PID, 327680]: 0"
    finish_load
}

@test "no script makes two keys of one" { # by bytes behind the end of a string, as a conditional expression leaves them
    ! grep -nE '\? *"' "$TOOLS"/hakmem_*.bt || fail "a string from a conditional expression"
    start_load ace HAKMEM_CONF=ace_limit:16m
    trace ace_fail "$LIBRARY"
    go
    load_is_done
    end_tool
    [ -z "$(sed -n 's/: [0-9]*$//p' "$OUT" | grep '^@fails' | sort | uniq -d)" ] || fail "$(cat "$OUT")"
    finish_load
}

@test "overview: is tested with the demonstration" {
    grep -q 'hakmem_overview.bt reads the account as' "$HAKMEM_SOURCE/tests/demo.bats"
}

@test "a process that is not there, and one that does not run on hakmem, are told" {
    run bpftrace -p 4194304 "$TOOLS/hakmem_misses.bt"
    [ "$status" -ne 0 ]
    [[ "$output" == *"No such process"* ]]
    run bpftrace -p $$ "$TOOLS/hakmem_misses.bt"
    [ "$status" -ne 0 ]
    [[ "$output" == *"couldn't get argument 0 for :hakmem:fast_miss"* ]]
}
