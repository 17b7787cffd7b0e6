#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `bpfctl run` on the lab's node, without an agent of the node's: the reference agent's outcomes, names by every kind of
# socket, early errors, what a hostile command tries, exit codes and signals, what is left behind.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

lab_begin
d=$(lab_dir)
policy=$MANIFESTS/sandbox-cnp.yaml
report=$d/report
cgroups=$(sed -nE 's/.* (\/[^ ]*) [^ ]* .*- cgroup2 .*/\1/p' /proc/self/mountinfo | head -n 1)
[ -n "$cgroups" ] || { echo "no cgroup2 mounted here"; exit 77; }

# In the node, with the pod's resolv.conf and certificates: what a person has set up on a host.
host() {
	# shellcheck disable=SC2016 # expanded by the inner shell
	node unshare --mount --propagation private sh -c '
		mount --bind "$1/pods/sandbox-agent/resolv.conf" "$(readlink -m /etc/resolv.conf)"
		printf "hosts: files dns\n" >"$1/nsswitch"
		mount --bind "$1/nsswitch" "$(readlink -m /etc/nsswitch.conf)"
		ca=$1/tls/ca.pem
		shift
		exec env -i HOME=/tmp LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
			SSL_CERT_FILE="$ca" PIP_CERT="$ca" REQUESTS_CA_BUNDLE="$ca" AWS_CA_BUNDLE="$ca" LAB_CA="$ca" "$@"' host "$d" "$@"
}
# bpfctl run OPTION… -- COMMAND…; its report goes to $report.
run() { host "$BUILD/bin/bpfctl" run "$@" 2>"$report"; }
tries() { run --policy "$policy" --allow echo.example.com:7000 -- /usr/bin/python3 "$tests_lab/command.py" "$@"; }

# The reference agent's outcomes in one line.
agent() {
	run --policy "$1" -- /usr/bin/python3 "$top/tools/lab/agent.py" "$2" | sed -nE 's/^[1-5]\. ([A-Z]+):.*/\1/p' | paste -sd' ' || true
}

canary_start internet
equal "the reference agent, IPv4" "PASS PASS PASS BLOCKED BLOCKED" "$(agent "$policy" -4)"
check "the report names the denied name" grep -q 'name blocked-example.example.com: the policy does not list' "$report"
check "the report names the denied address" grep -q '8\.8\.8\.8:443 TCP: no rule allows it' "$report"
equal "the reference agent, IPv6" "PASS PASS PASS BLOCKED BLOCKED" "$(agent "$policy" -6)"
equal "the reference agent, ApplicationNetworkPolicy" "PASS PASS PASS BLOCKED BLOCKED" "$(agent "$MANIFESTS/sandbox-anp.yaml" -4)"
check "curl fetches an allowed name" run --policy "$policy" -- curl -sSf -o /dev/null --cacert "$d/tls/ca.pem" https://pypi.org/simple/lab-greeting/
check "wget does" run --policy "$policy" -- wget -q -O /dev/null --ca-certificate="$d/tls/ca.pem" https://pypi.org/simple/lab-greeting/
check "an allowed address" run --allow 198.51.100.20:443 -- curl -sSfk -o /dev/null https://198.51.100.20/

for family in "8.8.8.8 6.6.6.6 127.0.0.53" "2001:4860:4860::8888 2001:db8:666::6 ::1"; do
	read -r first second loop <<<"$family"
	equal "UDP by an unconnected socket, $first" "rcode=0 answers=1 from=same; rcode=0 answers=1 from=same" \
		"$(tries dns_unconnected pypi.org "$first" "$second")"
	equal "UDP by a connected socket, $first" "rcode=0 answers=1 peer=same" "$(tries dns_connected pypi.org "$first")"
	equal "TCP, $first" "rcode=0 answers=1 peer=same" "$(tries dns_tcp pypi.org "$first")"
	equal "a resolver on loopback, $loop" "rcode=0 answers=1 peer=same" "$(tries dns_connected pypi.org "$loop")"
	equal "a denied name, UDP, $first" "rcode=0 answers=0 peer=same" "$(tries dns_connected blocked-example.example.com "$first")"
	equal "a denied name, TCP, $first" "rcode=0 answers=0 peer=same" "$(tries dns_tcp blocked-example.example.com "$first")"
done
equal "IPv4 by an IPv6 socket" "rcode=0 answers=1 peer=same" "$(tries dns_connected pypi.org ::ffff:8.8.8.8 | sed 's/peer=.*8\.8\.8\.8.*/peer=same/')"

