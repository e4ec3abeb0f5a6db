# hkstat_attach.bats - hkstat attach, detach and status: who is found, what is left behind, and what is said when it can't be.
load lib/common
load lib/attached

teardown() {
    attached_teardown
    [ -z "${BPFFS:-}" ] || umount "$BPFFS"
}

# as_nobody CAPABILITIES COMMAND...: with those alone; "+bpf,+perfmon", or "-all" for none.
as_nobody() {
    local capabilities="$1"
    shift
    setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps="$capabilities" --ambient-caps="$capabilities" "$@"
}

# nobodys_bpffs: a BPF file system in which an ordinary user may pin.
nobodys_bpffs() {
    BPFFS="$SHARED/bpffs"
    mkdir -p "$BPFFS"
    mount -t bpf bpf "$BPFFS"
    chown 65534:65534 "$BPFFS"
    PINS="$BPFFS/pins"
}

# status_says LINE-PART...
status_says() {
    local part
    run "$HKSTAT" status --pin-dir "$PINS"
    [ "$status" -eq 0 ] || fail "nothing is attached:" "$output"
    for part in "$@"; do
        [[ "$output" == *"$part"* ]] || fail "status does not say '$part':" "$output"
    done
}

# hide_library start_counts: where the process has its library, others see an empty folder.
hide_library() {
    local hidden="$SHARED/hidden" library="$LIBRARY"
    mkdir -p "$hidden"
    LIBRARY="$hidden/libhakmem.so" "$@" unshare -m sh -c \
        'mount -t tmpfs tmpfs "$0" && cp "$1" "$0/libhakmem.so" && shift && exec "$@"' "$hidden" "$library"
}

@test "attach to one process, then to another; attach again; detach" {
    local first
    start_counts
    first=$PID
    attach -p "$first"
    watchers 0 1 "$first"
    [ "$(programs_of_ours)" -ge $((PROGRAMS_BEFORE + 20)) ] || fail "$(programs_of_ours) programs"
    start_counts
    watchers 0 0 "$PID"
    run attach -p "$first" -p "$PID"
    [[ "$output" == *"attached already: process $first,"*"attached: process $PID,"* ]] || fail "$output"
    watchers 0 1 "$PID"
    status_says "process $first with $LIBRARY: default probes" "process $PID with $LIBRARY: default probes" "lost: 0"
    detach
    watchers 0 0 "$PID"
    watchers 0 0 "$first"
    nothing_left
}

@test "attach to a library: the processes that run and those that start later, each watched once" {
    start_counts
    attach -p "$PID"
    attach_all
    watchers 0 1 "$PID"
    status_says "all processes with $LIBRARY: default probes"
    [[ "$output" != *"process $PID with"* ]] || fail "watched twice:" "$output"
    run attach -p "$PID"
    [[ "$output" == *"attached already: process $PID,"* ]] || fail "$output"
    start_counts
    watchers 0 1 "$PID"
    tell churn 3000 101
    says_maps "1" process "$PID" events.superslab_maps # counted once
    detach
    watchers 0 0 "$PID"
    nothing_left
}

@test "attach --all finds the copy that a running process uses" {
    start_counts
    run "$HKSTAT" attach --all --pin-dir "$PINS"
    [ "$status" -eq 0 ] && [[ "$output" == *"attached: all processes, $LIBRARY"* ]] || fail "$status: $output"
    watchers 0 1 "$PID"
    start_counts
    watchers 0 1 "$PID"
}

