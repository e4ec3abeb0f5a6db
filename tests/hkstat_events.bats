# hkstat_events.bats - failures, caps, traffic and misuse as hkstat tells them, in JSON and on the screen, are those that the
# load knows of; and they stay when the process ends.
load lib/common
load lib/attached
load lib/terminal

# watched LOAD [NAME=VALUE...]: it has run from its beginning to its end under watch, and waits.
watched() {
    attach_all
    start_load "$@"
    go
    load_is_done
    TICK=$(hkstat --json)
}

# of_process FILTER: what jq makes of the load's process in TICK.
of_process() {
    jq -c --argjson pid "$PID" ".processes[] | select(.pid == \$pid) | $1" <<<"$TICK"
}

# tells EXPECTED FILTER
tells() {
    local seen
    seen=$(of_process "$2")
    [ "$seen" = "$1" ] || fail "$2 is $seen, not $1:" "$(cat "$FACTS")"
}

# open_events: the panel of the load's process.
open_events() {
    open_dashboard 100 75 -p "$PID"
    await '1 classes'
    keys 3
    await '^Refills'
}

# after HEADING PATTERN: the screen has such a line behind one that begins so.
after() {
    screen | awk -v heading="$1" -v pattern="$2" '
        index($0, heading) == 1 { here = 1 }
        here && $0 ~ pattern { found = 1 }
        END { exit !found }' || fail "no '$2' behind '$1':" "$(screen)"
}

@test "ACE: Threshold and MapFail with sizes, errno and the limit that was hit; NULLs" {
    watched ace HAKMEM_CONF=ace_limit:16m
    [ "$(fact ace_fails threshold) $(fact ace_fails mapfail) $(fact ace_fails alloc_fails)" = "7 5 5" ] || fail "$(cat "$FACTS")"
    tells '{"threshold":7,"exhaustion":0,"mapfail":5}' .ace_fail
    tells 5 .alloc_fail
    tells '[7,0,5]' '.since_attach.ace_fails | [.threshold.count, .exhaustion.count, .mapfail.count]'
    tells '[7,5,5]' '.since_attach.ace_fails | [.threshold.by_errno.none, .mapfail.by_errno.ENOMEM, .mapfail.by_limit.RLIMIT_AS]'
    tells '[0,12]' '.since_attach.ace_fails | [.threshold.last_errno, .mapfail.last_errno]'
    tells '[5,5,5]' '.since_attach.alloc_fails | [.count, .by_errno.ENOMEM, .by_limit.RLIMIT_AS]'
    # 20 MiB, and 5 MiB.
    tells '[7,5,5]' '.since_attach | [.ace_fail_sizes.threshold[24], .ace_fail_sizes.mapfail[22], .alloc_fail_sizes[22]]'
    tells '[7,5,5]' '.since_attach | [(.ace_fail_sizes.threshold | add), (.ace_fail_sizes.mapfail | add), (.alloc_fail_sizes | add)]'
    tells '[7,5]' '[([.classes[].ace_fail.threshold] | add), ([.classes[].ace_fail.mapfail] | add)]'
    open_events
    after "ACE could not" '^ +threshold +7$'
    after "ACE could not" '^ +mapfail +5$'
    after "  mapfail" '^ +since attach 5; errno: ENOMEM 5$'
    after "  mapfail" '^ +limit: RLIMIT_AS 5$'
    after "  threshold" '^ +16.0M B and more +7 '
    after "NULL was returned" '^ +all +5$'
    finish_load
}

@test "the shared pool: every request that it passed on, and ACE's Exhaustion" {
    watched fallback HAKMEM_CONF=superslabs:1
    local fallbacks exhaustion
    fallbacks=$(fact peak fallbacks) exhaustion=$(fact peak exhaustion)
    [ "$fallbacks" -gt 0 ] && [ "$exhaustion" -gt 0 ] || fail "$(cat "$FACTS")"
    tells "[$fallbacks,$fallbacks]" '[.shared_fail, .shared_fail_by.cap]'
    tells "[$fallbacks,0]" '.since_attach.shared_fails.cap | [.count, .last_errno]'
    tells "[$exhaustion,$exhaustion]" '[.ace_fail.exhaustion, .since_attach.ace_fails.exhaustion.count]'
    tells true '.legacy_allocs >= 4001 - 2048 and .since_attach.legacy_maps > 0 and .since_attach.legacy_unmaps == .since_attach.legacy_maps'
    tells "$(fact end chunks)" .legacy_chunks
    open_events
    after "Shared pool" "^ +cap +$fallbacks\$"
    after "ACE could not" "^ +exhaustion +$exhaustion\$"
    finish_load
}

