#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The cluster that ctest's tests of this folder share: up, with Sluice's image on its nodes, and down. A cluster that was up
# before is used, and stays.
#
#   cluster.sh up|down
# shellcheck source=tests/k8s/lib.sh
. "$(dirname "$(readlink -f "$0")")/lib.sh"
mark=$folder/of-ctest
case $1 in
up)
	[ -e $folder/ready ] || {
		cluster_test_begin
		# Whatever becomes of ctest, its cluster does not outlive it.
		CLUSTER_OWNER=$PPID cluster up
		touch $mark
	}
	load_image
	;;
down) [ ! -e $mark ] || cluster down ;;
esac
