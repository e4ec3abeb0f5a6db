# probes_static.bats - what the files on disk say of the probes: notes, sites, semaphores, and the header's rules.
# shellcheck disable=SC2046,SC2086 # options are meant to be split into words
# bats: beside
load lib/common
load lib/variants

PROBES="$HAKMEM_SOURCE/probes"
CHECK_NOTES="$HAKMEM_SOURCE/tests/probes/check_notes.py"
FAST_PATH="$HAKMEM_SOURCE/tests/golden/fast_path.py"
WARNINGS="-std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -fPIC -fvisibility=hidden -I$HAKMEM_SOURCE/probes"

setup() {
    require_command python3
    require_command readelf binutils
}

# both_compilers FUNCTION ARGS...
both_compilers() {
    require_command gcc
    require_command clang
    "$1" gcc "${@:2}"
    "$1" clang "${@:2}"
}

@test "the library's notes, sites and semaphores are those of the table" {
    python3 "$CHECK_NOTES" "$HAKMEM_LIB"
}

@test "a program linked with libhakmem.a has the same" {
    echo '#include <stdlib.h>
int main(void) { void *volatile p = malloc(10); free(p); return p == NULL; }' >"$BATS_TEST_TMPDIR/program.c"
    cc "$BATS_TEST_TMPDIR/program.c" -o "$BATS_TEST_TMPDIR/program" "$(dirname "$HAKMEM_LIB")/libhakmem.a" -pthread
    "$BATS_TEST_TMPDIR/program"
    python3 "$CHECK_NOTES" "$BATS_TEST_TMPDIR/program"
}

# notes_of_build COMPILER OPTION...: of a library of the probes and a caller of each.
notes_of_build() {
    local library="$BATS_TEST_TMPDIR/build.so"
    "$1" $WARNINGS "${@:2}" -shared "$PROBES/probes.c" "$HAKMEM_SOURCE/tests/probes/fire_all.c" -o "$library" ||
        fail "does not build: $*"
    python3 "$CHECK_NOTES" "$library" || fail "wrong in the build: $*"
    objdump -d --no-show-raw-insn "$library" >"$library.text"
    [ "$(grep -cE '(call|jmp)[q ].*<hk_probe_' "$library.text")" -eq "$(python3 "$PROBES/make_table.py" --names | wc -l)" ] ||
        fail "not one call a probe: $*"
}

@test "the notes are the same under gcc and clang, -O2 and -O3, with LTO and without, with -g and without" {
    local opt lto debug
    require_command gcc
    require_command clang
    require_command ld.lld lld
    for opt in -O2 -O3; do
        for debug in -g0 -g; do
            for lto in -fno-lto -flto; do
                notes_of_build gcc $opt $debug $lto
                notes_of_build clang $opt $debug $lto -fuse-ld=lld
            done
        done
    done
}

@test "the notes are the same in builds that are odd" {
    local gc="-ffunction-sections -fdata-sections -Wl,--gc-sections" options
    require_command gcc
    require_command clang
    require_command ld.lld lld
    local -a odd=(-O0 "-O2 -flto $gc" "-O2 -pg")
    if full_tier; then
        odd+=(-Os "-O2 $gc" "-O2 -fpatchable-function-entry=5" "-O2 -fno-plt" "-O3 -fno-semantic-interposition"
            "-O2 -fsanitize=undefined" "-O2 -fno-asynchronous-unwind-tables" "-O1 -fstack-protector-all")
    fi
    for options in "${odd[@]}"; do
        notes_of_build gcc $options
        notes_of_build clang $options -fuse-ld=lld -Wl,--icf=all
    done
    notes_of_build clang -O2 -flto=thin $gc -fuse-ld=lld -Wl,--icf=all
    notes_of_build gcc -O2 $gc -fuse-ld=lld -Wl,--icf=all
    notes_of_build clang -O2 $gc
}

