#!/usr/bin/env bats
# The C and C++ interfaces against their documents: each program of tests/conformance runs on hakmem, and once more without
# it, as the test of the test.
# bats: beside

load lib/common

# on_hakmem PROGRAM ARGS...: it passes, and hakmem served it.
on_hakmem() {
    local program output
    program=$(hk_test_program "conformance/$1")
    shift
    output=$(hk_preload "$program" "$@") || fail "$output"
    [[ "$output" == *", on hakmem"* ]] || fail "not served by hakmem: $output"
}

# without_hakmem PROGRAM ARGS...
without_hakmem() {
    local program output
    program=$(hk_test_program "conformance/$1")
    shift
    output=$("$program" "$@") || fail "$output"
    [[ "$output" == *", on another allocator"* ]] || fail "$output"
}

@test "every function and every alias is there" {
    on_hakmem conformance presence
}

@test "every function serves every size, and every other function frees it" {
    on_hakmem conformance sizes
}

@test "a size of 0 gets a block of its own, realloc to 0 frees, NULL is freed" {
    on_hakmem conformance zero_sizes
}

@test "sizes from PTRDIFF_MAX up and products that overflow fail with ENOMEM" {
    on_hakmem conformance too_big overflow
}

@test "bad alignments fail with EINVAL, posix_memalign touches nothing" {
    on_hakmem conformance bad_alignments
}

@test "every alignment up to 1 GiB is kept" {
    on_hakmem conformance alignments
}

@test "calls that succeed keep errno" {
    on_hakmem conformance errno
}

@test "resizing keeps contents through all classes and back" {
    on_hakmem conformance resizes in_place
}

@test "calloc and MALLOCX_ZERO give zeros where blocks were used before" {
    on_hakmem conformance zeroed
}

@test "live blocks of all functions don't overlap" {
    on_hakmem conformance apart
}

@test "mallopt takes what its manual lists, malloc_trim gives memory back" {
    on_hakmem conformance tuning
}

@test "the legacy tier conforms" {
    HAKMEM_CONF=region:0 on_hakmem conformance sizes too_big alignments resizes zeroed apart
    HAKMEM_CONF=region:0 on_hakmem statistics exact threads info
}

@test "a pool capped at two SuperSlabs conforms" {
    HAKMEM_CONF=superslabs:2 on_hakmem conformance sizes alignments resizes zeroed apart
    HAKMEM_CONF=superslabs:2 on_hakmem statistics exact threads info
}

@test "mallinfo2 is exact, also about threads that ended" {
    on_hakmem statistics exact threads
}

@test "a child of fork counts on from what it inherited" {
    on_hakmem statistics fork
}

@test "the identities hold while threads allocate" {
    on_hakmem statistics public meanwhile
}

@test "mallinfo says the same in ints that saturate" {
    on_hakmem statistics saturate
}

@test "hk_stats, hk_class_stats and mallinfo2 agree" {
    on_hakmem statistics public
}

@test "malloc_info writes well-formed XML that adds up" {
    on_hakmem statistics info
}

@test "malloc_stats writes a table without allocating" {
    on_hakmem statistics stats
}

@test "a sized free with the wrong size or alignment aborts with a line" {
    local program kind status output
    program=$(hk_test_program conformance/conformance)
    for kind in free_sized free_aligned_sized bad_alignment sdallocx; do
        status=0
        output=$(hk_preload "$program" misuse "$kind" 2>&1) || status=$?
        [ "$status" -eq 134 ] || fail "$kind: status $status: $output"
        grep -q '^hakmem: sized free with the wrong size of 0x' <<<"$output" || fail "$kind: $output"
    done
}

@test "no block comes from glibc" {
    on_hakmem glibc_idle
    without_hakmem glibc_idle busy
}

@test "operator new and delete in every form" {
    on_hakmem cxx
}

@test "a new_handler that frees memory is called until there is enough" {
    (ulimit -v 3000000 && on_hakmem cxx exhaust)
}

@test "operators that a program replaces are what the others are made of" {
    on_hakmem cxx_replaced
}

@test "a C++ runtime that comes late by dlopen throws and catches" {
    local program library
    program=$(hk_test_program conformance/late)
    library=$HAKMEM_BUILD/tests/conformance/liblate.so
    require_file "$library" "a C++ library to load"
    [ "$(hk_preload "$program" "$library")" = "late_run: 0" ]
}

@test "operator new without a C++ runtime aborts with one line" {
    local program status=0 output
    program=$(hk_test_program conformance/late)
    output=$(hk_preload "$program" alone 2>&1) || status=$?
    [ "$status" -eq 134 ] || fail "status $status"
    grep -Fx 'hakmem: operator new: no memory for 9223372036854775807 bytes, and no C++ runtime to throw std::bad_alloc' \
        <<<"$output" || fail "$output"
}

@test "the programs pass without hakmem" {
    without_hakmem conformance
    without_hakmem statistics
    without_hakmem cxx
    (ulimit -v 3000000 && without_hakmem cxx exhaust)
    without_hakmem cxx_replaced
}
