#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# One pod floods the DNS proxy, each way it can; another pod's queries go on, and the proxy's memory stays. The figures are
# printed; what is asserted is far from them, for the machine is shared and the build may be a sanitized one.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
# shellcheck source=tests/lab/dns/lib.sh
. "$tests_lab/dns/lib.sh"

RATE=100 SECONDS_EACH=3
MOST_P99=500   # ms
MOST_GROWTH=48 # MiB; a sanitizer keeps what was freed

dns_begin
sandbox_policy '{matchPattern: "*.ok.example"}' | sluice_policy sandbox.yaml
neighbour_policy '{matchPattern: "*.near.example"}' | sluice_policy neighbour.yaml
both_pods
sluice_start

resident() { node sed -n 's/^VmRSS:[^0-9]*\([0-9]*\).*/\1/p' "/proc/$(proxy_pid)/status"; }
dropped() { bpfctl -o json endpoint get "$POD_PATH" | json "x['dropped']"; }

# TITLE COMMAND…: the neighbour's queries while COMMAND floods from the sandbox.
flood() {
	local title=$1 before queries drops refused p99
	shift
	before=$(resident) queries=$(($(dns_count queries_udp) + $(dns_count queries_tcp))) drops=$(dropped) refused=$(dns_count tcp_refused)
	[ $# -eq 0 ] || lab start "$POD" "flood-$title" timeout $((SECONDS_EACH + 1)) "$@"
	load_start "$title" "$NEIGHBOUR" $RATE $SECONDS_EACH
	load_show "$title"
	await 10 not lab alive "flood-$title" || true
	queries=$(($(dns_count queries_udp) + $(dns_count queries_tcp) - queries)) drops=$(($(dropped) - drops))
	echo "     $title: $queries queries reached the proxy, $drops of the pod's packets were dropped;" \
		"$(($(dns_count tcp_refused) - refused)) connections refused; resident $before, then $(resident) KiB"
	p99=$(load_result "$title" p99_ms)
	equal "$title: of the other pod's queries, lost" 0 "$(load_result "$title" lost)"
	equal "$title: answered wrongly, SERVFAIL" "0 0" "$(load_result "$title" wrong) $(load_result "$title" servfail)"
	check "$title: their p99 is $p99 ms" awk "BEGIN {exit !($p99 >= 0 && $p99 < $MOST_P99)}"
}

queries=$(lab_dir)/queries
python3 -c 'import random
for _ in range(20000):
    print("%020x.evil.example A" % random.getrandbits(80))' >"$queries-random"
python3 -c 'import random
for _ in range(20000):
    print("plain-%020x.ok.example A" % random.getrandbits(80))' >"$queries-allowed"
echo "load.evil.example A" >"$queries-one"

flood control
start=$(resident)
perf=(dnsperf -s "$UPSTREAM" -l "$SECONDS_EACH" -q 1000 -t 1)
flood random-denied "${perf[@]}" -d "$queries-random"
flood one-name "${perf[@]}" -d "$queries-one"
flood random-allowed "${perf[@]}" -d "$queries-allowed"
flood silent-resolver python3 "$tests_dns/flood.py" silent $SECONDS_EACH
flood tcp "${perf[@]}" -m tcp -c 20 -d "$queries-random"
flood half-open python3 "$tests_dns/flood.py" half-open $SECONDS_EACH
flood syn python3 "$tests_dns/flood.py" syn $SECONDS_EACH
growth=$((($(resident) - start) / 1024))
check "memory: $growth MiB more after all of it" [ $growth -lt $MOST_GROWTH ]
check "control: the floods were floods" [ "$(dropped)" -gt 1000 ]
equal "of denied names, packets at the resolver" 0 "$(seen_count upstream '\x04evil\x07example')"
served() { [ "$(ask "$UPSTREAM" plain.ok.example A)" = 203.0.113.10 ]; }
check "the flooding pod is served afterwards" await 5 served
