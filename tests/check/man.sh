#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every manual page formats without a warning from groff.
# shellcheck source=tests/check/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

for page in $(sources '*.[1-8]'); do
	while IFS= read -r warning; do
		complain "$(sed -E "s#^[a-z]+: ##; s#^<standard input>#$page#" <<<"$warning")"
	done < <(groff -k -t -mandoc -Tutf8 -ww -z "$page" 2>&1)
	grep -qE '^\.(TH|Dt) ' "$page" || complain "$page:1: has no .TH or .Dt line"
done
finish
