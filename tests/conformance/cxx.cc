/* cxx.cc - every operator new and delete against [new.delete]: results, alignment, the loop over new_handler, exceptions
 * and their absence. Runs on any allocator. With the argument `exhaust` it fills the address space, which must be limited,
 * and checks that a handler that frees memory is called again until there is some. */
#include "check.hh"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr std::size_t too_big = PTRDIFF_MAX;
volatile std::size_t opaque_too_big = too_big, odd_align = 24; /* no compiler warns of what it can't see */

bool is_aligned(const void *ptr, std::size_t align)
{
    return (reinterpret_cast<std::uintptr_t>(ptr) & (align - 1)) == 0;
}

void check_block(const char *what, void *ptr, std::size_t size, std::size_t align)
{
    CHECK(ptr != nullptr && is_aligned(ptr, align) && is_aligned(ptr, 16), "%s(%zu) at %zu = %p", what, size, align,
          ptr);
    std::memset(ptr, 0x5c, size);
}

/* Each new with each delete that may follow it. */
void every_form()
{
    static const std::size_t sizes[] = {0, 1, 8, 15, 16, 17, 100, 1000, 1024, 1040, 5000, 33000, 70000, 3000000};
    for (std::size_t n : sizes) {
        void *p[10];
        for (void *&ptr : p)
            check_block("new", ptr = ::operator new(n), n, 16);
        ::operator delete(p[0]);
        ::operator delete(p[1], n);
        ::operator delete(p[2], std::nothrow);
        for (int i = 3; i < 10; i++)
            ::operator delete(p[i], n);
        for (void *&ptr : p)
            check_block("new[]", ptr = ::operator new[](n), n, 16);
        ::operator delete[](p[0]);
        ::operator delete[](p[1], n);
        ::operator delete[](p[2], std::nothrow);
        for (int i = 3; i < 10; i++)
            ::operator delete[](p[i]);
        check_block("nothrow new", p[0] = ::operator new(n, std::nothrow), n, 16);
        check_block("nothrow new[]", p[1] = ::operator new[](n, std::nothrow), n, 16);
        ::operator delete(p[0], n);
        ::operator delete[](p[1], n);
        for (std::size_t a = 1; a <= (n <= 100 ? 1u << 30 : 1u << 21); a *= 2) {
            std::align_val_t align{a};
            for (int i = 0; i < 3; i++) {
                check_block("aligned new", p[i] = ::operator new(n, align), n, a);
                check_block("aligned new[]", p[i + 3] = ::operator new[](n, align), n, a);
            }
            check_block("aligned nothrow new", p[6] = ::operator new(n, align, std::nothrow), n, a);
            check_block("aligned nothrow new[]", p[7] = ::operator new[](n, align, std::nothrow), n, a);
            ::operator delete(p[0], align);
            ::operator delete(p[1], n, align);
            ::operator delete(p[2], align, std::nothrow);
            ::operator delete[](p[3], align);
            ::operator delete[](p[4], n, align);
            ::operator delete[](p[5], align, std::nothrow);
            ::operator delete(p[6], n, align);
            ::operator delete[](p[7], n, align);
        }
    }
    void *a = ::operator new(0), *b = ::operator new(0);
    CHECK(a != b, "both %p", a);
    ::operator delete(a);
    ::operator delete(b, static_cast<std::size_t>(0));
    ::operator delete(nullptr);
    ::operator delete[](nullptr);
    ::operator delete(nullptr, static_cast<std::size_t>(8));
    ::operator delete[](nullptr, static_cast<std::size_t>(8));
    ::operator delete(nullptr, std::nothrow);
    ::operator delete (nullptr, std::align_val_t{64});
    ::operator delete[](nullptr, 8, std::align_val_t{64});
}

using request = std::function<void *(std::size_t)>;

const std::vector<std::pair<const char *, request>> &throwing_forms()
{
    static const std::vector<std::pair<const char *, request>> forms = {
        {"new", [](std::size_t n) { return ::operator new(n); }},
        {"new[]", [](std::size_t n) { return ::operator new[](n); }},
        {"aligned new", [](std::size_t n) { return ::operator new (n, std::align_val_t{64}); }},
        {"aligned new[]", [](std::size_t n) { return ::operator new[](n, std::align_val_t{64}); }},
    };
    return forms;
}

const std::vector<std::pair<const char *, request>> &nothrow_forms()
{
    static const std::vector<std::pair<const char *, request>> forms = {
        {"nothrow new", [](std::size_t n) { return ::operator new(n, std::nothrow); }},
        {"nothrow new[]", [](std::size_t n) { return ::operator new[](n, std::nothrow); }},
        {"aligned nothrow new", [](std::size_t n) { return ::operator new (n, std::align_val_t{64}, std::nothrow); }},
        {"aligned nothrow new[]",
         [](std::size_t n) { return ::operator new[](n, std::align_val_t{64}, std::nothrow); }},
    };
    return forms;
}

template <typename exception> bool throws(const request &form, std::size_t size)
{
    try {
        void *ptr = form(size);
        CHECK(false, "%zu bytes gave %p", size, ptr);
    } catch (const exception &) {
        return true;
    }
    return false;
}

int calls;

struct handler_error : std::runtime_error {
    handler_error() : std::runtime_error("from the handler")
    {
    }
};

