# source.bats - what holds for the sources themselves: layers, sizes, tables, format.
# bats: beside
load lib/common

copy_of_sources() { # a copy to do damage to
    mkdir "$BATS_TEST_TMPDIR/tree"
    cp -R "$HAKMEM_SOURCE/src" "$HAKMEM_SOURCE/probes" "$HAKMEM_SOURCE/tools" "$HAKMEM_SOURCE/README.md" "$BATS_TEST_TMPDIR/tree"
    cd "$BATS_TEST_TMPDIR/tree"
}

directions() {
    python3 "$HAKMEM_SOURCE/tests/include_direction.py" "$@"
}

@test "includes go from malloc.c down to os_linux.c, and no file is too long" {
    require_command python3
    directions "$HAKMEM_SOURCE"
}

@test "an include of a layer above, of a .c file, or in a circle is found" {
    require_command python3
    copy_of_sources
    echo '#include "heap.h"' >>src/lock.c
    echo '#include "slab.c"' >>src/superslab.c
    echo '#include "legacy.h"' >>src/shared_pool.h
    echo '#include "shared_pool.h"' >>src/legacy.h
    touch src/newcomer.c
    yes '/* line */' | head -n 600 >>src/lock.h
    run directions .
    [ "$status" -eq 1 ]
    [[ "$output" == *"lock.c:"*"a layer above"* ]]
    [[ "$output" == *"slab.c, which is no header"* ]]
    [[ "$output" == *"in a circle"*"legacy.h"* ]]
    [[ "$output" == *"newcomer.c: in no layer"* ]]
    [[ "$output" == *"lock.h: "*" lines, more than 599"* ]]
}

@test "the tables of README.md and hakmem(7) are those of the .def files" {
    require_command python3
    "$HAKMEM_SOURCE/tools/make_tables.py" --check
}

@test "a table that has drifted is found, and made anew" {
    require_command python3
    copy_of_sources
    tools/make_tables.py --check
    sed -i 's/HK_OPTION(cache, SIZE, UINT64_C([0-9]*) << 20/HK_OPTION(cache, SIZE, UINT64_C(3) << 10/' src/config.def
    run tools/make_tables.py --check
    [ "$status" -eq 1 ]
    [[ "$output" == *"README.md is not what"*"hakmem.7 is not what"* ]]
    tools/make_tables.py
    tools/make_tables.py --check
    grep -qF '| `cache` | 3k |' README.md
    grep -qF 'cache " (default: 3k;' tools/hakmem.7
}

@test "the manual pages render without a warning" {
    require_command man
    for page in hakmem-run.1 hakmem.7 hkheap.1 hkstat-bpftool.1 libhakmem.3; do
        run --separate-stderr env LC_ALL=C.UTF-8 man --warnings -l "$HAKMEM_SOURCE/tools/$page"
        [ "$status" -eq 0 ]
        [ -z "$stderr" ] || fail "$page: $stderr"
        [[ "$output" == *NAME*DESCRIPTION*"SEE ALSO"* ]]
    done
}

@test "the page of each tool, and of the library, says what it costs" {
    for page in hakmem-run.1 hakmem.7 hkheap.1 hkstat.1 hkstat-bpftool.1 libhakmem.3; do
        grep -q '^\.SH OVERHEAD$' "$HAKMEM_SOURCE/tools/$page" || fail "$page has no section on overhead"
    done
}

# promises FILE: each row's test is there. Prints those that are not.
promises() {
    awk -F ' *[|] *' '/^## Promises/ { here = 1; next } /^## / { here = 0 } here && $3 ~ /[.](bats|c)/ { gsub("`", "", $3); print $3 "|" $4 }' "$1" |
        while IFS='|' read -r file title; do
            case $file in
            *.bats) grep -qF "@test \"$title\"" "$HAKMEM_SOURCE/tests/$file" ;;
            *) grep -qF "cmocka_unit_test($title)" "$HAKMEM_SOURCE/tests/$file" ;;
            esac || echo "no such test in $file: $title"
        done
}

@test "every promise of DESIGN.md has the test that it names" {
    local missing
    missing=$(promises "$HAKMEM_SOURCE/src/DESIGN.md")
    [ -z "$missing" ] || fail "$missing"
    [ "$(grep -cE '^\| .* \| `[a-z_]+[.]bats` \| ' "$HAKMEM_SOURCE/src/DESIGN.md")" -gt 30 ]
    sed 's/a double free is caught: at once/a double free is caught: at last/' "$HAKMEM_SOURCE/src/DESIGN.md" >"$BATS_TEST_TMPDIR/DESIGN.md"
    [ "$(promises "$BATS_TEST_TMPDIR/DESIGN.md")" = "no such test in behaviour_misuse.bats: a double free is caught: at last, after other frees, across threads" ]
}

@test "the sources are as clang-format 14 would have them" {
    require_command clang-format
    [[ "$(clang-format --version)" == *"version 14."* ]] || skip_or_fail "needs clang-format 14: others differ"
    cmake --build "$HAKMEM_BUILD" --target format-check
}

# The path-sensitive checks take a minute: in the full tier.
tidy() {
    local checks=--checks=-clang-analyzer-*
    ! full_tier || checks=
    clang-tidy --quiet --warnings-as-errors='*' --extra-arg=-Wno-unknown-warning-option $checks "$@" # as gcc's options are
}

@test "clang-tidy has nothing to say" {
    require_command clang-tidy
    [[ "$(clang-tidy --version)" == *"version 14."* ]] || skip_or_fail "needs clang-tidy 14: others have other checks"
    cd "$HAKMEM_SOURCE"
    tidy -p "$HAKMEM_BUILD" src/*.c src/*.cc probes/*.c tools/hakmem-run.c tools/hkstat/*.c tools/hkheap/*.c
}

check_statically() {
    cppcheck -q -j2 --enable=warning,portability,performance --std=c11 --platform=unix64 --max-configs=4 --inline-suppr \
        -D_GNU_SOURCE -D__x86_64__ -D__LP64__ -D__BYTE_ORDER__=1234 -D__ORDER_LITTLE_ENDIAN__=1234 \
        --include="$HAKMEM_SOURCE/tests/lib/cppcheck.h" -I "$HAKMEM_SOURCE" -I "$HAKMEM_SOURCE/src" -I "$HAKMEM_SOURCE/tools/hkstat" \
        --error-exitcode=1 "$@"
}

@test "cppcheck has nothing to say" {
    require_command cppcheck
    cd "$HAKMEM_SOURCE"
    check_statically src probes/probes.c tools/hakmem-run.c tools/hkstat tools/hkheap
    printf 'int last(void);\nint last(void)\n{\n    int a[4] = {1};\n    return a[4];\n}\n' >"$BATS_TEST_TMPDIR/bug.c"
    run check_statically "$BATS_TEST_TMPDIR/bug.c"
    [ "$status" -eq 1 ] && [[ "$output" == *arrayIndexOutOfBounds* ]]
}

@test "clang-tidy finds what it is there for" {
    require_command clang-tidy
    cp "$HAKMEM_SOURCE/.clang-tidy" "$BATS_TEST_TMPDIR"
    cd "$BATS_TEST_TMPDIR"
    printf '#include <string.h>\nvoid clear(int *p);\nvoid clear(int *p)\n{\n    memset(p, sizeof *p, 0);\n}\n' >bug.c
    run tidy bug.c --
    [ "$status" -eq 1 ]
    [[ "$output" == *bugprone-suspicious-memset-usage* ]]
}
