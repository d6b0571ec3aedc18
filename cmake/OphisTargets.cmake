# How the layers become one library.
add_library(ophis_build_options INTERFACE)
target_compile_features(ophis_build_options INTERFACE cxx_std_20)
# For C++, and through nvcc for its host compiler. -Wpedantic would complain about the code that nvcc itself makes.
set(warnings -Wall -Wextra -Wno-psabi)
# Clang 15 and later see a deprecated function inside libstdc++ 12's stable_sort.
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang" AND CMAKE_CXX_COMPILER_VERSION VERSION_GREATER_EQUAL 15)
  list(APPEND warnings -Wno-deprecated-declarations)
endif()
set(host_options ${warnings} "$<$<BOOL:${OPHIS_WARNINGS_AS_ERRORS}>:-Werror>"
                 "$<$<BOOL:${OPHIS_CPU_ARCH}>:-march=${OPHIS_CPU_ARCH}>")
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
  # Header-only and fetched packages are used up when the layers are compiled; the others are linked.
  get_property(compiled_in GLOBAL PROPERTY OPHIS_COMPILED_IN_PACKAGES)
  list(REMOVE_ITEM links Kokkos::kokkos ${compiled_in})
  target_link_libraries(ophis PUBLIC Kokkos::kokkos PRIVATE $<BUILD_INTERFACE:ophis_build_options> ${links})
endfunction()
