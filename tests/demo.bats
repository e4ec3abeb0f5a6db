# demo.bats - tools/demo.sh from end to end, and hakmem_overview.bt: it reads a struct of which it has a copy.
load lib/common

demo() { # SECONDS OPTION...: with a folder for temporary files that must be empty in the end
    mkdir -p "$BATS_TEST_TMPDIR/tmp"
    TMPDIR="$BATS_TEST_TMPDIR/tmp" run timeout 180 "$HAKMEM_SOURCE/tools/demo.sh" --no-install --seconds "$@" 3>&-
    echo "$output"
}

nothing_left() {
    local server
    server=$(sed -n 's/^== redis-server \([0-9]*\) runs on hakmem.*/\1/p' <<<"$output" | tail -n 1)
    [ -n "$server" ]
    ! kill -0 "$server" 2>/dev/null || fail "redis-server $server still runs"
    [ -z "$(ls -A "$BATS_TEST_TMPDIR/tmp")" ] || fail "left behind: $(ls -A "$BATS_TEST_TMPDIR/tmp")"
}

# A line of a class: size, live, allocations, two rates with two decimals, ...
has_rows() {
    grep -qE '^ +16 +[0-9]+ +[0-9]+ +[0-9]+\.[0-9]{2} +[0-9]+\.[0-9]{2} +[0-9]+ +[0-9]+ +[0-9]+ +[0-9]+ +[0-9]+$' <<<"$output"
    awk '/^ +[0-9]/ && $4 > 50 { hit = 1 } /^ +[0-9]/ && $5 > 50 { life = 1 } END { exit !(hit && life) }' <<<"$output"
    grep -q 'fallback' <<<"$output"
    grep -qE '^SuperSlabs [1-9][0-9]*, mapped [1-9][0-9]* KiB' <<<"$output"
    grep -qE '^== redis-server holds [1-9][0-9]* keys in ' <<<"$output"
}

needs_redis() {
    require_command redis-server
    require_command redis-benchmark redis-tools
    require_command redis-cli redis-tools
}

@test "demo.sh --help tells how; wrong usage exits with 2 and starts nothing" {
    run "$HAKMEM_SOURCE/tools/demo.sh" --help
    [ "$status" -eq 0 ]
    [[ "$output" == usage:* && "$output" == *--no-bpf* && "$output" == *"exit status"* ]]
    local wrong
    for wrong in "--seconds" "--seconds 0" "--seconds x" "--cap 1x" "--library /no/such/file" "--what" "more"; do
        # shellcheck disable=SC2086
        run "$HAKMEM_SOURCE/tools/demo.sh" $wrong
        [ "$status" -eq 2 ] || fail "demo.sh $wrong: $status"
    done
}

@test "demo.sh shows a live redis-server by its probes, the fallback too, and leaves nothing behind" {
    needs_redis
    require_bpf
    require_command bpftrace
    demo 4 --cap 4 --library "$HAKMEM_LIB"
    [ "$status" -eq 0 ]
    [[ "$output" == *"attaching to the probes"* && "$output" != *"from within"* ]]
    has_rows
    awk '/^( +[0-9]+)+ / && $9 > 0 { seen = 1 } END { exit !seen }' <<<"$output" || fail "no fallback seen with a cap of 4"
    nothing_left
}

@test "demo.sh mounts tracefs where nobody has, so that bpftrace detaches without a complaint" {
    needs_redis
    require_bpf
    require_command bpftrace
    unshare --mount true || skip_or_fail "can't make a mount namespace"
    run timeout 60 unshare --mount sh -c 'while umount /sys/kernel/tracing 2>/dev/null; do :; done; exec "$@"' sh \
        "$HAKMEM_SOURCE/tools/demo.sh" --no-install --seconds 2 --library "$HAKMEM_LIB" 3>&-
    echo "$output"
    [ "$status" -eq 0 ]
    has_rows
    [[ "$output" == *"attaching to the probes"* && "$output" != *ERROR* ]]
}

