# SPDX-License-Identifier: BSD-3-Clause
# Finds every library flowfs uses. libfuse and liburing come from build/deps where the
# distribution's are too old (scripts/setup puts them there), else from the system.

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
find_package(OpenSSL 3.0 REQUIRED COMPONENTS Crypto)
