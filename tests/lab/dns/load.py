#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
load.py POD RATE SECONDS RESULT: a client that asks RATE times a second, by turns for a name that is allowed and one
that is not, each query from a socket of its own as resolver libraries do, and once more after RETRY seconds when
nothing came. RESULT gets one JSON object: what was lost at first and for good, what was wrong, and the latencies.
"""

import heapq
import json
import os
import selectors
import socket
import sys
import time

from labdns import UPSTREAM, Answer, inside, question

RETRY, GIVE_UP = 2.5, 5.0  # musl: attempts 2, timeout 5
ALLOWED, DENIED = "plain-load.near.example", "load.evil.example"


class Client:
    def __init__(self):
        self.counts = {"sent": 0, "retried": 0, "lost": 0, "wrong": 0, "servfail": 0}
        self.selector, self.due, self.latencies, self.first_lost = selectors.DefaultSelector(), [], [], []
        self.messages = [question(ALLOWED), question(DENIED)]

    def begin(self, now):
        number = self.counts["sent"]
        self.counts["sent"] += 1
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.connect((UPSTREAM, 53))
        query = {"sock": sock, "message": self.messages[number % 2], "allowed": number % 2 == 0, "start": now,
                 "tries": 0}
        self.selector.register(sock, selectors.EVENT_READ, query)
        self.send(query, now)

    def send(self, query, now):
        query["tries"] += 1
        try:
            query["sock"].send(query["message"])
        except OSError:
            pass
        heapq.heappush(self.due, (now + (RETRY if query["tries"] == 1 else GIVE_UP), id(query), query))

    def end(self, query):
        self.selector.unregister(query["sock"])
        query["sock"].close()
        query["tries"] = 0

    def receive(self, query, now):
        try:
            data = query["sock"].recv(4096)
        except OSError:
            return
        answer = Answer(data)
        self.latencies.append(now - query["start"])
        if answer.rcode == 2:
            self.counts["servfail"] += 1
        elif data[:2] != query["message"][:2] or answer.question != query["message"][12:] or \
                answer.addresses != (["203.0.113.10"] if query["allowed"] else []):
            self.counts["wrong"] += 1
        self.end(query)

    def overdue(self, now):
        while self.due and self.due[0][0] <= now:
            query = heapq.heappop(self.due)[2]
            if query["tries"] == 1:
                self.counts["retried"] += 1
                self.first_lost.append(query["start"])
                self.send(query, now)
            elif query["tries"] == 2:
                self.counts["lost"] += 1
                self.end(query)

    def run(self, rate, seconds):
        start = time.monotonic()
        while True:
            now = time.monotonic()
            while self.counts["sent"] < min(now - start, seconds) * rate:
                self.begin(now)
            for key, _ in self.selector.select(0.001):
                self.receive(key.data, time.monotonic())
            self.overdue(now)
            if now - start > seconds and not self.selector.get_map():
                return


def percentile(values, share):
    """In milliseconds, of sorted seconds."""
    return round(values[min(len(values) - 1, int(len(values) * share))] * 1000, 2) if values else -1


def main():
    pod, rate, seconds, path = sys.argv[1:]
    client = Client()
    with inside(pod):
        client.run(int(rate), float(seconds))
    values = sorted(client.latencies)
    gap = round(max(client.first_lost) - min(client.first_lost), 2) if client.first_lost else 0
    result = {**client.counts, "p50_ms": percentile(values, 0.5), "p99_ms": percentile(values, 0.99),
              "max_ms": percentile(values, 1), "seconds_without_answers": gap}
    with open(path + ".new", "w", encoding="ascii") as out:
        json.dump(result, out)
    os.rename(path + ".new", path)


main()