@test "attach --all with none running: the copy beside it in the build tree, the installed one, and those it is told of" {
    local prefix="$SHARED/prefix" library
    cmake --install "$HAKMEM_BUILD" --prefix "$prefix" >/dev/null
    cp "$LIBRARY" "$SHARED/told.so"
    library=$(readlink -f "$(find "$prefix" -name 'libhakmem.so')")
    run "$prefix/bin/hkstat" attach --all --library "$SHARED/told.so" --pin-dir "$PINS"
    [ "$status" -eq 0 ] || fail "$status: $output"
    [[ "$output" == *"attached: all processes, $library"* && "$output" == *"attached: all processes, $SHARED/told.so"* ]] || fail "$output"
    LIBRARY=$library start_counts
    tell churn 3000 9973
    finish exit
    says_maps "1 9973" ended counts processes allocs
    LIBRARY="$SHARED/told.so" start_counts
    tell churn 3000 9973
    finish exit
    says_maps "2 19946" ended counts processes allocs
    detach
    run "$HAKMEM_BUILD/hkstat" attach --all --pin-dir "$PINS"
    [ "$status" -eq 0 ] && [[ "$output" == *"attached: all processes, $(readlink -f "$HAKMEM_LIB")"* ]] || fail "$status: $output"
    LIBRARY="$HAKMEM_LIB" start_counts
    tell churn 3000 9973
    finish exit
    says_maps "1 9973" ended counts processes allocs
    detach
    nothing_left
}

# spoil FILE: where a probe of this library is, there is now an instruction that 64-bit code doesn't have.
spoil() {
    python3 - "$1" <<'PYTHON'
import os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, os.environ["HAKMEM_SOURCE"] + "/tests/probes")
from check_notes import Elf
elf = Elf(sys.argv[1])
site = next(note[2] for note in elf.notes if note[1] == "cache_report")
offset = next(site - start + offset for offset, start, size in elf.segments if start <= site < start + size)
with open(sys.argv[1], "r+b") as library:
    library.seek(offset)
    library.write(b"\x06")
PYTHON
}

@test "attach --all: a library with a site that can't be probed is told, and the others are attached" {
    cp "$LIBRARY" "$SHARED/bad.so"
    spoil "$SHARED/bad.so"
    LIBRARY="$SHARED/bad.so" start_counts
    start_counts
    run "$HKSTAT" attach --all --pin-dir "$PINS"
    [ "$status" -eq 0 ] || fail "$status: $output"
    [[ "$output" == *"can't attach to probe cache_report of $SHARED/bad.so"* ]] || fail "$output"
    [[ "$output" == *"attached: all processes, $LIBRARY"* ]] || fail "$output"
    watchers 0 1 "$PID"
    detach
    refuses "can't attach to probe cache_report" "$HKSTAT" attach --library "$SHARED/bad.so" --pin-dir "$PINS"
    nothing_left
}

@test "attach --all: hundreds of copies at once" {
    local copies=300 each=8 number preload=""
    mkdir "$SHARED/copies"
    cc -shared -fPIC "$HAKMEM_SOURCE/probes/probes.c" -o "$SHARED/copies/0.so"
    for ((number = 1; number <= copies; number++)); do
        cp "$SHARED/copies/0.so" "$SHARED/copies/$number.so"
        preload+=" $SHARED/copies/$number.so"
        if ((number % each == 0 || number == copies)); then
            env "LD_PRELOAD=$preload" sleep 60 3>&- &
            STARTED+=" $!"
            preload=""
        fi
    done
    wait_for 20 grep -q "/$copies.so" "/proc/$!/maps"
    run "$HKSTAT" attach --all --pin-dir "$PINS" --probes cache_report
    [ "$status" -eq 0 ] || fail "$output"
    [ "$(grep -c "^attached: all processes, $SHARED/copies/[0-9]*.so$" <<<"$output")" -eq $copies ] || fail "$output"
    detach
    nothing_left
}

@test "attach to all probes, or to some" {
    start_counts
    attach -p "$PID" --probes cache_report,misuse
    status_says "process $PID with $LIBRARY: cache_report,misuse"
    attach -p "$PID" --probes all
    watchers 0 1 "$PID" # guard_alloc has to be named
    attach -p "$PID" --probes guard_alloc
    watchers 1 1 "$PID"
    run "$HKSTAT" attach -p "$PID" --pin-dir "$PINS" --probes nonsense
    [ "$status" -ne 0 ] && [[ "$output" == *"there is no probe 'nonsense'"* ]] || fail "$status: $output"
}

