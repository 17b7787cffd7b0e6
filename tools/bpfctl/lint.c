/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * One pass collects the names and prefixes of all policies. Each piece of advice is then a function over one policy,
 * name or prefix, that looks for its cure first in the same policy and then in the others that select the same pods.
 */
#include "tools/bpfctl/lint.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/array.h"

enum advice {
	ADVICE_CILIUM_DNS,
	ADVICE_DNS_ANY,
	ADVICE_DNS_UDP_ONLY,
	ADVICE_AWS_DNS,
	ADVICE_WILDCARD_DEPTH,
	ADVICE_GLOBAL_STS,
	ADVICE_IMDS,
	ADVICE_BROAD_SELECTOR,
};

static const char *const advice_ids[] = {
	[ADVICE_CILIUM_DNS] = "cilium-dns",
	[ADVICE_DNS_ANY] = "dns-any",
	[ADVICE_DNS_UDP_ONLY] = "dns-udp-only",
	[ADVICE_AWS_DNS] = "aws-dns",
	[ADVICE_WILDCARD_DEPTH] = "wildcard-depth",
	[ADVICE_GLOBAL_STS] = "global-sts",
	[ADVICE_IMDS] = "imds",
	[ADVICE_BROAD_SELECTOR] = "broad-selector",
};

struct lint_name {
	struct tree_name name;
	struct tree_entry entry; /* name.entry points to a copy that is gone */
};

struct lint_block {
	struct tree_block block;
	struct tree_entry entry;
};

/* What one policy says. */
struct lint_policy {
	const struct tree_policy *policy;
	struct lint_name *names; /* it opens */
	size_t nnames;
	struct lint_name *asked; /* of rules.dns, by text */
	size_t nasked;
	struct lint_block *blocks;
	size_t nblocks;
	const struct ynode *udp53; /* the first entry that admits DNS over UDP and not over TCP */
	bool tcp53;
	bool dns;	     /* an entry admits port 53 in some way */
	bool denies_imds[2]; /* by the order of imds_addrs */
};

struct linter {
	struct diags *diags;
	struct lint_policy *policies;
	size_t count;
	const struct lint_policy **askers; /* those with rules.dns */
	size_t naskers;
	struct sluice_addr imds[2];
	bool oom;
};

static const char *const imds_addrs[] = { "169.254.169.254", "fd00:ec2::254" };

static void linter_clear(struct linter *l)
{
	for (size_t i = 0; i < l->count; i++) {
		free(l->policies[i].names);
		free(l->policies[i].asked);
		free(l->policies[i].blocks);
	}
	free(l->policies);
	free(l->askers);
}

/* ---- saying it ---------------------------------------------------------------------------------------------------- */

static bool is_ignored(const struct tree_policy *p, const char *id)
{
	const char *list = tree_text(p->root, "metadata", "annotations", LINT_IGNORE, NULL);
	size_t len = strlen(id);

	while (list && *list) {
		size_t n = strcspn(list, ", \t\n");

		if (n == len && !strncmp(list, id, len))
			return true;
		list += n;
		list += strspn(list, ", \t\n");
	}
	return false;
}

static bool wanted(const struct tree_policy *p, enum advice id)
{
	return !is_ignored(p, advice_ids[id]);
}

/* ---- collecting --------------------------------------------------------------------------------------------------- */

struct collector {
	struct linter *linter;
	struct lint_policy *policy;
};

static void take_name(const struct tree_name *n, void *context)
{
	struct collector *c = context;
	struct lint_policy *p = c->policy;
	struct lint_name *slot = n->ask_only ? array_push(&p->asked, &p->nasked, sizeof(*slot))
					     : array_push(&p->names, &p->nnames, sizeof(*slot));

	if (slot)
		*slot = (struct lint_name){ .name = *n, .entry = *n->entry };
	else
		c->linter->oom = true;
}

