#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every Python file compiles without a warning; nothing is written beside it.
# shellcheck source=tests/check/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

{ sources '*.py'; scripts 'python3?'; } | sort -u | xargs python3 -W error -c '
import sys
failed = 0
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as f:
        text = f.read()
    try:
        compile(text, path, "exec")
    except SyntaxError as error:
        print(f"{path}:{error.lineno}: {error.msg}")
        failed = 1
sys.exit(failed)'
