# programs_redis.bats - redis-server on the allocator, under load, with snapshots. Debian's redis links jemalloc itself: the
# preload takes over malloc and free, and jemalloc's own figures, which redis tells, show that nothing reaches jemalloc.
load lib/common
load lib/redis

setup() {
    require_command redis-server
    require_command redis-benchmark
    folder="$BATS_TEST_TMPDIR/data"
    redis_pid=
}

teardown() {
    redis_kill
}

fill() {
    awk -v keys=20000 -f "$HAKMEM_SOURCE/tests/programs/redis_data.awk" | redis_command --pipe >/dev/null
}

digest() {
    redis_command DEBUG DIGEST
}

on_the_allocator() {
    grep -qF "$HAKMEM_LIB" "/proc/$redis_pid/maps"
}

load_with_snapshots() {
    local requests=6000 round
    ! full_tier || requests=100000
    redis-benchmark -h 127.0.0.1 -p "$redis_port" -q -c 20 -P 16 -r 20000 -d 200 -n "$requests" \
        -t set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,mset >"$BATS_TEST_TMPDIR/benchmark" 2>&1 3>&- &
    local benchmark=$!
    for round in 1 2 3; do
        [ "$(redis_command BGSAVE)" = "Background saving started" ]
        while [ "$(redis_info persistence rdb_bgsave_in_progress)" != 0 ]; do
            sleep 0.05
        done
        [ "$(redis_info persistence rdb_last_bgsave_status)" = ok ] || fail "BGSAVE $round: $(cat "$folder/log")"
    done
    wait "$benchmark"
    grep -q 'requests per second' "$BATS_TEST_TMPDIR/benchmark"
    ! grep -qi error "$BATS_TEST_TMPDIR/benchmark"
}

@test "redis-server ends a load with snapshots with the same data, keeps it over restarts and exits with 0" {
    redis_start "$BATS_TEST_TMPDIR/plain"
    fill
    local plain_digest
    plain_digest=$(digest)
    redis_stop
    [ "$redis_status" -eq 0 ]

    redis_start "$folder" "LD_PRELOAD=$HAKMEM_LIB"
    on_the_allocator
    fill
    [ "$(digest)" = "$plain_digest" ]
    load_with_snapshots
    [ "$(redis_command UNLINK sorted:1 sorted:2 hash:1)" = 3 ]
    local loaded_digest
    loaded_digest=$(digest)
    [ "$loaded_digest" != "$plain_digest" ]
    [ "$(redis_command SAVE)" = OK ]
    redis_stop
    [ "$redis_status" -eq 0 ]

    redis_start "$folder" "LD_PRELOAD=$HAKMEM_LIB"
    on_the_allocator
    [ "$(digest)" = "$loaded_digest" ]
    [ "$(redis_command FLUSHALL)" = OK ]
    [ "$(redis_command DBSIZE)" = 0 ]
    redis_stop
    [ "$redis_status" -eq 0 ]

    redis_start "$folder"
    [ "$(digest)" = "$loaded_digest" ]
    redis_stop
    [ "$redis_status" -eq 0 ]
}

@test "redis-server takes no block from the jemalloc that it links, whose own figures stay near nothing" {
    [[ "$(redis-server --version)" == *malloc=jemalloc* ]] || skip_or_fail "this redis-server does not link jemalloc"
    redis_start "$BATS_TEST_TMPDIR/plain"
    fill
    local used allocated
    used=$(redis_info memory used_memory)
    allocated=$(redis_info memory allocator_allocated)
    [ "$allocated" -gt $((used / 2)) ]
    redis_stop

    redis_start "$folder" "LD_PRELOAD=$HAKMEM_LIB"
    fill
    [[ "$(redis_info memory mem_allocator)" == jemalloc* ]]
    [ "$(redis_info memory used_memory)" -gt $((used / 2)) ]
    allocated=$(redis_info memory allocator_allocated)
    [ "$allocated" -lt 1048576 ] || fail "jemalloc has allocated $allocated bytes"
    redis_stop
    [ "$redis_status" -eq 0 ]
}

@test "the probes show that the memory of a redis-server under load is the allocator's" {
    require_command redis-cli
    require_bpf
    local watched="$BATS_TEST_TMPDIR/libhakmem.so" events="$BATS_TEST_TMPDIR/events" trace before after slabs
    trace=$(hk_test_program probes/trace_probes)
    cp "$HAKMEM_LIB" "$watched" # a probe belongs to a file: this one nobody else uses
    redis_start "$folder" "LD_PRELOAD=$watched"
    before=$(redis_info memory used_memory)
    "$trace" "$watched" "$events" redis-benchmark -h 127.0.0.1 -p "$redis_port" -q -c 10 -P 16 -r 100000000 -d 1000 -n 20000 -t set \
        >"$BATS_TEST_TMPDIR/benchmark" 2>&1
    after=$(redis_info memory used_memory)
    [ "$(tail -n 1 "$events")" = "lost 0" ]
    # fast_miss PID TID class size server blocks ...: blocks that caches fetched; slab_acquire PID TID class slab units ...
    [ "$(awk -v pid="$redis_pid" '$1 == "fast_miss" && $2 == pid { n += $7 } END { print n + 0 }' "$events")" -gt 20000 ]
    slabs=$(awk -v pid="$redis_pid" '$1 == "slab_acquire" && $2 == pid { n += $6 } END { print n * 65536 }' "$events")
    [ $((after - before)) -gt 15000000 ] && [ "$slabs" -gt $(((after - before) * 9 / 10)) ] ||
        fail "redis uses $((after - before)) bytes more, slabs of $slabs bytes were taken"
    redis_stop
    [ "$redis_status" -eq 0 ]
}
