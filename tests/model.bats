# model.bats - random programs of allocator calls against a model of what each block must hold: tests/model/model.c.
# bats: parallel beside

load lib/common

SECONDS_EACH=$(if full_tier; then echo 60; else echo 5; fi)

SECONDS_WALKED=$(if full_tier; then echo 10; else echo 2; fi)

# passes [NAME=VALUE...] -- OPTION...
passes() {
    local -a settings=()
    while [ "$1" != -- ]; do
        settings+=("$1")
        shift
    done
    shift
    run hk_preload "${settings[@]}" "$(hk_test_program model/model)" --seconds "$SECONDS_EACH" "$@"
    [ "$status" -eq 0 ] && [[ "$output" =~ ^[1-9][0-9]*" programs passed"$ ]] || fail "${settings[*]} $*: $output"
}

@test "random programs of one thread" {
    passes -- --seed "$RANDOM"
}

@test "random programs of threads that swap blocks" {
    passes -- --seed "$RANDOM" --threads 4
}

@test "by the fallback, from two SuperSlabs, with no memory kept" {
    passes HAKMEM_CONF=region:0 -- --seed "$RANDOM" --threads 2
    passes HAKMEM_CONF=superslabs:2 -- --seed "$RANDOM" --threads 2
    passes HAKMEM_CONF=cache:0,retain:0,decay_ms:0,ace_limit:32k -- --seed "$RANDOM" --threads 2
}

@test "with guard pages, and hardened" {
    passes HAKMEM_CONF=guard:3 -- --seed "$RANDOM" --threads 2
    passes HAKMEM_CONF=harden:1 -- --seed "$RANDOM" --threads 2
}

@test "a bug is found, and shrunk to a few steps that are the same each time" {
    local buggy="$HAKMEM_BUILD/tests/model/libbuggy.so" first
    require_file "$buggy" "the allocator with a bug"
    run env "LD_PRELOAD=$buggy $HAKMEM_LIB" "$(hk_test_program model/model)" --seed 1 --programs 5
    [ "$status" -eq 1 ] || fail "$status: $output"
    first=$(grep -A 20 ' steps are enough:$' <<<"$output")
    [ "$(grep -c '^  ' <<<"$first")" -le 3 ] || fail "$first"
    [[ "$first" == *REALLOC* ]]
    run env "LD_PRELOAD=$buggy $HAKMEM_LIB" "$(hk_test_program model/model)" --seed 1 --programs 5
    [ "$(grep -A 20 ' steps are enough:$' <<<"$output")" = "$first" ] || fail "$first" "$output"
}

@test "the invariants of all tiers hold during programs, at their end, and in children" {
    local conf threads
    for conf in "" region:0 guard:3 harden:1 sample:4k,guard:5 superslabs:2 cache:0,retain:0,decay_ms:0,ace_limit:32k; do
        for threads in 1 3; do
            HAKMEM_CONF=$conf run "$(hk_test_program model/walked)" --seconds "$SECONDS_WALKED" --seed "$RANDOM" --threads "$threads"
            [ "$status" -eq 0 ] || fail "$conf, $threads threads: $output"
        done
    done
}

@test "an invariant that doesn't hold is told" {
    local -a told=("" "ones, nfree" "a one below the hint" "SuperSlab .*: free" "SuperSlab .*: dirty" "map entry is" "units used" \
        "blocks in slabs" "runs in use" "which its slab has too" "huge block 0x" "huge blocks of" "legacy chunks of" "which was written to")
    local which
    for which in "${!told[@]}"; do
        run "$(hk_test_program model/walked)" --programs 1 --steps 100 --spoil "$which"
        [ "$status" -eq $((which != 0)) ] || fail "$which: $status: $output"
        [ -z "${told[which]}" ] || grep -qE "${told[which]}" <<<"$output" || fail "$which: $output"
    done
}

@test "libc's allocator passes too" {
    run "$(hk_test_program model/model)" --seconds 1
    [ "$status" -eq 0 ] || fail "$output"
}
