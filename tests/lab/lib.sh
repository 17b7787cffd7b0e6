# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What every lab test begins with: sourced with BUILD set (ctest does). A lab of the test's own, taken down at its end
# however it ends; checks that print one line each; the exit code.

set -Eeuo pipefail
died=
trap 'died="${BASH_SOURCE[0]##*/}:$LINENO: $BASH_COMMAND"' ERR
: "${BUILD:?set BUILD to a build folder}"
[ "$(id -u)" = 0 ] || { echo "needs root"; exit 77; }

tests_lab=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
top=$(readlink -f "$tests_lab/../..")
LAB=t-$(basename "$0" .sh | tr _ -)-$$
# shellcheck disable=SC2034 # the tests' own
MANIFESTS=$top/tools/lab/manifests
export LAB_OWNER=$$ # the lab goes down with the test even when the test is killed

# shellcheck source=tools/lab/sluice.sh
. "$top/tools/lab/sluice.sh"

failures=0
pass() { echo "ok   $*"; }
fail() {
	echo "FAIL $*"
	failures=$((failures + 1))
}

# DESCRIPTION COMMAND…: the command must succeed.
check() {
	local what=$1
	shift
	if "$@"; then pass "$what"; else fail "$what"; fi
}

# DESCRIPTION WANTED GOT
equal() {
	if [ "$2" = "$3" ]; then pass "$1"; else fail "$1: wanted '$2', got '$3'"; fi
}

# Runs a command whose output is of no interest.
quiet() { "$@" >/dev/null 2>&1; }

# What a sanitizer found in a daemon, at its end too (leaks), fails the test that ran it.
sanitizer_reports() {
	grep -lE 'ERROR: (Address|Leak)Sanitizer|runtime error: ' "$(lab_dir)"/log/sluice* 2>/dev/null
}

# A test's own, of what it made outside the lab; what it comes to is of no interest.
tidy() { :; }

lab_end() {
	local status=$? l
	tidy 2>/dev/null || true
	if lab alive sluiced 2>/dev/null || lab alive sluice-dnsproxy 2>/dev/null; then sluice_stop || true; fi
	if l=$(sanitizer_reports); then
		fail "a sanitizer reports: $l"
		grep -hE -A 25 'ERROR: (Address|Leak)Sanitizer|runtime error: ' "$(lab_dir)"/log/sluice* | head -n 60 || true
	fi
	if [ "$failures" -gt 0 ] || [ "$status" -ne 0 ]; then
		for l in sluiced sluice-dnsproxy up; do
			[ ! -s "$(lab_dir)/log/$l.log" ] || { echo "--- $l.log"; tail -n 25 "$(lab_dir)/log/$l.log"; }
		done
	fi
	lab down || true
	[ "$status" -ne 77 ] || exit 77
	[ "$status" -eq 0 ] || { echo "FAIL ended early with status $status${died:+ at $died}"; exit 1; }
	[ "$failures" -eq 0 ] || { echo "$failures failed"; exit 1; }
}
trap lab_end EXIT

lab_begin() {
	lab up
	sluice_configure
}

# A canary in namespace $1 writes what arrives there.
canary_start() {
	lab start "$1" "canary-$1" python3 "$top/tools/lab/canary.py" "$(lab_dir)/canary-$1.json"
	await 5 grep -q listening "$(lab_dir)/canary-$1.json"
}

# How many frames that arrived in namespace $1 satisfy the Python expression $2 over r (.get("marker", "") and so on).
canary_count() {
	sleep 0.2
	python3 "$top/tools/lab/canary.py" --count "$(lab_dir)/canary-$1.json" "$2"
}

monotonic() { python3 -c 'import time; print(time.monotonic())'; }

# The reference agent's outcomes in one line: "PASS PASS PASS BLOCKED BLOCKED". RES_OPTIONS is the resolver's.
outcomes() {
	pod env RES_OPTIONS="${RES_OPTIONS:-}" python3 "$top/tools/lab/agent.py" "$@" 2>&1 | tee -a "$(lab_dir)/log/agent.log" |
		sed -nE 's/^[1-5]\. ([A-Z]+):.*/\1/p' | paste -sd' '
}

# One port's verdict as the pod sees it.
connects() { # ADDRESS PORT
	pod python3 -c 'import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=2)' "$1" "$2" 2>/dev/null
}

# Short answer of a resolver: SERVER NAME TYPE OPTION…
ask() { pod kdig +short +time=2 +retry=0 "@$1" "${@:2}" 2>&1 | paste -sd' '; }

# A policy for the sandbox that admits echo.example.com:7000 and, so that versions differ, one more name $1.
echo_policy() {
	cat <<-END
		apiVersion: cilium.io/v2
		kind: CiliumNetworkPolicy
		metadata: {name: echo, namespace: agent-sandboxes}
		spec:
		  endpointSelector: {matchLabels: {egress-tier: sandbox}}
		  egress:
		  - toFQDNs: [{matchName: echo.example.com}, {matchName: $1}]
		    toPorts: [{ports: [{port: "7000", protocol: ANY}]}]
	END
}

# One that admits only $1, port 443.
other_policy() {
	cat <<-END
		apiVersion: cilium.io/v2
		kind: CiliumNetworkPolicy
		metadata: {name: echo, namespace: agent-sandboxes}
		spec:
		  endpointSelector: {matchLabels: {egress-tier: sandbox}}
		  egress:
		  - toFQDNs: [{matchName: $1}]
		    toPorts: [{ports: [{port: "443", protocol: TCP}]}]
	END
}
