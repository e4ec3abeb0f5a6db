// cxx.cc - C++ linked statically: operator new, containers, exceptions, threads and locales are on hakmem.
#include <cstdio>
#include <map>
#include <new>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "hakmem.h"

int main()
{
    struct hk_stats before {
    }, after{};
    if (::hk_stats(&before, sizeof before) != 0)
        return 1;
    std::map<int, std::string> names;
    for (int i = 0; i < 1000; i++) {
        std::ostringstream text;
        text << "a text that is longer than any string's own room: " << i;
        names[i] = text.str();
    }
    if (::hk_stats(&after, sizeof after) != 0 || after.live_blocks < before.live_blocks + 2000)
        return 2;
    try {
        std::vector<char> too_many(names.max_size());
        return 3;
    } catch (const std::bad_alloc &) {
    } catch (const std::length_error &) {
    }
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++)
        threads.emplace_back([] {
            std::vector<std::string> all;
            for (int n = 0; n < 1000; n++)
                all.push_back(std::string(static_cast<std::size_t>(n), 'x'));
        });
    for (auto &thread : threads)
        thread.join();
    return std::printf("hakmem %s\n", hk_version()) < 0;
}
