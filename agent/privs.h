/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SLUICE_AGENT_PRIVS_H
#define SLUICE_AGENT_PRIVS_H

/*
 * Keeps CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (the verifier's) and gives every other capability up for good, also for
 * whatever it might execute. 0 or -errno (logged).
 */
int privs_drop(void);

#endif
