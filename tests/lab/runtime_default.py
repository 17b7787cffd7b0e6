#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
runtime_default.py COMMAND...: runs a command under what matters here of containerd's seccomp profile RuntimeDefault for
a container without CAP_BPF: bpf(2) fails with EPERM.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
ALLOW, ERRNO = 0x7FFF0000, 0x00050000

# struct sock_filter: code, jump if true, jump if false, k; the system call's number is the first word of what it sees.
program = b"".join(struct.pack("HBBI", *i) for i in [
    (0x20, 0, 0, 0),
    (0x15, 0, 1, BPF),
    (0x06, 0, 0, ERRNO | errno.EPERM),
    (0x06, 0, 0, ALLOW),
])
text = ctypes.create_string_buffer(program, len(program))
sock_fprog = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(text))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, sock_fprog, 0, 0):
    sys.exit(os.strerror(ctypes.get_errno()))
os.execvp(sys.argv[1], sys.argv[1:])
