# Builds for arm64 with Debian's cross compiler against a Debian arm64 root (SLUICE_SYSROOT: tools/container/debian-root makes
# one), and runs what the build's tests run under qemu-user.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_STRIP aarch64-linux-gnu-strip)

set(SLUICE_SYSROOT "" CACHE PATH "A Debian arm64 root with the libraries Sluice is built with")
# A try_compile is a project of its own.
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES SLUICE_SYSROOT)
if(NOT EXISTS ${SLUICE_SYSROOT}/usr/include/bpf/bpf.h)
  message(FATAL_ERROR "SLUICE_SYSROOT=${SLUICE_SYSROOT} is no Debian arm64 root; tools/image --sysroot arm64 makes one")
endif()
set(CMAKE_SYSROOT ${SLUICE_SYSROOT})
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_DIR} "")
set(ENV{PKG_CONFIG_LIBDIR} ${SLUICE_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig:${SLUICE_SYSROOT}/usr/share/pkgconfig)
set(ENV{PKG_CONFIG_SYSROOT_DIR} ${SLUICE_SYSROOT})

find_program(SLUICE_QEMU_ARM64 NAMES qemu-aarch64-static qemu-aarch64)
if(SLUICE_QEMU_ARM64)
  set(CMAKE_CROSSCOMPILING_EMULATOR ${SLUICE_QEMU_ARM64} -L ${SLUICE_SYSROOT})
endif()
