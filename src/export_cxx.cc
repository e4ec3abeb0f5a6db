/* export_cxx.cc - every replaceable operator new and delete, without a C++ runtime of its own.
 *
 * A library that is preloaded into a C program may meet its C++ runtime late (a plugin's), or never. So nothing here refers
 * to one but weakly: what only a runtime can do (say which new_handler is set, throw, catch) is left to the runtime of the
 * program or, when that came later, of the object that called. The file is compiled without exceptions but with unwind
 * tables: an exception of a handler passes through, and is caught nowhere here.
 *
 * The standard defines most operators by a few others, which a program may replace ([new.delete]: new[] by new, sized
 * delete by delete ...). The operators here take the short way to the heap only while none of those few was replaced. */
#include <dlfcn.h>
#include <new>

#define _Noreturn __attribute__((noreturn)) /* the headers are C */

extern "C" {
#include "heap.h"
#include "os.h"

void abort(void) noexcept __attribute__((noreturn));

#pragma weak dlsym
#pragma weak dlopen
#pragma weak dlclose
#pragma weak dladdr

/* std::get_new_handler and std::__throw_bad_alloc; libstdc++ and libc++ have both by these names. */
std::new_handler runtime_get_new_handler(void) __asm__("_ZSt15get_new_handlerv") __attribute__((weak));
void runtime_throw_bad_alloc(void) __asm__("_ZSt17__throw_bad_allocv") __attribute__((weak));
}

/* <new> declares these, with their visibility, only to compilers that use them by themselves. */
HK_EXPORT void operator delete(void *ptr, size_t size) noexcept;
HK_EXPORT void operator delete[](void *ptr, size_t size) noexcept;
HK_EXPORT void operator delete(void *ptr, size_t size, std::align_val_t align) noexcept;
HK_EXPORT void operator delete[](void *ptr, size_t size, std::align_val_t align) noexcept;

/* ---- the runtime, wherever it is ---- */