@test "with nothing attached detach and status say so" {
    run detach
    [ "$status" -eq 0 ] && [ "$output" = "nothing is attached" ] || fail "$status: $output"
    run "$HKSTAT" status --pin-dir "$PINS"
    [ "$status" -eq 1 ] && [ "$output" = "nothing is attached" ] || fail "$status: $output"
    nothing_left
}

@test "by perf events, as on kernels before 6.6" {
    start_counts
    attach -p "$PID" --perf-events --probes cache_report,os_map
    watchers 0 1 "$PID"
    status_says "by perf events"
    tell churn 3000 9973
    finish exit
    says_maps "1 9973 9973" ended counts processes allocs frees
    nothing_lost
    detach
    nothing_left
}

@test "where the kernel knows no uprobe_multi link, perf events are taken by themselves, and that is said" {
    require_command strace
    local -a call=("$HKSTAT" attach --library "$LIBRARY" --pin-dir "$PINS")
    local calls
    start_counts
    # The first link that is made is the question whether the kernel knows such.
    strace -qq -e trace=bpf -o "$BATS_TEST_TMPDIR/calls" "${call[@]}"
    calls=$(grep -n -m 1 BPF_LINK_CREATE "$BATS_TEST_TMPDIR/calls" | cut -d : -f 1)
    detach
    run strace -qq -o /dev/null -e trace=bpf -e "inject=bpf:error=EINVAL:when=$calls" "${call[@]}"
    [ "$status" -eq 0 ] && [[ "$output" == *"by perf events: this kernel has no uprobe_multi links"* ]] || fail "$status: $output"
    status_says "by perf events"
    tell churn 3000 9973
    finish exit
    says_maps "1 9973 9973" ended counts processes allocs frees
    nothing_lost
    detach
    nothing_left
}

@test "an attach and a detach never stop the process: it is never traced, and goes on meanwhile" {
    local pid round before after states="$BATS_TEST_TMPDIR/states"
    # It counts its rounds where /proc shows them: a line read is a character.
    env "LD_PRELOAD=$LIBRARY" python3 -S -c 'while True: open("/dev/null").close()' &
    pid=$!
    STARTED+=" $pid"
    wait_for 10 grep -qF "$LIBRARY" "/proc/$pid/maps"
    python3 - "$pid" "$states" <<'PYTHON' &
import sys, time
seen, end = set(), time.monotonic() + 20
while time.monotonic() < end:
    try:
        with open(f"/proc/{sys.argv[1]}/status") as file:
            status = dict(line.split(":", 1) for line in file.read().splitlines())
    except (FileNotFoundError, ProcessLookupError):
        break
    seen |= {status["State"].split()[0], "tracer " + status["TracerPid"].strip()}
open(sys.argv[2], "w").write("\n".join(sorted(seen)) + "\n")
PYTHON
    local looker=$!
    for round in 1 2 3 4 5; do
        before=$(awk '{ print $14 + $15 }' "/proc/$pid/stat")
        attach -p "$pid" --probes all
        detach
        sleep 0.1
        after=$(awk '{ print $14 + $15 }' "/proc/$pid/stat")
        [ "$after" -gt "$before" ] || fail "round $round: no time of a processor in between"
    done
    kill "$pid"
    wait "$looker"
    ! grep -vxE 'R|S|D|Z|X|tracer 0' "$states" || fail "seen: $(cat "$states")"
    grep -qx 'tracer 0' "$states"
}

@test "stacks are kept on demand: what was attached without them says so" {
    attach_all --stacks
    status_says "with stacks"
    detach
    attach_all
    refuses "keeps no stacks" "$HKSTAT" attach --library "$LIBRARY" --pin-dir "$PINS" --stacks
    attach_all
}

