/* twice - a copy of the allocator in a namespace of its own (dlmopen) beside the one that the program runs on. */
#include <dlfcn.h>

#include "../behaviour/check.h"

int main(int argc, char **argv)
{
    require(argc == 2, "usage: twice LIBRARY");
    void *other = dlmopen(LM_ID_NEWLM, argv[1], RTLD_NOW);
    require(other != NULL, "%s", dlerror());
    void *(*other_malloc)(size_t) = NULL;
    void (*other_free)(void *) = NULL;
    *(void **)&other_malloc = dlsym(other, "malloc");
    *(void **)&other_free = dlsym(other, "free");
    require(other_malloc != NULL && other_free != NULL && other_malloc != malloc, "not another malloc");
    static void *ours[5000], *theirs[5000];
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < 5000; i++) {
            size_t size = 1 + (i * 37 + round) % 5000;
            ours[i] = malloc(size);
            theirs[i] = other_malloc(size);
            require(ours[i] != NULL && theirs[i] != NULL, "out of memory");
            memset(ours[i], 1, size);
            memset(theirs[i], 2, size);
        }
        for (unsigned i = 0; i < 5000; i++) {
            require(*(char *)ours[i] == 1 && *(char *)theirs[i] == 2, "blocks overlap");
            free(ours[i]);
            other_free(theirs[i]);
        }
    }
    dlclose(other);
    free(malloc(100));
    puts("good");
    return 0;
}