static void take_block(const struct tree_block *b, void *context)
{
	struct collector *c = context;
	struct lint_block *slot = array_push(&c->policy->blocks, &c->policy->nblocks, sizeof(*slot));

	if (slot)
		*slot = (struct lint_block){ .block = *b, .entry = *b->entry };
	else
		c->linter->oom = true;
	for (size_t i = 0; b->entry->action == TREE_DENY && i < 2; i++) {
		if (tree_block_holds(b, &c->linter->imds[i]) && tree_admits_port(b->entry, "TCP", 80))
			c->policy->denies_imds[i] = true;
	}
}

static void find_dns_port(const struct tree_port *p, void *context)
{
	struct lint_policy *policy = context;
	bool dns = !p->name && p->first == 53 && p->last == 53;

	if (dns && !strcmp(p->protocol, "UDP") && !policy->udp53)
		policy->udp53 = p->node;
}

static void take_entry(const struct tree_entry *e, void *context)
{
	struct collector *c = context;

	tree_each_name(e, take_name, c);
	tree_each_block(e, take_block, c);
	if (e->action != TREE_ALLOW)
		return;
	tree_each_port(e, find_dns_port, c->policy);
	c->policy->tcp53 = c->policy->tcp53 || tree_admits_port(e, "TCP", 53);
	c->policy->dns = c->policy->dns || tree_admits_port(e, "UDP", 53);
}

static int compare_names(const void *a, const void *b)
{
	const struct lint_name *x = a, *y = b;

	return strcmp(x->name.pattern.text, y->name.pattern.text);
}

static void collect(struct linter *l, const struct tree *t)
{
	l->policies = calloc(t->count + 1, sizeof(*l->policies));
	l->oom = !l->policies;
	for (size_t i = 0; !l->oom && i < t->count; i++) {
		struct lint_policy *p = &l->policies[l->count++];
		struct collector c = { .linter = l, .policy = p };
		const struct lint_policy **slot;

		p->policy = &t->items[i];
		tree_each_entry(p->policy, take_entry, &c);
		if (!p->nasked || l->oom)
			continue;
		qsort(p->asked, p->nasked, sizeof(*p->asked), compare_names);
		slot = array_push(&l->askers, &l->naskers, sizeof(*slot));
		if (slot)
			*slot = p;
		else
			l->oom = true;
	}
}

/* ---- names -------------------------------------------------------------------------------------------------------- */

#define WARN(l, p, id, node, format, ...)                                                                              \
	diag_add((l)->diags, DIAG_WARNING, (p)->file, (node)->line, (node)->column, format " [%s]", __VA_ARGS__,       \
		 advice_ids[id])

static bool lists(const struct lint_policy *asker, const struct lint_name *n)
{
	const struct lint_name *same =
		asker->nasked ? bsearch(n, asker->asked, asker->nasked, sizeof(*n), compare_names) : NULL;

	if (same && pattern_covers(&same->name.pattern, &n->name.pattern))
		return true;
	for (size_t i = 0; i < asker->nasked; i++) {
		const struct name_pattern *p = &asker->asked[i].name.pattern;

		if (!pattern_is_exact(p) && pattern_covers(p, &n->name.pattern))
			return true;
	}
	return false;
}

static bool is_listed(const struct linter *l, const struct lint_policy *p, const struct lint_name *n, bool *ret_any)
{
	*ret_any = p->nasked > 0;
	if (lists(p, n))
		return true;
	for (size_t i = 0; i < l->naskers; i++) {
		if (!tree_selects_all_of(l->askers[i]->policy, p->policy))
			continue;
		*ret_any = true;
		if (lists(l->askers[i], n))
			return true;
	}
	return false;
}