namespace {

/* What the object that holds the code at `caller` sees under a name: also what was loaded with RTLD_LOCAL. */
void *symbol_of_caller(const char *name, const void *caller)
{
    Dl_info info;
    if (dladdr == nullptr || dlopen == nullptr || dladdr(caller, &info) == 0 || info.dli_fname == nullptr)
        return nullptr;
    void *object = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (object == nullptr)
        return nullptr;
    void *symbol = dlsym(object, name);
    dlclose(object); /* it stays loaded: it is executing */
    return symbol;
}

template <typename function> function *runtime_function(function *linked, const char *name, const void *caller)
{
    if (linked != nullptr || dlsym == nullptr)
        return linked;
    void *symbol = dlsym(RTLD_DEFAULT, name);
    return reinterpret_cast<function *>(symbol != nullptr ? symbol : symbol_of_caller(name, caller));
}

std::new_handler new_handler_in_force(const void *caller)
{
    auto get = runtime_function(runtime_get_new_handler, "_ZSt15get_new_handlerv", caller);
    return get != nullptr ? get() : nullptr;
}

[[noreturn]] void throw_bad_alloc(size_t size, const void *caller)
{
    auto raise = runtime_function(runtime_throw_bad_alloc, "_ZSt17__throw_bad_allocv", caller);
    if (raise != nullptr)
        raise();
    os_message("hakmem: operator new: no memory for %zu bytes, and no C++ runtime to throw std::bad_alloc\n", size);
    abort();
}

/* The runtime's own nothrow operator: it calls the throwing one through the same symbol as everybody, and catches. */
template <typename function>
function *runtime_nothrow_new(function **cache, const char *name, function *ours, const void *caller)
{
    function *found = atomic_load_relaxed(cache);
    if (found != nullptr || dlsym == nullptr)
        return found;
    found = reinterpret_cast<function *>(dlsym(RTLD_NEXT, name));
    if (found != nullptr)
        atomic_store_relaxed(cache, found);
    else
        found = reinterpret_cast<function *>(symbol_of_caller(name, caller));
    return found != ours ? found : nullptr;
}

/* ---- new: the heap first, then the handlers ---- */

inline void *allocate(size_t size, size_t align)
{
    if (align <= HK_ALIGNMENT && hk_is_power_of_two(align))
        return heap_malloc(size);
    return hk_is_power_of_two(align) ? heap_aligned_alloc(align, size) : nullptr;
}

/* [new.delete.single]: call the handler until there is memory, none is set, or it throws. */
HK_COLD void *new_slow(size_t size, size_t align, const void *caller)
{
    for (;;) {
        std::new_handler handler = hk_is_power_of_two(align) ? new_handler_in_force(caller) : nullptr;
        if (handler == nullptr)
            throw_bad_alloc(size, caller);
        handler();
        void *ptr = allocate(size, align);
        if (ptr != nullptr)
            return ptr;
    }
}

using nothrow_new = void *(size_t, const std::nothrow_t &);
using nothrow_aligned_new = void *(size_t, std::align_val_t, const std::nothrow_t &);

nothrow_new *next_new, *next_new_array;
nothrow_aligned_new *next_aligned_new, *next_aligned_new_array;

/* The operators that others are defined by, under names that are always this file's. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmissing-attributes" /* the aliases are for comparing addresses alone */
#endif
extern "C" {
HK_HIDDEN void *own_new(size_t) __attribute__((alias("_Znwm")));
HK_HIDDEN void *own_new_array(size_t) __attribute__((alias("_Znam")));
HK_HIDDEN void *own_aligned_new(size_t, std::align_val_t) __attribute__((alias("_ZnwmSt11align_val_t")));
HK_HIDDEN void *own_aligned_new_array(size_t, std::align_val_t) __attribute__((alias("_ZnamSt11align_val_t")));
HK_HIDDEN void own_delete(void *) __attribute__((alias("_ZdlPv")));
HK_HIDDEN void own_delete_array(void *) __attribute__((alias("_ZdaPv")));
HK_HIDDEN void own_aligned_delete(void *, std::align_val_t) __attribute__((alias("_ZdlPvSt11align_val_t")));
HK_HIDDEN void own_aligned_delete_array(void *, std::align_val_t) __attribute__((alias("_ZdaPvSt11align_val_t")));
}

/* And as everybody sees them: the program's, if it has its own. Volatile, because a compiler that is told that nothing is
 * interposed would call ours. */
void *(*const volatile seen_new)(size_t) = &::operator new;
void *(*const volatile seen_new_array)(size_t) = &::operator new[];
void *(*const volatile seen_aligned_new)(size_t, std::align_val_t) = &::operator new;
void *(*const volatile seen_aligned_new_array)(size_t, std::align_val_t) = &::operator new[];
void (*const volatile seen_delete)(void *) = &::operator delete;
void (*const volatile seen_delete_array)(void *) = &::operator delete[];
void (*const volatile seen_aligned_delete)(void *, std::align_val_t) = &::operator delete;
void (*const volatile seen_aligned_delete_array)(void *, std::align_val_t) = &::operator delete[];

enum : uint8_t { UNKNOWN, OURS, REPLACED };
uint8_t operators; /* any: settled by the first call; what a symbol is bound to doesn't change */

HK_COLD bool learn_operators()
{
    bool ours = seen_new == own_new && seen_new_array == own_new_array && seen_aligned_new == own_aligned_new &&
                seen_aligned_new_array == own_aligned_new_array && seen_delete == own_delete &&
                seen_delete_array == own_delete_array && seen_aligned_delete == own_aligned_delete &&
                seen_aligned_delete_array == own_aligned_delete_array;
    atomic_store_relaxed(&operators, ours ? OURS : REPLACED);
    return ours;
}

inline bool all_ours()
{
    uint8_t known = atomic_load_relaxed(&operators);
    return hk_likely(known == OURS) || (known == UNKNOWN && learn_operators());
}

} // namespace

/* ---- new ---- */

void *operator new(size_t size)
{
    void *ptr = heap_malloc(size);
    return hk_likely(ptr != nullptr) ? ptr : new_slow(size, HK_ALIGNMENT, __builtin_return_address(0));
}

void *operator new(size_t size, std::align_val_t align)
{
    void *ptr = allocate(size, static_cast<size_t>(align));
    return hk_likely(ptr != nullptr) ? ptr : new_slow(size, static_cast<size_t>(align), __builtin_return_address(0));
}

void *operator new[](size_t size)
{
    if (hk_unlikely(!all_ours()))
        return seen_new(size);
    void *ptr = heap_malloc(size);
    return hk_likely(ptr != nullptr) ? ptr : new_slow(size, HK_ALIGNMENT, __builtin_return_address(0));
}

void *operator new[](size_t size, std::align_val_t align)
{
    if (hk_unlikely(!all_ours()))
        return seen_aligned_new(size, align);
    void *ptr = allocate(size, static_cast<size_t>(align));
    return hk_likely(ptr != nullptr) ? ptr : new_slow(size, static_cast<size_t>(align), __builtin_return_address(0));
}

/* ---- nothrow new: by the heap, or as the runtime does it ---- */

