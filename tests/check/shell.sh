#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every shell script, found by its #! line or its directive for ShellCheck, passes it; warnings and errors count.
# shellcheck source=tests/check/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

mapfile -t sourced < <(sources '*' | xargs grep -lE '^# shellcheck shell=')
mapfile -t files < <(scripts 'sh' && printf '%s\n' "${sourced[@]}")
[ ${#files[@]} -gt 10 ] || complain "tests/check/shell.sh:1: found only ${#files[@]} scripts"
printf '%s\n' "${files[@]}" | sort -u | xargs shellcheck --external-sources --severity=warning --format=gcc ||
	wrong=1
for f in $(scripts '.*'); do
	[ -x "$f" ] || complain "$f:1: has a #! line but is not executable"
done
finish
