# How the layers become one library.
add_library(ophis_build_options INTERFACE)
target_compile_features(ophis_build_options INTERFACE cxx_std_20)
# For C++, and through nvcc for its host compiler. -Wpedantic would complain about the code that nvcc itself makes.
set(warnings -Wall -Wextra -Wno-psabi)
# Clang 15 and later see a deprecated function inside libstdc++ 12's stable_sort.
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 15)
  list(APPEND warnings -Wno-deprecated-declarations)
endif()
# Of everything; with `dispatch` some objects have more (ophis_compile_for_isa).
set(ophis_march "$<$<BOOL:${OPHIS_CPU_ARCH}>:-march=${OPHIS_CPU_ARCH}>")
if(OPHIS_CPU_ARCH STREQUAL "dispatch")
  set(ophis_march "")
endif()
set(host_options ${warnings} "$<$<BOOL:${OPHIS_WARNINGS_AS_ERRORS}>:-Werror>" ${ophis_march})
target_compile_options(
  ophis_build_options
  INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${host_options};-Wpedantic>"
            "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:-Xcompiler=$<JOIN:$<FILTER:${host_options},EXCLUDE,^$>,$<COMMA>>>"
            "$<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr>"
            # Products and sums are fused within an expression only, as on the host (docs/hip.md, Numerics).
            "$<$<COMPILE_LANGUAGE:HIP>:${host_options};-ffp-contract=on>")
if(OPHIS_SANITIZE)
  target_compile_options(ophis_build_options INTERFACE -fsanitize=${OPHIS_SANITIZE} -fno-omit-frame-pointer
                         -fno-sanitize-recover=all)
  target_link_options(ophis_build_options INTERFACE -fsanitize=${OPHIS_SANITIZE})
endif()

# ophis_add_layer(NAME core SOURCES ... [DEPENDS layer...] [LINK package...])
# One layer: an object library that sees its own public headers and those of the layers it depends on.
function(ophis_add_layer)
  cmake_parse_arguments(arg "" "NAME" "SOURCES;DEPENDS;LINK" ${ARGN})
  set(target ophis_${arg_NAME})
  add_library(${target} OBJECT ${arg_SOURCES})
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
  foreach(layer IN LISTS arg_DEPENDS)
    target_include_directories(${target} PUBLIC
                               $<TARGET_PROPERTY:ophis_${layer},INTERFACE_INCLUDE_DIRECTORIES>)
  endforeach()
  target_link_libraries(${target} PRIVATE ophis_build_options ${arg_LINK})
  set_property(GLOBAL APPEND PROPERTY OPHIS_LAYERS ${arg_NAME})
  set_property(GLOBAL APPEND PROPERTY OPHIS_LAYER_LINKS ${arg_LINK})
endfunction()

# ophis_add_objects(NAME backends_sm90 SOURCES ... LIKE backends)
# More sources of a layer, compiled with its include directories and options, and others that the caller sets.
function(ophis_add_objects)
  cmake_parse_arguments(arg "" "NAME;LIKE" "SOURCES" ${ARGN})
  set(target ophis_${arg_NAME})
  add_library(${target} OBJECT ${arg_SOURCES})
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_include_directories(${target} PRIVATE $<TARGET_PROPERTY:ophis_${arg_LIKE},INCLUDE_DIRECTORIES>)
  target_link_libraries(${target} PRIVATE ophis_build_options)
  set_property(GLOBAL APPEND PROPERTY OPHIS_OBJECTS ${target})
endfunction()

