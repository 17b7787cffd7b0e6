/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * The policies that select the endpoint, in canonical order, are lowered to address rules (dests.c flattens them) and
 * names (trie.c), each with a rule number that leads back to its line. Rule numbers are in that order too, so equal
 * selections give equal bytes. A refusal makes an image of one rule, which denies everything and names it.
 */
#include "policy/compile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/siphash.h"
#include "policy/array.h"
#include "policy/build.h"
#include "policy/select.h"

/* Entries with more peers share one rule number, or each prefix of a long list would cost a rule set of its own. */
#define PEERS_WITH_OWN_RULE 64

static const struct sluice_prefix all_ipv4 = { .addr = { .b = { [10] = 0xff, [11] = 0xff } }, .bits = 96 };
static const struct sluice_prefix all_ipv6 = { .bits = 0 };

struct lowering {
	const struct inventory *inv;
	struct image_parts parts;
	struct addr_rule *rules;
	size_t nrules;
	const struct policy *policy; /* whose strings the three offsets are */
	uint32_t policy_title;
	uint32_t policy_kind;
	uint32_t policy_file;
};

static void lowering_clear(struct lowering *lo)
{
	dests_clear(&lo->parts.dests);
	sets_clear(&lo->parts.sets);
	trie_clear(&lo->parts.trie);
	strbuf_clear(&lo->parts.strings);
	free(lo->parts.sources);
	free(lo->parts.policies);
	free(lo->rules);
}

static uint32_t add_string(struct lowering *lo, const char *text)
{
	uint32_t offset = (uint32_t)lo->parts.strings.len;

	strbuf_add(&lo->parts.strings, text, strlen(text) + 1);
	return offset;
}

