#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What may happen to a cluster happens to it, while pods of both runtimes on both nodes try what is allowed to them and what is
# not: nothing forbidden may leave a node's uplink at any time, nothing allowed may be lost but where it says so.
#
#   faults.sh [--minute] [STEP…]     all of them, in this order; --minute: what is stopped stays stopped for a minute, not 20 s
#     policy labels pool             policies made, edited and deleted; labels; a warm pool's pod that a claim adopts
#     name move drain peers          pods of one name, after one another; a pod on the other node; a node drained; pods as peers
#     killed stopped                 the agent, the proxy, both
#     kubelet api reboot             kubelet and containerd started again; no API server; node2's power lost
# shellcheck source=tests/k8s/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
# shellcheck source=tests/k8s/senders.sh
. "$tests_k8s/senders.sh"
# shellcheck source=tests/k8s/faults/policies.sh
. "$tests_k8s/faults/policies.sh"
# shellcheck source=tests/k8s/faults/pods.sh
. "$tests_k8s/faults/pods.sh"
# shellcheck source=tests/k8s/faults/daemons.sh
. "$tests_k8s/faults/daemons.sh"
# shellcheck source=tests/k8s/faults/nodes.sh
. "$tests_k8s/faults/nodes.sh"

# shellcheck disable=SC2034 # of the steps
away=20
[ "${1:-}" != --minute ] || { away=60; shift; }
steps=("$@")
[ $# -gt 0 ] || steps=(policy labels pool name move drain peers killed stopped kubelet api reboot)
for s in "${steps[@]}"; do declare -F "step_$s" >/dev/null || { sed -n '6,11p' "$0" >&2; exit 2; }; done

# What is allowed works now for these, and nothing of what is forbidden ever did.
all_is_well() { # WHAT SELECTOR HOW-MANY
	checked_within "$1: what is allowed works" 90 all_tell "$2" "$3" "$works"
	checked_within "$1: what is forbidden was tried" 30 all_tell "$2" "$3" "$tried"
	check "$1: nothing that is forbidden was ever reached" all_tell "$2" "$3" "$holds"
	reached "$2"
}

# Without Sluice: what is told of closed ways below would else prove nothing.
control() {
	uplinks_start control
	check "senders run in both runtimes on both nodes" senders control "${allowed[@]}" "${forbidden[@]}"
	checked_within "without Sluice what is allowed works" 60 all_tell app=control 4 "$works"
	checked_within "and all that is forbidden too" 60 all_tell app=control 4 \
		'all($t | to_entries[] | select(.key | startswith("-")); .value.answered > 0)'
	k -n $space delete pod -l app=control --wait >/dev/null
	uplinks_stop control
	check "the canaries see it" [ "$(uplinks_count control "$beyond and $listed")" -gt 20 ]
	check "and what no policy will allow" [ "$(uplinks_count control "$beyond and not $listed")" -gt 20 ]
}

k8s_begin
senders_begin
control
# Longer than the agent waits for the processor where other work has it, shorter than it is stopped for.
check "the chart is installed" sluice_install --set crds.install.ciliumNetworkPolicy=true --set cni.install=true \
	--set cni.waitSeconds=15 --set stateDir=/var/lib/sluice
senders_policy
canary=faults
uplinks_start $canary
[ "$failures" -eq 0 ] || exit 1

# These four are there throughout.
check "senders run" senders all "${allowed[@]}" "${forbidden[@]}"
all_is_well "at first" app=all 4
check "the first packets of each were answered" all_tell app=all 4 "$first"
for s in "${steps[@]}"; do
	echo "---- $s"
	"step_$s"
done
echo "---- all"
all_is_well "at last" app=all 4
uplinks_stop $canary
equal "frames beyond the uplinks that no policy allows" 0 "$(uplinks_count $canary "$beyond and not $listed")"
check "and there were such as they allow" [ "$(uplinks_count $canary "$beyond and $listed")" -gt 1000 ]
