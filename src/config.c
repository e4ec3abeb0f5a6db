/* config.c - the options, read from HAKMEM_CONF where the kernel put it. */
#include "config.h"

#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "os.h"

#define REPORTS_MAX 32u /* lines about bad items; what exceeds them is one line more */
#define SHOWN_MAX 48u   /* bytes of an item that are shown in a line */

enum option_type { OPTION_SIZE, OPTION_COUNT, OPTION_SWITCH };

struct option {
    const char *name;
    const char *text;
    uint64_t *value;
    uint64_t initial, low, high;
    enum option_type type;
};

struct hk_config hk_config = {
#define HK_OPTION(name, type, default_value, low, high, text) .name = (default_value),
#include "config.def"
#undef HK_OPTION
};

static const struct option options[] = {
#define HK_OPTION(name, type, default_value, low, high, text) \
    {#name, text, &hk_config.name, default_value, low, high, OPTION_##type},
#include "config.def"
#undef HK_OPTION
};
#define OPTIONS (sizeof options / sizeof options[0])

static char *conf; /* the value of HAKMEM_CONF; NULL when there is none, or when it isn't to be read */

/* ---- the environment ---- */

/* ld.so's: where the kernel put argc, argv, NULL, envp, NULL, auxv. libc's `environ` is NULL until libc's constructor. */
extern void *__libc_stack_end __attribute__((weak));

static char **environment(void)
{
    if (environ != NULL)
        return environ;
    uintptr_t *argc = &__libc_stack_end == NULL ? NULL : __libc_stack_end;
    uintptr_t *end = (uintptr_t *)getauxval(AT_RANDOM); /* above the arrays; what isn't as expected is left alone */
    if (argc == NULL || end <= argc + 2 || *argc > (uintptr_t)(end - argc) - 3)
        return NULL;
    char **argv = (char **)(argc + 1);
    return argv[*argc] == NULL ? argv + *argc + 1 : NULL;
}

static char *find_variable(const char *name)
{
    size_t len = strlen(name);
    char **entry = environment();
    for (; entry != NULL && *entry != NULL; entry++) {
        if (strncmp(*entry, name, len) == 0 && (*entry)[len] == '=')
            return *entry + len + 1;
    }
    return NULL;
}

/* Whether the kernel wrote the string at the start of the program: those may be written to. */
static bool is_initial_string(const char *string)
{
    uintptr_t low = getauxval(AT_RANDOM), high = getauxval(AT_EXECFN);
    return low < (uintptr_t)string && (uintptr_t)string < high;
}

/* ---- items ---- */

struct slice {
    const char *ptr;
    size_t len;
};

struct item {
    char *start; /* what lies between two commas */
    size_t len;
    struct slice key, value;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct slice trimmed(const char *ptr, size_t len)
{
    for (; len > 0 && is_blank(*ptr); len--)
        ptr++;
    while (len > 0 && is_blank(ptr[len - 1]))
        len--;
    return (struct slice){ptr, len};
}

static bool slice_is(struct slice slice, const char *string)
{
    return strlen(string) == slice.len && memcmp(slice.ptr, string, slice.len) == 0;
}

/* The next item that isn't empty, from *cursor on. */
static bool next_item(char **cursor, struct item *item)
{
    while (**cursor != '\0') {
        item->start = *cursor;
        item->len = strcspn(item->start, ",");
        *cursor += item->len + (item->start[item->len] == ',');
        struct slice whole = trimmed(item->start, item->len);
        if (whole.len == 0)
            continue;
        const char *colon = memchr(whole.ptr, ':', whole.len);
        size_t key_len = colon == NULL ? whole.len : (size_t)(colon - whole.ptr);
        item->key = trimmed(whole.ptr, key_len);
        item->value = colon == NULL ? (struct slice){whole.ptr + whole.len, 0}
                                    : trimmed(colon + 1, whole.len - key_len - 1);
        return true;
    }
    return false;
}

static const struct option *find_option(struct slice key)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        if (slice_is(key, options[i].name))
            return &options[i];
    }
    return NULL;
}

/* The factor's power of two for a suffix; 0 when it is none. */
static unsigned suffix_shift(char c)
{
    switch (c | 0x20) {
    case 'k':
        return 10;
    case 'm':
        return 20;
    case 'g':
        return 30;
    case 't':
        return 40;
    default:
        return 0;
    }
}

static bool parse_value(const struct option *option, struct slice text, uint64_t *value)
{
    if (slice_is(text, "default")) {
        *value = option->initial;
        return true;
    }
    unsigned shift = option->type == OPTION_SIZE && text.len != 0 ? suffix_shift(text.ptr[text.len - 1]) : 0;
    size_t digits = text.len - (shift != 0);
    uint64_t n = 0;
    if (digits == 0)
        return false;
    for (size_t i = 0; i < digits; i++) {
        unsigned digit = (unsigned)(unsigned char)text.ptr[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, digit, &n))
            return false;
    }
    if (__builtin_mul_overflow(n, UINT64_C(1) << shift, &n) || n < option->low || n > option->high)
        return false;
    *value = n;
    return true;
}

/* ---- values as text ---- */

#define VALUE_TEXT_MAX 24

