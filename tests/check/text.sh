#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What .editorconfig says of every text file: ends with a newline, no trailing blanks, no carriage returns; source files
# name their licence, and Python keeps to 120 columns.
# shellcheck source=tests/check/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

text() { sources '*.[ch]' '*.sh' '*.py' '*.md' '*.cmake' CMakeLists.txt '*.json' '*.yaml' '*.yml' '*.[1-8]' && scripts '.*'; }

while IFS= read -r found; do
	complain "$found: trailing blanks or a carriage return"
done < <(text | sort -u | xargs grep -nE '[[:blank:]]+$|'$'\r' /dev/null | cut -d: -f1,2)

while IFS= read -r f; do
	[ ! -s "$f" ] || [ -z "$(tail -c 1 "$f")" ] || complain "$f:$(wc -l <"$f"): no newline at the end"
done < <(text | sort -u)

while IFS= read -r f; do
	[[ $(head -n 3 "$f") == *SPDX-License-Identifier:\ * ]] || complain "$f:1: no SPDX-License-Identifier"
done < <({ sources '*.[ch]' '*.py' '*.sh' && scripts '.*'; } | sort -u)

while IFS= read -r found; do
	complain "$found: longer than 120 columns"
done < <(sources '*.py' | xargs grep -nE '^.{121,}' /dev/null | cut -d: -f1,2)
finish
