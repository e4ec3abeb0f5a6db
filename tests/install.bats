# install.bats - what cmake --install puts in place, used as a stranger to the project would.
load lib/common

setup_file() {
    export STAGE="$BATS_FILE_TMPDIR/stage"
    cmake --install "$HAKMEM_BUILD" --prefix "$STAGE" >"$BATS_FILE_TMPDIR/log"
    export LIBDIR INCLUDEDIR
    LIBDIR=$(dirname "$(find "$STAGE" -name libhakmem.a)")
}

setup() {
    cd "$BATS_TEST_TMPDIR"
    export PKG_CONFIG_PATH="$LIBDIR/pkgconfig"
    cat >program.c <<'PROGRAM'
#include <hakmem.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    char *text = strdup("abc");
    struct hk_stats stats;
    if (text == NULL || hk_stats(&stats, sizeof stats) != 0 || stats.live_blocks == 0)
        return 1;
    printf("hakmem %s, %zu usable\n", hk_version(), malloc_usable_size(text));
    free(text);
    return strcmp(hk_version(), HK_VERSION) != 0;
}
PROGRAM
    version=$(sed -nE 's/^#define HK_VERSION "(.*)"/\1/p' "$HAKMEM_SOURCE/src/hakmem.h")
    expected="hakmem $version, 16 usable"
}

runs_on_the_library() { # PROGRAM
    run env "LD_LIBRARY_PATH=$LIBDIR" "$1"
    [ "$status" -eq 0 ]
    [ "$output" = "$expected" ] || fail "$output"
}

@test "every file is in its place, and no other" {
    local list
    list=$(cd "$STAGE" && find . -type f -o -type l | sed -E "s#^\./${LIBDIR#"$STAGE"/}/#LIB/#; s#^\./##" | sort)
    diff - <(echo "$list") >&2 <<FILES
LIB/cmake/hakmem/hakmemConfig.cmake
LIB/cmake/hakmem/hakmemConfigVersion.cmake
LIB/cmake/hakmem/hakmemTargets-release.cmake
LIB/cmake/hakmem/hakmemTargets.cmake
LIB/libhakmem.a
LIB/libhakmem.so
LIB/libhakmem.so.${version%%.*}
LIB/libhakmem.so.$version
LIB/pkgconfig/hakmem.pc
bin/hakmem-run
bin/hkheap
bin/hkstat
bin/hkstat-bpftool
include/hakmem.h
share/hakmem/MEMORY.md
share/hakmem/WATCHING.md
share/hakmem/hakmem_ace_fail.bt
share/hakmem/hakmem_ace_fail_example.txt
share/hakmem/hakmem_alloc_fail.bt
share/hakmem/hakmem_alloc_fail_example.txt
share/hakmem/hakmem_drains.bt
share/hakmem/hakmem_drains_example.txt
share/hakmem/hakmem_growth.bt
share/hakmem/hakmem_growth_example.txt
share/hakmem/hakmem_hit_rate.bt
share/hakmem/hakmem_hit_rate_example.txt
share/hakmem/hakmem_legacy.bt
share/hakmem/hakmem_legacy_example.txt
share/hakmem/hakmem_misses.bt
share/hakmem/hakmem_misses_example.txt
share/hakmem/hakmem_misuse.bt
share/hakmem/hakmem_misuse_example.txt
share/hakmem/hakmem_os_memory.bt
share/hakmem/hakmem_os_memory_example.txt
share/hakmem/hakmem_overview.bt
share/hakmem/hakmem_overview_example.txt
share/hakmem/hakmem_shared_fail.bt
share/hakmem/hakmem_shared_fail_example.txt
share/man/man1/hakmem-run.1
share/man/man1/hkheap.1
share/man/man1/hkstat-bpftool.1
share/man/man1/hkstat.1
share/man/man3/libhakmem.3
share/man/man7/hakmem.7
FILES
    [ "$(readlink "$LIBDIR/libhakmem.so")" = "libhakmem.so.${version%%.*}" ]
    [ "$(readlink "$LIBDIR/libhakmem.so.${version%%.*}")" = "libhakmem.so.$version" ]
}

@test "no installed file names the build tree or the prefix" {
    local hits
    hits=$(grep -rlIF -e "$HAKMEM_BUILD" -e "$STAGE" "$STAGE" | sort)
    [ -z "$hits" ] || fail "$hits"
    hits=$(readelf -dW "$LIBDIR/libhakmem.so" "$STAGE/bin/hakmem-run" | grep -E 'RPATH|RUNPATH' | sort)
    [ -z "$hits" ] || fail "$hits"
}

