#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
sender.py [--every SECONDS] TARGET...: a container's first process. From its first instruction on it tries each target,
again and again, and writes JSON lines: one whenever an outcome changes, and one a second.

    udp/ADDRESS/PORT    one datagram to an echo, from a new port; the answer must come
    flow/ADDRESS/PORT   the same, from one port for ever
    tcp/HOST/PORT       a connection; HOST may be a name
    dns/SERVER/NAME     one question by UDP; an answer with an address must come. Asked once more if none came

What must not get through is written with a leading `-`, what is allowed at times with `?`: these are given up sooner.
An attempt is one datagram, so that one that was lost is counted as lost, and `first` tells of the very first one.
"""

import json
import os
import signal
import socket
import struct
import sys
import threading
import time

STARTED = time.time()
LOCK = threading.Lock()


def opened(address, port, kind, wait):
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    s.settimeout(wait)
    try:
        s.connect((address, int(port)))
    except OSError:
        s.close()
        raise
    return s


def echoed(s, payload):
    s.send(payload)
    while s.recv(2048) != payload:  # an answer that came too late for the attempt before
        pass
    return True


def question(name):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return os.urandom(2) + struct.pack("!5H", 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)


class Target:
    def __init__(self, text, every):
        self.text, self.every = text, every
        self.sign = text[0] if text[0] in "-?" else "+"
        self.kind, self.host, self.what = text.lstrip("-?").split("/")
        self.wait = 5 if self.sign == "+" else 0.5
        self.socket = None
        self.told = {"tried": 0, "answered": 0, "lost": 0, "retried": 0, "slowest": 0,
                     "first": None, "last": None, "since": STARTED}

    def udp(self):
        with opened(self.host, self.what, socket.SOCK_DGRAM, self.wait) as s:
            return echoed(s, os.urandom(8))

    def flow(self):
        self.socket = self.socket or opened(self.host, self.what, socket.SOCK_DGRAM, self.wait)
        return echoed(self.socket, os.urandom(8))

    def tcp(self):
        for found in socket.getaddrinfo(self.host, self.what, socket.AF_UNSPEC, socket.SOCK_STREAM)[:1]:
            opened(found[4][0], self.what, socket.SOCK_STREAM, self.wait).close()
        return True

    def dns(self):
        message = question(self.what)
        with opened(self.host, 53, socket.SOCK_DGRAM, self.wait) as s:
            s.send(message)
            answer = s.recv(4096)
        return answer[:2] == message[:2] and struct.unpack("!H", answer[6:8])[0] > 0

    def once(self):
        try:
            return getattr(self, self.kind)()
        except OSError:
            return False

    def attempt(self):
        told, begun = self.told, time.monotonic()
        first = got = self.once()
        if not got and self.kind == "dns" and self.sign == "+":
            got = self.once()
        with LOCK:
            told["tried"] += 1
            told["answered" if got else "lost"] += 1
            told["retried"] += first is not got
            told["slowest"] = max(told["slowest"], round(time.monotonic() - begun, 3) if got else 0)
            if told["first"] is None:
                told["first"] = first
            changed = told["last"] is not got
            if changed:
                told["last"], told["since"] = got, time.time()
        return changed

    def run(self):
        while True:
            if self.attempt():
                tell()
            time.sleep(self.every)


def tell():
    with LOCK:
        print(json.dumps({"pod": os.environ.get("HOSTNAME"), "started": STARTED, "time": time.time(),
                          "targets": {t.text: t.told for t in TARGETS}}), flush=True)


words = sys.argv[1:]
interval = 0.3
if words[0] == "--every":
    interval, words = float(words[1]), words[2:]
TARGETS = [Target(w, interval) for w in words]
for target in TARGETS:
    threading.Thread(target=target.run, daemon=True).start()
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
while True:
    time.sleep(1)
    tell()
