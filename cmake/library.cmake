# libhakmem.so, libhakmem.a, and hakmem_unit: the same objects for the unit tests, with malloc and its kin renamed.

file(GLOB hakmem_sources CONFIGURE_DEPENDS src/*.c src/*.cc probes/*.c)

# One set of objects for the shared and the static library: position-independent code with initial-exec TLS serves both,
# and the linker relaxes what a program linked statically doesn't need.
add_library(hakmem_objects OBJECT ${hakmem_sources})
target_include_directories(hakmem_objects PRIVATE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR})
target_compile_definitions(hakmem_objects PRIVATE
  _GNU_SOURCE
  $<$<NOT:$<BOOL:${HAKMEM_PROBES}>>:HK_NO_PROBES>
  $<$<BOOL:${HAKMEM_FAULT_INJECTION}>:HK_FAULT_INJECTION>)
set_target_properties(hakmem_objects PROPERTIES
  POSITION_INDEPENDENT_CODE ON C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
target_link_libraries(hakmem_objects PRIVATE hakmem_warnings Threads::Threads)

# -fno-builtin-*: a compiler that knows malloc turns the body of calloc into a call of calloc.
set(hakmem_own_functions malloc calloc realloc free aligned_alloc posix_memalign memalign valloc pvalloc reallocarray)
list(TRANSFORM hakmem_own_functions PREPEND -fno-builtin- OUTPUT_VARIABLE hakmem_no_builtins)
target_compile_options(hakmem_objects PRIVATE
  ${hakmem_no_builtins}
  -ftls-model=initial-exec
  -fno-plt                # calls to libc go through the table that the loader filled, without a jump in between
  -fno-stack-protector    # the canary lies in TLS, which some entries run before; distributions switch it on by default
  -fno-omit-frame-pointer # user stacks are walked by frame pointers: that of a probe leads to the caller
  $<$<STREQUAL:${CMAKE_SYSTEM_PROCESSOR},x86_64>:-momit-leaf-frame-pointer> # malloc and free need none
  -fno-lto                # the objects are joined and renamed below; what is hot is inline in malloc.c and free.c anyway
  -U_FORTIFY_SOURCE       # its checked variants end in stdio, which allocates
  $<$<COMPILE_LANGUAGE:CXX>:-fno-exceptions -fno-rtti>)

check_c_compiler_flag(-fno-semantic-interposition HAKMEM_HAVE_NO_SEMANTIC_INTERPOSITION)
if(HAKMEM_HAVE_NO_SEMANTIC_INTERPOSITION)
  target_compile_options(hakmem_objects PRIVATE -fno-semantic-interposition)
endif()
# Shadow stacks, but no endbr64: nothing enforces those in user space, and a uprobe on one takes the slow path.
check_c_compiler_flag(-fcf-protection=return HAKMEM_HAVE_CF_PROTECTION)
if(HAKMEM_HAVE_CF_PROTECTION)
  target_compile_options(hakmem_objects PRIVATE -fcf-protection=return)
endif()

if(HAKMEM_SANITIZE)
  # The objects and the unit tests alike; the renaming below keeps them from meeting the sanitizer's own malloc.
  set(hakmem_sanitizer_options -fsanitize=${HAKMEM_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_compile_options(hakmem_objects PRIVATE ${hakmem_sanitizer_options})
endif()

# All objects as one. A static link then takes all of the allocator or nothing: with single members a program that calls
# only malloc and free would get realloc from libc. Without the C++ operators: those of the runtime that the program
# is linked with call malloc, find the handlers and throw even when all is static, and step back for a program's own.
set(hakmem_whole ${PROJECT_BINARY_DIR}/objects/whole.o)
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/objects)
add_custom_command(OUTPUT ${hakmem_whole}
  COMMAND ${CMAKE_C_COMPILER} -r -nostdlib -o ${hakmem_whole}
          "$<FILTER:$<TARGET_OBJECTS:hakmem_objects>,EXCLUDE,export_cxx>"
  DEPENDS hakmem_objects $<TARGET_OBJECTS:hakmem_objects>
  COMMAND_EXPAND_LISTS VERBATIM COMMENT "Joining the objects")
add_custom_target(hakmem_joined DEPENDS ${hakmem_whole}) # make would join them for each user at the same time

if(HAKMEM_TESTS)
  # The tests run on the system's malloc, or a sanitizer's, and call this one as hk_test_malloc and so on.
  set(hakmem_unit_object ${PROJECT_BINARY_DIR}/objects/unit.o)
  add_custom_command(OUTPUT ${hakmem_unit_object}
    COMMAND sh ${PROJECT_SOURCE_DIR}/cmake/rename_exports.sh ${CMAKE_READELF} ${CMAKE_OBJCOPY} hk_test_
            ${hakmem_whole} ${hakmem_unit_object}
    DEPENDS ${hakmem_whole} ${PROJECT_SOURCE_DIR}/cmake/rename_exports.sh
    VERBATIM COMMENT "Renaming the exports for the unit tests")
  set_source_files_properties(${hakmem_unit_object} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
  add_library(hakmem_unit STATIC ${hakmem_unit_object})
  add_dependencies(hakmem_unit hakmem_joined)
  set_target_properties(hakmem_unit PROPERTIES LINKER_LANGUAGE C ARCHIVE_OUTPUT_DIRECTORY objects)
  target_include_directories(hakmem_unit INTERFACE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR})
  target_compile_definitions(hakmem_unit INTERFACE
    _GNU_SOURCE
    $<$<NOT:$<BOOL:${HAKMEM_PROBES}>>:HK_NO_PROBES>
    $<$<BOOL:${HAKMEM_FAULT_INJECTION}>:HK_FAULT_INJECTION>)
  target_compile_options(hakmem_unit INTERFACE ${hakmem_sanitizer_options})
  target_link_options(hakmem_unit INTERFACE ${hakmem_sanitizer_options})
  target_link_libraries(hakmem_unit INTERFACE Threads::Threads)
endif()

if(HAKMEM_SANITIZE)
  return() # a sanitizer has its own malloc: no program can run on both
endif()

set(hakmem_archive_object ${PROJECT_BINARY_DIR}/objects/hakmem.o)
add_custom_command(OUTPUT ${hakmem_archive_object}
  COMMAND sh ${PROJECT_SOURCE_DIR}/cmake/localize_hidden.sh ${CMAKE_READELF} ${CMAKE_OBJCOPY}
          ${hakmem_whole} ${hakmem_archive_object}
  DEPENDS ${hakmem_whole} ${PROJECT_SOURCE_DIR}/cmake/localize_hidden.sh
  VERBATIM COMMENT "Hiding the internal names of the static library")
set_source_files_properties(${hakmem_archive_object} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
add_library(hakmem_static STATIC ${hakmem_archive_object})
add_dependencies(hakmem_static hakmem_joined)
set_target_properties(hakmem_static PROPERTIES OUTPUT_NAME hakmem LINKER_LANGUAGE C)
target_link_libraries(hakmem_static INTERFACE Threads::Threads)
# A program whose libraries alone allocate has no reference of its own that would draw the archive in.
target_link_options(hakmem_static INTERFACE -Wl,--undefined=malloc)

add_library(hakmem SHARED $<TARGET_OBJECTS:hakmem_objects>)
set_target_properties(hakmem PROPERTIES
  LINKER_LANGUAGE C VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
  LINK_DEPENDS ${PROJECT_SOURCE_DIR}/src/hakmem.map)
target_link_libraries(hakmem PRIVATE Threads::Threads)
target_link_options(hakmem PRIVATE
  -Wl,--version-script=${PROJECT_SOURCE_DIR}/src/hakmem.map
  -Wl,--no-undefined
  -Wl,-Bsymbolic-functions # its own calls stay inside, whatever a program interposes: allocators are never mixed
  -Wl,--dynamic-list=${PROJECT_SOURCE_DIR}/src/replaceable.list # but operators that a program replaces must be seen
  -Wl,-z,now               # no lazy binding: the resolver could be entered from within an allocation
  -Wl,-z,relro
  -Wl,-z,initfirst         # its fork handlers are registered first: they lock last and unlock first, whoever else has some
  -Wl,-z,nodelete          # blocks and thread exits outlive every dlclose
  -Wl,-z,noexecstack
  -Wl,--as-needed
  -Wl,--hash-style=gnu
  -static-libgcc)          # its unwinder, for the stacks in reports of guarded blocks: a library of its own would be one need more

foreach(target IN ITEMS hakmem hakmem_static)
  target_include_directories(${target} INTERFACE
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src> $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()
add_library(hakmem::hakmem ALIAS hakmem)
add_library(hakmem::hakmem_static ALIAS hakmem_static)
