# hkstat_output.bats - what hkstat prints: JSON, CSV and lines, of real processes, to root and to ordinary users.
load lib/common
load lib/attached

setup() {
    attached_setup
    require_command jq
}

as_nobody() {
    setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
}

# A load that has told its account, and whose thread's counts are settled: telling its own statistics does that.
start_watched() {
    start_counts
    attach -p "$PID"
    tell keep 3000 23
    tell churn 5000 9973
    tell stats | without_own_output >"$BATS_TEST_TMPDIR/own"
}

# The load's answers take blocks themselves, of one class.
without_own_output() {
    grep -v '^class [0-9]* 4096 '
}

# "class IDX SIZE ALLOCS FREES MISSES" of each class, as the process tells them itself.
classes_of() { # TICK PID
    jq -r --argjson pid "$2" '.processes[] | select(.pid == $pid) | .classes[] | select(.allocs > 0)
        | "class \(.class) \(.size) \(.allocs) \(.frees) \(.misses)"' <<<"$1" | without_own_output
}

@test "the JSON of a tick has every field that is promised, and tells each class as the process does" {
    start_watched
    local tick
    tick=$(hkstat --json)
    diff "$BATS_TEST_TMPDIR/own" <(classes_of "$tick" "$PID") >&2
    jq -e --argjson pid "$PID" '
        (.version == 1) and (.time | type == "number") and (.interval == null) and (.lost == 0) and
        (.processes | length == 1) and (.processes[0] |
            .pid == $pid and .comm == "counts" and .executable == "counts" and .hit_rate > 0.9 and
            .allocs == ([.classes[].allocs] | add) and .frees == ([.classes[].frees] | add) and
            .misses == ([.classes[].misses] | add) and (.misses == ([.hits_per_miss[]] | add)) and
            .drains == ([.drains_by[]] | add) and has("shared_fail") and has("legacy_allocs") and has("alloc_fail") and
            (.ace_fail | has("threshold") and has("exhaustion") and has("mapfail")) and
            has("superslabs") and has("mapped_bytes") and
            ([.classes[] | has("size") and has("allocs") and has("frees") and has("misses") and has("hit_rate") and
                has("drains") and (.hits_per_miss | length == 33) and (.hit_rate_histogram | length == 101)] | all))
    ' <<<"$tick" >/dev/null || fail "$tick"
}

@test "the manual page renders without a warning and tells every field" {
    require_command man
    run --separate-stderr env LC_ALL=C.UTF-8 man --warnings -l "$HAKMEM_SOURCE/tools/hkstat.1"
    [ -z "$stderr" ] || fail "$stderr"
    [[ "$output" == *NAME*JSON*"EXIT STATUS"*OVERHEAD*"SEE ALSO"* ]]
    start_watched
    local field words missing=
    words=$(tr -cs 'A-Za-z0-9_' '\n' <"$HAKMEM_SOURCE/tools/hkstat.1" | sort -u)
    for field in $(hkstat --json | jq -r '.. | objects | keys[]' | sort -u | grep -v '^[0-9]*$'); do
        grep -qx "$field" <<<"$words" || missing+=" $field"
    done
    [ -z "$missing" ] || fail "hkstat(1) doesn't tell:$missing"
}

# start_reader INTERVAL: one that writes ticks, and has written its first.
start_reader() {
    hkstat --json "$1" >"$BATS_TEST_TMPDIR/ticks" &
    READER=$!
    STARTED+=" $READER"
    wait_for 20 has_ticks 1
}

# Settles what the load has counted, and ends the reader after two more ticks.
end_reader() {
    tell stats >/dev/null
    wait_for 20 has_ticks $(($(wc -l <"$BATS_TEST_TMPDIR/ticks") + 2))
    kill -TERM "$READER"
    wait "$READER" || [ $? -eq 143 ]
}

has_ticks() {
    [ "$(wc -l <"$BATS_TEST_TMPDIR/ticks")" -ge "$1" ]
}

