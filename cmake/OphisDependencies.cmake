# Every third-party package, in one place: the system's, or where that is missing or too old, a pinned release.
include(OphisDownload)

option(OPHIS_FETCH "Download dependencies that are not installed" ON)

# Targets of found packages are visible to a project that adds Ophis as a subdirectory.
set(CMAKE_FIND_PACKAGE_TARGETS_GLOBAL ON)

# ophis_dependency(NAME fmt VERSION 9 TARGET fmt::fmt DEBIAN libfmt-dev
#                  RELEASE 10.2.1 URL ... SHA256 ... INCLUDE include [SOURCES file...] [DEFINES macro...]
#                  [COPIES from to...] [HEADER_ONLY])
# After it TARGET exists. VERSION is the oldest that will do; RELEASE, URL and SHA256 are what is fetched when the
# system has none: its headers in INCLUDE, and its SOURCES, which become part of the library. COPIES are files that
# the release's own build would make by copying.
# HEADER_ONLY: a program that links an installed static Ophis does not need the package.
function(ophis_dependency)
  cmake_parse_arguments(arg "HEADER_ONLY" "NAME;VERSION;TARGET;DEBIAN;RELEASE;URL;SHA256;INCLUDE" "SOURCES;DEFINES;COPIES"
                        ${ARGN})
  if(TARGET ${arg_TARGET})
    message(STATUS "${arg_NAME}: from the enclosing project")
  else()
    find_package(${arg_NAME} ${arg_VERSION} QUIET)
    if(${arg_NAME}_FOUND)
      message(STATUS "${arg_NAME} ${${arg_NAME}_VERSION}: installed")
    else()
      ophis_fetch_dependency()
      set(arg_HEADER_ONLY TRUE)
    endif()
  endif()
  if(arg_HEADER_ONLY)
    set_property(GLOBAL APPEND PROPERTY OPHIS_COMPILED_IN_PACKAGES ${arg_TARGET})
  else()
    set_property(GLOBAL PROPERTY OPHIS_FIND_${arg_TARGET} "find_dependency(${arg_NAME} ${arg_VERSION})")
  endif()
endfunction()

# The second half of ophis_dependency, with its arguments: makes TARGET from the pinned release.
macro(ophis_fetch_dependency)
  set(hint "install ${arg_NAME} >= ${arg_VERSION} (Debian and Ubuntu: apt-get install ${arg_DEBIAN})")
  if(NOT OPHIS_FETCH)
    message(FATAL_ERROR "${arg_NAME} >= ${arg_VERSION} is not installed and OPHIS_FETCH is OFF: ${hint}")
  endif()
  string(REGEX MATCH "(\\.tar)?\\.[a-z0-9]+$" extension "${arg_URL}")
  set(archive "${OPHIS_CACHE_DIR}/${arg_NAME}-${arg_RELEASE}${extension}")
  ophis_download("${arg_URL}" "${archive}" ${arg_SHA256} error)
  if(error)
    message(FATAL_ERROR "${arg_NAME} >= ${arg_VERSION} is not installed, and it cannot be fetched: ${error}\n"
                        "Please ${hint}")
  endif()
  # The release is unpacked and its own build files, in a folder that does not exist, are left alone.
  FetchContent_Declare(${arg_NAME} URL "${archive}" URL_HASH SHA256=${arg_SHA256} DOWNLOAD_EXTRACT_TIMESTAMP ON
                       SOURCE_SUBDIR no-build-files)
  FetchContent_MakeAvailable(${arg_NAME})
  string(TOLOWER ${arg_NAME} lower_name)
  while(arg_COPIES)
    list(POP_FRONT arg_COPIES from to)
    configure_file(${${lower_name}_SOURCE_DIR}/${from} ${${lower_name}_SOURCE_DIR}/${to} COPYONLY)
  endwhile()
  add_library(ophis_fetched_${lower_name} INTERFACE)
  add_library(${arg_TARGET} ALIAS ophis_fetched_${lower_name})
  target_include_directories(ophis_fetched_${lower_name} SYSTEM INTERFACE ${${lower_name}_SOURCE_DIR}/${arg_INCLUDE})
  target_compile_definitions(ophis_fetched_${lower_name} INTERFACE ${arg_DEFINES})
  if(arg_SOURCES)
    list(TRANSFORM arg_SOURCES PREPEND ${${lower_name}_SOURCE_DIR}/)
    add_library(ophis_fetched_${lower_name}_objects OBJECT ${arg_SOURCES})
    set_target_properties(ophis_fetched_${lower_name}_objects PROPERTIES POSITION_INDEPENDENT_CODE ON)
    target_link_libraries(ophis_fetched_${lower_name}_objects PRIVATE ophis_fetched_${lower_name})
    set_property(GLOBAL APPEND PROPERTY OPHIS_OBJECTS ophis_fetched_${lower_name}_objects)
  endif()
  message(STATUS "${arg_NAME} ${arg_RELEASE}: not installed; fetched from ${arg_URL}")
