# attached.bash - what hkstat attaches to, programs that run on it, and what the maps then say.
load lib/watching

setup_file() {
    watching_setup_file
    cp "$HAKMEM_BUILD/hkstat" "$SHARED/hkstat"
    cp "$(hk_test_program hkstat/counts)" "$SHARED/counts"
}

attached_setup() {
    watching_setup
    require_file "$HAKMEM_BUILD/hkstat" "hkstat"
    HKSTAT="$SHARED/hkstat"
    COUNTS="$SHARED/counts"
    PINS="/sys/fs/bpf/hakmem-test-$BASHPID-$RANDOM"
    PROGRAMS_BEFORE=$(programs_of_ours)
}

attached_teardown() {
    watching_teardown
    [ ! -d "$PINS" ] || "$HKSTAT" detach --pin-dir "$PINS"
}

setup() {
    attached_setup
}

teardown() {
    attached_teardown
}

# the readers; other commands take --pin-dir behind their name
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

# programs_of_ours: how many of the collection's programs the kernel has, whoever loaded them.
programs_of_ours() {
    bpftool -j prog show | python3 -c '
import json, sys
ours = set("""process_exit process_exec process_before_exec refresh find_account name_library """.split()) | set(sys.argv[1].split())
print(sum(any(len(program.get("name", "")) > 3 and name.startswith(program["name"]) for name in ours) for program in json.load(sys.stdin)))
' "$(python3 "$HAKMEM_SOURCE/probes/make_table.py" --names | cut -d " " -f 1)"
}

no_more_programs() {
    [ "$(programs_of_ours)" -le "$PROGRAMS_BEFORE" ]
}

# nothing_left: no pin, and no program; the kernel ends a program whose pin is gone a moment later.
nothing_left() {
    [ ! -e "$PINS" ] || fail "pins are left:" "$(find "$PINS")"
    wait_for 10 no_more_programs || fail "programs are left:" "$(bpftool prog show)"
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
