# SPDX-License-Identifier: BSD-3-Clause
# Finds every library flowfs uses. libfuse, liburing and, where it was asked for, OpenSSL come from
# build/deps where the distribution's are too old (scripts/setup puts them there), else from the system.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

set(FLOWFS_DEPS "${CMAKE_SOURCE_DIR}/build/deps" CACHE PATH "prefix of libraries built by scripts/setup")
set(ENV{PKG_CONFIG_PATH} "${FLOWFS_DEPS}/lib/pkgconfig:$ENV{PKG_CONFIG_PATH}")

pkg_check_modules(fuse3 REQUIRED IMPORTED_TARGET fuse3>=3.17)
pkg_check_modules(liburing REQUIRED IMPORTED_TARGET liburing>=2.6)
pkg_check_modules(libcap REQUIRED IMPORTED_TARGET libcap)
pkg_check_modules(libsystemd REQUIRED IMPORTED_TARGET libsystemd)
pkg_check_modules(ncursesw REQUIRED IMPORTED_TARGET ncursesw)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)

# One that scripts/setup --with-openssl has built goes before the system's, also in a build folder
# that has found that one already.
if(EXISTS "${FLOWFS_DEPS}/lib/libcrypto.a")
  set(OPENSSL_ROOT_DIR "${FLOWFS_DEPS}")
  if(NOT "${OPENSSL_CRYPTO_LIBRARY}" STREQUAL "${FLOWFS_DEPS}/lib/libcrypto.a")
    unset(OPENSSL_INCLUDE_DIR CACHE)
    unset(OPENSSL_CRYPTO_LIBRARY CACHE)
  endif()
endif()
find_package(OpenSSL 3.0 REQUIRED COMPONENTS Crypto)