static void advise_cilium_dns(struct linter *l, const struct lint_policy *p)
{
	if (!tree_is_cilium(p->policy->kind) || !wanted(p->policy, ADVICE_CILIUM_DNS))
		return;
	for (size_t i = 0; i < p->nnames; i++) {
		const struct ynode *node = p->names[i].name.node;
		bool any;

		if (is_listed(l, p, &p->names[i], &any))
			continue;
		if (!any) {
			WARN(l, p->policy, ADVICE_CILIUM_DNS, node,
			     "toFQDNs %s: Cilium would not enforce this without rules.dns, it learns addresses from "
			     "nothing else; Sluice needs none",
			     node->text);
			return;
		}
		WARN(l, p->policy, ADVICE_CILIUM_DNS, node,
		     "toFQDNs %s: Cilium would refuse queries for it, no rules.dns lists it; Sluice lets it be asked",
		     node->text);
	}
}

static void advise_dns_any(struct linter *l, const struct lint_policy *p)
{
	for (size_t i = 0; i < p->nasked; i++) {
		const struct ynode *node = p->asked[i].name.node;

		if (p->asked[i].name.pattern.all && wanted(p->policy, ADVICE_DNS_ANY))
			WARN(l, p->policy, ADVICE_DNS_ANY, node,
			     "rules.dns %s lets a pod send any name to the resolver, and data with it; Sluice does not "
			     "need it",
			     node->text);
	}
}

static bool is_wild_aws(const struct lint_name *n)
{
	return n->name.dialect == NAME_AWS && n->name.pattern.deep;
}

static void advise_wildcards(struct linter *l, const struct lint_policy *p)
{
	for (size_t i = 0; i < p->nnames; i++) {
		const struct lint_name *n = &p->names[i];

		if (is_wild_aws(n) && wanted(p->policy, ADVICE_WILDCARD_DEPTH))
			WARN(l, p->policy, ADVICE_WILDCARD_DEPTH, n->name.node,
			     "domainNames %s is a wildcard wider than the other dialect's: it matches at any depth, "
			     "in Cilium's exactly one label (there *%s says the same)",
			     n->name.node->text, n->name.node->text);
	}
}

/* SDKs without a region, or with the legacy setting, ask for the global name, which the regional pattern lacks. */
static void advise_sts(struct linter *l, const struct lint_policy *p)
{
	struct name_pattern global = { .text = "sts.amazonaws.com" };

	for (size_t i = 0; i < p->nnames; i++) {
		const struct lint_name *n = &p->names[i];
		bool found = false;

		if (strcmp(n->name.pattern.text, "sts.*.amazonaws.com") != 0 || !wanted(p->policy, ADVICE_GLOBAL_STS))
			continue;
		for (size_t k = 0; k < p->nnames && !found; k++)
			found = pattern_covers(&p->names[k].name.pattern, &global);
		if (!found)
			WARN(l, p->policy, ADVICE_GLOBAL_STS, n->name.node,
			     "toFQDNs %s does not hold the global sts.amazonaws.com, which many SDKs ask for",
			     n->name.node->text);
	}
}

/* ---- DNS ---------------------------------------------------------------------------------------------------------- */

static void advise_dns_ports(struct linter *l, const struct lint_policy *p)
{
	if (p->udp53 && !p->tcp53 && wanted(p->policy, ADVICE_DNS_UDP_ONLY))
		WARN(l, p->policy, ADVICE_DNS_UDP_ONLY, p->udp53, "%s",
		     "UDP-only DNS rule: answers too long for a datagram are asked for again over TCP 53, which no "
		     "rule "
		     "here admits");
}

static void advise_aws_dns(struct linter *l, const struct lint_policy *p)
{
	if (p->policy->kind != TREE_ANP || !p->nnames || p->dns || !wanted(p->policy, ADVICE_AWS_DNS))
		return;
	for (size_t i = 0; i < l->count; i++) {
		if (l->policies[i].dns && tree_selects_all_of(l->policies[i].policy, p->policy))
			return;
	}
	WARN(l, p->policy, ADVICE_AWS_DNS, p->names[0].name.node,
	     "domainNames %s: AWS's agent would drop the queries for it, no rule admits port 53; Sluice needs none",
	     p->names[0].name.node->text);
}

