# `cmake --install`: the program, the library's headers and rooms, and what find_package(altup) reads. The tree that this makes
# refers to neither the sources nor the build and may be moved. altup::altup is the whole library; each room has its own
# target (altup::models, altup::data, …), and altup::ops is the operators alone.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(rooms util data tasks ops optim checkpoint modules models)
set(room_targets ${rooms})
list(TRANSFORM room_targets PREPEND altup_)
add_library(altup_altup INTERFACE)
target_link_libraries(altup_altup INTERFACE ${room_targets})

set(exported ${room_targets} altup_options altup_altup)
foreach(target IN LISTS exported)
  string(REPLACE altup_ "" name ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
endforeach()

# The program finds the operators beside it. LibTorch is not ours to install: both look for it where it was at the build.
set_target_properties(altup_ops PROPERTIES INSTALL_RPATH "${TORCH_INSTALL_PREFIX}/lib")
set_target_properties(altup_program PROPERTIES
  INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR};${TORCH_INSTALL_PREFIX}/lib"
  INSTALL_RPATH_USE_LINK_PATH ON)
install(TARGETS altup_program)
install(DIRECTORY configs DESTINATION ${CMAKE_INSTALL_DATADIR}/altup)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

if(altup_fetched)
  message(STATUS "altup: only the program will be installed, not the library for C++: ${altup_fetched} came from the "
                 "internet, and who uses the library would not find it. Install it from your system for that.")
  install(TARGETS altup_ops)
  return()
endif()

set(config_dir ${CMAKE_INSTALL_LIBDIR}/cmake/altup)
install(TARGETS ${exported} EXPORT altupTargets)
install(DIRECTORY altup DESTINATION include FILES_MATCHING PATTERN "*.h")
install(EXPORT altupTargets NAMESPACE altup:: DESTINATION ${config_dir})
configure_package_config_file(cmake/altupConfig.cmake.in ${CMAKE_BINARY_DIR}/altupConfig.cmake
                              INSTALL_DESTINATION ${config_dir})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/altupConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/altupConfig.cmake ${CMAKE_BINARY_DIR}/altupConfigVersion.cmake
        DESTINATION ${config_dir})
