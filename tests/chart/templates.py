#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
templates.py HELM SLUICED BPFCTL: the chart without a cluster. Lint, templates over a matrix of values, refusals of the
schema, and that what the values say of sluice.yaml arrives there and is what sluiced takes: each key and both ends of
every range, each held against `sluiced --check`.

templates.py HELM --render FOLDER: only writes what the matrix renders to, for a server to judge.
"""

import copy
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

TOP = pathlib.Path(__file__).resolve().parents[2]
CHART = TOP / "charts/sluice"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
CRDS = {kind: True for kind in VALUES["crds"]["install"]}

HELM, SLUICED, BPFCTL = sys.argv[1:4] if len(sys.argv) == 4 else sys.exit(__doc__)
failures = 0


def check(what, good, why=""):
    global failures
    failures += not good
    print(f"ok   {what}" if good else f"FAIL {what}: {why}")


def helm(command, values, *options):
    """Exit code, standard output, standard error of `helm template` or `helm lint`."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        json.dump(values, f)
        f.flush()
        release = ["sluice"] if command == "template" else []
        r = subprocess.run([HELM, command, *release, CHART, "-f", f.name, "--kube-version", "1.34.4", "-n",
                            "kube-system", *options], capture_output=True, text=True)
    return r.returncode, r.stdout, "\n".join(line for line in r.stderr.splitlines() if "symbolic link" not in line)


def merged(*parts):
    """Values given by path: {"config.dns.minTTL": "1s"}, or as they are."""
    values = {}
    for path, value in (item for part in parts for item in part.items()):
        at = values
        *above, last = path.split(".")
        for key in above:
            at = at.setdefault(key, {})
        at[last] = copy.deepcopy(value)
    return values


def rendered(values):
    code, out, err = helm("template", values)
    if code:
        raise ValueError(err)
    return [d for d in yaml.safe_load_all(out) if d]


def find(documents, kind, name="sluice"):
    return next((d for d in documents if d["kind"] == kind and d["metadata"]["name"] == name), None)


def container(documents, name):
    return next(c for c in find(documents, "DaemonSet")["spec"]["template"]["spec"]["containers"] if c["name"] == name)


def configuration(documents):
    return find(documents, "ConfigMap")["data"]["sluice.yaml"]


