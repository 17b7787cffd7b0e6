# SPDX-License-Identifier: Apache-2.0
"""The benchmark's lab: tools/lab's node, pods and cluster DNS without its other servers; the CPU time of what runs.

All of it lives in mount, process and network namespaces that end with this process, whatever becomes of it.
"""
import json
import os
import resource
import signal
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
TOP = os.path.realpath(HERE + "/../../..")
DIR = "/run/bench"
RESOLVER = "172.20.0.10"  # KUBE_DNS4 of topology.sh: the upstream, whichever it is
LOCAL = "169.254.20.10"  # on the node: what is measured in Sluice's place
NAMESPACE = "bench"
PODS = {"one": "10.0.1.5", "many": "10.0.1.6", "bare": "10.0.1.7"}  # by their policy's patterns; bare has no policy


def enter():
    """Runs this program again as the first process of a lab."""
    softirqd = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii", errors="replace") as f:
                if f.read().startswith("ksoftirqd/"):
                    softirqd.append(os.open(f"/proc/{pid}/schedstat", os.O_RDONLY))
        except OSError:
            pass
    os.environ["BENCH_SOFTIRQD"] = " ".join(map(str, softirqd))
    cgroup = new_cgroup()
    os.environ["BENCH_CGROUP"] = cgroup or ""
    command = ["unshare", "--mount", "--pid", "--net", "--fork", "--kill-child", "--propagation", "private"]
    try:
        return subprocess.run(command + [sys.executable, "-B"] + sys.argv, pass_fds=softirqd, check=False).returncode
    finally:
        if cgroup:
            os.rmdir(cgroup)


def new_cgroup():
    """The proxy puts its egress filter on a cgroup of its own only. Takes away what an interrupted run left."""
    with open("/proc/mounts", encoding="utf-8") as f:
        mount = next((line.split()[1] for line in f if line.split()[2] == "cgroup2"), None)
    if not mount:
        return None
    try:
        for name in os.listdir(mount):
            if name.startswith("sluice-bench-") and not os.path.exists("/proc/" + name.rsplit("-", 1)[1]):
                os.rmdir(f"{mount}/{name}")
        path = f"{mount}/sluice-bench-{os.getpid()}"
        os.mkdir(path)
    except OSError:
        return None
    return path


def inside():
    return os.getpid() == 1 and "BENCH_CGROUP" in os.environ


def shell(script):
    env = {"PATH": os.environ["PATH"], "LAB_DIR": DIR, "LAB_NAME": "bench"}
    subprocess.run(["bash", "-ec", f". {TOP}/tools/lab/topology.sh\n{script}"], check=True, env=env, cwd="/",
                   stdout=subprocess.DEVNULL)


def up():
    shell("""
        mount -t proc proc /proc
        mount -t tmpfs -o mode=755 tmpfs /run
        mkdir -p /run/netns /run/bench/log
        echo bench >/run/inside-lab
        mount -t bpf -o mode=700 bpf /sys/fs/bpf""")
    pods = "\n".join(f"pod_up {NAMESPACE} {name} {a} fd00::{a.rsplit('.', 1)[1]}" for name, a in PODS.items())
    shell(f"node_up; dns_up; {pods}; ip -n node address add {LOCAL}/32 dev lo")


def in_ns(ns, argv):
    return ["nsenter", f"--net=/run/netns/{ns}", "--"] + argv


