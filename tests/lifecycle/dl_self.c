/* dl_self - a program on its libc's malloc that loads the allocator by dlopen, uses it beside the other, in threads too,
 * and closes it.
 *
 *   dl_self LIBHAKMEM */
#include <dlfcn.h>
#include <pthread.h>

#include "../behaviour/check.h"

static void *(*its_malloc)(size_t);
static void (*its_free)(void *);

static void *use(void *arg)
{
    void *own[200];
    for (unsigned i = 0; i < 200; i++) {
        void *other = take(100);
        require((own[i] = its_malloc(16 + i * i * 3)) != NULL, "its malloc");
        memset(own[i], 1, 16 + i * i * 3);
        free(other);
    }
    for (unsigned i = 0; i < 200; i++)
        its_free(own[i]);
    return arg;
}

int main(int argc, char **argv)
{
    require(argc == 2, "usage: dl_self LIBHAKMEM");
    require(dlsym(RTLD_DEFAULT, "hk_version") == NULL, "the program is on hakmem already");
    for (unsigned round = 0; round < 10; round++) {
        void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        require(library != NULL, "%s", dlerror());
        its_malloc = (void *(*)(size_t))dlsym(library, "malloc");
        its_free = (void (*)(void *))dlsym(library, "free");
        require(its_malloc != NULL && its_free != NULL && its_malloc != malloc, "its functions");
        pthread_t threads[4];
        for (unsigned i = 0; i < 4; i++)
            require(pthread_create(&threads[i], NULL, use, NULL) == 0, "pthread_create");
        use(NULL);
        if (round % 2 == 0) /* a thread may end when the library is closed already */
            require(dlclose(library) == 0, "dlclose");
        for (unsigned i = 0; i < 4; i++)
            require(pthread_join(threads[i], NULL) == 0, "pthread_join");
        if (round % 2 != 0)
            require(dlclose(library) == 0, "dlclose");
    }
    return 0;
}
