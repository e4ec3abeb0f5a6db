# Sampled allocation, otel_memory:alloc and :free: bpftrace adds up what it is told, and the sums are those of the load.

load lib/common

setup() {
    require_bpf
    require_command bpftrace
    sampled=$(hk_test_program behaviour/sampled)
    facts="$BATS_TEST_TMPDIR/facts"
    trace="$BATS_TEST_TMPDIR/trace"
    mkfifo "$BATS_TEST_TMPDIR/input"
}

# start_load ROUNDS [NAME=VALUE]...: the load waits for a line to $input.
start_load() {
    local rounds=$1
    shift
    env "LD_PRELOAD=$HAKMEM_LIB" "$@" "$sampled" "$rounds" <"$BATS_TEST_TMPDIR/input" >"$facts" 3>&- &
    pid=$!
    exec {input}>"$BATS_TEST_TMPDIR/input"
}

# profile: what every profiler does: sums by size, and which sampled blocks are live.
start_profile() {
    env --default-signal=INT bpftrace -p "$pid" -e "
        BEGIN { printf(\"attached\n\"); }
        usdt:$HAKMEM_LIB:otel_memory:alloc {
            @n[arg1] = count(); @weight[arg1] = sum(arg2); @square[arg1] = sum(arg2 * (arg2 - arg1));
            if (@live[arg0]) { @twice = count(); }
            @live[arg0] = arg1; }
        usdt:$HAKMEM_LIB:otel_memory:free {
            if (!@live[arg0]) { @unknown = count(); }
            @frees[@live[arg0]] = count();
            delete(@live[arg0]); }" >"$trace" 2>&1 3>&- &
    tracer=$!
    wait_for 30 grep -q attached "$trace" || fail "$(cat "$trace")"
    wait_for 10 armed
}

armed() {
    [ "$(python3 "$HAKMEM_SOURCE/tests/probes/semaphores.py" "$HAKMEM_LIB" "$pid" otel_memory)" = "1 1" ]
}

end_profile() {
    interrupt "$tracer"
}

# expect_sums ROUNDS SAMPLE RATE [grows]: the load under that configuration is told as check_samples.py wants it.
expect_sums() {
    start_load "$1" "HAKMEM_CONF=sample:$2,sample_rate:$3"
    start_profile
    echo >&"$input"
    wait_for 60 grep -q '^64 ' "$facts" || fail "the load does not end"
    end_profile
    exec {input}>&-
    wait "$pid"
    python3 "$HAKMEM_SOURCE/tests/probes/check_samples.py" "$facts" "$trace" "$2" ${4:+"$4"} || fail "$(cat "$trace")"
}

@test "the sum of the weights is that of the bytes, size by size, however and by whomever they are allocated" {
    local sample
    for sample in 16k 100k 1m; do
        expect_sums 40 "$sample" 0
    done
}

@test "where there are more samples than sample_rate, the mean grows, and the weights stay right" {
    expect_sums 100 16k 1000 grows
    expect_sums 10 16k 100 grows # mostly while it grows: each weighs what it was drawn with
}

@test "a thread that has long been at work is sampled within 1,024 allocations of a class" {
    start_load late "HAKMEM_CONF=sample:1,sample_rate:0" # each allocation that comes to the slow path
    wait_for 60 grep -q '^warm' "$facts"
    start_profile
    echo >&"$input"
    wait_for 60 grep -q '^done' "$facts"
    end_profile
    exec {input}>&-
    wait "$pid"
    local told
    told=$(sed -nE 's/^@n\[48\]: ([0-9]+)$/\1/p' "$trace")
    [ "$told" -ge $((5000 - 1024)) ] && [ "$told" -le 5000 ] || fail "$told of 5000 were told" "$(cat "$trace")"
}

@test "nobody watches: no block is sampled, whatever was before" {
    start_load 2
    start_profile
    end_profile
    wait_for 10 eval '! armed'
    echo >&"$input"
    wait_for 60 grep -q '^64 ' "$facts"
    exec {input}>&-
    wait "$pid"
    ! grep -E '^@.*: [1-9]' "$trace" || fail "$(cat "$trace")"
}
