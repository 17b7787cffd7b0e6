#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
bulk.py SHA256 MEGABYTES: in the pod, fetches https://pypi.org/simple/bulk, which must have that hash, then sends that
many megabytes to echo.example.com:7000 and reads them back. Prints both rates in MB/s.
"""

import hashlib
import socket
import sys
import threading
import time
import urllib.request

MEGABYTE = bytes(range(256)) * 4096


def fetch(wanted):
    begin, digest, size = time.monotonic(), hashlib.sha256(), 0
    with urllib.request.urlopen("https://pypi.org/simple/bulk", timeout=30) as answer:
        while data := answer.read(1 << 16):
            digest.update(data)
            size += len(data)
    if digest.hexdigest() != wanted:
        sys.exit(f"bulk.py: {size} bytes arrived, and not the right ones")
    return size / 1e6 / (time.monotonic() - begin)


def echo(megabytes):
    begin, back = time.monotonic(), hashlib.sha256()
    with socket.create_connection(("echo.example.com", 7000), timeout=30) as sock:
        def read():
            left = megabytes << 20
            while left and (data := sock.recv(1 << 16)):
                back.update(data)
                left -= len(data)

        reader = threading.Thread(target=read)
        reader.start()
        for _ in range(megabytes):
            sock.sendall(MEGABYTE)
        reader.join()
    if back.digest() != hashlib.sha256(MEGABYTE * megabytes).digest():
        sys.exit("bulk.py: what came back is not what was sent")
    return megabytes * 1.048576 / (time.monotonic() - begin)


print(f"{fetch(sys.argv[1]):.1f} {echo(int(sys.argv[2])):.1f}")
