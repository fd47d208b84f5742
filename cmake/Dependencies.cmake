# Finds every library the build needs and, when some are missing, fails once with all of them and the line that installs them.

include(Version)

set(_missing "")
set(_apt "")
set(_dnf "")

macro(_llmbench_require found name apt dnf)
  if(NOT ${found})
    list(APPEND _missing "${name}")
    list(APPEND _apt ${apt})
    list(APPEND _dnf ${dnf})
  endif()
endmacro()

find_package(Threads QUIET)
find_package(CURL 7.85 QUIET)
find_package(OpenSSL QUIET)
find_package(simdjson QUIET)
find_package(absl QUIET)
find_package(SQLite3 QUIET)
find_path(LLMBENCH_BEAST_INCLUDE boost/beast/http/basic_parser.hpp)

_llmbench_require(CURL_FOUND "libcurl" libcurl4-openssl-dev libcurl-devel)
_llmbench_require(OPENSSL_FOUND "OpenSSL" libssl-dev openssl-devel)
_llmbench_require(simdjson_FOUND "simdjson" libsimdjson-dev simdjson-devel)
_llmbench_require(absl_FOUND "Abseil" libabsl-dev abseil-cpp-devel)
_llmbench_require(SQLite3_FOUND "SQLite" libsqlite3-dev sqlite-devel)
_llmbench_require(LLMBENCH_BEAST_INCLUDE "Boost (headers of Beast)" libboost-dev boost-devel)

if(LLMBENCH_BUILD_PYTHON)
  find_package(Python 3.10 COMPONENTS Interpreter Development.Module QUIET)
  find_package(pybind11 3.0 CONFIG QUIET)
  _llmbench_require(Python_FOUND "Python development headers" python3-dev python3-devel)
  if(NOT pybind11_FOUND)
    list(APPEND _missing "pybind11 3 (pip install 'pybind11>=3')")
  endif()
endif()
if(LLMBENCH_BUILD_TESTS)
  find_package(GTest QUIET)
  _llmbench_require(GTest_FOUND "GoogleTest" libgtest-dev gtest-devel)
endif()
if(LLMBENCH_BUILD_BENCHMARKS)
  find_package(benchmark QUIET)
  _llmbench_require(benchmark_FOUND "Google Benchmark" libbenchmark-dev google-benchmark-devel)
endif()

if(_missing)
  list(JOIN _missing ", " _missing_text)
  list(JOIN _apt " " _apt_text)
  list(JOIN _dnf " " _dnf_text)
  message(FATAL_ERROR
    "Missing: ${_missing_text}.\n"
    "  Debian, Ubuntu:  apt-get install -y --no-install-recommends g++ ${_apt_text}\n"
    "  Fedora:          dnf install -y gcc-c++ ${_dnf_text}\n")
endif()

if(LLMBENCH_BUILD_TESTS)
  include(GoogleTest)
endif()

add_library(llmbench_beast INTERFACE)
target_include_directories(llmbench_beast SYSTEM INTERFACE ${LLMBENCH_BEAST_INCLUDE})

# CMake 4.3 renamed the target.
add_library(llmbench_sqlite INTERFACE)
if(TARGET SQLite3::SQLite3)
  target_link_libraries(llmbench_sqlite INTERFACE SQLite3::SQLite3)
else()
  target_link_libraries(llmbench_sqlite INTERFACE SQLite::SQLite3)
endif()
