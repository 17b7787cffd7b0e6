#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Settings of the node under which handed-over DNS would fail (hazard 29): mended, put back, or said. The same for pins.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# shellcheck disable=SC2120 # options of kdig are optional
resolves() { [ "$(ask 8.8.8.8 pypi.org A "$@")" = 203.0.113.10 ]; }
rules() { node ip rule show fwmark 0x1000/0x1000 | wc -l; }
whole() { [ "$(rules)" = 3 ] && [ "$(node ip -6 rule show fwmark 0x1000/0x1000 | wc -l)" = 1 ] && resolves; }

status_says() { bpfctl status | grep -q "$1"; }

lab_begin
sluice_policy sandbox.yaml <"$MANIFESTS/sandbox-cnp.yaml"
sluice_start
check "names resolve" resolves
node sh -c 'echo 1 >/proc/sys/net/ipv4/conf/all/src_valid_mark'
check "with src_valid_mark too" resolves
check "and over TCP" resolves +tcp

lab signal sluiced STOP
node ip rule delete pref 4
check "control: it is the rule past the table that mends it" not resolves
lab signal sluiced CONT
check "it is put back" await 10 whole

node ip rule delete pref 5
node ip -6 rule delete pref 5
check "rules that somebody deletes are put back" await 10 whole
node ip route flush table 2053
node ip -6 route flush table 2053
check "routes too" await 10 whole
check "the log says so" grep -q 'put back' "$(lab_dir)/log/sluiced.log"

node sh -c 'echo 1 >/proc/sys/net/ipv4/tcp_fwmark_accept'
check "tcp_fwmark_accept is reported" await 15 status_says tcp_fwmark_accept
node sh -c 'echo 0 >/proc/sys/net/ipv4/tcp_fwmark_accept'

node rm /sys/fs/bpf/sluice/names
node mv /sys/fs/bpf/sluice/leases /sys/fs/bpf/sluice/names
check "pins that lead elsewhere are put back" await 15 node test -e /sys/fs/bpf/sluice/leases
check "and reported" await 5 status_says 'led to others'
