#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The sandboxes of charts/sluice/examples against a real API server with agent-sandbox's own CRDs, of both lines: each object is
# taken by server-side apply, which refuses what a schema does not know. (outcomes.sh runs those of the line that its cluster has.)
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/../lab/lib.sh"
# shellcheck source=tests/k8s/apiserver.sh
. "$(dirname "$(readlink -f "$0")")/apiserver.sh"

# Without the conversion between versions, whose webhook is the controller's.
# The line before goes, with its objects, which could not be converted.
crds_of() { # FOLDER VERSION
	local f
	k delete crd --all --timeout=30s
	for f in "$1"/*.yaml; do
		sed '/^  conversion:/,/^  group:/{/^  group:/!d}' "$f" | k apply --server-side --force-conflicts -f -
	done
	k wait --for=condition=Established crd --all --timeout=20s
	await 10 quiet k get "sandboxclaims.$2.extensions.agents.x-k8s.io" -A
}

lab_begin >&2
quietly cluster_start
modules=$(dirname "${KUBE_BIN%/}")
lines=0
for folder in "$modules"/controllers-*/k8s/crds "$modules"/agent-sandbox-*/k8s/crds; do
	version=v1alpha1
	[[ $folder != */agent-sandbox-* ]] || version=v1beta1
	[ -d "$folder" ] || { echo "$version is not tried: its CRDs come with tools/cluster build --agent-sandbox 0.5.6"; continue; }
	quietly crds_of "$folder" $version
	check "sandboxes/$version.yaml is taken" quietly k apply --server-side -f "$top/charts/sluice/examples/sandboxes/$version.yaml"
	check "tenants/sandboxes.yaml is" quietly k apply --server-side -f "$top/charts/sluice/examples/tenants/sandboxes.yaml"
	lines=$((lines + 1))
done
check "one line at least was tried" [ $lines -gt 0 ]