endmacro()

include(OphisKokkos)

ophis_dependency(
  NAME Eigen3 VERSION 3.4 TARGET Eigen3::Eigen DEBIAN libeigen3-dev HEADER_ONLY
  RELEASE 3.4.0 URL https://gitlab.com/libeigen/eigen/-/archive/3.4.0/eigen-3.4.0.tar.gz
  SHA256 8586084f71f9bde545ee7fa6d00288b264a2b7ac3607b974e54d13e7162c1c72 INCLUDE .)
ophis_dependency(
  NAME nlohmann_json VERSION 3.10 TARGET nlohmann_json::nlohmann_json DEBIAN nlohmann-json3-dev HEADER_ONLY
  RELEASE 3.11.3 URL https://github.com/nlohmann/json/releases/download/v3.11.3/json.tar.xz
  SHA256 d6c65aca6b1ed68e7a182f4757257b107ae403032760ed6ef121c9d55e81757d INCLUDE include)
ophis_dependency(
  NAME fmt VERSION 9 TARGET fmt::fmt DEBIAN libfmt-dev
  RELEASE 10.2.1 URL https://github.com/fmtlib/fmt/archive/refs/tags/10.2.1.tar.gz
  SHA256 1250e4cc58bf06ee631567523f48848dc4596133e163f02615c97f78bab6c811 INCLUDE include DEFINES FMT_HEADER_ONLY=1)
ophis_dependency(
  NAME utf8proc VERSION 2.6 TARGET utf8proc::utf8proc DEBIAN libutf8proc-dev
  RELEASE 2.8.0 URL https://github.com/JuliaStrings/utf8proc/archive/refs/tags/v2.8.0.tar.gz
  SHA256 a0a60a79fe6f6d54e7d411facbfcc867a6e198608f2cd992490e46f04b1bcecc INCLUDE . SOURCES utf8proc.c
  DEFINES UTF8PROC_STATIC)
ophis_dependency(
  NAME PCRE2 VERSION 10.40 TARGET PCRE2::8BIT DEBIAN libpcre2-dev
  RELEASE 10.42 URL https://github.com/PCRE2Project/pcre2/releases/download/pcre2-10.42/pcre2-10.42.tar.gz
  SHA256 c33b418e3b936ee3153de2c61cc638e7e4fe3156022a5c77d0711bcbb9d64f1f INCLUDE src
  SOURCES src/pcre2_auto_possess.c src/pcre2_chartables.c src/pcre2_compile.c src/pcre2_config.c
          src/pcre2_context.c src/pcre2_convert.c src/pcre2_dfa_match.c src/pcre2_error.c
          src/pcre2_extuni.c src/pcre2_find_bracket.c src/pcre2_jit_compile.c src/pcre2_maketables.c
          src/pcre2_match.c src/pcre2_match_data.c src/pcre2_newline.c src/pcre2_ord2utf.c
          src/pcre2_pattern_info.c src/pcre2_script_run.c src/pcre2_serialize.c
          src/pcre2_string_utils.c src/pcre2_study.c src/pcre2_substitute.c src/pcre2_substring.c
          src/pcre2_tables.c src/pcre2_ucd.c src/pcre2_valid_utf.c src/pcre2_xclass.c
  COPIES src/pcre2.h.generic src/pcre2.h src/config.h.generic src/config.h
         src/pcre2_chartables.c.dist src/pcre2_chartables.c
  DEFINES HAVE_CONFIG_H PCRE2_STATIC PCRE2_CODE_UNIT_WIDTH=8 SUPPORT_UNICODE)
