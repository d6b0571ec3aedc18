# Every third-party package, in one place.
find_package(Kokkos 4.7 REQUIRED)
find_package(Eigen3 3.4 REQUIRED NO_MODULE)
find_package(nlohmann_json 3.10 REQUIRED)
find_package(CLI11 2.1 REQUIRED)
find_package(fmt 9 REQUIRED)
find_package(dnnl QUIET)
find_package(doctest REQUIRED)
