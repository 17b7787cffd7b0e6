# SPDX-License-Identifier: Apache-2.0
"""
For the programs beside this file, which run in a lab's node: sockets in any of its namespaces, DNS messages and what
comes back, what the scripted resolvers saw (upstream.py), and checks that print one line each.
"""

import contextlib
import ctypes
import ipaddress
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
import packets  # noqa: E402

if not os.path.exists("/run/inside-lab"):
    sys.exit("labdns.py: runs inside a lab only")

UPSTREAM, UPSTREAM6 = os.environ["LAB_UPSTREAM"], os.environ["LAB_UPSTREAM6"]
POD, NEIGHBOUR = "sandbox-agent", "neighbour"
GOOD4, GOOD6, PRIZE4, PRIZE6 = "203.0.113.10", "2001:db8:113::10", "198.51.100.30", "2001:db8:100::30"
KINDS = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "NULL": 10, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33,
         "DNAME": 39, "OPT": 41, "SVCB": 64, "HTTPS": 65, "ANY": 255, "PRIVATE": 65280}
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)

# ---- checks ----

failures = 0


def check(what, good, detail=""):
    global failures  # pylint: disable=global-statement
    print("ok  " if good else "FAIL", what + ("" if good or detail == "" else f": {detail}"), flush=True)
    failures += not good
    return good


def equal(what, wanted, got):
    return check(what, wanted == got, f"wanted {wanted!r}, got {got!r}")


def note(text):
    print("    ", text, flush=True)


def finish():
    sys.exit(min(failures, 100))


# ---- namespaces ----

LIBC = ctypes.CDLL(None, use_errno=True)


def set_namespace(fd):
    if LIBC.setns(fd, 0x40000000):  # CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def inside(namespace):
    """Sockets made here are of that network namespace, and stay so."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open("/run/netns/" + namespace, os.O_RDONLY)
    try:
        set_namespace(there)
        yield
    finally:
        set_namespace(home)
        os.close(there)
        os.close(home)


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def connected(address, port, pod=POD, kind=socket.SOCK_STREAM, timeout=2.0):
    with inside(pod):
        sock = socket.socket(family_of(address), kind)
    sock.settimeout(timeout)
    try:
        sock.connect((address, port))
    except OSError:
        sock.close()
        raise
    return sock


def opens(address, port=443, pod=POD):
    try:
        connected(address, port, pod, timeout=0.7).close()
        return True
    except OSError:
        return False


# ---- messages ----


def wire_name(text):
    return packets.name(*(label.encode("latin-1") for label in text.split(".") if label))


def option(code, data):
    return struct.pack("!HH", code, len(data)) + data


def opt(options=b"", size=1232, do=False, version=0):
    return b"\0" + struct.pack("!HHBBHH", 41, size, 0, version, 0x8000 if do else 0, len(options)) + options


def question(text, kind="A", edns=None, **header):
    """edns: an OPT record."""
    tail = edns or b""
    return packets.query(wire_name(text), KINDS.get(kind, kind), counts=(1, 0, 0, 1 if tail else 0), tail=tail,
                         **{"ident": struct.unpack("!H", os.urandom(2))[0], **header})


class Answer:
    """A message's header, question as bytes, records as (section, owner, type, ttl, data). Pointers are trusted."""

    def __init__(self, raw):
        self.raw = raw
        self.ident, self.flags, questions, *counts = struct.unpack("!6H", raw[:12])
        self.rcode, self.truncated = self.flags & 15, bool(self.flags & 0x0200)
        at = 12
        for _ in range(questions):
            at = self.name(at)[1] + 4
        self.question, self.records = raw[12:at], []
        for section, count in enumerate(counts):
            for _ in range(count):
                owner, at = self.name(at)
                kind, _, ttl, size = struct.unpack("!HHIH", raw[at:at + 10])
                self.records.append((section, owner, kind, ttl, raw[at + 10:at + 10 + size]))
                at += 10 + size
        self.whole = at == len(raw)

    def name(self, at):
        labels, end = [], None
        while self.raw[at]:
            if self.raw[at] >= 0xC0:
                end = end or at + 2
                at = (self.raw[at] & 0x3F) << 8 | self.raw[at + 1]
                continue
            labels.append(self.raw[at + 1:at + 1 + self.raw[at]].decode("latin-1"))
            at += 1 + self.raw[at]
        return ".".join(labels), end or at + 1

    def of(self, kind, section=0):
        return [r for r in self.records if r[0] == section and r[2] == KINDS[kind]]

    @property
    def addresses(self):
        return [socket.inet_ntop(family, r[4]) for r in self.records if r[0] == 0
                for family, size in ((socket.AF_INET, 4), (socket.AF_INET6, 16))
                if r[2] in (1, 28) and len(r[4]) == size]

    @property
    def soa(self):
        return self.of("SOA", 1)

    @property
    def blocked(self):
        """Extended DNS Error 15 (RFC 8914) and its text."""
        for record in self.of("OPT", 2):
            data = record[4]
            if data[:2] == b"\0\x0f" and struct.unpack("!H", data[4:6])[0] == 15:
                return data[6:].decode()
        return None

    @property
    def empty(self):
        """What a denial looks like: NOERROR, nothing in it, and an SOA, so that it can be cached (RFC 2308)."""
        return self.rcode == NOERROR and not [r for r in self.records if r[0] == 0] and len(self.soa) == 1