# account_note FILE: it says where the account is.
account_note() {
    python3 - "$1" <<'PYTHON'
import re, subprocess, sys
tell = lambda *command: subprocess.run([*command, sys.argv[1]], check=True, capture_output=True, text=True).stdout
address = int(re.search(r"^([0-9a-f]+) \S hk_account$", tell("nm"), re.M)[1], 16)
dump = tell("readelf", "--hex-dump=.note.hakmem")
note = bytes.fromhex("".join(line[13:48].replace(" ", "") for line in dump.splitlines() if "  0x" in line))
expected = b"".join(n.to_bytes(4, "little") for n in (7, 8, 3)) + b"hakmem\0\0" + address.to_bytes(8, "little")
assert note == expected, (note, expected)
PYTHON
}

@test "a note says where the account is: of the library, of programs linked with the archive, with LTO too" {
    local program="$BATS_TEST_TMPDIR/program" variant
    echo 'int main(void) { return 0; }' >"$program.c"
    account_note "$HAKMEM_LIB"
    for variant in -static -static-pie "-pie -Wl,--gc-sections"; do
        cc $variant "$program.c" -Wl,-u,malloc "$(dirname "$HAKMEM_LIB")/libhakmem.a" -o "$program" -pthread
        account_note "$program"
    done
    variant=$(hk_variant gcc-lto $(hk_compiler_options gcc) -DCMAKE_INTERPROCEDURAL_OPTIMIZATION=ON)
    account_note "$variant/libhakmem.so"
    variant=$(hk_variant gcc-no-probes $(hk_compiler_options gcc) -DHAKMEM_PROBES=OFF)
    ! account_note "$variant/libhakmem.so" 2>/dev/null || fail "left in a library without probes"
}

@test "the notes survive an archive of LTO objects" {
    local compiler archiver options folder="$BATS_TEST_TMPDIR"
    while read -r compiler archiver options; do
        require_command "$compiler"
        require_command "$archiver"
        rm -f "$folder/lib.a"
        (
            cd "$folder"
            "$compiler" $WARNINGS -O2 -flto -c "$PROBES/probes.c"
            "$compiler" $WARNINGS -O2 -flto -c "$HAKMEM_SOURCE/tests/probes/fire_all.c"
            "$archiver" rcs lib.a probes.o
            echo 'void fire_all(void); int main(void) { fire_all(); return 0; }' >main.c
            "$compiler" -O2 -flto $options main.c fire_all.o lib.a -Wl,--gc-sections -o program
            ./program
        )
        python3 "$CHECK_NOTES" "$folder/program"
    done <<'BUILDS'
gcc gcc-ar
clang llvm-ar -fuse-ld=lld
BUILDS
}

# header_rules COMPILER OPTION...
header_rules() {
    local source="$HAKMEM_SOURCE/tests/probes/compile_use.c" fault
    "$1" $WARNINGS "${@:2}" -c "$source" -o "$BATS_TEST_TMPDIR/use.o" || fail "warns: $*"
    for fault in $(sed -n 's/^#ifdef //p' "$source"); do
        ! "$1" $WARNINGS "${@:2}" "-D$fault" -c "$source" -o "$BATS_TEST_TMPDIR/use.o" 2>"$BATS_TEST_TMPDIR/errors" ||
            fail "compiles, $fault: $*"
        grep -q 'error:' "$BATS_TEST_TMPDIR/errors"
    done
}

@test "a probe fired with the wrong arguments does not compile, with probes and without" {
    local options
    for options in "-O0 -pedantic" "-O2 -pedantic" "-O2 -DHK_NO_PROBES -pedantic" "-O0 -DHK_NO_PROBES"; do
        both_compilers header_rules $options
    done
}

# arguments_unevaluated COMPILER OPTION...
arguments_unevaluated() {
    local program="$BATS_TEST_TMPDIR/unevaluated"
    echo 'int unused_but_for_probes(const char *, int, unsigned long);
int main(void) { return unused_but_for_probes("", 1, 2); }' >"$program.c"
    "$1" "${@:2}" -I"$PROBES" "$program.c" "$PROBES/probes.c" "$HAKMEM_SOURCE/tests/probes/compile_use.c" -o "$program"
    "$program" || fail "arguments were evaluated: $*"
}

@test "nobody watches: no argument is evaluated" {
    local options
    for options in -O0 -O2 "-O0 -DHK_NO_PROBES" "-O2 -DHK_NO_PROBES"; do
        both_compilers arguments_unevaluated $options
    done
}

