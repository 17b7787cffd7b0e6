#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
drive.py fill PODS POLICIES LOCAL | churn|soak CHANGES PODS POLICIES LOCAL PID… | labels CHANGES SINK |
policies CHANGES SINK:
on the lab's node, against the API server there (run). `fill` makes the objects, `churn` changes them as fast as the
server takes it and shows the memory of the processes meanwhile, `soak` does so in four parts with a pause after each,
the others change what one pod may send and measure when it is so.

Changes leave every object as large as it was, so that memory that grows is the processes' own doing.

The pod, `probe` in namespace bench-0, sends a numbered datagram every millisecond (sender.py); SINK/sent and SINK/got
say when each was sent and which arrived.
"""

import http.client
import json
import queue
import random
import ssl
import statistics
import sys
import threading
import time

NAMESPACES, TIERS, NODES = 50, 20, 100
CNP = "/apis/cilium.io/v2/namespaces/{}/ciliumnetworkpolicies"


class Api:
    def __init__(self):
        self.connection = http.client.HTTPSConnection("127.0.0.1", 6443, context=ssl._create_unverified_context())

    def call(self, method, path, body=None, kind="application/json"):
        headers = {"Authorization": "Bearer token", "Content-Type": kind}
        for again in (True, True, False):
            try:
                self.connection.request(method, path, json.dumps(body) if body is not None else None, headers)
                answer = self.connection.getresponse()
                data = answer.read()
                if answer.status == 429 and again:
                    time.sleep(0.2)
                    continue
                return answer.status, data
            except (OSError, http.client.HTTPException):
                self.connection.close()
                if not again:
                    raise
        return 0, b""

    def patch(self, path, body):
        return self.call("PATCH", path, body, "application/merge-patch+json")


def namespace(i):
    return f"bench-{i % NAMESPACES}"


def address(i):
    return f"10.{64 + i // 62500}.{i // 250 % 250}.{i % 250 + 1}"


def pod(i, node):
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": f"pod-{i}", "namespace": namespace(i),
                         "labels": {"app": f"app-{i % 200}", "tier": f"t{i % TIERS}",
                                    "pod-template-hash": f"{i % 997:x}", "turn": "00000"},
                         "annotations": {"example.com/what-others-write": "x" * 200}},
            "spec": {"nodeName": node, "serviceAccountName": "default",
                     "containers": [{"name": "main", "image": "registry.example.com/team/image:1.2.3",
                                     "env": [{"name": f"VARIABLE_{k}", "value": "y" * 40} for k in range(20)],
                                     "ports": [{"name": "http", "containerPort": 8080}],
                                     "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}]}}


def status(i):
    return {"status": {"phase": "Running", "podIP": address(i), "podIPs": [{"ip": address(i)}],
                       "conditions": [{"type": "Ready", "status": "True"}]}}


def policy(i, turn=0):
    space, tier = i % NAMESPACES, i // NAMESPACES % TIERS
    return {"apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
            "metadata": {"name": f"policy-{i}", "namespace": f"bench-{space}"},
            "spec": {"endpointSelector": {"matchLabels": {"tier": f"t{tier}"}},
                     "egress": [{"toFQDNs": [{"matchName": f"turn-{turn:05d}-{k}.p{i}.example.com"} for k in range(4)] +
                                 [{"matchPattern": f"*.p{i}.example.com"}],
                                 "toPorts": [{"ports": [{"port": "443", "protocol": "TCP"}]}]},
                                {"toCIDR": [f"198.18.{i // 250}.{i % 250}/32"]},
                                {"toEndpoints": [{"matchLabels": {"app": f"app-{(i + turn * NAMESPACES) % 200}"}}]}]}}


def each(items, work, threads=8):
    """work(api, item) for all, by several connections."""
    todo, wrong = queue.SimpleQueue(), []
    for item in items:
        todo.put(item)

    def run():
        api = Api()
        while True:
            try:
                item = todo.get_nowait()
            except queue.Empty:
                return
            code, data = work(api, item)
            if code not in (200, 201, 409):
                wrong.append((item, code, data[:200]))

    crew = [threading.Thread(target=run) for _ in range(threads)]
    for t in crew:
        t.start()
    for t in crew:
        t.join()
    if wrong:
        sys.exit(f"{len(wrong)} requests failed: {wrong[0]}")


def fill(pods, policies, local):
    def make_space(api, i):
        return api.call("POST", "/api/v1/namespaces",
                        {"metadata": {"name": f"bench-{i}", "labels": {"team": f"{i % 7}"}}})

    def make_pod(api, i):
        path = f"/api/v1/namespaces/{namespace(i)}/pods"
        api.call("POST", path, pod(i, "node1" if i < local else f"other-{i % NODES}"))
        return api.patch(f"{path}/pod-{i}/status", status(i))

    def make_policy(api, i):
        return api.call("POST", CNP.format(namespace(i)), policy(i))

    each(range(NAMESPACES), make_space)
    each(range(pods), make_pod)
    each(range(policies), make_policy)


def memory(pid):
    """Pss in KiB: all, anonymous, of files."""
    found = {}
    with open(f"/proc/{pid}/smaps_rollup") as f:
        for line in f:
            words = line.split()
            if words[0] in ("Pss:", "Pss_Anon:", "Pss_File:"):
                found[words[0]] = int(words[1])
    return found["Pss:"], found["Pss_Anon:"], found["Pss_File:"]


def show(when, pids):
    rows = [memory(p) for p in pids]
    print(f"{when}: {sum(r[0] for r in rows) / 1024:.1f} MiB = " +
          " + ".join(f"{r[0] / 1024:.1f} ({r[1] / 1024:.1f} anonymous, {r[2] / 1024:.1f} file)" for r in rows),
          flush=True)


def change(api, n, pods, policies, local):
    """The n-th: three of five a pod's labels, one a policy, one a pod made anew on another node."""
    what = random.random()
    i = random.randrange(local) if what < 0.2 else random.randrange(local, pods)
    path = f"/api/v1/namespaces/{namespace(i)}/pods"
    if what < 0.6:
        labels = {"tier": f"t{random.randrange(TIERS)}", "turn": f"{n:05d}"}
        code, data = api.patch(f"{path}/pod-{i}", {"metadata": {"labels": labels}})
        return (200 if code == 404 else code), data  # another thread is making it anew
    if what < 0.8:
        i = random.randrange(policies)
        return api.patch(f"{CNP.format(namespace(i))}/policy-{i}", {"spec": policy(i, n)["spec"]})
    api.call("DELETE", f"{path}/pod-{i}?gracePeriodSeconds=0")
    api.call("POST", path, pod(i, f"other-{i % NODES}"))
    code, data = api.patch(f"{path}/pod-{i}/status", status(i))
    return (200 if code == 404 else code), data