@test "demo.sh builds the library itself and, without BPF, shows what the statistics tell" {
    needs_redis
    demo 3 --no-bpf
    [ "$status" -eq 0 ]
    [[ "$output" == *"building the library"* && "$output" == *"the server's own statistics"* ]]
    has_rows
    nothing_left
}

@test "demo.sh says so where the probes can't be watched, and shows the statistics" {
    needs_redis
    require_root
    require_command setpriv util-linux
    require_command bpftrace
    mkdir "$BATS_TEST_TMPDIR/tmp"
    TMPDIR="$BATS_TEST_TMPDIR/tmp" run timeout 60 setpriv --bounding-set=-sys_admin,-bpf,-perfmon --inh-caps=-all \
        "$HAKMEM_SOURCE/tools/demo.sh" --no-install --seconds 2 --library "$HAKMEM_LIB" 3>&-
    [ "$status" -eq 0 ]
    [[ "$output" == *"no BPF here"* && "$output" == *"the server's own statistics"* ]]
    has_rows
    nothing_left
}

@test "demo.sh ended by Ctrl-C, or by SIGTERM, leaves nothing behind" {
    needs_redis
    local signal tries
    mkdir "$BATS_TEST_TMPDIR/tmp"
    for signal in INT:130 TERM:143; do
        # env: a program that a shell starts in the background ignores SIGINT otherwise.
        TMPDIR="$BATS_TEST_TMPDIR/tmp" env --default-signal=INT "$HAKMEM_SOURCE/tools/demo.sh" --no-install --no-bpf \
            --seconds 100 --library "$HAKMEM_LIB" >"$BATS_TEST_TMPDIR/output" 2>&1 3>&- &
        local demo=$! ended=0
        for ((tries = 0; tries < 1000; tries++)); do
            ! grep -q '^SuperSlabs' "$BATS_TEST_TMPDIR/output" || break
            sleep 0.1
        done
        kill "-${signal%:*}" "$demo"
        wait "$demo" || ended=$?
        [ "$ended" -eq "${signal#*:}" ] || fail "$signal: exit status $ended"
        output=$(cat "$BATS_TEST_TMPDIR/output")
        [[ "$output" == *SuperSlabs* ]]
        nothing_left
    done
}

@test "hakmem_overview.bt reads the account as src/account.h lays it out" {
    local script="$HAKMEM_SOURCE/tools/hakmem_overview.bt" check="$BATS_TEST_TMPDIR/check.c" field fields
    {
        echo '#include "account.h"'
        sed -n '/^struct hk_class_account {/,/^};/p' "$script" | sed '1s/hk_class_account/copy/'
    } >"$check"
    fields=$(sed '1,/^struct copy {/d; /^};/,$d; s/uint[0-9]*_t//; s/\[[0-9]*\]//g' "$check" | tr ',;' '  ')
    [ "$(wc -w <<<"$fields")" -ge 25 ]
    for field in $fields; do
        printf '_Static_assert(offsetof(struct copy, %s) == offsetof(struct hk_class_account, %s), "%s");\n' "$field" "$field" "$field"
        printf '_Static_assert(sizeof(((struct copy *)0)->%s) == sizeof(((struct hk_class_account *)0)->%s), "%s");\n' \
            "$field" "$field" "$field"
    done >>"$check"
    echo '_Static_assert(HK_ACCOUNT_VERSION == 1 && HK_ACCOUNT_CLASSES == 121, "version, classes");' >>"$check"
    cc -std=c11 -fsyntax-only -I"$HAKMEM_SOURCE/src" "$check"
    # It would notice: an account with one field less.
    sed '/^struct copy {/,/^};/s/ inherited,//' "$check" | grep -v 'copy, inherited)\|->inherited)' >"$check.wrong.c"
    run cc -std=c11 -fsyntax-only -I"$HAKMEM_SOURCE/src" "$check.wrong.c"
    [ "$status" -ne 0 ]
}
