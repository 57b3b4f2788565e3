# Third-party libraries from the package manager; static archives where the distribution has them.
set(Boost_USE_STATIC_LIBS ON)
set(OPENSSL_USE_STATIC_LIBS ON)
find_package(Boost 1.81 REQUIRED COMPONENTS json)
find_package(OpenSSL 3 REQUIRED)
find_package(fmt 9 REQUIRED)
find_package(GTest REQUIRED)
find_package(benchmark REQUIRED)
find_package(PkgConfig REQUIRED)

function(neap_import_static target archive header)
  find_library(${target}_ARCHIVE NAMES ${archive} REQUIRED)
  find_path(${target}_INCLUDE NAMES ${header} REQUIRED)
  add_library(${target} UNKNOWN IMPORTED GLOBAL)
  set_target_properties(${target} PROPERTIES IMPORTED_LOCATION "${${target}_ARCHIVE}"
    INTERFACE_INCLUDE_DIRECTORIES "${${target}_INCLUDE}")
endfunction()
neap_import_static(neap3p::sqlite libsqlite3.a sqlite3.h)
neap_import_static(neap3p::yaml libyaml.a yaml.h)
neap_import_static(neap3p::zstd libzstd.a zstd.h)
neap_import_static(neap3p::re2 libre2.a re2/re2.h)
neap_import_static(neap3p::z libz.a zlib.h)
neap_import_static(neap3p::jemalloc libjemalloc.a jemalloc/jemalloc.h)
set_property(TARGET neap3p::sqlite PROPERTY INTERFACE_LINK_LIBRARIES "Threads::Threads;${CMAKE_DL_LIBS};m")
set_property(TARGET neap3p::jemalloc PROPERTY INTERFACE_LINK_LIBRARIES "Threads::Threads;${CMAKE_DL_LIBS};m")
set_property(TARGET neap3p::re2 PROPERTY INTERFACE_LINK_LIBRARIES "Threads::Threads")

# CLI11 is header only (Debian: libcli11-dev).
find_path(NEAP_CLI11_INCLUDE NAMES CLI/CLI.hpp REQUIRED)
add_library(neap3p::cli11 INTERFACE IMPORTED GLOBAL)
set_target_properties(neap3p::cli11 PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${NEAP_CLI11_INCLUDE}")

# ONNX Runtime: an installed one, else the folder that tools/bootstrap unpacked from the npm package.
set(NEAP_ONNXRUNTIME_DIR "${CMAKE_SOURCE_DIR}/build/deps/onnxruntime" CACHE PATH
  "Folder with include/onnxruntime_c_api.h and lib/libonnxruntime.so")
find_path(NEAP_ONNXRUNTIME_INCLUDE NAMES onnxruntime_c_api.h
  HINTS "${NEAP_ONNXRUNTIME_DIR}/include" PATH_SUFFIXES onnxruntime)
