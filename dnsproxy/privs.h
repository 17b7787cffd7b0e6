/* SPDX-License-Identifier: Apache-2.0 */
/* From root to nobody, in a folder of its own, with a short list of system calls. */
#ifndef SLUICE_DNSPROXY_PRIVS_H
#define SLUICE_DNSPROXY_PRIVS_H

#define PRIVS_NOBODY 65534

/* `dir` becomes the root directory. 0 or -errno; after an error the process must end. */
int privs_drop(int dir);

/* The last step. 0 or -errno. privs_seccomp_off.c stands in under sanitizers, which make calls of their own. */
int privs_seccomp(void);

#endif
