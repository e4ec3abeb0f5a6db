# A growing realloc of large blocks: where it stays, where it moves its pages, and what it costs.

load lib/common

setup() {
    program=$(hk_test_program behaviour/moved_pages)
}

# injected ERROR[:when=N] ARGS...: the program with its calls of mremap made to fail; they are in $calls.
injected() {
    require_command strace
    calls="$BATS_TEST_TMPDIR/calls"
    strace -o "$calls" -e trace=mremap -e "inject=mremap:error=$1" -E "LD_PRELOAD=$HAKMEM_LIB" "$program" "${@:2}"
}

@test "a block that grows from 64 KiB to 256 MiB keeps its pages from 512 KiB on" {
    local how size
    require_root # to see the pages' frames
    for ((size = 64; size < 262144; size *= 2)); do
        if [ "$size" -lt 512 ]; then echo "$size copied"; else echo "$size moved"; fi
    done >"$BATS_TEST_TMPDIR/expected"
    for how in realloc rallocx; do
        hk_preload "$program" steps "$how" 64 262144 hemmed >"$BATS_TEST_TMPDIR/steps"
        diff "$BATS_TEST_TMPDIR/expected" "$BATS_TEST_TMPDIR/steps" >&2
    done
}

@test "a block with free memory behind it stays" {
    require_root
    hk_preload "$program" steps realloc 512 4096 >"$BATS_TEST_TMPDIR/steps"
    diff <(printf '512 stayed\n1024 stayed\n2048 moved\n') "$BATS_TEST_TMPDIR/steps" >&2
}

@test "a step that moves pages is one move for the kernel" {
    require_root
    require_command strace
    strace -o "$BATS_TEST_TMPDIR/calls" -e trace=mremap -E "LD_PRELOAD=$HAKMEM_LIB" \
        "$program" steps realloc 512 262144 hemmed >"$BATS_TEST_TMPDIR/steps"
    [ "$(grep -c moved "$BATS_TEST_TMPDIR/steps")" -eq 9 ]
    [ "$(grep -c MREMAP_MAYMOVE "$BATS_TEST_TMPDIR/calls")" -eq 9 ]
    ! grep 'MREMAP_MAYMOVE.* = -1 ' "$BATS_TEST_TMPDIR/calls" || fail "a move was refused"
}

@test "where the kernel refuses to move pages, they are copied and nothing is lost" {
    require_root
    injected ENOMEM steps realloc 64 65536 hemmed >"$BATS_TEST_TMPDIR/steps"
    [ "$(grep -c copied "$BATS_TEST_TMPDIR/steps")" -ge 8 ]
    ! grep moved "$BATS_TEST_TMPDIR/steps" || fail "moved without mremap"
    injected ENOMEM:when=2 steps realloc 512 4096 hemmed >"$BATS_TEST_TMPDIR/steps" # they have moved, but can't grow there
    diff <(printf '512 copied\n1024 moved\n2048 moved\n') "$BATS_TEST_TMPDIR/steps" >&2
    [ "$(grep -c INJECTED "$calls")" -eq 1 ]
}

@test "a kernel that does not know how to leave the addresses is asked once" {
    require_root
    injected EINVAL steps rallocx 64 2048 hemmed >"$BATS_TEST_TMPDIR/steps"
    grep -x "512 copied" "$BATS_TEST_TMPDIR/steps"
    ! grep moved "$BATS_TEST_TMPDIR/steps" || fail "moved without mremap"
    [ "$(grep -c MREMAP_DONTUNMAP "$calls")" -eq 1 ]
}

@test "a block that grows again and again settles on pages that are there" {
    local most
    for most in 1024 2048; do
        hk_preload HAKMEM_CONF=decay_ms:60000 "$program" settle realloc "$most"
    done
}

@test "growth again and again leaves no mappings behind" {
    hk_preload "$program" again realloc 100
    hk_preload "$program" again rallocx 30
}

@test "under ulimit -v a block grows until it is refused, and is whole then" {
    local limit
    for limit in 60000 200000 400000; do
        (ulimit -v "$limit" && hk_preload "$program" limit realloc)
    done
    (ulimit -v 200000 && hk_preload HAKMEM_CONF=region:0 "$program" limit realloc)
    (ulimit -d 150000 && hk_preload "$program" limit rallocx)
}

@test "memory that the program locked stays locked" {
    require_root # else RLIMIT_MEMLOCK is in the way
    hk_preload "$program" locked realloc
}
