#!/usr/bin/env bash
# demo.sh - a real redis-server on hakmem, under load, and live what the allocator does. `tools/demo.sh --help` tells more.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tests/lib/packages.bash

usage() {
    cat <<'USAGE'
usage: tools/demo.sh [OPTION...]

Installs what is missing (on Debian and its kin, as root or by sudo; else says what to install), builds the library in a
folder of its own, starts a redis-server on it on a free loopback port, loads that with redis-benchmark, and shows every
second, from the probes of the running server, what the allocator does by size class: hit rate, misses, drains, fallbacks.
Without root or BPF it says so and shows what the statistics functions tell from within the server. Ends and removes
everything that it started and wrote, by Ctrl-C too; bpffs and tracefs, if it had to mount them, stay.

  --seconds N      how long to watch; 15 by default
  --cap N          the most SuperSlabs (2 MiB) that the server may have, so that the fallback is seen at work; 32 by default,
                   0 for no cap
  --no-bpf         the statistics functions, even where BPF is at hand
  --no-install     install nothing
  --library FILE   this libhakmem.so; build nothing
  --help           this text

exit status: 0 shown, 1 something failed, 2 wrong usage, 3 something is missing
USAGE
}

seconds=15 cap=32 bpf=yes install=yes library=
number() { # OPTION VALUE
    [[ "$2" =~ ^[0-9]{1,6}$ ]] || { echo "demo.sh: $1 needs a number" >&2; exit 2; }
    echo "$((10#$2))"
}
while [ $# -gt 0 ]; do
    case $1 in
    --seconds) seconds=$(number "$1" "${2:-}"); shift ;;
    --cap) cap=$(number "$1" "${2:-}"); shift ;;
    --library)
        [ -r "${2:-}" ] || { echo "demo.sh: --library needs a file" >&2; exit 2; }
        library=$(realpath "$2")
        shift
        ;;
    --no-bpf) bpf=no ;;
    --no-install) install=no ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
    esac
    shift
done
[ "$seconds" -gt 0 ] || { echo "demo.sh: --seconds needs a number above 0" >&2; exit 2; }

say() {
    printf '== %s\n' "$*"
}

give_up() { # STATUS TEXT...
    printf 'demo.sh: %s\n' "${*:2}" >&2
    exit "$1"
}

root=()
if [ "$(id -u)" -ne 0 ] && command -v sudo >/dev/null; then
    root=(sudo)
    [ -t 0 ] || root=(sudo -n) # nobody is there to type a password
