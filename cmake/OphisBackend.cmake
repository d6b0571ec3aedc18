# Checks BACKEND before anything is fetched or built.
set(ophis_known_backends openmp cuda hip)
if(NOT BACKEND IN_LIST ophis_known_backends)
  message(FATAL_ERROR "BACKEND is '${BACKEND}'; it must be one of: openmp, cuda, hip")
endif()
if(NOT BACKEND STREQUAL "openmp")
  message(FATAL_ERROR "BACKEND=${BACKEND} is not available yet; only openmp is complete in this version")
endif()
