#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Cgroup endpoints of the node's agent: host commands beside the pod, under their own policy; with the agent stopped and
# killed; what is not enforceable is reported; a cgroup that goes frees its endpoint.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

lab_begin
d=$(lab_dir)
root=$(sed -nE 's/.* (\/[^ ]*) [^ ]* .*- cgroup2 .*/\1/p' /proc/self/mountinfo | head -n 1)
[ -n "$root" ] || { echo "no cgroup2 mounted here"; exit 77; }
batch=$root/sluice-test-$$
tidy() {
	echo 1 >"$batch/cgroup.kill" || true
	for _ in {1..40}; do rmdir "$batch/inner" "$batch" && break || sleep 0.1; done
}
mkdir -p "$batch/inner"

# In the cgroup $1, on the node, without any capability.
within() {
	local cgroup=$1
	shift
	# shellcheck disable=SC2016 # expanded by the inner shell
	node sh -c 'echo 0 >"$1/cgroup.procs"; shift
		exec setpriv --no-new-privs --bounding-set -all --inh-caps -all "$@"' sh "$cgroup" "$@"
}
tries() { within "$batch" /usr/bin/python3 "$tests_lab/command.py" "$@"; }

endpoints() {
	sluice_endpoints <<-END
		endpoints:
		- {name: sandbox-agent, namespace: agent-sandboxes, labels: {egress-tier: sandbox}, interface: eni97a39772326, addresses: [10.0.1.5, "fd00::5"]}
		- {name: batch, namespace: agent-sandboxes, labels: {egress-tier: sandbox}, cgroup: $batch}
	END
}
endpoints
canary_start internet
equal "control: before Sluice" ok "$(tries tcp 6.6.6.6 443)"
sluice_policy sandbox.yaml < <(echo_policy pypi.org)
sluice_start
batch_mode() { endpoint_field mode agent-sandboxes/batch; }
equal "the endpoint is enforced" enforce "$(batch_mode)"
start=$(monotonic)
checks() { # WHEN
	equal "$1: a denied connection" EPERM "$(tries tcp 6.6.6.6 443)"
	equal "$1: a denied connection, IPv6" EPERM "$(tries tcp 2001:db8:666::6 443)"
	equal "$1: an allowed name, UDP" "rcode=0 answers=1 peer=same" "$(tries dns_connected echo.example.com 8.8.8.8)"
	equal "$1: an allowed name, TCP, IPv6" "rcode=0 answers=1 peer=same" "$(tries dns_tcp echo.example.com 2001:4860:4860::8888)"
	equal "$1: what it opened" ok "$(tries tcp 198.51.100.30 7000)"
	equal "$1: and no other port" EPERM "$(tries tcp 198.51.100.30 443)"
	equal "$1: a denied name" "rcode=0 answers=0 peer=same" "$(tries dns_connected attacker.example 8.8.8.8)"
	equal "$1: below the cgroup" EPERM "$(within "$batch/inner" /usr/bin/python3 "$tests_lab/command.py" tcp 6.6.6.6 443)"
}
checks "running"
equal "the pod beside it asks" 198.51.100.30 "$(ask 8.8.8.8 echo.example.com A)"
check "and connects" connects 198.51.100.30 7000
equal "the command is nobody else's: the node reaches what it may not" ok \
	"$(node /usr/bin/python3 "$tests_lab/command.py" tcp 6.6.6.6 443)"
check "the flow log has the connection" grep -q '6\.6\.6\.6.*443/TCP' <(bpfctl observe -n 1000 -p agent-sandboxes/batch -v dropped)
check "the flow log has the name" grep -q 'attacker\.example' <(bpfctl observe -n 1000 -p agent-sandboxes/batch -v dropped)
lab signal sluiced KILL
await 5 not lab alive sluiced
checks "agent killed"
sluice_start_agent
await 10 agent_answers
checks "agent back"
equal "the same endpoint" enforce "$(batch_mode)"

equal "nothing left the node" 0 "$(canary_count internet "r['time'] > $start and r.get('src') == '10.0.0.10' and r.get('dst') == '2001:db8:666::6'")"

enforceable() { [ -z "$(bpfctl -o json status | json "''.join(p for p in x['warnings'] if 'not enforceable' in p)")" ]; }
check "processes without capabilities: enforceable" await 8 enforceable
# shellcheck disable=SC2016 # expanded by the inner shell
lab start node holder sh -c 'echo 0 >"$1/inner/cgroup.procs"; exec sleep 600' sh "$batch"
check "a process with CAP_NET_RAW is reported" await 12 not enforceable
lab signal holder KILL
check "and no more once it ended" await 12 enforceable

lab start node server sh -c "echo 0 >$batch/cgroup.procs; exec python3 $top/tools/lab/echo.py 7002"
await 5 node python3 -c 'import socket; socket.create_connection(("127.0.0.1", 7002), 1)'
check "the host reaches a server in the cgroup by loopback" \
	node python3 -c 'import socket; s = socket.create_connection(("127.0.0.1", 7002), 2); s.sendall(b"x"); assert s.recv(1)'
check "and the internet does" lab exec internet \
	python3 -c 'import socket; s = socket.create_connection(("10.0.0.10", 7002), 2); s.sendall(b"x"); assert s.recv(1)'
lab signal server KILL

id=$(endpoint_field id agent-sandboxes/batch)
await 5 rmdir "$batch/inner"
await 5 rmdir "$batch"
freed() { ! bpfctl -o json endpoint get agent-sandboxes/batch >/dev/null 2>&1; }
check "a cgroup that goes frees its endpoint ($id)" await 5 freed
mkdir -p "$batch/inner"
check "one that comes again is a new endpoint" await 5 [ "enforce" = "$(sleep 2; batch_mode)" ]
equal "and is enforced" EPERM "$(tries tcp 6.6.6.6 443)"
