#!/usr/bin/env bash
# soak.sh - hours of what the tests do for seconds, and real programs for long. `tests/soak.sh --help` tells how.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
HAKMEM_SOURCE=$PWD
export HAKMEM_SOURCE

usage() {
    cat <<'USAGE'
usage: tests/soak.sh [OPTION...] [PART...]

Runs the parts that are named, or all, under the library of a build tree that has the tests' programs in it:

  model     random programs of allocator calls against a model, in all configurations, threads and not; 60 minutes
  fuzz      each fuzzer of tests/fuzz; 4 minutes each
  forks     10,000 forks each of a process with eight allocating threads, by fork, clone, and from signal handlers
  stress    stress-ng's stressors of malloc and of address space; 5 minutes
  redis     redis-server under load with one snapshot after another, its data compared at the end; 10 minutes
  build     a Linux kernel, tinyconfig, with make -j8; every object file the same as built without the library; 2 builds

  --scale F       F times as long, 0.001 to 100; below 0.5 the build is that of this library
  --log FOLDER    where the logs go and stay; a new folder below /tmp by default
  --help          this text

HAKMEM_BUILD=FOLDER    the build tree; build/ by default

Needs clang, stress-ng, redis, and for the kernel linux-source-6.1, flex, bison, bc. A part that lacks something fails.
The last line is: soak: N passed, N failed, N s. Exit status 0: all passed, 1: one failed, 2: it could not begin.
USAGE
}

die() {
    echo "soak.sh: $*" >&2
    exit 2
}

scale=1
logs=
parts=()
while [ $# -gt 0 ]; do
    case $1 in
    --scale | --log)
        [ $# -gt 1 ] || { usage >&2; exit 2; }
        if [ "$1" = --scale ]; then scale=$2; else logs=$2; fi
        shift
        ;;
    --help | -h) usage; exit 0 ;;
    model | fuzz | forks | stress | redis | build) parts+=("$1") ;;
    *) usage >&2; exit 2 ;;
    esac
    shift
done
[[ "$scale" =~ ^[0-9]+(\.[0-9]+)?$ ]] && awk -v s="$scale" 'BEGIN { exit !(s >= 0.001 && s <= 100) }' ||
    die "--scale $scale: a number from 0.001 to 100"
