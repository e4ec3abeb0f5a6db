# fast_path.bats - malloc and free, from entry to ret, instruction by instruction, in release builds of both compilers.
# After a change that is meant:  HAKMEM_GOLDEN_WRITE=1 bats tests/fast_path.bats  writes tests/golden/fast_path.txt anew.
# shellcheck disable=SC2046,SC2086 # options are meant to be split into words
# bats: beside
load lib/common
load lib/variants

FAST_PATH="$HAKMEM_SOURCE/tests/golden/fast_path.py"

setup() {
    require_command python3
    [ "$(uname -m)" = x86_64 ] || skip_or_fail "the golden table is of x86-64"
}

# library_of gcc|clang
library_of() {
    local folder
    folder=$(hk_variant "$1" $(hk_compiler_options "$1"))
    echo "$folder/libhakmem.so"
}

# golden_of gcc|clang
golden_of() {
    local library version
    require_command "$1"
    library=$(library_of "$1")
    version=$("$1" -dumpversion)
    if [ "${HAKMEM_GOLDEN_WRITE:-0}" = 1 ]; then
        python3 "$FAST_PATH" --write "$1-${version%%.*}" "$library"
    elif ! grep -q "^$1-${version%%.*} " "$HAKMEM_SOURCE/tests/golden/fast_path.txt"; then
        skip_or_fail "the golden table has no rows of $1 ${version%%.*}"
    fi
    python3 "$FAST_PATH" --golden "$1-${version%%.*}" "$library"
}

# limits_of gcc|clang
limits_of() {
    require_command "$1"
    python3 "$FAST_PATH" --limits "$(library_of "$1")"
}

@test "gcc: malloc and free take at most 20 instructions, no lock, no call, no stack" {
    limits_of gcc
}

@test "clang: malloc and free take at most 20 instructions, no lock, no call, no stack" {
    limits_of clang
}

@test "gcc: the instruction classes are those of the golden table" {
    golden_of gcc
}

@test "clang: the instruction classes are those of the golden table" {
    golden_of clang
}

@test "the check finds every fault that it is for" {
    local faulty="$BATS_TEST_TMPDIR/faulty" fault body
    while IFS='|' read -r fault body; do
        printf '__asm__(".globl malloc, free; .type malloc,@function; .type free,@function; free: ret; .size free, .-free;"
            "malloc: %s; ret; .size malloc, .-malloc");\n' "$body" >"$faulty.c"
        cc -shared -o "$faulty.so" "$faulty.c"
        run python3 "$FAST_PATH" --limits "$faulty.so"
        if [ "$fault" = none ]; then
            [ "$status" -eq 0 ] || fail "a fault was found in: $body" "$output"
        else
            [ "$status" -eq 1 ] || fail "no fault was found in: $body"
            [[ "$output" == *"$fault"* ]] || fail "not called '$fault': $output"
        fi
    done <<'FAULTS'
none|mov (%rdi),%rax; subl $1,%fs:(%rax); je 1f; jmp 2f; 1: push %rax; call free@PLT; 2:
lock|lock incl (%rax)
call|call free@PLT
push|push %rbx
pop|pop %rbx
stack|mov %rax,-8(%rsp)
stack|mov 16(%rsp),%rax
stack|sub $8,%rsp
stack|lea -8(%rsp),%rsp
xchg|xchg %rax,(%rdi)
leaves|jmp *%rax
instructions|.rept 20; inc %rax; .endr
none|.rept 19; inc %rax; .endr
FAULTS
}
