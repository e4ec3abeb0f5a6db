/* late.c - a C program, in which no C++ runtime is loaded at first.
 * late LIBRARY    loads C++ with RTLD_LOCAL and runs its late_run()
 * late alone      calls hakmem's throwing operator new for more than there is: it aborts with a line */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    if (dlsym(RTLD_DEFAULT, "__cxa_throw") != NULL) {
        fprintf(stderr, "a C++ runtime is loaded already\n");
        return 3;
    }
    if (strcmp(argv[1], "alone") == 0) {
        void *(*operator_new)(size_t) = (void *(*)(size_t))dlsym(RTLD_DEFAULT, "_Znwm");
        void *(*nothrow_new)(size_t, void *) = (void *(*)(size_t, void *))dlsym(RTLD_DEFAULT, "_ZnwmRKSt9nothrow_t");
        char tag;
        if (operator_new == NULL || nothrow_new == NULL || operator_new(100) == NULL)
            return 4;
        if (nothrow_new(PTRDIFF_MAX, &tag) != NULL)
            return 5;
        operator_new(PTRDIFF_MAX);
        return 6;
    }
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    int (*run)(void) = library != NULL ? (int (*)(void))dlsym(library, "late_run") : NULL;
    if (run == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        return 7;
    }
    int step = run();
    printf("late_run: %d\n", step);
    return step != 0;
}
