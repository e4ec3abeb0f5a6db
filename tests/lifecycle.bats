# lifecycle.bats - the allocator before the constructors, after the destructors, in threads that end, in children, in
# libraries that come and go, linked statically, and in hostile surroundings. Each program checks itself.
# bats: beside
load lib/common

teardown() {
    [ -z "${folder:-}" ] || rm -rf "$folder"
}

on() { # PROGRAM ARGS...: from tests/lifecycle, on the allocator
    hk_preload timeout 600 "$(hk_test_program "lifecycle/$1")" "${@:2}" 3>&-
}

# with_library before|after NAME PROGRAM ARGS...: with tests/lifecycle/NAME.so preloaded too.
with_library() {
    local library="$HAKMEM_BUILD/tests/lifecycle/$2.so" both
    [ -e "$library" ] || fail "not built: $library"
    if [ "$1" = before ]; then both="$library:$HAKMEM_LIB"; else both="$HAKMEM_LIB:$library"; fi
    env "LD_PRELOAD=$both" timeout 600 "$(hk_test_program "lifecycle/$3")" "${@:4}" 3>&-
}

@test "the programs of these tests notice that they are not on the allocator" {
    run timeout 60 "$(hk_test_program lifecycle/early)"
    [ "$status" -eq 1 ]
    [[ "$output" == *"doesn't run on hakmem"* ]]
}

# Before the constructors

@test "a resolver, .preinit_array and a constructor of the program allocate, under LD_BIND_NOW too" {
    on early
    LD_BIND_NOW=1 on early
}

@test "a resolver and a constructor of a library relocated after the allocator allocate, under LD_BIND_NOW too" {
    with_library before libearly early library
    LD_BIND_NOW=1 with_library before libearly early library
}

# After a thread's cache is gone, and after the allocator's destructor

@test "destructors of thread-specific data allocate and free in every iteration, and nothing is lost or left" {
    local rounds=100
    ! full_tier || rounds=5000
    on late_thread "$rounds"
}

@test "threads whose first call comes from such a destructor, in whatever round, leave nothing that needs their stacks" {
    local count=400
    ! full_tier || count=20000
    on last_round "$count"
    HAKMEM_CONF=cache:0 on last_round "$count"
}

@test "a process ends in every way with handlers and destructors that allocate and free" {
    local way
    for way in return exit quick thread main_first running; do
        on late_exit "$way"
        with_library before libhandlers late_exit "$way"
        with_library after libhandlers late_exit "$way"
        with_library before libearly late_exit "$way"
    done
}

@test "exit(3) ends a process with 0 while eight threads allocate, again and again" {
    local rounds=50 i
    ! full_tier || rounds=1000
    for ((i = 0; i < rounds; i++)); do
        on late_exit running || fail "run $i ended with $?"
    done
}

# New processes

rounds_of_forks() {
    if full_tier; then echo $(($1 * 10)); else echo "$1"; fi
}

@test "fork while eight threads allocate: children and parent go on, counts are right in both" {
    on fork_load fork busy "$(rounds_of_forks 30)"
}

@test "fork from each of eight threads that allocate: their children allocate at once, and nobody hangs" {
    on fork_load workers busy "$(rounds_of_forks 60)"
    HAKMEM_CONF=harden:1 on fork_load workers busy "$(rounds_of_forks 20)"
    HAKMEM_CONF=region:0 on fork_load workers busy "$(rounds_of_forks 20)"
}

@test "fork while eight threads sleep with full caches" {
    on fork_load fork idle "$(rounds_of_forks 60)"
}

@test "fork with handlers that allocate and take a lock under which threads allocate" {
    with_library before libhandlers fork_load fork busy "$(rounds_of_forks 15)"
    with_library after libhandlers fork_load fork busy "$(rounds_of_forks 15)"
}

@test "fork from small caps, where the fallback serves: children and parent go on" {
    HAKMEM_CONF=superslabs:1 on fork_load fork busy "$(rounds_of_forks 10)"
    HAKMEM_CONF=region:0 on fork_load fork busy "$(rounds_of_forks 10)"
}

@test "a raw clone(2) of a process with eight sleeping threads counts right in the child" {
    on fork_load clone idle "$(rounds_of_forks 60)"
}

@test "a raw clone(2) of a process with eight allocating threads counts right in the child" {
    on fork_load clone busy "$(rounds_of_forks 40)"
}

@test "signal handlers that fork while eight threads allocate: children allocate at once, nobody hangs" {
    local conf
    for conf in "" region:0 superslabs:2 harden:1 guard:2; do
        HAKMEM_CONF=$conf on fork_in_handler "$(rounds_of_forks 200)"
    done
}

@test "a signal handler that forks in the middle of a fork: parent and children go on" {
    local conf
    for conf in "" region:0 harden:1 guard:2; do
        HAKMEM_CONF=$conf on fork_in_fork "$(rounds_of_forks 200)"
    done
}

@test "a signal handler may fork at any instruction of malloc, realloc and free, and the child loses no large block" {
    local conf each=7 some=211
    [ "$(uname -m)" = x86_64 ] || skip "steps by the trap flag of x86-64"
    ! full_tier || each=1 some=3
    on fork_at_each_step "$each"
    for conf in region:0 harden:1 guard:2; do
        HAKMEM_CONF=$conf on fork_at_each_step "$some"
    done
}

@test "vfork with exec, posix_spawn, popen and system while eight threads allocate" {
    on fork_load vfork busy "$(rounds_of_forks 60)"
    on fork_load spawn busy "$(rounds_of_forks 60)"
    on fork_load popen busy "$(rounds_of_forks 30)"
}

