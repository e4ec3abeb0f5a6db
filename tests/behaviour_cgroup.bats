# Under a memory cgroup, which never refuses memory but kills.

load lib/common

setup() {
    PATH="$HAKMEM_BUILD/tests/behaviour:$PATH"
    hk_test_program behaviour/churn >/dev/null
    require_root
    make_cgroup $((64 << 20))
}

teardown() {
    if [ -n "${CGROUP:-}" ]; then
        rmdir "$CGROUP"
    fi
}

# make_cgroup BYTES: sets CGROUP; v2 or v1, whichever has the memory controller. No swap.
make_cgroup() {
    local name="hakmem-test-$$-$BATS_TEST_NUMBER"
    if [ -f /sys/fs/cgroup/cgroup.controllers ] && grep -qw memory /sys/fs/cgroup/cgroup.controllers; then
        echo +memory >/sys/fs/cgroup/cgroup.subtree_control 2>/dev/null ||
            grep -qw memory /sys/fs/cgroup/cgroup.subtree_control || skip_or_fail "can't delegate the memory controller"
        mkdir "/sys/fs/cgroup/$name" || skip_or_fail "can't make a cgroup"
        CGROUP="/sys/fs/cgroup/$name"
        echo "$1" >"$CGROUP/memory.max"
        if [ -f "$CGROUP/memory.swap.max" ]; then
            echo 0 >"$CGROUP/memory.swap.max"
        fi
    elif [ -d /sys/fs/cgroup/memory ]; then
        mkdir "/sys/fs/cgroup/memory/$name" || skip_or_fail "can't make a cgroup"
        CGROUP="/sys/fs/cgroup/memory/$name"
        echo "$1" >"$CGROUP/memory.limit_in_bytes"
        echo 0 >"$CGROUP/memory.swappiness"
    else
        skip_or_fail "no cgroup has the memory controller"
    fi
}

in_cgroup() {
    bash -c 'echo $$ >"$1/cgroup.procs" && shift && exec "$@"' in_cgroup "$CGROUP" "$@"
}

@test "the cgroup's limit bites: 100 MiB live are killed" {
    run in_cgroup churn steady 100 800
    echo "$output"
    [ "$status" -eq 137 ]
}

# churn_unkilled CHANGING_MIB TOTAL_MIB [NAME=VALUE]
# Sizes that change with time leave slabs of the old sizes partly used until their last block is freed: with them less can be
# live at once.
churn_unkilled() {
    local changing=$1 total=$2
    shift 2
    if full_tier; then total=$((total * 10)); fi
    in_cgroup env "LD_PRELOAD=$HAKMEM_LIB" "$@" churn steady 40 "$total"
    in_cgroup env "LD_PRELOAD=$HAKMEM_LIB" "$@" churn changing "$changing" "$total"
}

@test "in 64 MiB a load with 40 MiB live and a churn of gigabytes goes on unkilled" {
    churn_unkilled 28 4000
}

@test "in 64 MiB the fallback too keeps a load with 40 MiB live unkilled" {
    churn_unkilled 16 2000 HAKMEM_CONF=region:0
}

@test "in 64 MiB 16 threads that free each other's blocks go on unkilled" {
    in_cgroup env "LD_PRELOAD=$HAKMEM_LIB" threads exchange 16 20000
    in_cgroup env "LD_PRELOAD=$HAKMEM_LIB" threads pipe 16 50000
}
