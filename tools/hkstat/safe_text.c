#include "safe_text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <wchar.h>

/* Length of the UTF-8 sequence at `bytes`, of which `len` may be read; 0: there is none. RFC 3629. */
static size_t decode(const unsigned char *bytes, size_t len, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t need = bytes[0] < 0x80         ? 1
                  : (bytes[0] >> 5) == 6  ? 2
                  : (bytes[0] >> 4) == 14 ? 3
                  : (bytes[0] >> 3) == 30 ? 4
                                          : 0;
    if (need == 0 || need > len)
        return 0;
    uint32_t value = need == 1 ? bytes[0] : bytes[0] & (0x7fu >> need);
    for (size_t i = 1; i < need; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (bytes[i] & 0x3f);
    }
    if (value < least[need] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff))
        return 0;
    *code = value;
    return need;
}

/* Whether a character leaves the screen as it was: no control, no format character, nothing without a place of its own. */
static bool is_fit(uint32_t code)
{
    static const uint32_t unfit[][2] = {
        {0, 0x1f},        {0x7f, 0x9f},     {0xad, 0xad},     {0x300, 0x36f},      {0x61c, 0x61c},
        {0x115f, 0x1160}, {0x180b, 0x180f}, {0x200b, 0x200f}, {0x2028, 0x202e},    {0x2060, 0x206f},
        {0x20d0, 0x20ff}, {0x3164, 0x3164}, {0xe000, 0xf8ff}, {0xfe00, 0xfe0f},    {0xfe20, 0xfe2f},
        {0xfeff, 0xfeff}, {0xffa0, 0xffa0}, {0xfff0, 0xffff}, {0xe0000, 0x10ffff},
    };
    for (size_t i = 0; i < sizeof unfit / sizeof unfit[0]; i++) {
        if (code >= unfit[i][0] && code <= unfit[i][1])
            return false;
    }
    return true;
}

void safe_text(char *out, const char *bytes, size_t len)
{
    const unsigned char *at = (const unsigned char *)bytes, *end = at + strnlen(bytes, len);
    while (at < end) {
        uint32_t code = 0;
        size_t length = decode(at, (size_t)(end - at), &code);
        if (code == '\\') {
            *out++ = '\\';
            *out++ = '\\';
        } else if (length != 0 && is_fit(code)) {
            memcpy(out, at, length);
            out += length;
        } else {
            length = length == 0 ? 1 : length;
            for (size_t i = 0; i < length; i++)
                out += sprintf(out, "\\x%02x", at[i]);
        }
        at += length;
    }
    *out = '\0';
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

bool safe_text_check(const char *text)
{
    for (size_t len = strlen(text); len > 0;) {
        uint32_t code = 0;
        size_t length = decode((const unsigned char *)text, len, &code);
        if (length == 0 || !is_fit(code))
            return false;
        if (code == '\\' && len >= 2 && text[1] == '\\')
            length = 2;
        else if (code == '\\' && len >= 4 && text[1] == 'x' && is_hex(text[2]) && is_hex(text[3]))
            length = 4;
        else if (code == '\\')
            return false;
        text += length;
        len -= length;
    }
    return true;
}

int safe_text_fit(char *out, size_t size, const char *text, int width, bool utf8)
{
    int used = 0;
    size_t len = strlen(text), filled = 0, room_for_mark = 0;
    int used_at_mark = 0;
    while (len > 0) {
        uint32_t code = 0;
        size_t length = decode((const unsigned char *)text, len, &code);
        char piece[SAFE_TEXT_SIZE(4)];
        int columns = 1;
        if (code >= 0x80 && !utf8) {
            columns = 0;
            for (size_t i = 0; i < length; i++)
                columns += sprintf(piece + columns, "\\x%02x", (unsigned char)text[i]);
        } else {
            memcpy(piece, text, length);
            piece[length] = '\0';
            if (code >= 0x80)
                columns = wcwidth((wchar_t)code) > 0 ? wcwidth((wchar_t)code) : 1;
        }
        if (used + columns > width || filled + strlen(piece) + 2 > size) {
            if (width < 1)
                break;
            filled = room_for_mark;
            used = used_at_mark + 1;
            out[filled++] = '+';
            break;
        }
        memcpy(out + filled, piece, strlen(piece));
        filled += strlen(piece);
        used += columns;
        if (used < width) {
            room_for_mark = filled;
            used_at_mark = used;
        }
        text += length;
        len -= length;
    }
    out[filled] = '\0';
    return used;
}