# Libraries that come and go

@test "a library with thread_local destructors is loaded and unloaded over and over" {
    local rounds=40
    ! full_tier || rounds=2000
    on dl_loop "$(hk_test_program lifecycle/libthread_local.so)" "$rounds"
}

@test "the allocator itself is loaded by dlopen beside another malloc, used in threads and closed" {
    timeout 60 "$(hk_test_program lifecycle/dl_self)" "$HAKMEM_LIB"
}

# Linked, not preloaded

# link_with COMPILER OPTIONS... : tests/lifecycle/linked/linked.c or cxx.cc as a program; runs it
link_with() {
    local source=linked.c
    [[ "$1" != *++ ]] || source=cxx.cc
    "$1" -O2 -fno-builtin -D_GNU_SOURCE -I"$HAKMEM_SOURCE/src" -o "$BATS_TEST_TMPDIR/program" \
        "$HAKMEM_SOURCE/tests/lifecycle/linked/$source" "${@:2}" || fail "does not link: $*"
    local conf
    for conf in "" guard:1; do
        run env "HAKMEM_CONF=$conf" timeout 60 "$BATS_TEST_TMPDIR/program" 3>&-
        [ "$status" -eq 0 ] || fail "$*, $conf: status $status: $output"
        [[ "$output" == "hakmem "* ]]
    done
}

@test "libhakmem.a serves C programs linked with -static, -static-pie and dynamically" {
    local archive="$HAKMEM_BUILD/libhakmem.a" compiler
    for compiler in gcc clang; do
        command -v "$compiler" >/dev/null || continue
        link_with "$compiler" -static "$archive" -pthread
        link_with "$compiler" -static-pie "$archive" -pthread
        link_with "$compiler" "$archive" -pthread
    done
}

@test "libhakmem.a serves C++ programs linked with -static, -static-pie and dynamically" {
    require_command g++
    local archive="$HAKMEM_BUILD/libhakmem.a"
    link_with g++ -static "$archive" -pthread
    link_with g++ -static-pie "$archive" -pthread
    link_with g++ "$archive" -pthread
}

@test "with libhakmem.a in the program, libraries' fork handlers that were there first allocate, and take a lock under which threads allocate" {
    local library conf
    for library in libatfork libhandlers; do
        gcc -O2 -fno-builtin -D_GNU_SOURCE -o "$BATS_TEST_TMPDIR/forks" "$HAKMEM_SOURCE/tests/lifecycle/linked/forks.c" \
            "$HAKMEM_BUILD/libhakmem.a" -Wl,--no-as-needed "$HAKMEM_BUILD/tests/lifecycle/$library.so" -pthread
        for conf in "" harden:1 region:0; do
            run env "HAKMEM_CONF=$conf" timeout 60 "$BATS_TEST_TMPDIR/forks" 3>&-
            [ "$status" -eq 0 ] && [ "$output" = "hakmem forks" ] || fail "$library $conf: $status: $output"
        done
    done
}

@test "libhakmem.so serves C and C++ programs that are linked with it" {
    require_command g++
    link_with gcc "$HAKMEM_LIB" "-Wl,-rpath,$(dirname "$HAKMEM_LIB")" -pthread
    link_with g++ "$HAKMEM_LIB" "-Wl,-rpath,$(dirname "$HAKMEM_LIB")" -pthread
}

# Hostile surroundings

@test "with no descriptor open at all nothing is written to the program's files, and none is held" {
    local file="$BATS_TEST_TMPDIR/file"
    on closed "$file"
    [ "$(cat "$file")" = mine ]
    rm "$file"
    HAKMEM_CONF=print:1,bogus:1,superslabs:many HAKMEM_ACE_TRACE=1 on closed "$file"
    [ "$(cat "$file")" = mine ]
}

@test "threads with the smallest stack that there is take every slow path" {
    local conf
    for conf in "" region:0 harden:1 guard:1; do
        HAKMEM_CONF=$conf on tiny_stack
    done
}

@test "a setuid program is told by HAKMEM_CONF and HAKMEM_ACE_TRACE nothing" {
    require_root
    require_command setpriv util-linux
    # Where anybody may come: the tests' own folder is closed to others.
    folder=$(mktemp -d /tmp/hakmem-secure-XXXXXX)
    chmod 755 "$folder"
    ! findmnt -no OPTIONS -T "$folder" | grep -qw nosuid || skip_or_fail "$folder is mounted nosuid"
    install -m 755 "$HAKMEM_LIB" "$folder/libhakmem.so.0"
    gcc -O2 -D_GNU_SOURCE -I"$HAKMEM_SOURCE/src" -o "$folder/program" "$HAKMEM_SOURCE/tests/lifecycle/linked/linked.c" \
        "$folder/libhakmem.so.0" "-Wl,-rpath,$folder" -pthread
    nobody() {
        setpriv --reuid nobody --regid nogroup --clear-groups env HAKMEM_CONF=print:1,bogus:1 HAKMEM_ACE_TRACE=1 \
            "$folder/program" 3>&-
    }
    run nobody
    [ "$status" -eq 0 ]
    [[ "$output" == *superslabs:* && "$output" == *bogus* ]]
    chmod 4755 "$folder/program"
    run nobody
    [ "$status" -eq 0 ]
    [[ "$output" == "hakmem "* && "$output" != *superslabs* && "$output" != *bogus* ]]
}