@test "the shared pool: refused by the kernel, with its errno" {
    attach_all
    env "LD_PRELOAD=$LIBRARY" SCENARIO_MODE=kernel "$(hk_test_program probes/scenario)" shared_fail >"$BATS_TEST_TMPDIR/facts" 3>&-
    wait_for 20 eval 'hkstat --json | jq -e ".ended[] | select(.executable == \"scenario\")" >/dev/null'
    hkstat --json | jq -e '.ended[] | select(.executable == "scenario") |
        .shared_fail_by.kernel > 0 and .since_attach.shared_fails.kernel.count == .shared_fail_by.kernel and
        .since_attach.shared_fails.kernel.last_errno == 12 and .since_attach.shared_fails.cap.count == 0' >/dev/null ||
        fail "$(hkstat --json | jq -c '.ended[] | .shared_fail_by, .since_attach.shared_fails')"
}

@test "memory to and from the kernel: what was mapped and not unmapped is what is mapped; pages that went back" {
    attach_all
    start_load os_memory HAKMEM_CONF=ace_limit:16m
    go
    load_is_done
    TICK=$(hkstat --json)
    tells '[11,11]' '.since_attach.traffic.huge | [.maps, .unmaps]'
    tells true '.since_attach.traffic.huge | .map_bytes >= 11 * 20971520 and .map_bytes == .unmap_bytes'
    tells "$(fact memory mapped)" '[.since_attach.traffic | del(.region)[] | .map_bytes - .unmap_bytes] | add / 1024'
    tells "$(fact memory mapped)" '.mapped_bytes / 1024'
    tells true ".since_attach.purges > 0 and .purged_bytes / 1024 >= $(fact memory purged)"
    tells true '.since_attach | .superslab_maps - .superslab_unmaps > 0'
    tells true '.superslabs == .since_attach.superslab_maps - .since_attach.superslab_unmaps'
    open_events
    after "Memory to and from" '^ +huge +mapped +11 times +22[0-9]M, unmapped +11 times +22[0-9]M$'
    after "Capacity" "^ +superslabs +$(of_process .superslabs)\$"
    finish_load
}

@test "drains by reason with blocks and bytes; refills by server, and the SuperSlab hit rate that follows from them" {
    local size
    watched drains
    for size in 256 512; do
        tells "[$(fact "class $size" drains),$(fact "class $size" drain_blocks)]" \
            ".classes[] | select(.size == $size) | [.drains, ([.drain_blocks_by[]] | add)]"
        tells "[$(fact "class $size" refills),$(fact "class $size" held)]" \
            ".classes[] | select(.size == $size) | [.refills, .refills_by.chain + .refills_by.slab]"
        tells true ".classes[] | select(.size == $size) | (.superslab_hit_rate - $(fact "class $size" held) / $(fact "class $size" refills)) | fabs < 1e-9"
    done
    tells 16 '.classes[] | select(.size == 256) | .drain_blocks_by.trim'
    tells true '.reports > 0'
    tells true '.classes[] | select(.size == 512) | .drains_by.exit > 0'
    tells true '([.classes[] | .size * .drain_blocks_by.overflow] | add) == .drain_bytes_by.overflow and .drain_bytes_by.exit > 0'
    tells true '[.classes[] | ([.hits_per_miss[]] | add) == .misses and ([.hit_rate_histogram[]] | add) <= .reports] | all'
    open_events
    after "Drains, by reason" "^ +exit +$(of_process .drains_by.exit) +blocks +$(of_process .drain_blocks_by.exit) +bytes "
    finish_load
}

@test "caps of ACE, as they moved" {
    watched adapt
    local cap
    cap=$(fact "caps $((112 << 10))" cap)
    tells true '.since_attach.caps_raised > 0 and .since_attach.caps_raised == ([.classes[].cap | select(. != null) | .raised] | add)'
    tells true '.since_attach.caps_lowered == ([.classes[].cap | select(. != null) | .lowered] | add)'
    tells "[$cap,$cap]" ".classes[] | select(.size == $((112 << 10))) | [.cap.to, .cap_blocks]"
    tells true ".classes[] | select(.size == $((112 << 10))) | .cap | .from != .to and .hit_rate <= 100 and .target == 90 and .last_time_ns > 0"
    open_events
    after "ACE could not" "^ +caps raised $(of_process .since_attach.caps_raised), lowered $(of_process .since_attach.caps_lowered) since attach\$"
    finish_load
}

@test "misuse ends its process, and is told: in JSON, in a record, and on the screen" {
    attach_all
    start_load double_free
    go
    wait_for 20 has_ended 1
    hkstat --json >"$BATS_TEST_TMPDIR/tick"
    [ "$(jq -c '.ended[] | [.executable, .processes, .since_attach.misuses.DOUBLE_FREE]' "$BATS_TEST_TMPDIR/tick")" = '["load",1,1]' ] ||
        fail "$(jq -c .ended "$BATS_TEST_TMPDIR/tick")"
    "$HKSTAT" replay "$BATS_TEST_TMPDIR/tick" --json | cmp - "$BATS_TEST_TMPDIR/tick"
    open_dashboard 80 24
    await 'misuse 1'
    keys e
    await '^ load +1 .* 1$'
    keys Enter
    await '^ +DOUBLE_FREE +1$'
    keys Escape
    await '^ load +1 .* 1$'
    keys e
    await 'processes 0'
}

