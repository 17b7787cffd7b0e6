/* SPDX-License-Identifier: Apache-2.0 */
/* The cgroup's egress filter around the proxy (hazard 23, bpf/proxy.bpf.c). */
#ifndef SLUICE_DNSPROXY_CONFINE_H
#define SLUICE_DNSPROXY_CONFINE_H

/*
 * Puts the agent's programs on the cgroup this process is in, if that is its own: not the root, and nobody else is in
 * it. Needs CAP_NET_ADMIN and CAP_BPF, and that the pin path can be written. Says in the log what came of it: the proxy
 * serves either way, since what it may own is bounded by the kernel's lease branch too. 0: confined; -errno.
 */
int confine(const char *pin_path);

#endif