def sluiced_says(text):
    """What is wrong with a configuration, or nothing."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        f.write(text)
        f.flush()
        r = subprocess.run([SLUICED, "--check", "--config", f.name], capture_output=True, text=True)
    return "" if r.returncode == 0 else r.stderr.strip() or f"exit code {r.returncode}"


# ---- the matrix ----

ALLOWLISTS = [{"template": t, "dialect": d, "namespaces": ["agent-sandboxes", "tenant-a"]}
              for t in ("sandbox-llm-allowlist", "aws-services", "llm-apis", "dev-tools", "package-registries", "admin")
              for d in ("cilium", "anp")]
ADMIN = (TOP / "policy/templates/cilium/admin.yaml").read_text()

MATRIX = {
    "defaults": {},
    "nothing written": {"kubernetes.status": False},
    "an image by its digest": {"image.repository": "registry.example.com/sluice", "image.digest": "sha256:" + "0" * 64,
                               "imagePullSecrets": [{"name": "pull"}]},
    "everything that is off": {"kubernetes.startupTaint": "sluice.dev/agent-not-ready",
                               "kubernetes.hostNetwork.enforce": True,
                               "stateDir": "/var/lib/sluice", "config.flows.file": "/var/log/sluice/flows.json"},
    "the CNI left alone": {"cni.install": False},
    "metrics for others": {"config.metrics.listen": "[::]:9100", "networkPolicy.enabled": True,
                           "networkPolicy.from": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]},
    "policies of the release": {"policies": {"admin.yaml": ADMIN}},
    "the kinds of policies": {"crds.install": CRDS},
    "allowlists": {"allowlists": ALLOWLISTS},
    "names and labels": {"fullnameOverride": "egress", "commonLabels": {"team": "a"}, "podLabels": {"b": "c"},
                         "podAnnotations": {"d": "e"}, "annotations": {"f": "g"}},
    "no rights of its own": {"rbac.create": False, "serviceAccount.create": False, "serviceAccount.name": "theirs"},
    "more for the pods": {"extraArgs": ["--verbose"], "extraEnv": [{"name": "A", "value": "b"}],
                          "extraVolumes": [{"name": "v", "emptyDir": {}}],
                          "extraVolumeMounts": [{"name": "v", "mountPath": "/v"}],
                          "seLinuxOptions": {"type": "spc_t"}, "appArmorProfile": {"type": "Unconfined"},
                          "updateStrategy.type": "OnDelete", "updateStrategy.rollingUpdate": None,
                          "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
                              "nodeSelectorTerms": [{"matchExpressions": [{"key": "k", "operator": "Exists"}]}]}}}},
}


def test_matrix():
    for what, values in MATRIX.items():
        values = merged(values)
        code, out, err = helm("lint", values, "--strict")
        check(f"lint: {what}", code == 0, out + err)
        code, _, err = helm("template", values)
        check(f"template: {what}", code == 0, err)
    monitor = merged({"serviceMonitor.enabled": True, "config.metrics.listen": ":9964"})
    check("template: a ServiceMonitor", bool(find(rendered(monitor), "ServiceMonitor")))


# ---- refusals ----

REFUSED = [
    ({"imag.tag": "x"}, "imag"),
    ({"image.pullPolicy": "always"}, "/image/pullPolicy"),
    ({"image.digest": "sha256:1"}, "/image/digest"),
    ({"config.dns.denyRespons": "empty"}, "/config/dns"),
    ({"config.policyDir": "/etc"}, "/config"),
    ({"config.kubernetes": {"enabled": False}}, "/config"),
    ({"config.metrics.listen": ""}, "/config/metrics/listen"),
    ({"config.metrics.listen": "localhost:9964"}, "/config/metrics/listen"),
    ({"config.limits.flows": "many"}, "/config/limits/flows"),
    ({"config.cluster.serviceCIDRs": ["10.96.0.0"]}, "/config/cluster/serviceCIDRs/0"),
    ({"config.dns.resolvers": ["dns.example.com"]}, "/config/dns/resolvers/0"),
    ({"updateStrategy.rollingUpdate.maxSurge": 1}, "/updateStrategy/rollingUpdate"),
    ({"kubernetes.startupTaint": "a=b:NoSchedule"}, "/kubernetes/startupTaint"),
    ({"cni.waitSeconds": 61}, "/cni/waitSeconds"),
    ({"cni.confDir": "etc/cni"}, "/cni/confDir"),
    ({"stateDir": "state"}, "/stateDir"),
    ({"policies": {"admin": ""}}, "/policies"),
    ({"crds.install.ciliumNetworkPolicy": "maybe"}, "/crds/install/ciliumNetworkPolicy"),
    ({"allowlists": [{"template": "all", "dialect": "anp", "namespaces": ["a"]}]}, "/allowlists/0/template"),
    ({"allowlists": [{"template": "admin", "dialect": "anp", "namespaces": []}]}, "/allowlists/0/namespaces"),
    ({"allowlists": [{"template": "admin", "dialect": "anp", "namespaces": ["a"], "matchLabels": {"a": "b"}}]},
     "allowlists[0].matchLabels"),
    ({"serviceMonitor.enabled": True}, "serviceMonitor.enabled"),
    ({"serviceAccount.create": False}, "serviceAccount.name"),
    ({"resources.proxy": {}}, "/resources"),
    ({"tolerations": {}}, "/tolerations"),
    ({"privileged": True}, "privileged"),
    # What is taken away whole (--set cni=null) is missing, not a template's own error.
    *(({key: None}, f"missing property '{key}'") for key in SCHEMA["required"]),
    ({"cni.confDir": None}, "/cni"),
    ({"kubernetes.hostNetwork": None}, "/kubernetes"),
    ({"serviceAccount.create": None}, "/serviceAccount"),
    ({"crds.install": None}, "/crds"),
    # What the API or the agent would refuse when it is too late.
    ({"fullnameOverride": "Sluice"}, "/fullnameOverride"),
    ({"nameOverride": "a/b"}, "/nameOverride"),
    ({"image.repository": "a b"}, "/image/repository"),
    ({"image.tag": "1 0"}, "/image/tag"),
    ({"config.metrics.listen": ":65536"}, "/config/metrics/listen"),
    ({"config.metrics.listen": "127.0.0.1:0"}, "/config/metrics/listen"),
    ({"config.metrics.listen": "127.0.0.256:80"}, "/config/metrics/listen"),
    ({"config.dns.resolvers": ["999.1.1.1"]}, "/config/dns/resolvers/0"),
    ({"config.dns.resolvers": ["10.0.0.1:99999"]}, "/config/dns/resolvers/0"),
    ({"config.cluster.serviceCIDRs": ["10.96.0.0/33"]}, "/config/cluster/serviceCIDRs/0"),
    ({"config.cluster.serviceCIDRs": ["fd00::/129"]}, "/config/cluster/serviceCIDRs/0"),
    ({"config.flows.file": "/flows.json"}, "/config/flows/file"),
    ({"seccompProfile.type": "Localhost"}, "/seccompProfile"),
    ({"podLabels": {"app.kubernetes.io/name": "x"}}, "/podLabels"),
    ({"commonLabels": {"app.kubernetes.io/instance": "x"}}, "/commonLabels"),
    # The root of the node.
    ({"stateDir": "/"}, "/stateDir"),
    ({"cni.confDir": "/"}, "/cni/confDir"),
    ({"cni.binDir": "//"}, "/cni/binDir"),
]


def test_refusals():
    for values, place in REFUSED:
        code, _, err = helm("template", merged(values))
        check(f"refused: {json.dumps(values)}", code != 0 and place in err, err or "it is not")
    for section, names in (("", VALUES), ("config.", VALUES["config"])):
        properties = SCHEMA["properties"]["config"]["properties"] if section else SCHEMA["properties"]
        odd = set(properties) - {"global"} ^ set(names)
        check(f"values.yaml has every {section or 'top-level '}key of the schema", not odd, odd)


# ---- sluice.yaml ----

STRINGS = {"clusterDomain": "cluster.example", "listen": "127.0.0.1:9100", "file": "/var/log/sluice/flows.json"}
LISTS = {"resolvers": ["10.0.0.2", "10.0.0.2:5353", "fd00::2", "[fd00::2]:5353"], "searchDomains": ["example.com"],
         "serviceCIDRs": ["10.100.0.0/16", "fd00:1::/112"], "prefixes": ["eni", "veth"]}


def good_and_bad(name, schema):
    """Values that the schema allows for a key, and such as are just beyond it."""
    kind = schema.get("type")
    if "enum" in schema:
        return schema["enum"], ["wrong"]
    if kind == "integer":
        return [schema["minimum"], schema["maximum"]], [schema["minimum"] - 1, schema["maximum"] + 1]
    if kind == "boolean":
        return [True, False], ["yes please"]
    if kind == "array":
        return [LISTS.get(name) or schema["items"]["enum"]], ["not a list"]
    if name in STRINGS:
        return [STRINGS[name]], [[1]]
    return ["3s", "1m30s", "2h"], ["3 days", 4]  # durations


def leaves(schema, path):
    for name, below in schema["properties"].items():
        if below.get("type") == "object":
            yield from leaves(below, [*path, name])
        else:
            yield [*path, name], below


def nested(path, value):
    for name in reversed(path):
        value = {name: value}
    return value


def at(tree, path):
    for name in path:
        tree = tree.get(name, {})
    return tree


def ranges():
    """Of each key of sluice.yaml that is a value: path, good values, bad ones; none contradicts another's default."""
    for path, schema in leaves(SCHEMA["properties"]["config"], []):
        good, bad = good_and_bad(path[-1], schema)
        if path[-1] in ("minTTL", "queryTimeout"):
            good = good[:1]
        yield path, good, bad