# has_ended N: so many processes of the load.
has_ended() {
    [ "$(maps ended load processes)" -ge "$1" ]
}

@test "what a process's events told is added to those of its executable when it ends" {
    local round live expected
    attach_all
    for round in 1 2; do
        start_load ace HAKMEM_CONF=ace_limit:16m
        go
        load_is_done
        TICK=$(hkstat --json)
        live=$(of_process '.since_attach')
        finish_load
        wait_for 20 has_ended "$round"
        printf '%s\n' "$live" >>"$BATS_TEST_TMPDIR/lives"
    done
    hkstat --json | jq '.ended[] | select(.executable == "load").since_attach' >"$BATS_TEST_TMPDIR/ended"
    python3 - "$BATS_TEST_TMPDIR/lives" "$BATS_TEST_TMPDIR/ended" <<'PYTHON'
import json, sys
lives = [json.loads(line) for line in open(sys.argv[1])]
ended = json.load(open(sys.argv[2]))

def compare(path, parts, total):
    if isinstance(total, dict):
        for name in total:
            compare(f"{path}.{name}", [part[name] for part in parts], total[name])
    elif isinstance(total, list):
        for i in range(len(total)):
            compare(f"{path}[{i}]", [part[i] for part in parts], total[i])
    elif path.endswith(("last_errno", "last_time_ns")):
        assert total == max(parts), (path, parts, total)
    else: # the process's own end still unmaps
        assert total == sum(parts) or (total > sum(parts) and path.startswith((".traffic", ".purges", ".superslab"))), (path, parts, total)

compare("", lives, ended)
assert ended["ace_fails"]["mapfail"]["by_limit"]["RLIMIT_AS"] == 10
PYTHON
}

@test "stacks of failing callers, on demand: by function, to who may look into the process; gone with it" {
    attach_all --stacks
    start_load ace HAKMEM_CONF=ace_limit:16m
    go
    load_is_done
    run hkstat_stacks -p "$PID"
    [ "$status" -eq 0 ] || fail "$output"
    awk -v pid="$PID" '
        /^process/ { here = $0 ~ "^process " pid ", [0-9]+ times: ACE mapfail$"; times += here ? $3 : 0 }
        here && /^    ask_for_memory\+0x[0-9a-f]+ load$/ { named++ }
        END { exit !(times == 5 && named > 0) }' <<<"$output" || fail "not five times by name:" "$output"
    [ "$(maps stacks 1 0) $(maps stacks 1 2) $(maps stacks 2 1)" = "7 5 5" ] || fail "$(maps stacks 1 0) $(maps stacks 1 2)"
    open_dashboard 100 60 -p "$PID"
    await '6 stacks'
    keys 6
    await '^ +ask_for_memory\+0x[0-9a-f]+ load$'
    close_terminal
    # Who may not look into the process sees addresses.
    run setpriv --reuid=65534 --regid=65534 --clear-groups "$HKSTAT" stacks --pin-dir "$PINS"
    [ "$status" -eq 0 ] && [[ "$output" == *"times: ACE mapfail"* && "$output" != *ask_for_memory* ]] || fail "$status: $output"
    finish_load
    wait_for 20 has_ended 1
    [ "$(maps stacks 1 2)" = 0 ] || fail "stacks of a process that has ended are left"
    nothing_lost
}

hkstat_stacks() {
    "$HKSTAT" stacks --pin-dir "$PINS" "$@"
}

@test "stacks that aren't kept: the command and the screen say how to have them" {
    attach_all
    start_load misses
    go
    load_is_done
    refuses "hkstat attach --stacks" "$HKSTAT" stacks --pin-dir "$PINS"
    open_dashboard 100 24 -p "$PID"
    await '6 stacks'
    keys 6
    await "Not shown: stacks aren't kept"
    finish_load
}

@test "more different stacks than there is room for are told as a full map, those that are kept are right" {
    attach_all --stacks
    env "LD_PRELOAD=$LIBRARY" "$(hk_test_program hkstat/many_stacks)" 3>&- </dev/zero >"$BATS_TEST_TMPDIR/said"
    [ "$(cat "$BATS_TEST_TMPDIR/said")" = 20000 ]
    says_maps 20000 ended many_stacks events.alloc_fails.count
    run jq '.lost_by.map_full, .lost_by.stack' < <(hkstat --json)
    [ "$output" = "$((20000 - 16384))"$'\n'0 ] || fail "$output"
}