start=$(monotonic)
equal "a denied connection fails at once" EPERM "$(tries tcp 6.6.6.6 443)"
equal "and by IPv6" EPERM "$(tries tcp 2001:db8:666::6 443)"
equal "a denied datagram" EPERM "$(tries udp 6.6.6.6 7)"
equal "by a connected socket" EPERM "$(tries udp_connected 2001:db8:666::6 7)"
check "the report counts it" grep -Eq '1 x \[2001:db8:666::6\]:7 UDP' "$report"
equal "multicast" EPERM "$(tries udp 224.0.0.251 5353)"
equal "the metadata service" EPERM "$(tries tcp 169.254.169.254 80)"
equal "packet sockets" EPERM "$(tries raw packet)"
equal "raw sockets" EPERM "$(tries raw ip)"
equal "raw sockets, ICMP" EPERM "$(tries raw icmp)"
equal "raw sockets, IPv6" EPERM "$(tries raw ip6)"
case $(tries write_procs "$cgroups/cgroup.procs") in
EROFS | ENOENT | EACCES) pass "root cannot move itself to the root cgroup" ;;
*) fail "root moved itself to the root cgroup" ;;
esac
case $(tries remount "$cgroups") in
EPERM) pass "nor make the mount writable again" ;;
*) fail "the cgroup mount was made writable" ;;
esac
case $(tries mount_cgroup2 "$d/cg") in
EPERM | EACCES | EROFS | "moved to 0::/") pass "nor by a mount of its own in a user namespace" ;;
*) fail "a mount in a user namespace let it out" ;;
esac
equal "pinned objects are out of sight" empty "$(tries ls /sys/fs/bpf)"
equal "the run's own folder too" empty "$(tries ls /run/sluice-run)"
equal "an inherited descriptor is closed" EBADF \
	"$(host sh -c 'exec 9</dev/null; exec "$@"' sh "$BUILD/bin/bpfctl" run --policy "$policy" -- /usr/bin/python3 "$tests_lab/command.py" descriptor 9 2>/dev/null)"
lab start node relay python3 "$top/tools/lab/echo.py" 7001
await 5 node python3 -c 'import socket; socket.create_connection(("127.0.0.1", 7001), 1)'
case $(tries tcp 127.0.0.1 7001) in
timeout | ETIMEDOUT | EPERM) pass "a relay on loopback is out of reach" ;;
*) fail "a relay on loopback was reached" ;;
esac
equal "and by UDP" EPERM "$(tries udp 127.0.0.1 7001)"
equal "a server of its own is not" "b'hello'" "$(tries own_server 127.0.0.1)"
equal "and by IPv6" "b'hello'" "$(tries own_server ::1)"
equal "the node's own addresses are not its own" EPERM "$(tries tcp 10.0.0.10 7001)"
equal "frames of all that in the internet" 0 \
	"$(canary_count internet "r['time'] > $start and r.get('dst') in ('6.6.6.6', '2001:db8:666::6', '224.0.0.251', '169.254.169.254')")"

equal "as a user: who it is" 65534 "$(run --policy "$policy" --user nobody -- id -u)"
check "as a user: an allowed name" run --policy "$policy" --user nobody -- curl -sSf -o /dev/null --cacert "$d/tls/ca.pem" https://pypi.org/simple/lab-greeting/

code() { local c=0; "$@" >/dev/null 2>&1 || c=$?; echo $c; }
equal "the exit code" 3 "$(code run --policy "$policy" -- sh -c 'exit 3')"
equal "killed by a signal" 137 "$(code run --policy "$policy" -- sh -c 'kill -9 $$')"
equal "no such command" 127 "$(code run --policy "$policy" -- no-such-command)"
equal "not executable" 126 "$(code run --policy "$policy" -- /etc/passwd)"
equal "no policy at all" 2 "$(code run -- true)"
equal "a policy that selects nobody" 125 "$(code run --policy "$policy" --label egress-tier=other -- true)"
check "and says so" grep -q 'no policy of the files selects' "$report"
sed 's/toFQDNs/toFQDN/' "$policy" >"$d/typo.yaml"
equal "a policy that is refused is not begun with" 125 "$(code run --policy "$d/typo.yaml" -- true)"
check "it says where" grep -q 'typo.yaml:[0-9]*:[0-9]*: error: .*toFQDN ' "$report"
for wrong in pypi.org:99999 pypi.org:abc pypi.org:443/GRE pypi..org:443 192.0.2.0/33:443; do
	equal "--allow $wrong" 125 "$(code run --policy "$policy" --allow "$wrong" -- true)"
	check "it says which" grep -qF -- "--allow '$wrong': " "$report"
done
equal "standard input" hello "$(echo hello | run --policy "$policy" -- cat)"

out=$(run --policy "$policy" --audit -- curl -sSk -m 5 -o /dev/null -w '%{http_code}' https://6.6.6.6/)
equal "audit lets it pass" 200 "$out"
check "and reports it" grep -q 'would have denied' "$report"
check "with the address" grep -q '6\.6\.6\.6:443 TCP' "$report"

gone() { [ -z "$(node sh -c "ls -d /run/sluice-run /sys/fs/bpf/sluice-run-* $cgroups/sluice-run-* 2>/dev/null" | grep -v "$others")" ]; }
others='^$'
lab start node long "$BUILD/bin/bpfctl" run --resolver 172.20.0.10 --policy "$policy" -- sh -c 'trap "exit 7" TERM; echo up >"'"$d"'/up"; while :; do sleep 0.1; done'
await 15 test -e "$d/up"
lab signal long TERM
await 10 not lab alive long
check "SIGTERM is passed on, and nothing is left" await 5 gone
rm -f "$d/up"
lab start node long "$BUILD/bin/bpfctl" run --resolver 172.20.0.10 --policy "$policy" -- sh -c 'echo up >"'"$d"'/up"; exec sleep 300'
await 15 test -e "$d/up"
lab signal long KILL
check "a killed run leaves its command under the policy" not gone
check "bpfctl cleanup removes it" grep -q 'removed run' <(bpfctl cleanup)
check "and nothing is left" await 5 gone
