#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds what the tests of the cluster stand on, where it is not in the cache yet.
# shellcheck source=tests/cluster/testlib.sh
. "$(dirname "$(readlink -f "$0")")/testlib.sh"
cluster_test_begin
