#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tools/conformance against the cluster: it tells a cluster where nothing enforces, and with Sluice every check of it passes, in
# both dialects and both runtimes; none of them is skipped here.
# shellcheck source=tests/k8s/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

work=$folder/conformance # goes with the cluster
conformance() { # OPTION…
	"$top/tools/conformance" --kubectl "$top/tools/cluster kubectl" --image localhost/agent:1 --ca-configmap kube-root-ca.crt \
		--region us-west-2 --index-url https://pypi.org/simple/lab-greeting/ --udp 198.51.100.30:7000 \
		--denied-url https://blocked-example.example.com/ --json "$work/report.json" --junit "$work/report.xml" "$@" \
		>"$work/report.txt" 2>&1
}
ends_with() { # STATUS COMMAND…
	local status=0
	"${@:2}" || status=$?
	[ "$status" = "$1" ] || { cat "$work/report.txt"; return 1; }
}
# Of the report, in one line: what jq's expression gives.
report() { jq -r "$1" "$work/report.json" | paste -sd' '; }

k8s_begin
mkdir -p "$work"

check "a cluster without policies fails" ends_with 1 conformance
equal "what it should have blocked was REACHED" \
	"name address address6 lookup dns-tcp-unlisted resolver resolver-tcp udp imds imds6" \
	"$(report '.results[] | select(.verdict == "FAIL" and .got == "REACHED").check')"
equal "what it should allow passed" "index api sts dns-tcp" "$(report '.results[] | select(.verdict == "PASS").check')"

check "the chart is installed" sluice_install --set crds.install.ciliumNetworkPolicy=true \
	--set crds.install.applicationNetworkPolicy=true
check "cilium: everything passes" ends_with 0 conformance --dialect cilium --runtime-class runc --runtime-class gvisor
checks="index api sts name address address6 lookup dns-tcp dns-tcp-unlisted resolver resolver-tcp udp imds imds6 label label-off \
warm-pool warm-pool-label restart"
for r in runc gvisor; do
	equal "cilium: and everything was tried, $r" "$checks" \
		"$(report ".results[] | select(.runtime == \"$r\" and .verdict == \"PASS\").check")"
done
check "JUnit's report says the same" python3 - "$work/report.xml" <<-'E'
	import sys, xml.etree.ElementTree
	cases = xml.etree.ElementTree.parse(sys.argv[1]).getroot().findall("./testsuite/testcase")
	assert len(cases) == 39 and not [c for c in cases if c.find("failure") is not None], len(cases)
E
check "aws: everything passes" ends_with 0 conformance --dialect aws --skip restart
check "busybox does for most of it" ends_with 0 conformance --image localhost/busybox:1 --skip restart
equal "but for UDP" udp "$(report '.results[] | select(.verdict == "SKIP" and .check != "valid").check')"
check "its namespace is gone" not k get namespace egress-conformance
check "somebody else's is left alone" ends_with 2 conformance --namespace kube-system
k create namespace egress-conformance >/dev/null
check "also where it has the name of its own" ends_with 2 conformance
k delete namespace egress-conformance >/dev/null

check "Sluice is taken out" sluice_uninstall
check "policies that nobody enforces fail" ends_with 1 conformance --settle 2
equal "the label's switch among them" FAIL "$(report '.results[] | select(.check == "label").verdict')"