@test "an attach that is killed leaves nothing that the next can't take away" {
    local delay
    start_counts
    for delay in 0.02 0.05 0.1 0.15 0.2 0.3; do
        run timeout --signal=KILL "$delay" "$HKSTAT" attach -p "$PID" --pin-dir "$PINS"
        [ "$delay" != 0.1 ] || { detach && nothing_left && watchers 0 0 "$PID"; }
    done
    attach -p "$PID"
    watchers 0 1 "$PID"
    detach
    watchers 0 0 "$PID"
    nothing_left
}

@test "loaders that run at the same time wait for each other" {
    local i pids=()
    start_counts
    for i in 1 2 3 4 5 6; do
        if ((i % 3 == 0)); then
            "$HKSTAT" detach --pin-dir "$PINS" 3>&- &
        else
            "$HKSTAT" attach -p "$PID" --pin-dir "$PINS" 3>&- &
        fi
        pids+=($!)
    done
    for i in "${pids[@]}"; do
        wait "$i" || fail "one of them failed"
    done
    attach -p "$PID"
    watchers 0 1 "$PID"
    detach
    watchers 0 0 "$PID"
    nothing_left
}

@test "a statically linked program is found by its own probes" {
    local program="$SHARED/linked"
    cc -O1 -o "$program" "$HAKMEM_SOURCE/tests/hkstat/counts.c" -I"$HAKMEM_SOURCE/src" -D_GNU_SOURCE -rdynamic \
        "$HAKMEM_BUILD/libhakmem.a" -lpthread -ldl
    coproc COUNTING { exec "$program" 3>&-; }
    PID=$COUNTING_PID
    STARTED+=" $PID"
    exec {TO}>&"${COUNTING[1]}" {FROM}<&"${COUNTING[0]}"
    answer
    attach -p "$PID"
    status_says "process $PID with $program: default probes"
    tell churn 3000 9973
    finish exit
    says_maps "1 9973" ended linked processes frees
    nothing_lost
}

@test "a library in another mount namespace, and one that was replaced" {
    cp "$LIBRARY" "$SHARED/old.so"
    hide_library start_counts
    attach -p "$PID"
    tell churn 3000 997
    own=$(tell stats | awk '$4 == 997 { print $2 }')
    refresh
    says_maps 997 account "$PID" "$own" allocs
    LIBRARY="$SHARED/old.so" start_counts
    rm "$SHARED/old.so"
    cp "$LIBRARY" "$SHARED/old.so"
    attach -p "$PID"
    tell churn 3000 997
    tell stats >"$BATS_TEST_TMPDIR/own"
    refresh
    says_maps 997 account "$PID" "$own" allocs
    nothing_lost
}

@test "CAP_BPF and CAP_PERFMON are enough, and a missing one is named" {
    nobodys_bpffs
    local -a call=("$HKSTAT" attach --library "$LIBRARY" --pin-dir "$PINS")
    refuses "CAP_BPF" as_nobody -all "${call[@]}"
    nothing_left
    refuses "CAP_PERFMON" as_nobody +bpf "${call[@]}"
    refuses "CAP_SYS_ADMIN" as_nobody +bpf,+perfmon "${call[@]}" --perf-events
    run as_nobody +bpf,+perfmon "${call[@]}"
    [ "$status" -eq 0 ] || fail "$output"
    start_counts
    tell churn 3000 9973
    finish exit
    says_maps "1 9973" ended counts processes allocs
    run as_nobody +bpf,+perfmon "$HKSTAT" detach --pin-dir "$PINS"
    [ "$status" -eq 0 ] || fail "$output"
    nothing_left
}

