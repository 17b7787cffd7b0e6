# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What every check begins with. Run from the top folder; BUILD is the build folder where one is needed.

set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../.."
: "${BUILD:=$PWD/build/dev}"

# The project's files whose names match one of the patterns: what is there and not built, known to git or new.
sources() {
	local p names=()
	for p in "$@"; do names+=(-o -name "$p"); done
	find . \( -path ./build -o -name .git -o -name __pycache__ \) -prune -o -type f \( "${names[@]:1}" \) -print |
		sed 's#^\./##' | LC_ALL=C sort
}

# Files whose #! line ends in INTERPRETER-PATTERN, whatever they are called.
scripts() {
	sources '*' | xargs grep -InE -m 1 "^#!.*($1)\$" /dev/null | sed -n 's/:1:#!.*//p'
}

wrong=0
complain() { # FILE:LINE: TEXT
	echo "$*"
	wrong=$((wrong + 1))
}

finish() {
	[ "$wrong" -eq 0 ] || { echo "$wrong complaint(s)" >&2; exit 1; }
}