static int begin_policy(struct lowering *lo, const struct policy *p)
{
	uint32_t *slot;

	lo->policy_title = add_string(lo, p->title);
	lo->policy_kind = add_string(lo, p->kind_name);
	lo->policy_file = add_string(lo, p->file);
	slot = array_push(&lo->parts.policies, &lo->parts.npolicies, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	*slot = lo->policy_title;
	return 0;
}

/* A rule number for "WORDS PORTS" at a line. */
static int add_source(struct lowering *lo, uint32_t line, uint32_t column, const char *words, const char *ports,
		      uint32_t *ret)
{
	struct fmt_source *s = array_push(&lo->parts.sources, &lo->parts.nsources, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->policy = lo->policy_title;
	s->kind = lo->policy_kind;
	s->file = lo->policy_file;
	s->line = line;
	s->column = column;
	s->text = (uint32_t)lo->parts.strings.len;
	strbuf_addf(&lo->parts.strings, "%s %s", words, ports ? ports : "any port");
	strbuf_add(&lo->parts.strings, "", 1);
	*ret = (uint32_t)lo->parts.nsources;
	return 0;
}

/* ---- addresses ------------------------------------------------------------------------------------------------- */

static struct grant entry_grant(const struct entry *e, uint32_t rule)
{
	return (struct grant){ .ports = e->ports, .nports = e->nports, .deny = e->deny, .rule = rule };
}

static struct addr_rule *add_rule(struct lowering *lo, const struct entry *e, uint32_t rule,
				  const struct sluice_prefix *prefix, bool inside)
{
	struct addr_rule *r = array_push(&lo->rules, &lo->nrules, sizeof(*r));

	if (!r)
		return NULL;
	r->prefix = *prefix;
	r->outside = true;
	r->inside = inside;
	r->grant = entry_grant(e, rule);
	return r;
}

static int lower_everywhere(struct lowering *lo, const struct entry *e, uint32_t rule, bool inside)
{
	return add_rule(lo, e, rule, &all_ipv4, inside) && add_rule(lo, e, rule, &all_ipv6, inside) ? 0 : -ENOMEM;
}

static int lower_cidr(struct lowering *lo, const struct entry *e, const struct peer *peer, uint32_t rule)
{
	struct addr_rule *r = add_rule(lo, e, rule, &peer->prefix, peer->cluster);

	if (!r)
		return -ENOMEM;
	r->excepts = peer->excepts;
	r->nexcepts = peer->nexcepts;
	return 0;
}

static int lower_pods(struct lowering *lo, const struct entry *e, const struct peer *peer, uint32_t rule)
{
	for (size_t i = 0; lo->inv && i < lo->inv->npods; i++) {
		const struct subject *pod = &lo->inv->pods[i];

		if (!selector_matches(&peer->selector, pod))
			continue;
		for (size_t k = 0; k < pod->naddrs; k++) {
			struct sluice_prefix prefix = { .addr = pod->addrs[k], .bits = 128 };
			struct addr_rule *r = add_rule(lo, e, rule, &prefix, true);

			if (!r)
				return -ENOMEM;
			r->pod = true;
		}
	}
	return 0;
}

/* ---- names ----------------------------------------------------------------------------------------------------- */

static int lower_name(struct lowering *lo, const struct entry *e, const struct peer *peer, uint32_t rule)
{
	struct grant grant = entry_grant(e, rule);
	uint32_t set = 0;
	int r = 0;

	lo->parts.flags |= IMAGE_NAMES;
	if (peer->kind == PEER_NAME)
		r = sets_intern(&lo->parts.sets, &grant, 1, true, &set, NULL);
	return r < 0 ? r : trie_add(&lo->parts.trie, &lo->parts.strings, &peer->name, set, rule);
}

/* ---- policies -------------------------------------------------------------------------------------------------- */

static int lower_peer(struct lowering *lo, const struct entry *e, const struct peer *peer, uint32_t rule)
{
	switch (peer->kind) {
	case PEER_ANY:
		return lower_everywhere(lo, e, rule, true);
	case PEER_WORLD:
		return lower_everywhere(lo, e, rule, false);
	case PEER_CIDR:
		return lower_cidr(lo, e, peer, rule);
	case PEER_PODS:
		return lower_pods(lo, e, peer, rule);
	case PEER_NAME:
	case PEER_ASK:
		return lower_name(lo, e, peer, rule);
	}
	return 0;
}

static bool by_address(enum peer_kind kind)
{
	return kind != PEER_NAME && kind != PEER_ASK;
}

static int lower_entry(struct lowering *lo, const struct entry *e)
{
	bool shared = e->npeers > PEERS_WITH_OWN_RULE;
	uint32_t shared_rule = 0;
	int r = 0;

	for (size_t i = 0; i < e->npeers && r >= 0; i++) {
		const struct peer *peer = &e->peers[i];
		uint32_t rule = shared_rule;

		if (!shared || !by_address(peer->kind))
			r = add_source(lo, peer->line, peer->column, peer->text,
				       peer->kind == PEER_ASK ? "(ask only)" : e->ports_text, &rule);
		else if (!shared_rule) {
			r = add_source(lo, e->line, e->column, e->deny ? "egressDeny entry" : "egress entry",
				       e->ports_text, &shared_rule);
			rule = shared_rule;
		}
		if (r >= 0)
			r = lower_peer(lo, e, peer, rule);
	}
	return r;
}

static int lower_policies(struct lowering *lo, const struct selection *sel)
{
	for (size_t i = 0; i < sel->count; i++) {
		const struct policy *p = sel->policies[i];
		int r = begin_policy(lo, p);

		for (size_t k = 0; k < p->nentries && r >= 0; k++)
			r = lower_entry(lo, &p->entries[k]);
		if (r < 0)
			return r;
	}
	return 0;
}

static int lower_refusal(struct lowering *lo, const struct policy *p)
{
	static const struct entry deny = { .deny = true };
	_cleanup_free_ char *words = NULL;
	uint32_t rule;
	int r;

	if (asprintf(&words, "refused: %s;", p->refusal) < 0) {
		words = NULL;
		return -ENOMEM;
	}
	lo->parts.flags |= IMAGE_REFUSED;
	r = begin_policy(lo, p);
	if (r >= 0)
		r = add_source(lo, p->line, p->column, words, "everything is denied", &rule);
	return r < 0 ? r : lower_everywhere(lo, &deny, rule, true);
}

static int lower(struct lowering *lo, const struct selection *sel)
{
	int r;

	/* Whatever selects here isolates; ASK_ANY is for front ends that can open a policy without isolating. */
	lo->parts.flags = sel->count > 0 || sel->refusal ? IMAGE_ISOLATED : IMAGE_ASK_ANY;
	r = trie_init(&lo->parts.trie);
	if (r >= 0)
		r = sel->refusal ? lower_refusal(lo, sel->refusal) : lower_policies(lo, sel);
	if (r >= 0)
		r = dests_build(lo->rules, lo->nrules, &lo->parts.sets, &lo->parts.dests);
	if (r < 0)
		return r;
	if (lo->parts.dests.opens_outside)
		lo->parts.flags |= FMT_OPENS_OUTSIDE;
	sets_sort(&lo->parts.sets);
	return lo->parts.strings.failed ? -ENOMEM : 0;
}

static void say_too_big(struct diags *diags, const struct selection *sel, const struct subject *subject)
{
	const struct policy *p = sel->refusal ? sel->refusal : sel->policies[0];

	diag_add(diags, DIAG_ERROR, p->file, p->line, p->column,
		 "the policies of endpoint %s/%s are too large to compile; it is denied", subject->namespace_name,
		 subject->name);
}

int compile(const struct store *s, const struct subject *subject, const struct inventory *inv, struct diags *diags,
	    uint8_t **ret, size_t *ret_len)
{
	CLEANUP(selection_clear) struct selection sel = {};
	CLEANUP(lowering_clear) struct lowering lo = { .inv = inv };
	int r = select_policies(s, subject, &sel);

	if (r < 0)
		return r;
	if (sel.count == 0 && !sel.refusal)
		return 1;
	r = lower(&lo, &sel);
	if (r >= 0)
		r = image_write(&lo.parts, ret, ret_len);
	if (r == -E2BIG)
		say_too_big(diags, &sel, subject);
	return r;
}

/* ---- keys ------------------------------------------------------------------------------------------------------ */

static const uint64_t fingerprint_key[2] = { 0x736c756963652d66ull, 0x696e6765727072ull };

static bool uses_inventory(const struct selection *sel)
{
	for (size_t i = 0; !sel->refusal && i < sel->count; i++)
		for (size_t k = 0; k < sel->policies[i]->nentries; k++)
			for (size_t n = 0; n < sel->policies[i]->entries[k].npeers; n++)
				if (sel->policies[i]->entries[k].peers[n].kind == PEER_PODS)
					return true;
	return false;
}

static void hash_pod(struct strbuf *b, const struct subject *pod)
{
	strbuf_addf(b, "%s/%s %zu", pod->namespace_name, pod->name, pod->nlabels);
	for (size_t i = 0; i < pod->nlabels; i++) {
		strbuf_add(b, pod->labels[i].key, strlen(pod->labels[i].key) + 1);
		strbuf_add(b, pod->labels[i].value, strlen(pod->labels[i].value) + 1);
	}
	strbuf_addf(b, "%zu ", pod->naddrs);
	strbuf_add(b, pod->addrs, pod->naddrs * sizeof(*pod->addrs));
}

uint64_t compile_key(const struct store *s, const struct subject *subject, const struct inventory *inv)
{
	CLEANUP(selection_clear) struct selection sel = {};
	CLEANUP(strbuf_clear) struct strbuf b = {};

	if (select_policies(s, subject, &sel) == 0) {
		uint64_t refusal = sel.refusal ? sel.refusal->serial : 0;

		strbuf_add(&b, &refusal, sizeof(refusal));
		for (size_t i = 0; i < sel.count && !refusal; i++)
			strbuf_add(&b, &sel.policies[i]->serial, sizeof(sel.policies[i]->serial));
		for (size_t i = 0; inv && uses_inventory(&sel) && i < inv->npods; i++)
			hash_pod(&b, &inv->pods[i]);
		if (!b.failed)
			return siphash24(b.data, b.len, fingerprint_key);
	}
	/* Without memory nothing is known to be equal: a key of the subject's own. */
	return (uint64_t)(uintptr_t)subject;
}