fi
may_be_root() {
    [ "$(id -u)" -eq 0 ] || { [ ${#root[@]} -gt 0 ] && "${root[@]}" true 2>/dev/null; }
}

# What a trap must undo: processes by their ids, and one folder.
folder=$(mktemp -d "${TMPDIR:-/tmp}/hakmem-demo-XXXXXX")
redis='' watcher='' viewer='' loads=()
alive() { # PID COMMAND...: COMMAND is what a signal to it takes
    "${@:2}" kill -0 "$1" 2>/dev/null
}
end_process() { # PID COMMAND...
    local tries
    alive "$@" || return 0
    "${@:2}" kill "$1" 2>/dev/null || return 0
    for ((tries = 0; tries < 50; tries++)); do
        alive "$@" || break
        sleep 0.1
    done
    ! alive "$@" || "${@:2}" kill -KILL "$1" 2>/dev/null || return 0
    wait "$1" 2>/dev/null || return 0
}
end_all() {
    local pid
    for pid in "${loads[@]}" $redis; do
        end_process "$pid"
    done
    loads=() redis=''
}
clean_up() {
    trap '' INT TERM
    [ -z "$viewer" ] || end_process "$viewer"
    [ -z "$watcher" ] || end_process "$watcher" "${root[@]}"
    end_all
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'echo; exit 130' INT
trap 'exit 143' TERM

# Only what the demonstration needs, of what packages.bash knows how to install.
hk_needed='
redis-server                        redis-server
redis-benchmark                     redis-tools
'
[ -n "$library" ] || hk_needed+='
cmake                               cmake
make                                make
cc                                  gcc
c++                                 g++
sys/sdt.h                           systemtap-sdt-dev
'
if [ "$bpf" = yes ]; then
    hk_needed+='
bpftrace                            bpftrace
'
else
    hk_needed+='
cc                                  gcc
'
fi

install_missing() {
    local missing
    missing=$(hk_missing_packages | sort -u | tr '\n' ' ')
    [ -n "$missing" ] || return 0
    if [ "$install" = no ] || ! command -v apt-get >/dev/null || ! may_be_root; then
        say "missing: $missing"
        [ "$install" = no ] || echo "to install them, as root: apt-get install $missing"
        return 0
    fi
    say "installing $missing"
    # shellcheck disable=SC2016,SC2086
    "${root[@]}" bash -c 'source tests/lib/packages.bash; hk_apt_install "$@"' bash $missing >"$folder/log" 2>&1 || {
        tail -n 5 "$folder/log" >&2
        echo "apt-get failed; going on with what is there" >&2
    }
}

build() {
    local tool
    for tool in cmake cc; do
        command -v "$tool" >/dev/null || give_up 3 "no $tool to build the library with"
    done
    say "building the library"
    mkdir "$folder/build"
    { cmake -S . -B "$folder/build" -DHAKMEM_TESTS=OFF -DHAKMEM_BENCH=OFF &&
        cmake --build "$folder/build" --target hakmem --parallel "$(nproc)"; } >"$folder/log" 2>&1 || {
        tail -n 20 "$folder/log" >&2
        give_up 1 "the library does not build"
    }
    library="$folder/build/libhakmem.so"
}

redis_command() {
    redis-cli -h 127.0.0.1 -p "$port" "$@" 2>/dev/null
}

# start_redis [NAME=VALUE...]
start_redis() {
    local tries conf=()
    [ "$cap" -eq 0 ] || conf=("HAKMEM_CONF=superslabs:$cap")
    mkdir "$folder/data"
    for port in $(shuf -i 20000-32000 -n 10); do
        env "LD_PRELOAD=$library" "${conf[@]}" "$@" redis-server --bind 127.0.0.1 --port "$port" --dir "$folder/data" --save '' \
            --appendonly no --daemonize no >"$folder/redis.log" 2>&1 </dev/null &
        redis=$!
        for ((tries = 0; tries < 100; tries++)); do
            kill -0 "$redis" 2>/dev/null || break
            if [[ "$(redis_command INFO server | tr -d '\r')" == *"process_id:$redis"* ]]; then
                grep -q libhakmem "/proc/$redis/maps" || give_up 1 "redis-server runs, but not on hakmem"
                say "redis-server $redis runs on hakmem, port $port"
                return
            fi
            sleep 0.1
        done
        end_process "$redis"
        redis=
    done
    tail -n 5 "$folder/redis.log" >&2
    give_up 1 "redis-server does not start"
}

# Two loads with the same keys and values of two lengths: blocks of many sizes, that live long and that do not.
start_load() {
    local length
    for length in 60 900; do
        redis-benchmark -h 127.0.0.1 -p "$port" -l -q -n 100000 -c 10 -P 16 -r 400000 -d "$length" \
            -t set,get,lpush,lpop,hset,sadd,spop,zadd >/dev/null 2>&1 </dev/null &
        loads+=($!)
    done
}

# The table without the lines of classes that hardly did anything; their number instead.
busy_classes() {
    awk '
        /^Watching/ { begun = 1 }
        !begun { next }
        /^( +[0-9]+)+ / && $3 < 100 && $6 < 10 && $7 < 10 { quiet++; next }
        /^SuperSlabs/ && quiet { printf "and %d classes with less than 100 allocations, 10 misses and 10 drains\n", quiet; quiet = 0 }
        { print; fflush() }'
}

# Whether the probes can be watched here; says why not.
bpf_works() {
    local text
    if [ "$bpf" = no ]; then
        return 1
    elif ! may_be_root; then
        say "not root, and no sudo: the probes can't be watched"
    elif ! command -v bpftrace >/dev/null; then
        say "no bpftrace: the probes can't be watched"
    elif ! text=$("${root[@]}" bpftrace -e 'BEGIN { exit(); }' 2>&1); then
        say "no BPF here: ${text##*$'\n'}"
    else
        return 0
    fi
    return 1
}

# view COMMAND...: its output as a table, until it ends. In the background: a trap waits for what is in the foreground.
view() {
    local table
    mkfifo "$folder/pipe"
    busy_classes <"$folder/pipe" | cat -s &
    table=$!
    "$@" >"$folder/pipe" &
    viewer=$!
    wait "$viewer" || [ $? -eq 124 ]
    viewer=
    wait "$table"
    rm "$folder/pipe"
    grep -qE '^( +[0-9]+){3} ' "$folder/live"
}

watch_probes() {
    local tries
    # bpftrace detaches through tracefs, which not every system mounts. It stays mounted: others may have begun to use it.
    "${root[@]}" bash -c 'source tests/lib/packages.bash; mount_for_bpf'
    say "attaching to the probes; then $seconds seconds of a live server"
    : >"$folder/live"
    "${root[@]}" bpftrace tools/hakmem_overview.bt "$library" "$redis" "$seconds" >"$folder/live" 2>&1 </dev/null &
    watcher=$!
    for ((tries = 0; tries < 600; tries++)); do
        ! grep -q '^Watching' "$folder/live" || break
        alive "$watcher" "${root[@]}" || break
        sleep 0.1
    done
    start_load
    view tail -n +1 -f --pid="$watcher" "$folder/live" || return 1
    wait "$watcher" || return 1
    watcher=
}

watch_statistics() {
    say "$seconds seconds of the server's own statistics"
    echo "Watching from within" >"$folder/live"
    start_load
    view timeout "$seconds" tail -n +1 -f "$folder/live" || give_up 1 "the statistics tell nothing"
}

restart_with_statistics() {
    command -v cc >/dev/null || give_up 3 "no C compiler: can't show the statistics from within the server either"
    cc -O2 -D_GNU_SOURCE -Isrc -shared -fPIC -o "$folder/demo_statistics.so" tools/demo_statistics.c -pthread
    start_redis "LD_PRELOAD=$library:$folder/demo_statistics.so" "HAKMEM_DEMO_OUTPUT=$folder/live"
}

install_missing
for tool in redis-server redis-benchmark redis-cli shuf; do
    command -v "$tool" >/dev/null || give_up 3 "no $tool"
done
[ -n "$library" ] || build

shown=no
if bpf_works; then
    start_redis
    if watch_probes; then
        shown=yes
    else
        say "the probes told nothing: $(tail -n 1 "$folder/live")"
        end_all
        rm -r "$folder/data"
    fi
fi
if [ "$shown" = no ]; then
    restart_with_statistics
    watch_statistics
fi

keys=$(redis_command DBSIZE) || give_up 1 "redis-server does not answer any more: $(tail -n 3 "$folder/redis.log")"
say "redis-server holds $keys keys in $(redis_command INFO memory | tr -d '\r' | sed -n 's/^used_memory_human://p')"
