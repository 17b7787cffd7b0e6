#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
poor_api.py PORT UPSTREAM CERTIFICATE KEY FOLDER: stands between a client and an API server
(https://…), and serves it as
poorly as the file FOLDER/mode says. When that changes, watches under way end:

  well        what the server says
  expired     every watch is answered 410
  gone        every watch begins, and is ended by an ERROR event of code 410
  busy        429, Retry-After: 1, to everything
  storm       429 without a word of when, to everything
  cut         every body ends in the middle, and the connection with it
  slow        bodies come in pieces of at most 64 bytes, a hundred a second
  pages       the token of every second page has expired
  down        500 to everything

The client's token must be the one in FOLDER/token; it is exchanged for the server's,
FOLDER/upstream. FOLDER/requests gets
a line for each request: time, status, path.
"""

import http.client
import http.server
import json
import os
import random
import socket
import ssl
import sys
import threading
import time

FOLDER = ""
UPSTREAM = ""
LOCK = threading.Lock()
WATCHES = set()


def read(name):
    with open(os.path.join(FOLDER, name)) as f:
        return f.read().strip()


def status(code, reason, message):
    return json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code,
                       "message": message}).encode()


class Cut(Exception):
    pass


class Poor(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):
        pass

    def note(self, code):
        with LOCK, open(os.path.join(FOLDER, "requests"), "a") as f:
            f.write(f"{time.monotonic():.3f} {code} {self.path}\n")

    def answer(self, code, body, headers=()):
        self.note(code)
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for key, value in headers:
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def refused(self):
        """Answered without the server?"""
        mode, watch = read("mode"), "watch=1" in self.path
        if self.headers.get("Authorization") != "Bearer " + read("token"):
            self.answer(401, status(401, "Unauthorized", "Unauthorized"))
        elif mode in ("busy", "storm"):
            self.answer(429, status(429, "TooManyRequests", "try again"), [("Retry-After", "1")] * (mode == "busy"))
        elif mode == "down":
            self.answer(500, status(500, "InternalError", "internal error"))
        elif mode == "expired" and watch:
            self.answer(410, status(410, "Expired", "too old resource version"))
        elif mode == "pages" and "continue=" in self.path and random.random() < 0.5:
            self.answer(410, status(410, "Expired", "the provided continue parameter is too old"))
        elif mode == "gone" and watch:
            event = {"type": "ERROR", "object": json.loads(status(410, "Expired", "too old resource version"))}
            self.answer(200, json.dumps(event).encode() + b"\n")
        else:
            return False
        return True

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def pass_on(self, data):
        mode = read("mode")
        if mode == "cut" and data:
            self.chunk(data[:random.randrange(len(data))] or data[:1])
            raise Cut
        size = 64 if mode == "slow" else len(data)
        for i in range(0, len(data), size or 1):
            if mode == "slow":
                time.sleep(0.01)
            self.chunk(data[i:i + size])

    def stream(self, answer):
        while True:
            data = answer.read1(65536)
            if not data:
                return
            self.pass_on(data)

    def do_GET(self):
        if self.refused():
            return
        upstream = http.client.HTTPSConnection(UPSTREAM, context=ssl._create_unverified_context(), timeout=3600)
        try:
            upstream.request("GET", self.path, headers={"Authorization": "Bearer " + read("upstream"),
                                                        "Accept": "application/json"})
            if "watch=1" in self.path:
                WATCHES.add(upstream.sock)
            answer = upstream.getresponse()
            self.note(answer.status)
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.getheader("Content-Type", "application/json"))
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.stream(answer)
            self.chunk(b"")
        except (OSError, Cut, http.client.HTTPException):
            self.close_connection = True
        finally:
            WATCHES.discard(upstream.sock)
            upstream.close()


def end_watches():
    """Whenever the mode changes, so that it is met by all."""
    mode = read("mode")
    while True:
        time.sleep(0.1)
        now = read("mode")
        if now == mode:
            continue
        mode = now
        for sock in list(WATCHES):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def finish_request(self, request, client_address):
        request.settimeout(10)
        with self.tls.wrap_socket(request, server_side=True) as wrapped:
            wrapped.settimeout(None)
            self.RequestHandlerClass(wrapped, client_address, self)

    def handle_error(self, request, client_address):
        pass  # clients come and go


def main():
    global FOLDER, UPSTREAM
    port, UPSTREAM, certificate, key, FOLDER = sys.argv[1:]
    server = Server(("127.0.0.1", int(port)), Poor)
    server.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.tls.load_cert_chain(certificate, key)
    server.tls.set_alpn_protocols(["http/1.1"])
    threading.Thread(target=end_watches, daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
