# SPDX-License-Identifier: Apache-2.0
"""Medians and spreads of what was measured, and the targets."""
import json
import statistics

UPSTREAMS = ("echo", "unbound", "coredns")


def parse(text):
    return {k: float(v) for k, v in json.loads(text).items()}


def median(runs, field):
    return statistics.median(r[field] for r in runs)


def spread(runs, field):
    """Half the way from the least to the most, in percent of the median."""
    values = [r[field] for r in runs]
    middle = statistics.median(values)
    return 50 * (max(values) - min(values)) / middle if middle else 0


class Results:
    def __init__(self):
        self.runs = {}  # (part, what, path) -> runs
        self.sizes = {}

    def add(self, part, what, path, result):
        self.runs.setdefault((part, what, path), []).append(result)

    def memory(self, when, daemon):
        self.sizes[when, daemon.name] = tuple(daemon.status(f) / 1024 for f in ("VmRSS", "RssAnon"))

    def table(self):
        """A line for each path: medians, and half the way from least to most of the first two."""
        print(f"\n{'':41}{'CPU us/query':>16}{'q/s':>17}{'p50 us':>8}{'p99 us':>8}{'lost':>6}{'agent':>7}"
              f"{'softirqd':>9}{'all':>7}")
        last = None
        for (part, what, path), runs in self.runs.items():
            head = f"{part}, {what}"
            cpu = f"{median(runs, 'cpu'):.2f} ±{spread(runs, 'cpu'):3.0f} %" if median(runs, "cpu") else ""
            qps = f"{median(runs, 'qps'):,.0f} ±{spread(runs, 'qps'):3.0f} %"
            p50, p99 = (f"{median(runs, f):.0f}" if f in runs[0] else "" for f in ("p50_us", "p99_us"))
            print(f"{head if head != last else '':26}{path:>15}{cpu:>16}{qps:>17}{p50:>8}{p99:>8}"
                  f"{sum(r['lost'] for r in runs):6.0f}{median(runs, 'agent'):7.2f}{median(runs, 'softirqd'):9.2f}"
                  f"{median(runs, 'all'):7.1f}")
            last = head
        for (when, name), (rss, anon) in self.sizes.items():
            print(f"memory, {when}: {name} {rss:.1f} MB resident, {anon:.1f} of it its own")

    def ratio(self, part, what, path, beside, field):
        """The median of the rounds' ratios, or None when one of the two was not measured."""
        a, b = self.runs.get((part, what, path)), self.runs.get((part, what, beside))
        if not a or not b:
            return None
        return statistics.median(x[field] / y[field] for x, y in zip(a, b))

    def target(self, what, value, limit, at_most=True):
        if value is None:
            print(f"  --                       {what}: not measured")
            return
        met = value <= limit if at_most else value >= limit
        print(f"  {'met   ' if met else 'MISSED'}  {value:7.2f} {'<=' if at_most else '>='} {limit:4}  {what}")

    def targets(self):
        print("\nTargets (medians of the rounds' ratios):")
        for part, rate in (("allowed", "at saturation"), ("allowed low", "at 2,000 q/s")):
            for u in UPSTREAMS:
                self.target(f"allowed, CPU / dnsmasq's, {rate}, upstream {u}",
                            self.ratio(part, u, "sluice", "dnsmasq", "cpu"), 0.35)
        for what, how in (("saturation", "at saturation"), ("window", "at saturation of the own generator")):
            self.target(f"denied, CPU / the echo's, {how}", self.ratio("denied", what, "sluice", "echo", "cpu"), 1.5)
        self.rate_target("UDP", "allowed", "coredns", 0.85)
        self.rate_target("TCP", "tcp", "coredns", 0.8)
        self.rate_target("UDP", "allowed", "echo", 0.6)
        lost = [sum(r["lost"] + r["answered"] - r["noerror"] for r in runs)
                for (part, _, path), runs in self.runs.items() if path == "sluice" and part != "latency"]
        self.target("queries lost or failed through Sluice, latency apart", sum(lost) if lost else None, 0)
        self.latency_target()
        for what in ("allowed", "denied"):
            r = self.ratio("patterns", what, "10,000 patterns", "1 pattern", "cpu")
            self.target(f"{what}, CPU with 10,000 patterns / with one", r, 1.1)
        for when, limit in (("idle", 6), ("100,000 leases", 16)):
            size = self.sizes.get((when, "sluice-dnsproxy"))
            self.target(f"resident size, MB, {when}", size and size[0], limit)

    def beside_floor(self):
        """What no forwarder gets below, and so no target does either."""
        print("\nCPU beside the bare forwarder's, which reads nothing but the id (medians of the rounds' ratios):")
        for part, rate in (("allowed", "at saturation"), ("allowed low", "at 2,000 q/s")):
            for u in UPSTREAMS:
                ours, theirs = (self.ratio(part, u, path, "forward", "cpu") for path in ("sluice", "dnsmasq"))
                if ours and theirs:
                    print(f"  {rate}, upstream {u}: sluice {ours:.2f}, dnsmasq {theirs:.2f};"
                          f" the floor is {1 / theirs:.2f} of dnsmasq's")

    def rate_target(self, protocol, part, upstream, limit):
        """Beside it what CPU time alone would give: direct's of all processes by Sluice's. Where other work takes its
        share of the processors, that is the steadier figure."""
        by_cpu = self.ratio(part, upstream, "direct", "sluice", "all")
        beside = f" (by CPU of all processes {by_cpu:.2f})" if by_cpu else ""
        self.target(f"{protocol} q/s / direct, upstream {upstream}{beside}",
                    self.ratio(part, upstream, "sluice", "direct", "qps"), limit, False)

    def latency_target(self):
        what = next((w for p, w, _ in self.runs if p == "latency" and w.startswith("coredns")), None)
        added = None
        if what:
            pairs = zip(self.runs["latency", what, "sluice"], self.runs["latency", what, "direct"])
            added = statistics.median(a["p99_us"] - b["p99_us"] for a, b in pairs)
        self.target("added p99 in us at half of CoreDNS's most", added, 300)
        if what and ("latency", what, "forward") in self.runs:
            pairs = zip(self.runs["latency", what, "forward"], self.runs["latency", what, "direct"])
            print(f"          {statistics.median(a['p99_us'] - b['p99_us'] for a, b in pairs):7.0f}"
                  "          of it by the bare forwarder in the same place")
