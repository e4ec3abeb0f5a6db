/* stale_words - a large block that the program never wrote to is copied by realloc, and the copy comes to lie where the block
 * was: whatever its words say from an earlier life of that memory, no block is taken for a freed one. */
#include <malloc.h>
#include <pthread.h>

#include "check.h"

#define SMALL 8192u
#define LARGE 40000u
#define HUGE_SIZE (3 * MIB)
#define BLOCKS 512u

static void *blocks[BLOCKS];

static void take_all(void)
{
    for (unsigned i = 0; i < BLOCKS; i++)
        memset(blocks[i] = take(SMALL), 1, SMALL);
}

/* Its cache goes back to the slabs at its end, and the slabs, empty then, to whoever wants their memory. */
static void *leave_free_lists(void *unused)
{
    take_all();
    for (unsigned i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    return unused;
}

int main(void)
{
    pthread_t thread;
    require(pthread_create(&thread, NULL, leave_free_lists, NULL) == 0, "pthread_create");
    require(pthread_join(thread, NULL) == 0, "pthread_join");

    void *large = take(LARGE), *huge = opaque(realloc(large, HUGE_SIZE));
    require(huge != NULL && huge != large, "the block did not move");
    malloc_trim(0);
    take_all();
    for (unsigned i = 0; i < BLOCKS; i++) {
        if (blocks[i] != large)
            continue;
        free(blocks[i]);
        blocks[i] = opaque(realloc(huge, SMALL));
        require(blocks[i] == large, "the copy is not where the large block was");
        for (unsigned j = 0; j < BLOCKS; j++)
            free(blocks[j]);
        return 0;
    }
    fail("no small block is where the large one was");
}
