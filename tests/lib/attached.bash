# attached.bash - a copy of the library that hkstat attaches to, programs that run on it, and what the maps then say. A bats
# file that has a setup or teardown of its own calls attached_setup and attached_teardown in it.

# A probe belongs to a file: a copy of the library is watched here and used by nobody else. Its folder is one that every user
# may pass, and so are the copies of hkstat and of the load.
setup_file() {
    export SHARED
    SHARED=$(mktemp -d)
    chmod 755 "$SHARED"
    cp "$HAKMEM_LIB" "$SHARED/libhakmem.so"
    cp "$HAKMEM_BUILD/hkstat" "$SHARED/hkstat"
    cp "$(hk_test_program hkstat/counts)" "$SHARED/counts"
}

teardown_file() {
    rm -rf "$SHARED"
}

attached_setup() {
    require_command python3
    require_bpf
    require_file "$HAKMEM_BUILD/hkstat" "hkstat"
    PATH="$PATH:/usr/sbin:/sbin"
    LIBRARY="$SHARED/libhakmem.so"
    HKSTAT="$SHARED/hkstat"
    COUNTS="$SHARED/counts"
    PINS="/sys/fs/bpf/hakmem-test-$BASHPID-$RANDOM"
    STARTED=""
}

attached_teardown() {
    local pid
    for pid in $STARTED; do
        kill -KILL "$pid" 2>/dev/null || continue
        wait "$pid" 2>/dev/null || continue
    done
    [ ! -d "$PINS" ] || "$HKSTAT" detach --pin-dir "$PINS"
}

setup() {
    attached_setup
}

teardown() {
    attached_teardown
}

hkstat() {
    "$HKSTAT" --pin-dir "$PINS" "$@"
}

attach() {
    "$HKSTAT" attach --pin-dir "$PINS" "$@" || fail "does not attach: $*"
}

# attach_all: to the copy of the library, in every process.
attach_all() {
    attach --library "$LIBRARY" "$@"
}

detach() {
    "$HKSTAT" detach --pin-dir "$PINS"
}

# refuses TEXT COMMAND...: it fails by exit status 1 and says so.
refuses() {
    local text="$1"
    shift
    run "$@"
    # shellcheck disable=SC2154 # run sets both
    [ "$status" -eq 1 ] || fail "ended with $status, not 1: $*" "$output"
    [[ "$output" == *"$text"* ]] || fail "does not say '$text':" "$output"
}

maps() {
    python3 "$HAKMEM_SOURCE/tests/hkstat/maps.py" "$PINS" "$@"
}

refresh() {
    cat "$PINS/refresh"
}

# start_counts [COMMAND...]: a process that obeys tell; PID is it. COMMAND, which must exec, starts it.
start_counts() {
    coproc COUNTING { exec "$@" env "LD_PRELOAD=$LIBRARY" "$COUNTS" 3>&-; }
    PID=$COUNTING_PID
    STARTED+=" $PID"
    exec {TO}>&"${COUNTING[1]}" {FROM}<&"${COUNTING[0]}"
    answer >/dev/null
}

# tell COMMAND...: prints what the process answers.
tell() {
    echo "$*" >&"$TO"
    answer
}

answer() {
    local line
    while read -r -t 60 -u "$FROM" line; do
        [ "$line" != ok ] || return 0
        echo "$line"
    done
    fail "no answer from the load"
}

# finish COMMAND: exit, _exit or kill; returns once the process is gone.
finish() {
    echo "$1" >&"$TO"
    wait "$PID" || [ "$1" = kill ] || fail "the load ended with $?"
    exec {TO}>&- {FROM}<&-
}

# class_of SIZE: the class and the block size that serve SIZE bytes, as the process's own statistics have them.
class_of() {
    tell stats | awk -v size="$1" '$3 >= size { print $2; exit }'
}

# says_maps EXPECTED ARGS...: the numbers, on one line.
says_maps() {
    local expected="$1" seen
    shift
    seen=$(maps "$@" | paste -s -d ' ')
    [ "$seen" = "$expected" ] || fail "$*: the maps say $seen, not $expected"
}

nothing_lost() {
    says_maps 0 lost
}

# watchers LEAST GREATEST PID: so many watch the probes of a process.
watchers() {
    local seen
    seen=$(python3 "$HAKMEM_SOURCE/tests/probes/semaphores.py" "${4:-$LIBRARY}" "$3")
    [ "$seen" = "$1 $2" ] || fail "$seen watch the probes of $3, not $1 $2"
}

# wait_for SECONDS COMMAND...: until it succeeds.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}
