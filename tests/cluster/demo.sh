# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # variables of lib.sh
# The whole of what Sluice is for, on one machine: sandboxes of agents by claim and by kro, in runc and in gVisor, before Sluice
# and under it, in both dialects. Sourced by tools/cluster; tests/k8s/outcomes.sh uses its parts.

examples=$top/charts/sluice/examples
sandboxes=agent-sandboxes # their namespace

title() { printf '\n== %s\n' "$*"; }
admin_kubectl() { administer kubectl "$@"; }

# One of charts/sluice/examples as it runs here: the lab's image, the lab's CA.
example() { # v1alpha1 | v1beta1 | kro | tenants
	admin_kubectl kustomize --load-restrictor LoadRestrictionsNone "$here/examples/$1"
}

# agent-sandbox's API version in this cluster.
sandbox_version() { case $(cat "$dir/ready") in *agent-sandbox=0.4*) echo v1alpha1 ;; *) echo v1beta1 ;; esac; }

apply() { admin_kubectl apply --server-side --force-conflicts "$@" >/dev/null; }

sandboxes_up() {
	local r
	example "$(sandbox_version)" | apply -f - || return
	example kro | apply -f - || return
	admin_kubectl wait --for=condition=Ready rgd/agent-sandbox --timeout=90s >/dev/null || return
	apply -f "$examples/kro/instances.yaml" || return
	admin_kubectl -n $sandboxes wait --for=condition=Ready sandboxclaim --all --timeout=120s >/dev/null || return
	for r in runc gvisor; do
		admin_kubectl -n $sandboxes wait --for=condition=Ready agentsandbox/composed-$r --timeout=120s >/dev/null || return
		await 60 admin_kubectl -n $sandboxes get pod composed-$r || return
		admin_kubectl -n $sandboxes wait --for=condition=Ready pod/composed-$r --timeout=90s >/dev/null || return
	done
}

