# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # variables of lib.sh and senders.sh
# Policies, labels and claims change under traffic. Sourced by faults.sh.

step_policy() {
	check "senders of this step run" senders edit "${allowed[@]}" "${forbidden[@]}" "${toggled[@]}"
	all_is_well "before" app=edit 4
	check "X and Y are closed" all_tell app=edit 4 "$(misses $X) and $(misses $Y)"
	opens edit "app: edit" $X
	checked_within "a policy is made that opens X" 30 all_tell app=edit 4 "$(reaches $X) and $(misses $Y)"
	opens edit "app: edit" $Y
	checked_within "it is edited: Y instead of X, for flows that live too" 30 all_tell app=edit 4 "$(reaches $Y) and $(misses $X)"
	none_to "X, edited away" $X
	closes edit
	checked_within "it is deleted: neither" 30 all_tell app=edit 4 "$(misses $X) and $(misses $Y)"
	none_to "Y, deleted" $Y
	all_is_well "after" app=edit 4
	equal "nothing was lost meanwhile" "lost 0 dns 0 forbidden 0" "$(tally app=edit)"
	k -n $space delete pod -l app=edit --wait=false >/dev/null
}

step_labels() {
	opens plus "grade: plus" $X
	check "senders of this step run" senders label "${allowed[@]}" "${forbidden[@]}" "${toggled[@]}"
	checked_within "without the label X is closed" 30 all_tell app=label 4 "$(misses $X)"
	k -n $space label pod -l app=label grade=plus >/dev/null
	checked_within "with it, open" 30 all_tell app=label 4 "$(reaches $X)"
	k -n $space label pod -l app=label grade- >/dev/null
	checked_within "without it, closed again, for flows that live too" 30 all_tell app=label 4 "$(misses $X)"
	none_to "X, the label taken off" $X
	all_is_well "after" app=label 4
	equal "nothing was lost meanwhile" "lost 0 dns 0 forbidden 0" "$(tally app=label)"
	k -n $space delete pod -l app=label --wait=false >/dev/null
	closes plus
}

pool() { # RUNTIME: a template and a warm pool of one
	jq -nc --arg name "pool-$1" --arg ns $space \
		--argjson spec "$(sender_spec "$1" '' "${allowed[@]}" "${forbidden[@]}" "${toggled[@]}")" '
		{apiVersion: "extensions.agents.x-k8s.io/v1alpha1", metadata: {name: $name, namespace: $ns}} as $o |
		($o + {kind: "SandboxTemplate", spec: {networkPolicyManagement: "Unmanaged",
			podTemplate: {metadata: {labels: {app: $name}}, spec: $spec}}}),
		($o + {kind: "SandboxWarmPool", spec: {replicas: 1, sandboxTemplateRef: {name: $name}}})'
}
claim() { # RUNTIME: takes it, and brings a label
	cat <<-END
		apiVersion: extensions.agents.x-k8s.io/v1alpha1
		kind: SandboxClaim
		metadata: {name: pool-$1, namespace: $space}
		spec:
		  sandboxTemplateRef: {name: pool-$1}
		  warmpool: pool-$1
		  additionalPodMetadata: {labels: {sandbox.users.io/grade: adopted}}
	END
}

step_pool() {
	local r taken was=()
	opens adopted "sandbox.users.io/grade: adopted" $X
	for r in runc gvisor; do
		pool $r | k apply -f - >/dev/null
		check "a pool of $r is ready" k -n $space wait --for=jsonpath='{.status.readyReplicas}'=1 sandboxwarmpool/pool-$r --timeout=90s
		all_is_well "the pool's pod, $r" app=pool-$r 1
		check "X is closed" all_tell app=pool-$r 1 "$(misses $X)"
		was+=("$(k -n $space get pods -l app=pool-$r -o jsonpath='{.items[0].metadata.uid}')")
		claim $r | k apply -f - >/dev/null
		check "a claim has it" k -n $space wait --for=condition=Ready sandboxclaim/pool-$r --timeout=60s
		taken=$(k -n $space get sandboxclaim pool-$r -o jsonpath='{.status.sandbox.name}')
		equal "it is the same pod" "${was[-1]}" "$(k -n $space get pod "$taken" -o jsonpath='{.metadata.uid}')"
		checked_within "the claim's label opens X to it" 30 all_tell sandbox.users.io/grade=adopted 1 "$(reaches $X)"
		all_is_well "adopted, $r" sandbox.users.io/grade=adopted 1
		equal "nothing was lost meanwhile" "lost 0 dns 0 forbidden 0" "$(tally sandbox.users.io/grade=adopted)"
		k -n $space delete sandboxclaim/pool-$r sandboxwarmpool/pool-$r sandboxtemplate/pool-$r --timeout=60s >/dev/null
	done
	closes adopted
}
