#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Each header compiles alone: what it needs it includes, and it has a guard. The kernel programs' own with clang for BPF, the
# contracts both ways, all else with gcc.
# shellcheck source=tests/check/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

flags=(-std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror -Wno-unused-function -Wno-missing-field-initializers -I. -x c)

try() { # HEADER COMPILER…; twice, so that a guard that is missing shows
	printf '#include "%s"\n#include "%s"\n' "$1" "$1" | "${@:2}" "${flags[@]}" -o /dev/null - ||
		complain "$1:1: does not compile alone with $2"
}
host() { try "$1" gcc -fsyntax-only -isystem "$BUILD/bpf/skel"; }
kernel() { try "$1" clang-14 -target bpf -mcpu=v3 -O2 -c -isystem "/usr/include/$(uname -m)-linux-gnu"; }

for h in $(sources '*.h'); do
	case $h in
	bpf/abi_names.h) host "$h" ;;
	bpf/decide.h) ;; # its includer says first what the tables are: bpf/tables.h, policy/verdict.c
	bpf/abi.h | bpf/addr_class.h | bpf/cluster_quiet.h | bpf/lease_line.h | bpf/lease_use.h | base/addr_type.h) host "$h"; kernel "$h" ;;
	bpf/*) kernel "$h" ;;
	*) host "$h" ;;
	esac
done
finish