# The agents: lines of POD NODE RUNTIME ORIGIN. What waits in a pool is no agent yet.
agents() {
	admin_kubectl -n $sandboxes get pods,sandboxclaims,agentsandboxes -o json | jq -r '
		(.items | map(select(.kind == "SandboxClaim") | {(.status.sandbox.name // ""): .metadata.name}) | add) as $claims |
		(.items | map(select(.kind == "AgentSandbox") | {(.metadata.name): true}) | add) as $composed |
		.items[] | select(.kind == "Pod" and .metadata.deletionTimestamp == null) | .metadata.name as $p |
		[$p, .spec.nodeName, .spec.runtimeClassName // "runc",
		 if ($claims // {})[$p] then "claim/" + $claims[$p] elif ($composed // {})[$p] then "kro/" + $p else empty end] |
		select(length == 4) | @tsv'
}

# The five steps of every agent, at once: lines of OUTCOMES (five words with commas) and what agents() says of it. What each
# agent said lies in the folder $dir/demo.
run_agents() { # FAMILY
	local pod node runtime origin pids=()
	mkdir -p "$dir/demo"
	while read -r pod node runtime origin; do
		admin_kubectl -n $sandboxes exec "$pod" -- python3 /opt/lab/agent.py "$1" >"$dir/demo/$pod.log" 2>&1 </dev/null &
		pids+=($!)
	done < <(agents)
	wait "${pids[@]}" || true
	while read -r pod node runtime origin; do
		printf '%s\t%s\t%s\t%s\t%s\n' "$(sed -nE 's/^[1-5]\. ([A-Z]+):.*/\1/p' "$dir/demo/$pod.log" | paste -sd,)" \
			"$pod" "$node" "$runtime" "$origin"
	done < <(agents)
}

policies_up() { apply -f "$examples/policies/$1"; } # cilium | aws
policies_down() { admin_kubectl delete -f "$examples/policies/$1" --ignore-not-found >/dev/null; }

# Until the agents of both nodes hold every sandbox to the policies that are there.
policies_in_force() { # cilium | aws
	local kind=CiliumNetworkPolicy
	[ "$1" = cilium ] || kind=ApplicationNetworkPolicy
	await 30 holds_all "$kind"
}
# An endpoint's policies are known by name, and one name may be of either kind: the rules of what was compiled for it tell.
holds_all() { # KIND
	local n pod
	for n in 1 2; do
		pod=$(admin_kubectl -n kube-system get pods -l app.kubernetes.io/name=sluice --field-selector "spec.nodeName=node$n" -o name)
		admin_kubectl -n kube-system exec "$pod" -c agent -- bpfctl -o json endpoint list |
			jq -e --arg ns $sandboxes 'map(select(.namespace == $ns)) | length > 0 and all(.mode == "enforce")' || return
		admin_kubectl -n kube-system exec "$pod" -c agent -- bpfctl -o json policy get |
			jq -e --arg kind "$1" --arg ns $sandboxes/ '[.compiled[] | select(any(.endpoints[]; startswith($ns))) |
				.rules | map(select(.policy | startswith($ns)))] | length > 0 and all(length > 0 and all(.kind == $kind))' || return
	done
}

# ---- tools/cluster demo ----

demo_failures=0
demo_wrong() {
	echo "    ^^^ NOT AS IT SHOULD BE: $*"
	demo_failures=$((demo_failures + 1))
}

# Sluice's image on both nodes, under the version that the chart asks for. Once for a cluster.
demo_image() { # BUILD
	local work log
	[ ! -e "$dir/demo-image" ] || return 0
	work=$(mktemp -d)
	log=$work/log
	title "Building Sluice's image, and importing it into both nodes (the first time this takes minutes)"
	if ! { "$top/tools/image" --arch amd64 --output "$work" ${1:+--build "$1"} && load "$work"/sluice-*.tar; } >"$log" 2>&1; then
		tail -n 20 "$log" >&2
		rm -rf "$work"
		die "cannot build the image"
	fi
	rm -rf "$work"
	touch "$dir/demo-image"
}

# The kinds come with the chart, since no other owner of them is here.
demo_install() {
	administer helm upgrade --install sluice "$top/charts/sluice" -n kube-system --wait --timeout 120s \
		--set image.pullPolicy=Never --set-json 'config.cluster.serviceCIDRs=["'$SERVICE4'", "'$SERVICE6'"]' \
		--set crds.install.ciliumNetworkPolicy=true --set crds.install.ciliumClusterwideNetworkPolicy=true \
		--set crds.install.applicationNetworkPolicy=true --set crds.install.awsClusterNetworkPolicy=true >"$dir/log/helm.log" 2>&1 || {
		cat "$dir/log/helm.log" >&2
		die "helm install failed"
	}
	administer kubectl -n kube-system rollout status daemonset/sluice --timeout=120s >/dev/null
}

demo_uninstall() {
	! administer helm status sluice -n kube-system >/dev/null 2>&1 ||
		administer helm uninstall sluice -n kube-system --wait --timeout 120s >/dev/null
}

demo_agents() { # FAMILY OUTCOMES-WANTED
	local outcomes pod node runtime origin n=0
	printf '  %-28s %-7s %-6s %-9s %-8s %-8s %-12s %s\n' agent runtime node packages Bedrock snippet 'name' 'address'
	while IFS=$'\t' read -r outcomes pod node runtime origin; do
		n=$((n + 1))
		# shellcheck disable=SC2086 # five words
		printf '  %-28s %-7s %-6s %-9s %-8s %-8s %-12s %s\n' "$origin" "$runtime" "$node" ${outcomes//,/ }
		[ "$outcomes" = "$2" ] || {
			demo_wrong "wanted ${2//,/ }; it said:"
			sed 's/^/      /' "$dir/demo/$pod.log"
		}
	done < <(run_agents "$1")
	[ "$n" -ge 5 ] || demo_wrong "only $n agents"
}

demo_next_steps() {
	cat <<-END

		The cluster stays up, with Sluice in it. To try:
		  tools/cluster kubectl -n kube-system exec ds/sluice -c agent -- bpfctl status
		  tools/cluster kubectl -n kube-system exec ds/sluice -c agent -- bpfctl observe -f
		  tools/cluster kubectl -n $sandboxes exec -it composed-gvisor -- bash     # be an agent
		  tools/cluster kubectl -n $sandboxes label pod composed-runc egress-tier-   # the floor still holds: nothing is reached
		  tools/cluster kubectl -n $sandboxes edit ciliumnetworkpolicy sandbox-default
		  tools/conformance --kubectl tools/cluster\ kubectl --image localhost/agent:1 --ca-configmap kube-root-ca.crt \\
		      --region us-west-2 --index-url https://pypi.org/simple/lab-greeting/ --udp 198.51.100.30:7000 \\
		      --denied-url https://blocked-example.example.com/ --runtime-class runc --runtime-class gvisor
		  tools/cluster helm uninstall sluice -n kube-system
		  tools/cluster down                                                      # take it all down
	END
}

demo_under() { # DIALECT
	local other=aws
	[ "$1" = cilium ] || other=cilium
	title "The same agents under Sluice: allowlist and floor of charts/sluice/examples/policies/$1"
	policies_up "$1"
	policies_down $other
	policies_in_force "$1" || demo_wrong "the policies are not in force on every sandbox"
	demo_agents -4 PASS,PASS,PASS,BLOCKED,BLOCKED
	echo "  and over IPv6:"
	demo_agents -6 PASS,PASS,PASS,BLOCKED,BLOCKED
}

demo() { # [--dialect cilium|aws] [--build FOLDER] [UP-OPTION…]
	local d build='' dialects=(aws cilium) more=()
	while [ $# -gt 0 ]; do
		case "$1 ${2:-}" in
		'--dialect cilium' | '--dialect aws') dialects=("$2") ;;
		'--build '?*) build=$(readlink -e "$2") || die "--build: no folder $2" ;;
		*) more+=("$1" ${2:+"$2"}) ;;
		esac
		shift $(($# > 1 ? 2 : 1))
	done
	bring_up "${more[@]}"
	demo_image "$build"
	demo_uninstall
	title "Sandboxes of charts/sluice/examples: by claim, warm and cold, and composed by kro"
	sandboxes_up || die "the sandboxes did not come up"
	title "Without Sluice: each agent installs a package, takes a role at STS and asks Bedrock, runs a snippet - and reaches more"
	for d in cilium aws; do policies_down $d 2>/dev/null || true; done
	demo_agents -4 PASS,PASS,PASS,REACHED,REACHED
	title "helm install sluice charts/sluice"
	demo_install
	administer kubectl -n kube-system get pods -l app.kubernetes.io/name=sluice -o wide | sed 's/^/  /'
	for d in "${dialects[@]}"; do demo_under "$d"; done
	title "Result"
	[ "$demo_failures" -eq 0 ] || {
		echo "  $demo_failures thing(s) were not as they should be."
		exit 1
	}
	echo "  Everything was as it should be: every agent reaches what its allowlist names, and nothing else."
	demo_next_steps
}
