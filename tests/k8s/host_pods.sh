#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Pods on the node's own network, held by their cgroups: a real API server has the pods, the folders are laid out in this
# machine's cgroup2 as kubelets do, and their processes are real. Who is held, who is not and why; what the held ones reach.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/../lab/lib.sh"

# shellcheck source=tests/k8s/apiserver.sh
. "$(dirname "$(readlink -f "$0")")/apiserver.sh"
export SLUICE_EXTRA POD_NAMESPACE=sluice POD_SERVICE_ACCOUNT=agents
SLUICE_EXTRA="kubernetes: {enabled: true, nodeName: node1, kubeconfig: $(lab_dir)/kube/kubeconfig}"

root=$(sed -nE 's/.* (\/[^ ]*) [^ ]* .*- cgroup2 .*/\1/p' /proc/self/mountinfo | head -n 1)
[ -n "$root" ] || { echo "no cgroup2 mounted here"; exit 77; }
kubelet=$root/sluice-test-$$
tidy() {
	echo 1 >"$kubelet/cgroup.kill" || true
	await 5 find "$kubelet" -depth -type d -exec rmdir {} +
}

# NAMESPACE NAME LABELS [SPEC [CONTAINER]]: on the node's network; a container drops all capabilities unless CONTAINER says else.
host_pod() {
	quietly k apply -f - <<-END
		apiVersion: v1
		kind: Pod
		metadata: {name: $2, namespace: $1, labels: {$3}}
		spec:
		  nodeName: node1
		  hostNetwork: true
		  ${4:-restartPolicy: Always}
		  containers:
		  - name: c
		    image: none
		    securityContext: {${5:-capabilities: {drop: [ALL]\}}}
	END
}
drop() { quiet k delete pod -n "$1" "$2" --grace-period=0 --force --wait=false; }
uid_of() { k get pod -n "$1" "$2" -o jsonpath='{.metadata.uid}'; }

# The folder of NAMESPACE NAME under either cgroup driver.
cgroupfs() { echo "$kubelet/kubepods/burstable/pod$(uid_of "$1" "$2")"; }
systemd() {
	local slice=$kubelet/kubelet.slice/kubelet-kubepods.slice
	echo "$slice/kubelet-kubepods-besteffort.slice/kubelet-kubepods-besteffort-pod$(uid_of "$1" "$2" | tr - _).slice"
}

# In a container's cgroup below the pod's folder $1, on the node, without any capability.
within() {
	local cgroup=$1/container
	shift
	mkdir -p "$cgroup"
	# shellcheck disable=SC2016 # expanded by the inner shell
	node sh -c 'echo 0 >"$1/cgroup.procs"; shift
		exec setpriv --no-new-privs --bounding-set -all --inh-caps -all "$@"' sh "$cgroup" "$@"
}
tries() { # FOLDER CASE ARGUMENT…
	local folder=$1
	shift
	within "$folder" /usr/bin/python3 "$tests_lab/command.py" "$@"
}
reaches() { [ "$(tries "$1" tcp "$2" "$3")" = ok ]; }

told() { # NAMESPACE/NAME FIELD
	bpfctl -o json status | json "''.join(p['$2'] for p in x['agent']['details']['kubernetes']['host_pods']
		if p['namespace'] + '/' + p['name'] == '$1')"
}
is() { [ "$(told "$1" state)" = "$2" ]; }
because() { grep -qF -- "$2" <<<"$(told "$1" reason)"; }
is_because() { is "$1" "$2" && because "$1" "$3"; }
has_mode() { [ "$(endpoint_field mode "$1" 2>/dev/null)" = "$2" ]; }
no_endpoint() { ! bpfctl -o json endpoint get "$1" >/dev/null 2>&1; }
as_policy() { # WHEN FOLDER
	equal "$1: a denied connection" EPERM "$(tries "$2" tcp 8.8.8.8 443)"
	equal "$1: and over IPv6" EPERM "$(tries "$2" tcp 2001:db8:666::6 443)"
	equal "$1: a name that is listed" "rcode=0 answers=1 peer=same" "$(tries "$2" dns_connected echo.example.com 172.20.0.10)"
	equal "$1: opens its address" ok "$(tries "$2" tcp 198.51.100.30 7000)"
	equal "$1: a name that is not" "rcode=0 answers=0 peer=same" "$(tries "$2" dns_connected attacker.example 172.20.0.10)"
}

