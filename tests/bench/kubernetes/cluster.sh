# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What run and soak have in common, sourced with PODS, POLICIES and LOCAL as pods, policies and local: the lab's node with a real API
# server (KUBE_BIN) that holds the objects, an interface for each pod of this node, and the agent and the proxy of BUILD, started.
: "${pods:?}" "${policies:?}" "${local:?}"
here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
[ -x "${KUBE_BIN:-}/kube-apiserver" ] || { echo "no kube-apiserver: set KUBE_BIN"; exit 77; }
# shellcheck source=tests/lab/lib.sh
. "$here/../../lab/lib.sh"
# shellcheck source=tests/k8s/apiserver.sh
. "$here/../../k8s/apiserver.sh"
export SLUICE_EXTRA SLUICE_INTERFACES='{auto: true, prefixes: [eni]}'
SLUICE_EXTRA="kubernetes: {enabled: true, nodeName: node1, kubeconfig: $(lab_dir)/kube/kubeconfig}
stateDir: $(lab_dir)/state"
sink=$(lab_dir)/sink
drive() { node python3 "$here/drive.py" "$@"; }
pids() { node pgrep -x 'sluiced|sluice-dnsproxy' | sort -n; }
details() { bpfctl -o json status | json "x['agent']['details']$1"; }
decided() { [ "$(bpfctl -o json endpoint list 2>/dev/null | json 'sum(e["mode"] != "quarantine" for e in x)')" -ge "$1" ]; }

lab_begin >&2
sed -i '/^dns:/d' "$(lab_dir)/sluice/sluice.yaml"
mkdir "$sink"
cluster_start
quietly crd ciliumnetworkpolicies CiliumNetworkPolicy cilium.io v2 Namespaced
await 10 quiet k get ciliumnetworkpolicies -A
echo "filling: $pods pods, $policies policies"
drive fill "$pods" "$policies" "$local"
node python3 -c 'import sys
sys.path.insert(0, sys.argv[2])
import drive
for i in range(int(sys.argv[1])):
    print(f"link add enib{i} type veth peer name eth0 netns pod{i}")
    print(f"link set enib{i} up")
    print(f"route add {drive.address(i)} dev enib{i}")' "$local" "$here" >"$sink/links"
node sh -c "for i in \$(seq 0 $((local - 1))); do ip netns add pod\$i; done"
node ip -batch "$sink/links"
lab add bench-0 probe 10.0.1.40 fd00::40
quietly make_pod bench-0 probe "probe: open"
quietly run_pod bench-0 probe 10.0.1.40 fd00::40
for state in open closed; do
	quietly k apply -f - <<-END
		apiVersion: cilium.io/v2
		kind: CiliumNetworkPolicy
		metadata: {name: probe-$state, namespace: bench-0}
		spec:
		  endpointSelector: {matchLabels: {probe: $state}}
		  egress: [{toCIDR: [$([ $state = open ] && echo 203.0.113.10 || echo 198.51.100.200)/32]}]
	END
done

begin=$(monotonic)
sluice_start_agent
sluice_start_proxy
check "all endpoints have their policy" await 120 decided $((local + 1))
python3 -c 'import sys; print(f"heard whole and enforced {float(sys.argv[2]) - float(sys.argv[1]):.1f} s after the start")' "$begin" "$(monotonic)"
echo "pods known: $(details "['kubernetes']['known_pods']"), policies: $(details "['kubernetes']['policies']")"
