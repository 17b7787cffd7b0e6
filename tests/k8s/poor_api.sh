#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# An API server that serves poorly: poor_api.py between the agent and a real one. While it does, a pod tries all the time what its
# policy does not allow, and a canary counts what gets out; afterwards, and where it can meanwhile, the agent holds what the API has.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/../lab/lib.sh"
# shellcheck source=tests/k8s/apiserver.sh
. "$(dirname "$(readlink -f "$0")")/apiserver.sh"
here=$(dirname "$(readlink -f "$0")")
export SLUICE_EXTRA SLUICE_INTERFACES='{auto: true, prefixes: [eni]}'
SLUICE_EXTRA="kubernetes: {enabled: true, nodeName: node1, kubeconfig: $(lab_dir)/poor/kubeconfig}"
poor=$(lab_dir)/poor

told() { bpfctl -o json status | json "x['agent']['details']['kubernetes']['$1']"; }
synced() { [ "$(told synced)" = True ]; }
mode() { sluice_put "$poor/mode" <<<"$1"; }
count() { wc -l <"$poor/requests"; }
reaches() { lab pod "$1" python3 -c 'import socket, sys
socket.create_connection((sys.argv[1], 443), timeout=0.8)' "$2" 2>/dev/null; }
policy() { # ADDRESS
	quietly k apply -f - <<-END
		apiVersion: cilium.io/v2
		kind: CiliumNetworkPolicy
		metadata: {name: one, namespace: default}
		spec:
		  endpointSelector: {matchLabels: {app: one}}
		  egress: [{toCIDR: [$1/32]}]
	END
}
agrees() { # ADDRESS OTHER LABELLED: all that was changed is in force
	reaches p6 "$1" && not reaches p6 "$2" && [ "$(bpfctl -o json endpoint get default/p7 | json 'x["mode"]')" = "$3" ] &&
		[ "$(told known_pods)" = "$(k get pods -A --no-headers | wc -l)" ]
}

lab_begin >&2
sed -i '/^dns:/d' "$(lab_dir)/sluice/sluice.yaml"
cluster_start
mkdir "$poor"
echo token >"$poor/upstream"
echo first >"$poor/token"
mode well
: >"$poor/requests"
sed 's/:6443/:6444/; s/user: {token: token}/user: {tokenFile: token}/' "$(lab_dir)/kube/kubeconfig" >"$poor/kubeconfig"
cp "$(lab_dir)/kube/ca.pem" "$poor/"
lab start node poor-api python3 "$here/poor_api.py" 6444 127.0.0.1:6443 "$(lab_dir)/kube/api.crt" "$(lab_dir)/kube/api.key" "$poor"
quietly crd ciliumnetworkpolicies CiliumNetworkPolicy cilium.io v2 Namespaced
await 10 quiet k get ciliumnetworkpolicies -A
policy 203.0.113.10
for n in 6 7; do
	lab add default "p$n" 10.0.1.2$n fd00::2$n
	quietly make_pod default "p$n" "app: $([ $n = 6 ] && echo one || echo none)"
	quietly run_pod default "p$n" 10.0.1.2$n fd00::2$n
done
# Enough pods for several pages.
for n in $(seq 120); do
	printf -- '---\napiVersion: v1\nkind: Pod\nmetadata: {name: n%s, namespace: default}\n' "$n"
	echo 'spec: {nodeName: node2, containers: [{name: c, image: none}]}'
done | quietly k apply -f -
sluice_start_agent
await 10 agent_answers
check "heard whole, through the proxy" await 30 synced
check "in step" await 10 agrees 203.0.113.10 203.0.113.11 open

canary_start internet
check "control: the canary sees what p7 sends, which may" reaches p7 8.8.8.8
check "control: and counts it" [ "$(canary_count internet "r.get('dst') == '8.8.8.8'")" -gt 0 ]
since=$(monotonic)
# What p6 may never reach, whatever happens.
lab start p6 prober python3 -c 'import socket, time
while True:
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex(("8.8.8.8", 443))
    time.sleep(0.05)
    s.close()'

last=none
# MODE SECONDS [STAYS]: changes in that time, which hold at its end, or, when the mode allows no progress, after it.
spell() {
	local before now start elapsed address other labelled
	read -r address other labelled <<<"$([ "$last" = one ] && echo "203.0.113.10 203.0.113.11 open" || echo "203.0.113.11 203.0.113.10 enforce")"
	last=$([ "$labelled" = open ] && echo none || echo one)
	before=$(count)
	start=$SECONDS
	mode "$1"
	sleep 1
	policy "$address"
	quietly k label pod -n default p7 "app=$last" --overwrite
	quietly k delete pod -n default "n$((++deleted))" --grace-period=0 --force --wait=false 2>/dev/null
	if [ -z "${3:-}" ]; then check "$1: what changes meanwhile is in force" await 60 agrees "$address" "$other" "$labelled"; fi
	sleep "$2"
	now=$(count)
	elapsed=$((SECONDS - start))
	mode well
	# Each kind at once, and a few times more the first seconds; then ever more rarely.
	check "$1: $((now - before)) requests in $elapsed s, at most 60 and 4 a second" [ $((now - before)) -le $((60 + 4 * elapsed)) ]
	check "$1: and in force afterwards" await 90 agrees "$address" "$other" "$labelled"
}
deleted=0
spell expired 20
spell gone 20
spell busy 15 stays
spell storm 15 stays
spell cut 20 stays
spell slow 15
spell pages 5
spell down 15 stays

# ---- the token is replaced ----

before=$(count)
sluice_put "$poor/token" <<<second # the kubelet writes the new one; the old one is refused from now on
policy 203.0.113.10
mode cut # what is under way ends
sleep 1
mode well
check "a new token is read" await 40 agrees 203.0.113.10 203.0.113.11 "$([ "$last" = one ] && echo enforce || echo open)"
check "without a refusal" not grep -q ' 401 ' <(tail -n +"$((before + 1))" "$poor/requests")

lab signal prober KILL
equal "no frame of what was never allowed got out" 0 "$(canary_count internet "r['time'] > $since and r.get('dst') == '8.8.8.8'")"