def nth(path, values, n):
    return {"config." + ".".join(path): values[min(n, len(values) - 1)]}


def test_configuration():
    """All keys at once, the first value of each, then the second, and so on."""
    keys = list(ranges())
    for n in range(max(len(good) for _, good, _ in keys)):
        try:
            text = configuration(rendered(merged(*(nth(path, good, n) for path, good, _ in keys))))
        except ValueError as e:
            check(f"values {n} of all keys", False, e)
            continue
        got, problem = yaml.safe_load(text), sluiced_says(text)
        check(f"values {n} of all keys: sluiced takes them", not problem, problem)
        for path, good, _ in keys:
            if n < len(good):
                check(f"{'.'.join(path)}: {good[n]} arrives", at(got, path) == good[n], at(got, path))
    for n in range(2):
        code, _, err = helm("template", merged(*(nth(path, bad, n) for path, _, bad in keys)))
        for path, _, bad in keys:
            value = bad[min(n, len(bad) - 1)]
            check(f"{'.'.join(path)}: {value} is refused by both", code != 0 and f"'/config/{'/'.join(path)}" in err and
                  sluiced_says(json.dumps(nested(path, value))), err or "not by both")


def test_sections_of_the_agent():
    """Every key of sluice.yaml is a value, or one that the chart has its own reasons for."""
    said = sluiced_says("nothing: here")
    keys = set(re.search(r"expected one of: (.*)", said)[1].split(", "))
    own = {"policyDir", "endpointsFile", "runDir", "api", "kubernetes", "cni", "stateDir"}
    check("every key of sluice.yaml is a value", keys - own == set(SCHEMA["properties"]["config"]["properties"]) - own,
          keys ^ set(SCHEMA["properties"]["config"]["properties"]))


