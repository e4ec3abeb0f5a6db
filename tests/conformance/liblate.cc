/* liblate.cc - for late.c: C++ that a C program loads when hakmem has been there for long. */
#include <cstdint>
#include <new>
#include <string>
#include <vector>

namespace {
int calls;
volatile std::size_t too_big = PTRDIFF_MAX;
} // namespace

/* 0, or the number of the step that went wrong. */
extern "C" int late_run()
{
    std::vector<std::string> list;
    for (int i = 0; i < 1000; i++)
        list.push_back(std::string(static_cast<std::size_t>(i), 'x'));
    try {
        ::operator delete(::operator new(too_big));
        return 1;
    } catch (const std::bad_alloc &) {
    }
    if (::operator new(too_big, std::nothrow) != nullptr)
        return 2;
    std::set_new_handler([] {
        if (++calls == 3)
            throw std::bad_alloc();
    });
    try {
        ::operator delete[](::operator new[](too_big));
        return 3;
    } catch (const std::bad_alloc &) {
    }
    if (calls != 3)
        return 4;
    calls = 0;
    if (::operator new(too_big, std::nothrow) != nullptr || calls != 3)
        return 5;
    calls = 0;
    if (::operator new[](too_big, std::align_val_t{64}, std::nothrow) != nullptr || calls != 3)
        return 6;
    std::set_new_handler(nullptr);
    return 0;
}
