/* os_format.c - text from a format, with nothing that may allocate: for what hakmem writes when memory is the trouble. */
#include "os.h"

#include <stdarg.h>

#include "os_format.h"

struct text {
    char *buf;
    size_t size; /* of buf, 1 at least: the last byte is the terminator's */
    size_t len;
};

static void put_char(struct text *text, char c)
{
    if (text->len < text->size - 1)
        text->buf[text->len++] = c;
}

static void put_string(struct text *text, const char *string)
{
    if (string == NULL)
        string = "(null)";
    while (*string != '\0')
        put_char(text, *string++);
}

static void put_number(struct text *text, unsigned long long n, unsigned base)
{
    char digits[20]; /* 2^64 - 1 has 20 */
    unsigned count = 0;
    do {
        digits[count++] = "0123456789abcdef"[n % base];
        n /= base;
    } while (n != 0);
    while (count > 0)
        put_char(text, digits[--count]);
}

static void put_signed(struct text *text, long long n)
{
    if (n < 0)
        put_char(text, '-');
    put_number(text, n < 0 ? 0 - (unsigned long long)n : (unsigned long long)n, 10);
}

/* A va_list behind a pointer, so that a callee's va_arg moves the caller's. */
struct arguments {
    va_list list;
};

static unsigned long long next_unsigned(struct arguments *args, unsigned longs)
{
    switch (longs) {
    case 0:
        return va_arg(args->list, unsigned);
    case 1:
        return va_arg(args->list, unsigned long);
    default:
        return va_arg(args->list, unsigned long long);
    }
}

static long long next_signed(struct arguments *args, unsigned longs)
{
    switch (longs) {
    case 0:
        return va_arg(args->list, int);
    case 1:
        return va_arg(args->list, long);
    default:
        return va_arg(args->list, long long);
    }
}

/* One conversion; format stands behind its '%'. Returns what follows it. */
static const char *put_conversion(struct text *text, const char *format, struct arguments *args)
{
    unsigned longs = 0; /* size_t is a long on every machine that has 64-bit addresses */
    for (; *format == 'l' || *format == 'z'; format++)
        longs++;
    switch (*format) {
    case 's':
        put_string(text, va_arg(args->list, const char *));
        break;
    case 'd':
        put_signed(text, next_signed(args, longs));
        break;
    case 'u':
        put_number(text, next_unsigned(args, longs), 10);
        break;
    case 'x':
        put_number(text, next_unsigned(args, longs), 16);
        break;
    case 'p':
        put_string(text, "0x");
        put_number(text, (uintptr_t)va_arg(args->list, void *), 16);
        break;
    case '\0':
        return format;
    default: /* '%' itself, and what isn't known, is shown as it stands */
        put_char(text, *format);
        break;
    }
    return format + 1;
}

size_t os_format_va(char *buf, size_t size, const char *format, va_list list)
{
    if (size == 0)
        return 0;
    struct text text = {buf, size, 0};
    struct arguments args;
    va_copy(args.list, list);
    while (*format != '\0') {
        if (*format == '%')
            format = put_conversion(&text, format + 1, &args);
        else
            put_char(&text, *format++);
    }
    va_end(args.list);
    buf[text.len] = '\0';
    return text.len;
}

size_t os_format(char *buf, size_t size, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    size_t len = os_format_va(buf, size, format, list);
    va_end(list);
    return len;
}
