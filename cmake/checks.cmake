# Targets format, format-check and tidy.
file(GLOB_RECURSE hakmem_formatted CONFIGURE_DEPENDS
  src/*.c src/*.h src/*.cc probes/*.c probes/*.h tools/*.c tools/*.h bench/*.c bench/*.h
  tests/*.c tests/*.cc tests/*.h bpf/*.c bpf/*.h)
list(FILTER hakmem_formatted EXCLUDE REGEX "/vmlinux\\.h$")

find_program(HAKMEM_CLANG_FORMAT NAMES clang-format clang-format-14)
if(HAKMEM_CLANG_FORMAT)
  add_custom_target(format COMMAND ${HAKMEM_CLANG_FORMAT} -i ${hakmem_formatted}
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR} VERBATIM)
  add_custom_target(format-check COMMAND ${HAKMEM_CLANG_FORMAT} --dry-run --Werror ${hakmem_formatted}
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR} VERBATIM)
endif()

find_program(HAKMEM_CLANG_TIDY NAMES clang-tidy clang-tidy-14)
if(HAKMEM_CLANG_TIDY)
  add_custom_target(tidy
    COMMAND ${HAKMEM_CLANG_TIDY} --quiet -p ${PROJECT_BINARY_DIR} --warnings-as-errors=* ${hakmem_sources} tools/hakmem-run.c
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR} VERBATIM)
endif()
