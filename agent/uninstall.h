/* SPDX-License-Identifier: Apache-2.0 */
/* Takes off the node what an agent has put there, as that agent's last act. */
#ifndef SLUICE_AGENT_UNINSTALL_H
#define SLUICE_AGENT_UNINSTALL_H

/*
 * Becomes `bpfctl cleanup --config PATH`, of the bpfctl beside this program; with the privileges that are left. Returns only
 * when that cannot be: -errno, logged. No descriptor, lock or socket of an agent may be open that does not close by that.
 */
int uninstall(const char *config_path);

#endif
