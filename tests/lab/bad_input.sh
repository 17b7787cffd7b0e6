#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Bad input of every kind is named with file, line and column, and opens nothing: the last good state stays in force, and
# what has none is denied.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

file=$(
	lab_begin >&2
	echo "$(lab_dir)/sluice/policies/sandbox.yaml"
)
cnp=$(<"$MANIFESTS/sandbox-cnp.yaml")
log() { cat "$(lab_dir)/log/sluiced.log"; }
in_log() { grep -qE "$1" <<<"$(log | tail -n "+$mark")"; }
mark_log() { mark=$(($(log | wc -l) + 1)); }

still_good() {
	check "$1: what is listed works" connects 203.0.113.10 443
	check "$1: the rest is denied" not connects 8.8.8.8 443
	equal "$1: the policy in force" "$id" "$(endpoint_field policy_id)"
}

sluice_policy sandbox.yaml <<<"$cnp"
sluice_start
ask 172.20.0.10 pypi.org A >/dev/null
id=$(endpoint_field policy_id)
still_good "to begin with"

# WHAT SED-SCRIPT LINE:COLUMN
refused() {
	local text
	text=$(sed "$2" <<<"$cnp")
	mark_log
	sluice_policy sandbox.yaml <<<"$text"
	check "$1: the agent's log has file:line:col" await 5 in_log "sandbox\.yaml:$3: "
	still_good "$1"
	check "$1: policy check says no" not quiet bpfctl policy check "$file"
	check "$1: policy check says where" grep -qE "sandbox\.yaml:$3: " < <(bpfctl policy check "$file" 2>&1)
}
line() { grep -n -m 1 -- "$1" <<<"$cnp" | cut -d: -f1; }
e=$(line 'egress:')
refused "unknown member" "s/^  egress:/  egres:/" "$e:3"
refused "unsupported member" "s/^  - toCIDR:/  - toGroups:/" "$(line toCIDR):5"
refused "bad port" 's/"80"/"80000"/' "$(line '"80"'):[0-9]+"
refused "bad CIDR" 's#169.254.170.23/32#169.254.170.23/33#' "$(line 170.23/32):[0-9]+"
refused "no YAML" 's/^spec:/spec: [/' "[0-9]+:[0-9]+"
sluice_policy sandbox.yaml <<<"$cnp"
still_good "repaired"

# A refused policy without a last good version: what it selects is denied, and only that.
mark_log
printf 'endpoints:\n- {name: sandbox-agent, namespace: agent-sandboxes, labels: {egress-tier: sandbox}, interface: eni97a39772326, addresses: [10.0.1.5, "fd00::5"]}\n- {name: neighbour, namespace: default, labels: {app: web}, interface: eni%s, addresses: [10.0.1.6, "fd00::6"]}\n' \
	"$(printf default.neighbour | sha1sum | cut -c1-11)" | sluice_endpoints
neighbour_mode() { [ "$(endpoint_field mode default/neighbour)" = "$1" ]; }
check "a second endpoint, selected by nothing, is open" await 10 neighbour_mode open
sed -e 's/namespace: agent-sandboxes/namespace: default/' -e 's/egress-tier: sandbox/app: web/' -e 's/toCIDR:/toGroups:/' \
	<<<"$cnp" | sluice_policy new.yaml
check "a new policy that is refused closes it" await 10 neighbour_mode enforce
check "and nothing leaves it" not quiet lab pod neighbour python3 -c 'import socket
socket.create_connection(("8.8.8.8", 443), timeout=2)'
still_good "beside a refused policy"
rm "$(lab_dir)/sluice/policies/new.yaml"
check "taken away, it opens again" await 10 neighbour_mode open

# Endpoints.
mark_log
sluice_endpoints <<-END
	endpoints:
	- {name: sandbox-agent, namespace: agent-sandboxes, labels: {egress-tier: sandbox}, interface: eni97a39772326, addresses: [10.0.1.5, "fd00::5"]}
	- {name: ghost, namespace: default, interface: eni00000000000, addresses: [10.0.1.9]}
END
check "an endpoint without its interface is named" await 5 in_log "eni00000000000"
still_good "beside a missing interface"
mark_log
sluice_endpoints <<-END
	endpoints:
	- {name: sandbox-agent, namespace: agent-sandboxes, colour: blue, interface: eni97a39772326, addresses: [10.0.1.5]}
END
check "an unknown key in the endpoints file is named" await 5 in_log "endpoints\.yaml:2:[0-9]+: "
still_good "under a bad endpoints file"
says() { bpfctl status | grep -q "$1"; }
check "status says that the file is not taken" says 'endpoints\.yaml is not taken'
echo 'enforcment: audit' >>"$(lab_dir)/sluice/sluice.yaml"
check "and so of the configuration" await 5 says 'sluice\.yaml is not taken'
sed -i '$d' "$(lab_dir)/sluice/sluice.yaml"
quiet_again() { ! says 'sluice\.yaml is not taken'; }
check "as long as that is so" await 5 quiet_again

# The configuration itself.
bad_config() { # WHAT TEXT PATTERN
	local f out
	f=$(lab_dir)/bad.yaml
	printf '%s\n' "$2" >"$f"
	if out=$(lab exec node timeout 5 "$BUILD/bin/sluiced" --config "$f" 2>&1); then
		fail "$1: sluiced accepted it"
	else
		check "$1: named with its place" grep -qE "bad\.yaml:$3" <<<"$out"
	fi
}
bad_config "unknown key" $'policyDir: /nowhere\nenforcment: enforce' '2:1: '
bad_config "bad value" 'enforcement: sometimes' '1:14: '
bad_config "bad resolver" 'dns: {resolvers: [nonsense]}' '1:[0-9]+: '
still_good "after it all"