/* ---- instance metadata -------------------------------------------------------------------------------------------- */

static bool is_denied(const struct linter *l, const struct lint_policy *p, size_t imds)
{
	if (p->denies_imds[imds])
		return true;
	for (size_t i = 0; i < l->count; i++) {
		if (l->policies[i].denies_imds[imds] && tree_selects_all_of(l->policies[i].policy, p->policy))
			return true;
	}
	return false;
}

/* A deny of one family's metadata address that forgets the other's. */
static void advise_half_deny(struct linter *l, const struct lint_policy *p, const struct lint_block *b)
{
	for (size_t i = 0; i < 2; i++) {
		if (!tree_block_holds(&b->block, &l->imds[i]) || is_denied(l, p, 1 - i))
			continue;
		WARN(l, p->policy, ADVICE_IMDS, b->block.node,
		     "%s IMDS (%s) not covered: %s is denied here, and the same service answers there too",
		     i == 0 ? "IPv6" : "IPv4", imds_addrs[1 - i], imds_addrs[i]);
	}
}

static void advise_open_imds(struct linter *l, const struct lint_policy *p, const struct lint_block *b)
{
	for (size_t i = 0; i < 2; i++) {
		if (b->block.prefix.bits == 128 || !tree_block_holds(&b->block, &l->imds[i]) ||
		    !tree_admits_port(&b->entry, "TCP", 80) || is_denied(l, p, i))
			continue;
		WARN(l, p->policy, ADVICE_IMDS, b->block.node,
		     "opens the instance metadata service at %s (IPv%s IMDS) with the node's credentials; deny it by "
		     "an "
		     "Admin rule, or except it",
		     imds_addrs[i], i == 0 ? "4" : "6");
	}
}

static void advise_imds(struct linter *l, const struct lint_policy *p)
{
	if (!wanted(p->policy, ADVICE_IMDS))
		return;
	for (size_t i = 0; i < p->nblocks; i++) {
		const struct lint_block *b = &p->blocks[i];

		if (b->entry.action == TREE_DENY)
			advise_half_deny(l, p, b);
		else if (b->entry.action == TREE_ALLOW)
			advise_open_imds(l, p, b);
	}
}

/* ---- selectors ---------------------------------------------------------------------------------------------------- */

static void advise_selector(struct linter *l, const struct lint_policy *p)
{
	const char *isolates = tree_text(p->policy->spec, "enableDefaultDeny", "egress", NULL);
	const struct ynode *at = ynode_get(p->policy->spec, "endpointSelector");

	if (p->policy->kind != TREE_CCNP || !at || !tree_selects_everything(p->policy) ||
	    (isolates && !strcmp(isolates, "false")) || !wanted(p->policy, ADVICE_BROAD_SELECTOR))
		return;
	if (ynode_get(p->policy->spec, "egress") || ynode_get(p->policy->spec, "egressDeny"))
		WARN(l, p->policy, ADVICE_BROAD_SELECTOR, at, "%s",
		     "selects every pod of the cluster and denies each what no rule allows it, the cluster's DNS and "
		     "controllers too");
}

int lint(const struct tree *t, struct diags *diags)
{
	CLEANUP(linter_clear) struct linter l = { .diags = diags };

	if (addr_parse(imds_addrs[0], &l.imds[0]) < 0 || addr_parse(imds_addrs[1], &l.imds[1]) < 0)
		return -EINVAL;
	collect(&l, t);
	for (size_t i = 0; !l.oom && i < l.count; i++) {
		const struct lint_policy *p = &l.policies[i];

		advise_selector(&l, p);
		advise_cilium_dns(&l, p);
		advise_sts(&l, p);
		advise_wildcards(&l, p);
		advise_dns_any(&l, p);
		advise_dns_ports(&l, p);
		advise_aws_dns(&l, p);
		advise_imds(&l, p);
	}
	return l.oom ? -ENOMEM : 0;
}
