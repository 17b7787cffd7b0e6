#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Name rules as a truth table: under each policy, which names may be asked, what is answered, and which ports of it are then
# open; both dialects, wildcards at every position, apexes, deeper names. Before Sluice starts every name resolves and every
# port is open, so that what is closed later is closed by the policy.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

ports=(443 7000)
# Every name has an address of its own, or a lease for one would open another.
names=(
	truth.example.com 203.0.113.100 a.truth.example.com 203.0.113.101 b.truth.example.com 203.0.113.102
	x.a.truth.example.com 203.0.113.103 y.x.a.truth.example.com 203.0.113.104 ab.truth.example.com 203.0.113.105
	axxb.truth.example.com 203.0.113.106 a.else.example.org 203.0.113.107 c.truth.example.com 203.0.113.108
	x.c.truth.example.com 203.0.113.109 target.example.net 203.0.113.110 xtruth.example.com 203.0.113.111
	_srv.truth.example.com 203.0.113.112
)

names_records() {
	local i n
	for ((i = 0; i < ${#names[@]}; i += 2)); do
		n=${names[i + 1]##*.}
		echo "${names[i]}. 60 A ${names[i + 1]}"
		echo "${names[i]}. 60 AAAA 2001:db8:113::$n"
	done
	echo "alias.truth.example.com. 60 CNAME hop.example.net."
	echo "hop.example.net. 60 CNAME target.example.net."
	echo "metadata.truth.example.com. 60 A 169.254.169.254"
	echo "metadata.truth.example.com. 60 A 203.0.113.120"
	echo "metadata.truth.example.com. 60 AAAA fd00:ec2::254"
	echo "a.truth.example.com. 60 TXT \"text\""
}

names_up() {
	local zone i
	zone=$(lab_dir)/authority/root.zone
	for i in {100..112} 120; do
		lab exec internet ip address add "203.0.113.$i/32" dev lo
		lab exec internet ip address add "2001:db8:113::$i/128" dev lo nodad
	done
	{ sed 's/hostmaster.lab. 1 /hostmaster.lab. 2 /' "$zone"; names_records; } >"$zone.new"
	mv "$zone.new" "$zone"
	lab signal authority HUP
	await 10 resolves_here
}
resolves_here() { [ "$(ask 172.20.0.10 "y.x.a.truth.example.com" A)" = 203.0.113.104 ]; }

truth() { pod python3 "$tests_lab/names_truth.py" "$(lab_dir)/truth.json" "${ports[@]}"; }

# Rows "NAME TYPE RCODE ANSWERS OPEN-PORTS" on standard input, $1 says of what.
table() {
	local rows i got
	mapfile -t rows < <(grep -v '^[[:space:]]*$')
	mapfile -t got < <(printf '%s\n' "${rows[@]}" | truth)
	for ((i = 0; i < ${#rows[@]}; i++)); do
		# shellcheck disable=SC2086 # words are what is wanted
		set -- "$1" ${rows[i]}
		equal "$1: $2 $3" "$4 $5 $6" "${got[i]:-nothing}"
	done
}

# RULES…: YAML lines of spec.egress, and of spec in $deny.
deny=
cnp() {
	printf '%s\n' "apiVersion: cilium.io/v2" "kind: CiliumNetworkPolicy" \
		"metadata: {name: truth, namespace: agent-sandboxes}" "spec:" "  description: \"$RANDOM $RANDOM\"" \
		"  endpointSelector: {matchLabels: {egress-tier: sandbox}}" ${deny:+"$deny"} "  egress:"
	printf '  - %s\n' "$@"
}
anp() {
	printf '%s\n' "apiVersion: networking.k8s.aws/v1alpha1" "kind: ApplicationNetworkPolicy" \
		"metadata: {name: truth, namespace: agent-sandboxes}" "spec:" \
		"  podSelector: {matchLabels: {egress-tier: sandbox}}" "  policyTypes: [Egress]" "  egress:"
	printf '  - %s\n' "$@"
}
tcp443='{protocol: TCP, port: 443}'
web='toPorts: [{ports: [{port: "443", protocol: TCP}]}]'
fqdn() { cnp "{toFQDNs: [$1], ${2:-$web}}"; }
domain() { anp "{to: [{domainNames: [\"$1\"]}], ports: [${2:-$tcp443}]}"; }

# $1 what; standard input the policy. The first starts Sluice.
running=
policy() {
	if [ -n "$running" ]; then
		sluice_switch truth.yaml || fail "$1: the policy did not come into force"
	else
		sluice_policy truth.yaml
		sluice_start
		running=yes
	fi
}

empty="NOERROR - -" # denied: no answer, and closed

lab_begin
names_up
control() {
	local i
	for ((i = 0; i < ${#names[@]}; i += 2)); do
		echo "${names[i]} A NOERROR ${names[i + 1]} 443,7000"
		echo "${names[i]} AAAA NOERROR 2001:db8:113::${names[i + 1]##*.} 443,7000"
	done
	echo "alias.truth.example.com A NOERROR 203.0.113.110 443,7000"
}
table control < <(control)

# ---- Cilium's dialect --------------------------------------------------------------------------------------------------

policy matchName < <(fqdn "{matchName: a.truth.example.com}")
table "matchName a.truth.example.com" <<-END
	a.truth.example.com A NOERROR 203.0.113.101 443
	a.truth.example.com AAAA NOERROR 2001:db8:113::101 443
	a.truth.example.com TXT $empty
	truth.example.com A $empty
	b.truth.example.com A $empty
	x.a.truth.example.com A $empty
	a.else.example.org A $empty
	c.truth.example.com none - - -
END

policy "final dot and capitals" < <(fqdn "{matchName: B.Truth.EXAMPLE.com.}")
table "matchName B.Truth.EXAMPLE.com." <<-END
	b.TRUTH.Example.Com A NOERROR 203.0.113.102 443
	a.truth.example.com A $empty
	a.truth.example.com AAAA $empty
END

policy "one label" < <(fqdn "{matchPattern: '*.truth.example.com'}")
table "matchPattern *.truth.example.com" <<-END
	a.truth.example.com A NOERROR 203.0.113.101 443
	_srv.truth.example.com AAAA NOERROR 2001:db8:113::112 443
	truth.example.com A $empty
	x.a.truth.example.com A $empty
	y.x.a.truth.example.com A $empty
	xtruth.example.com A $empty
	alias.truth.example.com A NOERROR 203.0.113.110 443
	target.example.net A NOERROR - 443
	metadata.truth.example.com A NOERROR 203.0.113.120 443
	metadata.truth.example.com AAAA $empty
END

policy "final dot of the name" < <(fqdn "{matchPattern: '*.truth.example.com.'}")
table "matchPattern *.truth.example.com." <<-END
	c.truth.example.com. libc NOERROR 203.0.113.108 443
	x.c.truth.example.com. libc NODATA - -
END

policy "any depth" < <(fqdn "{matchPattern: '**.truth.example.com'}")
table "matchPattern **.truth.example.com" <<-END
	a.truth.example.com A NOERROR 203.0.113.101 443
	x.a.truth.example.com A NOERROR 203.0.113.103 443
	y.x.a.truth.example.com A NOERROR 203.0.113.104 443
	truth.example.com A $empty
	xtruth.example.com A $empty
END

policy "a star within a label" < <(fqdn "{matchPattern: 'a*b.truth.example.com'}")
table "matchPattern a*b.truth.example.com" <<-END
	ab.truth.example.com A NOERROR 203.0.113.105 443
	axxb.truth.example.com A NOERROR 203.0.113.106 443
	a.truth.example.com A $empty
	b.truth.example.com A $empty
	x.a.truth.example.com A $empty
END

policy "a star before a label" < <(fqdn "{matchPattern: '*truth.example.com'}")
table "matchPattern *truth.example.com" <<-END
	truth.example.com A NOERROR 203.0.113.100 443
	xtruth.example.com A NOERROR 203.0.113.111 443
	a.truth.example.com A $empty
END

policy "a star in the middle" < <(fqdn "{matchPattern: 'a.*.example.*'}")
table "matchPattern a.*.example.*" <<-END
	a.truth.example.com A NOERROR 203.0.113.101 443
	a.else.example.org A NOERROR 203.0.113.107 443
	x.a.truth.example.com A $empty
	b.truth.example.com A $empty
END

policy "two stars of one label each" < <(fqdn "{matchPattern: '*.*.truth.example.com'}")
table "matchPattern *.*.truth.example.com" <<-END
	x.a.truth.example.com A NOERROR 203.0.113.103 443
	x.c.truth.example.com A NOERROR 203.0.113.109 443
	a.truth.example.com A $empty
	y.x.a.truth.example.com A $empty
END

policy "stars inside" < <(fqdn "{matchPattern: 'x.**.truth.example.com'}")
table "matchPattern x.**.truth.example.com (as x.*.)" <<-END
	x.a.truth.example.com A NOERROR 203.0.113.103 443
	y.x.a.truth.example.com A $empty
END

policy "everything" < <(fqdn "{matchPattern: '*'}")
table "matchPattern *" <<-END
	truth.example.com A NOERROR 203.0.113.100 443
	y.x.a.truth.example.com A NOERROR 203.0.113.104 443
	a.else.example.org AAAA NOERROR 2001:db8:113::107 443
	metadata.truth.example.com A NOERROR 203.0.113.120 443
END

# ---- ports, denials, names that may only be asked ----------------------------------------------------------------------

policy "ports of two rules" < <(cnp "{toFQDNs: [{matchName: a.truth.example.com}], $web}" \
	"{toFQDNs: [{matchPattern: '*.truth.example.com'}], toPorts: [{ports: [{port: \"6999\", endPort: 7001, protocol: TCP}]}]}" \
	"{toFQDNs: [{matchName: truth.example.com}], toPorts: [{ports: [{port: \"443\", protocol: UDP}]}]}" \
	"{toFQDNs: [{matchName: a.else.example.org}]}")
table "ports of two rules" <<-END
	a.truth.example.com A NOERROR 203.0.113.101 443,7000
	b.truth.example.com A NOERROR 203.0.113.102 7000
	truth.example.com A NOERROR 203.0.113.100 -
	a.else.example.org A NOERROR 203.0.113.107 443,7000
	xtruth.example.com A $empty
END

deny='  egressDeny: [{toCIDR: ["203.0.113.101/32", "2001:db8:113::/64"], toPorts: [{ports: [{port: "443"}]}]}]'
policy "a denial beats a lease" < <(cnp "{toFQDNs: [{matchPattern: '*.truth.example.com'}]}")
deny=
table "egressDeny 203.0.113.101/32 and 2001:db8:113::/64 port 443" <<-END
	a.truth.example.com A NOERROR 203.0.113.101 7000
	b.truth.example.com A NOERROR 203.0.113.102 443,7000
	b.truth.example.com AAAA NOERROR 2001:db8:113::102 7000
END

policy "names that may only be asked" < <(cnp "{toCIDR: [203.0.113.102/32], $web}" \
	"{toEndpoints: [{}], toPorts: [{ports: [{port: \"53\", protocol: ANY}], rules: {dns: [{matchPattern: '*.truth.example.com'}]}}]}" \
	"{toFQDNs: [{matchName: c.truth.example.com}], $web}")
table "rules.dns *.truth.example.com" <<-END
	b.truth.example.com A NOERROR 203.0.113.102 443
	a.truth.example.com A $empty
	x.a.truth.example.com A $empty
	c.truth.example.com A NOERROR 203.0.113.108 443
	b.truth.example.com AAAA $empty
	metadata.truth.example.com A $empty
END

# ---- AWS's dialect -----------------------------------------------------------------------------------------------------

policy domainNames < <(domain a.truth.example.com)
table "domainNames a.truth.example.com" <<-END
	A.truth.example.com A NOERROR 203.0.113.101 443
	a.truth.example.com AAAA NOERROR 2001:db8:113::101 443
	truth.example.com A $empty
	b.truth.example.com A $empty
	x.a.truth.example.com A $empty
END

policy "any depth" < <(domain '*.Truth.example.com.' '{protocol: TCP, port: 6000, endPort: 7000}')
table "domainNames *.Truth.example.com., ports 6000-7000" <<-END
	a.truth.example.com A NOERROR 203.0.113.101 7000
	x.a.truth.example.com A NOERROR 203.0.113.103 7000
	y.x.a.truth.example.com AAAA NOERROR 2001:db8:113::104 7000
	truth.example.com A $empty
	xtruth.example.com A $empty
	alias.truth.example.com A NOERROR 203.0.113.110 7000
	metadata.truth.example.com A NOERROR 203.0.113.120 7000
END

policy "names beside an address" < <(anp '{to: [{domainNames: [b.truth.example.com]}, {ipBlock: {cidr: 203.0.113.101/32}}], ports: [{port: 443}]}')
table "domainNames b.truth.example.com, ipBlock 203.0.113.101/32" <<-END
	b.truth.example.com A NOERROR 203.0.113.102 443
	a.truth.example.com none - - 443
	a.truth.example.com A NOERROR - 443
	c.truth.example.com A $empty
END

policy "both dialects at once" < <(
	fqdn "{matchPattern: '*.truth.example.com'}"
	echo ---
	domain '*.truth.example.com' '{protocol: TCP, port: 7000}'
)
table "*.truth.example.com, port 443 in Cilium's dialect, 7000 in AWS's" <<-END
	a.truth.example.com A NOERROR 203.0.113.101 443,7000
	x.a.truth.example.com A NOERROR 203.0.113.103 7000
	truth.example.com A $empty
END