class Watcher(threading.Thread):
    """Looks at the processes' memory every so often until it is stopped."""

    def __init__(self, seconds, see):
        super().__init__()
        self.seconds, self.see, self.done = seconds, see, threading.Event()
        self.start()

    def run(self):
        while not self.done.wait(self.seconds):
            self.see()

    def stop(self):
        self.done.set()
        self.join()


def churn(changes, pods, policies, local, pids):
    show("before", pids)
    start = time.monotonic()
    watcher = Watcher(15, lambda: show(f"  after {time.monotonic() - start:.0f} s", pids))
    each(range(changes), lambda api, n: change(api, n, pods, policies, local))
    took = time.monotonic() - start
    watcher.stop()
    print(f"{changes} changes in {took:.0f} s")
    time.sleep(15)
    show("afterwards", pids)


def soak(changes, pods, policies, local, pids):
    def part(k):
        seen = []
        start = time.monotonic()
        watcher = Watcher(1, lambda: seen.append(sum(memory(p)[0] for p in pids)))
        each(range(k * changes // 4, (k + 1) * changes // 4), lambda api, n: change(api, n, pods, policies, local))
        took = time.monotonic() - start
        time.sleep(20)
        watcher.stop()
        seen.sort()
        show(f"after {(k + 1) * changes // 4} changes ({changes // 4 / took:.0f} a second; meanwhile "
             f"{statistics.median(seen) / 1024:.1f} at the median, {seen[-1] / 1024:.1f} at the most)", pids)

    show("before", pids)
    for k in range(4):
        part(k)


class Events(threading.Thread):
    """When the server told its watchers of each version of an object, by one of them: this one."""

    def __init__(self, path, name):
        super().__init__(daemon=True)
        self.seen = {}
        self.path = f"{path}?watch=1&fieldSelector=metadata.name%3D{name}"
        self.start()

    def run(self):
        connection = http.client.HTTPSConnection("127.0.0.1", 6443, context=ssl._create_unverified_context())
        connection.request("GET", self.path, headers={"Authorization": "Bearer token"})
        for line in connection.getresponse():
            now = time.monotonic()
            self.seen[json.loads(line)["object"]["metadata"]["resourceVersion"]] = now


def arrivals(sink):
    with open(f"{sink}/sent") as f:
        sent = [(int(n), float(t)) for n, t in (line.split() for line in f if line.endswith("\n"))]
    with open(f"{sink}/got") as f:
        got = {int(line) for line in f if line.endswith("\n")}
    return sent, got


def measure(changes, sink, path, name, bodies):
    """`bodies` close and open in turn; how long after the event the first datagram met the new verdict, in ms."""
    events, api, asked = Events(path, name), Api(), []
    time.sleep(2)
    for n in range(changes):
        code, data = api.patch(f"{path}/{name}", bodies[n % 2])
        if code != 200:
            sys.exit(f"{path}/{name}: {code} {data[:200]}")
        asked.append((n % 2 == 1, json.loads(data)["metadata"]["resourceVersion"]))
        time.sleep(0.5 + random.random() / 10)
    time.sleep(1)
    sent, got = arrivals(sink)
    took, late = [], 0
    for opened, version in asked:
        event = events.seen[version]
        after = [(n, t) for n, t in sent if event - 0.05 < t < event + 0.45]
        met = [t for n, t in after if (n in got) == opened]
        if met:
            took.append(max(0.0, (met[0] - event) * 1000))
        else:
            late += 1
    took.sort()
    print(f"{len(took)} changes: p50 {statistics.median(took):.1f} ms, p90 {took[int(len(took) * 0.9)]:.1f} ms, "
          f"max {took[-1]:.1f} ms; {late} not within 450 ms")


def main():
    command, words = sys.argv[1], sys.argv[2:]
    if command == "fill":
        fill(*map(int, words))
    elif command == "churn":
        churn(*map(int, words[:4]), list(map(int, words[4:])))
    elif command == "soak":
        soak(*map(int, words[:4]), list(map(int, words[4:])))
    elif command == "labels":
        measure(int(words[0]), words[1], "/api/v1/namespaces/bench-0/pods", "probe",
                [{"metadata": {"labels": {"probe": "closed"}}}, {"metadata": {"labels": {"probe": "open"}}}])
    elif command == "policies":
        Api().patch("/api/v1/namespaces/bench-0/pods/probe", {"metadata": {"labels": {"probe": "open"}}})

        def egress(prefix):
            return {"spec": {"egress": [{"toCIDR": [prefix]}]}}
        measure(int(words[0]), words[1], CNP.format("bench-0"), "probe-open",
                [egress("198.51.100.200/32"), egress("203.0.113.10/32")])


if __name__ == "__main__":
    main()
