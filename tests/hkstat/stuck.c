/* stuck.c - a process whose account lies where a read never ends. Linked with probes/probes.c, as hostile is.
 *
 *   stuck file FILE    the account is in a file of a file system that doesn't answer
 *   stuck userfault    the account is in memory that nobody fills in
 *
 * It says "ready" once it has told where the account is, and ends with its standard input. */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "probes/probe.h"
#include "src/account.h"

#define LENGTH ((sizeof(struct hk_process_account) + 4095) & ~(size_t)4095)

static void *of_file(const char *path)
{
    int file = open(path, O_RDONLY);
    return mmap(NULL, LENGTH, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE, file, 0);
}

static void *of_userfault(void)
{
    void *memory = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    struct uffdio_api api = {.api = UFFD_API};
    struct uffdio_register all = {.range = {(uintptr_t)memory, LENGTH}, .mode = UFFDIO_REGISTER_MODE_MISSING};
    return faults >= 0 && ioctl(faults, UFFDIO_API, &api) == 0 && ioctl(faults, UFFDIO_REGISTER, &all) == 0
               ? memory
               : MAP_FAILED;
}

int main(int argc, char **argv)
{
    char *account = argc == 3 && strcmp(argv[1], "file") == 0        ? of_file(argv[2])
                    : argc == 2 && strcmp(argv[1], "userfault") == 0 ? of_userfault()
                                                                     : MAP_FAILED;
    if (account == MAP_FAILED) {
        perror("stuck");
        return 2;
    }
    HK_PROBE_FIRE(cache_report, 0, account, 1, sizeof(struct hk_class_account));
    char byte;
    return write(STDOUT_FILENO, "ready\n", 6) == 6 && read(STDIN_FILENO, &byte, 1) >= 0 ? 0 : 1;
}
