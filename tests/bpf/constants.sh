#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# constants.sh CLANG SOURCE FLAG...: fails when the program copies a struct from a constant. clang 14's BPF back end folds
# loads from constants and, in doing so, may lose stores before them: a verdict's rule and name went missing that way.
# Write the members one by one instead (decision_init in decide.h).
set -eu

clang=$1
source=$2
shift 2
ir=$("$clang" -target bpf -mcpu=v3 -O2 -S -emit-llvm "$@" -o - "$source")
found=$(printf '%s\n' "$ir" | grep -aE '^@[^ ]+ = .*(unnamed_addr|internal|private).* constant ' || :)
if [ -n "$found" ]; then
	echo "constants in $source:"
	echo "$found"
	exit 1
fi
