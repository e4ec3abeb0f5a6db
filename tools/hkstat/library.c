#include "library.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOTE_TYPE 3 /* of sys/sdt.h */
#define NOTE_NAME "stapsdt"
#define PROVIDER "hakmem"
#define SAMPLE_PROVIDER "otel_memory"
#define ACCOUNT_NOTE_TYPE 3 /* of owner PROVIDER: src/account.c */

#if defined(__x86_64__)
#define MACHINE EM_X86_64
static const char *const registers[] = {"%rdi", "%rsi", "%rdx", "%rcx", "%r8", "%r9"};
#elif defined(__aarch64__)
#define MACHINE EM_AARCH64
static const char *const registers[] = {"x0", "x1", "x2", "x3", "x4", "x5"};
#else
#error "the registers of arguments are not known for this architecture"
#endif

struct known_probe {
    const char *name;
    unsigned args;
    const char *arg_names; /* "(class_idx, size)" */
};

static const struct known_probe known_probes[] = {
#define HK_PROBE(name, n, args, text) {#name, n, #args},
#include "probes/hakmem_probes.def"
#undef HK_PROBE
};

static const struct known_probe known_sample_probes[] = {
#define HK_SAMPLE_PROBE(source_name, name, n, args, text) {name, n, #args},
#include "probes/sample_probes.def"
#undef HK_SAMPLE_PROBE
};

/* ---- the notes ---- */

/* What a note has to say of a probe's arguments: "8@%rdi -8@%rsi". */
static void expected_arguments(const struct known_probe *probe, char *text, size_t size)
{
    const char *name = probe->arg_names + 1;
    size_t length = 0;
    text[0] = '\0';
    for (unsigned i = 0; i < probe->args && length < size; i++) {
        const char *sign = strncmp(name, "s_", 2) == 0 ? "-" : "";
        length += (size_t)snprintf(text + length, size - length, "%s%s8@%s", i > 0 ? " " : "", sign, registers[i]);
        name += strcspn(name, ",");
        name += strspn(name, ", ");
    }
}

/* An address in the file's image as an offset in the file; 0: no segment has it. */
static uint64_t file_offset(Elf *elf, uint64_t address)
{
    size_t count;
    GElf_Phdr segment;
    if (elf_getphdrnum(elf, &count) != 0)
        return 0;
    for (size_t i = 0; i < count; i++)
        if (gelf_getphdr(elf, (int)i, &segment) != NULL && segment.p_type == PT_LOAD && address >= segment.p_vaddr &&
            address - segment.p_vaddr < segment.p_filesz)
            return address - segment.p_vaddr + segment.p_offset;
    return 0;
}

/* How far an address in the file's image, of data, is from where offset 0 of the file would be if all of the file were mapped
 * as the segment is that has offset `code`. 0: there is no such segment. */
static uint64_t distance_from_code(Elf *elf, uint64_t address, uint64_t code)
{
    size_t count;
    GElf_Phdr segment;
    if (elf_getphdrnum(elf, &count) != 0)
        return 0;
    for (size_t i = 0; i < count; i++)
        if (gelf_getphdr(elf, (int)i, &segment) != NULL && segment.p_type == PT_LOAD && code >= segment.p_offset &&
            code - segment.p_offset < segment.p_filesz)
            return address - segment.p_vaddr + segment.p_offset;
    return 0;
}

/* The probes of a provider. */
struct provider {
    const struct known_probe *known;
    unsigned count;
    struct probe_site *sites;
};

/* One note of the provider: probe's name and arguments are strings that end within it. */
static enum library_found take_note(Elf *elf, const char *name, const char *arguments, const uint64_t addresses[3],
                                    const struct provider *of)
{
    char expected[128];
    for (unsigned i = 0; i < of->count; i++) {
        if (strcmp(name, of->known[i].name) != 0)
            continue;
        struct probe_site *probe = &of->sites[i];
        expected_arguments(&of->known[i], expected, sizeof expected);
        if (strcmp(arguments, expected) != 0 || probe->site != 0)
            return LIBRARY_OTHER_ABI;
        probe->site = file_offset(elf, addresses[0]);
        probe->semaphore = file_offset(elf, addresses[2]);
        return probe->site != 0 && probe->semaphore != 0 ? LIBRARY_OK : LIBRARY_OTHER_ABI;
    }
    return LIBRARY_OK; /* of a later list: within a version of the ABI new probes are added */
}

