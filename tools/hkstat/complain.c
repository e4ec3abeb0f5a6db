#include "complain.h"

#include <stdarg.h>
#include <stdio.h>

#include "safe_text.h"

#define MESSAGE_MAX 8192

static const char *command_name = "hkstat";

void complain_as(const char *command)
{
    command_name = command;
}

void complain(const char *format, ...)
{
    char message[MESSAGE_MAX], safe[SAFE_TEXT_SIZE(MESSAGE_MAX)];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    safe_text(safe, message, sizeof message);
    fprintf(stderr, "%s: %s\n", command_name, safe);
}

bool has_capability(int number)
{
    char line[256];
    unsigned long long effective = 0;
    FILE *status = fopen("/proc/self/status", "re");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (sscanf(line, "CapEff: %llx", &effective) == 1)
            break;
    if (status != NULL)
        fclose(status);
    return (effective >> number & 1) != 0;
}

const char *missing_capability(const struct capability *needed)
{
    for (; needed->name != NULL; needed++)
        if (!has_capability(needed->number))
            return needed->name;
    return NULL;
}
