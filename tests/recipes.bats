# recipes.bats - the one-liners of README.md and the commands of tools/WATCHING.md, run as they stand there.
load lib/common
load lib/watching

README="$HAKMEM_SOURCE/README.md"

setup() {
    watching_setup
    cd "$BATS_TEST_TMPDIR"
    export HOME="$BATS_TEST_TMPDIR" # perf keeps files there
    export PID LIB
    EVENTS=""
}

teardown() {
    [ -z "$EVENTS" ] || perf probe -q -d 'sdt_hakmem:*'
    watching_teardown
}

# one_liner COMMENT: the command of README.md that stands under the comment.
one_liner() {
    awk -v comment="# $1" '
        inside && (/^#/ || /^```/) { exit }
        inside { print; found = 1 }
        $0 == comment { inside = 1 }
        END { exit !found }' "$README" || fail "README.md has no '# $1'"
}

# try COMMENT PROBES LOAD [NAME=VALUE...]: the one-liner watches so many probes of the load, and is ended.
try() {
    local command probes="$2"
    require_command bpftrace
    command=$(one_liner "$1")
    shift 2
    start_load "$@"
    start_tool "$probes" bash -c "exec $command"
    go
    load_is_done
    end_tool
    nothing_amiss
}

@test "every one-liner has a test here" {
    local comment count=0
    while read -r comment; do
        grep -qF -e "try \"$comment\"" -e "one_liner \"$comment\"" "$BATS_TEST_FILENAME" || fail "no test of: $comment"
        count=$((count + 1))
    done < <(awk '/^```/ { block = ""; next } /^# / { block = substr($0, 3); next } /^bpftrace/ && block != "" { print block; block = "" }' "$README")
    [ "$count" -ge 12 ]
}

@test "one-liner: misses by size class" {
    try "misses by size class" 1 misses
    # Classes 2, 6 and 97 have blocks of 48, 112 and 327680 bytes; 120 is huge.
    says "@misses[2]: $(fact "class 48" misses)" "@misses[6]: $(fact "class 112" misses)" "@misses[97]: 7" "@misses[120]: 3"
    finish_load
}

@test "one-liner: hit rates, from the account's fields where src/account.h has them" {
    local check="$BATS_TEST_TMPDIR/check.c" command
    try "hit rates in per cent, of each class's life as it reports" 1 hit_rate
    grep -qE '^\[100, 105\) +[1-9]' "$OUT" || fail "no hit rate:" "$(cat "$OUT")"
    finish_load
    command=$(one_liner "hit rates in per cent, of each class's life as it reports")
    [[ "$command" == *"100 * *(uint64 *)(arg1 + 72) / *(uint64 *)(arg1 + 32)"* ]]
    printf '#include "account.h"\n_Static_assert(offsetof(struct hk_class_account, %s) == %d, "");\n' misses 72 >"$check"
    printf '_Static_assert(offsetof(struct hk_class_account, %s) == %d, "");\n' allocs 32 >>"$check"
    cc -std=c11 -fsyntax-only -I"$HAKMEM_SOURCE/src" "$check"
}

@test "one-liner: drains by thread and reason" {
    try "drains by thread and reason" 1 drains
    equal "$(sum_of @drains "drainer, [0-9]+, [0134]\]")" "$(fact "class 512" drains)" "drains of the thread"
    finish_load
}

@test "one-liner: requests that the shared pool could not serve" {
    try "requests that the shared pool could not serve, by reason, errno and stack" 1 fallback HAKMEM_CONF=superslabs:1
    grep -q '^@fails\[0, 0, $' "$OUT" || fail "no stack for the cap:" "$(cat "$OUT")"
    equal "$(awk '/^\]: / { sum += $2 } END { print sum }' "$OUT")" "$(fact peak fallbacks)" "fallbacks"
    grep -qE '^ +ask_for_memory\+' "$OUT" || fail "no caller:" "$(cat "$OUT")"
    finish_load
}

@test "one-liner: chunks of the fallback" {
    try "chunks of the fallback, every second" 2 fallback HAKMEM_CONF=superslabs:1
    equal "$(says_number "@chunks: " | tail -n 1)" "$(fact end chunks)" "chunks in the end"
    finish_load
}

@test "one-liner: failures of ACE" {
    try "failures of ACE by class and stack" 1 ace HAKMEM_CONF=ace_limit:16m
    awk '/^@fails\[/ { class = substr($1, 8) + 0 } /^\]: / { sum[class] += $2 } END { exit !(sum[0] == 7 && sum[2] == 5) }' "$OUT" ||
        fail "not 7 of class 0 and 5 of class 2:" "$(cat "$OUT")"
    finish_load
}

@test "one-liner: memory mapped, unmapped and purged" {
    try "memory mapped, unmapped and purged" 3 os_memory HAKMEM_CONF=ace_limit:16m
    equal "$(sum_of @KiB "hakmem:os_purge\]")" "$(fact memory purged)" "purged"
    equal "$(($(sum_of @KiB "hakmem:os_map\]") - $(sum_of @KiB "hakmem:os_unmap\]")))" \
        "$(($(fact memory mapped) - $(fact memory before)))" "mapped and not unmapped"
    finish_load
}

traces_madvise() {
    bpftool -j perf show 2>/dev/null | jq -e ".[] | select(.pid == $TOOL and .tracepoint == \"sys_enter_madvise\")" >/dev/null
}

