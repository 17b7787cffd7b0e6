#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A policy is edited under traffic that never stops. A live flow that the new policy forbids ends at its next packet; between
# two policies that both forbid something not one packet of it gets out, however often they are exchanged.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

stream_start() { # NAME PROTO HOST
	lab start "$POD" "$1" "$top/tools/lab/pod" run "$POD" python3 "$tests_lab/stream.py" "$2" "$3" 7000 "$(lab_dir)/$1.json"
	await 5 test -s "$(lab_dir)/$1.json"
}
count() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$(lab_dir)/$1.json" "$2"; }
flowing() { [ "$(count "$1" echoed)" -gt 20 ]; }
from_pod="r.get('src') == '10.0.1.5' and r.get('dst') == '198.51.100.30'"

lab_begin
canary_start internet
echo_policy one.example.com | sluice_policy echo.yaml
sluice_start
for proto in tcp udp push; do
	stream_start "$proto" "$proto" echo.example.com
	check "$proto flows" await 5 flowing "$proto"
done

start=$(monotonic)
check "a new version that allows the same" sluice_switch echo.yaml < <(echo_policy two.example.com)
tcp=$(count tcp echoed) udp=$(count udp echoed) push=$(count push echoed)
sleep 1
check "tcp goes on" [ "$(count tcp echoed)" -gt "$tcp" ]
check "udp goes on" [ "$(count udp echoed)" -gt "$udp" ]
check "push goes on" [ "$(count push echoed)" -gt "$push" ]
check "the canary sees them" [ "$(canary_count internet "r['time'] > $start and $from_pod")" -gt 100 ]

check "a version that forbids them" sluice_switch echo.yaml < <(other_policy pypi.org)
start=$(monotonic)
sent=$(count udp sent)
sleep 2
check "the pod still sends" [ "$(count udp sent)" -gt $((sent + 100)) ]
equal "frames out after the change" 0 "$(canary_count internet "r['time'] > $start and $from_pod")"
push=$(count push echoed)
sleep 2
check "the peer's stream has dried up" [ "$(count push echoed)" -le $((push + 5)) ]
check "cut flows are counted" [ "$(endpoint_field "drops']['FLOW_CUT")" -gt 0 ]

for i in {1..10}; do
	sluice_switch echo.yaml < <(other_policy "name$i.example.com") || fail "change $i did not come into force"
done
check "the pod has sent all the while" [ "$(count udp sent)" -gt $((sent + 500)) ]
equal "frames out over 10 more changes" 0 "$(canary_count internet "r['time'] > $start and $from_pod")"

# Back again: the sender that never stopped is let through again once the name was asked.
check "a version that allows them again" sluice_switch echo.yaml < <(echo_policy three.example.com)
equal "the name resolves" 198.51.100.30 "$(ask 172.20.0.10 echo.example.com A)"
udp=$(count udp echoed)
sleep 1
check "udp flows again" [ "$(count udp echoed)" -gt "$udp" ]

# The policy that is taken away: nothing selects the pod any more.
rm "$(lab_dir)/sluice/policies/echo.yaml"
is_open() { [ "$(endpoint_mode)" = open ]; }
check "no policy, no enforcement" await 10 is_open