@test "the library needs libc alone, binds at once, and is never unloaded" {
    run readelf -dW "$LIBDIR/libhakmem.so"
    [ "$(grep -c '(NEEDED)' <<<"$output")" -eq 1 ]
    grep -q '(NEEDED).*\[libc\.so\.6\]' <<<"$output"
    grep -q "(SONAME).*\[libhakmem\.so\.${version%%.*}\]" <<<"$output"
    grep -qE '\(FLAGS\).*BIND_NOW.*STATIC_TLS' <<<"$output"
    grep -qE '\(FLAGS_1\).*NOW NODELETE' <<<"$output"
    run readelf -lW "$LIBDIR/libhakmem.so"
    grep -q 'GNU_RELRO' <<<"$output"
    ! grep -E 'GNU_STACK.*RWE' <<<"$output" || fail "the stack is executable"
}

@test "a program built by pkg-config runs on the shared library" {
    require_command gcc
    require_command pkg-config
    [ "$(pkg-config --modversion hakmem)" = "$version" ]
    gcc program.c $(pkg-config --cflags --libs hakmem) -o program
    readelf -dW program | grep -q "NEEDED.*libhakmem.so.${version%%.*}"
    runs_on_the_library ./program
}

@test "a program built by pkg-config runs on the static library, linked with or without a static libc" {
    require_command gcc
    require_command pkg-config
    gcc -static program.c $(pkg-config --cflags --static --libs hakmem) -o whole
    run ./whole
    [ "$status" -eq 0 ]
    [ "$output" = "$expected" ]
    gcc program.c $(pkg-config --cflags hakmem) "$LIBDIR/libhakmem.a" -pthread -o program
    ! readelf -dW program | grep -F libhakmem || fail "it needs the shared library"
    run ./program
    [ "$output" = "$expected" ]
}

@test "the package found by CMake gives both libraries, to C and to C++" {
    require_command cmake
    cp program.c program_cxx.cc
    cat >CMakeLists.txt <<'PROJECT'
cmake_minimum_required(VERSION 3.22)
project(stranger C CXX)
find_package(hakmem 0.1 REQUIRED)
add_executable(shared program.c)
target_link_libraries(shared PRIVATE hakmem::hakmem)
add_executable(static program.c)
target_link_libraries(static PRIVATE hakmem::hakmem_static)
add_executable(cxx program_cxx.cc)
target_link_libraries(cxx PRIVATE hakmem::hakmem_static)
file(WRITE ${CMAKE_BINARY_DIR}/idle.c "int main(void) { return 0; }")
add_executable(idle ${CMAKE_BINARY_DIR}/idle.c)
target_link_libraries(idle PRIVATE hakmem::hakmem_static)
PROJECT
    cmake -S . -B build -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$STAGE"
    cmake --build build
    for program in shared static cxx; do
        runs_on_the_library "build/$program"
    done
    # A program that never allocates itself is on the static library all the same: its libraries do.
    nm build/idle | grep -q ' T malloc$'
}

@test "another minor version is refused by the CMake package" {
    require_command cmake
    printf 'cmake_minimum_required(VERSION 3.22)\nproject(stranger C)\nfind_package(hakmem 99.1 REQUIRED)\n' >CMakeLists.txt
    run cmake -S . -B build -DCMAKE_PREFIX_PATH="$STAGE"
    [ "$status" -ne 0 ]
    [[ "$output" == *"version: $version"* ]]
}

@test "the static library leaves a program its own names" {
    require_command gcc
    cat >names.c <<'PROGRAM'
#include <stdio.h>
#include <stdlib.h>
int slab_take = 1, region_base = 2, hk_lock_wait = 3, hk_tls = 4;
static void *volatile keep;
int main(void)
{
    keep = malloc(100);
    free(keep);
    return printf("%d\n", slab_take + region_base + hk_lock_wait + hk_tls) < 0;
}
PROGRAM
    gcc names.c "$LIBDIR/libhakmem.a" -pthread -o names
    run ./names
    [ "$output" = 10 ]
    run bash -c "nm -g --defined-only '$LIBDIR/libhakmem.a' | awk 'NF == 3 { print \$3 }' | grep -vxF -f '$HAKMEM_SOURCE/tests/golden/exports.txt'"
    [ "$output" = _.stapsdt.base ] || fail "$output"
}

@test "the static library takes all of the allocator or nothing" {
    require_command gcc
    printf '#include <stdlib.h>\nint main(void) { free(malloc(1)); return 0; }\n' >two.c
    gcc two.c "$LIBDIR/libhakmem.a" -pthread -o two
    for name in malloc free calloc realloc posix_memalign malloc_usable_size; do
        nm two | grep -q " [TW] $name$" || fail "$name is left to libc"
    done
}

