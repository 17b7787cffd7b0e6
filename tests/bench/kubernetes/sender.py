#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
sender.py send ADDRESS PORT FILE: a numbered datagram every millisecond, each with the time it was sent in FILE.
sender.py receive PORT FILE: the numbers of those that arrive.
"""

import socket
import sys
import time


def send(address, port, path):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setblocking(False)
    n, due = 0, time.monotonic()
    with open(path, "w", buffering=1) as f:
        while True:
            try:
                s.sendto(b"%d" % n, (address, port))
            except OSError:
                pass  # an answer to a denied one, where they are answered
            f.write(f"{n} {time.monotonic():.6f}\n")
            n, due = n + 1, max(due + 0.001, time.monotonic() - 0.01)
            time.sleep(max(0.0, due - time.monotonic()))


def receive(port, path):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    s.bind(("", port))
    with open(path, "w", buffering=1) as f:
        while True:
            f.write(s.recv(64).decode() + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        receive(int(sys.argv[2]), sys.argv[3])
