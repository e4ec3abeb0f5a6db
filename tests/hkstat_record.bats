# hkstat_record.bats - a record shows what was shown live, and no record makes hkstat crash, hang or print what it must not.
load lib/common
load lib/attached

setup() {
    attached_setup
    RECORD="$BATS_TEST_TMPDIR/record"
}

replay() {
    "$HKSTAT" replay "$@"
}

# record_load OPTION...: a record of five ticks, in the middle of a load; what it shows meanwhile goes to live.
record_load() {
    start_counts
    attach -p "$PID"
    tell churn 5000 9973
    "$HKSTAT" record "$RECORD" --pin-dir "$PINS" "$@" 0.2 5 >"$BATS_TEST_TMPDIR/live" &
    local recorder=$!
    STARTED+=" $recorder"
    for size in 100 3000 5000 20000 100000 5000000; do
        tell churn $size 10007
        tell keep $size 7
    done
    wait "$recorder"
    [ "$(wc -l <"$RECORD")" -eq 5 ]
}

@test "replay shows what live showed, byte for byte: JSON" {
    record_load --json
    [ "$(wc -l <"$BATS_TEST_TMPDIR/live")" -eq 5 ]
    replay "$RECORD" --json | cmp - "$BATS_TEST_TMPDIR/live"
    # Rates are there, and are made anew: from a record that begins later the first tick has none.
    jq -se '.[4].processes[0].allocs_per_s != null' "$BATS_TEST_TMPDIR/live" >/dev/null
    tail -n 2 "$RECORD" >"$BATS_TEST_TMPDIR/later"
    replay "$BATS_TEST_TMPDIR/later" --json | jq -se '.[0].processes[0].allocs_per_s == null' >/dev/null
    replay "$BATS_TEST_TMPDIR/later" --json | tail -n 1 | cmp - <(tail -n 1 "$BATS_TEST_TMPDIR/live")
}

@test "replay shows what live showed, byte for byte: CSV, and a process of its own" {
    record_load --csv
    replay "$RECORD" --csv | cmp - "$BATS_TEST_TMPDIR/live"
    replay "$RECORD" --csv -p "$PID" | cmp - "$BATS_TEST_TMPDIR/live"
    [ "$(replay "$RECORD" --csv -p 1 | wc -l)" -eq 1 ]
}

@test "what --json prints is a record, and lines come of it as they came live" {
    start_counts
    attach -p "$PID"
    tell churn 5000 9973
    tell stats >/dev/null
    hkstat --json 0.1 3 >"$RECORD"
    hkstat 0.1 3 >"$BATS_TEST_TMPDIR/live"
    replay "$RECORD" | diff "$BATS_TEST_TMPDIR/live" - >&2
    replay "$RECORD" --json | cmp - "$RECORD"
}

@test "--at shows the tick that was on the screen then" {
    record_load
    local time_of_third at
    time_of_third=$(sed -n 3p "$RECORD" | jq .time)
    replay "$RECORD" --json >"$BATS_TEST_TMPDIR/all"
    for at in "@$time_of_third" "@$(jq -n "$time_of_third + 0.05")" \
        "+$(jq -s '.[2].time - .[0].time + 0.001' "$RECORD")"; do
        replay "$RECORD" --json --at "$at" | cmp - <(sed -n 3p "$BATS_TEST_TMPDIR/all") || fail "--at $at"
    done
    replay "$RECORD" --json --at "$(date -d '+1 minute' '+%F %T')" | cmp - <(tail -n 1 "$BATS_TEST_TMPDIR/all")
    replay "$RECORD" --json --at "$(date -d "@$((${time_of_third%.*} + 2))" +%T)" | cmp - <(tail -n 1 "$BATS_TEST_TMPDIR/all")
    refuses "begins later" "$HKSTAT" replay "$RECORD" --at '2001-01-01 00:00'
    run replay "$RECORD" --at noon
    [ "$status" -eq 2 ]
    [[ "$output" == *"no time"* ]]
}

@test "a record is its owner's, and never written over another file" {
    start_counts
    attach -p "$PID"
    tell churn 5000 9973
    "$HKSTAT" record "$RECORD" --pin-dir "$PINS" 0.1 1
    [ "$(stat -c %a "$RECORD")" = 600 ]
    refuses "File exists" "$HKSTAT" record "$RECORD" --pin-dir "$PINS" 0.1 1
    ln -s "$BATS_TEST_TMPDIR/elsewhere" "$BATS_TEST_TMPDIR/link"
    refuses "File exists" "$HKSTAT" record "$BATS_TEST_TMPDIR/link" --pin-dir "$PINS" 0.1 1
    [ ! -e "$BATS_TEST_TMPDIR/elsewhere" ]
}

@test "a full disk is said, and what was written is good" {
    start_counts
    attach -p "$PID"
    tell churn 5000 9973
    mkdir "$BATS_TEST_TMPDIR/small"
    mount -t tmpfs -o size=64k tmpfs "$BATS_TEST_TMPDIR/small"
    run "$HKSTAT" record "$BATS_TEST_TMPDIR/small/record" --pin-dir "$PINS" 0.01 1000
    local recorded=$status said=$output
    run --separate-stderr replay "$BATS_TEST_TMPDIR/small/record" --json
    umount "$BATS_TEST_TMPDIR/small"
    [ "$recorded" -eq 1 ]
    [[ "$said" == *"No space left on device"* ]]
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -ge 1 ]
}

@test "Ctrl-C ends a record with a whole tick" {
    start_counts
    attach -p "$PID"
    tell churn 5000 9973
    env --default-signal=INT "$HKSTAT" record "$RECORD" --pin-dir "$PINS" 0.02 &
    local recorder=$!
    STARTED+=" $recorder"
    wait_for 10 test -s "$RECORD"
    kill -INT "$recorder"
    wait "$recorder"
    run --separate-stderr replay "$RECORD" --json
    [ "$status" -eq 0 ]
    [ -z "$stderr" ]
}

