#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""bedrock.py PORT: answers POST /model/ID/converse and /model/ID/invoke in the shape of Amazon Bedrock's runtime."""

import http.server
import json
import re
import sys
import urllib.parse

USAGE = {"inputTokens": 9, "outputTokens": 6, "totalTokens": 15}


def reply_to(text):
    return f"I was asked {len(text)} characters and may answer."


def converse(request):
    text = "".join(part.get("text", "") for m in request["messages"] for part in m["content"])
    message = {"role": "assistant", "content": [{"text": reply_to(text)}]}
    return {"output": {"message": message}, "stopReason": "end_turn", "usage": USAGE, "metrics": {"latencyMs": 1}}


def invoke(request):
    text = json.dumps(request.get("messages", request.get("prompt", "")))
    return {"type": "message", "role": "assistant", "content": [{"type": "text", "text": reply_to(text)}]}


OPERATIONS = {"converse": converse, "invoke": invoke}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):  # noqa: N802 (the base class chose the name)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = re.fullmatch(r"/model/([^/]+)/(converse|invoke)", urllib.parse.unquote(self.path))
        signature = self.headers.get("Authorization", "")
        key = re.match(r"AWS4-HMAC-SHA256 Credential=(\w+)/", signature)
        if not key:
            self.answer(403, {"message": "Missing Authentication Token"})
        elif not path:
            self.answer(404, {"message": "Unknown operation"})
        else:
            try:
                self.answer(200, OPERATIONS[path[2]](json.loads(body)))
                print("answered", key[1], file=sys.stderr, flush=True)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                self.answer(400, {"message": f"Malformed input request: {error!r}"})

    def log_message(self, fmt, *args):
        print(fmt % args, file=sys.stderr, flush=True)


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
