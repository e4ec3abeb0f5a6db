/* cppcheck.h - macros of libraries, as cppcheck may take them: it reads none of the system's headers. */
#define LIBBPF_OPTS(type, name, ...) struct type name = {__VA_ARGS__}
#define json_array_foreach(array, i, value) for (i = 0; (value = json_array_get(array, i)) != 0; i++)
