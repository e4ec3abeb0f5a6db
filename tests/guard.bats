# Sampled guard pages (HAKMEM_CONF=guard:N): what they catch, what the report says, whose SIGSEGV is whose; tests/behaviour/guarded.c.

load lib/common

setup() {
    guarded=$(hk_test_program behaviour/guarded)
    out="$BATS_TEST_TMPDIR/out"
    err="$BATS_TEST_TMPDIR/err"
}

# guarded_run STATUS KIND: with every allocation due to be guarded.
guarded_run() {
    local status=0
    hk_preload HAKMEM_CONF=guard:1 "$guarded" "$2" >"$out" 2>"$err" || status=$?
    [ "$status" -eq "$1" ] || fail "$2: status $status instead of $1: $(cat "$out" "$err")"
}

# expect_line REGEX: the first line of the report, then of standard output.
expect_line() {
    [[ "$(head -n 1 "$err")" =~ ^$1$ ]] || fail "the report begins with: $(head -n 1 "$err")"
    [ "$(grep -c '^hakmem: ' "$err")" -eq 1 ] || fail "more than one report: $(cat "$err")"
}

# functions_of HEADING: the names of the functions in that stack, by the files and offsets that the report tells.
functions_of() {
    local file offset
    local before=1 # an address follows its call, but that of an instruction that faulted
    [[ "$1" != read* && "$1" != write* ]] || before=0
    sed -n "/^  $1/,/^  [^ ]/{/^    #/p}" "$err" | sed -nE 's/.*\(([^()]*)\+(0x[0-9a-f]+)\)$/\1 \2/p' | while read -r file offset; do
        addr2line -f -e "$file" "$(printf '0x%x' $((offset - before)))" | head -n 1
        before=1
    done
}

# expect_stack HEADING FUNCTION...: these, from the innermost on, and main at last.
expect_stack() {
    local heading=$1 names
    names=$(functions_of "$heading")
    shift
    [[ "$names" == "$(printf '%s\n' "$@")"* ]] || fail "stack of '$heading':" "$names" "the report:" "$(cat "$err")"
    grep -qx main <<<"$names" || fail "no main in the stack of '$heading'" "$names"
}

