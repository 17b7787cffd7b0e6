#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Sluice's own image in the cluster: built without a registry, imported into both nodes, and a pod on each prints what its
# three programs say about themselves.
#
#   image.sh [BUILD]            the image's programs come from that build; without it from one of tools/image's own
# shellcheck source=tests/cluster/testlib.sh
. "$(dirname "$(readlink -f "$0")")/testlib.sh"
cluster_test_begin
work=$(mktemp -d)
tidy() { rm -rf "$work"; }
trap cluster_test_end EXIT

version=$(sed -n 's/^project(sluice VERSION \([^ ]*\).*/\1/p' "$top/CMakeLists.txt")

pod() { # NODE-NUMBER
	local p
	cat <<-Y
		apiVersion: v1
		kind: Pod
		metadata: {name: versions$1}
		spec:
		  nodeName: node$1
		  restartPolicy: Never
		  automountServiceAccountToken: false
		  containers:
	Y
	for p in sluiced sluice-dnsproxy bpfctl; do
		echo "  - {name: $p, image: 'localhost/sluice:test', imagePullPolicy: Never, command: [$p, --version]}"
	done
}

check "the image is built" "$top/tools/image" --output "$work" --tag test ${1:+--build "$1"}
[ "$failures" -eq 0 ] || exit 1
check "up" cluster up
check "the image is imported" cluster load "$work"/sluice-*.tar
for n in 1 2; do
	pod $n | k apply -f - >/dev/null
	check "its programs end well on node$n" k wait --for=jsonpath='{.status.phase}'=Succeeded pod/versions$n --timeout=60s
	for p in sluiced sluice-dnsproxy bpfctl; do
		check "$p says it is $version" grep -qF "$p $version" <(k logs versions$n -c $p)
	done
done
