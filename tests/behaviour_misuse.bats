# A caller's bug is stopped by SIGABRT with one line that says what and where: tests/misuse has a program for each, and the table.
# bats: beside

load lib/common

setup() {
    require_command python3
    JUDGE="$HAKMEM_SOURCE/tests/misuse/judge.py"
    double=(double_free double_free_after_another double_free_after_100 double_free_in_thread double_free_after_thread)
    interior=(free_interior_16 free_interior_8 free_interior_1 free_interior_half free_interior_page)
    foreign=(free_static free_stack free_mapped free_low free_wild free_high free_non_canonical)
    resized=(realloc_freed realloc_interior realloc_wild)
    sized=(free_sized_wrong free_sized_next free_sized_smaller free_sized_twice)
    overwritten=(overwrite_free_list)
    hardened=(overflow_by_one write_after_free)
    guarded=(read_beyond read_before read_after_free)
    taken=(overwrite_then_take overwrite_int_then_take overwrite_byte_then_take overwrite_second_word_then_take zero_then_take)
}

# all_of PROGRAM...: each in all sizes; one that isn't caught doesn't hide the next.
all_of() {
    python3 "$JUDGE" --preload "$HAKMEM_LIB" "$HAKMEM_BUILD/tests/misuse" "$@"
}

@test "each program has its line in the table, and a test here" {
    local all
    all=$(printf '%s\n' "${double[@]}" "${interior[@]}" "${foreign[@]}" "${resized[@]}" "${sized[@]}" "${overwritten[@]}" "${taken[@]}" | sort)
    [ "$(python3 "$JUDGE" --list | sort)" = "$all" ]
    [ "$(python3 "$JUDGE" --list-configured)" = "$(printf '%s\n' "${hardened[@]}" "${guarded[@]}")" ]
    [ "$(cd "$HAKMEM_SOURCE/tests/misuse" && ls -- *.c | sed 's/\.c$//' | sort)" = \
        "$(printf '%s\n' "$all" "${hardened[@]}" "${guarded[@]}" | sort)" ]
}

@test "a double free is caught: at once, after other frees, across threads" {
    all_of "${double[@]}"
}

@test "the free of an interior pointer is caught" {
    all_of "${interior[@]}"
}

@test "the free of a pointer that was never allocated is caught" {
    all_of "${foreign[@]}"
}

@test "the realloc of a freed block, an interior and a wild pointer is caught" {
    all_of "${resized[@]}"
}

@test "a sized free with the wrong size, or twice, is caught" {
    all_of "${sized[@]}"
}

@test "a free block that the program wrote to is named when it is to be handed out, or its list is cut or drained" {
    all_of "${overwritten[@]}" "${taken[@]}"
}

@test "what only hardened mode and guard pages catch" {
    all_of "${hardened[@]}" "${guarded[@]}"
}

# reaches TEXT KIND SIZE...: SIGABRT, with that line and the address, and nothing else said.
reaches() {
    local text=$1 kind=$2 size
    shift 2
    for size in "$@"; do
        run hk_preload "$(hk_test_program behaviour/misuse_reach)" "$kind" "$size"
        [ "$status" -eq 134 ] && [ ${#lines[@]} -eq 2 ] &&
            [[ "${lines[1]}" =~ ^"hakmem: $text ${lines[0]}"(" ("[0-9]+"-byte block)")?$ ]] ||
            fail "$kind $size: $status: $output"
    done
}

@test "the free and the realloc of a block whose slab, run or mapping has gone back are caught" {
    local conf
    for conf in "" region:0 harden:1; do
        export HAKMEM_CONF=$conf
        reaches "free of a pointer that was never allocated," free_gone 24 200 1000 16384 200000 8388608
        reaches "realloc of a pointer that was never allocated," realloc_gone 24 200 1000 16384 200000 8388608
    done
}

@test "a link forged with the right secret, to memory that bears none, is caught before that is handed out" {
    local kind
    for kind in forge_foreign forge_class forge_inside; do
        reaches "corrupted free list at" "$kind" 48 200 1000 8000
    done
}

@test "the secret of the links is another in each process" {
    local program secrets=""
    program=$(hk_test_program behaviour/misuse_reach)
    for _ in 1 2 3 4 5 6 7 8; do
        secrets+=$(hk_preload "$program" secret 48)$'\n'
    done
    [ "$(sort -u <<<"${secrets%?}" | grep -c '^0xff81[0-9a-f]*$')" -eq 8 ] || fail "$secrets"
}

@test "every function that takes a block, of every tier: SIGABRT and the very line" {
    run hk_preload "$(hk_test_program behaviour/misuse_calls)"
    [ "$status" -eq 0 ] && [[ "$output" =~ ^([1-9][0-9]+)" of "([0-9]+)" ended with their line"$ ]] || fail "$output"
    [ "${BASH_REMATCH[1]}" = "${BASH_REMATCH[2]}" ]
    run "$(hk_test_program behaviour/misuse_calls)" list
    [ "$output" = "$(grep -A "$((${#lines[@]} - 1))" '^| function | given' "$HAKMEM_SOURCE/SECURITY.md")" ] || fail "SECURITY.md has another table"
}

@test "in a program that has long been at work all of it is caught at once" {
    export MISUSE_HOT=1
    all_of "${double[@]}" "${interior[@]}" "${foreign[@]}" "${resized[@]}" "${sized[@]}" "${taken[@]}"
}

@test "misuse is caught when the fallback serves" {
    export HAKMEM_CONF=region:0
    all_of "${double[@]}" "${interior[@]}" "${foreign[@]}" "${resized[@]}" "${sized[@]}" "${overwritten[@]}" "${taken[@]}"
}

@test "words that were never written to, copied by realloc or with a struct, are not taken for a freed block's" {
    hk_preload HAKMEM_CONF=decay_ms:3600000 "$(hk_test_program behaviour/stale_words)" realloc
    hk_preload HAKMEM_CONF=decay_ms:3600000 "$(hk_test_program behaviour/stale_words)" struct
    hk_preload "$(hk_test_program behaviour/stale_words)" link
}

@test "a SIGABRT handler may allocate and leave by siglongjmp: the program goes on, and its next misuse is told too" {
    local kind
    for kind in double_free double_free_large double_free_huge free_interior free_foreign realloc_freed \
        overwrite_then_take overwrite_in_list overwrite_then_cut overwrite_in_pool; do
        hk_preload "$(hk_test_program behaviour/after_misuse)" "$kind" 3 >"$BATS_TEST_TMPDIR/out" \
            2>"$BATS_TEST_TMPDIR/err" || fail "$kind: status $?: $(cat "$BATS_TEST_TMPDIR/err")"
        [ "$(cat "$BATS_TEST_TMPDIR/out")" = "survived 3" ]
        [ "$(grep -c '^hakmem: ' "$BATS_TEST_TMPDIR/err")" -eq 3 ] || fail "$kind: $(cat "$BATS_TEST_TMPDIR/err")"
    done
}

@test "without the allocator these programs are not stopped so: the check itself can fail" {
    run python3 "$JUDGE" "$HAKMEM_BUILD/tests/misuse" free_interior_16
    [ "$status" -eq 1 ]
    [[ "$output" == *"NOT CAUGHT"* ]]
}
