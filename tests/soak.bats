# tests/soak.sh: that it runs, and that it can fail.
# bats: beside

load lib/common

soak() {
    run "$HAKMEM_SOURCE/tests/soak.sh" --log "$BATS_TEST_TMPDIR/log" "$@"
}

@test "what a soak does in hours passes in seconds" {
    require_command stress-ng
    soak --scale 0.005 stress redis build
    [ "$status" -eq 0 ] && [[ "${lines[-1]}" =~ ^"soak: 6 passed, 0 failed, "[0-9]+" s"$ ]] || fail "$output"
    grep -qE '^[1-9][0-9]* snapshots, [1-9][0-9]* requests$' "$BATS_TEST_TMPDIR/log/redis.log"
    grep -qE '^[1-9][0-9]* object files are the same$' "$BATS_TEST_TMPDIR/log/build.log"
}

@test "what fails is told, with its log, and the exit status is 1" {
    mkdir -p "$BATS_TEST_TMPDIR/tree/tests/model"
    cp "$HAKMEM_LIB" "$BATS_TEST_TMPDIR/tree"
    printf '#!/bin/sh\necho lost a block\nexit 1\n' >"$BATS_TEST_TMPDIR/tree/tests/model/model"
    printf '#!/bin/sh\nexit 0\n' >"$BATS_TEST_TMPDIR/tree/tests/model/walked"
    chmod +x "$BATS_TEST_TMPDIR/tree/tests/model/"*
    HAKMEM_BUILD=$BATS_TEST_TMPDIR/tree soak --scale 0.001 model
    [ "$status" -eq 1 ] && [[ "$output" == *"model-default-1 ... FAILED with 1: $BATS_TEST_TMPDIR/log/model-default-1.log"* ]] ||
        fail "$output"
    [[ "${lines[-1]}" =~ ^"soak: 30 passed, 30 failed, " ]] || fail "$output"
}

@test "what it is asked must make sense" {
    local word
    for word in --scale=1 nothing --log; do
        soak "$word"
        [ "$status" -eq 2 ] && [[ "$output" == usage:* ]] || fail "$word: $output"
    done
    soak --scale 0
    [ "$status" -eq 2 ] && [[ "$output" == *"a number from 0.001 to 100" ]] || fail "$output"
    HAKMEM_BUILD=$BATS_TEST_TMPDIR soak --scale 1
    [ "$status" -eq 2 ] && [[ "$output" == *"name the tree by HAKMEM_BUILD" ]] || fail "$output"
    soak --help
    [ "$status" -eq 0 ] && [[ "$output" == usage:* ]]
}
