/* SPDX-License-Identifier: Apache-2.0 */
/* A socket to one of the kernel's netlink families, for questions that are answered before the next is asked. */
#ifndef SLUICE_AGENT_NLSOCK_H
#define SLUICE_AGENT_NLSOCK_H

#include <libmnl/libmnl.h>
#include <stdint.h>

#define NLSOCK_BUFFER 32768 /* no message of a dump is longer */

struct nlsock {
	struct mnl_socket *socket;
	uint32_t seq;
	char buf[NLSOCK_BUFFER];
};

/* `family`: NETLINK_ROUTE, ... 0; -EPROTONOSUPPORT: the kernel does not have it; -errno */
int nlsock_open(int family, struct nlsock **ret);
void nlsock_freep(struct nlsock **n);

/* Sends, and gives each answer to `cb` until the last. The message asks for one: NLM_F_ACK, NLM_F_DUMP. 0 or -errno. */
int nlsock_talk(struct nlsock *n, struct nlmsghdr *nlh, mnl_cb_t cb, void *data);

#endif
