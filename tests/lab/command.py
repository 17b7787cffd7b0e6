#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a command does under `bpfctl run` or in a cgroup endpoint: command.py CASE [ARGUMENT...], one line of result."""

import ctypes
import errno
import os
import socket
import struct
import subprocess
import sys

TIMEOUT = 4


def outcome(call):
    try:
        return call() or "ok"
    except socket.timeout:
        return "timeout"
    except OSError as e:
        return errno.errorcode.get(e.errno, str(e))


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def tcp(address, port):
    with socket.create_connection((address, int(port)), timeout=TIMEOUT):
        return "ok"


def udp(address, port):
    """One datagram by an unconnected socket, no answer awaited."""
    with socket.socket(family(address), socket.SOCK_DGRAM) as s:
        s.sendto(b"x", (address, int(port)))


def udp_connected(address, port):
    with socket.socket(family(address), socket.SOCK_DGRAM) as s:
        s.connect((address, int(port)))
        s.send(b"x")


def query(name, qtype=1):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", 0x1234, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", qtype, 1)


def answers(message):
    return f"rcode={message[3] & 15} answers={struct.unpack('!H', message[6:8])[0]}"


def dns_unconnected(name, *servers):
    """Several servers by one socket; each answer must come from the server asked last."""
    found = []
    with socket.socket(family(servers[0]), socket.SOCK_DGRAM) as s:
        s.settimeout(TIMEOUT)
        for server in servers:
            s.sendto(query(name), (server, 53))
            message, peer = s.recvfrom(4096)
            found.append(f"{answers(message)} from={'same' if peer[0] == server and peer[1] == 53 else peer}")
    return "; ".join(found)


def dns_connected(name, server):
    with socket.socket(family(server), socket.SOCK_DGRAM) as s:
        s.settimeout(TIMEOUT)
        s.connect((server, 53))
        s.send(query(name))
        peer = s.getpeername()
        return f"{answers(s.recv(4096))} peer={'same' if peer[:2] == (server, 53) else peer}"


def dns_tcp(name, server):
    with socket.create_connection((server, 53), timeout=TIMEOUT) as s:
        message = query(name)
        s.sendall(struct.pack("!H", len(message)) + message)
        size = struct.unpack("!H", s.recv(2))[0]
        message = b""
        while len(message) < size:
            message += s.recv(size - len(message))
        peer = s.getpeername()
        return f"{answers(message)} peer={'same' if peer[:2] == (server, 53) else peer}"


def raw(kind):
    kinds = {
        "packet": (socket.AF_PACKET, socket.SOCK_RAW, 3),
        "ip": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
        "icmp": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        "ip6": (socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW),
    }
    socket.socket(*kinds[kind]).close()


def write_procs(path):
    with open(path, "w", encoding="ascii") as f:
        f.write("0")


def mount_cgroup2(folder):
    """From a user namespace of our own, where we have every capability: may we write a cgroup above ours?"""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x10000000 | 0x00020000) < 0:  # CLONE_NEWUSER, CLONE_NEWNS
        raise OSError(ctypes.get_errno(), "unshare")
    os.makedirs(folder, exist_ok=True)
    if libc.mount(b"none", folder.encode(), b"cgroup2", 0, None) < 0:
        raise OSError(ctypes.get_errno(), "mount")
    write_procs(f"{folder}/cgroup.procs")
    return "moved to " + open("/proc/self/cgroup", encoding="ascii").read().splitlines()[-1]


def remount(path):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(None, path.encode(), None, 32 | 4096, None) < 0:  # MS_REMOUNT | MS_BIND
        raise OSError(ctypes.get_errno(), "remount")


def descriptor(number):
    os.fstat(int(number))
    return "open"


def own_server(address):
    """A server of the command's own on loopback, and a child that speaks to it."""
    with socket.socket(family(address), socket.SOCK_STREAM) as listener:
        listener.bind((address, 0))
        listener.listen()
        port = listener.getsockname()[1]
        code = f"import socket; s = socket.create_connection(({address!r}, {port}), 4); "
        code += "s.sendall(b'hello'); print(s.recv(9))"
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as child:
            listener.settimeout(TIMEOUT)
            peer = listener.accept()[0]
            peer.sendall(peer.recv(9))
            peer.close()
            return child.communicate()[0].decode().strip()


def ls(path):
    return " ".join(sorted(os.listdir(path))) or "empty"


def main():
    case = globals()[sys.argv[1]]
    print(outcome(lambda: case(*sys.argv[2:])))


main()
