#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
sender.py: a pod's only process, which does from its first instruction on both what its policy allows and what it does not:
every 50 ms a datagram and a SYN, of each family, to addresses that no policy lists (the canary counts what of them leaves
the node), and four times a second a connection to an allowed name. One line for the first connection, one for each change
from working to failing and back.
"""

import socket
import threading
import time

FORBIDDEN = ((socket.AF_INET, "6.6.6.6"), (socket.AF_INET6, "2001:db8:666::6"))
ALLOWED = ("pypi.org", 443)


def say(*words):
    print("%.3f" % time.time(), *words, flush=True)


def send_forbidden():
    for family, address in FORBIDDEN:
        with socket.socket(family, socket.SOCK_DGRAM) as s, socket.socket(family, socket.SOCK_STREAM) as c:
            for sock, call in ((s, lambda: s.sendto(b"SLUICE-faults", (address, 9))), (c, lambda: c.connect((address, 443)))):
                sock.setblocking(False)
                try:
                    call()
                except OSError:
                    pass


def forbidden_for_ever():
    while True:
        send_forbidden()
        time.sleep(0.05)


def connect_allowed():
    """None, or what went wrong."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(*ALLOWED, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as s:
            s.settimeout(2)
            s.connect(address)
        return None
    except OSError as e:
        return str(e)


send_forbidden()
began = time.monotonic()
wrong = connect_allowed()
say("first", "ok" if wrong is None else "failed", "%.3f" % (time.monotonic() - began), wrong or "")
threading.Thread(target=forbidden_for_ever, daemon=True).start()
was = wrong
while True:
    wrong = connect_allowed()
    if (wrong is None) != (was is None):
        say("works" if wrong is None else "fails", wrong or "")
    was = wrong
    time.sleep(0.25)