# ---- the objects ----

def test_objects():
    documents = rendered({})
    pod = find(documents, "DaemonSet")["spec"]["template"]["spec"]
    for c in pod["containers"]:
        s = c["securityContext"]
        check(f"{c['name']}: not privileged, no escalation, root read-only, all capabilities dropped but the few",
              (s["privileged"], s["allowPrivilegeEscalation"], s["readOnlyRootFilesystem"], s["capabilities"]["drop"])
              == (False, False, True, ["ALL"]) and "SYS_ADMIN" not in s["capabilities"]["add"], s)
    mounts = {m["name"]: m["mountPath"] for m in container(documents, "agent")["volumeMounts"]}
    check("the CNI plugin is installed where runtimes look", (mounts["cni-conf"], mounts["cni-bin"]) ==
          ("/etc/cni/net.d", "/opt/cni/bin") and "install: true" in configuration(documents), mounts)
    alone = rendered({"cni": {"install": False}})
    check("or nothing of the CNI is touched", "cni" not in yaml.safe_load(configuration(alone)) and
          "cni" not in json.dumps(find(alone, "DaemonSet")))
    mounted = [m["name"] for m in container(documents, "dnsproxy")["volumeMounts"]]
    check("the proxy has no token", mounted == ["bpffs", "run", "cgroup"], mounted)
    check("tolerates everything, critical", pod["tolerations"] == [{"operator": "Exists"}] and
          pod["priorityClassName"] == "system-node-critical")
    silent = rendered({"kubernetes": {"status": False}})
    quiet = json.dumps(find(silent, "ClusterRole")["rules"] + find(silent, "Role")["rules"])
    check("without status nothing may be written through the API",
          not re.search("create|update|patch|delete|\\*", quiet))
    check("nor is there a Lease", find(silent, "Lease") is None and find(documents, "Lease"))
    loud = rendered(merged(MATRIX["everything that is off"]))
    roles = json.dumps(find(loud, "ClusterRole")["rules"] + find(loud, "Role")["rules"])
    wanted = ('"leases"', "/status", '"events"', '"patch"')
    check("status and taint bring their rights", all(w in roles for w in wanted))
    check("never more than that", not re.search('delete|escalate|bind|\\*|secrets|"pods/', roles))
    changed = rendered(merged({"config.deny.mode": "reject"}))
    rolls = [find(d, "DaemonSet")["spec"]["template"]["metadata"]["annotations"] for d in (documents, changed)]
    check("another configuration rolls the pods", rolls[0] != rolls[1])
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        got = container(rendered(merged(MATRIX["metrics for others"])), "agent")[probe]["httpGet"]
        check(f"{probe} goes to where the agent listens", got["host"] == "127.0.0.1" and got["port"] == "metrics", got)


