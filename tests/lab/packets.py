# SPDX-License-Identifier: Apache-2.0
"""Packets as bytes, made by hand, so that nothing between here and the wire improves them. For frames.py."""

import socket
import struct

TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
FIN, SYN, RST, ACK = 1, 2, 4, 16


def packed(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


# ---- layers: each takes what it carries as bytes ----


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def over(src, dst, proto, data):
    """The checksum with the pseudo header of the addresses' family."""
    s, d = packed(src), packed(dst)
    if len(s) == 4:
        return checksum(s + d + struct.pack("!BBH", 0, proto, len(data)) + data)
    return checksum(s + d + struct.pack("!II", len(data), proto) + data)


def tcp(src, dst, sport, dport, flags, data, options=b""):
    words = 5 + len(options) // 4

    def header(total):
        fixed = (sport, dport, 1000, 2000 if flags & ACK else 0, words << 4, flags, 65000, total, 0)
        return struct.pack("!HHIIBBHHH", *fixed) + options

    return header(over(src, dst, TCP, header(0) + data)) + data


def udp(src, dst, sport, dport, data):
    def header(total):
        return struct.pack("!HHHH", sport, dport, 8 + len(data), total)

    return header(over(src, dst, UDP, header(0) + data) or 0xFFFF) + data


def icmp(src, dst, kind, code, rest, data):
    """Either family's: rest is the header's second word."""
    body = struct.pack("!BBHI", kind, code, 0, rest) + data
    total = over(src, dst, ICMP6, body) if ":" in src else checksum(body)
    return body[:2] + struct.pack("!H", total) + body[4:]


def ip4(src, dst, proto, data, ident=1, frag=0, options=b"", ttl=64):
    length = 20 + len(options) + len(data)
    head = struct.pack("!BBHHHBBH", 0x45 + len(options) // 4, 0, length, ident, frag, ttl, proto, 0)
    head += packed(src) + packed(dst) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + data


def ip6(src, dst, proto, data, hops=64):
    return struct.pack("!IHBB", 6 << 28, len(data), proto, hops) + packed(src) + packed(dst) + data


def ip(src, dst, proto, data):
    return ip6(src, dst, proto, data) if ":" in src else ip4(src, dst, proto, data)


def fragment6(proto, data, offset, more, ident=77):
    return struct.pack("!BBHI", proto, 0, offset << 3 | more, ident) + data


def extension(following, data=b"\1\4\0\0\0\0"):
    """One options or routing header around its body; the default is a PadN."""
    return struct.pack("!BB", following, (len(data) + 2) // 8 - 1) + data


# ---- DNS ----


def name(*labels):
    return b"".join(bytes([len(part)]) + part for part in labels) + b"\0"


def query(qname, qtype=1, ident=0x1234, flags=0x0100, counts=(1, 0, 0, 0), tail=b""):
    return struct.pack("!HH4H", ident, flags, *counts) + qname + struct.pack("!HH", qtype, 1) + tail
