#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What Sluice costs and how fast it is on the cluster, in figures; README.md has the last ones. Nothing is asserted.
#
#   figures.sh start [ROUNDS [PODS]]  that many pods at once until all are Ready, with and without Sluice in turn (3, 50)
#   figures.sh dns [TIMES]            queries lost while the agent is killed and started again (3)
#   figures.sh flood [ROUNDS]         one pod's DNS while another floods with what is denied (5)
#   figures.sh change [TIMES]         a label or a policy changes, until the first packet that meets another verdict (20)
# shellcheck source=tests/k8s/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
# shellcheck source=tests/k8s/senders.sh
. "$tests_k8s/senders.sh"

with_sluice() {
	sluice_install --set crds.install.ciliumNetworkPolicy=true --set cni.install=true >/dev/null
	senders_policy
}
idle() { # NAME NODE LABELS: a pod to run measure.py in
	sender_pod "$1" "$3" runc "$2" tcp/127.0.0.1/1 | jq '.spec.containers[0].command = ["sleep", "infinity"]' | k apply -f - >/dev/null
	k -n $space wait --for=condition=Ready "pod/$1" --timeout=60s >/dev/null
}
in_pod() { k -n $space exec "$1" -- python3 -S -E /opt/sender/measure.py "${@:2}"; }

# ---- pods at once ----

burst() { # HOW-MANY: prints the seconds until all are Ready
	local i list
	list=$(for ((i = 0; i < $1; i++)); do sender_pod burst-$i '{"app": "burst"}' runc node$((i % 2 + 1)) x; done |
		jq -c '.spec.containers[0] |= (.command = ["sleep", "infinity"] | .image = "localhost/busybox:1")')
	python3 - "$top/tools/cluster" $space <<-E
		import subprocess, sys, time
		kubectl = [sys.argv[1], "kubectl", "-n", sys.argv[2]]
		begun = time.monotonic()
		subprocess.run([*kubectl, "apply", "-f", "-"], input='''$list''', text=True, check=True, stdout=subprocess.DEVNULL)
		subprocess.run([*kubectl, "wait", "--for=condition=Ready", "pod", "-l", "app=burst", "--timeout=300s"], check=True,
		               stdout=subprocess.DEVNULL)
		took = f"{time.monotonic() - begun:.2f}"
		print(f"$1 pods in {took} s", file=sys.stderr)
		print(took)
	E
	k -n $space delete pod -l app=burst --wait >/dev/null
}
figure_start() {
	local i rounds=${1:-3} pods=${2:-50} with=() without=()
	burst 10 >/dev/null # what is read for the first time
	for ((i = 0; i < rounds; i++)); do
		without+=("$(burst "$pods")")
		with_sluice
		with+=("$(burst "$pods")")
		sluice_uninstall >/dev/null
		nodes_clean >/dev/null 2>&1
	done
	python3 -c 'import statistics, sys
without, with_it = ([float(x) for x in a.split()] for a in sys.argv[1:])
print("without Sluice:", *without, "s; with it:", *with_it, "s")
print(f"medians {statistics.median(without):.2f} and {statistics.median(with_it):.2f} s,",
      f"ratio {statistics.median(with_it) / statistics.median(without):.3f}; of the least {min(with_it) / min(without):.3f}")' \
		"${without[*]}" "${with[*]}"
}

# ---- DNS over the agent's death ----

figure_dns() {
	local i starts
	with_sluice
	for i in 1 2; do sender_pod asker-$i '{"app": "asker"}' runc node$i --every 0.01 "dns/$resolver/pypi.org"; done | k apply -f - >/dev/null
	k -n $space wait --for=condition=Ready pod -l app=asker --timeout=60s >/dev/null
	within 60 all_tell app=asker 2 "$works"
	for ((i = 0; i < ${1:-3}; i++)); do
		starts=$(agent_starts)
		for n in node1 node2; do cluster exec $n sh -c 'kill -KILL $(pgrep -x sluiced)'; done
		within 180 agents_started_after "$starts"
		sluice_ready >/dev/null
	done
	sleep 2
	told app=asker | jq -sr '[.[].targets[]] | "agents killed: of \([.[].tried] | add) queries, \([.[].retried] | add) needed their retry and \([.[].lost] | add) had no answer; the slowest took \([.[].slowest] | max) s"'
}
agent_starts() {
	k -n kube-system get pods -l app.kubernetes.io/name=sluice -o json |
		jq '[.items[].status.containerStatuses[] | select(.name == "agent") | .restartCount] | add'
}
agents_started_after() { [ "$(agent_starts)" -ge $(($1 + 2)) ]; }

