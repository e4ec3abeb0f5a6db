/* probe.h - how the library fires its probes. Made from hakmem_probes.def and sample_probes.def; README.md tells how they are read.
 *
 *   HK_PROBE_FIRE(tls_drain, class_idx, blocks, bytes, reason, drains);
 *
 * A probe that nobody watches costs the compare of its semaphore: its arguments aren't evaluated. A pointer or an integer
 * is passed as 64 bits; one whose name begins with `s_` is passed as int64_t by the caller. A wrong number of arguments or
 * an unknown probe doesn't compile. With HK_NO_PROBES nothing of a probe is left but that check. */
#ifndef HK_PROBE_H
#define HK_PROBE_H

#include "../src/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define HK_PROBE_ARGS_MAX 6

#define HK_PROBE_PARAMS_0 void
#define HK_PROBE_PARAMS_1 uint64_t a0
#define HK_PROBE_PARAMS_2 HK_PROBE_PARAMS_1, uint64_t a1
#define HK_PROBE_PARAMS_3 HK_PROBE_PARAMS_2, uint64_t a2
#define HK_PROBE_PARAMS_4 HK_PROBE_PARAMS_3, uint64_t a3
#define HK_PROBE_PARAMS_5 HK_PROBE_PARAMS_4, uint64_t a4
#define HK_PROBE_PARAMS_6 HK_PROBE_PARAMS_5, uint64_t a5

#ifndef HK_NO_PROBES

/* The semaphore is the kernel's to count up and down: how many watch the probe. The function is the probe's one site. */
#define HK_PROBE(name, n, args, text)                                                                       \
    extern HK_HIDDEN volatile unsigned short hakmem_##name##_semaphore __attribute__((section(".probes"))); \
    HK_HIDDEN __attribute__((cold)) void hk_probe_##name(HK_PROBE_PARAMS_##n);
#define HK_SAMPLE_PROBE(name, in_note, n, args, text) HK_PROBE(name, n, args, text)
#include "hakmem_probes.def"
#include "sample_probes.def"
#undef HK_SAMPLE_PROBE
#undef HK_PROBE

/* Whether anybody watches: for arguments that take work to find. */
#define HK_PROBE_ON(name) hk_unlikely(hakmem_##name##_semaphore != 0)

#else

#define HK_PROBE_UNUSED_0
#define HK_PROBE_UNUSED_1 (void)a0;
#define HK_PROBE_UNUSED_2 HK_PROBE_UNUSED_1(void) a1;
#define HK_PROBE_UNUSED_3 HK_PROBE_UNUSED_2(void) a2;
#define HK_PROBE_UNUSED_4 HK_PROBE_UNUSED_3(void) a3;
#define HK_PROBE_UNUSED_5 HK_PROBE_UNUSED_4(void) a4;
#define HK_PROBE_UNUSED_6 HK_PROBE_UNUSED_5(void) a5;

#define HK_PROBE(name, n, args, text)                       \
    enum { hakmem_##name##_left_out };                      \
    static inline void hk_probe_##name(HK_PROBE_PARAMS_##n) \
    {                                                       \
        HK_PROBE_UNUSED_##n                                 \
    }
#define HK_SAMPLE_PROBE(name, in_note, n, args, text) HK_PROBE(name, n, args, text)
#include "hakmem_probes.def"
#include "sample_probes.def"
#undef HK_SAMPLE_PROBE
#undef HK_PROBE

#define HK_PROBE_ON(name) ((void)hakmem_##name##_left_out, false)

#endif

/* For a pointer and an integer alike; a signed one is extended by its sign. */
#define HK_PROBE_ARG(x) ((uint64_t)(uintptr_t)(x))

#define HK_PROBE_LIST_0(name) hk_probe_##name()
#define HK_PROBE_LIST_1(name, a) hk_probe_##name(HK_PROBE_ARG(a))
#define HK_PROBE_LIST_2(name, a, b) hk_probe_##name(HK_PROBE_ARG(a), HK_PROBE_ARG(b))
#define HK_PROBE_LIST_3(name, a, b, c) hk_probe_##name(HK_PROBE_ARG(a), HK_PROBE_ARG(b), HK_PROBE_ARG(c))
#define HK_PROBE_LIST_4(name, a, b, c, d) \
    hk_probe_##name(HK_PROBE_ARG(a), HK_PROBE_ARG(b), HK_PROBE_ARG(c), HK_PROBE_ARG(d))
#define HK_PROBE_LIST_5(name, a, b, c, d, e) \
    hk_probe_##name(HK_PROBE_ARG(a), HK_PROBE_ARG(b), HK_PROBE_ARG(c), HK_PROBE_ARG(d), HK_PROBE_ARG(e))
#define HK_PROBE_LIST_6(name, a, b, c, d, e, f)                                                          \
    hk_probe_##name(HK_PROBE_ARG(a), HK_PROBE_ARG(b), HK_PROBE_ARG(c), HK_PROBE_ARG(d), HK_PROBE_ARG(e), \
                    HK_PROBE_ARG(f))
/* Too many: the compiler says so, by the prototype. */
#define HK_PROBE_LIST_7(name, ...) hk_probe_##name(__VA_ARGS__)

/* The probe's name is the first of the variable arguments, so that C11 allows a probe without arguments. */
#define HK_PROBE_PICK(name, a, b, c, d, e, f, g, h, which, ...) which
#define HK_PROBE_CALL(...)                                                                                          \
    HK_PROBE_PICK(__VA_ARGS__, HK_PROBE_LIST_7, HK_PROBE_LIST_7, HK_PROBE_LIST_6, HK_PROBE_LIST_5, HK_PROBE_LIST_4, \
                  HK_PROBE_LIST_3, HK_PROBE_LIST_2, HK_PROBE_LIST_1, HK_PROBE_LIST_0, 0)                            \
    (__VA_ARGS__)
#define HK_PROBE_NAME(...) HK_PROBE_FIRST(__VA_ARGS__, 0)
#define HK_PROBE_FIRST(name, ...) HK_PROBE_ON(name)

#define HK_PROBE_FIRE(...)              \
    do {                                \
        if (HK_PROBE_NAME(__VA_ARGS__)) \
            HK_PROBE_CALL(__VA_ARGS__); \
    } while (0)

#ifdef __cplusplus
}
#endif

#endif
