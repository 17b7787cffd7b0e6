#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The agent's end, before a real API server and with exactly the chart's rights: whoever is told to end by helm's uninstallation
# leaves nothing on its node; whoever is told to end otherwise, whatever helm has left behind, leaves everything in force.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/../lab/lib.sh"
# shellcheck source=tests/k8s/apiserver.sh
. "$top/tests/k8s/apiserver.sh"
kube=$(lab_dir)/kube conf=$(lab_dir)/net.d bin=$(lab_dir)/cni-bin
export SLUICE_EXTRA SLUICE_INTERFACES='{auto: true, prefixes: [eni]}'
SLUICE_EXTRA="kubernetes: {enabled: true, nodeName: node1, kubeconfig: $kube/agent.kubeconfig}
cni: {install: true, confDir: $conf, binDir: $bin}"

h() {
	node env HOME="$kube" "$KUBE_BIN/helm" --kubeconfig "$kube/kubeconfig" -n kube-system "$@" \
		2> >(grep -v 'found symbolic link' >&2)
}
install() {
	quietly h install sluice "$top/charts/sluice"
	k -n kube-system create token sluice --duration=1h >"$kube/token"
}
word() { # apply|delete: the object that helm makes
	quietly k "$1" -f - <<-END
		apiVersion: v1
		kind: ConfigMap
		metadata: {name: sluice-uninstall, namespace: kube-system, labels: {sluice.dev/uninstall: "true"}}
	END
}

traces() {
	node sh -c '
		ip -4 rule show; ip -6 rule show
		ip -4 route show table all; ip -6 route show table all | grep -v " dev eni"
		tc qdisc show | grep clsact
		ls /sys/fs/bpf /run
		'"echo $conf/* $bin/*"
}
uninstall() { bpfctl -o json status | json "x['agent']['details']['kubernetes']['uninstall']['$1']"; }
says() { [ "$(uninstall "$1")" = "$2" ]; }
in_log() { grep -qE "$1" "$(lab_dir)/log/sluiced.log"; }
ready() { [ "$(node curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9964/readyz)" = "$1" ]; }
agent() {
	: >"$(lab_dir)/log/sluiced.log"
	sluice_start_agent
	await 10 agent_answers
	await 20 ready 200
}
agent_ends() { # SIGNAL
	lab signal sluiced "$1"
	await 20 not lab alive sluiced
}
in_force() { # It was in quarantine, and stays there, by the kernel's programs and for new pods by the plugin.
	[ -e "$(lab_dir)/net.d/00-sluice.conflist" ] && node test -e /sys/fs/bpf/sluice/settings && not connects 203.0.113.10 443
}

lab_begin >&2
sed -i '/^dns:/d' "$(lab_dir)/sluice/sluice.yaml"
cluster_start
cat >"$kube/agent.kubeconfig" <<-END
	current-context: lab
	clusters: [{name: lab, cluster: {server: "https://127.0.0.1:6443", certificate-authority: ca.pem}}]
	contexts: [{name: lab, context: {cluster: lab, user: agent, namespace: kube-system}}]
	users: [{name: agent, user: {tokenFile: token}}]
END
mkdir "$conf" "$bin"
echo '{"cniVersion":"1.0.0","name":"other","plugins":[{"type":"other"}]}' >"$conf/10-other.conflist"
before=$(traces)
install

# ---- ends that are none for good ----

agent
check "the agent listens" await 10 says listening True
check "and has heard nothing" says heard False
agent_ends TERM
check "told to end, it leaves everything in force" in_force

word apply
agent
check "a word that was there before the agent is told" await 10 in_log 'kube-system/sluice-uninstall is of an uninstallation before'
check "and not heard" says heard False
agent_ends TERM
check "told to end, it leaves everything in force still" in_force

# helm died between the word and the deletion, or somebody applied what `helm template` prints.
word delete
agent
await 10 says listening True
word apply
check "a word that comes while the agent runs is heard" await 5 says heard True
sleep 1
check "and changes nothing by itself" in_force
agent_ends KILL
agent
check "an agent that was killed and is back has not heard" says heard False
word delete
word apply
check "the next word is heard" await 5 says heard True
check "the release is there" says gone False
agent_ends TERM
check "told to end, it waits for the release to go, and says that it has not" in_log 'the release is still there'
check "and leaves everything in force" in_force

# ---- helm uninstall ----

agent
await 10 says listening True
check "helm's next attempt makes a word of its own" quietly h uninstall sluice
check "which is heard" await 5 says heard True
check "the release has gone" await 5 says gone True
equal "and has gone again" "" "$(k -n kube-system get configmap -l sluice.dev/uninstall=true -o name)"
check "until the end all is in force" in_force
agent_ends TERM
check "it says so" in_log 'uninstalled: everything of Sluice is taken off this node'
equal "nothing is left on the node" "$before" "$(traces)"
check "and the pod is open" connects 8.8.8.8 443

install
agent
await 10 says listening True
word apply
await 5 says heard True
lab signal sluiced TERM
sleep 1
check "told to end before the release has gone, it waits" lab alive sluiced
quietly k -n kube-system delete configmap sluice
check "and ends when it has" await 5 not lab alive sluiced
equal "nothing is left on the node" "$before" "$(traces)"
word delete
quietly h uninstall sluice

# ---- without the right ----

install
k -n kube-system delete rolebinding sluice >/dev/null
agent
check "an agent that may not listen is ready all the same" ready 200
check "and says what it will miss" in_log 'kube-system/configmaps: .*an uninstallation will not be heard of'
quietly h uninstall sluice
agent_ends TERM
check "its node stays closed" in_force
