/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way between the DNS proxy and pods on branch ENIs. The VPC CNI keeps the host route to such a pod in a table that only
 * rules for what comes from its interfaces lead to; an answer, made on the node, would leave by the node's own ENI, and a question
 * is dropped by the check of the way back (rp_filter).
 */
#ifndef SLUICE_AGENT_ANSWER_WAY_H
#define SLUICE_AGENT_ANSWER_WAY_H

#include <stdint.h>

#include "agent/nlsock.h"
#include "base/addr_type.h"

/* `n`: of NETLINK_ROUTE. */

/*
 * IPv4's check, even the loose one (2), drops what came from elsewhere on an interface without any address: this one gets 127.0.53.1.
 * The strict one (1) cannot be met. 0 or -errno.
 */
int answer_way_admit(struct nlsock *n, uint32_t ifindex);

/*
 * A host route to the address in SLUICE_ANSWER_TABLE, where only what is sent under SLUICE_SOCK_MARK looks (net.h has the rule). It
 * goes with the interface; one that leads to another interface is replaced. 0 or -errno.
 */
int answer_way_put(struct nlsock *n, const struct sluice_addr *addr, uint32_t ifindex);

#endif
