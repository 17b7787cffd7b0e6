#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# No function beyond 80 lines or complexity 20 (McCabe's, a switch counted once); those beyond 60 or 15 are listed.
# shellcheck source=tests/check/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

# pmccabe: complexity, the same with every case counted, statements, first line, lines, FILE(LINE): FUNCTION
sources '*.c' '*.h' | xargs pmccabe | awk '
	$5 > 60 || $1 > 15 {
		split($(NF - 1), place, /[()]/)
		bad = $5 > 80 || $1 > 20
		failed += bad
		printf "%s:%s: %s: %s() has %d lines and complexity %d\n", place[1], place[2],
		       bad ? "error" : "note", $NF, $5, $1
	}
	END { exit failed > 0 }' || {
	echo "the limits are 80 lines and complexity 20" >&2
	exit 1
}
