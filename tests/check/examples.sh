#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The chart's examples: every policy passes `bpfctl policy check` without a warning, the two dialects of a pair select and open
# the same, every file stands in the README's table, and nothing stands there that is not.
# shellcheck source=tests/check/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
examples=charts/sluice/examples
bpfctl=$BUILD/bin/bpfctl
[ -x "$bpfctl" ] || { echo "$bpfctl is not built"; exit 1; }

# The lines of the report that tell of something; a summary that counts no policies tells nothing was judged.
judge() { # FILE…
	local report
	report=$("$bpfctl" policy check "$@" 2>&1) || complain "${1}:1: refused: $report"
	grep -qE '^ok: .* [1-9][0-9]* policies: 0 error\(s\), 0 warning\(s\)' <<<"$report" || complain "$1:1: $report"
}
for dialect in cilium aws; do
	judge $examples/policies/$dialect/*.yaml
	judge $examples/tenants/$dialect.yaml
done

# Names that one dialect lists and the other does not.
names() { grep -ohE '[a-z0-9-]+(\.[a-z0-9-]+)*\.(com|org)$' "$@" | LC_ALL=C sort -u; }
for pair in policies/{cilium,aws}/allowlist.yaml tenants/{cilium,aws}.yaml; do
	[[ $pair != *cilium* ]] || { cilium=$examples/$pair; continue; }
	only=$(comm -3 <(names "$cilium") <(names "$examples/$pair") | tr -d '\t' | paste -sd' ')
	[ -z "$only" ] || complain "$cilium:1: not the same names as $examples/$pair: $only"
	[ "$(names "$cilium" | wc -l)" -gt 3 ] || complain "$cilium:1: found no names in it"
done

listed=$(sed -nE '/^\| `/ s/^\| ([^|]*) \|.*/\1/p' $examples/README.md | grep -oE '[a-z0-9/]+\.yaml' | LC_ALL=C sort)
there=$(cd $examples && find . -name '*.yaml' -printf '%P\n' | LC_ALL=C sort)
[ "$listed" = "$there" ] || complain "$examples/README.md:1: its table and the files differ: \
$(comm -3 <(echo "$listed") <(echo "$there") | tr -d '\t' | paste -sd' ')"
finish
