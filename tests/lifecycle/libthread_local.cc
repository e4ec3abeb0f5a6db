// libthread_local.cc - for dl_loop: thread_local objects whose destructors allocate and free, and static ones.
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace {

std::string text_of(int n) // std::to_string would pin the library: it has a unique symbol
{
    std::string text(40, 'x');
    for (; n != 0; n /= 10)
        text += static_cast<char>('0' + n % 10);
    return text;
}

std::map<std::string, std::vector<int>> *process_wide = new std::map<std::string, std::vector<int>>;

struct Owner {
    std::vector<std::unique_ptr<std::string>> texts;
    std::map<int, std::string> names;
    ~Owner()
    {
        std::vector<std::string> copies;
        for (auto &text : texts)
            copies.push_back(*text + " again");
        names.clear();
    }
};

thread_local Owner first;
thread_local std::unique_ptr<Owner> second;

struct Final {
    ~Final()
    {
        delete process_wide;
    }
} final_one;

} // namespace

extern "C" std::size_t thread_local_use(int count)
{
    if (!second)
        second.reset(new Owner);
    for (int i = 0; i < count; i++) {
        first.texts.emplace_back(new std::string(static_cast<std::size_t>(i % 300), 'x'));
        second->names[i] = text_of(i);
    }
    std::size_t sum = 0;
    for (auto &text : first.texts)
        sum += text->size();
    return sum + second->names.size();
}

extern "C" void process_wide_use(int count)
{
    for (int i = 0; i < count; i++)
        (*process_wide)[text_of(i)].assign(static_cast<std::size_t>(i), i);
}
