/* modules.h - the files that a process has mapped, for libdwfl: found by the mapping, so that another mount namespace, or a file that was
 * deleted or replaced since, makes no difference. */
#ifndef HKSTAT_MODULES_H
#define HKSTAT_MODULES_H

#include <elfutils/libdwfl.h>

/* As dwfl_linux_proc_report(): 0, or not. Of one process at a time. */
int modules_report(Dwfl *dwfl, pid_t pid);

/* For Dwfl_Callbacks.find_elf, of the process that was reported last. */
int modules_find_file(Dwfl_Module *module, void **data, const char *name, Dwarf_Addr base, char **file_name, Elf **elf);

#endif
