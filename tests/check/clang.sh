#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A second compiler's warnings: every C file of compile_commands.json through clang, as the build compiles it.
# shellcheck source=tests/check/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"

[ -s "$BUILD/compile_commands.json" ] || { echo "$BUILD/compile_commands.json is missing: configure first" >&2; exit 1; }

# One shell command per line.
python3 -c '
import json, shlex, sys
commands = {}
for entry in json.load(open(sys.argv[1])):
    words = shlex.split(entry["command"]) if "command" in entry else entry["arguments"]
    if not entry["file"].endswith(".c"):
        continue
    out = words.index("-o")
    del words[out:out + 2]
    words = [w for w in words if w not in ("-c", "-MD")]
    commands[entry["file"]] = ["clang-14", "-fsyntax-only", "-Wall", "-Wextra", "-Werror"] + words[1:]
for words in commands.values():
    print(shlex.join(words))' "$BUILD/compile_commands.json" | tr '\n' '\0' | {
	cd "$BUILD"
	# shellcheck disable=SC2016 # expanded by the inner shell; each file's complaints come in one piece
	xargs -0 -P 2 -n 1 sh -c 'out=$(eval "$1" 2>&1) || { printf "%s\n" "$out"; exit 1; }' clang
}
