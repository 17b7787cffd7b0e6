#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The resolvers that programs really use, with a Kubernetes pod's search list and ndots:5: allowed names resolve, A and AAAA
# in either order, by UDP and by TCP where the resolver can; denied ones fail at once and with the error that means so.
# shellcheck source=tests/lab/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
# shellcheck source=tests/lab/dns/lib.sh
. "$tests_lab/dns/lib.sh"

clients=$BUILD/dns-clients # kept: other runs of this build use them too
mkdir -p "$clients"

# PROGRAM COMMAND… with @ for the output: compiles; never a half-written program for a run beside this one.
build() {
	local program=$clients/$1
	shift
	"${@/#@/$program.$$}"
	mv "$program.$$" "$program"
}

resolv_conf() { # FURTHER-OPTIONS
	cat >"$(lab_dir)/pods/$POD/resolv.conf" <<-END
		nameserver 172.20.0.10
		search agent-sandboxes.svc.cluster.local svc.cluster.local cluster.local corp.internal
		options ndots:5 timeout:2 attempts:1 $*
	END
}

both=2001:db8:113::10,203.0.113.10 v4=203.0.113.10 v6=2001:db8:113::10
lookups=(any:plain.ok.example 4:plain-46.ok.example 6:plain-46.ok.example 6:plain-64.ok.example 4:plain-64.ok.example
	any:addr-cb00710a.ok.example any:addr-20010db8011300000000000000000010.ok.example any:nxdomain.ok.example
	any:www.denied.example 4:www.denied.example 6:www.denied.example any:denied)
searched=(any:deep.allowed 4:deep.allowed)

# What one look-up must give; for a failure a pattern of errors.
wanted() { # FAMILY NAME ERRORS
	case $1:$2 in
	*denied* | *nxdomain*) echo "$3" ;;
	4:* | *:addr-cb00710a*) echo $v4 ;;
	6:* | *:addr-2001*) echo $v6 ;;
	*) echo $both ;;
	esac
}

# TITLE PROTO ERRORS COMMAND…: runs the client in the pod on all look-ups, and sees by which protocol it asked.
client() {
	local title=$1 proto=$2 errors=$3 udp tcp family name result ms n_wanted n=0 wrong=0 slowest=0
	shift 3
	udp=$(dns_count queries_udp) tcp=$(dns_count queries_tcp)
	while read -r family name result ms; do
		n=$((n + 1))
		[[ $result =~ ^($(wanted "$family" "$name" "$errors"))$ ]] || {
			wrong=$((wrong + 1))
			fail "$title: $family $name: wanted $(wanted "$family" "$name" "$errors"), got $result"
		}
		slowest=$((ms > slowest ? ms : slowest))
	done < <(pod "$@")
	n_wanted=$(printf '%s\n' "$@" | grep -c ':')
	equal "$title: $n_wanted look-ups, and how many wrong" "$n_wanted 0" "$n $wrong"
	check "$title: none takes a second (slowest $slowest ms)" [ $slowest -lt 1000 ]
	udp=$(($(dns_count queries_udp) - udp)) tcp=$(($(dns_count queries_tcp) - tcp))
	case $proto in
	udp) check "$title: by UDP ($udp queries)" [ $((udp > 0 && tcp == 0)) = 1 ] ;;
	tcp) check "$title: by TCP ($tcp queries)" [ $((tcp > 0 && udp == 0)) = 1 ] ;;
	esac
}

build resolve-glibc cc -O2 -o @ "$tests_dns/resolve.c"
build resolve-musl musl-gcc -O2 -static -o @ "$tests_dns/resolve.c"
build resolve-cares cc -O2 -o @ "$tests_dns/resolve_cares.c" -lcares
go=$(command -v go || echo /usr/local/go/bin/go)
if [ -x "$go" ]; then
	build resolve-go env CGO_ENABLED=0 GO111MODULE=off GOTOOLCHAIN=local "$go" build -o @ "$tests_dns/resolve.go"
fi

dns_begin 'searchDomains: [corp.internal], clusterDomain: cluster.local'
sandbox_policy '{matchPattern: "*.ok.example"}, {matchName: deep.allowed.corp.internal}' | sluice_policy sandbox.yaml
sluice_start

resolv_conf
client glibc udp EAI_NODATA\|EAI_NONAME "$clients/resolve-glibc" "${lookups[@]}" "${searched[@]}"
client "static musl" udp EAI_NODATA\|EAI_NONAME "$clients/resolve-musl" "${lookups[@]}" "${searched[@]}"
client c-ares udp ENODATA\|ENOTFOUND "$clients/resolve-cares" "${lookups[@]}" "${searched[@]}"
client "c-ares over TCP" tcp ENODATA\|ENOTFOUND "$clients/resolve-cares" tcp "${lookups[@]}" "${searched[@]}"
if [ -x "$go" ]; then
	client Go udp no-such-host "$clients/resolve-go" "${lookups[@]}" "${searched[@]}"
else
	echo "skip Go's resolver: there is no go"
fi
if command -v node >/dev/null && [ -x /usr/bin/node ]; then
	client Node udp ENODATA\|ENOTFOUND /usr/bin/node "$tests_dns/resolve.js" "${lookups[@]}"
else
	echo "skip Node's resolver: there is no node"
fi
resolv_conf use-vc
client "glibc over TCP" tcp EAI_NODATA\|EAI_NONAME "$clients/resolve-glibc" "${lookups[@]}" "${searched[@]}"
if [ -x "$go" ]; then
	client "Go over TCP" tcp no-such-host "$clients/resolve-go" "${lookups[@]}" "${searched[@]}"
fi
equal "of the denied names, packets at the resolver" 0 "$(seen_count upstream '\x06denied')"
check "control: an allowed one is among what it saw" [ "$(seen_count upstream plain-46)" -gt 0 ]
