#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
stream.py tcp|udp|push HOST PORT FILE: in a pod of a lab, sends "SLUICE-stream-PROTO" every 5 ms for ever, and keeps in
FILE how many were sent, failed and echoed. `push` asks the lab's echo server to send instead, and counts what comes.
"""

import json
import os
import selectors
import socket
import sys
import time


def connect(proto, host, port):
    kind = socket.SOCK_DGRAM if proto == "udp" else socket.SOCK_STREAM
    address = socket.getaddrinfo(host, port, socket.AF_INET, kind)[0][4]
    sock = socket.socket(socket.AF_INET, kind)
    sock.connect(address)
    if proto == "push":
        sock.sendall(b"push")
    sock.setblocking(False)
    return sock


def write(path, counts):
    with open(path + ".new", "w", encoding="ascii") as f:
        json.dump(counts, f)
    os.rename(path + ".new", path)


def main():
    proto, host, port, path = sys.argv[1:]
    if not os.path.exists("/run/inside-lab"):
        sys.exit("stream.py: runs inside a lab only")
    sock = connect(proto, host, int(port))
    counts = {"sent": 0, "failed": 0, "echoed": 0}
    selector = selectors.DefaultSelector()
    selector.register(sock, selectors.EVENT_READ)
    written = 0.0
    while True:
        if proto != "push":
            try:
                sock.send(b"SLUICE-stream-" + proto.encode() + b" ")
                counts["sent"] += 1
            except OSError:
                counts["failed"] += 1
        for _ in selector.select(0.005):
            try:
                counts["echoed"] += len(sock.recv(65536)) > 0
            except OSError:
                counts["failed"] += 1
        if time.monotonic() > written + 0.1:
            written = time.monotonic()
            write(path, counts)
        time.sleep(0.003)


main()
