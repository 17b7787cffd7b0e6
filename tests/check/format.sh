#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every C file is as .clang-format wants it (clang-format 14, whose taste differs from other versions').
# shellcheck source=tests/check/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

sources '*.c' '*.h' | xargs clang-format-14 --dry-run --Werror || {
	echo "To mend: clang-format-14 -i FILE" >&2
	exit 1
}
