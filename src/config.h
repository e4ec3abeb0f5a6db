/* config.h - HAKMEM_CONF="key:value,…": one table (config.def), read once, before the first block is handed out. */
#ifndef HK_CONFIG_H
#define HK_CONFIG_H

#include "base.h"

struct hk_config {
#define HK_OPTION(name, type, default_value, low, high, text) uint64_t name; /* const: after config_init() */
#include "config.def"
#undef HK_OPTION
    bool ace_trace; /* HAKMEM_ACE_TRACE=1 */
};
extern HK_HIDDEN struct hk_config hk_config;

/* Read the environment (found also before libc has set `environ`); ignored under AT_SECURE. Idempotent. */
HK_HIDDEN void config_init(void);

/* From the constructor, once: one line for each unknown key or bad value, and blank it in the environment so that no child
 * repeats it; print the table when print:1. */
HK_HIDDEN void config_report(void);

/* Write "key:value,…" of all options in force into buf; returns its length. */
HK_HIDDEN size_t config_format(char *buf, size_t size);

#endif
