# When address space is short, the region is missing, or the kernel refuses.
# bats: parallel beside

load lib/common

setup() {
    PATH="$HAKMEM_BUILD/tests/behaviour:$PATH"
    hk_test_program behaviour/address_limit >/dev/null
}

# each_fallback COMMAND ARGS...: with each way to be without SuperSlabs, from some on or at all, as its last argument.
each_fallback() {
    local conf
    for conf in region:0 superslabs:0 superslabs:1 region:4m; do
        echo "HAKMEM_CONF=$conf"
        "$@" "$conf"
    done
}

# same_output CONF PROGRAM ARGS...: under CONF as without the allocator.
same_output() {
    local conf="$1"
    shift
    "$@" >"$BATS_TEST_TMPDIR/without" 2>&1
    hk_preload "HAKMEM_CONF=$conf" "$@" >"$BATS_TEST_TMPDIR/with" 2>&1
    cmp "$BATS_TEST_TMPDIR/without" "$BATS_TEST_TMPDIR/with"
}

@test "under ulimit -v 200000 a program gets 150 MB of blocks, can use again what it freed, and survives ENOMEM" {
    (ulimit -v 200000 && hk_preload address_limit 150)
}

@test "under ulimit -v 200000 the fallback alone gives 150 MB too" {
    (ulimit -v 200000 && hk_preload HAKMEM_CONF=region:0 address_limit 150)
}

@test "RLIMIT_AS lowered below what is reserved: what was freed serves every size, also where live blocks lie all over it" {
    local keep conf
    for keep in 0 5000; do
        hk_preload late_limit "$keep"
    done
    for conf in region:0 harden:1; do
        hk_preload "HAKMEM_CONF=$conf" late_limit 20000
    done
    run hk_preload late_limit 5000
    [[ "$output" =~ ^([0-9]+)" of "[0-9]+" new blocks lie between" ]] || fail "$output"
    [ "${BASH_REMATCH[1]}" -gt 0 ] || fail "none lies where a hole was: $output"
}

@test "a large block that a limit of locked memory refuses does not cost the memory of small ones" {
    run hk_preload lock_limit
    [ "$status $output" = "0 good" ] || fail "$output"
}

