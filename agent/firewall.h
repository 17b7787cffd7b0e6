/* SPDX-License-Identifier: Apache-2.0 */
/* What of this network namespace's packet filter may keep handed-over queries from the proxy, and its answers from pods. */
#ifndef SLUICE_AGENT_FIREWALL_H
#define SLUICE_AGENT_FIREWALL_H

#include "base/strbuf.h"

struct firewall;

int firewall_open(struct firewall **ret); /* 0 or -errno */
void firewall_freep(struct firewall **f);

enum firewall_way { FIREWALL_IN, FIREWALL_OUT, FIREWALL_WAYS };

/*
 * One line for each chain of nf_tables at the input or output hook that drops what its rules do not admit; whether they admit the
 * queries or the answers is not looked into. iptables-nft's chains are among them. NULL or an error of the kernel's: none.
 */
const char *firewall_dropping(struct firewall *f, enum firewall_way way);

/* Is there a filter of the older iptables, which nobody can ask without taking part in it? */
bool firewall_is_legacy(void);

#endif
