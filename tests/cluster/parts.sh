# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2154 # variables of lib.sh
# The parts of a cluster, for who works within its namespaces: init lays them out, power.sh takes them away and brings them
# back. Sourced after lib.sh.

# shellcheck source=tests/cluster/build.sh
. "$here/build.sh"
# shellcheck source=tests/cluster/images.sh
. "$here/images.sh"
# shellcheck source=tests/cluster/fabric.sh
. "$here/fabric.sh"
# shellcheck source=tests/cluster/pki.sh
. "$here/pki.sh"
# shellcheck source=tests/cluster/node.sh
. "$here/node.sh"
# shellcheck source=tests/cluster/controlplane.sh
. "$here/controlplane.sh"
# shellcheck source=tests/cluster/addons.sh
. "$here/addons.sh"
# shellcheck source=tests/cluster/down.sh
. "$here/down.sh"

LAB_NAME=cluster LAB_DIR=$dir
for m in kubernetes gvisor; do PATH=$(module_dir "$m"):$PATH; done
export LAB_NAME LAB_DIR PATH