# same_without_probes COMPILER
same_without_probes() {
    local with without
    with=$(hk_variant "$1" $(hk_compiler_options "$1"))
    without=$(hk_variant "$1-no-probes" $(hk_compiler_options "$1") -DHAKMEM_PROBES=OFF)
    python3 "$CHECK_NOTES" "$with/libhakmem.so"
    python3 "$CHECK_NOTES" --none "$without/libhakmem.so"
    ! python3 "$CHECK_NOTES" "$without/libhakmem.so" 2>/dev/null || fail "the check passes a library without probes"
    python3 "$FAST_PATH" --text "$with/libhakmem.so" >"$BATS_TEST_TMPDIR/with"
    python3 "$FAST_PATH" --text "$without/libhakmem.so" >"$BATS_TEST_TMPDIR/without"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/with")" -gt 30 ] || fail "not much of malloc and free was read"
    diff "$BATS_TEST_TMPDIR/with" "$BATS_TEST_TMPDIR/without" >&2 || fail "malloc or free differ by the probes"
}

@test "gcc: malloc and free are the same without the probes, and nothing else of the probes is left" {
    require_command gcc
    same_without_probes gcc
}

@test "clang: malloc and free are the same without the probes, and nothing else of the probes is left" {
    require_command clang
    same_without_probes clang
}

@test "the check finds a site, an argument and a semaphore that are wrong" {
    local folder="$BATS_TEST_TMPDIR" change expected
    cp -r "$PROBES" "$folder/original"
    ln -s "$HAKMEM_SOURCE/src" "$folder/src"
    while IFS='|' read -r change expected; do
        rm -rf "$folder/probes"
        cp -r "$folder/original" "$folder/probes"
        sed -i -e "$change" "$folder"/probes/probe.h "$folder"/probes/probes.c
        ! diff -rq "$folder/original" "$folder/probes" >/dev/null || fail "changes nothing: $change"
        cc -w -O2 -fPIC -fvisibility=hidden -I"$folder/probes" -shared "$folder/probes/probes.c" \
            "$HAKMEM_SOURCE/tests/probes/fire_all.c" -o "$folder/wrong.so"
        run python3 "$CHECK_NOTES" "$folder/wrong.so"
        [ "$status" -eq 1 ] || fail "found nothing wrong after: $change"
        [[ "$output" == *"$expected"* ]] || fail "not called '$expected' after: $change" "$output"
    done <<'CHANGES'
s/" nop\\n"/" .byte 0x0f, 0x1f, 0x44, 0, 0\\n"/|the site is
s/ nop\\n/ nop; nop\\n/|the site is
s/ARG(b, REG_1)/ARG(b, REG_2)/|arguments
s/\.set \.Lhk_probe_signed, 1/.set .Lhk_probe_signed, 3/|process_fork: arguments
s/_semaphore = 0/_semaphore = 1/|the semaphore is not 0
s/section("\.probes")/section(".data.probes")/|outside .probes
s/extern HK_HIDDEN volatile/extern HK_EXPORT volatile/|is not hidden
s/SITE("hakmem"/SITE("hakmen"/|probes of the file
CHANGES
}

@test "the table in probes/README.md is the one of the .def" {
    python3 "$PROBES/make_table.py" --check
}

@test "a README that drifts from the .def is found" {
    cp -r "$PROBES" "$BATS_TEST_TMPDIR/probes"
    python3 "$BATS_TEST_TMPDIR/probes/make_table.py" --check
    sed -i 's/^HK_PROBE(misuse, 3/HK_PROBE(misused, 3/' "$BATS_TEST_TMPDIR/probes/hakmem_probes.def"
    ! python3 "$BATS_TEST_TMPDIR/probes/make_table.py" --check || fail "no drift was found"
    python3 "$BATS_TEST_TMPDIR/probes/make_table.py"
    python3 "$BATS_TEST_TMPDIR/probes/make_table.py" --check
    sed -i 's/^HK_PROBE(misused, 3/HK_PROBE(misused, 4/' "$BATS_TEST_TMPDIR/probes/hakmem_probes.def"
    ! python3 "$BATS_TEST_TMPDIR/probes/make_table.py" --names || fail "a wrong count was let through"
}
