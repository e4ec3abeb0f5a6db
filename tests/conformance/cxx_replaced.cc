/* cxx_replaced.cc - a program that replaces the plain and the aligned operators alone: every other operator, which the
 * standard defines by those, must reach the program's. Its blocks are not an allocator's: freeing one elsewhere is fatal. */
#include "check.hh"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wsized-deallocation" /* that one is missing is the point */
#endif

namespace {

constexpr std::uint64_t magic = 0x68616b6d656d2121;
constexpr std::size_t arena_size = 64u << 20;

alignas(4096) char arena[arena_size];
std::size_t used;
long live, news, deletes;
bool refuse;

void *take(std::size_t size, std::size_t align)
{
    if (refuse)
        throw std::bad_alloc();
    if (align < 16)
        align = 16;
    std::size_t at = (used + 16 + align - 1) / align * align;
    if (size > arena_size || at + size > arena_size)
        throw std::bad_alloc();
    used = at + size;
    std::memcpy(arena + at - 8, &magic, sizeof magic);
    live++;
    news++;
    return arena + at;
}

void give(void *ptr)
{
    if (ptr == nullptr)
        return;
    std::uint64_t mark = 0;
    if (ptr > arena && ptr < arena + arena_size)
        std::memcpy(&mark, static_cast<char *>(ptr) - 8, sizeof mark);
    CHECK(mark == magic, "%p is not of this program", ptr);
    live--;
    deletes++;
}

template <typename get, typename put> void pair(const char *what, get take_one, put give_one)
{
    long before = news, deleted = deletes;
    void *ptr = take_one();
    CHECK(ptr > arena && ptr < arena + arena_size && news == before + 1, "%s came from elsewhere: %p", what, ptr);
    give_one(ptr);
    CHECK(deletes == deleted + 1, "%s went elsewhere", what);
}

} // namespace

void *operator new(std::size_t size)
{
    return take(size, 16);
}

void operator delete(void *ptr) noexcept
{
    give(ptr);
}

void *operator new(std::size_t size, std::align_val_t align)
{
    return take(size, static_cast<std::size_t>(align));
}

void operator delete(void *ptr, std::align_val_t) noexcept
{
    give(ptr);
}

int main()
{
    const std::align_val_t a{256};
    const std::size_t n = 100;
    pair(
        "new", [=] { return ::operator new(n); }, [=](void *p) { ::operator delete(p, n); });
    pair(
        "new", [=] { return ::operator new(n); }, [=](void *p) { ::operator delete(p, std::nothrow); });
    pair(
        "nothrow new", [=] { return ::operator new(n, std::nothrow); }, [=](void *p) { ::operator delete(p); });
    pair(
        "new[]", [=] { return ::operator new[](n); }, [=](void *p) { ::operator delete[](p); });
    pair(
        "new[]", [=] { return ::operator new[](n); }, [=](void *p) { ::operator delete[](p, n); });
    pair(
        "new[]", [=] { return ::operator new[](n); }, [=](void *p) { ::operator delete[](p, std::nothrow); });
    pair(
        "nothrow new[]", [=] { return ::operator new[](n, std::nothrow); }, [=](void *p) { ::operator delete[](p); });
    pair(
        "aligned", [=] { return ::operator new(n, a); }, [=](void *p) { ::operator delete(p, n, a); });
    pair(
        "aligned", [=] { return ::operator new(n, a); }, [=](void *p) { ::operator delete(p, a, std::nothrow); });
    pair(
        "aligned[]", [=] { return ::operator new[](n, a); }, [=](void *p) { ::operator delete[](p, a); });
    pair(
        "aligned[]", [=] { return ::operator new[](n, a); }, [=](void *p) { ::operator delete[](p, n, a); });
    pair(
        "aligned[]", [=] { return ::operator new[](n, a); }, [=](void *p) { ::operator delete[](p, a, std::nothrow); });
    pair(
        "nothrow aligned", [=] { return ::operator new(n, a, std::nothrow); },
        [=](void *p) { ::operator delete(p, a); });
    pair(
        "nothrow aligned[]", [=] { return ::operator new[](n, a, std::nothrow); },
        [=](void *p) { ::operator delete[](p, a); });
    {
        std::vector<std::string> list;
        for (int i = 0; i < 1000; i++)
            list.push_back("a string that is too long for the small-string buffer");
    }
    CHECK(live == 0, "%ld live", live);
    refuse = true;
    CHECK(::operator new(n, std::nothrow) == nullptr, "what the program's own throws is caught");
    CHECK(::operator new[](n, std::nothrow) == nullptr, "what the program's own throws is caught");
    CHECK(::operator new(n, a, std::nothrow) == nullptr, "what the program's own throws is caught");
    CHECK(::operator new[](n, a, std::nothrow) == nullptr, "what the program's own throws is caught");
    return check_result();
}