[ ${#parts[@]} -gt 0 ] || parts=(model fuzz forks stress redis build)
HAKMEM_BUILD=$(realpath -m "${HAKMEM_BUILD:-build}")
HAKMEM_LIB=$HAKMEM_BUILD/libhakmem.so
export HAKMEM_BUILD HAKMEM_LIB
for file in "$HAKMEM_LIB" "$HAKMEM_BUILD/tests/model/model" "$HAKMEM_BUILD/tests/model/walked"; do
    [ -e "$file" ] || die "no $file: cmake -S . -B build && cmake --build build, or name the tree by HAKMEM_BUILD"
done
if [ -n "$logs" ]; then
    mkdir -p "$logs" || die "can't make $logs"
    logs=$(realpath "$logs")
else
    logs=$(mktemp -d /tmp/hakmem-soak.XXXXXX)
fi
unset LD_PRELOAD HAKMEM_CONF HAKMEM_ACE_TRACE

source tests/lib/fuzzers.bash
source tests/lib/redis.bash

passed=0 failed=0 begun=$SECONDS
work=$(mktemp -d "${TMPDIR:-/tmp}/hakmem-soak-work.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 2' INT TERM

# seconds N: as many at this scale, 1 at least.
seconds() {
    awk -v n="$1" -v s="$scale" 'BEGIN { n *= s; print n < 1 ? 1 : int(n + 0.5) }'
}

# case_of NAME COMMAND...: one of those that are counted; its output goes to a log of that name. The first command that fails ends it.
case_of() {
    local name=$1 from=$SECONDS status
    shift
    printf '%7d s  %s ... ' $((SECONDS - begun)) "$name"
    set +e
    (
        set -e
        "$@"
    ) >"$logs/$name.log" 2>&1 </dev/null
    status=$?
    set -e
    if [ "$status" -eq 0 ]; then
        passed=$((passed + 1))
        printf 'passed in %d s\n' $((SECONDS - from))
    else
        failed=$((failed + 1))
        printf 'FAILED with %d: %s\n' "$status" "$logs/$name.log"
        tail -n 5 "$logs/$name.log" | cut -c 1-200
    fi
}

fail() { # as the libraries of the tests call it
    printf '%s\n' "$@"
    exit 1
}

# ---- model ----

configurations=("" region:0 superslabs:2 guard:3 harden:1 harden:1,region:0 sample:4k,guard:5
    cache:0,retain:0,decay_ms:0,ace_limit:32k cache:1k,decay_ms:1 sample:64k,decay_ms:0)

# program NAME SECONDS THREADS CONF
program() {
    echo "HAKMEM_CONF=$4 $1 --threads $3"
    if [ "$1" = model ]; then
        env HAKMEM_CONF="$4" LD_PRELOAD="$HAKMEM_LIB" "$HAKMEM_BUILD/tests/model/model" --seconds "$2" --threads "$3" --seed "$RANDOM"
    else
        env HAKMEM_CONF="$4" "$HAKMEM_BUILD/tests/model/walked" --seconds "$2" --threads "$3" --seed "$RANDOM"
    fi
}

part_model() {
    local conf threads name each
    each=$(seconds 60) # 10 configurations, 2 programs, 3 counts of threads
    for conf in "${configurations[@]}"; do
        for threads in 1 2 6; do
            for name in model walked; do
                case_of "$name-${conf:-default}-$threads" program "$name" "$each" "$threads" "$conf"
            done
        done
    done
}

# ---- fuzz ----

fuzz_one() { # NAME SECONDS
    local found=0
    hk_fuzzer "$1" "$work"
    hk_fuzz "$1" "$work" "$2" "$RANDOM" >"$work/$1.out" || found=$?
    grep -vE '^#[0-9]+.(NEW|REDUCE)' "$work/$1.out"
    [ "$found" -eq 0 ] || cp "$work/$1".*-* "$logs"
    return "$found"
}

part_fuzz() {
    local name
    for name in $hk_fuzzers; do
        case_of "fuzz-$name" fuzz_one "$name" "$(seconds 240)"
    done
}

# ---- stress ----

stress() { # SECONDS CONF OPTION...
    local time=$1 conf=$2
    shift 2
    command -v stress-ng >/dev/null || fail "no stress-ng: apt-get install stress-ng"
    env LD_PRELOAD="$HAKMEM_LIB" HAKMEM_CONF="$conf" stress-ng --timeout "$time" --verify --metrics-brief --temp-path "$work" "$@"
}

forks() { # PROGRAM ARGUMENT...
    local program=$1
    shift
    env LD_PRELOAD="$HAKMEM_LIB" "$HAKMEM_BUILD/tests/lifecycle/$program" "$@"
}

part_forks() {
    local rounds
    rounds=$(seconds 10000)
    case_of forks-busy forks fork_load fork busy "$rounds"
    case_of forks-clone forks fork_load clone busy "$rounds"
    case_of forks-in-handlers forks fork_in_handler "$rounds"
}

part_stress() {
    local each
    each=$(seconds 75)
    case_of stress-malloc stress "$each" "" --malloc 4 --malloc-bytes 64m --malloc-max 20000
    case_of stress-malloc-threads stress "$each" "" --malloc 2 --malloc-pthreads 4 --malloc-touch
    case_of stress-malloc-hardened stress "$each" harden:1 --malloc 2 --malloc-bytes 32m --malloc-max 5000
    case_of stress-space stress "$each" "" --fork 2 --vm 1 --vm-bytes 64m --pthread 1 --tree 1 --qsort 1 --zombie 1
}

# ---- redis ----

redis_part() { # SECONDS
    local end saves=0 requests=0 benchmark digest
    trap redis_kill EXIT
    redis_start "$work/redis" LD_PRELOAD="$HAKMEM_LIB"
    grep -qF "$HAKMEM_LIB" "/proc/$redis_pid/maps"
    awk -v keys=20000 -f tests/programs/redis_data.awk | redis_command --pipe
    end=$((SECONDS + $1))
    while [ "$SECONDS" -lt "$end" ]; do
        redis-benchmark -h 127.0.0.1 -p "$redis_port" -q -c 20 -P 16 -r 20000 -d 200 -n 20000 \
            -t set,get,incr,lpush,rpush,lpop,rpop,sadd,hset,spop,zadd,zpopmin,mset >"$work/benchmark" 2>&1 &
        benchmark=$!
        while kill -0 "$benchmark" 2>/dev/null; do
            [ "$(redis_command BGSAVE)" = "Background saving started" ] || fail "BGSAVE is refused"
            while [ "$(redis_info persistence rdb_bgsave_in_progress)" != 0 ]; do
                sleep 0.05
            done
            [ "$(redis_info persistence rdb_last_bgsave_status)" = ok ] || fail "a snapshot failed"
            saves=$((saves + 1))
        done
        wait "$benchmark"
        if grep -i error "$work/benchmark"; then
            fail "an error in the benchmark"
        fi
        requests=$((requests + 13 * 20000))
    done
    digest=$(redis_command DEBUG DIGEST)
    redis_command SAVE
    redis_stop
    [ "$redis_status" -eq 0 ] || fail "redis-server ended with $redis_status"
    redis_start "$work/redis" # without the library
    [ "$(redis_command DEBUG DIGEST)" = "$digest" ] || fail "the data are not what they were"
    redis_stop
    echo "$saves snapshots, $requests requests"
    [ "$saves" -gt 0 ]
    ! grep hakmem: "$work/redis/log"
}

part_redis() {
    case_of redis redis_part "$(seconds 600)"
}

# ---- build ----

# digests FOLDER: of every object file.
digests() {
    (cd "$1" && find . -name '*.o' -type f -print0 | sort -z | xargs -0 sha256sum)
}

kernel() { # FOLDER [NAME=VALUE]
    local folder=$1 tree
    shift
    export KBUILD_BUILD_TIMESTAMP=@1 KBUILD_BUILD_USER=hakmem KBUILD_BUILD_HOST=hakmem
    tree=$(echo "$work"/linux-source-*)
    mkdir "$work/$folder"
    make -C "$tree" O="$work/out" tinyconfig >/dev/null
    env "$@" make -C "$tree" O="$work/out" -j8
    digests "$work/out" >"$work/$folder/digests"
    rm -rf "$work/out" # the next one is built in the same place: paths get into objects
}

library() { # FOLDER [NAME=VALUE]
    local folder=$1
    shift
    mkdir "$work/$folder"
    cmake -S . -B "$work/out" -DHAKMEM_TESTS=OFF -DHAKMEM_BENCH=OFF -DHAKMEM_BPF=OFF >/dev/null
    env "$@" cmake --build "$work/out" --target hakmem -j8
    digests "$work/out" >"$work/$folder/digests"
    rm -rf "$work/out"
}

build_part() {
    local what=library archive
    if awk -v s="$scale" 'BEGIN { exit !(s >= 0.5) }'; then
        what=kernel
        archive=$(compgen -G '/usr/src/linux-source-*.tar.xz' | tail -n 1) || fail "no kernel: apt-get install linux-source-6.1"
        tar -xf "$archive" -C "$work"
    fi
    "$what" plain
    "$what" preloaded LD_PRELOAD="$HAKMEM_LIB"
    [ "$(wc -l <"$work/plain/digests")" -gt 10 ] || fail "only $(wc -l <"$work/plain/digests") object files"
    cmp "$work/plain/digests" "$work/preloaded/digests" || fail "object files differ"
    echo "$(wc -l <"$work/plain/digests") object files are the same"
}

part_build() {
    case_of build build_part
}

echo "soak: ${parts[*]}; scale $scale; logs in $logs"
for part in "${parts[@]}"; do
    "part_$part"
done
printf 'soak: %d passed, %d failed, %d s\n' "$passed" "$failed" $((SECONDS - begun))
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
