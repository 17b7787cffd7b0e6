#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# An agent that starts while the API is away: from the last known state, after its own end and after the node's. A real API server;
# what a reboot takes (processes, the BPF file system, /run, sandboxes) is taken, and the boot's id is another.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/../lab/lib.sh"
# shellcheck source=tests/k8s/apiserver.sh
. "$(dirname "$(readlink -f "$0")")/apiserver.sh"
export SLUICE_EXTRA SLUICE_INTERFACES='{auto: true, prefixes: [eni]}'
SLUICE_EXTRA="kubernetes: {enabled: true, nodeName: node1, kubeconfig: $(lab_dir)/kube/kubeconfig}
stateDir: $(lab_dir)/state"
file=$(lab_dir)/state/cluster.state

in_log() { grep -qE "$1" "$(lab_dir)/log/sluiced.log"; }
ready() { node curl -s http://127.0.0.1:9964/readyz; }
mode_of() { bpfctl -o json endpoint get "default/$1" 2>/dev/null | json "x['mode']"; }
is() { [ "$(mode_of "$2")" = "$1" ]; } # MODE POD
reaches() { first_packet_of "$@"; }
closed() { not reaches "$1" 203.0.113.10 443 && not reaches "$1" 8.8.8.8 443; }
kept() { [ "$(bpfctl -o json status | json 'x["agent"]["details"]["kubernetes"]["state"]["behind"]')" = False ]; }
synced() { [ "$(bpfctl -o json status | json 'x["agent"]["details"]["kubernetes"]["synced"]')" = True ]; }
start() {
	: >"$(lab_dir)/log/sluiced.log"
	sluice_start_agent
	await 30 agent_answers
}
stop() { # SIGNAL
	lab signal sluiced "$1"
	await 30 not lab alive sluiced
}
api_stop() { lab signal kube-apiserver KILL; await 10 not lab alive kube-apiserver; }
label() { quietly k label pod -n default "$@" --overwrite; }

# ---- a cluster of three pods: one may reach one address, one another, and nothing selects the third ----

cnp() { # NAME ADDRESS
	quietly k apply -f - <<-END
		apiVersion: cilium.io/v2
		kind: CiliumNetworkPolicy
		metadata: {name: $1, namespace: default}
		spec:
		  endpointSelector: {matchLabels: {app: $1}}
		  egress: [{toCIDR: [$2/32]}]
	END
}
lab_begin >&2
sed -i '/^dns:/d' "$(lab_dir)/sluice/sluice.yaml"
cluster_start
quietly crd ciliumnetworkpolicies CiliumNetworkPolicy cilium.io v2 Namespaced
await 10 quiet k get ciliumnetworkpolicies -A
cnp one 203.0.113.10
cnp two 8.8.8.8
for n in 6 7 8; do
	lab add default "p$n" 10.0.1.2$n fd00::2$n
	quietly make_pod default "p$n" "app: $([ $n = 6 ] && echo one || { [ $n = 7 ] && echo two || echo none; })"
	quietly run_pod default "p$n" 10.0.1.2$n fd00::2$n
done
as_told() { # WHEN
	check "$1: the first pod reaches what its policy allows" reaches p6 203.0.113.10 443
	check "$1: and not the rest" not reaches p6 8.8.8.8 443
	check "$1: the second reaches what its policy allows" reaches p7 8.8.8.8 443
	check "$1: and not the rest" not reaches p7 203.0.113.10 443
	check "$1: what nothing selects is open" reaches p8 8.8.8.8 443
}
start
check "heard whole" await 20 synced
await 10 is enforce p7
as_told "the API's word"
check "the state is kept" await 10 kept
check "ServiceCIDRs too, where the API has them" grep -q '"cidrs":\["172.20.0.0/16"\]' "$file"
equal "for root alone" "600 0" "$(stat -c '%a %u' "$file")"

# ---- the agent starts anew while the API is away ----

api_stop
stop KILL
start
check "it goes by the state" in_log 'the cluster as it was [0-9]+ s ago, until'
check "it is not ready, and says how old that is" grep -qE 'not heard whole yet; until then the cluster is as it was [0-9]+ s ago' < <(ready)
equal "pods and policies are known, not merely left as they are" "3 0 2" \
	"$(bpfctl -o json status | json '"{pods} {unjoined} {policies}".format(**x["agent"]["details"]["kubernetes"])')"
as_told "API away"
lab add default p9 10.0.1.29 fd00::29
sleep 1
check "a new pod is in quarantine" closed p9
unwire p7 10.0.1.27 fd00::27
lab add default p7 10.0.1.97 fd00::97
sleep 1
check "a known pod's new sandbox is closed before the CNI says whose it is" closed p7
uid7=$(bpfctl -o json status >/dev/null && sed -n 's/.*"name":"p7","uid":"\([^"]*\)".*/\1/p' "$file")
equal "when it does, ADD returns" "" "$(cni_add_pod default p7 "$uid7" 20 10.0.1.97 fd00::97)"
as_told "new sandbox"
unwire p6 10.0.1.26 fd00::26
lab add default p9b 10.0.1.26 fd00::26
sleep 1
check "an address that was a known pod's opens nothing to who has it now" closed p9b
unwire p9b 10.0.1.26 fd00::26
lab add default p6 10.0.1.26 fd00::26
uid6=$(sed -n 's/.*"name":"p6","uid":"\([^"]*\)".*/\1/p' "$file")
cni_add_pod default p6 "$uid6" 20 10.0.1.26 fd00::26

# ---- the API comes back with another word ----

stop KILL
api_start
label p8 app=one
quietly k delete pod -n default p7 --grace-period=0 --force --wait=false
cnp one 8.8.4.4
start
check "heard whole" await 40 synced
check "a policy that was tightened meanwhile is in force" await 5 not reaches p6 203.0.113.10 443
check "a label that was put on meanwhile holds" await 5 is enforce p8
check "a pod that was deleted meanwhile has nothing" closed p7

# ---- a state that is older than what is in force ----

label p8 app=none
await 5 is open p8
check "kept" await 20 kept
mkdir "$file.tmp" # from now on it cannot be written
label p8 app=one
await 10 is enforce p8
check "that the state cannot be kept is said" await 20 in_log 'cannot be written: Is a directory'
stop KILL
api_stop
rmdir "$file.tmp"
check "control: by the file it would be open" grep -qE '"name":"p8","uid":"[^"]*","labels":\{"app":"none"' "$file"
start
check "an agent that finds the mark leaves the file" in_log 'not taken: what is in force is newer, and stays'
check "and what is in force stays" is enforce p8
check "with nothing opened" not reaches p8 8.8.8.8 443
stop KILL
node rm /run/sluice/state.behind
start
check "control: without the mark it is opened" await 5 reaches p8 8.8.8.8 443
stop KILL
api_start
start
check "back in step" await 40 synced
check "enforced" await 5 is enforce p8
check "kept" await 20 kept

# ---- the node is rebooted, the API away ----

cnp one 203.0.113.10
quietly make_pod default p7 "app: two"
quietly run_pod default p7 10.0.1.97 fd00::97
label p8 app=none
check "the second pod is there again" await 5 is enforce p7
check "kept" await 20 kept
uid6=$(uid_of default p6) uid7=$(uid_of default p7) uid8=$(uid_of default p8)
api_stop
stop KILL
reboot_node() { # BOOT-ID
	unwire p6 10.0.1.26 fd00::26
	unwire p7 10.0.1.97 fd00::97
	unwire p8 10.0.1.28 fd00::28
	node rm -rf /sys/fs/bpf/sluice /run/sluice
	echo "$1" >"$(lab_dir)/boot_id"
	node umount /proc/sys/kernel/random/boot_id 2>/dev/null || true
	node mount --bind "$(lab_dir)/boot_id" /proc/sys/kernel/random/boot_id
}
reboot_node 11111111-2222-4333-8444-555555555555
start
check "it goes by the state of another boot" in_log 'in another boot, until its API is heard'
# Who had which address has changed: the CNI deals them out anew.
lab add default p6 10.0.1.28 fd00::28
lab add default p7 10.0.1.26 fd00::26
lab add default p8 10.0.1.97 fd00::97
sleep 1
for p in p6 p7 p8; do check "new boot: $p has nothing by an address of the old one" closed $p; done
equal "ADD returns for the first" "" "$(cni_add_pod default p6 "$uid6" 20 10.0.1.28 fd00::28)"
equal "for the second" "" "$(cni_add_pod default p7 "$uid7" 20 10.0.1.26 fd00::26)"
equal "for the third" "" "$(cni_add_pod default p8 "$uid8" 20 10.0.1.97 fd00::97)"
as_told "new boot"
check "a uid that the state does not have starts closed" grep -q 'starts closed' <<<"$(cni_add_pod default p9 no-such 0.5 10.0.1.29 fd00::29)"
check "with nothing" closed p9
stop KILL
start
as_told "new boot, agent new"

api_start
for p in "p6 10.0.1.28 fd00::28" "p7 10.0.1.26 fd00::26" "p8 10.0.1.97 fd00::97"; do
	# shellcheck disable=SC2086
	quietly run_pod default $p
done
quietly k delete ciliumnetworkpolicy -n default two
check "the API is back" await 40 synced
check "a policy that was deleted meanwhile is over" await 10 is open p7
check "the others hold" not reaches p6 8.8.8.8 443

# ---- files that are not taken ----

check "kept" await 20 kept
stop TERM
api_stop
cp "$file" "$file.good"
refused() { # WHAT MESSAGE
	reboot_node "$(cat /proc/sys/kernel/random/uuid)"
	lab add default p6 10.0.1.26 fd00::26
	lab add default p7 10.0.1.97 fd00::97
	lab add default p8 10.0.1.28 fd00::28
	start
	check "$1 is refused" in_log "not taken: $2"
	cni_add_pod default p8 "$uid8" 0.5 10.0.1.28 fd00::28 >/dev/null
	check "$1: nothing of it is known" closed p8
	stop KILL
}
unwire p6 10.0.1.28 fd00::28
unwire p7 10.0.1.26 fd00::26
unwire p8 10.0.1.97 fd00::97
for p in "p6 10.0.1.26 fd00::26" "p7 10.0.1.97 fd00::97" "p8 10.0.1.28 fd00::28"; do
	# shellcheck disable=SC2086
	lab add default $p
done
head -c -100 "$file.good" >"$file"
refused "a torn file" 'it is torn'
sed '1s/1/2/' "$file.good" >"$file"
refused "a file of a newer version" 'its format is 2'
sed -i 's/nodeName: node1/nodeName: node2/' "$(lab_dir)/sluice/sluice.yaml"
cp "$file.good" "$file"
refused "another node's file" "it is another node's"
sed -i 's/nodeName: node2/nodeName: node1/' "$(lab_dir)/sluice/sluice.yaml"
# A node of the same name and address in another cluster, whose API server another authority vouches for.
openssl req -x509 -newkey rsa:2048 -nodes -keyout /dev/null -out "$(lab_dir)/kube/other.pem" -days 2 -subj /CN=lab 2>/dev/null
sed -i 's/certificate-authority: ca.pem/certificate-authority: other.pem/' "$(lab_dir)/kube/kubeconfig"
cp "$file.good" "$file"
refused "another cluster's file" "it is another cluster's"
sed -i 's/certificate-authority: other.pem/certificate-authority: ca.pem/' "$(lab_dir)/kube/kubeconfig"
chmod 777 "$(lab_dir)/state"
start
check "a folder that others may write to is not used" in_log 'stateDir .*: it cannot be used: Operation not permitted'
chmod 700 "$(lab_dir)/state"
stop TERM
rm "$file.good"
check "cleanup" quiet bpfctl cleanup --config "$(lab_dir)/sluice/sluice.yaml"
check "takes the state with it" not test -e "$(lab_dir)/state"
