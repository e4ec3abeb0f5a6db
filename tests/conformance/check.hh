/* check.hh - a check that counts and goes on, for the C++ programs. */
#ifndef CHECK_HH
#define CHECK_HH

#include <cstddef>
#include <cstdio>
#include <dlfcn.h>
#include <new>

/* Declared by <new> only where the compiler uses them by itself. */
void operator delete(void *ptr, std::size_t size) noexcept;
void operator delete[](void *ptr, std::size_t size) noexcept;
void operator delete(void *ptr, std::size_t size, std::align_val_t align) noexcept;
void operator delete[](void *ptr, std::size_t size, std::align_val_t align) noexcept;

static unsigned long checks, failures;

#define CHECK(claim, ...)                                                    \
    do {                                                                     \
        checks++;                                                            \
        if (!(claim) && ++failures <= 20) {                                  \
            std::fprintf(stderr, "line %d: not so: %s: ", __LINE__, #claim); \
            std::fprintf(stderr, __VA_ARGS__);                               \
            std::fputc('\n', stderr);                                        \
        }                                                                    \
    } while (0)

static bool on_hakmem()
{
    return dlsym(RTLD_DEFAULT, "hk_version") != nullptr;
}

static int check_result()
{
    std::printf("%lu checks, %lu failed, %s\n", checks, failures, on_hakmem() ? "on hakmem" : "on another allocator");
    return checks == 0 || failures != 0;
}

#endif
