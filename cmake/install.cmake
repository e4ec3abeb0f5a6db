# cmake --install: library, archive, header, hakmem-run (tools/), manual pages, scripts, pkg-config file and CMake package.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/hakmem)

install(TARGETS hakmem hakmem_static EXPORT hakmemTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES src/hakmem.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES tools/hakmem-run.1 tools/hkstat-bpftool.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES tools/libhakmem.3 DESTINATION ${CMAKE_INSTALL_MANDIR}/man3)
install(FILES tools/hakmem.7 DESTINATION ${CMAKE_INSTALL_MANDIR}/man7)
install(PROGRAMS tools/hkstat-bpftool DESTINATION ${CMAKE_INSTALL_BINDIR})
file(GLOB hakmem_scripts CONFIGURE_DEPENDS tools/hakmem_*.bt tools/hakmem_*_example.txt)
install(FILES ${hakmem_scripts} tools/MEMORY.md tools/WATCHING.md DESTINATION ${CMAKE_INSTALL_DATADIR}/hakmem)

# Relative to the file itself, so that an installed tree can be moved; an absolute libdir stays what it is.
cmake_path(ABSOLUTE_PATH CMAKE_INSTALL_LIBDIR BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX} OUTPUT_VARIABLE pc_libdir)
cmake_path(ABSOLUTE_PATH CMAKE_INSTALL_INCLUDEDIR BASE_DIRECTORY ${CMAKE_INSTALL_PREFIX} OUTPUT_VARIABLE pc_includedir)
cmake_path(APPEND pc_libdir pkgconfig OUTPUT_VARIABLE pc_dir)
foreach(name IN ITEMS libdir includedir)
  cmake_path(RELATIVE_PATH pc_${name} BASE_DIRECTORY ${pc_dir})
endforeach()
configure_file(cmake/hakmem.pc.in hakmem.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/hakmem.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(EXPORT hakmemTargets NAMESPACE hakmem:: DESTINATION ${package_dir})
configure_package_config_file(cmake/hakmemConfig.cmake.in hakmemConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(hakmemConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/hakmemConfig.cmake ${PROJECT_BINARY_DIR}/hakmemConfigVersion.cmake
  DESTINATION ${package_dir})
