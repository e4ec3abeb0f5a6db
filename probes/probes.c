/* probes.c - the probes' sites, semaphores and notes, made from hakmem_probes.def.
 *
 * A site is a function written in assembly, so that its arguments are in the ABI's registers under every compiler and
 * option: what the note says of them then holds in all builds, and a raw uprobe may rely on it too. Its first instruction
 * is the one-byte nop of sys/sdt.h, for which the kernel has a cheap path that is safe in forked children.
 * All sites share one section: no linker can fold or drop one of them alone. */
#include "probe.h"

#ifndef HK_NO_PROBES

#define HK_SAMPLE_PROVIDER "otel_memory"

_Static_assert(sizeof(void *) == 8, "arguments and notes are 64-bit");

/* What differs between architectures: the registers of the arguments. `nop` and `ret` are spelled alike. */
#if defined(__x86_64__) && defined(__LP64__)
#define REG_0 "%rdi"
#define REG_1 "%rsi"
#define REG_2 "%rdx"
#define REG_3 "%rcx"
#define REG_4 "%r8"
#define REG_5 "%r9"
#elif defined(__aarch64__) && defined(__LP64__)
#define REG_0 "x0"
#define REG_1 "x1"
#define REG_2 "x2"
#define REG_3 "x3"
#define REG_4 "x4"
#define REG_5 "x5"
#else
#error "the registers of arguments are not known for this architecture: build with HK_NO_PROBES"
#endif

/* In C, not in assembly: the index of an archive of LTO objects lists no other symbols. */
#define HK_PROBE(name, n, args, text) \
    __attribute__((used, section(".probes"))) volatile unsigned short hakmem_##name##_semaphore = 0;
#define HK_SAMPLE_PROBE(name, in_note, n, args, text) HK_PROBE(name, n, args, text)
#include "hakmem_probes.def"
#include "sample_probes.def"
#undef HK_SAMPLE_PROBE
#undef HK_PROBE

/* The note's word on an argument: "8@%rdi", or "-8@%rdi" if the name begins with s_. */
#define ARG(name, reg) "hk_probe_sign " #name "\n .ascii \"8@" reg "\"\n"
#define SPACE " .ascii \" \"\n"
#define ARGS_0() ""
#define ARGS_1(a) ARG(a, REG_0)
#define ARGS_2(a, b) ARGS_1(a) SPACE ARG(b, REG_1)
#define ARGS_3(a, b, c) ARGS_2(a, b) SPACE ARG(c, REG_2)
#define ARGS_4(a, b, c, d) ARGS_3(a, b, c) SPACE ARG(d, REG_3)
#define ARGS_5(a, b, c, d, e) ARGS_4(a, b, c, d) SPACE ARG(e, REG_4)
#define ARGS_6(a, b, c, d, e, f) ARGS_5(a, b, c, d, e) SPACE ARG(f, REG_5)

/* One statement, since compilers may reorder several. The note's form is that of sys/sdt.h, version 3. */
#pragma GCC diagnostic ignored "-Woverlength-strings"
/* clang-format off */
__asm__(
    ".macro hk_probe_sign name\n"
    " .set .Lhk_probe_letter, 0\n"
    " .set .Lhk_probe_signed, 0\n"
    " .irpc letter,\\name\n"
    "  .ifc \\letter,s\n"
    "   .if .Lhk_probe_letter == 0\n"
    "    .set .Lhk_probe_signed, 1\n"
    "   .endif\n"
    "  .endif\n"
    "  .ifc \\letter,_\n"
    "   .if .Lhk_probe_letter == 1\n"
    "    .set .Lhk_probe_signed, .Lhk_probe_signed * 2\n"
    "   .endif\n"
    "  .endif\n"
    "  .set .Lhk_probe_letter, .Lhk_probe_letter + 1\n"
    " .endr\n"
    " .if .Lhk_probe_signed == 2\n"
    "  .ascii \"-\"\n"
    " .endif\n"
    ".endm\n"

    /* Tools compare where this byte is with where the note says it was, to notice that a prelinker moved all. */
    ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n"
    ".weak _.stapsdt.base\n"
    ".hidden _.stapsdt.base\n"
    "_.stapsdt.base: .space 1\n"
    ".size _.stapsdt.base, 1\n"
    ".popsection\n"

    /* The empty relocation holds the byte above against --gc-sections. */
    ".pushsection .text.hk_probes,\"ax\",\"progbits\"\n"
    ".reloc ., BFD_RELOC_NONE, _.stapsdt.base\n"
#define SITE(provider, in_note, probe, n, args)   \
    ".balign 4\n"                                 \
    ".globl hk_probe_" #probe "\n"                \
    ".hidden hk_probe_" #probe "\n"               \
    ".type hk_probe_" #probe ", %function\n"      \
    "hk_probe_" #probe ":\n"                      \
    ".cfi_startproc\n"                            \
    " nop\n"                                      \
    " ret\n"                                      \
    ".cfi_endproc\n"                              \
    ".size hk_probe_" #probe ", . - hk_probe_" #probe "\n" \
    ".pushsection .note.stapsdt,\"\",\"note\"\n"  \
    " .balign 4\n"                                \
    " .4byte 992f - 991f, 994f - 993f, 3\n"       \
    "991: .asciz \"stapsdt\"\n"                   \
    "992: .balign 4\n"                            \
    "993: .8byte hk_probe_" #probe "\n"           \
    " .8byte _.stapsdt.base\n"                    \
    " .8byte hakmem_" #probe "_semaphore\n"       \
    " .asciz \"" provider "\"\n"                  \
    " .asciz \"" in_note "\"\n"                   \
    ARGS_##n args                                 \
    " .byte 0\n"                                  \
    "994: .balign 4\n"                            \
    ".popsection\n"
#define HK_PROBE(probe, n, args, text) SITE("hakmem", #probe, probe, n, args)
#include "hakmem_probes.def"
#undef HK_PROBE
#define HK_SAMPLE_PROBE(probe, in_note, n, args, text) SITE(HK_SAMPLE_PROVIDER, in_note, probe, n, args)
#include "sample_probes.def"
#undef HK_SAMPLE_PROBE
    ".popsection\n"
    ".purgem hk_probe_sign\n");
/* clang-format on */

#endif
