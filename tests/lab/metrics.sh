#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# /metrics is Prometheus' text format, counts what the pod did, and agrees with `bpfctl status`; the probes answer.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

lab_begin >&2
sluice_policy sandbox.yaml <"$MANIFESTS/sandbox-cnp.yaml"
sluice_start
get() { node curl -sS --max-time 5 "http://127.0.0.1:9964$1"; }

# The value of one line, METRIC{LABELS} as written; 0 when it is not there.
value() { get /metrics | awk -v want="$1" '$1 == want { print $2; found = 1 } END { if (!found) print 0 }'; }

equal "healthz" ok "$(get /healthz)"
equal "readyz" ok "$(get /readyz)"
equal "another page" 404 "$(node curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9964/secret)"
equal "another method" 405 "$(node curl -s -o /dev/null -w '%{http_code}' -X POST http://127.0.0.1:9964/metrics)"

check "every line is a comment or a sample whose metric has been described, once" python3 - <<END
import re, subprocess
text = '''$(get /metrics)'''
described, samples = set(), set()
for line in text.splitlines():
    if m := re.fullmatch(r"# (HELP|TYPE) ([a-z_:]+) (.+)", line):
        if m[1] == "TYPE":
            assert m[2] not in described and m[3] in ("counter", "gauge", "histogram"), line
            described.add(m[2])
        continue
    m = re.fullmatch(r'([a-z_:]+)(\{[a-z]+="[^"]*"(?:,[a-z]+="[^"]*")*\})? [0-9.e+]+', line)
    assert m, line
    assert m[1] in described or re.sub("_(bucket|sum|count)$", "", m[1]) in described, line
    assert (m[1], m[2]) not in samples, line
    samples.add((m[1], m[2]))
assert len(described) > 40
END

before=$(value 'sluice_drops_total{reason="POLICY_DENIED"}')
not connects 8.8.8.8 443
ask 172.20.0.10 pypi.org A >/dev/null
ask 172.20.0.10 denied.example.org A >/dev/null
check "a denied connection counts" test "$(value 'sluice_drops_total{reason="POLICY_DENIED"}')" -gt "$before"
check "and at its pod" test "$(value 'sluice_endpoint_drops_total{namespace="agent-sandboxes",pod="sandbox-agent"}')" -gt 0
equal "one endpoint is enforced" 1 "$(value 'sluice_endpoints{state="enforce"}')"
equal "one policy" 1 "$(value sluice_policies)"
check "allowed queries" await 5 test "$(value sluice_dns_allowed_total)" -ge 1
check "denied queries" test "$(value sluice_dns_denied_total)" -ge 1
equal "the proxy is up" 1 "$(value sluice_dns_proxy_up)"
equal "as bpfctl says it" "$(bpfctl -o json status | python3 -c 'import json, sys
print(json.load(sys.stdin)["dns_proxy"]["counts"]["denied"])')" "$(value sluice_dns_denied_total)"

# More connections than it takes, none of them finished, do not stop the agent.
node python3 -c 'import socket, time
held = [socket.create_connection(("127.0.0.1", 9964)) for _ in range(40)]
time.sleep(1)'
check "a port full of idle connections holds nobody up" await 15 eval '[ "$(get /healthz)" = ok ]'

sed -i '/^metrics:/d' "$(lab_dir)/sluice/sluice.yaml"
echo 'metrics: {listen: ""}' >>"$(lab_dir)/sluice/sluice.yaml"
check "it is closed when the configuration says so" await 10 not quiet get /healthz