namespace {

HK_COLD void *nothrow_slow(size_t size, nothrow_new **cache, const char *name, nothrow_new *ours,
                           const std::nothrow_t &tag, const void *caller)
{
    bool replaced = !all_ours();
    if (!replaced && new_handler_in_force(caller) == nullptr)
        return nullptr;
    nothrow_new *next = runtime_nothrow_new(cache, name, ours, caller);
    if (next != nullptr)
        return next(size, tag);
    return replaced ? seen_new(size) : nullptr;
}

HK_COLD void *nothrow_slow(size_t size, std::align_val_t align, nothrow_aligned_new **cache, const char *name,
                           nothrow_aligned_new *ours, const std::nothrow_t &tag, const void *caller)
{
    bool replaced = !all_ours();
    if (!replaced && new_handler_in_force(caller) == nullptr)
        return nullptr;
    nothrow_aligned_new *next = runtime_nothrow_new(cache, name, ours, caller);
    if (next != nullptr)
        return next(size, align, tag);
    return replaced ? seen_aligned_new(size, align) : nullptr;
}

} // namespace

void *operator new(size_t size, const std::nothrow_t &tag) noexcept
{
    void *ptr = hk_likely(all_ours()) ? heap_malloc(size) : nullptr;
    if (hk_likely(ptr != nullptr))
        return ptr;
    return nothrow_slow(size, &next_new, "_ZnwmRKSt9nothrow_t", &::operator new, tag, __builtin_return_address(0));
}

void *operator new[](size_t size, const std::nothrow_t &tag) noexcept
{
    void *ptr = hk_likely(all_ours()) ? heap_malloc(size) : nullptr;
    if (hk_likely(ptr != nullptr))
        return ptr;
    return nothrow_slow(size, &next_new_array, "_ZnamRKSt9nothrow_t", &::operator new[], tag,
                        __builtin_return_address(0));
}

void *operator new(size_t size, std::align_val_t align, const std::nothrow_t &tag) noexcept
{
    void *ptr = hk_likely(all_ours()) ? allocate(size, static_cast<size_t>(align)) : nullptr;
    if (hk_likely(ptr != nullptr))
        return ptr;
    return nothrow_slow(size, align, &next_aligned_new, "_ZnwmSt11align_val_tRKSt9nothrow_t", &::operator new, tag,
                        __builtin_return_address(0));
}

void *operator new[](size_t size, std::align_val_t align, const std::nothrow_t &tag) noexcept
{
    void *ptr = hk_likely(all_ours()) ? allocate(size, static_cast<size_t>(align)) : nullptr;
    if (hk_likely(ptr != nullptr))
        return ptr;
    return nothrow_slow(size, align, &next_aligned_new_array, "_ZnamSt11align_val_tRKSt9nothrow_t", &::operator new[],
                        tag, __builtin_return_address(0));
}

/* ---- delete ---- */

void operator delete(void *ptr) noexcept
{
    heap_free(ptr);
}

void operator delete(void *ptr, std::align_val_t) noexcept
{
    heap_free(ptr);
}

void operator delete[](void *ptr) noexcept
{
    all_ours() ? heap_free(ptr) : seen_delete(ptr);
}

void operator delete[](void *ptr, std::align_val_t align) noexcept
{
    all_ours() ? heap_free(ptr) : seen_aligned_delete(ptr, align);
}

void operator delete(void *ptr, const std::nothrow_t &) noexcept
{
    all_ours() ? heap_free(ptr) : seen_delete(ptr);
}

void operator delete[](void *ptr, const std::nothrow_t &) noexcept
{
    all_ours() ? heap_free(ptr) : seen_delete_array(ptr);
}

void operator delete(void *ptr, std::align_val_t align, const std::nothrow_t &) noexcept
{
    all_ours() ? heap_free(ptr) : seen_aligned_delete(ptr, align);
}

void operator delete[](void *ptr, std::align_val_t align, const std::nothrow_t &) noexcept
{
    all_ours() ? heap_free(ptr) : seen_aligned_delete_array(ptr, align);
}

/* Sized: the size is checked, which may be all that finds the deletion of an object through a wrong type. */

void operator delete(void *ptr, size_t size) noexcept
{
    all_ours() ? heap_free_sized(ptr, size, HK_ALIGNMENT) : seen_delete(ptr);
}

void operator delete[](void *ptr, size_t size) noexcept
{
    all_ours() ? heap_free_sized(ptr, size, HK_ALIGNMENT) : seen_delete_array(ptr);
}

void operator delete(void *ptr, size_t size, std::align_val_t align) noexcept
{
    all_ours() ? heap_free_sized(ptr, size, static_cast<size_t>(align)) : seen_aligned_delete(ptr, align);
}

void operator delete[](void *ptr, size_t size, std::align_val_t align) noexcept
{
    all_ours() ? heap_free_sized(ptr, size, static_cast<size_t>(align)) : seen_aligned_delete_array(ptr, align);
}
