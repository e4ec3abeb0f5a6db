/* record.c - fuzzer: lines of a record. What is taken for a tick can be shown in every way, and written and read again. */
#include "ticks.h"

#include <ctype.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t most);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed);

/* Every other time a number becomes another value, so that what is changed is still JSON. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t most, unsigned seed)
{
    static const char *const values[] = {"0",
                                         "-1",
                                         "9223372036854775807",
                                         "9223372036854775808",
                                         "18446744073709551616",
                                         "1.5",
                                         "1e400",
                                         "null",
                                         "true",
                                         "\"\\u0000\\u001b\"",
                                         "[]",
                                         "{}",
                                         "121",
                                         "7"};
    const char *value = values[seed / 2 % (sizeof values / sizeof values[0])];
    size_t from = size == 0 ? 0 : seed / 64 % size, to, length = strlen(value);
    while (from < size && !(isdigit(data[from]) && strchr(":,[", data[from == 0 ? 0 : from - 1]) != NULL))
        from++;
    for (to = from; to < size && isdigit(data[to]);)
        to++;
    if (seed % 2 == 0 || from == to || size - (to - from) + length > most)
        return LLVMFuzzerMutate(data, size, most);
    memmove(data + from + length, data + to, size - to);
    memcpy(data + from, value, length);
    return size - (to - from) + length;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char error[JSON_ERROR_SIZE];
    struct tick *before = NULL;
    for (const char *line = (const char *)data, *end = line + size; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        size_t length = (size_t)((stop != NULL ? stop : end) - line);
        char *copy = malloc(length + 1); /* exactly so long, that a read behind it is seen */
        memcpy(copy, line, length);
        struct tick *tick = json_decode(copy, length, error);
        free(copy);
        line += length + 1;
        if (tick == NULL)
            break;
        tick_finish(tick);
        tick_compare(tick, before);
        show(tick);
        tick_free(read_again(tick, before));
        tick_free(before);
        before = tick;
    }
    tick_free(before);
    return 0;
}
