# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # variables of lib.sh
# What runs in the cluster as pods: CoreDNS, the agent-sandbox controller and KRO, and the RuntimeClass of gVisor. Sourced by
# init. The controllers' manifests and chart are those of their own modules; only the image is named anew.

coredns_up() { kubectl apply --server-side -f "$here/manifests/coredns.yaml" -f "$here/manifests/gvisor.yaml"; }
coredns_is_ready() { kubectl -n kube-system rollout status deployment/coredns --timeout=1s; }

# Line 0.4 declares the Deployment twice, without and with extensions: the one that has them counts.
agent_sandbox_up() {
	local f files=()
	cp -r "$(module_dir "$(sandbox_module)")/k8s" "$dir/agent-sandbox"
	sed -i 's#image: ko://[^ ]*.*#image: localhost/agent-sandbox:1#' "$dir"/agent-sandbox/*.yaml
	for f in crds controller.yaml rbac.generated.yaml extensions-rbac.generated.yaml extensions.yaml extensions.controller.yaml; do
		files+=(-f "$dir/agent-sandbox/$f")
	done
	kubectl apply --server-side --force-conflicts "${files[@]}"
}
agent_sandbox_is_ready() { kubectl -n agent-sandbox-system rollout status deployment/agent-sandbox-controller --timeout=1s; }

# It is ready long before its probe's first look, after ten seconds.
kro_up() {
	cp -r "$(module_dir controllers)/kro-chart" "$dir/kro"
	sed -i '/readinessProbe:/,/periodSeconds:/ s/Seconds: .*/Seconds: 1/' "$dir/kro/templates/deployment.yaml"
	helm upgrade --install kro "$dir/kro" -n kro-system --create-namespace \
		--set image.repository=localhost/kro --set image.tag=1 --set image.pullPolicy=IfNotPresent
}
kro_is_ready() { kubectl -n kro-system rollout status deployment/kro --timeout=1s; }

addons_up() {
	coredns_up
	agent_sandbox_up
	kro_up
}