@test "the first tick has no rate; then each is the change of its count by the time between" {
    start_watched
    start_reader 0.3
    tell churn 5000 300000
    end_reader
    python3 - "$BATS_TEST_TMPDIR/ticks" <<'PYTHON'
import json, sys
ticks = [json.loads(line) for line in open(sys.argv[1])]
assert len(ticks) >= 3 and ticks[0]["interval"] is None
names = ("allocs", "frees", "alloc_bytes", "misses", "drains", "legacy_allocs")
assert all(ticks[0]["processes"][0][name + "_per_s"] is None for name in names)
assert ticks[0]["processes"][0]["interval_hit_rate"] is None
grown = 0
for before, tick in zip(ticks, ticks[1:]):
    assert tick["interval"] > 0.25, tick["interval"]
    then, now = before["processes"][0], tick["processes"][0]
    for name in names:
        expected = (now[name] - then[name]) / tick["interval"]
        assert abs(now[name + "_per_s"] - expected) < 0.001, (name, now[name + "_per_s"], expected)
    grown += now["allocs"] - then["allocs"]
assert grown >= 300000, grown
PYTHON
}

@test "what a process holds is told at once when it is attached to in the middle of its life" {
    start_counts
    tell churn 3000 9973
    attach -p "$PID"
    local tick
    tick=$(hkstat --json -p "$PID")
    python3 - "$tick" <<'PYTHON'
import json
import sys
process = json.loads(sys.argv[1])["processes"][0]
assert process["superslabs"] >= 1 and process["superslabs_peak"] >= process["superslabs"], process["superslabs"]
assert process["mapped_bytes"] >= process["superslabs"] << 21, process["mapped_bytes"]
assert process["threads"] == 1 and process["legacy_chunks"] == 0 and process["purged_bytes"] >= 0
PYTHON
}

@test "what came before the attach is never told as a rate" {
    start_counts
    tell churn 5000 1000003
    attach -p "$PID"
    start_reader 0.2
    tell churn 5000 4099
    tell churn 3000 4099
    end_reader
    python3 - "$BATS_TEST_TMPDIR/ticks" <<'PYTHON'
import json, sys
ticks = [json.loads(line) for line in open(sys.argv[1])]
told = 0
for tick in ticks:
    for process in tick["processes"]:
        told += (process["allocs_per_s"] or 0) * (tick["interval"] or 0)
        for a_class in process["classes"]:
            assert (a_class["allocs_per_s"] or 0) * (tick["interval"] or 0) < 5000, a_class["allocs_per_s"]
last = ticks[-1]["processes"][0]
assert last["allocs"] >= 1000003 + 2 * 4099, last["allocs"]
assert told < 9000, told
PYTHON
}

@test "CSV: one line of names, then a line a process and tick, the same numbers as JSON" {
    start_watched
    hkstat --csv 0.2 3 >"$BATS_TEST_TMPDIR/csv"
    hkstat --json >"$BATS_TEST_TMPDIR/json"
    python3 - "$BATS_TEST_TMPDIR/csv" "$BATS_TEST_TMPDIR/json" <<'PYTHON'
import csv, json, sys
with open(sys.argv[1], newline="") as file:
    rows = list(csv.reader(file))
names = rows[0]
assert len(rows) == 4 and len(set(names)) == len(names)
assert all(len(row) == len(names) for row in rows)
process = json.load(open(sys.argv[2]))["processes"][0]
last = dict(zip(names, rows[-1]))
checked = 0
for name, value in process.items():
    if isinstance(value, int) and name in last:
        assert int(last[name]) == value, name
        checked += 1
    if isinstance(value, dict) and name != "since_attach":
        for word, number in value.items():
            assert int(last[f"{name}_{word}"]) == number, name
            checked += 1
assert checked > 30, checked
assert rows[1][names.index("allocs_per_s")] == "" and rows[2][names.index("allocs_per_s")] == "0"
PYTHON
}

