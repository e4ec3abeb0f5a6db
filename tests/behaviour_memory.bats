# Memory goes back to the system, and what a program pays for the allocator stays small.

load lib/common

# Programs by the names of tests/behaviour/*.c.
setup() {
    PATH="$HAKMEM_BUILD/tests/behaviour:$PATH"
    hk_test_program behaviour/goes_back >/dev/null
}

# tier NORMAL FULL
tier() {
    if full_tier; then echo "$2"; else echo "$1"; fi
}

@test "of 1 GiB freed but for 1,000 blocks spread evenly, less than 40 MiB stay after a second of light work" {
    hk_preload goes_back 1024 spread busy 40
}

@test "of 1 GiB freed but for 300 KB, less than 40 MiB stay after a second of light work" {
    hk_preload goes_back 1024 last busy 40
}

@test "memory goes back when the light work is 100 calls a second" {
    hk_preload goes_back "$(tier 512 1024)" spread sparse 40
    hk_preload goes_back "$(tier 256 1024)" last sparse 40
}

@test "memory goes back when the light work is of one size class alone" {
    hk_preload goes_back "$(tier 512 1024)" spread one-class 40
    hk_preload goes_back "$(tier 256 1024)" last one-class 40
}

@test "memory of one size class goes back" {
    hk_preload goes_back "$(tier 256 1024)" spread busy 40 one
    hk_preload goes_back "$(tier 256 1024)" last sparse 40 one
}

@test "2 GiB of small blocks have few mappings, at their peak and after they were freed" {
    hk_preload goes_back 2048 spread busy 0
    if full_tier; then
        hk_preload goes_back 2048 last busy 0
    fi
}

@test "memory freed to the fallback goes back" {
    hk_preload HAKMEM_CONF=region:0 goes_back "$(tier 128 1024)" last busy 40
    hk_preload HAKMEM_CONF=region:0 goes_back "$(tier 128 1024)" spread busy 40
    hk_preload HAKMEM_CONF=superslabs:1 goes_back "$(tier 128 1024)" last sparse 40
}

@test "calls keep errno where the program locked memory, which the kernel then does not take back" {
    local conf
    for conf in "" harden:1 region:0 guard:1 decay_ms:0,retain:0 harden:1,decay_ms:0; do
        run hk_preload "HAKMEM_CONF=$conf" locked
        [ "$status" -eq 0 ] && [ "$output" = good ] || fail "$conf: $status: $output"
    done
}

@test "a program that allocates a few blocks peaks at 3 MiB at most" {
    local without with
    without=$(few_blocks)
    with=$(hk_preload few_blocks)
    echo "# peak RSS: $without KiB without, $with KiB with" >&3
    [ "$with" -gt 0 ]
    [ "$with" -le 3072 ]
}

# grows FROM_KIB TO_KIB [STRACE OPTION...]: sets moves, the calls of mremap that moved pages.
grows() {
    local calls="$BATS_TEST_TMPDIR/calls"
    strace -o "$calls" -e trace=mremap "${@:3}" -E "LD_PRELOAD=$HAKMEM_LIB" growth "$1" "$2" || return
    moves=$(grep -cE '^mremap\(.*MREMAP_MAYMOVE.* = 0x' "$calls") || [ $? -eq 1 ]
}

@test "a growing realloc of large blocks moves their pages by mremap instead of copying them" {
    require_command strace
    grows 3072 300000
    [ "$moves" -ge 5 ] || fail "$moves calls of mremap"
}

@test "the check of growth by mremap finds a copy" {
    require_command strace
    run grows 3072 300000 -e inject=mremap:error=ENOMEM
    [ "$status" -eq 1 ]
    [[ "$output" == *"became resident while"* ]]
}
