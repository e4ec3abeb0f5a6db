# Fuzzers of what reads untrusted bytes, and of the allocator itself (tests/fuzz): some seconds each; tests/soak.sh runs them long.
# bats: parallel beside

load lib/common
load lib/fuzzers

SECONDS_EACH=$(if full_tier; then echo 120; else echo 4; fi)

# holds NAME: the fuzzer finds nothing, and did run.
holds() {
    require_command clang
    hk_fuzzer "$1" "$BATS_TEST_TMPDIR" || fail "it does not build"
    run hk_fuzz "$1" "$BATS_TEST_TMPDIR" "$SECONDS_EACH" "$RANDOM"
    [ "$status" -eq 0 ] || fail "$(cut -c 1-400 <<<"$output" | tail -n 40)"
    [[ "$output" =~ "Done "[1-9][0-9]+" runs" ]] || fail "$(cut -c 1-400 <<<"$output" | tail -n 40)"
}

@test "HAKMEM_CONF" {
    holds config
}

@test "the notes of a hostile library" {
    holds notes
}

@test "record files" {
    holds record
}

@test "records of hkheap" {
    holds heap
}

@test "BPF maps of any content" {
    holds maps
}

@test "programs of allocator calls" {
    holds program
}

@test "a bug is found" {
    local original=$HAKMEM_SOURCE/src/config.c HAKMEM_SOURCE=$HAKMEM_SOURCE
    require_command clang
    mkdir "$BATS_TEST_TMPDIR/tree"
    cp -R "$HAKMEM_SOURCE"/{src,probes,tests} "$BATS_TEST_TMPDIR/tree"
    HAKMEM_SOURCE=$BATS_TEST_TMPDIR/tree
    sed -i 's/ || n > option->high//' "$HAKMEM_SOURCE/src/config.c"
    ! cmp -s "$HAKMEM_SOURCE/src/config.c" "$original" || fail "nothing to break"
    hk_fuzzer config "$BATS_TEST_TMPDIR" || fail "it does not build"
    run hk_fuzz config "$BATS_TEST_TMPDIR" 60 1
    [ "$status" -ne 0 ] && [[ "$output" == *"Test unit written to config.crash-"* ]] || fail "$output"
}
