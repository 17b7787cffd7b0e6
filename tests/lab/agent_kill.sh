#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# sluiced and the proxy are killed, each with the other alive: verdicts stay as they were, connections live, names are
# answered while the proxy lives, a restart adopts what is there.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

stream() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$(lab_dir)/stream.json" "$1"; }
grows() { # the stream's echoes grow within a second
	local before
	before=$(stream echoed)
	sleep 1
	[ "$(stream echoed)" -gt "$before" ]
}
verdicts() { # what must hold all the time
	check "$1: an allowed name resolves" [ "$(ask 172.20.0.10 pypi.org A)" = 203.0.113.10 ]
	check "$1: a new allowed connection" connects 203.0.113.10 443
	equal "$1: an unlisted name" "" "$(ask 8.8.8.8 blocked-example.example.com A)"
	check "$1: an unlisted address" not connects 8.8.8.8 443
}

lab_begin
cat "$MANIFESTS/sandbox-cnp.yaml" | sluice_policy sandbox.yaml
echo_policy echo2.example.com | sluice_policy echo.yaml
sluice_start
id=$(endpoint_field policy_id)
generation=$(endpoint_field generation)
lab start "$POD" stream "$top/tools/lab/pod" run "$POD" python3 "$tests_lab/stream.py" tcp echo.example.com 7000 "$(lab_dir)/stream.json"
await 5 test -s "$(lab_dir)/stream.json"
check "a connection runs" grows
verdicts "before"

lab signal sluiced KILL
check "sluiced is dead" await 5 not lab alive sluiced
check "agent dead: the connection lives" grows
verdicts "agent dead"
check "agent dead: bpfctl still reads the pins" is_enforced

sluice_start_agent
check "agent back" await 15 agent_answers
check "agent back: the connection lives" grows
equal "agent back: the same endpoint" "$generation" "$(endpoint_field generation)"
verdicts "agent back"
echo "     policy id before $id, after $(endpoint_field policy_id)"

lab signal sluice-dnsproxy KILL
check "proxy is dead" await 5 not lab alive sluice-dnsproxy
check "proxy dead: the connection lives" grows
check "proxy dead: the leased address stays open" connects 203.0.113.10 443
check "proxy dead: no resolver answers" [ "$(ask 8.8.8.8 pypi.org A)" != 6.6.6.6 ]
check "proxy dead: an unlisted address" not connects 8.8.8.8 443
sluice_start_proxy
check "proxy back" await 15 proxy_runs
verdicts "proxy back"

lab signal sluiced KILL
lab signal sluice-dnsproxy KILL
await 5 not lab alive sluice-dnsproxy || true
check "both dead: an unlisted address" not connects 8.8.8.8 443
sluice_start_proxy
check "the proxy starts while the agent is dead" await 15 proxy_runs
verdicts "only the proxy back"
sluice_start_agent
check "both back" await 15 agent_answers
verdicts "both back"
check "the connection lived through it all" grows
