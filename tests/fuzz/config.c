/* config.c - fuzzer: HAKMEM_CONF. Whatever it says, each option is within its bounds, what is reported can be printed on a terminal,
 * and the configuration in force, given as the next one, is taken without a complaint and is the same. */
#include "../../src/config.c"
#include "../../src/os_format.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned messages;

void os_message(const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    os_format_va(text, sizeof text, format, args);
    va_end(args);
    for (const char *c = text; *c != '\0'; c++)
        if ((*c < ' ' && *c != '\n') || *c > '~')
            abort();
    messages++;
}

/* As config_init() and config_report() read it. */
static void take(char *text)
{
    struct item item;
    for (size_t i = 0; i < OPTIONS; i++)
        *options[i].value = options[i].initial;
    for (char *cursor = text; next_item(&cursor, &item);) {
        const struct option *option = find_option(item.key);
        if (option != NULL)
            parse_value(option, item.value, option->value);
    }
    messages = 0;
    for (char *cursor = text; next_item(&cursor, &item);)
        report_item(&item, true);
    for (size_t i = 0; i < OPTIONS; i++)
        if (*options[i].value != options[i].initial &&
            (*options[i].value < options[i].low || *options[i].value > options[i].high))
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char in_force[2048], again[2048];
    char *text = malloc(size + 1); /* exactly so long, that a read behind it is seen */
    memcpy(text, data, size);
    text[size] = '\0';
    take(text);
    free(text);
    config_format(in_force, sizeof in_force);
    memcpy(again, in_force, sizeof again);
    take(again);
    config_format(again, sizeof again);
    if (messages != 0 || strcmp(again, in_force) != 0) {
        fprintf(stderr, "%s\n%s\n%u messages\n", in_force, again, messages);
        abort();
    }
    return 0;
}
