# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # variables of lib.sh and senders.sh
# Pods come, go and come elsewhere. Sourced by faults.sh.

stateful() { # RUNTIME GRADE: one pod, always of the same name
	jq -nc --arg name "web-$1" --arg ns $space --arg grade "$2" \
		--argjson spec "$(sender_spec "$1" '' "${allowed[@]}" "${forbidden[@]}" "${toggled[@]}")" '
		{apiVersion: "apps/v1", kind: "StatefulSet", metadata: {name: $name, namespace: $ns}, spec: {
			replicas: 1, serviceName: $name, selector: {matchLabels: {app: $name}},
			template: {metadata: {labels: {app: $name, grade: $grade}}, spec: $spec}}}' | k apply -f - >/dev/null
	k -n $space rollout status statefulset/web-$1 --timeout=120s
}
never() { printf '($t["?udp/%s/7000"].answered == 0)' "$1"; } # ADDRESS: since the pod's start

# Each pod has the name, and thereby the interface's name, of the one before it; its policy is another.
step_name() {
	local r grade mine other
	opens first "grade: first" $X
	opens second "grade: second" $Y
	for r in runc gvisor; do
		for grade in first second first; do
			mine=$X other=$Y
			[ $grade = first ] || { mine=$Y other=$X; }
			check "web-$r-0 is made anew, with grade $grade" stateful $r $grade
			checked_within "its own address is open to it" 60 all_tell app=web-$r,grade=$grade 1 "$(reaches $mine)"
			check "and the one of its predecessor never was" all_tell app=web-$r,grade=$grade 1 "$(never $other)"
			all_is_well "web-$r-0" app=web-$r,grade=$grade 1
			check "its first packets were answered" all_tell app=web-$r,grade=$grade 1 "$first"
		done
		k -n $space delete statefulset web-$r --timeout=60s >/dev/null
	done
	closes first
	closes second
}

step_move() {
	local r n
	opens moved "app: moved" $X
	for r in runc gvisor; do
		for n in node1 node2 node1; do
			sender_pod moved-$r '{"app": "moved"}' $r $n "${allowed[@]}" "${forbidden[@]}" "${toggled[@]}" | k apply -f - >/dev/null
			check "moved-$r runs on $n" k -n $space wait --for=condition=Ready pod/moved-$r --timeout=90s
			checked_within "its policy is there" 30 all_tell app=moved 1 "$(reaches $X) and $(never $Y)"
			all_is_well "moved-$r on $n" app=moved 1
			check "its first packets were answered" all_tell app=moved 1 "$first"
			k -n $space delete pod moved-$r --wait >/dev/null
		done
	done
	closes moved
}

deployment() { # RUNTIME
	jq -nc --arg name "drained-$1" --arg ns $space --argjson spec "$(sender_spec "$1" '' "${allowed[@]}" "${forbidden[@]}")" '
		{apiVersion: "apps/v1", kind: "Deployment", metadata: {name: $name, namespace: $ns}, spec: {
			replicas: 2, selector: {matchLabels: {app: "drained", deployment: $name}},
			template: {metadata: {labels: {app: "drained", deployment: $name}}, spec: $spec}}}' | k apply -f - >/dev/null
	k -n $space rollout status "deployment/drained-$1" --timeout=120s
}
all_on() { # SELECTOR NODE
	[ "$(k -n $space get pods -l "$1" -o json | jq -r '[.items[].spec.nodeName] | unique | join(" ")')" = "$2" ]
}

step_drain() {
	local r
	k cordon node1 >/dev/null
	for r in runc gvisor; do check "two pods of $r run" deployment $r; done
	check "on node2" all_on app=drained node2
	k uncordon node1 >/dev/null
	check "node2 is drained" k drain node2 --pod-selector=app=drained --ignore-daemonsets --delete-emptydir-data --timeout=120s
	for r in runc gvisor; do check "the pods of $r run again" k -n $space rollout status deployment/drained-$r --timeout=120s; done
	checked_within "on node1" 60 all_on app=drained node1
	k uncordon node2 >/dev/null
	all_is_well "on the other node" app=drained 4
	check "their first packets were answered" all_tell app=drained 4 "$first"
	k -n $space delete deployment drained-runc drained-gvisor --wait=false >/dev/null
	k -n $space wait --for=delete pod -l app=drained --timeout=60s >/dev/null
}

# ---- pods of the other node as peers ----

server() { # NAME ROLE
	k apply -f - >/dev/null <<-END
		apiVersion: v1
		kind: Pod
		metadata: {name: $1, namespace: $space, labels: {app: server, role: $2}}
		spec:
		  nodeName: node2
		  terminationGracePeriodSeconds: 1
		  containers:
		  - {name: web, image: "localhost/agent:1", imagePullPolicy: Never, command: [python3, -m, http.server, "8080"]}
	END
	k -n $space wait --for=condition=Ready "pod/$1" --timeout=60s
}
address_of() { k -n $space get pod "$1" -o jsonpath='{.status.podIP}'; }
connected() { printf '$t["?tcp/%s/8080"].last' "$1"; } # ADDRESS

step_peers() {
	local r ours theirs
	k apply -f - >/dev/null <<-END
		apiVersion: cilium.io/v2
		kind: CiliumNetworkPolicy
		metadata: {name: peers, namespace: $space}
		spec:
		  endpointSelector: {matchLabels: {app: client}}
		  egress:
		  - toEndpoints: [{matchLabels: {role: ours}}]
		    toPorts: [{ports: [{port: "8080", protocol: TCP}]}]
	END
	check "a server that the policy names runs on node2" server ours ours
	check "and one that it does not" server theirs theirs
	ours=$(address_of ours) theirs=$(address_of theirs)
	for r in runc gvisor; do
		sender_pod client-$r '{"app": "client"}' $r node1 "${allowed[@]}" "${forbidden[@]}" "?tcp/$ours/8080" "?tcp/$theirs/8080"
	done | k apply -f - >/dev/null
	check "clients of both runtimes run on node1" k -n $space wait --for=condition=Ready pod -l app=client --timeout=90s
	checked_within "they reach the one, not the other" 30 all_tell app=client 2 "$(connected "$ours") and ($(connected "$theirs") | not)"
	check "and never did" all_tell app=client 2 "\$t[\"?tcp/$theirs/8080\"].answered == 0"
	k -n $space label pod theirs role=ours --overwrite >/dev/null
	checked_within "the other's label changes: they reach it" 30 all_tell app=client 2 "$(connected "$theirs")"
	k -n $space label pod theirs role=theirs --overwrite >/dev/null
	checked_within "and back: they do not" 30 all_tell app=client 2 "$(connected "$theirs") | not"
	k -n $space delete pod ours --wait >/dev/null
	check "another pod comes" server third theirs
	equal "with its address" "$ours" "$(address_of third)"
	check "where the peer's address is another's now, it is closed" all_tell app=client 2 "$(connected "$ours") | not"
	all_is_well "the clients" app=client 2
	k -n $space delete pod -l app=client --wait=false >/dev/null
	k -n $space delete pod -l app=server --wait=false >/dev/null
	closes peers
}
