# oom_report.bats - the flight recorder: what is said when memory runs out, and what is kept of it; tests/behaviour/out_of_memory.c.
load lib/common

setup() {
    program=$(hk_test_program behaviour/out_of_memory)
    out="$BATS_TEST_TMPDIR/out"
    err="$BATS_TEST_TMPDIR/err"
    STARTED=""
}

teardown() {
    end_started
}

# runs KIND [NAME=VALUE...]: and the program goes on, and ends well.
runs() {
    local kind=$1
    shift
    hk_preload "$@" "$program" "$kind" >"$out" 2>"$err" || fail "$kind $*: $?: $(cat "$out" "$err")"
    [ "$(tail -n 1 "$out")" = good ] || fail "$kind $*: $(cat "$out")"
}

# functions_of FILE: of the first stack in it, the names by the files and offsets that are told.
functions_of() {
    local file offset
    awk '/^    #/ { print; inside = 1; next } inside { exit }' "$1" | sed -nE 's/.*\(([^()]*)\+(0x[0-9a-f]+)\)$/\1 \2/p' |
        while read -r file offset; do
            addr2line -f -e "$file" "$(printf '0x%x' $((offset - 1)))" | head -n 1
        done
}

@test "with oom_report the first NULL is told: what is held, which limit was hit, and whose request it was" {
    runs first HAKMEM_CONF=oom_report:1
    [ "$(grep -c '^hakmem: memory was refused' "$err")" -eq 1 ] || fail "$(cat "$err")"
    grep -Eq '^hakmem: live: [0-9]+ bytes in [0-9]+ blocks, 0 of them in 0 huge ones$' "$err" || fail "$(cat "$err")"
    grep -Eq '^hakmem: mapped: [0-9]+ bytes: live, free [0-9]+ \([0-9]+ of it can be trimmed, [0-9]+ wait in ACE.s pools\), metadata [0-9]+$' "$err"
    grep -Eq '^hakmem: class [0-9]+ (B|KiB|MiB): [0-9]+ bytes live in [0-9]+ blocks, [0-9]+ blocks free$' "$err"
    grep -qx 'hakmem: malloc and its kin returned NULL 1 times; the last of them:' "$err" || fail "$(cat "$err")"
    grep -Eq '^hakmem: NULL [0-9]+ ms ago: 629145600 bytes \(class huge\), errno 12 ENOMEM, limit RLIMIT_AS, thread [0-9]+$' "$err" || fail "$(cat "$err")"
    local functions
    functions=$(functions_of "$err")
    [[ "$functions" == refused$'\n'ask_first$'\n'main* || "$functions" == ask_first$'\n'main* ]] || fail "$functions" "$(cat "$err")"
    ! grep -q 734003200 "$err" || fail "the second was told too: $(cat "$err")"
}

@test "whatever serves, and with whatever caches" {
    local conf
    for conf in region:0 harden:1 guard:1 cache:0 superslabs:1; do
        runs first "HAKMEM_CONF=oom_report:1,$conf"
        grep -Eq '^hakmem: NULL [0-9]+ ms ago: 629145600 bytes ' "$err" || fail "$conf: $(cat "$err")"
    done
    runs first HAKMEM_CONF=oom_report:1,superslabs:0
    grep -Eq '^hakmem: fallback [0-9]+ ms ago: class [^,]*, reason cap$' "$err" || fail "$(cat "$err")"
}

@test "nothing is said that was not asked for" {
    runs first
    [ ! -s "$err" ] || fail "$(cat "$err")"
    runs never HAKMEM_CONF=oom_report:1
    [ ! -s "$err" ] || fail "$(cat "$err")"
}

@test "what no machine can serve is told as that: no limit was hit" {
    runs beyond HAKMEM_CONF=oom_report:1
    grep -Eq '^hakmem: NULL 0 ms ago: 18446744073709547519 bytes \(class huge\), errno 12 ENOMEM, limit none, ' "$err" || fail "$(cat "$err")"
}

@test "all are counted, once is told, from however many threads" {
    runs often
    grep -qx 'hakmem: malloc and its kin returned NULL 200000 times; the last of them:' "$out" || fail "$(cat "$out")"
    [ "$(grep -c '^hakmem: NULL ' "$out")" -eq 4 ] || fail "$(cat "$out")"
    runs threads HAKMEM_CONF=oom_report:1
    [ "$(grep -c '^hakmem: memory was refused' "$err")" -eq 1 ] || fail "$(cat "$err")"
}

@test "a program asks for the report; a child of fork has failures of its own" {
    runs asked
    grep -Eq '^hakmem: NULL [0-9]+ ms ago: 629145600 bytes ' "$out" || fail "$(cat "$out")"
    runs fork
    grep -q '^hakmem: live: ' "$out" || fail "$(cat "$out")"
    ! grep -q 'NULL' "$out" || fail "$(cat "$out")"
}

@test "a closed standard error, a broken pipe" {
    local status=0
    hk_preload HAKMEM_CONF=oom_report:1 "$program" first >"$out" 2>&- || status=$?
    [ "$status" -eq 0 ] && [ "$(cat "$out")" = good ] || fail "$status: $(cat "$out")"
    hk_preload HAKMEM_CONF=oom_report:1 "$program" first 2>&1 >"$out" 3>&- | true
    [ "$(cat "$out")" = good ] || fail "$(cat "$out")"
}

@test "it is read from outside, and from a core file" {
    require_command jq
    require_command gcore gdb
    require_file "$HAKMEM_BUILD/hkstat" hkstat
    local pid said="$BATS_TEST_TMPDIR/said"
    mkfifo "$BATS_TEST_TMPDIR/input"
    env "LD_PRELOAD=$HAKMEM_LIB" "$program" wait <"$BATS_TEST_TMPDIR/input" >"$out" 2>"$err" 3>&- &
    pid=$!
    STARTED+=" $pid"
    exec 4>"$BATS_TEST_TMPDIR/input"
    wait_for 20 grep -qx good "$out"
    "$HAKMEM_BUILD/hkstat" explain --json "$pid" >"$said"
    jq -e '.failures | length == 2 and (map(.kind) | unique) == ["NULL"]' "$said" || fail "$(cat "$said")"
    jq -e '.failures[0] | .size == 734003200 and .errno == 12 and .limit == "RLIMIT_AS"' "$said" || fail "$(jq .failures "$said")"
    jq -e '.failures[1] | .size == 629145600 and .tid == '"$pid"' and (.stack | map(contains("/out_of_memory+0x")) | any)' "$said" || fail "$(jq .failures "$said")"
    jq -e '.failure_counts.NULL == 2 and .failure_counts.FALLBACK == 0' "$said"
    gcore -o "$BATS_TEST_TMPDIR/core" "$pid" >/dev/null 2>&1
    "$HAKMEM_BUILD/hkstat" explain --json --core "$BATS_TEST_TMPDIR/core.$pid" >"$said.core"
    [ "$(jq -c .failures "$said")" = "$(jq -c .failures "$said.core")" ] || fail "$(jq .failures "$said.core")"
    "$HAKMEM_BUILD/hkstat" explain "$pid" | grep -Eq '^NULL .*: 734003200 bytes, errno 12, limit RLIMIT_AS' || fail "not told in words"
    exec 4>&-
}
