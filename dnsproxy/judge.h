/* SPDX-License-Identifier: Apache-2.0 */
/* What a policy says to a question, and to an address in its answer (semantics sections 4 and 5). Pure. */
#ifndef SLUICE_DNSPROXY_JUDGE_H
#define SLUICE_DNSPROXY_JUDGE_H

#include "dnsproxy/answer.h"
#include "dnsproxy/conf.h"
#include "policy/image.h"

enum judge_verdict {
	JUDGE_ALLOWED, /* forwarded; what it answers is opened for match.sets */
	JUDGE_FILTER,  /* ask-only: forwarded, and answered with what the endpoint may reach anyway */
	JUDGE_WHOLE,   /* forwarded, answered as it is, opens nothing */
	JUDGE_EMPTY,   /* not asked; answered empty here */
	JUDGE_DENIED,
	JUDGE_BROKEN, /* the image cannot say: an error, never an allow */
};

enum judge_response {
	JUDGE_NODATA,
	JUDGE_NXDOMAIN,
	JUDGE_REFUSED,
};

struct judgement {
	enum judge_verdict verdict;
	enum judge_response response; /* for EMPTY and DENIED */
	size_t zone;		      /* text offset in the name: owner of the answer's SOA */
	bool open;		      /* the endpoint is not isolated: what no name opens is reachable all the same */
	struct image_match match;
};

void judge_name(const struct image *img, const struct proxy_settings *s, const struct wire_name *name, uint16_t qtype,
		struct judgement *ret);

/* Does an address rule of the policy let something through to it? */
bool judge_rule_allows(const struct image *img, const struct sluice_addr *addr, bool in_cluster);
/*
 * May a name open the address at all? `in_cluster`: it, or the IPv4 address it stands for, is the cluster's;
 * `in_cluster_domain`: some name of the chain lies there.
 */
bool judge_may_open(const struct proxy_settings *s, const struct sluice_addr *addr, bool in_cluster,
		    bool in_cluster_domain);

#endif
