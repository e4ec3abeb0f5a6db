#include "modules.h"

#include <string.h>

#include "process.h"

static pid_t reported; /* libdwfl tells its callbacks no process */

int modules_report(Dwfl *dwfl, pid_t pid)
{
    reported = process_thread(pid);
    return dwfl_linux_proc_report(dwfl, reported);
}

int modules_find_file(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base, char **file_name, Elf **elf)
{
    char path[HK_PATH_LENGTH];
    if (name[0] != '/') /* the kernel's, in the process's memory */
        return dwfl_linux_proc_find_elf(module, data, name, base, file_name, elf);
    int fd = process_open_mapped(reported, base, path);
    if (fd >= 0)
        *file_name = strdup(path); /* beside which debug files are looked for */
    return fd;
}
