/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a policy image says about one destination. Pure: the verdict on an address is bpf/decide.h's, the kernel's own;
 * names follow semantics of the DNS proxy, by the same image_match_name.
 */
#ifndef SLUICE_TOOLS_BPFCTL_EXPLAIN_H
#define SLUICE_TOOLS_BPFCTL_EXPLAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "policy/image.h"

struct explain_query {
	bool is_name;
	char name[256]; /* canonical: lower case, no final dot */
	size_t name_len;
	struct sluice_addr addr;
	uint8_t proto;
	uint16_t number; /* port, host order; ICMP: type */
};

/* "example.com", "EXAMPLE.com.", "192.0.2.1", "2001:db8::1", "[2001:db8::1]". 0 or -EINVAL. */
int explain_parse_target(const char *text, struct explain_query *q);
/* "443", "443/udp", "8/ICMP". TCP when no protocol is named. 0 or -EINVAL. */
int explain_parse_port(const char *text, struct explain_query *q);

/* Where the image alone does not know: what DNS has opened, and which addresses are the cluster's. Either may be NULL. */
struct explain_world {
	bool (*find_lease)(void *context, uint64_t policy, const struct sluice_addr *addr, struct sluice_lease *ret);
	bool (*in_cluster)(void *context, const struct sluice_addr *addr);
	void *context;
	uint64_t policy;
	uint64_t now;	     /* CLOCK_MONOTONIC ns */
	uint32_t generation; /* the endpoint's; 0 without one */
	bool no_proxy; /* the endpoint backs a resolver: its own port 53 is not the proxy's, whatever names it has */
};

enum explain_by {
	EXPLAIN_BY_NOTHING,   /* no rule speaks for it */
	EXPLAIN_BY_RULE,      /* an address rule */
	EXPLAIN_BY_NAME_RULE, /* a name rule: once the name is resolved, or by a lease that is there */
	EXPLAIN_BY_DNS_PROXY, /* port 53: the proxy answers */
	EXPLAIN_BY_REFUSAL,   /* a refused policy selects the endpoint */
	EXPLAIN_BY_CLASS,     /* an address that never leaves a pod */
	EXPLAIN_BY_MODE,      /* quarantine, or selected by nothing */
};
const char *explain_by_name(enum explain_by by); /* "rule", "name-rule", "dns-proxy", ... */

struct explain_answer {
	bool allowed;
	uint8_t reason; /* enum sluice_reason */
	enum explain_by by;
	uint32_t rule; /* 0: none */
	uint64_t name; /* id of the lease's name, when a lease decided */
	bool has_askable;
	bool askable;  /* may the pod ask for the name? */
	bool ask_only; /* it may, but its answer opens nothing */
};

void explain(const struct image *img, const struct explain_world *world, const struct explain_query *q,
	     struct explain_answer *ret);
/* The same of a name, by the rules alone: port 53 is a port like others. */
void explain_by_rules(const struct image *img, const struct explain_query *q, struct explain_answer *ret);
/* The row for every address of a family, 0.0.0.0/0 or ::/0; NULL: there is none. */
const struct image_dest *explain_any_row(const struct image *img, bool ipv4);
/* Without an image: an endpoint in quarantine, or one that nothing selects. */
void explain_mode(enum sluice_mode mode, struct explain_answer *ret);

#endif