void failures_without_handler()
{
    static const std::size_t sizes[] = {too_big - 1, too_big, too_big + 1, SIZE_MAX - 16, SIZE_MAX};
    for (std::size_t size : sizes) {
        if (size > too_big + 1 && !on_hakmem())
            continue; /* libstdc++ 12 rounds an aligned size up without a look at the overflow */
        for (const auto &form : throwing_forms())
            CHECK(throws<std::bad_alloc>(form.second, size), "%s(%zu)", form.first, size);
        for (const auto &form : nothrow_forms())
            CHECK(form.second(size) == nullptr, "%s(%zu)", form.first, size);
    }
    CHECK(throws<std::bad_alloc>([](std::size_t n) { return new char[n]; }, too_big), "a new-expression");
    CHECK(throws<std::bad_alloc>([](std::size_t) { return ::operator new(16, std::align_val_t(odd_align)); }, 16),
          "24");
    CHECK(::operator new(16, std::align_val_t(odd_align), std::nothrow) == nullptr, "24");
}

void handlers()
{
    for (const auto &form : throwing_forms()) {
        calls = 0;
        std::set_new_handler([] {
            if (++calls == 5)
                throw handler_error();
        });
        CHECK(throws<handler_error>(form.second, opaque_too_big) && calls == 5, "%s: %d calls", form.first, calls);
        calls = 0;
        std::set_new_handler([] {
            if (++calls == 3)
                std::set_new_handler(nullptr);
        });
        CHECK(throws<std::bad_alloc>(form.second, opaque_too_big) && calls == 3, "%s: %d calls", form.first, calls);
    }
    for (const auto &form : nothrow_forms()) {
        calls = 0;
        std::set_new_handler([] {
            if (++calls == 4)
                throw std::bad_alloc();
        });
        CHECK(form.second(opaque_too_big) == nullptr && calls == 4, "%s: %d calls", form.first, calls);
        calls = 0;
        std::set_new_handler([] {
            if (++calls == 2)
                throw handler_error(); /* required to be bad_alloc or derived: caught all the same */
        });
        CHECK(form.second(opaque_too_big) == nullptr && calls == 2, "%s: %d calls", form.first, calls);
        calls = 0;
        std::set_new_handler([] {
            if (++calls == 3)
                std::set_new_handler(nullptr);
        });
        CHECK(form.second(opaque_too_big) == nullptr && calls == 3, "%s: %d calls", form.first, calls);
    }
    std::set_new_handler(nullptr);
}

struct alignas(128) wide {
    std::string text = "longer than any small-string buffer is likely to be, surely";
    virtual ~wide()
    {
        text.clear();
    }
};

struct derived : wide {
    std::vector<int> numbers = std::vector<int>(1000, 7);
};

void library_at_work()
{
    std::map<std::string, std::vector<std::unique_ptr<wide>>> map;
    for (int i = 0; i < 3000; i++) {
        auto &list = map["key number " + std::to_string(i % 300) + " of the map"];
        list.emplace_back(i % 2 != 0 ? new derived : new wide);
        CHECK(is_aligned(list.back().get(), 128), "object at %p", static_cast<void *>(list.back().get()));
    }
    std::unique_ptr<wide[]> array(new wide[50]);
    CHECK(is_aligned(array.get(), 128), "array at %p", static_cast<void *>(array.get()));
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; t++)
        threads.emplace_back([] {
            for (int i = 0; i < 500; i++) {
                try {
                    throw std::runtime_error(std::string(static_cast<std::size_t>(i), 'x'));
                } catch (const std::exception &e) {
                    auto copy = std::make_shared<std::string>(e.what());
                    if (copy->size() != static_cast<std::size_t>(i))
                        std::abort();
                }
            }
        });
    for (std::thread &thread : threads)
        thread.join();
}

/* Blocks that are held until the handler gives one back. */
std::vector<void *> hoard;
constexpr std::size_t portion = 16u << 20;

void exhaust()
{
    hoard.reserve(1 << 20);
    while (void *ptr = ::operator new(portion, std::nothrow)) {
        hoard.push_back(ptr);
        if (hoard.size() == (1 << 20) || hoard.size() * portion > (std::size_t(1) << 36)) {
            CHECK(false, "the address space is not limited");
            return;
        }
    }
    std::size_t most = hoard.size();
    CHECK(most >= 2, "only %zu portions", most);
    std::set_new_handler([] {
        calls++;
        if (hoard.empty())
            throw handler_error();
        ::operator delete(hoard.back());
        hoard.pop_back();
    });
    for (const auto &form : throwing_forms()) {
        calls = 0;
        void *ptr = form.second(portion);
        CHECK(ptr != nullptr && calls >= 1, "%s: %d calls", form.first, calls);
        hoard.push_back(ptr);
    }
    for (const auto &form : nothrow_forms()) {
        calls = 0;
        void *ptr = form.second(portion);
        CHECK(ptr != nullptr && calls >= 1, "%s: %d calls", form.first, calls);
        hoard.push_back(ptr);
    }
    CHECK(throws<handler_error>(throwing_forms()[0].second, too_big) && hoard.empty(), "%zu left", hoard.size());
}

} // namespace

int main(int argc, char **argv)
{
    if (argc > 1 && std::strcmp(argv[1], "exhaust") == 0) {
        exhaust();
        return check_result();
    }
    every_form();
    failures_without_handler();
    handlers();
    library_at_work();
    return check_result();
}
