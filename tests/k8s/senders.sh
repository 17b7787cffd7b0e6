# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154,SC2034 # variables of lib.sh, and of who sources this
# Pods that try what is allowed to them and what is not, from their first instruction on (sender.py), and what they tell.
# Sourced after lib.sh.

space=senders # their namespace
resolver=10.96.0.10

# What the policy `senders` allows to each of them, and what nothing ever does. The echo answers on every public address.
allowed=(udp/198.51.100.30/7000 udp/2001:db8:100::30/7000 flow/198.51.100.30/7000 "dns/$resolver/pypi.org" tcp/pypi.org/443)
forbidden=(-udp/198.51.100.20/7000 -udp/2001:db8:100::20/7000 -tcp/8.8.8.8/443 -tcp/169.254.169.254/80
	-tcp/fd00:ec2::254/80 -dns/8.8.8.8/blocked-example.example.com "-dns/$resolver/blocked-example.example.com")
# What a policy of a test opens and closes: X and Y.
X=192.0.2.44 Y=203.0.113.11
toggled=("?udp/$X/7000" "?flow/$X/7000" "?udp/$Y/7000")

# Of pods, frames beyond the cluster that no policy of a test ever allows; and those that it does.
beyond="r.get('src', '').startswith(('10.20.', 'fd00:20:')) and not r['dst'].startswith(('10.', 'fd00:10:', 'fd00:20:', 'fd00:96:'))"
listed="(r['dst'], r.get('proto'), r.get('dport')) in {('198.51.100.30', 17, 7000), ('2001:db8:100::30', 17, 7000),
	('203.0.113.10', 6, 443), ('2001:db8:113::10', 6, 443), ('$X', 17, 7000), ('$Y', 17, 7000)}"
listed=${listed//$'\n'/ }

senders_begin() {
	test_namespace $space
	k -n $space create configmap sender --from-file="$tests_k8s/sender.py" >/dev/null
}

# The policy of them all; pods of the namespace that have no label are held to it too, so none is ever open.
senders_policy() {
	k apply -f - >/dev/null <<-END
		apiVersion: cilium.io/v2
		kind: CiliumNetworkPolicy
		metadata: {name: senders, namespace: $space}
		spec:
		  endpointSelector: {}
		  egress:
		  - toFQDNs: [{matchName: pypi.org}]
		    toPorts: [{ports: [{port: "443", protocol: TCP}]}]
		  - toCIDR: [198.51.100.30/32, "2001:db8:100::30/128"]
		    toPorts: [{ports: [{port: "7000", protocol: UDP}]}]
	END
}

# A policy for pods with the labels, which opens one address to them.
opens() { # NAME LABELS ADDRESS
	k apply -f - >/dev/null <<-END
		apiVersion: cilium.io/v2
		kind: CiliumNetworkPolicy
		metadata: {name: $1, namespace: $space}
		spec:
		  endpointSelector: {matchLabels: {$2}}
		  egress:
		  - toCIDR: [$3/32]
		    toPorts: [{ports: [{port: "7000", protocol: UDP}]}]
	END
}
closes() { k -n $space delete ciliumnetworkpolicy "$1" --ignore-not-found >/dev/null; } # NAME

# A pod's spec as JSON: on a node, or wherever the scheduler puts it.
sender_spec() { # RUNTIME NODE|'' TARGET…
	jq -nc --arg runtime "$1" --arg node "$2" '{
		terminationGracePeriodSeconds: 1, automountServiceAccountToken: false, enableServiceLinks: false,
		containers: [{name: "sender", image: "localhost/agent:1", imagePullPolicy: "Never",
			command: (["python3", "-S", "-E", "/opt/sender/sender.py"] + $ARGS.positional),
			env: [{name: "HOSTNAME", valueFrom: {fieldRef: {fieldPath: "metadata.name"}}}],
			volumeMounts: [{name: "sender", mountPath: "/opt/sender"}]}],
		volumes: [{name: "sender", configMap: {name: "sender"}}],
		tolerations: [{operator: "Exists", key: "node.kubernetes.io/not-ready"},
			{operator: "Exists", key: "node.kubernetes.io/unreachable"}]
	} + if $runtime == "runc" then {} else {runtimeClassName: $runtime} end
	  + if $node == "" then {} else {nodeName: $node} end' --args -- "${@:3}"
}

sender_pod() { # NAME LABELS RUNTIME NODE TARGET…: LABELS as JSON
	jq -nc --arg name "$1" --arg ns $space --argjson labels "$2" --argjson spec "$(sender_spec "${@:3}")" \
		'{apiVersion: "v1", kind: "Pod", metadata: {name: $name, namespace: $ns, labels: $labels}, spec: $spec}'
}

# Four of them, of both runtimes on both nodes: NAME-runc1 NAME-gvisor1 NAME-runc2 NAME-gvisor2, with the label app=NAME.
senders() { # NAME TARGET…
	local n r
	for n in 1 2; do
		for r in runc gvisor; do sender_pod "$1-$r$n" "{\"app\": \"$1\"}" $r node$n "${@:2}"; done
	done | k apply -f - >/dev/null
	k -n $space wait --for=condition=Ready pod -l app="$1" --timeout=120s
}

# ---- what they tell ----

# The last line of each pod with the labels.
told() { k -n $space logs -l "$1" --tail=1 --max-log-requests=60; } # SELECTOR

# Is that so, by jq's expression over t, of all of them? SELECTOR HOW-MANY EXPRESSION
all_tell() { told "$1" | jq -se --argjson n "$2" "length == \$n and all(.[]; .targets as \$t | $3)"; }

# As an expression: all that is allowed is answered now; all that is forbidden was tried, and none of it was ever answered; the
# first packets were answered.
works='all($t | to_entries[] | select(.key | test("^[a-z]")); .value.last)'
tried='all($t | to_entries[] | select(.key | startswith("-")); .value.tried > 0)'
holds='all($t | to_entries[] | select(.key | startswith("-")); .value.answered == 0)'
first='all($t | to_entries[] | select(.key | test("^(udp|flow|dns)")); .value.first)'
reaches() { printf '($t["?udp/%s/7000"].last and ($t["?flow/%s/7000"].last // true))' "$1" "$1"; } # ADDRESS
misses() { printf '([$t["?udp/%s/7000"], $t["?flow/%s/7000"]] | all(.[]; . == null or .last == false))' "$1" "$1"; }

# Which of what is forbidden was answered, of whom.
reached() { # SELECTOR
	told "$1" | jq -r '.pod as $pod | .targets | to_entries[] | select((.key | startswith("-")) and .value.answered > 0) |
		"\($pod) reached \(.key) \(.value.answered) of \(.value.tried) times"'
}

# How many datagrams were lost that must not have been, and how many got through that must not have, of all pods.
tally() { # SELECTOR
	told "$1" | jq -src '[.[].targets | to_entries[]] |
		"lost \([.[] | select(.key | test("^(udp|flow)")) | .value.lost] | add)" +
		" dns \([.[] | select(.key | startswith("dns")) | .value.lost] | add)" +
		" forbidden \([.[] | select(.key | startswith("-")) | .value.answered] | add)"'
}

# ---- what left the nodes ----

now() { python3 -c 'import time; print(time.monotonic())'; }

# After the senders have seen it closed: no frame goes there any more.
none_to() { # WHAT ADDRESS
	local since
	since=$(now)
	sleep 3
	equal "$1: no frame goes there any more" 0 "$(uplinks_count "$canary" "r['time'] > $since and r.get('dst') == '$2'")"
}