# ---- a flood of denied packets ----

figure_flood() {
	local i state
	with_sluice
	idle asker node1 '{"app": "asker"}'
	idle flooder node1 '{"app": "flooder"}'
	for ((i = 0; i < ${1:-5}; i++)); do
		# The one of loopback takes as much of the processor, and sends nothing out of the pod.
		for state in quiet loopback denied; do
			case $state in
			loopback) in_pod flooder flood 127.0.0.1 7000 14 >"$folder/flooded-$state" & ;;
			denied) in_pod flooder flood 198.51.100.20 7000 14 >"$folder/flooded-$state" & ;;
			esac
			sleep 2
			in_pod asker dns $resolver pypi.org 10 | jq -c --arg state $state '{state: $state} + .'
			wait
		done
	done | tee "$folder/flood"
	echo "datagrams of the last flood: $(cat "$folder/flooded-denied")"
	jq -sr 'def median: sort | .[length / 2 | floor]; group_by(.state) | map({(.[0].state): (map(.p99) | median)}) | add |
		"p99 in us, medians: quiet \(.quiet), loopback \(.loopback), denied \(.denied); denied of quiet \(.denied / .quiet), of loopback \(.denied / .loopback)"' "$folder/flood"
}

# ---- a change, until the first other verdict ----

figure_change() {
	local times=${1:-20} seconds
	seconds=$((times + 6))
	with_sluice
	opens plus "grade: plus" $X
	opens change "app: nobody" $X
	idle changing node1 '{"app": "changing"}'
	changes "label, node1" $seconds "$times" /api/v1/namespaces/$space/pods/changing \
		'{"metadata": {"labels": {"grade": "plus"}}}' '{"metadata": {"labels": {"grade": null}}}'
	changes "policy, node1" $seconds "$times" /apis/cilium.io/v2/namespaces/$space/ciliumnetworkpolicies/change \
		'{"spec": {"endpointSelector": {"matchLabels": {"app": "changing"}}}}' '{"spec": {"endpointSelector": {"matchLabels": {"app": "nobody"}}}}'
}
changes() { # WHAT SECONDS TIMES PATH OPEN CLOSE
	in_pod changing verdicts $X 7000 "$2" >"$folder/rows" &
	sleep 2
	cluster exec node1 python3 "$tests_k8s/measure.py" patch "$folder/pki/admin.kubeconfig" "$4" "$5" "$4" "$6" 1 "$3" >"$folder/patches"
	wait
	python3 - "$1" "$folder/rows" "$folder/patches" <<-'E'
		import json, statistics, sys
		rows, patches = (json.load(open(p)) for p in sys.argv[2:])
		if len(rows) * 2 != len(patches):
		    sys.exit(f"{len(rows)} rows of answers for {len(patches)} changes")
		for what, at, edges in (("opened", 0, [r[0] for r in rows]), ("closed", 1, [r[1] for r in rows])):
		    sent = [1e3 * (e - p[0]) for e, p in zip(edges, patches[at::2])]
		    done = [1e3 * (e - p[1]) for e, p in zip(edges, patches[at::2])]
		    print(f"{sys.argv[1]} {what}: ms from the request: median {statistics.median(sent):.1f}, most {max(sent):.1f};",
		          f"from its answer: median {statistics.median(done):.1f}, most {max(done):.1f}")
	E
}

case ${1:-} in start | dns | flood | change) ;; *) sed -n '5,8p' "$0" >&2; exit 2 ;; esac
k8s_begin
test_namespace $space
k -n $space create configmap sender --from-file="$tests_k8s/sender.py" --from-file="$tests_k8s/measure.py" >/dev/null
echo "$(nproc) processors, load $(cut -d' ' -f1-3 /proc/loadavg)"
"figure_$1" "${@:2}"
echo "load $(cut -d' ' -f1-3 /proc/loadavg)"
