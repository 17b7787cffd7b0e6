#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# deny.mode: reject. What the pod may not reach refuses it at once, TCP and UDP, both families; nothing of it leaves the
# node; a flow that a policy change cuts ends at its next packet instead of hanging; a flood is dropped in silence.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

blocked="r.get('dst') in ('8.8.8.8', '2001:4860:4860::8888')"
refused() { # ADDRESS; curl's own limit is longer than what is waited for
	local status=0
	pod curl --silent --show-error --globoff --max-time 30 "https://$1/" 2>"$(lab_dir)/curl.log" || status=$?
	[ "$status" = 7 ] && grep -qiE "refused|could ?n.t connect" "$(lab_dir)/curl.log"
}
# The error of a connected UDP socket after its first datagram.
udp_error() { # ADDRESS
	pod python3 -c 'import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 443)); s.settimeout(10); s.send(b"x")
try:
    s.recv(1)
except OSError as e:
    print(type(e).__name__, e.errno or "", sep="")' "$1"
}
# A connection that is open when the policy changes; its end, as the pod sees it.
conversation='import socket, sys, time
s = socket.create_connection(("echo.example.com", 7000), timeout=30)
s.send(b"SLUICE-reject-conversation "); s.recv(99)
print("open", flush=True)
try:
    while True:
        time.sleep(0.05); s.send(b"more"); s.recv(99)
except OSError as e:
    print(type(e).__name__, flush=True)'

export SLUICE_EXTRA='deny: {mode: reject}'
lab_begin
canary_start internet
echo_policy one.example.com | sluice_policy echo.yaml
sluice_start
started=$SECONDS
for address in 8.8.8.8 '[2001:4860:4860::8888]'; do
	check "TCP to $address is refused" refused "$address"
done
equal "UDP to 8.8.8.8 has no route to it" OSError113 "$(udp_error 8.8.8.8)"
equal "UDP to 2001:4860:4860::8888 is not permitted" PermissionError13 "$(udp_error 2001:4860:4860::8888)"
check "at once: no attempt waited for its 10 or 30 seconds" [ $((SECONDS - started)) -lt 9 ]
equal "frames of these that left the node" 0 "$(canary_count internet "$blocked")"
check "answers are counted" [ "$(endpoint_field rejected)" -ge 4 ]
check "denials are counted" [ "$(endpoint_field "drops']['POLICY_DENIED")" -ge 4 ]
equal "flows from outside" 0 "$(bpfctl -o json map dump flows | json "sum(f['origin'] == 'outside' for f in x)")"

lab start "$POD" conversation "$top/tools/lab/pod" run "$POD" python3 -c "$conversation"
check "an allowed connection is not touched" await 10 grep -q open "$(lab_dir)/log/conversation.log"
check "a policy that forbids it" sluice_switch echo.yaml < <(other_policy pypi.org)
check "the live connection is reset" await 10 grep -q ConnectionResetError "$(lab_dir)/log/conversation.log"

rejected=$(endpoint_field rejected)
pod python3 -c 'import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for i in range(5000):
    s.sendto(b"flood", ("8.8.8.8", 1000 + i))'
check "over the rate: silence" [ "$(endpoint_field rejects_suppressed)" -gt 1000 ]
check "every one of the flood is a drop" [ "$(endpoint_field dropped)" -ge 5000 ]
check "the burst was answered" [ "$(endpoint_field rejected)" -gt "$rejected" ]
