#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
imds.py ADDRESS...: EC2's instance metadata, on port 80 of each address: session tokens (IMDSv2), the instance's
identity and its role's credentials. Credentials are what a pod would steal here; these are worth nothing.
"""

import http.server
import json
import secrets
import socket
import sys
import threading

ROLE = "sluice-lab-node"
CREDENTIALS = {
    "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIALABNODELABNODE01", "SecretAccessKey": "lab",
    "Token": "lab", "LastUpdated": "2026-01-01T00:00:00Z", "Expiration": "2099-01-01T00:00:00Z",
}
PAGES = {
    "/latest/meta-data/": "instance-id\niam/\nplacement/\n",
    "/latest/meta-data/instance-id": "i-0123456789abcdef0",
    "/latest/meta-data/placement/region": "us-west-2",
    "/latest/meta-data/iam/security-credentials/": ROLE,
    f"/latest/meta-data/iam/security-credentials/{ROLE}": json.dumps(CREDENTIALS, indent=1),
    "/latest/dynamic/instance-identity/document": json.dumps({"region": "us-west-2", "accountId": "123456789012"}),
}
TOKENS = set()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, text):
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_PUT(self):  # noqa: N802 (the base class chose the name)
        if self.path != "/latest/api/token":
            self.answer(404, "")
        elif not self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "").isdigit():
            self.answer(400, "")
        else:
            token = secrets.token_urlsafe(32)
            TOKENS.add(token)
            self.answer(200, token)

    def do_GET(self):  # noqa: N802
        if self.headers.get("X-aws-ec2-metadata-token") not in TOKENS:
            self.answer(401, "")
        elif self.path in PAGES:
            self.answer(200, PAGES[self.path])
        else:
            self.answer(404, "")

    def log_message(self, fmt, *args):
        print(self.client_address[0], fmt % args, file=sys.stderr, flush=True)


class Server(http.server.ThreadingHTTPServer):
    def __init__(self, address):
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        super().__init__((address, 80), Handler)

    def server_bind(self):  # not HTTPServer's, which asks the resolver for the address's name
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.server_address[:2]


def main():
    servers = [Server(address) for address in sys.argv[1:]]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    servers[0].serve_forever()


main()