class Daemon:
    """A process in a namespace of the lab, in a cgroup of its own where one is given."""

    def __init__(self, ns, name, argv, cgroup=None):
        self.name = name
        if cgroup:
            argv = ["sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', cgroup] + argv
        with open(f"{DIR}/log/{name}.log", "ab") as log:
            self.process = subprocess.Popen(in_ns(ns, argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.pid = self.process.pid

    def cpu(self):
        """Seconds, user and system, of all its threads, in steps of nanoseconds: what utime + stime of /proc/PID/stat
        are rounded from. What the kernel does in softirqs while the process runs is in it, where the kernel has no
        CONFIG_IRQ_TIME_ACCOUNTING."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def status(self, field):
        """KiB."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as f:
            return next(int(line.split()[1]) for line in f if line.startswith(field + ":"))

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def check(self):
        if self.process.poll() is not None:
            with open(f"{DIR}/log/{self.name}.log", encoding="utf-8", errors="replace") as f:
                sys.exit(f"{self.name} ended with {self.process.returncode}:\n{''.join(f.readlines()[-15:])}")


def softirqd_cpu():
    """Seconds of ksoftirqd on all processors, for all that happens on this machine."""
    return sum(int(os.pread(int(fd), 200, 0).split()[0]) for fd in os.environ["BENCH_SOFTIRQD"].split()) / 1e9


def ended_cpu():
    """Seconds of the children that ended and were waited for: the load generators."""
    r = resource.getrusage(resource.RUSAGE_CHILDREN)
    return r.ru_utime + r.ru_stime


def machine_busy(seconds):
    """How many processors are busy, on the whole machine."""
    def busy():
        with open("/proc/stat", encoding="ascii") as f:
            t = [int(x) / os.sysconf("SC_CLK_TCK") for x in f.readline().split()[1:9]]
        return sum(t[:3]) + sum(t[5:])
    before = busy()
    time.sleep(seconds)
    return (busy() - before) / seconds


def await_true(seconds, what, condition):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"gave up waiting: {what}")
        time.sleep(0.1)


def put(path, text):
    with open(path + ".new", "w", encoding="ascii") as f:
        f.write(text)
    os.rename(path + ".new", path)


def interface(name):
    with open(f"{DIR}/pods/{name}/pod", encoding="ascii") as f:
        return f.read().split()[4]


def policy(name, patterns):
    rules = "\n".join(f'    - matchPattern: "{p}"' for p in patterns)
    return f"""apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{name: {name}, namespace: {NAMESPACE}}}
spec:
  endpointSelector: {{matchLabels: {{app: {name}}}}}
  egress:
  - toFQDNs:
{rules}
    toPorts: [{{ports: [{{port: "443", protocol: TCP}}]}}]
"""


class Sluice:
    """The real daemons with a policy for each pod but bare. policies: patterns by pod."""

    def __init__(self, build, policies):
        self.build = build
        os.makedirs(f"{DIR}/policies", exist_ok=True)
        put(f"{DIR}/sluice.yaml", f"interfaces: {{auto: false, prefixes: []}}\n"
            f"policyDir: {DIR}/policies\nendpointsFile: {DIR}/endpoints.yaml\n"
            f"dns: {{resolvers: [{RESOLVER}]}}\nlimits: {{queriesPerSecond: 0}}\n")
        put(f"{DIR}/endpoints.yaml", "endpoints:\n" + "".join(
            f"- {{name: {pod}, namespace: {NAMESPACE}, labels: {{app: {pod}}}, interface: {interface(pod)}, "
            f'addresses: ["{PODS[pod]}"]}}\n' for pod in policies))
        for pod, patterns in policies.items():
            put(f"{DIR}/policies/{pod}.yaml", policy(pod, patterns))
        self.agent = Daemon("node", "sluiced", [f"{build}/bin/sluiced", "--config", f"{DIR}/sluice.yaml"])
        self.proxy = None
        self.start_proxy()
        for pod in policies:
            await_true(20, f"{pod} is not under enforcement", lambda pod=pod: self.mode(pod) == "enforce")

    def start_proxy(self):
        if self.proxy:
            self.proxy.stop()
        await_true(10, "the agent made no maps", lambda: self.checked(self.agent) and
                   os.path.exists("/run/sluice/proxy/settings"))
        self.proxy = Daemon("node", "sluice-dnsproxy", [f"{self.build}/bin/sluice-dnsproxy"],
                            os.environ["BENCH_CGROUP"])
        await_true(15, "the DNS proxy does not run", lambda: self.checked(self.proxy) and self.proxy_runs())
        with open(f"{DIR}/log/sluice-dnsproxy.log", encoding="utf-8", errors="replace") as f:
            print("".join(line for line in f if "no egress filter" in line), end="")

    @staticmethod
    def checked(daemon):
        daemon.check()
        return True

    def bpfctl(self, *words):
        r = subprocess.run(in_ns("node", [f"{self.build}/bin/bpfctl", "-o", "json", *words]), capture_output=True,
                           check=False)
        try:
            return json.loads(r.stdout)
        except ValueError:
            return None

    def mode(self, pod):
        e = self.bpfctl("endpoint", "get", f"{NAMESPACE}/{pod}")
        return e and e.get("mode")

    def proxy_runs(self):
        s = self.bpfctl("status")
        return bool(s) and s["dns_proxy"]["running"] and s["dns_proxy"].get("pid", self.proxy.pid) == self.proxy.pid
