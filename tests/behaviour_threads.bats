# Many threads on few processors, bursts, and an account that stays exact through all of it.

load lib/common

setup() {
    PATH="$HAKMEM_BUILD/tests/behaviour:$PATH"
    hk_test_program behaviour/threads >/dev/null
    CPUS=0
    if [ "$(nproc)" -gt 1 ]; then CPUS=0,1; fi
}

# Two processors, however many there are.
on_two() {
    taskset -c "$CPUS" env "LD_PRELOAD=$HAKMEM_LIB" "$@"
}

# tier NORMAL FULL
tier() {
    if full_tier; then echo "$2"; else echo "$1"; fi
}

@test "64 threads on 2 processors free each other's blocks, and no byte is lost" {
    on_two threads exchange 64 "$(tier 20000 500000)"
}

@test "32 threads that only allocate feed 32 that only free, within 100 MiB" {
    on_two threads pipe 64 "$(tier 50000 1000000)" 100
}

@test "one producer and one consumer stay within 40 MiB" {
    on_two threads pipe 2 "$(tier 1000000 20000000)" 40
}

@test "blocks outlive their threads" {
    on_two threads outlive 64 "$(tier 10 200)"
}

@test "all threads' caches hold 48 KiB each and 32 MiB together at most, while little is live" {
    hk_preload thread_life crowd 100 "$((100 * 48 + 32 * 1024))"
}

@test "a thread that sleeps after a little work costs 80 KiB of resident memory at most: 2,000 of them" {
    hk_preload thread_life sleepers 2000 80
}

@test "RSS stays flat while thousands of threads are born and end" {
    hk_preload thread_life born "$(tier 10000 100000)" 1024
}

@test "a burst of a million allocations takes O(log N) slow paths, and their freeing too" {
    hk_preload burst 1000000 64
    hk_preload burst 100000 64
    hk_preload burst 1000000 16
    hk_preload burst 200000 500
}

@test "the account is exact when threads have ended, and at exit" {
    run hk_preload account 8 "$(tier 1000 50000)"
    echo "$output"
    [ "$status" -eq 0 ]
    [[ "$output" == *"exact when the threads had ended"* ]]
    [[ "$output" == *"exact at exit"* ]]
}

@test "the account is exact under the fallback too" {
    run hk_preload HAKMEM_CONF=region:0 account 4 100
    echo "$output"
    [ "$status" -eq 0 ]
    [[ "$output" == *"exact at exit"* ]]
}
