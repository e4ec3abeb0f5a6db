/* hakmem-run - starts a program on hakmem: finds the library, puts it first in LD_PRELOAD and becomes the program. */
#include <argp.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { EXIT_OWN_FAILURE = 125, EXIT_CANNOT_EXECUTE = 126, EXIT_NOT_FOUND = 127 }; /* as env(1) */

const char *argp_program_version = "hakmem-run " HAKMEM_VERSION;

struct settings {
    const char *library; /* NULL: the one that belongs to this program */
    char *conf;          /* "KEY:VALUE,..." of all --conf; NULL: none */
    bool trace;
    bool show_config;
    char **command; /* NULL: none */
};

static _Noreturn void __attribute__((format(printf, 2, 3))) fail(int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("hakmem-run: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(status);
}

static char *__attribute__((format(printf, 1, 2))) format_string(const char *format, ...)
{
    char *text;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        fail(EXIT_OWN_FAILURE, "out of memory");
    va_end(args);
    return text;
}

static void set_variable(const char *name, const char *value)
{
    if (setenv(name, value, 1) != 0)
        fail(EXIT_OWN_FAILURE, "can't set %s: %s", name, strerror(errno));
}

/* "first SEPARATOR second", or the one that there is. */
static char *join(const char *first, char separator, const char *second)
{
    if (first == NULL || *first == '\0')
        return format_string("%s", second);
    return format_string("%s%c%s", first, separator, second);
}

static void add_conf(struct settings *settings, const char *text, struct argp_state *state)
{
    const char *colon = strchr(text, ':');
    if (colon == NULL || colon == text || colon[1] == '\0' || strpbrk(text, ", \t\n") != NULL)
        argp_error(state, "--conf takes KEY:VALUE, not '%s'", text);
    char *joined = join(settings->conf, ',', text);
    free(settings->conf);
    settings->conf = joined;
}

enum { OPTION_CONF = 'c', OPTION_LIBRARY = 'l', OPTION_TRACE = 't', OPTION_SHOW_CONFIG = 's' };

static const struct argp_option options[] = {
    {"conf", OPTION_CONF, "KEY:VALUE", 0, "Set an option of the allocator; may be given several times", 0},
    {"library", OPTION_LIBRARY, "PATH", 0, "Preload this library instead of the installed one", 0},
    {"show-config", OPTION_SHOW_CONFIG, NULL, 0, "Print the configuration that a program would get, and exit", 0},
    {"trace", OPTION_TRACE, NULL, 0, "Write a line to standard error whenever a cache of large blocks fails", 0},
    {0},
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    struct settings *settings = state->input;
    switch (key) {
    case OPTION_CONF:
        add_conf(settings, arg, state);
        return 0;
    case OPTION_LIBRARY:
        settings->library = arg;
        return 0;
    case OPTION_SHOW_CONFIG:
        settings->show_config = true;
        return 0;
    case OPTION_TRACE:
        settings->trace = true;
        return 0;
    case ARGP_KEY_ARGS:
        settings->command = state->argv + state->next;
        return 0;
    case ARGP_KEY_END:
        if (settings->show_config && settings->command != NULL)
            argp_error(state, "--show-config takes no program");
        if (!settings->show_config && settings->command == NULL)
            argp_error(state, "no program given");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {
    .options = options,
    .parser = parse_option,
    .args_doc = "PROGRAM [ARGUMENT...]\n--show-config",
    .doc = "Start PROGRAM on the hakmem allocator.\v"
           "The exit status is that of PROGRAM; 125 if hakmem-run itself fails, 126 if PROGRAM can't be executed, 127 "
           "if it "
           "isn't found. Options of the allocator are told in hakmem(7).",
};

/* The loader takes LD_PRELOAD apart at spaces and colons, and knows no quotes. */
static char *checked_library(const char *path)
{
    char *absolute = path[0] == '/' ? strdup(path) : realpath(path, NULL);
    if (absolute == NULL || access(absolute, R_OK) != 0)
        fail(EXIT_OWN_FAILURE, "can't read the library %s: %s", path, strerror(errno));
    if (strpbrk(absolute, ": \t\n") != NULL)
        fail(EXIT_OWN_FAILURE, "the library's path can't hold a space or a colon: '%s'", absolute);
    return absolute;
}

/* The library beside this program (a build tree), else where both were installed. */
static char *find_library(void)
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    if (len < 0)
        fail(EXIT_OWN_FAILURE, "can't find itself: %s", strerror(errno));
    self[len] = '\0';
    *strrchr(self, '/') = '\0';

    static const char *const places[] = {".", HAKMEM_LIBDIR};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        char *path = format_string("%s/%s/" HAKMEM_SONAME, self, places[i]);
        char *folder = format_string("%s/%s", self, places[i]);
        char *resolved = realpath(folder, NULL);
        bool found = resolved != NULL && access(path, R_OK) == 0;
        free(path);
        free(folder);
        if (found) {
            path = format_string("%s/" HAKMEM_SONAME, resolved);
            free(resolved);
            return checked_library(path);
        }
        free(resolved);
    }
    fail(EXIT_OWN_FAILURE, HAKMEM_SONAME " is neither in %s nor in %s/" HAKMEM_LIBDIR "; --library PATH names another",
         self, self);
}

/* LD_PRELOAD: ours first, then what was there. */
static void set_preload(const char *library)
{
    char *entries = format_string("%s", getenv("LD_PRELOAD") ? getenv("LD_PRELOAD") : "");
    char *value = format_string("%s", library);
    char *rest = entries;
    for (char *entry; (entry = strsep(&rest, ": ")) != NULL;) {
        if (*entry == '\0' || strcmp(entry, library) == 0)
            continue;
        char *longer = join(value, ':', entry);
        free(value);
        value = longer;
    }
    set_variable("LD_PRELOAD", value);
    free(value);
    free(entries);
}

/* Where execvp() will find `name`; NULL when it won't. */
static char *find_program(const char *name)
{
    if (strchr(name, '/') != NULL)
        return format_string("%s", name);
    char *folders = format_string("%s", getenv("PATH") ? getenv("PATH") : "/bin:/usr/bin");
    char *rest = folders, *found = NULL;
    for (char *folder; found == NULL && (folder = strsep(&rest, ":")) != NULL;) {
        char *path = format_string("%s/%s", *folder == '\0' ? "." : folder, name);
        struct stat info;
        if (access(path, X_OK) == 0 && stat(path, &info) == 0 && S_ISREG(info.st_mode))
            found = path;
        else
            free(path);
    }
    free(folders);
    return found;
}

/* Why a preloaded library has no effect in an ELF file, or NULL. ld.so, which has a name of its own (DT_SONAME), is
 * started without an interpreter too and does preload; a static program has neither. */
static const char *elf_obstacle(int fd)
{
    Elf64_Ehdr header;
    if (pread(fd, &header, sizeof header, 0) != sizeof header || memcmp(header.e_ident, ELFMAG, SELFMAG) != 0)
        return NULL; /* what it is, the kernel will say */
    Elf64_Ehdr own;
    int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    bool own_known = self >= 0 && pread(self, &own, sizeof own, 0) == sizeof own;
    if (self >= 0)
        close(self);
    if (header.e_ident[EI_CLASS] != ELFCLASS64 || (own_known && header.e_machine != own.e_machine))
        return "it is built for another architecture";

    for (unsigned i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment;
        if (pread(fd, &segment, sizeof segment, (off_t)(header.e_phoff + i * sizeof segment)) != sizeof segment)
            return NULL;
        if (segment.p_type == PT_INTERP)
            return NULL;
        Elf64_Dyn entry;
        for (size_t at = 0; segment.p_type == PT_DYNAMIC && at + sizeof entry <= segment.p_filesz; at += sizeof entry) {
            if (pread(fd, &entry, sizeof entry, (off_t)(segment.p_offset + at)) == sizeof entry &&
                entry.d_tag == DT_SONAME)
                return NULL;
        }
    }
    return "it is linked statically";
}

/* Why the loader will ignore LD_PRELOAD in the program, or NULL. A script is judged by its interpreter. */
static const char *preload_obstacle(const char *path)
{
    struct stat info;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &info) != 0)
        return NULL;
    const char *obstacle = NULL;
    if (((info.st_mode & S_ISUID) && info.st_uid != geteuid()) ||
        ((info.st_mode & S_ISGID) && info.st_gid != getegid()))
        obstacle = "it is setuid or setgid";
    else if (geteuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0)
        obstacle = "it has file capabilities";

    char line[PATH_MAX + 3];
    ssize_t len = pread(fd, line, sizeof line - 1, 0);
    if (obstacle == NULL && len > 2 && memcmp(line, "#!", 2) == 0) {
        line[len] = '\0';
        line[strcspn(line, "\n")] = '\0';
        char *rest = line + 2 + strspn(line + 2, " \t");
        char *interpreter = strsep(&rest, " \t");
        close(fd);
        fd = open(interpreter, O_RDONLY | O_CLOEXEC);
    }
    if (obstacle == NULL && fd >= 0)
        obstacle = elf_obstacle(fd);
    if (fd >= 0)
        close(fd);
    return obstacle;
}

