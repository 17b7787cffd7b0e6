#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs a test that needs the cluster's programs and no cluster: with_programs.sh COMMAND…, which finds their folder in KUBE_BIN.
# shellcheck source=tests/cluster/testlib.sh
. "$(dirname "$(readlink -f "$0")")/testlib.sh"
cluster_test_build
# shellcheck source=tests/cluster/lib.sh
. "$tests_cluster/lib.sh"
# shellcheck source=tests/cluster/build.sh
. "$tests_cluster/build.sh"
KUBE_BIN=$(module_dir kubernetes)
export KUBE_BIN
exec "$@"
