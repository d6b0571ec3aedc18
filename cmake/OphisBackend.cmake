# Checks BACKEND before anything is fetched or built, and finds the compiler of its device code.
set(ophis_known_backends openmp cuda hip)
if(NOT BACKEND IN_LIST ophis_known_backends)
  message(FATAL_ERROR "BACKEND is '${BACKEND}'; it must be one of: openmp, cuda, hip")
endif()
if(BACKEND STREQUAL "hip")
  message(FATAL_ERROR "BACKEND=hip is not available yet; openmp and cuda are complete in this version")
endif()

set(OPHIS_DEVICE_LANGUAGE CXX)
if(BACKEND STREQUAL "cuda")
  # 90 is code for Hopper and PTX, which newer GPUs can run.
  set(CMAKE_CUDA_ARCHITECTURES 90 CACHE STRING "GPUs to build for, as 75, 80, 86, 89, 90, 100 or 120")
  include(CheckLanguage)
  check_language(CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    message(FATAL_ERROR "BACKEND=cuda needs the CUDA toolkit (12.4 or later), and no nvcc was found: install it, then put it "
                        "on the PATH or give -DCMAKE_CUDA_COMPILER=/path/to/nvcc")
  endif()
  enable_language(CUDA)
  find_package(CUDAToolkit REQUIRED)
  set_property(GLOBAL PROPERTY OPHIS_FIND_CUDA::cublasLt "find_dependency(CUDAToolkit)")
  set(OPHIS_DEVICE_LANGUAGE CUDA)
  # Kokkos links the driver and uses nothing of it; programs that use the CPU only then start without one.
  add_link_options(LINKER:--as-needed)
  # CMake before 3.26 does not know that nvcc takes C++20.
  if(NOT cuda_std_20 IN_LIST CMAKE_CUDA_COMPILE_FEATURES)
    string(APPEND CMAKE_CUDA_FLAGS " -std=c++20")
  endif()
endif()

# ophis_device_sources(FILE...): these files include Kokkos, so where the backend is a GPU its compiler compiles them.
function(ophis_device_sources)
  if(NOT OPHIS_DEVICE_LANGUAGE STREQUAL "CXX")
    set_source_files_properties(${ARGN} PROPERTIES LANGUAGE ${OPHIS_DEVICE_LANGUAGE})
  endif()
endfunction()