@test "another mount namespace needs CAP_SYS_PTRACE, a deleted library CAP_CHECKPOINT_RESTORE" {
    nobodys_bpffs
    hide_library start_counts
    refuses "CAP_SYS_PTRACE" as_nobody +bpf,+perfmon "$HKSTAT" attach -p "$PID" --pin-dir "$PINS"
    run as_nobody +bpf,+perfmon,+sys_ptrace "$HKSTAT" attach -p "$PID" --pin-dir "$PINS"
    [ "$status" -eq 0 ] || fail "$output"

    cp "$LIBRARY" "$SHARED/deleted.so"
    LIBRARY="$SHARED/deleted.so" start_counts
    rm "$SHARED/deleted.so"
    refuses "CAP_CHECKPOINT_RESTORE" as_nobody +bpf,+perfmon,+sys_ptrace "$HKSTAT" attach -p "$PID" --pin-dir "$PINS"
    refuses "CAP_DAC_READ_SEARCH" as_nobody +bpf,+perfmon,+sys_ptrace,+checkpoint_restore \
        "$HKSTAT" attach -p "$PID" --pin-dir "$PINS"
    run as_nobody +bpf,+perfmon,+sys_ptrace,+checkpoint_restore,+dac_read_search \
        "$HKSTAT" attach -p "$PID" --pin-dir "$PINS"
    [ "$status" -eq 0 ] || fail "$output"
}

@test "attach --all says nothing of other programs' deleted files that are memory" {
    nobodys_bpffs
    python3 -c 'import mmap, os, time
file = os.memfd_create("scratch"); os.truncate(file, 8192)
memory = mmap.mmap(file, 8192, prot=mmap.PROT_READ | mmap.PROT_EXEC)
print("mapped", flush=True); time.sleep(60)' >"$BATS_TEST_TMPDIR/mapped" &
    STARTED+=" $!"
    wait_for 20 grep -q mapped "$BATS_TEST_TMPDIR/mapped"
    run as_nobody +bpf,+perfmon,+sys_ptrace "$HKSTAT" attach --all --library "$LIBRARY" --pin-dir "$PINS"
    [ "$status" -eq 0 ] && [[ "$output" != *memfd* ]] || fail "$status: $output"
}

@test "everybody may read, or whom --mode and --group choose" {
    nobodys_bpffs
    chmod 755 "$BPFFS"
    attach_all
    run as_nobody -all "$HKSTAT" status --pin-dir "$PINS"
    [ "$status" -eq 0 ] && [[ "$output" == *"all processes with $LIBRARY"* ]] || fail "$status: $output"
    run as_nobody -all cat "$PINS/refresh"
    [ "$status" -eq 0 ] || fail "$output"
    attach_all --mode 600
    refuses "permission denied" as_nobody -all "$HKSTAT" status --pin-dir "$PINS"
    attach_all --group nogroup
    run as_nobody -all "$HKSTAT" status --pin-dir "$PINS"
    [ "$status" -eq 0 ] || fail "$output"
    [ "$(stat -c '%a %G' "$PINS/maps/accounts")" = "640 nogroup" ] || fail "$(stat "$PINS/maps/accounts")"
    refuses "permission denied" setpriv --reuid=65533 --regid=65533 --clear-groups "$HKSTAT" status --pin-dir "$PINS"
    refuses "" setpriv --reuid=65533 --regid=65533 --clear-groups "$HKSTAT" --pin-dir "$PINS" --json
}