@test "a record that is cut off is shown up to there" {
    record_load
    head -c -100 "$RECORD" >"$BATS_TEST_TMPDIR/cut"
    run --separate-stderr replay "$BATS_TEST_TMPDIR/cut" --json
    [ "$status" -eq 0 ]
    [ "${#lines[@]}" -eq 4 ]
    [[ "$stderr" == *"cut off in line 5"* ]]
    : >"$BATS_TEST_TMPDIR/empty"
    refuses "holds no tick" "$HKSTAT" replay "$BATS_TEST_TMPDIR/empty"
    refuses "can't open" "$HKSTAT" replay "$BATS_TEST_TMPDIR/none"
}

# altered FILTER: a record of one tick, altered by jq.
altered() {
    jq -c "$1" <<<"$(head -n 1 "$RECORD")" >"$BATS_TEST_TMPDIR/altered"
}

@test "what no hkstat writes is refused, with the line and what is wrong" {
    record_load
    altered .
    replay "$BATS_TEST_TMPDIR/altered" --json | jq -e '.version == 1' >/dev/null
    while IFS='|' read -r text filter; do
        altered "$filter"
        refuses "$text" "$HKSTAT" replay "$BATS_TEST_TMPDIR/altered" --json
        [[ "$output" == *"line 1 is no tick"* ]]
    done <<'ALTERED'
version 2, and this hkstat reads version 1|.version = 2
'version' is missing|del(.version)
'comm' isn't a name|.processes[0].comm = "\u001b[2J"
'comm' isn't a name|.processes[0].comm = "\\"
'comm' isn't a name|.processes[0].comm = "\u202e"
'comm' isn't a name|.processes[0].comm = ("x" * 100)
'executable' isn't a name|.processes[0].executable = 7
'allocs' isn't a whole number|.processes[0].classes[0].allocs = -1
'allocs' isn't a whole number|.processes[0].classes[0].allocs = 1.5
'class' isn't a whole number from 0 to 120|.processes[0].classes[0].class = 121
is there twice|.processes[0].classes += [.processes[0].classes[0]]
'hits_per_miss' isn't an array of 33|.processes[0].classes[0].hits_per_miss |= .[:32]
'hit_rate_histogram' isn't an array of 101|.processes[0].classes[0].hit_rate_histogram += [0]
'chain' is missing|.processes[0].classes[0].refills_by = []
'classes' isn't an array|.processes[0].classes = {}
'processes' or 'ended' isn't an array|.processes = null
'time' isn't a number|.time = -1
'interval' isn't a number|.interval = "x"
'pid' isn't a whole number|.processes[0].pid = 4294967296
'refreshed' is neither|.refreshed = 1
ALTERED
    printf '{"version":1' >"$BATS_TEST_TMPDIR/altered"
    echo >>"$BATS_TEST_TMPDIR/altered"
    refuses "isn't JSON" "$HKSTAT" replay "$BATS_TEST_TMPDIR/altered" --json
}

@test "a lie in one process's counts can't make the sum of all turn over" {
    record_load
    altered '.processes[0].classes |= map(.allocs = 9223372036854775807 | .drain_blocks_by.overflow = 9223372036854775807)'
    sed -i 's/922337203685477[0-9]*/9223372036854775807/g' "$BATS_TEST_TMPDIR/altered"
    run --separate-stderr replay "$BATS_TEST_TMPDIR/altered" --json
    [ "$status" -eq 0 ]
    [[ "$output" == *'"allocs":9223372036854775807'* ]]
    [[ "$output" != *'":-'* ]]
}

@test "no damage to a record makes hkstat crash or hang" {
    record_load
    local rounds=150
    ! full_tier || rounds=5000
    python3 - "$HKSTAT" "$RECORD" "$BATS_TEST_TMPDIR/damaged" "$rounds" <<'PYTHON'
import random, subprocess, sys
hkstat, record, damaged, rounds = *sys.argv[1:4], int(sys.argv[4])
line = open(record, "rb").readlines()[-1]
random.seed(2026)
refused = 0
for round in range(rounds):
    data = bytearray(line)
    for _ in range(random.choice((1, 1, 3, 30))):
        at = random.randrange(len(data))
        kind = random.randrange(4)
        if kind == 0:
            data[at] = random.randrange(256)
        elif kind == 1:
            del data[at:at + random.randrange(1, 50)]
        elif kind == 2:
            data[at:at] = random.choice((b"9" * 30, b"[" * 3000, b"\x00", b'"', b"-", b"1e999", b"\\u0000", b"{}"))
        else:
            to = random.randrange(len(data))
            data[at:at] = data[to:to + random.randrange(1, 200)]
    open(damaged, "wb").write(data)
    for arguments in (["--json"], ["--csv"], []):
        result = subprocess.run([hkstat, "replay", damaged, *arguments], capture_output=True, timeout=20)
        assert result.returncode in (0, 1), (round, arguments, result)
        refused += result.returncode
        out = result.stdout + result.stderr
        assert not any(byte < 32 and byte not in b"\r\n" or byte == 127 for byte in out), (round, arguments, out)
assert refused > rounds, refused
PYTHON
}

@test "a record without end or of other stuff is refused within bounds" {
    local file
    for file in /dev/zero /proc/self/exe "$HAKMEM_LIB"; do
        run sh -c 'ulimit -v 2000000; timeout 60 "$0" replay "$1"' "$HKSTAT" "$file"
        [ "$status" -eq 1 ] || fail "$file: ended with $status"
    done
}