@test "under ulimit -v 200000 python3 gets 100 MB of small objects, twice" {
    require_command python3
    (ulimit -v 200000 && hk_preload PYTHONMALLOC=malloc python3 -c '
for size in 900, 4000:
    blocks = [bytes([i % 256]) * size for i in range(100_000_000 // size)]
    assert all(b[-1] == i % 256 for i, b in enumerate(blocks))
    del blocks
')
}

@test "python3 runs by the fallback" {
    require_command python3
    python_by() {
        same_output "$1" env PYTHONMALLOC=malloc PYTHONHASHSEED=0 python3 -c '
import json, re, threading
texts = {}
def work(n):
    data = {str(i): list(range(i % 40)) for i in range(1500)}
    texts[n] = len(json.dumps(data)) + len(re.findall("1[0-9]", json.dumps(data)))
threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
for t in threads: t.start()
for t in threads: t.join()
print(sorted(texts.items()))'
    }
    each_fallback python_by
}

@test "sort runs by the fallback" {
    seq 300000 | awk '{ print ($1 * 7919) % 1000003, "line", $1 }' >"$BATS_TEST_TMPDIR/lines"
    sort_by() {
        same_output "$1" sort -n --parallel=4 "$BATS_TEST_TMPDIR/lines"
    }
    each_fallback sort_by
}

@test "threads that free each other's blocks run by the fallback" {
    threads_by() {
        hk_preload "HAKMEM_CONF=$1" threads exchange 16 5000
        hk_preload "HAKMEM_CONF=$1" threads outlive 16 5
    }
    each_fallback threads_by
}

# told LINE... -- [NAME=VALUE...] SCENARIO: a scenario of tests/probes/scenario.c says these lines, each count and line, and
# no other, on standard error when HAKMEM_ACE_TRACE is 1; nothing when it isn't.
told() {
    local -a lines=()
    while [ "$1" != -- ]; do
        lines+=("$1")
        shift
    done
    shift
    local scenario="${*: -1}" program
    program=$(hk_test_program probes/scenario)
    hk_preload HAKMEM_ACE_TRACE=1 "${@:1:$#-1}" "$program" "$scenario" 2>&1 >/dev/null | uniq -c | sed 's/^ *//' >"$BATS_TEST_TMPDIR/told"
    diff <(printf '%s\n' "${lines[@]}") "$BATS_TEST_TMPDIR/told" >&2
    [ -z "$(hk_preload HAKMEM_ACE_TRACE=0 "${@:1:$#-1}" "$program" "$scenario" 2>&1 >/dev/null)" ]
    [ -z "$(hk_preload "${@:1:$#-1}" "$program" "$scenario" 2>&1 >/dev/null)" ]
}

@test "after requests that no machine can serve SuperSlabs serve as before" {
    run hk_preload "$(hk_test_program behaviour/too_much)"
    [ "$status" -eq 0 ] && [ "$output" = good ] || fail "$status: $output"
}

@test "HAKMEM_ACE_TRACE=1 writes a line for each Threshold, Exhaustion and MapFail" {
    told "1 hakmem: ACE Threshold: 20971520 bytes (class huge)" -- HAKMEM_CONF=ace_limit:16m ace_fail
    told "1 hakmem: shared_fail -> legacy: class 112 B, reason region" \
        "20 hakmem: ACE Exhaustion: 204800 bytes (class 208 KiB)" -- HAKMEM_CONF=region:0 SCENARIO_MODE=exhaustion ace_fail
    (
        ulimit -v 500000
        told "1 hakmem: ACE MapFail: 1073741824 bytes (class huge), errno 12 ENOMEM, limit RLIMIT_AS" \
            -- HAKMEM_CONF=ace_limit:2g SCENARIO_MODE=as ace_fail
    )
}

@test "HAKMEM_ACE_TRACE=1 writes a line for each request that the shared pool passes on to the fallback" {
    local conf reason
    while read -r conf reason; do
        hk_preload HAKMEM_ACE_TRACE=1 "$conf" "$(hk_test_program probes/scenario)" shared_fail 2>"$BATS_TEST_TMPDIR/told"
        grep -cx "hakmem: shared_fail -> legacy: class 1 KiB, reason $reason" "$BATS_TEST_TMPDIR/told"
        ! grep -vE '^hakmem: (shared_fail -> legacy: class|ACE Exhaustion:) ' "$BATS_TEST_TMPDIR/told" || fail "other lines"
    done <<'CONFIGURATIONS'
HAKMEM_CONF=superslabs:1 cap
HAKMEM_CONF=region:2m region
SCENARIO_MODE=kernel kernel, errno 12 ENOMEM
CONFIGURATIONS
}

@test "a line of HAKMEM_ACE_TRACE is one write to standard error" {
    require_command strace
    strace -o "$BATS_TEST_TMPDIR/calls" -e trace=write -E HAKMEM_ACE_TRACE=1 -E "LD_PRELOAD=$HAKMEM_LIB" \
        -E HAKMEM_CONF=region:0 -E SCENARIO_MODE=exhaustion "$(hk_test_program probes/scenario)" ace_fail
    [ "$(grep -cE '^write\(2, "hakmem: ACE Exhaustion: ' "$BATS_TEST_TMPDIR/calls")" -eq 20 ]
    [ "$(grep -c '^write(2' "$BATS_TEST_TMPDIR/calls")" -eq 21 ]
}

# refuse CALL WHEN [CALL WHEN...]: the program `refused` must end well under strace, which makes calls fail. INJECTED says how many did.
refuse() {
    local what="$*" output status=0 calls="$BATS_TEST_TMPDIR/refused"
    local -a inject=()
    while [ $# -gt 0 ]; do
        inject+=(-e "inject=$1:error=ENOMEM:when=$2")
        shift 2
    done
    output=$(strace -o "$calls" -e trace=%memory "${inject[@]}" -E "LD_PRELOAD=$HAKMEM_LIB" \
        -E HAKMEM_CONF=decay_ms:5 refused 2>&1) || status=$?
    [ "$status" -eq 0 ] || fail "refused at $what: status $status: $output"
    [[ "$output" =~ ^([0-9]+)" allocations were refused, "([0-9]+)" of them at last, "([0-9]+)" bytes mapped"$ ]] || fail "refused at $what: $output"
    REFUSED=${BASH_REMATCH[1]} AT_LAST=${BASH_REMATCH[2]} MAPPED=${BASH_REMATCH[3]}
    [ "$REFUSED" -eq 0 ] || runs_refused=$((runs_refused + 1))
    INJECTED=$(grep -c INJECTED "$calls" || test $? -eq 1)
}

# first_of CALL: its first call after the dynamic linker's own, which end where it unmaps its cache of libraries.
first_of() {
    strace -o "$BATS_TEST_TMPDIR/calls" -e trace=%memory -E "LD_PRELOAD=$HAKMEM_LIB" refused >/dev/null
    grep -q '^munmap(' "$BATS_TEST_TMPDIR/calls"
    awk -v call="$1(" 'index($0, call) == 1 { n++ } /^munmap\(/ { exit } END { print n + 1 }' "$BATS_TEST_TMPDIR/calls"
}

# refuse_each CALL [STEP]: each of its calls alone, or each STEPth, until a run has none to refuse; and from every eighth of them on all.
# What is refused once is got over: all is served again, and nothing stays mapped (but the SuperSlab for the next burst).
refuse_each() {
    local call=$1 step=${2:-1} n most all=8
    ! full_tier || step=1 all=1
    refuse brk 60000
    most=$((MAPPED + (2 << 20)))
    n=$(first_of "$call")
    while
        refuse "$call" "$n"
        [ "$INJECTED" -ne 0 ]
    do
        [ "$AT_LAST" -eq 0 ] || fail "$call $n: $AT_LAST are still refused"
        [ "$MAPPED" -le "$most" ] || fail "$call $n: $MAPPED bytes stay mapped, more than $most"
        [ $((n / step % all)) -ne 0 ] || refuse "$call" "$n+"
        n=$((n + step))
    done
    echo "$call: up to the call $n"
}

@test "mmap that fails at any call gives NULL with ENOMEM or is got over" {
    require_command strace
    runs_refused=0
    refuse_each mmap
    echo "$runs_refused runs saw an allocation refused"
    [ "$runs_refused" -gt 0 ]
}

@test "mprotect that fails at any call is got over" {
    require_command strace
    refuse_each mprotect
}

@test "madvise and munmap that fail at any call are got over" {
    require_command strace
    refuse_each madvise 31
    refuse_each munmap
}

@test "mremap that fails at any call is got over" {
    require_command strace
    refuse_each mremap
}

@test "mmap, mprotect and mremap that all fail from any call on give NULL with ENOMEM" {
    local n mmap mprotect mremap
    require_command strace
    mmap=$(first_of mmap) mprotect=$(first_of mprotect) mremap=$(first_of mremap)
    runs_refused=0
    for n in 0 1 2 3 4 5 6 8 10 15 20 30 50; do
        refuse mmap "$((mmap + n))+" mprotect "$((mprotect + n))+" mremap "$mremap+"
        refuse mmap "$((mmap + n))+" mprotect "$mprotect+" mremap "$mremap+"
    done
    [ "$runs_refused" -gt 10 ]
}