static int run(char **command)
{
    char *path = find_program(command[0]);
    if (path != NULL) {
        const char *obstacle = preload_obstacle(path);
        if (obstacle != NULL)
            fprintf(stderr, "hakmem-run: warning: %s can't be run on hakmem: %s\n", path, obstacle);
        free(path);
    }
    execvp(command[0], command);
    int error = errno;
    fprintf(stderr, "hakmem-run: can't execute %s: %s\n", command[0], strerror(error));
    return error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_EXECUTE;
}

/* Become this very program once more, on the allocator: print:1 makes it tell its configuration on standard error, which
 * is turned to standard output. */
static int show_config(void)
{
    char *conf = join(getenv("HAKMEM_CONF"), ',', "print:1");
    set_variable("HAKMEM_CONF", conf);
    free(conf);
    fflush(NULL);
    int null = open("/dev/null", O_WRONLY);
    if (null < 0 || dup2(STDOUT_FILENO, STDERR_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0)
        fail(EXIT_OWN_FAILURE, "can't redirect the output: %s", strerror(errno));
    close(null);
    char *again[] = {(char *)"hakmem-run", (char *)"--version", NULL};
    execv("/proc/self/exe", again);
    fail(EXIT_OWN_FAILURE, "can't start itself: %s", strerror(errno));
}

int main(int argc, char **argv)
{
    struct settings settings = {0};
    argp_err_exit_status = EXIT_OWN_FAILURE;
    argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &settings);

    char *library = settings.library != NULL ? checked_library(settings.library) : find_library();
    set_preload(library);
    free(library);
    if (settings.conf != NULL) {
        char *conf = join(getenv("HAKMEM_CONF"), ',', settings.conf);
        set_variable("HAKMEM_CONF", conf);
        free(conf);
        free(settings.conf);
    }
    if (settings.trace)
        set_variable("HAKMEM_ACE_TRACE", "1");
    return settings.show_config ? show_config() : run(settings.command);
}
