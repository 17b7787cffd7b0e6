#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
names_truth.py TRUTH [PORT...]: rows "NAME TYPE" on standard input, all asked in turn of the pod's resolver; then all
that was answered, and all that the name has in truth, is connected to. A line for each row: rcode, answers, open ports;
"-" for none. TRUTH keeps what the names have: it is written when it does not exist yet.

TYPE libc: the name as getaddrinfo() takes it, final dot and all. TYPE none: not asked, only connected to.
"""

import json
import os
import re
import socket
import struct
import sys
from concurrent.futures import ThreadPoolExecutor

TYPES = {"A": 1, "AAAA": 28, "TXT": 16, "HTTPS": 65}
RCODES = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}


def resolver():
    with open("/etc/resolv.conf", encoding="ascii") as conf:
        return re.search(r"nameserver (\S+)", conf.read()).group(1)


def skip_name(message, at):
    while message[at] and message[at] < 192:
        at += 1 + message[at]
    return at + (2 if message[at] else 1)


def read_answers(message):
    """Addresses of the answer section, in order."""
    questions, answers = struct.unpack(">HH", message[4:8])
    at, found = 12, []
    for _ in range(questions):
        at = skip_name(message, at) + 4
    for _ in range(answers):
        at = skip_name(message, at)
        rtype, _, _, length = struct.unpack(">HHIH", message[at : at + 10])
        data = message[at + 10 : at + 10 + length]
        at += 10 + length
        if rtype == 1:
            found.append(socket.inet_ntop(socket.AF_INET, data))
        elif rtype == 28:
            found.append(socket.inet_ntop(socket.AF_INET6, data))
    return found


def ask(number, name, rtype):
    labels = b"".join(bytes([len(label)]) + label.encode("ascii") for label in name.split("."))
    query = struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", TYPES[rtype], 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(3)
        sock.connect((resolver(), 53))
        sock.send(query)
        message = sock.recv(65536)
    if message[:2] != query[:2] or message[12 : 12 + len(labels)] != labels:
        return "ANOTHER", []
    return RCODES.get(message[3] & 15, str(message[3] & 15)), read_answers(message)


def ask_libc(name):
    try:
        return "NOERROR", sorted({info[4][0] for info in socket.getaddrinfo(name, 443, socket.AF_INET)})
    except socket.gaierror as error:
        return {socket.EAI_NODATA: "NODATA", socket.EAI_NONAME: "NONAME"}.get(error.errno, str(error)), []


def ask_row(number, name, rtype):
    if rtype == "none":
        return "-", []
    try:
        return ask_libc(name) if rtype == "libc" else ask(number, name, rtype)
    except socket.timeout:
        return "TIMEOUT", []


def connects(where):
    try:
        with socket.create_connection(where, timeout=1):
            return True
    except OSError:
        return False


def main():
    truth_path, ports = sys.argv[1], [int(port) for port in sys.argv[2:]]
    rows = [line.split()[:2] for line in sys.stdin if line.split()]
    replies = [ask_row(1 + i, *row) for i, row in enumerate(rows)]
    truth = {}
    if os.path.exists(truth_path):
        with open(truth_path, encoding="utf-8") as file:
            truth = json.load(file)
    else:
        for (name, rtype), (_, answers) in zip(rows, replies):
            truth[f"{name} {rtype}"] = answers
        with open(truth_path, "w", encoding="utf-8") as file:
            json.dump(truth, file)

    def addresses(name, rtype, answers):
        key = f"{name.lower().rstrip('.')} {rtype if rtype in TYPES else 'A'}"
        return sorted(set(answers) | set(truth.get(key, [])))

    wanted = {(a, p) for row, reply in zip(rows, replies) for a in addresses(*row, reply[1]) for p in ports}
    with ThreadPoolExecutor(max(1, len(wanted))) as pool:
        is_open = dict(zip(wanted, pool.map(connects, wanted)))
    for row, (rcode, answers) in zip(rows, replies):
        to = addresses(*row, answers)
        opened = [str(p) for p in ports if to and all(is_open[a, p] for a in to)]
        some = [f"some:{p}" for p in ports if str(p) not in opened and any(is_open[a, p] for a in to)]
        print(rcode, ",".join(sorted(answers)) or "-", ",".join(opened + some) or "-")


main()
