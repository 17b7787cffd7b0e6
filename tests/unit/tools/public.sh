#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every manifest that others publish passes `bpfctl policy check`, or is refused for the reason in public.refused, and means
# what public.verdicts says. They are no part of the project: skipped (77) where the folder with them does not lie beside the
# checkout.
#
#   [SLUICE_PUBLIC_POLICIES=FOLDER] public.sh BPFCTL
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
bpfctl=$1
folder=${SLUICE_PUBLIC_POLICIES:-$here/../../../../shared/data/public-policies}
[ -d "$folder" ] || { echo "skipped: no folder with public manifests"; exit 77; }

declare -A reasons
while read -r path reason; do
	case $path in '' | '#'*) continue ;; esac
	reasons[$path]=$reason
done <"$here/public.refused"

wrong=0
count=0
while IFS= read -r path; do
	count=$((count + 1))
	code=0
	out=$("$bpfctl" policy check "$folder/$path" 2>&1) || code=$?
	reason=${reasons[$path]:-}
	if [ -z "$reason" ]; then
		[ "$code" = 0 ] || { printf '%s: refused\n%s\n' "$path" "$out"; wrong=$((wrong + 1)); }
	elif [ "$code" != 1 ] || [[ $out != *"$reason"* ]]; then
		printf '%s: not refused for "%s"\n%s\n' "$path" "$reason" "$out"
		wrong=$((wrong + 1))
	fi
	unset "reasons[$path]"
done < <(cd "$folder" && find . -name '*.yaml' -type f | sed 's#^\./##' | LC_ALL=C sort)

for path in "${!reasons[@]}"; do
	echo "$path: in public.refused, but not there"
	wrong=$((wrong + 1))
done

asked=0
declare -A seen
while read -r path pod to port want; do
	case $path in '' | '#'*) continue ;; esac
	asked=$((asked + 1))
	seen[$path]=1
	out=$("$bpfctl" -o json policy explain --from "$pod" --to "$to" --port "$port" -f "$folder/$path" "$here/public.yaml") || out={}
	got=$(python3 -c 'import json, sys
o = json.loads(sys.argv[1])
v, a = o.get("verdict", "none"), o.get("askable")
print(sys.argv[2] if sys.argv[2] == v or (sys.argv[2], v, a) in {("ask", "allowed", True), ("mute", "denied", False)}
      else f"{v} {a}")' "$out" "$want")
	[ "$got" = "$want" ] && continue
	echo "$path: $pod to $to port $port is $got, expected $want"
	wrong=$((wrong + 1))
done <"$here/public.verdicts"

while IFS= read -r path; do
	[ -n "${seen[$path]:-}" ] && continue
	echo "$path: no verdict in public.verdicts"
	wrong=$((wrong + 1))
done < <(cd "$folder" && find . -name '*.yaml' -type f | sed 's#^\./##')
echo "$count manifests, $asked verdicts, $wrong wrong"
[ "$wrong" = 0 ] && [ "$count" -gt 0 ]
