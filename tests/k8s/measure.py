#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
What figures.sh measures with. In pods:

    measure.py verdicts ADDRESS PORT SECONDS
        a datagram every millisecond to an echo; prints the times (seconds since the epoch) at which it was sent, of the
        first and last one of each row answered
    measure.py dns SERVER NAME SECONDS
        a question every 5 ms at most, one after another; prints JSON: how many, how many unanswered within a second,
        and percentiles in microseconds
    measure.py flood ADDRESS PORT SECONDS
        datagrams as fast as they go; prints how many

and on a node, with a kubeconfig of tests/cluster/pki.sh:

    measure.py patch KUBECONFIG PATH BODY [PATH BODY]... PAUSE TIMES
        the patches (merge patches) in turn; prints the times at which each was sent and answered
"""

import http.client
import json
import os
import re
import select
import socket
import ssl
import struct
import sys
import time


def datagrams(address):
    return socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)


def verdicts(address, port, seconds):
    s, end, answered = datagrams(address), time.time() + float(seconds), []
    s.connect((address, int(port)))
    s.setblocking(False)
    while time.time() < end:
        try:
            s.send(struct.pack("!d", time.time()))
        except OSError:
            pass
        until = time.time() + 0.001
        while select.select([s], [], [], max(0.0, until - time.time()))[0]:
            try:
                answered.append(struct.unpack("!d", s.recv(64))[0])
            except OSError:
                pass
    rows = []
    for t in sorted(answered):
        if rows and t - rows[-1][1] < 0.15:
            rows[-1][1] = t
        else:
            rows.append([t, t])
    print(json.dumps(rows))


def dns(server, name, seconds):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    s, end, took, lost = datagrams(server), time.monotonic() + float(seconds), [], 0
    s.connect((server, 53))
    s.settimeout(1)
    while time.monotonic() < end:
        ident, sent = os.urandom(2), time.monotonic()
        s.send(ident + struct.pack("!5H", 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1))
        try:
            while s.recv(4096)[:2] != ident:
                pass
            took.append(time.monotonic() - sent)
        except OSError:
            lost += 1
        time.sleep(max(0.0, 0.005 - (time.monotonic() - sent)))
    took.sort()
    print(json.dumps({"asked": len(took) + lost, "lost": lost,
                      **{f"p{p}": round(1e6 * took[len(took) * p // 100]) for p in (50, 90, 99)}}))


def flood(address, port, seconds):
    s, end, n = datagrams(address), time.monotonic() + float(seconds), 0
    while time.monotonic() < end:
        for _ in range(100):
            try:
                s.sendto(b"flood", (address, int(port)))
                n += 1
            except OSError:
                pass
    print(n)


def patch(kubeconfig, *words):
    with open(kubeconfig, encoding="utf-8") as f:
        text = f.read()
    server, ca, token = (re.search(p, text)[1] for p in (r'server: "https://([^"]+)"', r"authority: ([^}]+)}",
                                                          r"token: ([^}]+)}"))
    api = http.client.HTTPSConnection(server, context=ssl.create_default_context(cafile=ca))
    patches, pause, times = list(zip(words[:-2:2], words[1:-2:2])), float(words[-2]), int(words[-1])
    told = []
    for i in range(times):
        path, body = patches[i % len(patches)]
        time.sleep(pause)
        sent = time.time()
        api.request("PATCH", path, body, {"Authorization": f"Bearer {token}",
                                          "Content-Type": "application/merge-patch+json"})
        answer = api.getresponse()
        answer.read()
        if answer.status != 200:
            sys.exit(f"measure.py: {path}: HTTP {answer.status}")
        told.append([sent, time.time()])
    print(json.dumps(told))


{"verdicts": verdicts, "dns": dns, "flood": flood, "patch": patch}[sys.argv[1]](*sys.argv[2:])
