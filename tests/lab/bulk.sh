#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Megabytes both ways over allowed connections, with and without Sluice: whole, and at a rate of the same order. $1
# "gvisor", "kata": from under that runtime (runtimes.sh), whose stacks hand the node segments far larger than the MTU.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
# shellcheck source=tests/lab/runtimes.sh
. "$tests_lab/runtimes.sh"

lab_begin
runtime_start "${1:-}"
head -c 32M /dev/urandom >"$(lab_dir)/www/pypi.org/simple/bulk"
sum=$(sha256sum "$(lab_dir)/www/pypi.org/simple/bulk" | cut -d' ' -f1)
bulk() { pod python3 "$tests_lab/bulk.py" "$sum" 16; }

read -r fetch_free echo_free <<<"$(bulk)"
check "control: fetched with $fetch_free MB/s, echoed with $echo_free" [ -n "$echo_free" ]
sluice_policy sandbox.yaml <"$MANIFESTS/sandbox-cnp.yaml"
echo_policy pypi.org | sluice_policy echo.yaml
sluice_start
read -r fetch echo <<<"$(bulk)"
check "enforced: fetched with $fetch MB/s, echoed with $echo" [ -n "$echo" ]
# Rates drift on a shared machine; what this must see is a stack that falls back to retransmissions.
check "at a rate of the same order" python3 -c 'import sys; a = [float(n) for n in sys.argv[1:]]
sys.exit(not (a[2] > a[0] / 4 and a[3] > a[1] / 4))' "$fetch_free" "$echo_free" "$fetch" "$echo"
# Only now, since it slows the rest down.
canary_start internet
check "once more, watched" quiet bulk
large=$(canary_count internet "r.get('dport') == 7000 and r['len'] > 9015")
check "segments larger than the MTU passed, $large" [ "$large" -gt 100 ]
check "what is not allowed is closed" not connects 8.8.8.8 443