@test "the installed hakmem-run finds the installed library, wherever both are moved" {
    run "$STAGE/bin/hakmem-run" sh -c 'echo "$LD_PRELOAD"'
    [ "$output" = "$(realpath "$LIBDIR")/libhakmem.so.${version%%.*}" ]
    mv "$STAGE" "$BATS_TEST_TMPDIR/moved"
    run "$BATS_TEST_TMPDIR/moved/bin/hakmem-run" --show-config
    mv "$BATS_TEST_TMPDIR/moved" "$STAGE"
    [ "$status" -eq 0 ]
    [[ "$output" == "hakmem: region:"* ]]
}

@test "the shared library can be linked by a program that loads others with dlopen" {
    require_command gcc
    cat >opens.c <<'PROGRAM'
#include <dlfcn.h>
#include <stdio.h>
int main(int argc, char **argv)
{
    void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW) : NULL;
    if (library == NULL)
        return puts(dlerror()), 1;
    dlclose(library);
    return dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD) == NULL; /* it stays */
}
PROGRAM
    gcc opens.c -ldl -o opens
    run ./opens "$LIBDIR/libhakmem.so"
    [ "$status" -eq 0 ] || fail "$output"
}

@test "with clang, but a bpftool that does not run or no headers of libbpf, all that is left builds" {
    require_command cmake
    require_command clang
    printf '#!/bin/sh\nexit 2\n' >bpftool
    chmod +x bpftool
    local options=(-DHAKMEM_TESTS=OFF -DHAKMEM_BENCH=OFF)
    run cmake -S "$HAKMEM_SOURCE" -B build "${options[@]}" -DHAKMEM_BPFTOOL="$PWD/bpftool"
    [[ "$output" == *"does not run: the BPF programs are left out"* ]] || fail "$output"
    cmake --build build --parallel "$(nproc)" >log || fail "$(tail -n 20 log)"
    [ -e build/libhakmem.so ] && [ ! -e build/hkstat ]
    run cmake -S "$HAKMEM_SOURCE" -B other "${options[@]}" -DHAKMEM_BPF_HEADERS=HAKMEM_BPF_HEADERS-NOTFOUND \
        -DCMAKE_FIND_USE_CMAKE_SYSTEM_PATH=OFF -DHAKMEM_BPFTOOL="$(PATH=$PATH:/usr/sbin:/sbin command -v bpftool)"
    [[ "$output" == *"libbpf-dev): the BPF programs are left out"* ]] || fail "$output"
    cmake --build other --parallel "$(nproc)" >log || fail "$(tail -n 20 log)"
}

@test "without clang, libbpf and cmocka the library builds, and what is left out is named" {
    require_command cmake
    require_command gcc
    local tool path="$PWD/bin"
    mkdir bin tree
    for tool in cmake make gcc g++ cc c++ as ld ar ranlib nm objcopy readelf sh awk sed grep sort rm uname true; do
        ln -s "$(command -v "$tool")" bin/
    done
    tar -C "$HAKMEM_SOURCE" --exclude=./.git --exclude='./build*' -cf - . | tar -C tree -xf -
    echo 'int none;' >tree/bpf/none.bpf.c
    run env "PATH=$path" cmake -S tree -B build -G "Unix Makefiles" -DCMAKE_FIND_USE_CMAKE_SYSTEM_PATH=OFF
    [ "$status" -eq 0 ] || fail "$output"
    [[ "$output" == *"clang not found: the BPF programs are left out"* ]]
    [[ "$output" == *"cmocka not found: the unit tests are left out"* ]]
    [[ "$output" == *"libbpf or libelf not found: tests/probes/trace_probes.c is left out"* ]]
    env "PATH=$path" cmake --build build --parallel 2 --target hakmem hakmem_static hakmem-run
    run build/hakmem-run --show-config
    [ "$status" -eq 0 ]
}

@test "make with several jobs joins the objects once, for the static library and the unit tests" {
    local tree="$BATS_TEST_TMPDIR/build" times
    cmake -S "$HAKMEM_SOURCE" -B "$tree" -G "Unix Makefiles" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG=-O0 >"$tree.log"
    # As the target `all` does it; the targets named to cmake --build are made one after the other.
    make -C "$tree" -f CMakeFiles/Makefile2 -j 4 CMakeFiles/hakmem_static.dir/all CMakeFiles/hakmem_unit.dir/all >"$tree.log" 2>&1 ||
        fail "$(cat "$tree.log")"
    times=$(grep -c 'Joining the objects' "$tree.log")
    [ "$times" -eq 1 ] || fail "joined $times times: two jobs write one file"
}
