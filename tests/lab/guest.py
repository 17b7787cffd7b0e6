#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Commands for a guest machine over a virtio serial port, so that the network under test carries nothing of them.

    guest.py serve                  in the guest: runs what comes, one at a time
    guest.py run SOCKET COMMAND…    on the host: as if the command ran here; its exit code is ours

The host sends a line of JSON, the command's words. Then both send frames: a kind, a length, that many bytes. Standard
input that has ended is a frame of no bytes.
"""

import glob
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time

IN, OUT, ERR, EXIT = range(4)
HEAD = struct.Struct("!BI")


def write_all(fd, data):
    while data:
        data = data[os.write(fd, data):]


def write_frame(fd, kind, data):
    write_all(fd, HEAD.pack(kind, len(data)) + data)


class Frames:
    """Bytes as they come in, frames as they are whole."""

    def __init__(self):
        self.rest = b""

    def take(self, data):
        self.rest += data
        while len(self.rest) >= HEAD.size:
            kind, size = HEAD.unpack_from(self.rest)
            if len(self.rest) < HEAD.size + size:
                return
            body, self.rest = self.rest[HEAD.size:HEAD.size + size], self.rest[HEAD.size + size:]
            yield kind, body


def command(port):
    """The next line; between two hosts the port reads as ended."""
    line = b""
    while not line.endswith(b"\n"):
        got = os.read(port, 1)
        line = line + got if got else b""
        if not got:
            time.sleep(0.05)
    return json.loads(line)


def feed(process, frames, data):
    """Standard input; a host that has gone ends the command."""
    if not data:
        process.kill()
        return False
    for _, body in frames.take(data):
        try:
            if body:
                process.stdin.write(body)
                process.stdin.flush()
            else:
                process.stdin.close()
        except (OSError, ValueError):
            pass
    return True


def relay(port, process):
    frames, waiting = Frames(), {process.stdout.fileno(): OUT, process.stderr.fileno(): ERR}
    host = [port]
    while waiting:
        for fd in select.select([*host, *waiting], [], [])[0]:
            data = os.read(fd, 65536)
            if fd == port:
                host = [port] if feed(process, frames, data) else []
            elif data:
                write_frame(port, waiting[fd], data)
            else:
                del waiting[fd]
    write_frame(port, EXIT, struct.pack("!i", process.wait()))


def serve():
    port = os.open(glob.glob("/dev/vport*p1")[0], os.O_RDWR)
    while True:
        words = command(port)
        pipe = subprocess.PIPE
        with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe) as process:
            relay(port, process)


def run(path, words):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        sock.sendall(json.dumps(words).encode() + b"\n")
        frames, inputs = Frames(), [sock.fileno(), 0]
        while True:
            for fd in select.select(inputs, [], [])[0]:
                data = os.read(fd, 65536)
                if fd == 0:
                    write_frame(sock.fileno(), IN, data)
                    inputs = inputs if data else inputs[:1]
                    continue
                if not data:
                    sys.exit("guest.py: the guest has gone")
                for kind, body in frames.take(data):
                    if kind == EXIT:
                        return struct.unpack("!i", body)[0] & 255
                    write_all(kind, body)


if sys.argv[1] == "serve":
    serve()
sys.exit(run(sys.argv[2], sys.argv[3:]))
