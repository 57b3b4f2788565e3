# Language level, warnings, sanitizers, linker and compiler cache for every target.
set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# One code model for libraries and programs, so that all share one precompiled header.
add_compile_options(-fPIE)
add_link_options(-pie)
set(CMAKE_LINK_DEPENDS_NO_SHARED ON)

set(NEAP_SANITIZE "" CACHE STRING "Comma-separated sanitizers for -fsanitize, empty for none")
option(NEAP_COVERAGE "Build with source-based coverage" OFF)
option(NEAP_FUZZ "Build the libFuzzer targets" OFF)

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow -Wno-missing-field-initializers
  -Werror=return-type -Werror=unused-result -fno-omit-frame-pointer)
# A PCH that carries no timestamps can be cached.
add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:SHELL:-Xclang -fno-pch-timestamp>")

if(NEAP_SANITIZE)
  add_compile_options(-fsanitize=${NEAP_SANITIZE} -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=${NEAP_SANITIZE})
endif()
if(NEAP_COVERAGE)
  add_compile_options(-fprofile-instr-generate -fcoverage-mapping)
  add_link_options(-fprofile-instr-generate)
endif()

find_program(NEAP_LLD NAMES ld.lld-19)
if(NEAP_LLD)
  add_link_options(-fuse-ld=${NEAP_LLD})
endif()

find_program(NEAP_CCACHE NAMES ccache)
if(NEAP_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
    "CCACHE_BASEDIR=${CMAKE_SOURCE_DIR}" CCACHE_NOHASHDIR=true CCACHE_DEPEND=true
    "CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime"
    ${NEAP_CCACHE})
endif()

find_package(Threads REQUIRED)
