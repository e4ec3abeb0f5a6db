# faults.bats - signals, cancellation, limits, filters and odd ways to load: tests/faults/*.c. Other faults have files of their own:
# behaviour_limits, behaviour_cgroup, behaviour_threads, lifecycle, observers.
# bats: alone

load lib/common

VM=/proc/sys/vm

teardown() {
    [ -n "${overcommit:-}" ] || return 0
    # shellcheck disable=SC2086
    set -- $overcommit
    echo "$1" >"$VM/overcommit_memory"
    if [ "$3" = 0 ]; then echo "$2" >"$VM/overcommit_ratio"; else echo "$3" >"$VM/overcommit_kbytes"; fi
}

# good [NAME=VALUE...] PROGRAM ARGS...: on the allocator it says "good".
good() {
    run hk_preload "$@"
    [ "$status" -eq 0 ] && [ "$output" = good ] || fail "$*: $status: $output"
}

@test "signals at 10 kHz harm nothing" {
    local count
    count=$(if full_tier; then echo 500000; else echo 15000; fi)
    good "$(hk_test_program faults/signals)" "$count"
    good HAKMEM_CONF=cache:0,guard:20 "$(hk_test_program faults/signals)" 3000
}

@test "threads that are cancelled leave nothing behind" {
    local count
    count=$(if full_tier; then echo 100000; else echo 4000; fi)
    good "$(hk_test_program faults/cancelled)" "$count"
}

@test "under ulimit -d, and with all mappings used up, malloc says ENOMEM, and goes on when there is room again" {
    good "$(hk_test_program faults/no_room)" data
    good "$(hk_test_program faults/no_room)" mappings
    good HAKMEM_CONF=region:0 "$(hk_test_program faults/no_room)" data
    good HAKMEM_CONF=guard:100 "$(hk_test_program faults/no_room)" mappings
}

# The whole system's setting, for a second or so; teardown puts back what was.
@test "where the system commits itself to no more than it has (overcommit_memory 2), malloc says ENOMEM, and goes on" {
    require_root
    [ -w "$VM/overcommit_memory" ] || skip_or_fail "may not change vm.overcommit_memory"
    overcommit=$(cat "$VM"/overcommit_{memory,ratio,kbytes})
    echo $(($(awk '/^Committed_AS:/ { print $2 }' /proc/meminfo) + 400000)) >"$VM/overcommit_kbytes"
    echo 2 >"$VM/overcommit_memory"
    good "$(hk_test_program faults/no_room)" commit
    good HAKMEM_CONF=region:0 "$(hk_test_program faults/no_room)" commit
    good HAKMEM_CONF=guard:100 "$(hk_test_program faults/no_room)" commit
}

@test "a second preload, and dlmopen, have blocks of their own" {
    local second
    good "$(hk_test_program faults/twice)" "$HAKMEM_LIB"
    run "$(hk_test_program faults/twice)" "$HAKMEM_LIB" # beside libc's
    [ "$status" -eq 0 ] && [ "$output" = good ] || fail "$status: $output"
    for second in libjemalloc.so.2 libmimalloc.so.2.0 libtcmalloc_minimal.so.4; do
        require_file "/usr/lib/x86_64-linux-gnu/$second" "the peers that bench/run knows"
        [ "$(env "LD_PRELOAD=$HAKMEM_LIB /usr/lib/x86_64-linux-gnu/$second" python3 -c 'print(len([0] * 100000))')" = 100000 ] || fail "before $second"
        [ "$(env "LD_PRELOAD=/usr/lib/x86_64-linux-gnu/$second $HAKMEM_LIB" python3 -c 'print(len([0] * 100000))')" = 100000 ] || fail "behind $second"
    done
}

@test "a chroot without /proc, and a seccomp filter that allows what the manual lists alone" {
    require_root
    local root="$BATS_TEST_TMPDIR/root" file calls
    mkdir "$root"
    for file in "$(hk_test_program faults/filtered)" "$(hk_test_program faults/no_room)"; do
        cp "$file" "$root/"
        ldd "$file" | grep -oE '/[^ ]+' | sort -u | while read -r library; do
            mkdir -p "$root$(dirname "$library")"
            cp -L "$library" "$root$library"
        done
    done
    cp -L "$HAKMEM_LIB" "$root/libhakmem.so"
    run chroot "$root" /lib64/ld-linux-x86-64.so.2 --preload /libhakmem.so /no_room data
    [ "$status" -eq 0 ] && [ "$output" = good ] || fail "$status: $output"
    [ ! -e "$root/proc" ]

    calls=$(sed -n '/^\.SS System calls$/,/^\.SS\|^\.SH/p' "$HAKMEM_SOURCE/tools/hakmem.7" | sed -nE 's/^\.BR? ([a-z0-9_]+) ?[(]2[)].*/\1/p')
    [ "$(wc -w <<<"$calls")" -gt 10 ] || fail "$calls"
    local filtered conf kind
    filtered=$(hk_test_program faults/filtered)
    for kind in blocks threads fork; do
        for conf in "" harden:1,guard:100; do
            # shellcheck disable=SC2086
            good "HAKMEM_CONF=$conf" "$filtered" "$kind" $calls
        done
    done
    # shellcheck disable=SC2086
    run hk_preload "$filtered" misuse $calls
    [ "$status" -eq 134 ] && [[ "$output" == "hakmem: double free of 0x"*" (112-byte block)" ]] || fail "$status: $output"
    # shellcheck disable=SC2086
    run hk_preload HAKMEM_CONF=guard:1 "$filtered" guard $calls
    [ "$status" -eq 134 ] && [[ "$output" == "hakmem: use after free of 0x"*"freed by thread"*"allocated by thread"* ]] || fail "$status: $output"
    # The filter bites: without one of them the program is killed.
    # shellcheck disable=SC2046
    run hk_preload "$filtered" blocks $(grep -vx mprotect <<<"$calls")
    [ "$status" -eq 159 ] || fail "$status: $output"
    # In the chroot a guarded block's misuse is told too, and a child allocates.
    cp "$(hk_test_program lifecycle/fork_in_fork)" "$root/"
    run env HAKMEM_CONF=guard:1 chroot "$root" /lib64/ld-linux-x86-64.so.2 --preload /libhakmem.so /filtered guard $calls
    [ "$status" -eq 134 ] && [[ "$output" == "hakmem: use after free of 0x"*"allocated by thread"* ]] || fail "$status: $output"
    run chroot "$root" /lib64/ld-linux-x86-64.so.2 --preload /libhakmem.so /fork_in_fork 20
    [ "$status" -eq 0 ] || fail "$status: $output"
}
