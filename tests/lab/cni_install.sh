#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The agent puts sluice-cni into a node's CNI configuration and keeps it there: with aws-node taking its own away and writing it
# anew, with files that are wrong, with the agent dead. What it installed is then run as a container runtime would.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

conf=/run/sluice-lab/$LAB/net.d bin=/run/sluice-lab/$LAB/cni-bin
export SLUICE_INTERFACES='{auto: true, prefixes: [eni]}'
SLUICE_EXTRA="cni: {install: true, confDir: $conf, binDir: $bin, waitSeconds: 20}"
aws() { # MTU
	printf '{"cniVersion":"0.4.0","name":"aws-cni","plugins":[{"name":"aws-cni","type":"aws-cni","mtu":"%s"},{"type":"portmap"}]}' "$1"
}
ours() { json "$1" <"$conf/00-sluice.conflist"; }
chain() { ours '" ".join(p["type"] for p in x["plugins"])'; }
mtu() { ours 'x["plugins"][0]["mtu"]'; }
is() { [ "$("$1")" = "$2" ]; }
ready() { [ "$(node curl -s -o /dev/null -w '%{http_code}' http://127.0.0.1:9964/readyz)" = "$1" ]; }
status() { bpfctl -o json status | json "x['agent']['details']['cni']['$1']"; }
problem_has() { grep -q -- "$1" <<<"$(status problem)"; }
in_step() { status problem; }
in_force() { node curl -s http://127.0.0.1:9964/metrics | sed -n 's/^sluice_cni_in_force //p'; }

lab_begin
sluice_policy sandbox.yaml <"$MANIFESTS/sandbox-cnp.yaml"
mkdir "$bin"
sluice_start
check "no folder of configurations: not ready" ready 503
equal "not in force" 0 "$(in_force)"
mkdir "$conf"
check "an empty one" await 5 problem_has "no configuration yet"
aws 9001 | sluice_put "$conf/10-aws.conflist"
check "a chain with sluice-cni at its end, in a list that sorts first" await 5 is chain "aws-cni portmap sluice-cni"
check "ready" await 5 ready 200
equal "in force" 1 "$(in_force)"
equal "the version is kept" 0.4.0 "$(ours 'x["cniVersion"]')"
equal "nobody else reads or writes it" 600 "$(stat -c %a "$conf/00-sluice.conflist")"
equal "no half file is left" "00-sluice.conflist 10-aws.conflist" "$(ls "$conf" | paste -sd' ')"

# What a runtime does with it: the last plugin's own settings, after the plugins before.
late=eni$(printf default.late | sha1sum | cut -c 1-11)
lab add default late 10.0.1.7 fd00::7
sluice_endpoints <<-END
	endpoints:
	- {name: sandbox-agent, namespace: agent-sandboxes, labels: {egress-tier: sandbox}, interface: eni97a39772326, addresses: [10.0.1.5, "fd00::5"]}
	- {name: late, namespace: default, labels: {}, interface: $late, addresses: [10.0.1.7, "fd00::7"]}
END
equal "what was installed runs" "" "$(node env CNI_COMMAND=ADD CNI_CONTAINERID=c CNI_NETNS=/var/run/netns/late CNI_IFNAME=eth0 CNI_PATH=/ \
	"$bin/sluice-cni" 2>&1 >/dev/null < <(python3 -c 'import json, sys
conf = json.load(open(sys.argv[1]))
print(json.dumps({**conf["plugins"][-1], "name": conf["name"], "cniVersion": conf["cniVersion"], "prevResult": {
    "cniVersion": conf["cniVersion"], "interfaces": [{"name": sys.argv[2]}], "ips": []}}))' "$conf/00-sluice.conflist" "$late"))"

before=$(status written)
rm "$conf/10-aws.conflist"
check "aws-node takes its own away: ours stays" await 5 problem_has "has gone and stays"
equal "the same" "aws-cni portmap sluice-cni" "$(chain)"
check "ready still" ready 200
aws 1500 | sluice_put "$conf/10-aws.conflist"
check "and writes another: ours follows" await 5 is mtu 1500
echo '{"cniVersion":' | sluice_put "$conf/10-aws.conflist"
check "half of one: said with its place" await 5 problem_has "10-aws.conflist: line 2"
equal "and the last good one stays" 1500 "$(mtu)"
aws 1500 | sluice_put "$conf/10-aws.conflist"
check "well again" await 5 is in_step ""
equal "written once for all that" $((before + 1)) "$(status written)"
rm "$conf/00-sluice.conflist"
check "taken away, it comes back" await 5 test -e "$conf/00-sluice.conflist"
rm "$bin/sluice-cni"
check "the program too" await 5 test -x "$bin/sluice-cni"
echo '{"cniVersion":"1.0.0","name":"first","type":"first"}' | sluice_put "$conf/00-a.conf"
check "another that sorts before it is reported" await 5 problem_has "comes before"
check "not ready then" ready 503
rm "$conf/00-a.conf"
check "ready again" await 5 ready 200

lab signal sluiced KILL
rm "$conf/10-aws.conflist"
check "the agent dead: ours stays" is chain "aws-cni portmap sluice-cni"
aws 1400 | sluice_put "$conf/10-aws.conflist"
equal "as it was" 1500 "$(mtu)"
sluice_start_agent
check "and follows when the agent is back" await 10 is mtu 1400
chown 65534 "$conf"
chmod 700 "$conf"
aws 1300 | sluice_put "$conf/10-aws.conflist"
check "a folder of another's is no way round: said" await 10 problem_has "Permission denied"
chown 0 "$conf"
sluice_stop
check "stopped, the configuration stays" is chain "aws-cni portmap sluice-cni"
