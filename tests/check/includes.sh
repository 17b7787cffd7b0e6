#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Include direction: base <- policy <- dnsproxy <- agent; the contracts of bpf/ open to all but base; tools uses base, policy
# and contracts; nothing outside tests/ includes tests/. Third-party headers only in the rooms that may have them.
# shellcheck source=tests/check/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# Of each room, the project's headers it may include, and the third-party ones besides libc and the kernel's UAPI.
contracts='bpf/(abi|addr_class|cluster_quiet|decide|dest_page|lease_line|lease_use|abi_names)\.h'
own_headers() {
	case $1 in
	base) echo 'base/.*' ;;
	bpf-kernel) echo 'base/addr_type\.h|bpf/.*' ;;
	bpf-contract) echo "base/addr_type\.h|$contracts" ;;
	bpf-user) echo "base/.*|$contracts" ;;
	policy) echo "(base|policy)/.*|$contracts" ;;
	dnsproxy) echo "(base|policy|dnsproxy)/.*|$contracts" ;;
	agent) echo "(base|policy|dnsproxy|agent)/.*|$contracts|[a-z_]+\.skel\.h" ;;
	tools) echo "(base|policy|tools)/.*|$contracts|agent/(api|config|flowlog|nlsock|notrack)\.h|dnsproxy/settings\.h" ;;
	tests) echo '.*' ;;
	*) echo 'no-such-room' ;;
	esac
}
other_headers() {
	case $1 in
	bpf-kernel) echo 'bpf/bpf_(helpers|endian)\.h' ;;
	policy) echo 'yaml\.h|sha[12]\.h' ;;
	dnsproxy) echo 'seccomp\.h|bpf/(bpf|libbpf)\.h' ;;
	agent) echo 'bpf/(bpf|libbpf|btf)\.h|libmnl/.*|ares\.h|curl/.*|jansson\.h|microhttpd\.h|systemd/.*|cap-ng\.h' ;;
	tools) echo 'bpf/(bpf|libbpf|btf)\.h|libmnl/.*|jansson\.h|ares\.h' ;;
	tests) echo '.*' ;;
	*) echo 'none' ;;
	esac
}

room() { # FILE
	case $1 in
	bpf/abi.h | bpf/addr_class.h | bpf/cluster_quiet.h | bpf/decide.h | bpf/dest_page.h | bpf/lease_line.h | bpf/lease_use.h | bpf/abi_names.h) echo bpf-contract ;;
	bpf/*.bpf.c | bpf/*.h) echo bpf-kernel ;;
	bpf/*) echo bpf-user ;;
	*) echo "${1%%/*}" ;;
	esac
}

# What libc, the kernel's UAPI and the compiler bring.
declare -A system
while IFS= read -r h; do
	h=${h#/usr/include/}
	system[${h#"$(uname -m)-linux-gnu/"}]=1
done < <(dpkg -L libc6-dev linux-libc-dev | grep '\.h$')
for h in float iso646 limits stdalign stdarg stdatomic stdbool stddef stdint stdnoreturn; do system[$h.h]=1; done

previous=
while IFS=: read -r file line text; do
	if [ "$file" != "$previous" ]; then
		r=$(room "$file")
		own="^($(own_headers "$r"))$" other="^($(other_headers "$r"))$" previous=$file
	fi
	[[ $text =~ [\"\<]([^\"\>]*) ]] && header=${BASH_REMATCH[1]}
	case $text in
	*\"*)
		[[ $header =~ $own ]] || complain "$file:$line: $r must not include \"$header\""
		[[ $header == *.skel.h || -e $header ]] ||
			complain "$file:$line: \"$header\" is not a path from the top folder"
		;;
	*) [[ -n ${system[$header]:-} || $header =~ $other ]] || complain "$file:$line: $r must not include <$header>" ;;
	esac
done < <(sources '*.c' '*.h' | xargs grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*["<]' /dev/null)
finish