@test "lines: titles, totals, then rates; a table without an interval; none wider than 80 columns" {
    start_watched
    run --separate-stderr hkstat 0.2 3
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 4 ]
    [[ "${lines[0]}" == *procs*allocs*hit%*misses*drains*legacy*ace*live* ]]
    [ "$(awk '{ print $2 }' <<<"${lines[1]}")" = "$(hkstat | awk -v pid="$PID" '$1 == pid { print $3 }')" ]
    [ "$(awk '{ print $2 }' <<<"${lines[3]}")" = 0 ]
    run --separate-stderr hkstat -p "$PID"
    [ "$status" -eq 0 ]
    [ "$(awk '$1 == 5120 { print $2 }' <<<"$output")" = 9973 ]
    [ "$(awk '$1 == 3072 { print $2 }' <<<"$output")" = 23 ]
    run awk 'length > 80' < <(hkstat; hkstat -p "$PID"; hkstat 0.1 2)
    [ -z "$output" ]
}

@test "processes that ended are told by executable" {
    start_counts
    attach_all
    tell spawn 7 5000 101
    run jq -c '[.ended[] | select(.executable == "counts") | .processes, .allocs >= 707]' < <(hkstat --json)
    [ "$output" = "[7,true]" ]
}

@test "an ordinary user watches" {
    start_watched
    local tick
    tick=$(as_nobody "$HKSTAT" --pin-dir "$PINS" --json)
    diff "$BATS_TEST_TMPDIR/own" <(classes_of "$tick" "$PID") >&2
    [ "$(as_nobody "$HKSTAT" --pin-dir "$PINS" 0.1 2 | wc -l)" -eq 3 ]
}

@test "an ordinary user who may not read the pins is told so, and what to do" {
    start_counts
    attach -p "$PID" --mode 0600
    refuses "may not read" as_nobody "$HKSTAT" --pin-dir "$PINS"
    [[ "$output" == *"--mode 0644"* ]]
}

@test "nothing attached, and no right to attach: says what to do" {
    refuses "nothing is attached" as_nobody "$HKSTAT" --pin-dir "$PINS" --json
    [[ "$output" == *"hkstat attach --all"* ]]
}

@test "pins of another version are told from ours" {
    mkdir -p "$PINS/maps"
    bpftool map create "$PINS/maps/summary" type array key 4 value 64 entries 1 name summary
    run hkstat --json
    rm -r "$PINS"
    [ "$status" -eq 1 ]
    [[ "$output" == *"isn't of this version of hkstat"* ]]
}

@test "a process that doesn't exist, and one that isn't watched" {
    start_watched
    refuses "no process 4194303" hkstat -p 4194303
    refuses "isn't watched" hkstat -p $$
}

@test "a process that ends while it is shown ends the showing" {
    start_watched
    hkstat -p "$PID" 0.1 >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" &
    local reader=$!
    STARTED+=" $reader"
    wait_for 10 grep -q . "$BATS_TEST_TMPDIR/out"
    finish exit
    wait "$reader"
    grep -q "process $PID has ended" "$BATS_TEST_TMPDIR/err"
}

@test "a detach meanwhile is noticed" {
    start_watched
    hkstat 0.1 >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" &
    local reader=$!
    STARTED+=" $reader"
    wait_for 10 grep -q . "$BATS_TEST_TMPDIR/out"
    detach
    local status=0
    wait "$reader" || status=$?
    [ "$status" -eq 1 ]
    grep -q "nothing is attached" "$BATS_TEST_TMPDIR/err"
}

