/* lock_limit - a limit of locked memory refuses a large block; that does not cost the memory of small ones, which was reserved before
 * and counts to no such limit. Run as root it becomes nobody, whom the limit binds.
 *
 *   lock_limit     says good */
#include <sys/mman.h>
#include <sys/resource.h>

#include "account_access.h"

#define LIMIT (4 * MIB)
#define NOBODY 65534
#define SIZE 1000u
#define BLOCKS (100 * MIB / SIZE)

int main(void)
{
    static void *blocks[BLOCKS];
    const struct rlimit limit = {LIMIT, LIMIT};
    account_open();
    free(take(SIZE));
    require(setrlimit(RLIMIT_MEMLOCK, &limit) == 0, "setrlimit: errno %d", errno);
    require(getuid() != 0 || setuid(NOBODY) == 0, "setuid");
    require(mlockall(MCL_FUTURE) == 0, "mlockall: errno %d", errno);
    errno = 0;
    require(opaque(malloc(200 * MIB)) == NULL && errno == ENOMEM, "a block beyond the limit: errno %d", errno);
    for (unsigned i = 0; i < BLOCKS; i++)
        blocks[i] = take(SIZE);
    for (unsigned i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    puts("good");
    return 0;
}
