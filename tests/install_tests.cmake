# ctest -L install: the installed package, and Ophis as a subdirectory, as an outside program meets them.
set(install_prefix ${PROJECT_BINARY_DIR}/install_test/prefix)
add_test(NAME install COMMAND ${CMAKE_COMMAND} --install ${PROJECT_BINARY_DIR} --prefix ${install_prefix})
set_tests_properties(install PROPERTIES FIXTURES_SETUP install_prefix LABELS install)

# ophis_add_install_test(NAME SOURCES [-DOPTION=VALUE...]): configures, builds and runs the project SOURCES with these
# options.
function(ophis_add_install_test name sources)
  set(folder ${PROJECT_BINARY_DIR}/install_test/${name})
  add_test(
    NAME ${name}
    COMMAND ${CMAKE_CTEST_COMMAND} --build-and-test ${CMAKE_CURRENT_SOURCE_DIR}/${sources} ${folder}
            --build-noclean --build-generator ${CMAKE_GENERATOR} --build-options ${ARGN} --test-command outside_program)
  set_tests_properties(${name} PROPERTIES FIXTURES_REQUIRED install_prefix LABELS install PROCESSORS 2)
endfunction()

set(cxx_options -DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER} -DCMAKE_CXX_COMPILER_LAUNCHER=${CMAKE_CXX_COMPILER_LAUNCHER})
ophis_add_install_test(install_as_package install_test ${cxx_options} -DOphis_ROOT=${install_prefix} -DCMAKE_BUILD_TYPE=Release)
# Kokkos comes from the installed package, or from where it was found; without optimisation the build is quick.
ophis_add_install_test(install_as_subdirectory install_test ${cxx_options} -DOPHIS_SOURCE_DIR=${PROJECT_SOURCE_DIR} -DOPHIS_KOKKOS=system
                       -DKokkos_ROOT=${install_prefix} -DCMAKE_PREFIX_PATH=${CMAKE_PREFIX_PATH}
                       -DCMAKE_BUILD_TYPE=)

if(OPHIS_BUILD_CLI)
  # The installed program takes the models that were installed with it.
  add_test(NAME installed_program COMMAND ${install_prefix}/bin/ophis generate --prompt ROMEO: --max-new-tokens 5 --json)
  set_tests_properties(installed_program PROPERTIES FIXTURES_REQUIRED install_prefix LABELS install
                       PASS_REGULAR_EXPRESSION "install_test/prefix/share/ophis/models/mamba2-tiny")
endif()

if(OPHIS_BUILD_C)
  ophis_add_install_test(install_c_as_package install_test_c -DOphis_ROOT=${install_prefix} -DCMAKE_C_COMPILER=${CMAKE_C_COMPILER})
  find_program(OPHIS_PKG_CONFIG NAMES pkg-config pkgconf)
  mark_as_advanced(OPHIS_PKG_CONFIG)
  add_test(NAME install_c_by_pkg_config
           COMMAND ${CMAKE_COMMAND} -DCC=${CMAKE_C_COMPILER} -DPKG_CONFIG=${OPHIS_PKG_CONFIG} -DPREFIX=${install_prefix}
                   -DLIBDIR=${CMAKE_INSTALL_LIBDIR} -DBUILD_FOLDER=${PROJECT_BINARY_DIR}
                   -P ${CMAKE_CURRENT_SOURCE_DIR}/install_test_c/by_pkg_config.cmake)
  set_tests_properties(install_c_by_pkg_config PROPERTIES FIXTURES_REQUIRED install_prefix LABELS install
                       DISABLED $<NOT:$<BOOL:${OPHIS_PKG_CONFIG}>>)
endif()
