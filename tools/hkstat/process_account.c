#include "process_account.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "library.h"
#include "memory.h"
#include "process.h"
#include "src/layout.h"

#define LIBRARIES_MOST 8u

static bool is_account(const struct hk_process_account *account)
{
    return account->classes[0].version == HK_ACCOUNT_VERSION &&
           account->classes[0].length == sizeof account->classes[0];
}

/* The account of a library, where that is mapped. False: it isn't, or is not in use. */
static bool read_account(struct address_space *space, const struct library *library, const char *path,
                         struct hk_process_account *account)
{
    uint64_t site = library->probes[HK_PROBE_IDX_cache_report].site;
    for (size_t i = 0; i < space->mapping_count; i++) {
        const struct mapping *mapping = &space->mappings[i];
        bool same = space->core == NULL ? mapping->inode == library->inode && mapping->device == library->device
                                        : mapping->path != NULL && strcmp(mapping->path, path) == 0;
        if (!same || !mapping->is_executable || site < mapping->offset ||
            site - mapping->offset >= mapping->span.to - mapping->span.from)
            continue;
        address_space_trust(space, mapping->device, mapping->inode);
        uint64_t at = mapping->span.from - mapping->offset + library->account;
        if (address_space_read(space, at, account, sizeof *account) && is_account(account))
            return true;
    }
    return false;
}

/* The program may have more than one copy: that which has served most. */
static bool read_accounts(struct address_space *space, const struct library *libraries, unsigned count,
                          struct hk_process_account *account)
{
    struct hk_process_account *one = grow(NULL, 1, sizeof *one);
    bool found = false;
    for (unsigned i = 0; i < count; i++) {
        if (libraries[i].account == 0 || !read_account(space, &libraries[i], libraries[i].path, one))
            continue;
        if (!found || one->capacity.superslabs > account->capacity.superslabs)
            *account = *one;
        found = true;
    }
    free(one);
    return found;
}

/* Why a process's files have no library that can be used. */
static void tell_no_library(pid_t pid, enum process_found found, const char *path, char *error)
{
    switch (found) {
    case PROCESS_NO_LIBRARY:
        snprintf(error, ADDRESS_SPACE_ERROR_SIZE,
                 "process %d does not use hakmem: none of the files it has mapped has hakmem's probes", (int)pid);
        break;
    case PROCESS_OTHER_ABI:
        snprintf(error, ADDRESS_SPACE_ERROR_SIZE, "process %d: %s %s", (int)pid, path,
                 library_problem(LIBRARY_OTHER_ABI));
        break;
    case PROCESS_WITHOUT_PROBES:
        snprintf(error, ADDRESS_SPACE_ERROR_SIZE, "process %d: %s %s", (int)pid, path,
                 library_problem(LIBRARY_NO_PROBES));
        break;
    default:
        snprintf(error, ADDRESS_SPACE_ERROR_SIZE, "the files that process %d has mapped can't be looked at%s%s",
                 (int)pid, path[0] != '\0' ? ": " : "", path);
    }
}

static bool find_in_process(struct address_space *space, struct hk_process_account *account, char *error)
{
    static struct library libraries[LIBRARIES_MOST];
    char path[HK_PATH_LENGTH];
    unsigned count;
    enum process_found result = library_of_process(space->pid, libraries, LIBRARIES_MOST, &count, path);
    bool found = read_accounts(space, libraries, count, account);
    for (unsigned i = 0; i < count; i++)
        close(libraries[i].fd);
    if (!found && result == PROCESS_OK)
        snprintf(error, ADDRESS_SPACE_ERROR_SIZE,
                 "process %d has hakmem mapped, and has not used it yet, or it has no account", (int)space->pid);
    else if (!found)
        tell_no_library(space->pid, result, path, error);
    return found;
}

/* By the paths that the core names: the files must be those that the process had. */
static bool find_in_core(struct address_space *space, struct hk_process_account *account, char *error)
{
    bool named = false;
    for (size_t i = 0; i < space->mapping_count; i++) {
        const char *path = space->mappings[i].path;
        struct library library;
        if (path == NULL ||
            (i > 0 && space->mappings[i - 1].path != NULL && strcmp(path, space->mappings[i - 1].path) == 0))
            continue;
        if (library_open(path, &library) != LIBRARY_OK)
            continue;
        bool found = library.account != 0 && read_account(space, &library, path, account);
        close(library.fd);
        if (found)
            return true;
        named = true;
    }
    snprintf(error, ADDRESS_SPACE_ERROR_SIZE, "%s",
             space->is_cut ? "the core was cut off, or is damaged, before what tells where hakmem's account is"
             : named       ? "the core has hakmem mapped, but its account can't be found: the file is another by now"
                           : "the core is of no process that used hakmem, or hakmem's file is no longer where it was");
    return false;
}

static bool is_known(const struct hk_layout *layout, char *error)
{
    if (layout->version == HK_LAYOUT_VERSION && layout->digest == layout_digest())
        return true;
    snprintf(error, ADDRESS_SPACE_ERROR_SIZE,
             layout->version == 0
                 ? "hakmem has not been used yet"
                 : "hakmem lays out its tables there in another way than this hkstat knows: use the hkstat "
                   "that came with it");
    return false;
}

bool process_account_read(struct address_space *space, struct hk_process_account *account, char *error)
{
    return (space->core == NULL ? find_in_process : find_in_core)(space, account, error) &&
           is_known(&account->layout, error);
}
