#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
upstream.py [--lie] LOG ADDRESS...: a resolver on port 53 (UDP and TCP) whose answer the name's first label chooses,
WORD[NUMBER][-ARGUMENT]: `chain7.ok.example`, `late500-c0000201.ok.example`. ANSWERS and SENDERS have the words; any
other is answered like `plain`. An argument of 4 or 16 bytes in hex is the address in place of the usual one. Every
query is written to LOG before it is answered, one JSON line each, as received.

GOOD is what an honest answer holds; PRIZE is what a dishonest one wants to have opened, and what --lie gives for GOOD.
"""

import heapq
import json
import os
import re
import selectors
import socket
import struct
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from packets import name as wire_labels, packed

A, NS, CNAME, SOA, AAAA, DNAME, OPT, HTTPS = 1, 2, 5, 6, 28, 39, 41, 65
GOOD = {A: "203.0.113.10", AAAA: "2001:db8:113::10"}
PRIZE = {A: "198.51.100.30", AAAA: "2001:db8:100::30"}


def wire_name(text):
    return wire_labels(*(label.encode("latin-1") for label in text.split(".") if label))


def record(owner, kind, data, ttl=60):
    return wire_name(owner) + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


class Query:
    def __init__(self, message):
        self.raw = message
        self.ident, self.flags = struct.unpack("!HH", message[:4])
        labels, at = [], 12
        while message[at]:
            labels.append(message[at + 1:at + 1 + message[at]].decode("latin-1"))
            at += 1 + message[at]
        self.name = ".".join(labels)
        self.kind = struct.unpack("!H", message[at + 1:at + 3])[0]
        self.question = message[12:at + 5]
        self.parent = ".".join(labels[1:])
        word = re.match(r"([a-z]+)(\d*)(?:-([a-z0-9]*))?", labels[0].lower()) if labels else None
        self.word, self.number, self.argument = (word[1], int(word[2] or 0), word[3]) if word else ("", 0, "")
        # The size the asker takes: OPT is the last record of a query that has one.
        opt = message[at + 5:]
        self.size = struct.unpack("!H", opt[3:5])[0] if opt[:3] == b"\0\0\x29" else 512

    def answer(self, answers=(), authority=(), additional=(), rcode=0, flags=0, **change):
        bits = (0x8180 ^ change.get("clear", 0)) | flags | rcode
        counts = 1, len(answers), len(authority), len(additional)
        head = struct.pack("!6H", change.get("ident", self.ident), bits, *counts)
        return head + change.get("question", self.question) + b"".join((*answers, *authority, *additional))

    def address(self, addresses=None, owner=None, ttl=60):
        """The records of that family at `owner`."""
        if re.fullmatch("[0-9a-f]{8}|[0-9a-f]{32}", self.argument or "") and not addresses:
            data = {A if len(self.argument) == 8 else AAAA: bytes.fromhex(self.argument)}.get(self.kind)
        else:
            data = packed((addresses or GOOD)[self.kind]) if self.kind in GOOD else None
        return [record(owner or self.name, self.kind, data, ttl)] if data else []

    def plain(self, **change):
        return self.answer(self.address(), **change)

    def prize(self, **change):
        return self.answer(self.address(PRIZE), **change)


# ---- answers: one message ----


def soa(q):
    return record(q.parent, SOA, wire_name("ns.lab") + wire_name("me.lab") + struct.pack("!5I", 1, 2, 3, 4, 30), 30)


def cname(owner, target, ttl=60):
    return record(owner, CNAME, wire_name(target), ttl)


def addr(q):
    """addr-HEX: that address, and the other family is empty."""
    return q.answer(q.address(), [soa(q)])


def mixed(q):
    """mixed-HEX: the good one, that address, and the good one again."""
    good = q.address(GOOD)
    return q.answer([*good, *q.address(), *good] if q.address() else [], [soa(q)])


def foreign(q):
    return q.answer(q.address(PRIZE, "evil.example") + q.address() + q.address(PRIZE, "www." + q.name))


def alone(q):
    return q.answer(q.address(PRIZE, "evil.example"))


def glue(q):
    return q.answer(q.address(), [record(q.parent, NS, wire_name("ns." + q.name)), *q.address(PRIZE, q.name)],
                    [*q.address(PRIZE, "ns." + q.name), *q.address(PRIZE, q.name)])


def chain(q):
    """chain<n>: n CNAMEs, then the address."""
    names = [q.name] + [f"hop{i}.elsewhere.example" for i in range(1, q.number + 1)]
    links = [cname(names[i], names[i + 1]) for i in range(q.number)]
    return q.answer(links + q.address(owner=names[-1]))


def loop(q):
    return q.answer([cname(q.name, "a.loop.example"), cname("a.loop.example", q.name), *q.address(PRIZE)])


def itself(q):
    return q.answer([cname(q.name, q.name), *q.address(PRIZE)])


def dname(q):
    """RFC 6672 section 3.1: the CNAME is made for those who know no DNAME."""
    target = q.name.split(".")[0] + ".moved.example"
    return q.answer([record(q.parent, DNAME, wire_name("moved.example")), cname(q.name, target),
                     *q.address(owner=target)])


def dnamebare(q):
    target = q.name.split(".")[0] + ".moved.example"
    return q.answer([record(q.parent, DNAME, wire_name("moved.example")), *q.address(PRIZE, target)])


def many(q):
    """many<n>: n addresses, the last of them 203.0.113.10 again."""
    return q.answer([record(q.name, A, bytes((203, 0, 113, 11 + i % 240))) for i in range(q.number - 1)] + q.address())


def ttl(q):
    return q.answer(q.address(ttl=q.number))


def chainttl(q):
    """chainttl<n>: the CNAME lives n seconds, the address 300."""
    target = "t.elsewhere.example"
    return q.answer([cname(q.name, target, q.number), *q.address(owner=target, ttl=300)])


def hints(q):
    """HTTPS with ipv4hint (4), ech (5) and ipv6hint (6): RFC 9460."""
    parameters = b"".join(struct.pack("!HH", key, len(value)) + value for key, value in
                          ((4, packed(PRIZE[A])), (5, b"\0" * 32), (6, packed(PRIZE[AAAA]))))
    https = record(q.name, HTTPS, struct.pack("!H", 1) + b"\0" + parameters)
    return q.answer([*q.address(), https] if q.kind != HTTPS else [https], (), [https, *q.address(PRIZE)])


def tc(q):
    """By UDP truncated, with what must not be believed; by TCP whole."""
    return q.prize(flags=0x0200)


def negative(rcode):
    return lambda q: q.answer((), [soa(q)], rcode=rcode)


def malformed(q):
    """bad-WHAT"""
    good = q.plain()
    owner = wire_name(q.name)
    body = struct.pack("!HHIH", A, 1, 60, 4) + packed(PRIZE[A])
    head = q.answer()[:6] + b"\0\1" + q.answer()[8:]
    return {
        "cut": good[:-3],
        "header": good[:11],
        "count": good[:6] + b"\0\5" + good[8:],
        "self": head + struct.pack("!H", 0xC000 | len(head)) + body,
        "forward": head + struct.pack("!H", 0xC000 | len(head) + 16) + body,
        "rdlen": head + owner + body[:8] + b"\xff\xff" + body[10:],
        "label": head + b"\x7f" + b"x" * 127 + b"\0" + body,
        "long": head + (b"\x3f" + b"x" * 63) * 5 + b"\0" + body,
        "short4": head + owner + body[:8] + b"\0\3" + body[10:13],
        "nothing": b"",
    }[q.argument]


ANSWERS = {
    "addr": addr, "mixed": mixed, "foreign": foreign, "alone": alone, "glue": glue, "chain": chain, "loop": loop,
    "itself": itself, "dname": dname, "dnamebare": dnamebare, "many": many, "ttl": ttl, "chainttl": chainttl,
    "hints": hints, "tc": tc, "bad": malformed, "nxdomain": negative(3), "servfail": negative(2),
    "refused": negative(5), "cname": lambda q: q.answer([cname(q.name, "www.denied.example"),
                                                         *q.address(owner="www.denied.example")]),
}


# ---- senders: several messages, or at another time; each a list of (seconds, message, source) ----


def later(q):
    """late<n>: after n milliseconds."""
    return [(q.number / 1000, q.answer(q.address(ttl=0)), None)]


def lie(**change):
    """A wrong answer at once, the right one 200 ms later."""
    return lambda q: [(0, q.prize(**{k: v(q) if callable(v) else v for k, v in change.items()}), None),
                      (0.2, q.plain(), None)]


def elsewhere(source):
    """The prize in an answer that is right but for where it comes from."""
    return lambda q: [(0, q.prize(), source), (0.2, q.plain(), None)]


SENDERS = {
    "late": later,
    "silent": lambda q: [],
    "wrongid": lie(ident=lambda q: q.ident ^ 1),
    "wrongname": lie(question=lambda q: wire_name("evil.example") + q.question[-4:]),
    "wrongtype": lie(question=lambda q: q.question[:-4] + b"\0\x10\0\1"),
    "notanswer": lie(clear=0x8000),
    "wrongport": elsewhere("port"),
    "wrongaddress": elsewhere("address"),
}


def replies(q, tcp):
    if q.word in SENDERS:
        return SENDERS[q.word](q)
    message = q.prize() if q.word == "tc" and tcp else ANSWERS.get(q.word, Query.plain)(q)
    if not tcp and len(message) > q.size and q.word != "bad":
        message = q.answer(flags=0x0200)
    return [(0, message, None)]


# ---- program ----


class Log:
    def __init__(self, path):
        self.out = open(path, "w", encoding="ascii", buffering=1)  # pylint: disable=consider-using-with
        self.lock = threading.Lock()

    def write(self, proto, peer, message):
        line = json.dumps({"time": time.monotonic(), "proto": proto, "from": peer[0], "port": peer[1],
                           "raw": message.hex()})
        with self.lock:
            print(line, file=self.out)


def parse(message):
    try:
        return Query(message)
    except (IndexError, struct.error, ValueError):
        return None


def exactly(connection, size):
    data = b""
    while len(data) < size:
        got = connection.recv(size - len(data))
        if not got:
            raise ConnectionError
        data += got
    return data


def serve_stream(connection, peer, log):
    try:
        while True:
            message = exactly(connection, struct.unpack("!H", exactly(connection, 2))[0])
            log.write("tcp", peer, message)
            query = parse(message)
            for wait, data, _ in replies(query, True) if query else ():
                time.sleep(wait)
                connection.sendall(struct.pack("!H", len(data)) + data)
    except OSError:
        connection.close()


def serve_streams(listener, log):
    while True:
        connection, peer = listener.accept()
        threading.Thread(target=serve_stream, args=(connection, peer, log), daemon=True).start()


def bind(kind, address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind((address, port))
    return sock


class Side:
    """The UDP side of one address, with what it takes to answer from the wrong place."""

    def __init__(self, address):
        self.family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.sock, stray = bind(socket.SOCK_DGRAM, address, 53), bind(socket.SOCK_DGRAM, address, 0)
        self.sock.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
        self.sources = {None: self.sock, "port": stray, "address": stray}

    def send(self, message, source, peer):
        try:
            self.sources[source].sendto(message, peer)
        except OSError:
            pass


def serve_datagrams(selector, log):
    due, count = [], 0
    while True:
        wait = max(0, due[0][0] - time.monotonic()) if due else None
        for key, _ in selector.select(wait):
            message, peer = key.fileobj.recvfrom(65535)
            log.write("udp", peer, message)
            query = parse(message)
            for after, data, source in replies(query, False) if query else ():
                count += 1
                heapq.heappush(due, (time.monotonic() + after, count, key.data, data, source, peer))
        while due and due[0][0] <= time.monotonic():
            _, _, side, data, source, peer = heapq.heappop(due)
            side.send(data, source, peer)


def main():
    arguments = sys.argv[1:]
    if arguments[0] == "--lie":
        GOOD.update(PRIZE)
        arguments.pop(0)
    path, *addresses = arguments
    if not os.path.exists("/run/inside-lab"):
        sys.exit("upstream.py: runs inside a lab only")
    log = Log(path)
    selector = selectors.DefaultSelector()
    sides = [Side(address) for address in addresses]
    for side in sides:
        for other in sides:
            if other is not side and other.family == side.family:
                side.sources["address"] = other.sock
        selector.register(side.sock, selectors.EVENT_READ, side)
    for address in addresses:
        listener = bind(socket.SOCK_STREAM, address, 53)
        listener.listen(128)
        threading.Thread(target=serve_streams, args=(listener, log), daemon=True).start()
    print(json.dumps({"upstream": "listening"}), file=log.out)
    serve_datagrams(selector, log)


main()