@test "no such process, a process without hakmem, without probes, or with probes of another ABI" {
    local probes="$BATS_TEST_TMPDIR/probes"
    refuses "no process 4194303" "$HKSTAT" attach -p 4194303 --pin-dir "$PINS"
    refuses "process $$ does not use hakmem" "$HKSTAT" attach -p $$ --pin-dir "$PINS"

    mkdir "$SHARED/bare"
    echo 'int nothing;' | cc -shared -fPIC -x c - -o "$SHARED/bare/libhakmem.so"
    env "LD_PRELOAD=$SHARED/bare/libhakmem.so" sleep 60 3>&- &
    STARTED+=" $!"
    wait_for 10 grep -q libhakmem "/proc/$!/maps"
    refuses "has no hakmem probes" "$HKSTAT" attach -p $! --pin-dir "$PINS"
    refuses "has no hakmem probes" "$HKSTAT" attach --library "$SHARED/bare/libhakmem.so" --pin-dir "$PINS"

    mkdir -p "$probes/src"
    cp -r "$HAKMEM_SOURCE/probes" "$probes/"
    cp "$HAKMEM_SOURCE/src/base.h" "$probes/src/"
    sed -i 's/HK_PROBE(cache_report, 4, (class_idx, account, generation, length)/HK_PROBE(cache_report, 3, (class_idx, account, generation)/' \
        "$probes/probes/hakmem_probes.def"
    cc -shared -fPIC "$probes/probes/probes.c" -o "$SHARED/other.so"
    refuses "another version of their ABI" "$HKSTAT" attach --library "$SHARED/other.so" --pin-dir "$PINS"
    env "LD_PRELOAD=$SHARED/other.so" sleep 60 3>&- &
    STARTED+=" $!"
    wait_for 10 grep -q other.so "/proc/$!/maps"
    refuses "another version of their ABI" "$HKSTAT" attach -p $! --pin-dir "$PINS"
    refuses "No such file" "$HKSTAT" attach --library "$SHARED/nothing.so" --pin-dir "$PINS"
    refuses "is no program or library" "$HKSTAT" attach --library /dev/null --pin-dir "$PINS"
    nothing_left
}

@test "no BPF in the kernel, and no BTF" {
    require_command strace
    local -a call=("$HKSTAT" attach --library "$LIBRARY" --pin-dir "$PINS")
    refuses "this kernel has no bpf(2)" strace -qq -o /dev/null -e trace=bpf -e inject=bpf:error=ENOSYS "${call[@]}"
    refuses "this kernel gives no BTF" unshare -m sh -c 'mount -t tmpfs tmpfs /sys/kernel/btf && exec "$@"' _ "${call[@]}"
    nothing_left
}

@test "a folder that is not on a bpffs, and how to mount one" {
    refuses "mount -t bpf bpf /sys/fs/bpf" "$HKSTAT" attach --library "$LIBRARY" --pin-dir "$BATS_TEST_TMPDIR/pins"
    [ ! -e "$BATS_TEST_TMPDIR/pins" ]
    mkdir "$BATS_TEST_TMPDIR/kept"
    refuses "mount -t bpf bpf /sys/fs/bpf" "$HKSTAT" detach --pin-dir "$BATS_TEST_TMPDIR/kept"
    [ -d "$BATS_TEST_TMPDIR/kept" ]
}

@test "pins of another version" {
    mkdir -p "$PINS/maps"
    bpftool map create "$PINS/maps/summary" type array key 4 value 8 entries 1 name summary
    refuses "pins of another version" "$HKSTAT" attach --library "$LIBRARY" --pin-dir "$PINS"
    refuses "pins of another version" "$HKSTAT" status --pin-dir "$PINS"
    detach
    nothing_left
    attach_all
}

@test "a map that is full is told, with what to do" {
    attach_all --max-processes 1
    start_counts
    tell churn 3000 101
    start_counts
    tell churn 3000 101
    status_says "since a map was full: detach, and attach with a larger --max-processes"
    [ "$(maps lost)" -gt 0 ]
}

@test "a process that fires probes with arguments that can't be harms nobody" {
    local program
    program=$(hk_test_program hkstat/hostile)
    attach_all --library "$program" --probes all --stacks
    start_counts
    tell churn 3000 9973
    "$program" </dev/null
    tell churn 3000 101
    tell stats >"$BATS_TEST_TMPDIR/own"
    refresh
    maps classes "$PID" >"$BATS_TEST_TMPDIR/seen"
    diff "$BATS_TEST_TMPDIR/own" "$BATS_TEST_TMPDIR/seen" >&2 || fail "another process's counts have changed"
    [ "$(maps lost)" -gt 0 ] || fail "nothing was called impossible"
    run "$HKSTAT" status --pin-dir "$PINS"
    [ "$status" -eq 0 ] || fail "$output"
    says_maps 1 ended hostile processes
}