static void format_value(char *buf, const struct option *option, uint64_t value)
{
    static const char suffixes[] = "kmgt";
    unsigned shift = 0, steps = 0;
    if (value == UINT64_MAX) {
        os_format(buf, VALUE_TEXT_MAX, "default");
        return;
    }
    while (option->type == OPTION_SIZE && value != 0 && steps < 4 && (value >> shift) % 1024 == 0) {
        shift += 10;
        steps++;
    }
    char suffix[2] = {steps == 0 ? '\0' : suffixes[steps - 1], '\0'};
    os_format(buf, VALUE_TEXT_MAX, "%llu%s", (unsigned long long)(value >> shift), suffix);
}

static void format_accepted(char *buf, size_t size, const struct option *option)
{
    char low[VALUE_TEXT_MAX], high[VALUE_TEXT_MAX];
    format_value(low, option, option->low);
    format_value(high, option, option->high);
    if (option->type == OPTION_SWITCH)
        os_format(buf, size, "0 or 1");
    else if (option->type == OPTION_SIZE)
        os_format(buf, size, "a size from %s to %s, with suffix k, m, g, t or none", low, high);
    else if (option->high == UINT64_MAX)
        os_format(buf, size, "a whole number from %s up", low);
    else
        os_format(buf, size, "a whole number from %s to %s", low, high);
}

size_t config_format(char *buf, size_t size)
{
    size_t len = 0;
    if (size == 0)
        return 0;
    buf[0] = '\0';
    for (size_t i = 0; i < OPTIONS; i++) {
        char value[VALUE_TEXT_MAX];
        format_value(value, &options[i], *options[i].value);
        len += os_format(buf + len, size - len, "%s%s:%s", i == 0 ? "" : ",", options[i].name, value);
    }
    return len;
}

/* ---- init and report ---- */

void config_init(void)
{
    static bool done;
    if (done)
        return;
    done = true;
    if (getauxval(AT_SECURE) != 0)
        return;
    const char *trace = find_variable("HAKMEM_ACE_TRACE");
    hk_config.ace_trace = trace != NULL && strcmp(trace, "1") == 0;
    conf = find_variable("HAKMEM_CONF");
    struct item item;
    for (char *cursor = conf; cursor != NULL && next_item(&cursor, &item);) {
        const struct option *option = find_option(item.key);
        if (option != NULL)
            parse_value(option, item.value, option->value); /* what is bad changes nothing: config_report() tells */
    }
}

/* At most SHOWN_MAX bytes, made fit for a terminal. */
static void show(char *buf, struct slice slice)
{
    size_t len = slice.len < SHOWN_MAX ? slice.len : SHOWN_MAX;
    for (size_t i = 0; i < len; i++)
        buf[i] = slice.ptr[i] < ' ' || slice.ptr[i] > '~' ? '?' : slice.ptr[i];
    memcpy(buf + len, slice.len > len ? "..." : "", slice.len > len ? 4 : 1);
}

static void report_unknown_key(const char *key)
{
    char known[256];
    size_t len = 0;
    for (size_t i = 0; i < OPTIONS; i++)
        len += os_format(known + len, sizeof known - len, " %s", options[i].name);
    os_message("hakmem: HAKMEM_CONF: unknown key \"%s\" is ignored; known are%s\n", key, known);
}

static void report_bad_value(const struct option *option, const char *value)
{
    char accepted[128], in_force[VALUE_TEXT_MAX];
    format_accepted(accepted, sizeof accepted, option);
    const char *which = "";
    if (*option->value == option->initial) /* else an earlier item of the same key gave it */
        which = option->initial == UINT64_MAX ? "the " : "the default ";
    format_value(in_force, option, *option->value);
    os_message("hakmem: HAKMEM_CONF: bad value \"%s\" for %s, which takes %s; %s%s is used\n", value, option->name,
               accepted, which, in_force);
}

/* Whether something is wrong with the item; if `tell`, one line says what. */
static bool report_item(const struct item *item, bool tell)
{
    char text[SHOWN_MAX + 4];
    uint64_t ignored;
    const struct option *option = find_option(item->key);
    if (option != NULL && parse_value(option, item->value, &ignored))
        return false;
    show(text, option == NULL ? item->key : item->value);
    if (tell && option == NULL)
        report_unknown_key(text);
    else if (tell)
        report_bad_value(option, text);
    return true;
}

static void print_table(void)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        char value[VALUE_TEXT_MAX];
        format_value(value, &options[i], *options[i].value);
        os_message("hakmem: %s:%s  (%s)\n", options[i].name, value, options[i].text);
    }
    os_message("hakmem: HAKMEM_ACE_TRACE=%d\n", hk_config.ace_trace);
}

void config_report(void)
{
    static bool done;
    if (done)
        return;
    done = true;
    struct item item;
    unsigned bad = 0;
    bool blank = conf != NULL && is_initial_string(conf);
    for (char *cursor = conf; cursor != NULL && next_item(&cursor, &item);) {
        bool wrong = report_item(&item, bad < REPORTS_MAX);
        bad += wrong;
        if (blank && (wrong || slice_is(item.key, "print")))
            memset(item.start, ',', item.len);
    }
    if (bad > REPORTS_MAX)
        os_message("hakmem: HAKMEM_CONF: %u more items are bad\n", bad - REPORTS_MAX);
    if (hk_config.print != 0)
        print_table();
}
