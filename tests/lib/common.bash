# common.bash - what every bats file here shares. A bats file begins with:  load lib/common
#
# HAKMEM_SOURCE  the source tree            HAKMEM_BUILD  the build tree        HAKMEM_LIB  the libhakmem.so under test
# HAKMEM_TESTS_FULL=1     the full counts            HAKMEM_TESTS_NO_SKIP=1  a skip is a failure
# tests/run.sh exports them; a single file run by hand (`bats tests/x.bats`) finds build/ by itself.
# For files that a test writes, bats provides $BATS_TEST_TMPDIR and $BATS_FILE_TMPDIR and removes them.

bats_require_minimum_version 1.5.0

: "${HAKMEM_SOURCE:=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)}"
: "${HAKMEM_BUILD:=$HAKMEM_SOURCE/build}"
: "${HAKMEM_LIB:=$HAKMEM_BUILD/libhakmem.so}"
: "${HAKMEM_TESTS_FULL:=0}"
: "${HAKMEM_TESTS_NO_SKIP:=0}"
export HAKMEM_SOURCE HAKMEM_BUILD HAKMEM_LIB HAKMEM_TESTS_FULL HAKMEM_TESTS_NO_SKIP

# A locale that changes no program's output, and no settings from outside.
export LC_ALL=C
unset LD_PRELOAD HAKMEM_CONF HAKMEM_ACE_TRACE

# hk_preload [NAME=VALUE...] PROGRAM ARGS...: run a program on the allocator.
hk_preload() {
    env "LD_PRELOAD=$HAKMEM_LIB" "$@"
}

# fail REASON: the test fails here.
fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.05
    done
}

# end_child SIGNAL PID: a child of the shell; again after 5 s where bpftrace was at work in that moment, for then it overlooks a
# signal. Not sooner: the second signal kills a bpftrace that has heard the first and is about to print its maps.
end_child() {
    local tries
    for ((tries = 0; tries < 400; tries++)); do
        [ $((tries % 100)) -ne 0 ] || kill -"$1" "$2" 2>/dev/null || break
        sleep 0.05
        [[ "$(ps -o stat= -p "$2")" =~ ^[^Z] ]] || break
    done
    [ "$tries" -lt 400 ] || kill -KILL "$2"
    wait "$2"
}

# end_started: a test's processes, STARTED; not by SIGINT, which a script's background processes ignore.
end_started() {
    local pid
    for pid in $STARTED; do
        end_child TERM "$pid" 2>/dev/null || continue
    done
}

# interrupt PID: the same by Ctrl-C.
interrupt() {
    end_child INT "$1"
}

# skip_or_fail REASON: skips the test, or fails it where nothing may be skipped.
skip_or_fail() {
    if [ "$HAKMEM_TESTS_NO_SKIP" = 1 ]; then
        fail "must not be skipped: $*"
    fi
    skip "$*"
}

# Whether the full counts are asked for:  if full_tier; then rounds=1000; else rounds=20; fi
full_tier() {
    [ "$HAKMEM_TESTS_FULL" = 1 ]
}

require_root() {
    [ "$(id -u)" -eq 0 ] || skip_or_fail "needs root"
}

# require_command NAME [WHERE IT COMES FROM]
require_command() {
    command -v "$1" >/dev/null 2>&1 || skip_or_fail "needs $1${2:+ ($2)}"
}

# require_file PATH WHAT: a file that only some machines or builds have.
require_file() {
    [ -e "$1" ] || skip_or_fail "needs $2 ($1)"
}

# hk_test_program FOLDER/NAME: the path of a program built from tests/FOLDER/NAME.c; fails the test if it wasn't built.
hk_test_program() {
    local program="$HAKMEM_BUILD/tests/$1"
    [ -x "$program" ] || fail "not built: tests/$1"
    printf '%s\n' "$program"
}

# require_bpf: root, a kernel with BTF, bpffs and tracefs; mounts the two where it may.
require_bpf() {
    require_root
    [ -r /sys/kernel/btf/vmlinux ] || skip_or_fail "needs a kernel with BTF"
    hk_mounted bpf /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf 2>/dev/null || skip_or_fail "can't mount bpffs"
    hk_mounted tracefs /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null ||
        skip_or_fail "can't mount tracefs"
    [ -e /sys/bus/event_source/devices/uprobe ] || skip_or_fail "needs a kernel with uprobes"
}

# hk_mounted TYPE FOLDER
hk_mounted() {
    awk -v type="$1" -v folder="$2" '$2 == folder && $3 == type { found = 1 } END { exit !found }' /proc/self/mounts
}
