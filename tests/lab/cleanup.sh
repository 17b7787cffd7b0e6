#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# bpfctl cleanup leaves nothing: no pin, no program, no filter, no rule, no route, no run folder, no CNI plugin; and a start after
# it works.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# Everything of the node that Sluice could leave something in.
traces() {
	node sh -c '
		ip -4 rule show; ip -6 rule show
		ip -4 route show table all; ip -6 route show table all | grep -v " dev eni"
		! command -v nft >/dev/null || nft list ruleset
		tc qdisc show; for i in $(ls /proc/sys/net/ipv4/conf); do
			tc filter show dev $i ingress 2>/dev/null; tc filter show dev $i egress 2>/dev/null
		done
		ls /sys/fs/bpf /run' | grep -v noqueue
}

lab_begin
sluice_policy sandbox.yaml <"$MANIFESTS/sandbox-cnp.yaml"
before=$(traces)
sluice_start
check "there is something to clean" [ "$(traces)" != "$before" ]
check "8.8.8.8:443 is closed" not connects 8.8.8.8 443
check "refuses while the agent runs" not quiet bpfctl cleanup
sluice_stop
check "stopped, it still enforces" not connects 8.8.8.8 443
check "cleanup" bpfctl cleanup
equal "what is left" "$before" "$(traces)"
check "nothing is enforced any more" connects 8.8.8.8 443
equal "DNS goes where it is sent" 6.6.6.6 "$(ask 8.8.8.8 pypi.org A)"
check "again, it has nothing to do" bpfctl cleanup
sluice_start
check "a new start enforces" not connects 8.8.8.8 443

# ---- what the configuration says: everything elsewhere, and the CNI plugin ----

sluice_stop
check "the defaults' things are gone" quiet bpfctl cleanup
conf=$(lab_dir)/net.d bin=$(lab_dir)/cni-bin
mkdir "$conf" "$bin"
echo '{"cniVersion":"1.0.0","name":"other","plugins":[{"type":"other"}]}' >"$conf/10-other.conflist"
touch "$bin/other"
SLUICE_EXTRA="cni: {install: true, confDir: $conf, binDir: $bin}
bpf: {pinPath: /sys/fs/bpf/elsewhere}
runDir: /run/elsewhere
api: {socket: /run/elsewhere/socket}"
sluice_configure
sluice_start_agent
check "an agent with everything elsewhere" await 10 quiet bpfctl --socket /run/elsewhere/socket --pin-path /sys/fs/bpf/elsewhere status
installed() { (cd "$(lab_dir)" && echo net.d/* cni-bin/*); }
check "its plugin is installed" await 10 test -e "$conf/00-sluice.conflist"
config=$(lab_dir)/sluice/sluice.yaml
check "refuses while that agent runs" not quiet bpfctl cleanup --config "$config"
lab signal sluiced TERM
await 10 not lab alive sluiced
check "without the configuration it is not found" not grep -qE 'elsewhere|sluice-cni' < <(bpfctl cleanup -n)
check "a dry run names the list" grep -q "would remove file: $conf/00-sluice.conflist" < <(bpfctl cleanup -n --config "$config")
check "and removes nothing" test -x "$bin/sluice-cni"
check "the configuration may come by a pipe" grep -q "would remove file: $conf/00-sluice.conflist" \
	< <(cat "$config" | bpfctl cleanup -n --config /dev/stdin)
echo 'nonsense: true' >"$config.bad"
check "a configuration that is none removes nothing" not quiet bpfctl cleanup --config "$config.bad"
check "with it" bpfctl cleanup --config "$config"
equal "others' CNI configuration and programs stay, alone" "net.d/10-other.conflist cni-bin/other" "$(installed)"
equal "what is left" "$before" "$(traces)"
