# cmake -DCC=cc -DPKG_CONFIG=pkg-config -DPREFIX=DIR -DLIBDIR=lib -DBUILD_FOLDER=DIR -P by_pkg_config.cmake:
# builds and runs main.c with what pkg-config says about the installed library.
set(libraries ${PREFIX}/${LIBDIR})
set(ENV{PKG_CONFIG_PATH} ${libraries}/pkgconfig)
execute_process(COMMAND ${PKG_CONFIG} --cflags --libs ophis OUTPUT_VARIABLE flags OUTPUT_STRIP_TRAILING_WHITESPACE
                COMMAND_ERROR_IS_FATAL ANY)
separate_arguments(flags UNIX_COMMAND "${flags}")
set(program ${PREFIX}/../outside_program_in_c)
execute_process(COMMAND ${CC} -std=c99 ${CMAKE_CURRENT_LIST_DIR}/main.c ${flags} -o ${program} COMMAND_ERROR_IS_FATAL ANY)
set(ENV{LD_LIBRARY_PATH} "${libraries}:$ENV{LD_LIBRARY_PATH}")
execute_process(COMMAND ${program} COMMAND_ERROR_IS_FATAL ANY)
file(STRINGS ${libraries}/libophis.so paths REGEX "${BUILD_FOLDER}")
if(paths)
  message(FATAL_ERROR "the installed library knows its build folder: ${paths}")
endif()