# ophis_compile_for_isa(NAME avx2 SOURCES ... LIKE backends LINK package... OPTIONS -march=... EXPORT pattern)
# Sources of a layer once more, for an instruction set, as one object file of which only the symbols that match `pattern`
# are visible. Whatever inline functions and templates these objects hold beside them, the linker would otherwise be free
# to take those for the rest of the library, which must run without the instructions (docs/adr/0012-instruction-sets.md).
function(ophis_compile_for_isa)
  cmake_parse_arguments(arg "" "NAME;LIKE;EXPORT" "SOURCES;LINK;OPTIONS" ${ARGN})
  set(target ophis_${arg_LIKE}_${arg_NAME})
  add_library(${target} OBJECT ${arg_SOURCES})
  # A unique symbol could not be hidden.
  target_compile_options(${target} PRIVATE ${arg_OPTIONS} $<$<CXX_COMPILER_ID:GNU>:-fno-gnu-unique>)
  target_compile_definitions(${target} PRIVATE OPHIS_COMPILED_FOR=${arg_NAME}
                                               $<TARGET_PROPERTY:ophis_${arg_LIKE},COMPILE_DEFINITIONS>)
  target_include_directories(${target} PRIVATE $<TARGET_PROPERTY:ophis_${arg_LIKE},INCLUDE_DIRECTORIES>)
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON INTERPROCEDURAL_OPTIMIZATION OFF)
  target_link_libraries(${target} PRIVATE ophis_build_options ${arg_LINK})
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${target}${CMAKE_CXX_OUTPUT_EXTENSION})
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${CMAKE_LINKER} -r --force-group-allocation -o ${object}.all $<TARGET_OBJECTS:${target}>
    COMMAND ${CMAKE_OBJCOPY} --wildcard --keep-global-symbol=${arg_EXPORT} ${object}.all ${object}
    COMMAND ${CMAKE_COMMAND} -E rm ${object}.all
    DEPENDS $<TARGET_OBJECTS:${target}>
    COMMENT "Hiding the symbols of ${target}"
    COMMAND_EXPAND_LISTS VERBATIM)
  add_custom_target(${target}_object DEPENDS ${object})
  set_property(GLOBAL APPEND PROPERTY OPHIS_ISA_OBJECTS ${target}_object ${object})
endfunction()

# The library Ophis::ophis of all layers.
function(ophis_assemble_library)
  get_property(layers GLOBAL PROPERTY OPHIS_LAYERS)
  get_property(links GLOBAL PROPERTY OPHIS_LAYER_LINKS)
  list(REMOVE_DUPLICATES links)
  add_library(ophis)
  add_library(Ophis::ophis ALIAS ophis)
  # The name libophis is that of the C interface.
  set_target_properties(ophis PROPERTIES OUTPUT_NAME ophis_cpp VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
  target_compile_features(ophis PUBLIC cxx_std_20)
  foreach(layer IN LISTS layers)
    target_sources(ophis PRIVATE $<TARGET_OBJECTS:ophis_${layer}>)
    set(headers ${PROJECT_SOURCE_DIR}/${layer}/include)
    if(EXISTS ${headers})
      file(GLOB_RECURSE files CONFIGURE_DEPENDS ${headers}/*.hpp)
      if(BACKEND STREQUAL "cuda")
        file(GLOB_RECURSE cuda_files CONFIGURE_DEPENDS ${headers}/*.cuh)
        list(APPEND files ${cuda_files})
      else()
        list(FILTER files EXCLUDE REGEX "/cuda\\.hpp$")
        if(NOT BACKEND STREQUAL "hip")
          list(FILTER files EXCLUDE REGEX "/gpu_runtime\\.hpp$")
        endif()
      endif()
      target_sources(ophis PUBLIC FILE_SET ${layer}_headers TYPE HEADERS BASE_DIRS ${headers} FILES ${files})
    endif()
  endforeach()
  get_property(objects GLOBAL PROPERTY OPHIS_OBJECTS)
  foreach(target IN LISTS objects)
    target_sources(ophis PRIVATE $<TARGET_OBJECTS:${target}>)
  endforeach()
  get_property(objects GLOBAL PROPERTY OPHIS_ISA_OBJECTS)
  while(objects)
    list(POP_FRONT objects target object)
    add_dependencies(ophis ${target})
    set_source_files_properties(${object} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
    target_sources(ophis PRIVATE ${object})
  endwhile()
  # Header-only and fetched packages are used up when the layers are compiled; the others are linked.
  get_property(compiled_in GLOBAL PROPERTY OPHIS_COMPILED_IN_PACKAGES)
  list(REMOVE_ITEM links Kokkos::kokkos ${compiled_in})
  target_link_libraries(ophis PUBLIC Kokkos::kokkos PRIVATE $<BUILD_INTERFACE:ophis_build_options> ${links})
endfunction()
