/* SPDX-License-Identifier: Apache-2.0 */
/* Our clsact filters: where they are among others on a hook, put there, taken away. */
#ifndef SLUICE_AGENT_TC_H
#define SLUICE_AGENT_TC_H

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stdint.h>

enum tc_hook {
	TC_HOOK_INGRESS,
	TC_HOOK_EGRESS,
};

struct tc_place {
	uint32_t handle;  /* 0: there is no filter of ours */
	uint32_t program; /* its id */
	bool first;	  /* nothing runs before it */
};

/* 0, also when interface or qdisc are not there; -errno. */
int tc_find(uint32_t ifindex, enum tc_hook hook, struct tc_place *ret);

/*
 * The program is on the hook, before every other filter, when this returns 0. A filter of ours that is there already gets the
 * program in its place; one that another has got in front of is replaced by a new one before it goes.
 */
int tc_put(uint32_t ifindex, enum tc_hook hook, int program);

struct tc_channel {
	struct mnl_socket *socket;
	uint32_t seq;
};
int tc_channel_open(struct tc_channel *c); /* 0 or -errno */
void tc_channel_close(struct tc_channel *c);

/*
 * Both programs on an interface that most likely has nothing yet: qdisc and filters in one message over a socket that is open.
 * What the pod sends comes first. 0: both are there; -EEXIST: filters of ours are, of whatever program; -errno.
 */
int tc_close(struct tc_channel *c, uint32_t ifindex, int from_pod, int to_pod);

/* What is not there is no error. The clsact qdisc stays: it may be another's, and without filters it costs nothing. */
void tc_remove(uint32_t ifindex, enum tc_hook hook);

#endif
