/* SPDX-License-Identifier: Apache-2.0 */
/* What waits for a descriptor: one epoll set, one callback each. */
#ifndef SLUICE_DNSPROXY_LOOP_H
#define SLUICE_DNSPROXY_LOOP_H

#include <stdint.h>

/* Lives as long as it is watched. Callbacks may find nothing to do: descriptors never block. */
struct source {
	void (*ready)(struct source *s, uint32_t events, uint64_t now);
	void *owner;
};

/* 0 or -errno. */
int loop_new(int *ret_fd);
int loop_watch(int loop, int fd, uint32_t events, struct source *s);
int loop_change(int loop, int fd, uint32_t events, struct source *s);
/* Waits up to `timeout_ms` (-1: for ever) and runs what is ready. *ret_now is the time that they are told, set before. */
int loop_run_once(int loop, int timeout_ms, uint64_t *ret_now);

#endif
