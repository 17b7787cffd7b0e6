# sluice_bpf_object(NAME [SOURCE]): compiles SOURCE, without it bpf/NAME.bpf.c, and makes the interface library bpf-NAME, whose users may include
# "NAME.skel.h". Header dependencies come from clang's own depfile, so a changed header rebuilds object and skeleton.
find_program(SLUICE_BPF_CLANG NAMES clang-14 clang REQUIRED)
find_program(SLUICE_BPFTOOL NAMES bpftool PATHS /usr/sbin /sbin REQUIRED)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  set(SLUICE_BPF_TRIPLE aarch64-linux-gnu)
else()
  set(SLUICE_BPF_TRIPLE x86_64-linux-gnu)
endif()
# Headers of the machine that is built for. Without a sysroot that is this machine's own, where clang looks by itself.
set(SLUICE_BPF_INCLUDES -isystem ${CMAKE_SYSROOT}/usr/include/${SLUICE_BPF_TRIPLE})
if(CMAKE_SYSROOT)
  list(APPEND SLUICE_BPF_INCLUDES --sysroot=${CMAKE_SYSROOT} -isystem ${CMAKE_SYSROOT}/usr/include)
endif()

function(sluice_bpf_object name)
  set(source ${CMAKE_SOURCE_DIR}/bpf/${name}.bpf.c)
  if(ARGN)
    set(source ${ARGN})
  endif()
  set(object ${CMAKE_BINARY_DIR}/bpf/${name}.bpf.o)
  set(skeleton ${CMAKE_BINARY_DIR}/bpf/skel/${name}.skel.h)
  add_custom_command(
    OUTPUT ${object}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/bpf/skel
    COMMAND ${SLUICE_BPF_CLANG} -target bpf -mcpu=v3 -g -O2 -mllvm -no-stack-slot-sharing -std=gnu17 -Wall -Wextra -Werror
            -ffile-prefix-map=${CMAKE_SOURCE_DIR}=. -I${CMAKE_SOURCE_DIR} ${SLUICE_BPF_INCLUDES}
            -MD -MF ${object}.d -MT ${object} -c ${source} -o ${object}
    DEPENDS ${source}
    DEPFILE ${object}.d
    COMMENT "BPF object ${name}"
    VERBATIM)
  add_custom_command(
    OUTPUT ${skeleton}
    COMMAND ${SLUICE_BPFTOOL} gen skeleton ${object} name ${name}_bpf > ${skeleton}.tmp
    COMMAND ${CMAKE_COMMAND} -E rename ${skeleton}.tmp ${skeleton}
    DEPENDS ${object}
    COMMENT "BPF skeleton ${name}"
    VERBATIM)
  add_custom_target(bpf-${name}-skeleton DEPENDS ${skeleton})
  add_library(bpf-${name} INTERFACE)
  add_dependencies(bpf-${name} bpf-${name}-skeleton)
  target_include_directories(bpf-${name} SYSTEM INTERFACE ${CMAKE_BINARY_DIR}/bpf/skel)
endfunction()
