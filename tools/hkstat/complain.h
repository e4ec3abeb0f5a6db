/* complain.h - messages to standard error, and what they say of rights. */
#ifndef HKSTAT_COMPLAIN_H
#define HKSTAT_COMPLAIN_H

#include <stdbool.h>

/* The words that messages begin with: "hkstat attach". Kept, not copied. */
void complain_as(const char *command);

/* One line to standard error, made safe for a terminal. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

struct capability {
    int number; /* as in linux/capability.h */
    const char *name;
};

/* Whether the calling process has a capability in its effective set. */
bool has_capability(int number);

/* The name of the first capability that the process lacks; NULL if it has all. The list ends with a name of NULL. */
const char *missing_capability(const struct capability *needed);

#endif