@test "a use after free is told where it happens, with the stacks of access, free and allocation" {
    local block
    guarded_run 134 use_after_free
    block=$(cat "$out")
    expect_line "hakmem: use after free of $block \(47-byte block\)"
    grep -Eq '^  read of 0x[0-9a-f]+, 5 bytes into the block, by thread [0-9]+:$' "$err" || fail "$(cat "$err")"
    expect_stack "read of" look use_after_free
    expect_stack "freed by" give use_after_free
    expect_stack "allocated by" take_guarded use_after_free

    guarded_run 134 write_after_free
    expect_line "hakmem: use after free of $(cat "$out") \(47-byte block\)"
    grep -Eq '^  write of 0x[0-9a-f]+, 5 bytes into the block' "$err" || fail "$(cat "$err")"
    expect_stack "write of" touch write_after_free

    guarded_run 134 use_long_after_free
    expect_line "hakmem: use after free of $(cat "$out") \(47-byte block\)"
    guarded_run 134 freed_by_thread
    expect_stack "read of" look freed_by_thread
    [ "$(functions_of "freed by" | sed -n 1,2p)" = "give
free_it" ] || fail "$(cat "$err")"
    [ "$(sed -nE 's/^  (read of .*by|freed by|allocated by) thread ([0-9]+):$/\2/p' "$err" | sort -u | wc -l)" -eq 2 ]
}

@test "an overflow and an underflow are told where they happen, as far as the next guarded block" {
    guarded_run 134 overflow
    expect_line "hakmem: overflow of $(cat "$out") \(48-byte block\)"
    grep -Eq '^  write of 0x[0-9a-f]+, 0 bytes behind the block' "$err" || fail "$(cat "$err")"
    expect_stack "write of" touch overflow
    expect_stack "allocated by" take_guarded overflow
    guarded_run 134 far_overflow
    expect_line "hakmem: overflow of $(cat "$out") \(48-byte block\)"
    grep -Eq '^  read of 0x[0-9a-f]+, 9000 bytes behind the block' "$err" || fail "$(cat "$err")"
    guarded_run 134 underflow
    expect_line "hakmem: underflow of $(cat "$out") \(47-byte block\)"
    grep -Eq '^  read of 0x[0-9a-f]+, 1 byte before the block' "$err" || fail "$(cat "$err")"
}

@test "a function whose name the loader knows is told by it" {
    guarded_run 134 in_library
    sed -n '/^  allocated by/,$p' "$err" | grep -Eq '^    #0 0x[0-9a-f]+ (__)?strdup\+0x[0-9a-f]+ \(/.*libc.*\+0x[0-9a-f]+\)$' || fail "$(cat "$err")"
}

@test "what was written beside a block on its own page is told when it is freed" {
    guarded_run 134 small_overflow
    expect_line "hakmem: overflow of $(cat "$out") \(47-byte block\)"
    expect_stack "by thread" give small_overflow
    guarded_run 134 small_underflow
    expect_line "hakmem: underflow of $(cat "$out") \(47-byte block\)"
    expect_stack "allocated by" take_guarded small_underflow
}

@test "a second free, an interior free and a realloc after free are told with their stacks" {
    guarded_run 134 double_free
    expect_line "hakmem: double free of $(cat "$out") \(47-byte block\)"
    expect_stack "by thread" give double_free
    expect_stack "freed by" give double_free
    guarded_run 134 interior_free
    expect_line "hakmem: free of an interior pointer $(cat "$out") \(47-byte block\)"
    guarded_run 134 foreign_free
    expect_line "hakmem: free of a pointer that was never allocated, $(cat "$out")"
    guarded_run 134 realloc_foreign
    expect_line "hakmem: realloc of a pointer that was never allocated, $(cat "$out")"
    guarded_run 134 realloc_freed
    expect_line "hakmem: realloc of a freed block $(cat "$out") \(47-byte block\)"
    expect_stack "by thread" realloc_freed
}

@test "the program's own SIGSEGV handler is called after the report, whenever and however it was installed" {
    local kind
    for kind in handler later_handler on_alternate_stack plain_handler; do
        guarded_run 134 "$kind"
        expect_line "hakmem: use after free of 0x[0-9a-f]+ \(47-byte block\)"
        [ "$(tail -n 1 "$out")" = "$([ "$kind" = plain_handler ] && echo "plain handler" || echo handler)" ] || fail "$kind: $(cat "$out")"
    done
}

@test "other faults are the program's alone: its handler, the default action, a sent signal" {
    guarded_run 0 other_faults
    [ "$(cat "$out")" = "five faults" ]
    guarded_run 139 default_fault
    guarded_run 139 restored_fault
    [ ! -s "$out" ]
    guarded_run 139 chained_fault
    [ "$(cat "$out")" = chained ]
    guarded_run 139 sent_signal
    [ ! -s "$out" ]
    ! grep hakmem: "$err" || fail "something was said"
}

@test "guarded blocks are as good as others: content, alignment, sizes, realloc, sized free, fork" {
    guarded_run 0 good
    [ "$(cat "$out")" = good ]
    [ ! -s "$err" ] || fail "$(cat "$err")"
    (
        ulimit -v 300000
        guarded_run 0 good
    )
}

@test "at most 20 blocks a second are guarded" {
    guarded_run 0 rate
}

@test "the allocator's counts hold with guarded blocks, and real programs run" {
    hk_preload HAKMEM_CONF=guard:1 "$(hk_test_program behaviour/account)" 4 100
    require_command python3
    [ "$(hk_preload HAKMEM_CONF=guard:1 PYTHONMALLOC=malloc python3 -c 'print(sum(len(str(i)) for i in range(200000)))')" = 1088890 ]
}

@test "nothing is guarded unless it is asked for" {
    local status=0
    hk_preload "$guarded" use_after_free >"$out" 2>"$err" || status=$?
    [ "$status" -eq 1 ]
    [ "$(cat "$err")" = "no block is guarded" ]
}

@test "a tracer of guard_alloc switches it on and off in a process that runs" {
    require_bpf
    require_command bpftrace
    mkfifo "$BATS_TEST_TMPDIR/input"
    env "LD_PRELOAD=$HAKMEM_LIB" "$guarded" watch <"$BATS_TEST_TMPDIR/input" >"$out" 2>"$err" 3>&- &
    local pid=$! tracer
    exec 4>"$BATS_TEST_TMPDIR/input"
    env --default-signal=INT bpftrace -p "$pid" -e "usdt:$HAKMEM_LIB:hakmem:guard_alloc { @[arg1] = count(); }" >"$BATS_TEST_TMPDIR/trace" 2>&1 3>&- 4>&- &
    tracer=$!
    wait_for 20 grep -qx on "$out" || fail "not switched on: $(cat "$BATS_TEST_TMPDIR/trace")"
    sleep 0.5
    interrupt "$tracer"
    grep -Eq '^@\[47\]: [0-9]+$' "$BATS_TEST_TMPDIR/trace" || fail "$(cat "$BATS_TEST_TMPDIR/trace")"
    wait_for 20 grep -qx off "$out" || fail "not switched off"
    exec 4>&-
    wait "$pid"
    [ ! -s "$err" ] || fail "$(cat "$err")"
}
