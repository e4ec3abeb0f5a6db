# The unit tests that a machine as slow as valgrind's can run, under memcheck: no value is used before it was set, no system call gets
# one. Those of limits, clocks and resident memory are left out: valgrind has its own of each.
# bats: beside

load lib/common

memcheck() {
    valgrind -q --error-exitcode=9 --child-silent-after-fork=yes "$@"
}

@test "memcheck finds nothing in the unit tests" {
    local name
    require_command valgrind
    for name in account ace_cap misuse os_text outer_map sample shared_pool size_class slab threads; do
        require_file "$HAKMEM_BUILD/tests/unit/test_$name" "the unit tests"
        run memcheck "$HAKMEM_BUILD/tests/unit/test_$name"
        [ "$status" -eq 0 ] || fail "test_$name: $status: $output"
    done
}

@test "memcheck finds what it is there for" {
    require_command valgrind
    printf '#include <stdlib.h>\nint main(void)\n{\n    int *p = malloc(4);\n    return *p == 3 ? 1 : 0;\n}\n' >"$BATS_TEST_TMPDIR/bug.c"
    gcc -g -o "$BATS_TEST_TMPDIR/bug" "$BATS_TEST_TMPDIR/bug.c"
    run memcheck "$BATS_TEST_TMPDIR/bug"
    [ "$status" -eq 9 ] && [[ "$output" == *"uninitialised"* ]] || fail "$status: $output"
}