# An account that lies where a read of it never ends: whoever refreshes is done all the same.
@test "a process whose account is in a file that is never delivered, or in memory that nobody fills in, holds up nobody" {
    local program files="$SHARED/files" input="$BATS_TEST_TMPDIR/input" file_system
    require_file "$HAKMEM_BUILD/tests/hkstat/silent_files" "a build with libfuse3"
    require_file /dev/fuse "FUSE in the kernel"
    program=$(hk_test_program hkstat/stuck)
    mkdir "$files"
    mkfifo "$input"
    "$(hk_test_program hkstat/silent_files)" -f "$files" 2>/dev/null 3>&- &
    file_system=$!
    STARTED+=" $file_system"
    wait_for 10 test -e "$files/account"
    attach_all --library "$program"
    "$program" file "$files/account" <"$input" >"$BATS_TEST_TMPDIR/file" 3>&- &
    STARTED+=" $!"
    exec {INPUT}>"$input"
    "$program" userfault <"$input" >"$BATS_TEST_TMPDIR/userfault" 3>&- &
    STARTED+=" $!"
    wait_for 10 grep -q ready "$BATS_TEST_TMPDIR/file"
    wait_for 10 grep -q ready "$BATS_TEST_TMPDIR/userfault"
    start_counts
    tell churn 3000 9973
    cat "$PINS/refresh" 3>&- &
    # Only its end frees who waits for its file.
    wait_for 10 gone $! || { kill -KILL "$file_system"; fail "who refreshes waits for a file"; }
    own=$(tell stats | awk '$4 == 9973 { print $2 }')
    refresh
    says_maps "9973 9973" account "$PID" "$own" allocs frees
    "$HKSTAT" --pin-dir "$PINS" --json | jq -e '.processes | length == 3' >/dev/null
    # It has mapped that file as code too: a library may be in it.
    "$HKSTAT" attach --all --pin-dir "$PINS" >"$BATS_TEST_TMPDIR/attached" 2>&1 3>&- &
    wait_for 10 gone $! || { kill -KILL "$file_system"; fail "who looks for libraries waits for a file"; }
    grep -qF "attached already: all processes, $LIBRARY" "$BATS_TEST_TMPDIR/attached" || fail "$(cat "$BATS_TEST_TMPDIR/attached")"
    python3 -c 'import mmap, os, sys, time
mapping = mmap.mmap(os.open(sys.argv[1], os.O_RDONLY), 4096, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)
time.sleep(60)' "$files/account" 3>&- &
    STARTED+=" $!"
    wait_for 10 grep -q "$files/account" "/proc/$!/maps"
    refuses "name it by --library" "$HKSTAT" attach -p $! --pin-dir "$PINS"
    detach
    nothing_left
    kill -KILL "$file_system"
    umount -l "$files"
}

gone() {
    [ ! -d "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"
}

@test "usage errors say what is wrong" {
    local -a attach=("$HKSTAT" attach --pin-dir "$PINS")
    run "${attach[@]}"
    [ "$status" -ne 0 ] && [[ "$output" == *"say whom to watch"* ]] || fail "$status: $output"
    run "${attach[@]}" -p 0
    [ "$status" -ne 0 ] && [[ "$output" == *"0 is no process"* ]] || fail "$status: $output"
    run "${attach[@]}" -p 12x
    [ "$status" -ne 0 ] && [[ "$output" == *"12x is no process"* ]] || fail "$status: $output"
    run "${attach[@]}" --all --mode 999
    [ "$status" -ne 0 ] && [[ "$output" == *"999 is no mode"* ]] || fail "$status: $output"
    run "${attach[@]}" --all --group "no such group"
    [ "$status" -ne 0 ] && [[ "$output" == *"there is no group"* ]] || fail "$status: $output"
    nothing_left
}
