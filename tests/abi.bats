#!/usr/bin/env bats
# What the shipped libraries and the header offer to a linker: exactly the list, and no more needs than libc.
# bats: beside

load lib/common

: "${CC:=cc}" "${CXX:=c++}"

ARCHIVE="$HAKMEM_BUILD/libhakmem.a"

defined_symbols() {
    nm -D --defined-only "$HAKMEM_LIB"
}

@test "libhakmem.so exports the golden list and nothing else" {
    diff -u "$HAKMEM_SOURCE/tests/golden/exports.txt" <(defined_symbols | awk '{ print $3 }' | sort)
}

@test "the version script is the golden list" {
    diff -u "$HAKMEM_SOURCE/tests/golden/exports.txt" \
        <(sed -e ':join; N; $!b join; s|/\*[^*]*\*/||g' "$HAKMEM_SOURCE/src/hakmem.map" |
            grep -oE '[A-Za-z_][A-Za-z0-9_]*;' | tr -d ';' | sort)
}

@test "only functions are exported" {
    [ -z "$(defined_symbols | awk '$2 != "T" && $2 != "W"')" ] || fail "$(defined_symbols | awk '$2 != "T" && $2 != "W"')"
}

@test "exports have no version, which a reference to glibc's would not be bound to" {
    local versions
    versions=$(readelf -VW "$HAKMEM_LIB")
    [[ "$versions" != *"Version definition"* ]] || fail "$versions"
}

@test "libhakmem.so needs libc alone" {
    local needed
    needed=$(readelf -dW "$HAKMEM_LIB" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
    [ -n "$needed" ]
    for name in $needed; do
        case "$name" in
        libc.so.* | libpthread.so.* | libdl.so.* | ld-linux*) ;;
        *) fail "needs $name" ;;
        esac
    done
}

@test "all thread-local memory together is at most 1,400 bytes" {
    # A dlopen of a library with initial-exec TLS, as this one is, fails where glibc's reserve of some 2,000 is used up.
    local size
    size=$(readelf -lW "$HAKMEM_LIB" | awk '$1 == "TLS" { print $6 }')
    [ -n "$size" ]
    [ "$((size))" -gt 0 ]
    [ "$((size))" -le 1400 ] || fail "$((size)) bytes"
}

@test "what a C++ runtime would provide is referred to weakly" {
    local strong
    strong=$(nm -D --undefined-only "$HAKMEM_LIB" | awk '$1 == "U" && $2 ~ /^(_Z|__gxx|_Unwind|__cxa_(throw|begin|end|alloc|guard))/')
    [ -z "$strong" ] || fail "$strong"
    nm -D --undefined-only "$HAKMEM_LIB" | grep -q ' w _ZSt15get_new_handlerv' || fail "no weak reference to std::get_new_handler"
}

@test "hakmem.h serves C and C++ by itself, and its functions are there to link" {
    local source="$BATS_TEST_TMPDIR/use.c"
    cat >"$source" <<'END'
#include <hakmem.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    struct hk_stats total;
    struct hk_class_stats first;
    char text[512];
    if (strcmp(hk_version(), HK_VERSION) != 0 || hk_stats(&total, sizeof total) != 0)
        return 1;
    if (hk_class_stats(0, &first, sizeof first) != 0 || first.block_size != 16 || hk_config_text(text, sizeof text) == 0)
        return 2;
    (void)hk_trim();
    printf("%s\n", hk_version());
    return 0;
}
END
    local warnings=(-Wall -Wextra -Werror -pedantic -I"$HAKMEM_SOURCE/src")
    $CC -std=c11 "${warnings[@]}" "$source" -o "$source.c11" "$HAKMEM_LIB" -Wl,-rpath,"$HAKMEM_BUILD"
    $CXX -std=c++17 "${warnings[@]}" -x c++ "$source" -x none -o "$source.c++" "$HAKMEM_LIB" -Wl,-rpath,"$HAKMEM_BUILD"
    "$source.c11"
    "$source.c++"
}

# C++ programs take operator new from their own runtime, which calls the archive's malloc.
@test "C++ programs linked with libhakmem.a throw, catch and replace operators, all static or not" {
    require_file "$ARCHIVE" "the static library"
    local program output
    for program in cxx cxx_replaced; do
        for kind in -static -dynamic; do
            local options=(-std=c++17 -O1 -fno-builtin -w -pthread)
            [ "$kind" = -static ] && options+=(-static)
            $CXX "${options[@]}" "$HAKMEM_SOURCE/tests/conformance/$program.cc" -o "$BATS_TEST_TMPDIR/$program$kind" \
                -Wl,--undefined=malloc "$ARCHIVE" -ldl
            output=$("$BATS_TEST_TMPDIR/$program$kind" 2>&1) || fail "$program $kind: $output"
            [[ "$output" == *" 0 failed"* ]] || fail "$program $kind: $output"
        done
    done
}
