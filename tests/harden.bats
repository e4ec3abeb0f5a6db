# Hardened mode (HAKMEM_CONF=harden:1): what it catches and what a program sees of it; tests/behaviour/hardened.c.
# bats: beside

load lib/common

SIZES=(1 24 100 1000 8000 30000 100000 1000000 5000000)

setup() {
    hardened=$(hk_test_program behaviour/hardened)
    export HAKMEM_CONF=harden:1
}

# stopped TEXT KIND SIZE...: with that line, which names the block, and SIGABRT.
stopped() {
    local text=$1 kind=$2 size status out="$BATS_TEST_TMPDIR/out" err="$BATS_TEST_TMPDIR/err"
    shift 2
    for size in "$@"; do
        status=0
        hk_preload "$hardened" "$kind" "$size" >"$out" 2>"$err" || status=$?
        [ "$status" -eq 134 ] || fail "$kind $size: status $status: $(cat "$out" "$err")"
        [[ "$(grep hakmem: "$err")" =~ ^"hakmem: $text $(cat "$out")"(" ("[0-9]+"-byte block)")?$ ]] || fail "$kind $size: $(cat "$out" "$err")"
    done
}

# good KIND SIZE...
good() {
    local kind=$1 size
    shift
    for size in "$@"; do
        run hk_preload "$hardened" "$kind" "$size"
        [ "$status" -eq 0 ] && [ "$output" = good ] || fail "$kind $size: $status: $output"
    done
}

@test "a write of one byte beyond what was asked for is found at free, realloc and malloc_usable_size" {
    local kind
    for kind in overflow overflow_by_eight overflow_then_realloc overflow_then_size; do
        stopped "overflow of" "$kind" "${SIZES[@]}"
    done
}

@test "a write before a block is found by the canary of the block that it belongs to" {
    local out status=0
    out=$(hk_preload "$hardened" underflow 48 2>&1) || status=$?
    [ "$status" -eq 134 ] && [[ "$out" == *"hakmem: overflow of 0x"*" (64-byte block)" ]] || fail "$status: $out"
}

@test "a write to a free block is found before it is handed out again, and by malloc_trim" {
    stopped "write after free to" write_after_free 1 24 100 1000 8000 30000
    stopped "write after free to" write_long_after_free 1 24 100 1000 8000 30000
}

@test "a second free is found however many other blocks were freed meanwhile, and from any thread" {
    stopped "double free of" double_free "${SIZES[@]}"
    stopped "double free of" double_free_after_100 1 24 100 1000 8000 30000 100000 1000000
    stopped "double free of" double_free_in_thread 1 24 100 1000 8000 30000 100000 1000000
}

@test "a sized free must tell the very size that was asked for" {
    stopped "sized free with the wrong size of" sized_by_one 2 24 100 1000 8000 30000 100000 1000000 5000000
}

@test "the address space between two SuperSlabs, and before the first, can't be touched" {
    local kind status
    for kind in beyond_superslab before_superslab; do
        status=0
        hk_preload "$hardened" "$kind" 48 >/dev/null 2>&1 || status=$?
        [ "$status" -eq 139 ] || fail "$kind: $status"
    done
    run hk_preload HAKMEM_CONF=harden:0 "$hardened" beyond_superslab 48
    [ "$status" -eq 0 ] || fail "without hardened mode: $status: $output"
}

@test "a page on either side of huge blocks, and of the fallback's memory, can't be touched" {
    good fenced 5000000 4194305 20000000
    run hk_preload HAKMEM_CONF=harden:1,region:0 "$hardened" fenced 48
    [ "$status $output" = "0 good" ] || fail "$output"
    run hk_preload HAKMEM_CONF=harden:0 "$hardened" fenced 5000000
    [ "$status" -eq 1 ] || fail "without hardened mode: $status: $output"
}

@test "blocks come in no order, come back late, read as zeros after their free, and have the size that was asked for" {
    good order 16 48 200
    good reuse 24 1000
    good zero 1 24 100 1000 8000 30000 100000 1000000
    good exact_size 48
    good shrunk 24 1000 8000 20000 28525 100000 1000000 5000000
}

@test "without hardened mode the same programs see neither: the checks can fail" {
    local kind
    for kind in order zero reuse; do
        run hk_preload HAKMEM_CONF=harden:0 "$hardened" "$kind" 48
        [ "$status" -eq 1 ] || fail "$kind: $status: $output"
    done
    run hk_preload HAKMEM_CONF=harden:0 "$hardened" overflow 40
    [ "$status" -eq 0 ] || fail "overflow: $status: $output"
}

@test "the counts hold; memory refused, forks of threads at work" {
    good counts 48
    good memory_refused 48
    good forks 48
}

@test "misuse that is caught without it is caught with it" {
    require_command python3
    python3 "$HAKMEM_SOURCE/tests/misuse/judge.py" --preload "$HAKMEM_LIB" "$HAKMEM_BUILD/tests/misuse" \
        double_free double_free_after_another double_free_after_thread free_interior_16 free_interior_8 free_interior_1 \
        free_interior_half free_static free_stack free_mapped free_low free_wild free_high realloc_freed realloc_interior \
        realloc_wild free_sized_wrong free_sized_next free_sized_smaller free_sized_twice
}

@test "the whole conformance program passes, and real programs run" {
    run hk_preload "$(hk_test_program conformance/conformance)"
    [ "$status" -eq 0 ] && [[ "$output" == *", 0 failed, on hakmem"* ]] || fail "$output"
    run hk_preload "$(hk_test_program conformance/cxx)"
    [ "$status" -eq 0 ] || fail "$output"
    require_command python3
    [ "$(hk_preload PYTHONMALLOC=malloc python3 -c 'print(sum(len(str(i)) for i in range(200000)))')" = 1088890 ]
    require_command git
    cd "$BATS_TEST_TMPDIR"
    hk_preload git init -q repository
    cp -r "$HAKMEM_SOURCE/src" repository/
    hk_preload git -C repository add .
    hk_preload git -C repository -c user.name=a -c user.email=b commit -q -m c
    hk_preload git -C repository gc -q
    run hk_preload git -C repository fsck
    [ "$status" -eq 0 ] && [[ "$output" != *error* ]] || fail "$output"
}
