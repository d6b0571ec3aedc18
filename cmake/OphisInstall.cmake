# cmake --install and the package that find_package(Ophis) loads. A fetched Kokkos is installed along by its own rules.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/Ophis)

get_property(layers GLOBAL PROPERTY OPHIS_LAYERS)
set(header_sets "")
foreach(layer IN LISTS layers)
  if(EXISTS ${PROJECT_SOURCE_DIR}/${layer}/include)
    list(APPEND header_sets FILE_SET ${layer}_headers)
  endif()
endforeach()
install(TARGETS ophis EXPORT OphisTargets ${header_sets})
install(EXPORT OphisTargets NAMESPACE Ophis:: DESTINATION ${package_dir})
if(OPHIS_BUILD_C)
  install(EXPORT OphisCTargets NAMESPACE Ophis:: DESTINATION ${package_dir})
endif()

# A program that links a static Ophis also links the packages behind it; a shared one brings them along.
set(OPHIS_FIND_PACKAGES "")
if(NOT BUILD_SHARED_LIBS)
  get_property(links GLOBAL PROPERTY OPHIS_LAYER_LINKS)
  list(REMOVE_DUPLICATES links)
  foreach(link IN LISTS links)
    get_property(find_line GLOBAL PROPERTY OPHIS_FIND_${link})
    if(find_line)
      string(APPEND OPHIS_FIND_PACKAGES "${find_line}\n")
    endif()
  endforeach()
endif()
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/OphisConfig.cmake.in ${PROJECT_BINARY_DIR}/OphisConfig.cmake
                              INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/OphisConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/OphisConfig.cmake ${PROJECT_BINARY_DIR}/OphisConfigVersion.cmake
              ${CMAKE_CURRENT_LIST_DIR}/Finddnnl.cmake ${CMAKE_CURRENT_LIST_DIR}/Findutf8proc.cmake
              ${CMAKE_CURRENT_LIST_DIR}/FindPCRE2.cmake
        DESTINATION ${package_dir})
