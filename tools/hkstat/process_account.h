/* process_account.h - the allocator's account in the memory of a process or of a core: where a reader from outside begins. */
#ifndef HKSTAT_PROCESS_ACCOUNT_H
#define HKSTAT_PROCESS_ACCOUNT_H

#include "address_space.h"
#include "src/account.h"

/* Find and copy it; from then on the library's own memory may be read, too. False: `error`, of ADDRESS_SPACE_ERROR_SIZE bytes, says why not:
 * no library, another layout than that which is compiled in here (src/layout.h), or a core that lacks it. */
bool process_account_read(struct address_space *space, struct hk_process_account *account, char *error);

#endif
