# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Sluice in a lab, for tools/demo and tests/lab: sourced, with LAB (the lab's name) and BUILD (a build folder) set.
# Nothing here differs from running it on a host, but that every command runs inside the lab's `node`.

: "${LAB:?} ${BUILD?}"
lab_tools=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
POD=sandbox-agent
POD_PATH=agent-sandboxes/sandbox-agent

lab() { "$lab_tools/lab" -n "$LAB" "$@"; }
node() { lab exec node "$@"; }
pod() { lab pod "$POD" "$@"; }
bpfctl() { node "$BUILD/bin/bpfctl" "$@"; }
lab_dir() { echo "/run/sluice-lab/$LAB"; }

# Writes the configuration: the least there is, and the further lines of sluice.yaml in SLUICE_EXTRA. Only interfaces of
# endpoints are touched, unless SLUICE_INTERFACES says otherwise: what else is wired in a lab plays parts of its own.
sluice_configure() {
	local d
	d=$(lab_dir)/sluice
	mkdir -p "$d/policies"
	{
		cat <<-END
			policyDir: $d/policies
			endpointsFile: $d/endpoints.yaml
			dns: {resolvers: [172.20.0.10]}
			flows: {allowed: true}
			interfaces: ${SLUICE_INTERFACES:-{auto: false, prefixes: []\}}
		END
		[ -z "${SLUICE_EXTRA:-}" ] || echo "$SLUICE_EXTRA"
	} >"$d/sluice.yaml"
	sluice_endpoints <<-END
		endpoints:
		- {name: sandbox-agent, namespace: agent-sandboxes, labels: {egress-tier: sandbox}, interface: eni97a39772326, addresses: [10.0.1.5, "fd00::5"]}
	END
}

# Puts a file in its place by rename, as a configuration tool would. $1 path, standard input its text.
sluice_put() {
	cat >"$1.new"
	mv "$1.new" "$1"
}

sluice_endpoints() { sluice_put "$(lab_dir)/sluice/endpoints.yaml"; }

# $1: the file's name in the policy folder; standard input its text. Returns at once; see sluice_await_policy.
sluice_policy() { sluice_put "$(lab_dir)/sluice/policies/$1"; }

# The same, and waits until the pod's endpoint has another policy than before.
policy_differs() { local now; now=$(endpoint_field policy_id) && [ "$now" != "$1" ]; }
sluice_switch() {
	local before
	before=$(endpoint_field policy_id)
	sluice_policy "$1"
	await 10 policy_differs "$before"
}

sluice_start_agent() { lab start node sluiced "$BUILD/bin/sluiced" --config "$(lab_dir)/sluice/sluice.yaml"; }
sluice_start_proxy() { lab start node sluice-dnsproxy "$BUILD/bin/sluice-dnsproxy"; }

# One value out of a JSON text on standard input: a Python expression over `x`; nothing when the text is no JSON.
json() {
	python3 -c 'import json, sys
try:
    x = json.load(sys.stdin)
    print(eval(sys.argv[1]))
except (ValueError, KeyError, IndexError, TypeError):
    sys.exit(1)' "$1"
}

endpoint_field() { bpfctl -o json endpoint get "${2:-$POD_PATH}" 2>/dev/null | json "x['$1']"; }
endpoint_mode() { endpoint_field mode; }
proxy_runs() { [ "$(bpfctl -o json status 2>/dev/null | json "x['dns_proxy']['running']")" = True ]; }
agent_answers() { [ "$(bpfctl -o json status 2>/dev/null | json "x['agent']['answers']")" = True ]; }

# $1 seconds at most, ten times that in an emulated machine, then a command (or function) until it succeeds.
await() {
	local end=$((SECONDS + $1${SLUICE_UNDER_EMULATION:+0}))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

is_enforced() { [ "$(endpoint_mode)" = enforce ]; }

# Shows why Sluice is not up, from its own logs.
sluice_failed() {
	local l
	echo "Sluice is not ready: $1" >&2
	for l in sluiced sluice-dnsproxy; do
		echo "--- $l" >&2
		tail -n 20 "$(lab_dir)/log/$l.log" >&2 || true
	done
	return 1
}

sluice_start() {
	sluice_start_agent
	sluice_start_proxy
	await 15 agent_answers || sluice_failed "the agent does not answer"
	await 15 proxy_runs || sluice_failed "the DNS proxy has no heartbeat"
	await 15 is_enforced || sluice_failed "$POD_PATH is not under enforcement"
}

sluice_stop() {
	local d
	for d in sluiced sluice-dnsproxy; do
		lab signal "$d" TERM 2>/dev/null || true
	done
	for d in sluiced sluice-dnsproxy; do
		await 10 not lab alive "$d" || lab signal "$d" KILL
	done
}

not() { ! "$@"; }

# The pod's flow log so far, for people; lines before number $1 left out.
flow_log() { bpfctl observe -n 100000 -p "$POD_PATH" 2>/dev/null | tail -n "+$((${1:-0} + 1))"; }