lab_begin >&2
sed -i '/^dns:/d' "$(lab_dir)/sluice/sluice.yaml"
mkdir -p "$kubelet/kubepods/burstable" "$kubelet/kubepods/besteffort"
cluster_start
make_dns_service
quietly k create namespace hosts
quietly k create namespace sluice
quietly crd ciliumnetworkpolicies CiliumNetworkPolicy cilium.io v2 Namespaced
quietly crd ciliumclusterwidenetworkpolicies CiliumClusterwideNetworkPolicy cilium.io v2 Cluster
await 10 quiet k get ciliumclusterwidenetworkpolicies
quietly k apply -f - <<-END
	apiVersion: cilium.io/v2
	kind: CiliumClusterwideNetworkPolicy
	metadata: {name: everybody}
	spec:
	  endpointSelector: {}
	  egress:
	  - toFQDNs: [{matchName: echo.example.com}]
	    toPorts: [{ports: [{port: "7000", protocol: ANY}]}]
END
host_pod hosts held "sluice.dev/host-network: enforce"
host_pod hosts free "app: free"
sluice_start_agent
await 10 agent_answers
sluice_start_proxy
check "the proxy runs" await 30 proxy_runs

# ---- by its label ----

check "without its folder it waits" await 20 is_because hosts/held waiting "is not there yet"
check "one without the label is listed, with why" is_because hosts/free "not enforced" "it has no label sluice.dev/host-network: enforce"
check "endpoint list has both" [ "$(bpfctl -o json endpoint list | json "' '.join(sorted(o['name'] for o in x if o['mode'] == 'none'))")" = "free held" ]
held=$(cgroupfs hosts held)
free=$(cgroupfs hosts free)
mkdir "$held" "$free"
check "with its folder it is under its policy" await 3 has_mode hosts/held enforce
check "and told" is hosts/held enforced
as_policy "held" "$held"
check "what is not asked for reaches everything" reaches "$free" 8.8.8.8 443
check "so does the node" quiet node /usr/bin/python3 "$tests_lab/command.py" tcp 8.8.8.8 443
check "status has no warning of them" [ -z "$(bpfctl -o json status | json "''.join(w for w in x['warnings'] if 'host-network' in w)")" ]
check "metrics count them" grep -q 'pods_host_network{state="enforced"} 1' <(node curl -s http://127.0.0.1:9964/metrics)

# A process that is in the folder as soon as that is there, sooner than any container: how long it gets datagrams out, and how many.
early() { # FOLDER
	node python3 - "$1" <<-'END'
		import os, socket, sys, time
		sent, begun = 0, time.monotonic()
		os.mkdir(sys.argv[1])
		with open(sys.argv[1] + "/cgroup.procs", "w") as f:
		    f.write("0")
		s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # of that cgroup, since made in it
		try:
		    while time.monotonic() < begun + 5:
		        s.sendto(b"early", ("198.51.100.20", 7000))
		        sent += 1
		except PermissionError:
		    pass
		print(round(1000 * (time.monotonic() - begun)), sent)
	END
}
# Looking every second would take half of one on average.
: >"$(lab_dir)/early"
for i in $(seq "${SLUICE_EARLY:-5}"); do
	host_pod hosts "quick$i" "sluice.dev/host-network: enforce"
	folder=$(cgroupfs hosts "quick$i")
	await 5 is "hosts/quick$i" waiting
	early "$folder" >>"$(lab_dir)/early"
	check "quick$i is enforced" await 10 is "hosts/quick$i" enforced
	drop hosts "quick$i"
	rmdir "$folder"
done
echo "ms until a new folder is closed, datagrams until then: $(paste -sd, "$(lab_dir)/early")"
check "a new folder is news" [ "$(cut -d' ' -f1 "$(lab_dir)/early" | sort -n | tail -n 1)" -lt 250 ]

quietly k label namespace hosts sluice.dev/host-network=enforce
check "its namespace's label holds the other too" await 5 is hosts/free enforced
equal "held" EPERM "$(tries "$free" tcp 8.8.8.8 443)"
quietly k label pod -n hosts free sluice.dev/host-network=no
check "the pod's own label is the stronger" await 5 is_because hosts/free "not enforced" "is 'no', not 'enforce'"
check "and its programs are off" await 5 reaches "$free" 8.8.8.8 443
quietly k label namespace hosts sluice.dev/host-network-
quietly k label pod -n hosts free sluice.dev/host-network-

# ---- those that are not held by it ----

escapes() { # NAME WANT SPEC CONTAINER
	host_pod hosts "$1" "sluice.dev/host-network: enforce" "$3" "$4"
	mkdir "$(cgroupfs hosts "$1")"
	check "$2" await 5 is_because hosts/"$1" "not enforceable" "$2"
	drop hosts "$1"
}
escapes raw "container c does not drop CAP_NET_RAW" "" "runAsUser: 0"
escapes privileged "container c is privileged" "" "privileged: true"
escapes pids "hostPID shows it the node's processes" "hostPID: true" ""
escapes sockets "hostPath /run leads out of its cgroup" "volumes: [{name: run, hostPath: {path: /run}}]" ""
host_pod hosts raw "sluice.dev/host-network: enforce" "" "runAsUser: 0"
raw=$(cgroupfs hosts raw)
mkdir "$raw"
check "it is a warning of status" await 5 grep -q 'host-network pod hosts/raw: not enforceable: container c does not drop CAP_NET_RAW' \
	<(sleep 1; bpfctl status)
equal "what its programs see is denied all the same" EPERM "$(tries "$raw" tcp 8.8.8.8 443)"
quietly k debug -n hosts held --image=none --attach=false --profile=general -c debugger
check "a container for debugging, added while it runs, counts" await 5 is_because hosts/held "not enforceable" "container debugger"

# ---- agents and pods come and go ----

before=$(endpoint_field generation hosts/held)
lab signal sluiced KILL
await 5 not lab alive sluiced
as_policy "agent killed" "$held"
sluice_start_agent
await 10 agent_answers
as_policy "agent back" "$held"
equal "the same endpoint" "$before" "$(endpoint_field generation hosts/held)"
drop hosts held
sleep 2
equal "a pod that the API has no more is held while its processes run" EPERM "$(tries "$held" tcp 8.8.8.8 443)"
rmdir "$held/container" "$held"
check "and gone with its folder" await 5 no_endpoint hosts/held
host_pod hosts held "sluice.dev/host-network: enforce"
mkdir -p "$(dirname "$(systemd hosts held)")"
sleep 1.5
mkdir "$(systemd hosts held)"
held=$(systemd hosts held)
check "one of that name, of a kubelet that uses systemd" await 5 is hosts/held enforced
as_policy "systemd's slices" "$held"

# ---- by the configuration ----

lab signal sluiced TERM
await 10 not lab alive sluiced
sed -i 's/^kubernetes: {/kubernetes: {hostNetwork: {enforce: true}, /' "$(lab_dir)/sluice/sluice.yaml"
host_pod kube-system proxy "app: proxy"
host_pod sluice agent "app: sluice" "serviceAccountName: agents"
host_pod sluice other "app: other"
mkdir "$(cgroupfs kube-system proxy)" "$(cgroupfs sluice agent)" "$(cgroupfs sluice other)"
sluice_start_agent
await 10 agent_answers
check "the default holds one without a label" await 10 is hosts/free enforced
equal "it is denied" EPERM "$(tries "$free" tcp 8.8.8.8 443)"
check "not kube-system's" is_because kube-system/proxy "not enforced" "it is of kube-system"
check "which reaches everything" reaches "$(cgroupfs kube-system proxy)" 8.8.8.8 443
check "not Sluice's own" is_because sluice/agent "not enforced" "it is Sluice's own"
check "but others of its namespace" is sluice/other enforced
quietly k label pod -n kube-system proxy sluice.dev/host-network=enforce
check "kube-system's by label" await 5 is kube-system/proxy enforced
equal "denied" EPERM "$(tries "$(cgroupfs kube-system proxy)" tcp 8.8.8.8 443)"