@test "one-liner: how long purges take" {
    local command
    require_command bpftrace
    require_command bpftool
    require_command jq
    command=$(one_liner "how long purges take in the kernel")
    start_load os_memory
    start_tool 0 bash -c "exec $command"
    wait_for 60 traces_madvise || fail "does not attach:" "$(cat "$OUT" "$OUT.log")"
    go
    load_is_done
    end_tool
    nothing_amiss
    [ "$(counted_in @us)" -ge 1 ] || fail "no purge was timed:" "$(cat "$OUT")"
    finish_load
}

# tells COUNT PATTERN: so many lines match.
tells() {
    [ "$(grep -cE -e "$2" "$OUT")" -eq "$1" ] || fail "not $1 lines with $2:" "$(cat "$OUT")"
}

@test "one-liner: every NULL that is returned" {
    local command
    require_command bpftrace
    command=$(one_liner "every NULL that is returned: bytes, errno, stack")
    start_load alloc_fail
    start_tool 1 bash -c "exec $command"
    go
    load_is_done
    sleep 2 # what is printed is read ten times a second, and stands in a file only in the end
    end_tool
    nothing_amiss
    tells 5 '^6000000011 bytes, errno 12$'
    tells 1 '^9223372036854775808 bytes, errno 12$'
    tells 6 '^ +ask_for_memory\+'
    finish_load
}

@test "one-liner: misuse" {
    local command
    require_command bpftrace
    command=$(one_liner "misuse: kind, address, bytes, stack")
    start_load double_free
    start_tool 1 bash -c "exec $command"
    go
    tool_ends
    nothing_amiss
    tells 1 "^kind 0 at $(fact block block), 48 bytes\$"
}

@test "one-liner: slabs that each size class holds" {
    try "slabs that each size class holds" 2 growth
    # Classes 55, 65 and 97 have blocks of 8192, 20480 and 327680 bytes.
    says "@slabs[55]: $(fact "class 8192" slabs)" "@slabs[65]: 0" "@slabs[97]: 0"
    finish_load
}

@test "one-liner: all processes that run on one library" {
    local command first second
    require_command bpftrace
    mkdir build
    ln -s "$LIBRARY" build/libhakmem.so
    command=$(one_liner "all processes that run on one library, those too that start later")
    start_load misses
    first=$PID
    start_tool 1 bash -c "exec $command"
    go
    load_is_done
    finish_load
    start_load misses
    second=$PID
    go
    load_is_done
    end_tool
    nothing_amiss
    grep -qE "^@misses\[$first, load\]: [1-9]" "$OUT" || fail "$(cat "$OUT")"
    grep -qE "^@misses\[$second, load\]: [1-9]" "$OUT" || fail "$(cat "$OUT")"
    finish_load
}

@test "WATCHING.md: the library of a process" {
    start_load misses
    equal "$(bash -eu -c "$(page_block "" 1); echo \$LIB")" "$LIBRARY" "library"
}

@test "WATCHING.md: perf counts a probe, records its events with arguments and stacks, and leaves nothing behind" {
    local drains
    require_command perf
    LIB="$LIBRARY"
    EVENTS=yes
    start_load drains
    start_tool 1 bash -eu -c "$(page_block perf 1)"
    go
    load_is_done
    tool_ends
    drains=$(awk '/sdt_hakmem:tls_drain/ { print $1 }' "$OUT.log")
    [ "$drains" -ge "$(($(fact "class 256" drains) + $(fact "class 512" drains)))" ] || fail "$(cat "$OUT.log" "$FACTS")"
    finish_load
    start_load drains
    start_tool 1 bash -eu -c "$(page_block perf 2)"
    go
    load_is_done
    tool_ends
    # Class 23 has blocks of 512 bytes.
    equal "$(grep -c 'sdt_hakmem:tls_drain:.* arg1=23 ' "$OUT")" "$(fact "class 512" drains)" "drains of class 512"
    equal "$(grep -c 'sdt_hakmem:tls_drain:' "$OUT")" "$drains" "events recorded, and counted before"
    grep -q '^drainer ' "$OUT" || fail "no thread:" "$(cat "$OUT")"
    grep -qE '^[[:space:]]+[0-9a-f]+ drainer' "$OUT" || fail "no caller in the stacks:" "$(cat "$OUT")"
    bash -eu -c "$(page_block perf 3)"
    ! perf probe -l 2>&1 | grep -q "$LIBRARY" || fail "events are left"
    EVENTS=""
    finish_load
}

@test "WATCHING.md: gdb lists the probes" {
    local name
    require_command gdb
    start_load misses
    run bash -eu -c "$(page_block gdb 1)"
    [ "$status" -eq 0 ]
    while read -r name _; do
        grep -qE "^stap +hakmem +$name +0x[0-9a-f]+ +0x[0-9a-f]+ +.*libhakmem\.so" <<<"$output" || fail "no $name:" "$output"
    done < <(python3 "$HAKMEM_SOURCE/probes/make_table.py" --names)
    go
    load_is_done
    finish_load
}

@test "WATCHING.md: gdb stops where a bug is caught and where NULL is returned, with the stack of the caller" {
    require_command gdb
    start_load double_free
    start_tool 2 bash -eu -c "$(page_block gdb 2)"
    go
    tool_ends
    says "argument 0 is 0"
    grep -qE '^#[0-9]+ .* in double_free \(' "$OUT" || fail "$(cat "$OUT")"
    start_load alloc_fail
    start_tool 2 bash -eu -c "$(page_block gdb 2)"
    go
    load_is_done # it goes on
    tool_ends
    says "argument 0 is 9223372036854775808"
    grep -qE '^#[0-9]+ .* in ask_for_memory \(' "$OUT" || fail "$(cat "$OUT")"
    finish_load
}