static enum library_found read_note(Elf *elf, const char *desc, size_t length, struct library *library, bool *ours)
{
    uint64_t addresses[3]; /* site, base, semaphore */
    const char *end = desc + length, *text = desc + sizeof addresses;
    const char *words[3]; /* provider, name, arguments */
    if (length < sizeof addresses)
        return LIBRARY_OK;
    for (int i = 0; i < 3; i++) {
        const char *stop = memchr(text, '\0', (size_t)(end - text));
        if (stop == NULL)
            return LIBRARY_OK;
        words[i] = text;
        text = stop + 1;
    }
    struct provider provider = {known_probes, HK_PROBE_COUNT, library->probes};
    if (strcmp(words[0], SAMPLE_PROVIDER) == 0)
        provider = (struct provider){known_sample_probes, HK_SAMPLE_PROBE_COUNT, library->sample_probes};
    else if (strcmp(words[0], PROVIDER) != 0)
        return LIBRARY_OK;
    else
        *ours = true;
    memcpy(addresses, desc, sizeof addresses);
    return take_note(elf, words[1], words[2], addresses, &provider);
}

static bool is_note(const GElf_Nhdr *note, const char *owner, unsigned type, const char *name)
{
    return note->n_type == type && note->n_namesz == strlen(owner) + 1 && memcmp(name, owner, note->n_namesz) == 0;
}

static enum library_found read_notes(Elf *elf, struct library *library)
{
    bool ours = false;
    uint64_t account = 0; /* its address in the file's image */
    for (Elf_Scn *section = NULL; (section = elf_nextscn(elf, section)) != NULL;) {
        GElf_Shdr header;
        GElf_Nhdr note;
        size_t name, desc, next;
        Elf_Data *data;
        if (gelf_getshdr(section, &header) == NULL || header.sh_type != SHT_NOTE ||
            (header.sh_flags & SHF_ALLOC) != 0 || (data = elf_getdata(section, NULL)) == NULL)
            continue;
        for (size_t at = 0; (next = gelf_getnote(data, at, &note, &name, &desc)) > 0; at = next) {
            const char *bytes = data->d_buf;
            if (is_note(&note, PROVIDER, ACCOUNT_NOTE_TYPE, bytes + name) && note.n_descsz == sizeof account)
                memcpy(&account, bytes + desc, sizeof account);
            if (!is_note(&note, NOTE_NAME, NOTE_TYPE, bytes + name))
                continue;
            enum library_found found = read_note(elf, bytes + desc, note.n_descsz, library, &ours);
            if (found != LIBRARY_OK)
                return found;
        }
    }
    if (!ours)
        return LIBRARY_NO_PROBES;
    uint64_t report = library->probes[HK_PROBE_IDX_cache_report].site;
    if (account != 0)
        library->account = distance_from_code(elf, account, report);
    return report != 0 ? LIBRARY_OK : LIBRARY_OTHER_ABI;
}

/* ---- files ---- */

enum library_found library_read(int fd, const char *path, struct library *library)
{
    struct stat status;
    GElf_Ehdr header;
    if (fstat(fd, &status) != 0)
        return LIBRARY_UNREADABLE;
    if (!S_ISREG(status.st_mode))
        return LIBRARY_NOT_ELF;
    memset(library, 0, sizeof *library);
    library->fd = fd;
    library->device = status.st_dev;
    library->inode = status.st_ino;
    snprintf(library->path, sizeof library->path, "%s", path);
    elf_version(EV_CURRENT);
    Elf *elf = elf_begin(fd, ELF_C_READ, NULL);
    enum library_found found = LIBRARY_NOT_ELF;
    if (elf != NULL && elf_kind(elf) == ELF_K_ELF && gelf_getehdr(elf, &header) != NULL &&
        header.e_machine == MACHINE && gelf_getclass(elf) == ELFCLASS64)
        found = read_notes(elf, library);
    elf_end(elf);
    return found;
}

enum library_found library_open(const char *path, struct library *library)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return LIBRARY_UNREADABLE;
    enum library_found found = library_read(fd, path, library);
    if (found != LIBRARY_OK) {
        int error = errno;
        close(fd);
        errno = error;
    }
    return found;
}

const char *library_problem(enum library_found found)
{
    switch (found) {
    case LIBRARY_OK:
        return "has hakmem's probes";
    case LIBRARY_UNREADABLE:
        return strerror(errno);
    case LIBRARY_NOT_ELF:
        return "is no program or library of this machine";
    case LIBRARY_NO_PROBES:
        return "has no hakmem probes: it is another library, or hakmem built with HAKMEM_PROBES=OFF";
    case LIBRARY_OTHER_ABI:
        return "has hakmem probes of another version of their ABI than this hkstat knows: use the hkstat that came "
               "with it";
    }
    return "";
}
