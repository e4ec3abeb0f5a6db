#include "armed.h"

#include <stdlib.h>

#include "memory.h"
#include "process_account.h"
#include "src/layout.h"

#define THREADS_MOST 100000u

static void count_thread(const struct hk_thread *thread, uint64_t *armed, uint64_t *caches)
{
    for (unsigned class_idx = 0; class_idx < HK_CACHED_CLASSES; class_idx++) {
        *caches += thread->classes[class_idx].clock != 0;
        *armed += thread->classes[class_idx].sample.left[SAMPLE_HEAP] != 0;
    }
}

static bool count_threads(const struct address_space *space, uint64_t first, uint64_t *armed, uint64_t *caches)
{
    struct hk_thread *thread = grow(NULL, 1, sizeof *thread);
    uint64_t at = 0;
    bool good = address_space_read(space, first, &at, sizeof at);
    for (unsigned i = 0; good && at != 0 && i < THREADS_MOST; i++) {
        good = address_space_read(space, at, thread, sizeof *thread);
        if (good)
            count_thread(thread, armed, caches);
        at = (uintptr_t)thread->next;
    }
    free(thread);
    return good;
}

bool armed_count(pid_t pid, uint64_t *armed, uint64_t *caches)
{
    char error[ADDRESS_SPACE_ERROR_SIZE];
    struct hk_process_account *account = grow(NULL, 1, sizeof *account);
    struct address_space *space = address_space_of_process(pid, false, error);
    *armed = *caches = 0;
    bool good = space != NULL && process_account_read(space, account, error) &&
                count_threads(space, account->layout.threads, armed, caches);
    address_space_free(space);
    free(account);
    return good;
}
