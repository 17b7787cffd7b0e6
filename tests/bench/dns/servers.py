# SPDX-License-Identifier: Apache-2.0
"""The name servers that are measured, or stand behind what is measured."""
import hashlib
import os
import shutil
import subprocess
import sys

import lab

ZONE = "z0.bench.example"  # the one pattern's; the others are z1 to z9999
NAMES = 1000


def hosts(n=NAMES):
    """Names and addresses: the same at every upstream but the echo, which makes its own."""
    return [(f"host-{i}.{ZONE}", f"20.1.{i >> 8}.{i & 255}") for i in range(n)]


def write_names(path, names):
    lab.put(path, "".join(f"{n} A\n" for n in names))


def echo(build, ns, address, port):
    return lab.Daemon(ns, f"echo-{ns}", [f"{build}/bin/bench-dns-echo", address, str(port)])


def forward(build, port):
    return lab.Daemon("node", "forward", [f"{build}/bin/bench-dns-forward", lab.LOCAL, str(port), lab.RESOLVER])


def dnsmasq(port):
    """Debian's, as a forwarder and no more: no cache, since Sluice has none, and no limit on what it has under way."""
    return lab.Daemon("node", "dnsmasq", [
        "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file=", "--no-resolv",
        "--no-hosts", f"--server={lab.RESOLVER}", "--cache-size=0", "--dns-forward-max=10000",
        f"--listen-address={lab.LOCAL}", "--bind-interfaces", f"--port={port}"])


def unbound():
    d = f"{lab.DIR}/unbound"
    os.makedirs(d, exist_ok=True)
    data = "".join(f'  local-data: "{n}. 300 A {a}"\n' for n, a in hosts())
    lab.put(f"{d}/unbound.conf", f"""server:
  interface: {lab.RESOLVER}
  access-control: 0.0.0.0/0 allow
  do-daemonize: no
  use-syslog: no
  logfile: ""
  username: ""
  chroot: ""
  directory: "{d}"
  pidfile: ""
  num-threads: 1
  incoming-num-tcp: 100
  so-rcvbuf: 4m
  module-config: "iterator"
  local-zone: "bench.example." static
{data}remote-control:
  control-enable: no
""")
    return lab.Daemon("dns", "unbound", ["unbound", "-d", "-c", f"{d}/unbound.conf"])


def coredns_program():
    """Built once for each version of its source, if there is Go; otherwise None."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    source = f"{lab.HERE}/coredns"
    made_of = hashlib.sha256()
    for name in ("main.go", "go.mod", "go.sum"):
        with open(f"{source}/{name}", "rb") as f:
            made_of.update(f.read())
    path = f"{cache}/sluice/bench/coredns-{made_of.hexdigest()[:12]}"
    if os.path.exists(path):
        return path
    if not shutil.which("go"):
        return None
    print("building CoreDNS once, about a minute", file=sys.stderr)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    r = subprocess.run(["go", "build", "-trimpath", "-buildvcs=false", "-o", path + ".new", "."], cwd=source,
                       check=False)
    if r.returncode != 0:
        return None
    os.rename(path + ".new", path)
    return path


def coredns(program):
    """Configured as Kubernetes does it, but for hosts, which answers once in 30 s what the cache then knows."""
    d = f"{lab.DIR}/coredns"
    os.makedirs(d, exist_ok=True)
    lab.put(f"{d}/hosts", "".join(f"{a} {n}\n" for n, a in hosts()))
    lab.put(f"{d}/Corefile", f""".:53 {{
  bind {lab.RESOLVER}
  errors
  health
  ready
  prometheus :9153
  cache 30
  loadbalance
  hosts {d}/hosts {{
    ttl 300
    reload 0
  }}
}}
""")
    return lab.Daemon("dns", "coredns", [program, "-conf", f"{d}/Corefile"])
