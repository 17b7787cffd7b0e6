#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
canary.py FILE [INTERFACE]: writes one JSON line per frame that arrives (not those sent) on this network namespace's
interfaces. Runs where nothing from the pod under test must arrive. No filter: ARP and neighbour discovery between the
lab's own hosts are written too, and told apart by whoever counts (`marker` is the text of a test's own frames).
SIGTERM ends it; its last line then says how many frames the kernel had no room for.

canary.py --count FILE EXPRESSION: how many frames of that file satisfy the Python expression over r, a frame; also
while they are being written. r["time"] is the machine's monotonic clock. Fails where frames were lost: none of those
is counted.
"""

import ipaddress
import json
import os
import re
import signal
import socket
import struct
import sys
import time

MARKER = re.compile(rb"SLUICE-[a-z0-9-]+", re.IGNORECASE)  # in a DNS name the case may have changed
EXTENSIONS = (0, 43, 44, 60)


def ports(record, proto, data):
    if proto in (6, 17, 132, 136) and len(data) >= 4:
        record["sport"], record["dport"] = struct.unpack("!HH", data[:4])
    elif proto in (1, 58) and len(data) >= 2:
        record["type"], record["code"] = data[0], data[1]


def decode(data):
    record = {"ethertype": struct.unpack("!H", data[12:14])[0], "len": len(data)}
    body = data[14:]
    if record["ethertype"] == 0x0800 and len(body) >= 20:
        record["src"], record["dst"] = (str(ipaddress.ip_address(body[i:i + 4])) for i in (12, 16))
        record["proto"], record["frag"] = body[9], struct.unpack("!H", body[6:8])[0] & 0x3FFF
        if record["frag"] & 0x1FFF == 0:
            ports(record, body[9], body[(body[0] & 15) * 4:])
    elif record["ethertype"] == 0x86DD and len(body) >= 40:
        record["src"], record["dst"] = (str(ipaddress.ip_address(body[i:i + 16])) for i in (8, 24))
        proto, rest = body[6], body[40:]
        while proto in EXTENSIONS and len(rest) >= 8:
            proto, rest = rest[0], rest[8 if proto == 44 else rest[1] * 8 + 8:]
        record["proto"] = proto
        ports(record, proto, rest)
    found = MARKER.search(data)
    if found:
        record["marker"] = found[0].decode()
    return record


def listen(path, interface):
    if not os.path.exists("/run/inside-lab"):
        sys.exit("canary.py: runs inside a lab only")
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sock.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
    if interface:
        sock.bind((interface, 3))
    sock.settimeout(0.1)
    ended = []
    # Only noted: a line written from here, in the middle of another, would raise instead.
    signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
    with open(path, "w", encoding="ascii", buffering=1) as out:
        print(json.dumps({"canary": "listening", "pid": os.getpid()}), file=out)
        while not ended:
            try:
                data, address = sock.recvfrom(65536)
            except TimeoutError:
                continue
            if address[2] == socket.PACKET_OUTGOING or address[0] == "lo":
                continue
            record = {"time": time.monotonic(), "interface": address[0]}
            record.update(decode(data))
            print(json.dumps(record), file=out)
        _, lost = struct.unpack("II", sock.getsockopt(263, 6, 8))  # SOL_PACKET, PACKET_STATISTICS
        print(json.dumps({"canary": "ended", "lost": lost}), file=out)


def count(path, expression):
    wanted, found = compile(expression, "expression", "eval"), 0
    with open(path, encoding="ascii") as lines:
        for line in lines:
            r = json.loads(line) if line.endswith("\n") else {}
            if r.get("lost"):
                sys.exit(f"canary.py: {path}: {r['lost']} frames were lost")
            found += "time" in r and bool(eval(wanted, {"r": r}))
    print(found)


if sys.argv[1] == "--count":
    count(*sys.argv[2:])
else:
    listen(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
