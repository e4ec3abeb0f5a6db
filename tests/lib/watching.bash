# watching.bash - a copy of the library, a load of tests/watching/load.c that runs on it, and tools that watch it. A bats file
# that has a setup or teardown of its own calls watching_setup and watching_teardown in it.

# A probe belongs to a file: a copy of the library is watched here and used by nobody else. Every user may pass its folder.
watching_setup_file() {
    export SHARED
    SHARED=$(mktemp -d)
    chmod 755 "$SHARED"
    cp "$HAKMEM_LIB" "$SHARED/libhakmem.so"
}

watching_setup() {
    require_command python3
    require_bpf
    PATH="$PATH:/usr/sbin:/sbin"
    LIBRARY="$SHARED/libhakmem.so"
    LOAD=$(hk_test_program watching/load)
    OUT="$BATS_TEST_TMPDIR/out" # what the tool says
    STARTED=""
    LOADS=0
}

watching_teardown() {
    end_started
}

setup_file() {
    watching_setup_file
}

teardown_file() {
    rm -rf "$SHARED"
}

setup() {
    watching_setup
}

teardown() {
    watching_teardown
}

# start_load LOADS [NAME=VALUE...]: a process that waits for its first line; LOADS are names of loads, one for each line. PID and
# FACTS are the process and what it tells.
start_load() {
    local name="$1" input
    shift
    LOADS=$((LOADS + 1))
    FACTS="$BATS_TEST_TMPDIR/facts$LOADS"
    input="$BATS_TEST_TMPDIR/input$LOADS"
    GONE=0
    mkfifo "$input"
    # shellcheck disable=SC2086
    env "$@" "LD_PRELOAD=$LIBRARY" "$LOAD" $name <"$input" >"$FACTS" 2>"$FACTS.log" 3>&- &
    PID=$!
    STARTED+=" $PID"
    exec {INPUT}>"$input"
    wait_for 20 grep -qx ready "$FACTS" || fail "the load $name does not start:" "$(cat "$FACTS.log")"
}

go() {
    echo >&"$INPUT"
    GONE=$((GONE + 1))
}

all_done() {
    [ "$(grep -cx done "$FACTS")" -ge "$GONE" ]
}

# The load has done what it had to, and waits.
load_is_done() {
    wait_for 60 all_done || fail "the load ended early:" "$(cat "$FACTS" "$FACTS.log")"
}

# finish_load: it ends well.
finish_load() {
    go
    wait "$PID" || fail "the load ended with $?"
    exec {INPUT}>&-
}

# fact LINE-BEGIN WORD: the number behind WORD in the load's line that begins with LINE-BEGIN.
fact() {
    awk -v begin="$1 " -v word="$2" '
        index($0, begin) == 1 { for (i = 1; i < NF; i++) if ($i == word) { print $(i + 1); found = 1 } }
        END { exit !found }' "$FACTS" || fail "no fact: $1 $2:" "$(cat "$FACTS")"
}

# armed COUNT [PID]: so many probes of the process are watched.
armed() {
    [ "$(python3 "$HAKMEM_SOURCE/tests/watching/armed.py" "$LIBRARY" "${2:-$PID}")" = "$1" ]
}

# start_tool COUNT COMMAND...: TOOL is its process; returns once it watches COUNT probes of the load.
start_tool() {
    local count="$1"
    shift
    # A shell's background processes ignore SIGINT; by that signal these tools are told to end.
    env --default-signal=INT "$@" >"$OUT" 2>"$OUT.log" </dev/null 3>&- &
    TOOL=$!
    STARTED+=" $TOOL"
    wait_for 60 armed_by_tool "$count" || fail "does not attach:" "$(cat "$OUT" "$OUT.log")"
    # Once more: a program is attached a moment after its semaphore, and gdb sets its breakpoints twice.
    wait_for 60 armed_by_tool "$count" || fail "does not stay attached:" "$(cat "$OUT" "$OUT.log")"
}

armed_by_tool() {
    kill -0 "$TOOL" 2>/dev/null || fail "the tool has ended:" "$(cat "$OUT" "$OUT.log")"
    armed "$1"
}

tool_is_gone() {
    ! kill -0 "$TOOL" 2>/dev/null
}

# end_tool [STATUS]: by Ctrl-C.
end_tool() {
    local status=0
    interrupt "$TOOL" || status=$?
    tool_ended_with "$status" "$@"
}

# tool_ends [STATUS]: by itself.
tool_ends() {
    local status=0
    wait_for 60 tool_is_gone || fail "the tool does not end:" "$(cat "$OUT" "$OUT.log" "$FACTS")"
    wait "$TOOL" || status=$?
    tool_ended_with "$status" "$@"
}

tool_ended_with() {
    [ "$1" -eq "${2:-0}" ] || fail "the tool ended with $1:" "$(cat "$OUT" "$OUT.log" "$FACTS")"
}

# says LINE...: each is a line of what the tool said.
says() {
    local line
    for line in "$@"; do
        grep -qxF -e "$line" "$OUT" || fail "no line '$line' in:" "$(cat "$OUT" "$OUT.log")"
    done
}

# says_number LINE-BEGIN: prints what stands behind it.
says_number() {
    awk -v begin="$1" 'index($0, begin) == 1 { print substr($0, length(begin) + 1); found = 1 } END { exit !found }' "$OUT" ||
        fail "no line '$1' in:" "$(cat "$OUT" "$OUT.log")"
}

# Where the limit of locked memory can't be raised bpftrace says so, of kernels too that no longer count maps against it.
nothing_amiss() {
    ! grep -v RLIMIT_MEMLOCK "$OUT" "$OUT.log" | grep -E 'WARNING|ERROR|[Ll]ost|failed to' || fail "see above"
}

# The sum of a map's values whose keys match the pattern, as they were shown last.
sum_of() { # MAP PATTERN
    awk -v begin="$1[" -v pattern="$2" '
        index($0, begin) == 1 && $0 ~ pattern { key = $0; sub(/: [^ ]*$/, "", key); last[key] = $NF }
        END { for (key in last) { sum += last[key]; found = 1 } print sum + 0; exit !found }' "$OUT" || fail "no $1 with $2 in:" "$(cat "$OUT")"
}

# counted_in HISTOGRAM: how many entries a histogram of OUT has.
counted_in() {
    awk -v begin="$1:" '
        $0 ~ /^@/ { inside = index($0, begin) == 1; next }
        inside && $0 ~ /^[[(]/ { sub(/^[^)\]]*[)\]]/, ""); sum += $1 }
        END { print sum + 0 }' "$OUT"
}

# equal A B WHAT
equal() {
    [ "$1" = "$2" ] || fail "$3: $1, but $2; see:" "$(cat "$OUT" "$FACTS")"
}

PAGE="$HAKMEM_SOURCE/tools/WATCHING.md"

# page_block SECTION NUMBER: that block of commands of a section of WATCHING.md; the text before the first section is section "".
page_block() {
    awk -v section="## $1" -v number="$2" '
        /^## / { here = $0 }
        inside && /^```/ { exit }
        inside { print; found = 1 }
        /^```sh/ && (here == section || (section == "## " && here == "")) && ++blocks == number { inside = 1 }
        END { exit !found }' "$PAGE" || fail "WATCHING.md has no block $2 in '$1'"
}