@test "a name with escapes, line ends and broken UTF-8 is shown harmless, and exact" {
    local name=$'\e[2J\n\xff"\\é'
    cp "$COUNTS" "$SHARED/$name"
    COUNTS="$SHARED/$name"
    start_watched
    hkstat --json | jq -e '.processes[0] | .comm == "\\x1b[2J\\x0a\\xff\"\\\\é" and .comm == .executable' >/dev/null
    for arguments in --json --csv '' '0.1 2' "-p $PID"; do
        # shellcheck disable=SC2086
        run grep -cP '[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]' < <(hkstat $arguments)
        [ "$output" = 0 ] || fail "control characters in the output of '$arguments'"
    done
    LC_ALL=C.UTF-8 hkstat | grep -qF '\x1b[2J\x0a'
    # A locale that knows ASCII alone gets no other byte.
    run grep -cP '[^\x00-\x7f]' < <(LC_ALL=C hkstat)
    [ "$output" = 0 ]
}

@test "with nothing attached it attaches for as long as it runs, and leaves nothing, however it ends" {
    start_counts
    local how pins reader
    for how in TERM INT KILL; do
        # A shell starts what runs in the background with SIGINT ignored; env gives it back.
        env --default-signal=INT "$HKSTAT" --pin-dir "$PINS" -p "$PID" --json 0.1 >"$BATS_TEST_TMPDIR/out" &
        reader=$!
        STARTED+=" $reader"
        wait_for 20 grep -q '"version":1' "$BATS_TEST_TMPDIR/out" || fail "shows nothing"
        tell churn 5000 4099
        pins="$PINS-$reader"
        [ -d "$pins" ] || fail "no pins in $pins"
        [ ! -e "$PINS" ]
        kill -"$how" "$reader"
        local status=0
        wait "$reader" || status=$?
        [ "$status" -eq $((128 + $(kill -l "$how"))) ] || fail "SIG$how: ended with $status"
        [ "$how" = KILL ] || [ ! -e "$pins" ] || fail "SIG$how: pins are left"
        wait_for 10 gone "$pins" || fail "SIG$how: pins are left"
        wait_for 10 unwatched || fail "SIG$how: probes are still watched"
        nothing_left
        : >"$BATS_TEST_TMPDIR/out"
    done
    run hkstat -p "$PID" 0.1 2
    [ "$status" -eq 0 ]
    [ -z "$(compgen -G "$PINS*")" ]
}

# The kernel ends a link whose pin is gone a moment later.
unwatched() {
    (watchers 0 0 "$PID") 2>/dev/null
}

gone() {
    [ ! -e "$1" ]
}

@test "a reader that goes away ends it" {
    start_watched
    local status=0
    timeout 20 "$HKSTAT" --pin-dir "$PINS" --json 0.05 | head -n 1 >"$BATS_TEST_TMPDIR/one" || status=$?
    [ "$status" -eq 0 ]
    jq -e .version "$BATS_TEST_TMPDIR/one" >/dev/null
    run sh -c '"$0" --pin-dir "$1" --json >/dev/full' "$HKSTAT" "$PINS"
    [ "$status" -eq 1 ]
    [[ "$output" == *"can't write"* ]]
}

@test "the command line: help, version, and what isn't understood" {
    local arguments
    for arguments in --help 'record --help' 'replay --help' 'attach --help' 'detach --help' 'status --help'; do
        # shellcheck disable=SC2086
        run "$HKSTAT" $arguments
        [ "$status" -eq 0 ]
        [[ "$output" == *"Usage: hkstat"* ]]
    done
    run "$HKSTAT" --version
    [ "$status" -eq 0 ]
    [[ "$output" =~ ^hkstat\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
    for arguments in '--json --csv' '-p 0' '-p x' '-p 99999999999' 0 1e9 '1 0' '1 2 3' nan 0x1 --at=1; do
        # shellcheck disable=SC2086
        understood_not --pin-dir "$PINS" $arguments
    done
    understood_not record
    understood_not record file 0
    understood_not replay
    understood_not replay a b
}

understood_not() {
    run "$HKSTAT" "$@"
    [ "$status" -eq 2 ] || fail "'$*' ended with $status, not 2"
}
