#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
many_pods.py make COUNT [--cni PLUGIN] [--settings JSON] [--seconds S]
    Makes COUNT pods in a row, in the network namespace it runs in (the lab's node). Each pod sends a frame to the
    internet every 200 µs or so, after 20 ms every 2 ms, for S seconds: from before its interface is there or, with
    --cni, from the moment that plugin's ADD has returned. Writes one JSON line per pod: when its making began, when the
    kernel announced it, when it sent.
many_pods.py report PODS CANARY [--none]
    Holds that against what a canary saw and prints what got out, when each pod was closed, and percentiles. Fails when
    a pod sent nothing or was never closed; with --none, when anything got out.
"""

import argparse
import ctypes
import fcntl
import hashlib
import json
import os
import re
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
TARGET = "203.0.113.10"
PAUSE, DENSE = 0.0002, 0.02


def interface(index):
    return "eni" + hashlib.sha1(f"burst.pod-{index}".encode()).hexdigest()[:11]


def mac(index):
    return f"02:5b:00:00:{index >> 8:02x}:{index & 255:02x}"


def address(index):
    return f"10.77.{index >> 8}.{index & 255}"


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frame(index):
    payload = f"SLUICE-p{index}-{time.monotonic_ns()}".encode()
    udp = struct.pack("!HHHH", 4000, 9, 8 + len(payload), 0)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + 8 + len(payload), 0, 0x4000, 64, 17, 0,
                       socket.inet_aton(address(index)), socket.inet_aton(TARGET))
    head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
    to = bytes.fromhex(mac(index).replace(":", ""))
    return to + bytes([2, 0, 0, 0, 0, 1]) + b"\x08\x00" + head + udp + payload


def set_up(name):
    """Sets the interface up as soon as it is there; no look-up by name fails loudly before."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    while True:
        try:
            request = struct.pack("16sH14x", name.encode(), 0)
            flags = struct.unpack("16sH14x", fcntl.ioctl(sock, SIOCGIFFLAGS, request))[1]
            fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", name.encode(), flags | IFF_UP))
            return
        except OSError:
            time.sleep(PAUSE / 4)


def pod(index, seconds, wait, ready, go, report):
    """The pod's own process: its namespace ends with it."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        os._exit(1)
    os.write(ready, b"x")
    set_up("eth0")
    if wait:
        os.read(go, 1)
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sock.bind(("eth0", 0))
    times, begin = [], time.monotonic()
    while time.monotonic() < begin + seconds:
        data = frame(index)
        try:
            sock.send(data)
            times.append(int(data.rsplit(b"-", 1)[1]))
        except OSError:
            pass
        time.sleep(PAUSE if time.monotonic() < begin + DENSE else 10 * PAUSE)
    if not wait:
        os.read(go, 1)  # whoever made the interface still looks at it
    # In one piece, which a file that is appended to keeps together and a pipe of more than PIPE_BUF bytes does not.
    os.write(report, (json.dumps({"pod": index, "sent": times}) + "\n").encode())
    os._exit(0)


class Announcements(threading.Thread):
    """When the kernel tells of each interface: the first RTM_NEWLINK that has its name."""

    def __init__(self):
        super().__init__(daemon=True)
        self.times = {}
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
        self.sock.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
        self.sock.bind((0, 1))

    def run(self):
        while True:
            data = self.sock.recv(65536)
            now = time.monotonic_ns()
            found = re.search(rb"eni[0-9a-f]{11}", data)
            if found:
                self.times.setdefault(found[0].decode(), now)


class Lock(threading.Thread):
    """How long the RTNL lock, one for all namespaces of the machine, keeps whoever wants it."""

    def __init__(self):
        super().__init__(daemon=True)
        self.waits = []

    def run(self):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        flags = struct.unpack("16sH14x", fcntl.ioctl(sock, SIOCGIFFLAGS, struct.pack("16sH14x", b"lo", 0)))[1]
        while True:
            start = time.monotonic_ns()
            fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags))
            self.waits.append((time.monotonic_ns() - start) / 1e6)
            time.sleep(0.005)


def cni_add(options, index, pid):
    interfaces = [{"name": interface(index)}, {"name": "eth0", "sandbox": f"/proc/{pid}/ns/net"}]
    previous = {"cniVersion": "1.0.0", "interfaces": interfaces}
    config = {"cniVersion": "1.0.0", "name": "lab", "type": "sluice-cni", "prevResult": previous}
    config.update(json.loads(options.settings))
    environment = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": f"pod-{index}", "CNI_NETNS": f"/proc/{pid}/ns/net",
                   "CNI_IFNAME": "eth0", "CNI_PATH": "/"}
    done = subprocess.run([options.cni], env=environment, input=json.dumps(config), capture_output=True, text=True,
                          check=False)
    if done.returncode != 0 or json.loads(done.stdout) != previous:
        sys.exit(f"sluice-cni ADD: {done.returncode}: {done.stdout} {done.stderr}")


def wait_line(stream, sign):
    """The batch's answer to a command that prints nothing is the next one's that does."""
    while sign not in stream.readline():
        pass


def make(options):
    heard = Announcements()
    heard.start()
    lock = Lock()
    lock.start()
    tool = subprocess.Popen(["ip", "-batch", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
    scratch = tempfile.NamedTemporaryFile("r", encoding="ascii")
    report_fd = os.open(scratch.name, os.O_WRONLY | os.O_APPEND)
    began, children = {}, []
    for index in range(options.count):
        read_ready, write_ready = os.pipe()
        read_go, write_go = os.pipe()
        child = os.fork()
        if child == 0:
            pod(index, options.seconds, bool(options.cni), write_ready, read_go, report_fd)
        os.read(read_ready, 1)
        began[index] = time.monotonic_ns()
        tool.stdin.write(f"link add {interface(index)} up address {mac(index)} type veth peer name eth0 netns {child}\n"
                         f"link show {interface(index)}\n")
        wait_line(tool.stdout, "link/ether")
        if options.cni:
            cni_add(options, index, child)
        os.write(write_go, b"x")
        for fd in (read_ready, write_ready, read_go, write_go):
            os.close(fd)
        children.append(child)
    os.close(report_fd)
    for child in children:
        os.waitpid(child, 0)
    with scratch:
        for line in scratch:
            record = json.loads(line)
            record.update(began=began[record["pod"]], announced=heard.times.get(interface(record["pod"])))
            print(json.dumps(record))
    print(json.dumps({"lock": lock.waits}))
    tool.stdin.close()
    tool.wait()


def percentiles(what, values):
    values = sorted(values)
    text = ", ".join(f"p{p} {values[min(len(values) - 1, len(values) * p // 100)]:.2f}" for p in (50, 90, 99))
    print(f"     {what}: {text}, max {values[-1]:.2f} ms (of {len(values)})")


def report(options):
    with open(options.pods, encoding="ascii") as f:
        records = [json.loads(line) for line in f]
    pods = [r for r in records if "pod" in r]
    out = {}
    with open(options.canary, encoding="ascii") as f:
        for line in f:
            seen = json.loads(line) if line.endswith("\n") else {}
            marker = re.fullmatch(r"SLUICE-p(\d+)-(\d+)", seen.get("marker", ""))
            if marker:
                out.setdefault(int(marker[1]), set()).add(int(marker[2]))
    problems, after_announcement, after_beginning, leaked, last_out = 0, [], [], [], []
    for p in pods:
        got_out = sorted(t for t in p["sent"] if t in out.get(p["pod"], ()))
        closed = [t for t in p["sent"] if not got_out or t > got_out[-1]]
        leaked.append(len(got_out))
        if not p["sent"] or not closed:
            problems += 1
            print(f"     pod {p['pod']}: {'never closed' if p['sent'] else 'sent nothing'}")
            continue
        after_beginning.append((closed[0] - p["began"]) / 1e6)
        if p["announced"]:
            last_out.append(max(0, (got_out[-1] - p["announced"]) / 1e6) if got_out else 0)
            after_announcement.append((closed[0] - p["announced"]) / 1e6)
    total = sum(leaked)
    print(f"     {len(pods)} pods sent {sum(len(p['sent']) for p in pods)} frames; {total} got out, of "
          f"{sum(1 for n in leaked if n)} pods, at most {max(leaked, default=0)} of one")
    if not options.none and after_announcement:
        # Between the two lies the closing; how far apart they are is the sender's share of a busy machine.
        percentiles("last frame that got out, after the announcement (0: none did)", last_out)
        percentiles("first frame stopped, after the announcement", after_announcement)
        percentiles("the same, after its making began", after_beginning)
        percentiles("the RTNL lock meanwhile, for whoever wants it", [w for r in records for w in r.get("lock", [])])
        print(f"     later than 5 ms after the announcement: {sum(1 for t in last_out if t > 5)} for certain, "
              f"{sum(1 for t in after_announcement if t > 5)} at most")
    sys.exit(1 if problems or (options.none and total) or not pods else 0)


def main():
    if not os.path.exists("/run/inside-lab"):
        sys.exit("many_pods.py: runs inside a lab only")
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("make")
    one.add_argument("count", type=int)
    one.add_argument("--cni")
    one.add_argument("--settings", default="{}")
    one.add_argument("--seconds", type=float, default=0.5)
    other = commands.add_parser("report")
    other.add_argument("pods")
    other.add_argument("canary")
    other.add_argument("--none", action="store_true")
    options = parser.parse_args()
    if options.command == "make":
        make(options)
    else:
        report(options)


main()