def test_host_network():
    documents = rendered(merged({"kubernetes.hostNetwork.enforce": True}))
    text = configuration(documents)
    got = at(yaml.safe_load(text), ("kubernetes", "hostNetwork", "enforce"))
    check("kubernetes.hostNetwork.enforce arrives", got is True, got)
    check("and is taken", not sluiced_says(text), sluiced_says(text))
    for what, agent in (("by default", container(rendered({}), "agent")), ("with it", container(documents, "agent"))):
        mounts = {m["mountPath"]: m for m in agent["volumeMounts"]}
        check(f"{what}: cgroups are seen, and only read", mounts["/sys/fs/cgroup"].get("readOnly") is True)
        names = {e["name"]: e["valueFrom"]["fieldRef"]["fieldPath"] for e in agent["env"]}
        check(f"{what}: the agent knows its own pods", names.get("POD_NAMESPACE") == "metadata.namespace" and
              names.get("POD_SERVICE_ACCOUNT") == "spec.serviceAccountName", names)


def test_hooks():
    hooks = [d for d in rendered({}) if "helm.sh/hook" in d["metadata"].get("annotations", {})]
    events = {d["metadata"]["annotations"]["helm.sh/hook"]: d for d in hooks}
    check("the word to agents that they go comes before the deletion and goes after it", set(events) ==
          {"pre-delete", "post-delete"} and {d["metadata"]["name"] for d in hooks} == {"sluice-uninstall"})
    told = {d["metadata"]["name"]: d["metadata"]["labels"].get("sluice.dev/uninstall") for d in rendered({})
            if d["kind"] == "ConfigMap"}
    check("agents tell the word from the release, which is there until it goes", told ==
          {"sluice": "false", "sluice-uninstall": "true"}, told)
    policy = {e: d["metadata"]["annotations"]["helm.sh/hook-delete-policy"] for e, d in events.items()}
    check("and is there meanwhile",
          ["hook-succeeded" in policy[e] for e in ("pre-delete", "post-delete")] == [False, True])


def test_allowlists():
    for a in ALLOWLISTS:
        mine = [d for d in rendered(merged({"allowlists": [a]})) if d["kind"].endswith("NetworkPolicy")]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
            yaml.safe_dump_all(mine, f)
            f.flush()
            r = subprocess.run([BPFCTL, "policy", "check", f.name], capture_output=True, text=True)
        wanted = 1 if a["template"] == "admin" else 2
        said = r.stdout + r.stderr
        check(f"{a['template']}, {a['dialect']}: a policy for each namespace, which Sluice takes",
              len(mine) == wanted and r.returncode == 0 and " warning: " not in said, said)
    labelled = rendered(merged({"allowlists": [{**ALLOWLISTS[0], "matchLabels": {"tier": "x"}}]}))
    policy = find(labelled, "CiliumNetworkPolicy", "sandbox-llm-allowlist")
    check("labels of one's own", policy["spec"]["endpointSelector"] == {"matchLabels": {"tier": "x"}}, policy)


def test_versions():
    version = re.search(r"project\(sluice VERSION (\S+)", (TOP / "CMakeLists.txt").read_text())[1]
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    check("the chart's version is the programs'", chart["version"] == chart["appVersion"] == version, chart)


def render(folder):
    for what, values in MATRIX.items():
        text = helm("template", merged(values), "--no-hooks")[1]
        (pathlib.Path(folder) / f"{what.replace(' ', '-')}.yaml").write_text(text)


def main():
    if SLUICED == "--render":
        render(BPFCTL)
        return 0
    test_versions()
    test_matrix()
    test_refusals()
    test_sections_of_the_agent()
    test_configuration()
    test_objects()
    test_host_network()
    test_hooks()
    test_allowlists()
    print(f"{failures} failed" if failures else "all is well")
    return 1 if failures else 0


if __name__ == "__main__":
    os.environ["HELM_CACHE_HOME"] = os.environ["HELM_CONFIG_HOME"] = os.environ["HELM_DATA_HOME"] = "/nonexistent"
    sys.exit(main())
