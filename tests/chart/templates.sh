#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# templates.py with this build's programs (BUILD) and helm out of KUBE_BIN.
set -euo pipefail
: "${BUILD:?a build folder}" "${KUBE_BIN:?a folder with helm}"
exec /usr/bin/python3 "$(dirname "$(readlink -f "$0")")/templates.py" "$KUBE_BIN/helm" "$BUILD/bin/sluiced" "$BUILD/bin/bpfctl"
