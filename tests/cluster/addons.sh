# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # variables of lib.sh
# What runs in the cluster as pods: CoreDNS, the agent-sandbox controller and KRO, and the RuntimeClass of gVisor. Sourced by
# init. The controllers' manifests and chart are those of their own modules; only the image is named anew.

coredns_up() { kubectl apply --server-side -f "$here/manifests/coredns.yaml" -f "$here/manifests/gvisor.yaml"; }
coredns_is_ready() { kubectl -n kube-system rollout status deployment/coredns --timeout=1s; }

# Line 0.4 declares the Deployment twice, without and with extensions: the one that has them counts.
agent_sandbox_up() {
	local module=agent-sandbox tag=1 k8s
	[ "$CLUSTER_AGENT_SANDBOX" = 0.4.6 ] || module=agent-sandbox-next tag=next
	k8s=$(module_dir $module)/k8s
	cp -r "$k8s" "$dir/agent-sandbox"
	sed -i "s#image: ko://[^ ]*.*#image: localhost/agent-sandbox:$tag#" "$dir"/agent-sandbox/*.yaml
	kubectl apply --server-side -f "$dir/agent-sandbox/crds" || return
	for k8s in controller rbac.generated extensions-rbac.generated extensions extensions.controller; do
		kubectl apply --server-side --force-conflicts -f "$dir/agent-sandbox/$k8s.yaml" || return
	done
}
agent_sandbox_is_ready() { kubectl -n agent-sandbox-system rollout status deployment/agent-sandbox-controller --timeout=1s; }

kro_up() {
	helm upgrade --install kro "$(module_dir kro)/chart" -n kro-system --create-namespace \
		--set image.repository=localhost/kro --set image.tag=1 --set image.pullPolicy=IfNotPresent
}
kro_is_ready() { kubectl -n kro-system rollout status deployment/kro --timeout=1s; }

addons_up() {
	coredns_up
	agent_sandbox_up
	kro_up
}