def prefixed(message):
    return struct.pack("!H", len(message)) + message


def read_exactly(sock, size):
    data = b""
    while len(data) < size:
        got = sock.recv(size - len(data))
        if not got:
            raise ConnectionError("closed")
        data += got
    return data


def read_message(sock):
    return read_exactly(sock, struct.unpack("!H", read_exactly(sock, 2))[0])


def exchange(message, server=UPSTREAM, pod=POD, tcp=False, timeout=3.0):
    """One message there, the first one back; None when none comes."""
    try:
        with connected(server, 53, pod, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM, timeout) as sock:
            sock.sendall(prefixed(message) if tcp else message)
            return Answer(read_message(sock) if tcp else sock.recv(65535))
    except OSError:
        return None


def ask(text, kind="A", edns=None, **where):
    return exchange(question(text, kind, edns), **where)


# ---- what else is to be seen ----


class Seen:
    """The queries that a scripted resolver wrote down."""

    def __init__(self, which="upstream"):
        self.path = f"{os.environ['LAB_DIR']}/seen-{which}.jsonl"
        self.start = 0
        self.mark()

    def mark(self):
        self.start = os.path.getsize(self.path)

    def rows(self, text=b""):
        """Those since the mark that hold `text`, whatever its case."""
        wanted = (text.encode("latin-1") if isinstance(text, str) else text).lower()
        with open(self.path, encoding="ascii") as f:
            f.seek(self.start)
            rows = [json.loads(line) for line in f if line.endswith("\n") and '"raw"' in line]
        for row in rows:
            row["raw"] = bytes.fromhex(row["raw"])
        return [row for row in rows if wanted in row["raw"].lower()]

    def count(self, text=b"", settle=0.15):
        time.sleep(settle)
        return len(self.rows(text))

    def wait(self, text, timeout=3.0):
        """The first that holds `text`."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            for row in self.rows(text):
                return row
            time.sleep(0.01)
        raise TimeoutError(text)


def bpfctl(*arguments):
    command = [os.environ["LAB_BPFCTL"], "-o", "json", *arguments]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def leases(address=None):
    same = address and ipaddress.ip_address(address)
    return [r for r in bpfctl("name", "list") if not address or ipaddress.ip_address(r["address"]) == same]


def dns_counts():
    return bpfctl("status")["dns_proxy"]["counts"]


def endpoint(path="agent-sandboxes/sandbox-agent"):
    return bpfctl("endpoint", "get", path)


def send_frames(frames, pod=POD):
    """Raw frames out of a pod's eth0; each a packet, to the node's end of the veth."""
    with inside(pod):
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        with open("/proc/thread-self/net/arp", encoding="ascii") as f:
            gateway = next(line.split()[3] for line in f if line.startswith("169.254.1.1 "))
    sock.bind(("eth0", 0))
    head = bytes.fromhex(gateway.replace(":", "")) + sock.getsockname()[4]
    for packet in frames:
        sock.send(head + (b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\x00") + packet)
    sock.close()


def switch(name, path="agent-sandboxes/sandbox-agent"):
    """Puts the policy that lib.sh prepared under that name in place of the pod's; waits until it is in force."""
    lab = os.environ["LAB_DIR"]
    target = f"{lab}/sluice/policies/{path.split('/')[1]}.yaml"
    before = endpoint(path)["policy_id"]
    shutil.copyfile(f"{lab}/policy-{name}.yaml", target + ".new")
    os.rename(target + ".new", target)
    until(lambda: endpoint(path)["policy_id"] != before)
    return endpoint(path)["policy_id"]


def until(condition, timeout=10.0):
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.02)
