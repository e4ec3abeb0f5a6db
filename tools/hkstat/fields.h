/* fields.h - what JSON calls each number of a tick, and where it lies: one table for writing and for reading, so that a record
 * gives back what was written. hkstat(1) tells what each one means. */
#ifndef HKSTAT_FIELDS_H
#define HKSTAT_FIELDS_H

#include <stddef.h>

struct field {
    const char *name;
    size_t offset;            /* of its first 64-bit word in the struct that the table is of */
    size_t length;            /* words */
    const char *const *words; /* an object, by these names; NULL: a plain number if length is 1, else an array */
};

struct field_table {
    const struct field *fields;
    size_t count;
};

extern const struct field_table account_fields;  /* of struct hk_class_account: counts, from the process's start */
extern const struct field_table capacity_fields; /* of struct hk_class_account: absolute numbers */
extern const struct field_table totals_fields;   /* of struct hk_totals */
extern const struct field_table process_fields;  /* of struct hk_process: numbers that are always there */
extern const struct field_table
    level_fields; /* of struct hk_process: absolute numbers; its bit of `known` says if told */
extern const struct field_table event_fields;    /* of struct hk_events: counted since the attach */
extern const struct field_table ace_size_fields; /* of struct hk_events: sizes of what ACE failed to serve */
extern const struct field_table failure_fields;  /* of struct hk_failures */
extern const struct field_table traffic_fields;  /* of struct hk_traffic */
extern const struct field_table cap_fields;      /* of struct hk_cap */

/* level_fields.fields[i] is told if level_known[i] (enum hk_known) is set in hk_process.known. */
extern const unsigned level_known[];

extern const char *const server_words[];      /* enum hk_server */
extern const char *const drain_words[];       /* enum hk_drain_reason */
extern const char *const shared_fail_words[]; /* enum hk_shared_fail */
extern const char *const ace_fail_words[];    /* enum hk_ace_fail */
extern const char *const errno_words[];       /* enum hk_errno_kind */
extern const char *const limit_words[];       /* HK_LIMITS */
extern const char *const purpose_words[];     /* HK_PURPOSES */
extern const char *const misuse_words[];      /* HK_MISUSES */
extern const char *const lost_words[];        /* HK_LOST_REASONS */

#endif
