#include "callers.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fields.h"
#include "memory.h"
#include "pins.h"

#define MOST_CALLERS 65536u /* a walk over a map that changes may come to an entry again */

static int compare(const void *a, const void *b)
{
    const struct caller *x = a, *y = b;
    int order = memcmp(&x->key.process, &y->key.process, sizeof x->key.process);
    if (order == 0)
        order = (x->stack.count < y->stack.count) - (x->stack.count > y->stack.count);
    return order != 0 ? order : memcmp(&x->key, &y->key, sizeof x->key);
}

static bool is_known(const struct callers *callers, const struct hk_stack_key *key)
{
    for (size_t i = 0; i < callers->count; i++) {
        if (memcmp(&callers->list[i].key, key, sizeof *key) == 0)
            return true;
    }
    return false;
}

static void add(struct callers *callers, const struct caller *caller)
{
    if ((callers->count & (callers->count - 1)) == 0)
        callers->list = grow(callers->list, callers->count == 0 ? 1 : callers->count * 2, sizeof *callers->list);
    callers->list[callers->count++] = *caller;
}

static bool cant_open(const char *pin_dir, int error, char *text)
{
    struct hk_summary summary;
    if (pins_read_summary(pin_dir, &summary) && summary.with_stacks == 0)
        snprintf(text, CALLERS_ERROR_SIZE, "stacks aren't kept: 'hkstat detach', then 'hkstat attach --stacks'");
    else
        snprintf(text, CALLERS_ERROR_SIZE, "can't open %.300s/maps/stacks: %s", pin_dir, strerror(error));
    return false;
}

bool callers_read(const char *pin_dir, const struct hk_process_key *process, struct callers *callers, char *error)
{
    *callers = (struct callers){.count = 0};
    int map = pins_open_map(pin_dir, "stacks", false);
    if (map < 0)
        return cant_open(pin_dir, errno, error);
    struct caller caller;
    struct hk_stack_key previous;
    bool is_first = true;
    for (unsigned i = 0; i < MOST_CALLERS; i++, is_first = false) {
        if (bpf_map_get_next_key(map, is_first ? NULL : &previous, &caller.key) != 0)
            break;
        previous = caller.key;
        if ((process == NULL || memcmp(process, &caller.key.process, sizeof *process) == 0) &&
            bpf_map_lookup_elem(map, &caller.key, &caller.stack) == 0 && !is_known(callers, &caller.key))
            add(callers, &caller);
    }
    close(map);
    if (callers->count != 0)
        qsort(callers->list, callers->count, sizeof *callers->list, compare);
    return true;
}

void callers_free(struct callers *callers)
{
    free(callers->list);
    *callers = (struct callers){.count = 0};
}

void callers_failure(const struct hk_stack_key *key, char *out, size_t size)
{
    static const struct {
        const char *what;
        const char *const *words;
        uint32_t count;
    } kinds[] = {
        [HK_STACK_SHARED_FAIL] = {"shared pool", shared_fail_words, HK_SHARED_FAILS},
        [HK_STACK_ACE_FAIL] = {"ACE", ace_fail_words, HK_ACE_FAILS},
        [HK_STACK_ALLOC_FAIL] = {"NULL, limit", limit_words, HK_LIMITS},
        [HK_STACK_MISUSE] = {"misuse", misuse_words, HK_MISUSES},
    };
    if (key->kind >= sizeof kinds / sizeof kinds[0] || key->reason >= kinds[key->kind].count)
        snprintf(out, size, "failure %u, %u", key->kind, key->reason);
    else
        snprintf(out, size, "%s %s", kinds[key->kind].what, kinds[key->kind].words[key->reason]);
}