if(OPHIS_BUILD_CLI)
  ophis_dependency(
    NAME CLI11 VERSION 2.1 TARGET CLI11::CLI11 DEBIAN libcli11-dev HEADER_ONLY
    RELEASE 2.4.2 URL https://github.com/CLIUtils/CLI11/archive/refs/tags/v2.4.2.tar.gz
    SHA256 f2d893a65c3b1324c50d4e682c0cdc021dd0477ae2c048544f39eed6654b699a INCLUDE include)
endif()
if(OPHIS_BUILD_TESTS)
  ophis_dependency(
    NAME doctest VERSION 2.4 TARGET doctest::doctest DEBIAN doctest-dev HEADER_ONLY
    RELEASE 2.4.11 URL https://github.com/doctest/doctest/archive/refs/tags/v2.4.11.tar.gz
    SHA256 632ed2c05a7f53fa961381497bf8069093f0d6628c5f26286161fbd32a560186 INCLUDE .)
endif()

# Fetched sources are C, which cannot be enabled within a function.
get_property(fetched GLOBAL PROPERTY OPHIS_OBJECTS)
if(fetched)
  enable_language(C)
endif()

# oneDNN is a large build of its own, so it is used where it is installed and never fetched.
set(OPHIS_ONEDNN AUTO CACHE STRING "Matrix products through oneDNN: AUTO (when installed), ON or OFF")
set_property(CACHE OPHIS_ONEDNN PROPERTY STRINGS AUTO ON OFF)
set(OPHIS_HAVE_ONEDNN FALSE)
if(OPHIS_ONEDNN STREQUAL "OFF")
  message(STATUS "oneDNN: switched off; matrix products use Eigen")
else()
  find_package(dnnl 2.6 QUIET)
  if(dnnl_FOUND)
    set(OPHIS_HAVE_ONEDNN TRUE)
    message(STATUS "oneDNN ${dnnl_VERSION}: installed")
    set_property(GLOBAL PROPERTY OPHIS_FIND_DNNL::dnnl "find_dependency(dnnl)")
  elseif(OPHIS_ONEDNN STREQUAL "AUTO")
    message(STATUS "oneDNN: not installed; matrix products use Eigen (Debian and Ubuntu: apt-get install libdnnl-dev)")
  else()
    message(FATAL_ERROR "OPHIS_ONEDNN=ON, but oneDNN >= 2.6 is not installed (Debian and Ubuntu: libdnnl-dev)")
  endif()
endif()

# Models are downloaded through libcurl and checked with OpenSSL. Both are parts of a system that its maintainers keep
# safe, so they are used where they are installed and never fetched.
set(OPHIS_DOWNLOAD AUTO CACHE STRING "Downloading models from the Hugging Face hub: AUTO (with libcurl and OpenSSL), ON or OFF")
set_property(CACHE OPHIS_DOWNLOAD PROPERTY STRINGS AUTO ON OFF)
set(OPHIS_HAVE_DOWNLOAD FALSE)
if(OPHIS_DOWNLOAD STREQUAL "OFF")
  message(STATUS "libcurl: switched off; models are not downloaded")
else()
  find_package(CURL 7.85 QUIET)
  find_package(OpenSSL 3.0 QUIET COMPONENTS Crypto)
  set(hint "Debian and Ubuntu: apt-get install libcurl4-openssl-dev libssl-dev")
  if(CURL_FOUND AND OPENSSL_FOUND)
    set(OPHIS_HAVE_DOWNLOAD TRUE)
    message(STATUS "libcurl ${CURL_VERSION_STRING}, OpenSSL ${OPENSSL_VERSION}: installed; models can be downloaded")
    set_property(GLOBAL PROPERTY OPHIS_FIND_CURL::libcurl "find_dependency(CURL)")
    set_property(GLOBAL PROPERTY OPHIS_FIND_OpenSSL::Crypto "find_dependency(OpenSSL)")
  elseif(OPHIS_DOWNLOAD STREQUAL "AUTO")
    message(STATUS "libcurl >= 7.85 or OpenSSL >= 3.0: not installed; models are not downloaded (${hint})")
  else()
    message(FATAL_ERROR "OPHIS_DOWNLOAD=ON, but libcurl >= 7.85 or OpenSSL >= 3.0 is not installed (${hint})")
  endif()
endif()
