/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * selection (select.c), lowered to address rules and names (lower.c); addresses flattened to prefixes and sets (dests.c,
 * sets.c), Services' addresses judged by their backends (services.c), names into the trie (trie.c), and all of it to
 * bytes (image_write.c). Every step keeps the canonical order of the policies, so equal selections give equal bytes.
 *
 * A refusal makes an image of one rule, which denies everything and names it.
 */
#include "policy/compile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/siphash.h"
#include "policy/lower.h"

/* ---- names ------------------------------------------------------------------------------------------------------- */

static int lower_names(struct lowering *lo)
{
	uint32_t first = 0;

	for (size_t i = 0; i < lo->nnames; i++) {
		const struct name_rule *n = &lo->names[i];
		struct grant grant = n->grant;
		uint32_t set = 0;
		int r = 0;

		/* Sets of names do not know their rule, so one entry's names share what was flattened for the first. */
		if (i == 0 || lo->names[i - 1].entry != n->entry)
			first = grant.rule;
		grant.rule = first;
		if (!n->ask)
			r = sets_intern(&lo->parts.sets, &grant, 1, SET_NAMES, &set, NULL);
		if (r >= 0)
			r = trie_add(&lo->parts.trie, &lo->parts.strings, n->name, set, n->grant.rule);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- images ------------------------------------------------------------------------------------------------------ */

static int build_dests(struct lowering *lo)
{
	const struct inventory *inv = lo->index.inv;
	const struct dest_places places = { .masks = inv->service_cidrs,
					    .nmasks = inv->nservice_cidrs,
					    .barred = lo->index.api_server,
					    .nbarred = lo->index.napi_server,
					    .names = lo->nnames > 0 };

	return dests_build(lo->rules, lo->nrules, &places, &lo->parts.sets, &lo->parts.dests);
}

static int build(struct lowering *lo)
{
	int r = lower_names(lo);

	if (lo->nnames > 0)
		lo->parts.flags |= IMAGE_NAMES;
	lo->parts.flags |= lo->isolated ? IMAGE_ISOLATED : IMAGE_ASK_ANY;
	if (r >= 0)
		r = build_dests(lo);
	if (r >= 0)
		r = services_build(lo);
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
	CLEANUP(lowering_clear) struct lowering lo = {};
	int r = select_policies(s, subject, inv, &sel);

	if (r < 0)
		return r;
	if (sel.count == 0 && !sel.refusal)
		return 1;
	if (sel.refusal)
		lo.parts.flags |= IMAGE_REFUSED;
	r = sel.refusal ? lower_refusal(&lo, sel.refusal) : lower_policies(&lo, s, &sel, inv, diags);
	if (r >= 0)
		r = build(&lo);
	if (r >= 0)
		r = image_write(&lo.parts, ret, ret_len);
	if (r == -E2BIG)
		say_too_big(diags, &sel, subject);
	return r;
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

static const uint64_t fingerprint_key[2] = { 0x736c756963652d66ull, 0x696e6765727072ull };

static void hash_prefix(struct strbuf *b, const struct sluice_prefix *p)
{
	strbuf_add(b, &p->addr, sizeof(p->addr));
	strbuf_add(b, &p->bits, sizeof(p->bits));
}

static void hash_rule(struct strbuf *b, const struct addr_rule *r)
{
	hash_prefix(b, &r->prefix);
	strbuf_addf(b, "%d%d%d%d %u %zu ", r->outside, r->inside, r->cluster, r->written, r->grant.rule,
		    r->grant.nports);
	if (r->grant.nports)
		strbuf_add(b, r->grant.ports, r->grant.nports * sizeof(*r->grant.ports));
}

/* What the policies resolve to: equal serials and equal rules make equal images. */
static int hash_resolved(const struct store *s, const struct selection *sel, const struct inventory *inv,
			 struct strbuf *b)
{
	CLEANUP(lowering_clear) struct lowering lo = {};
	int r = lower_policies(&lo, s, sel, inv, NULL);

	for (size_t i = 0; i < lo.nrules && r >= 0; i++)
		hash_rule(b, &lo.rules[i]);
	for (size_t i = 0; inv && i < inv->nservice_cidrs; i++)
		hash_prefix(b, &inv->service_cidrs[i]);
	if (lo.nnames > 0 && lo.index.napi_server > 0)
		strbuf_add(b, lo.index.api_server, lo.index.napi_server * sizeof(*lo.index.api_server));
	return r < 0 ? r : services_fingerprint(&lo, b);
}

uint64_t compile_key(const struct store *s, const struct subject *subject, const struct inventory *inv)
{
	CLEANUP(selection_clear) struct selection sel = {};
	CLEANUP(strbuf_clear) struct strbuf b = {};
	int r = select_policies(s, subject, inv, &sel);

	if (r == 0) {
		uint64_t refusal = sel.refusal ? sel.refusal->serial : 0;

		strbuf_add(&b, &refusal, sizeof(refusal));
		for (size_t i = 0; i < sel.count && !refusal; i++)
			strbuf_add(&b, &sel.policies[i]->serial, sizeof(sel.policies[i]->serial));
		if (sel.count > 0 && !refusal)
			r = hash_resolved(s, &sel, inv, &b);
	}
	if (r == 0 && !b.failed)
		return siphash24(b.data, b.len, fingerprint_key);
	/* Without memory nothing is known to be equal: a key of the subject's own. */
	return (uint64_t)(uintptr_t)subject;
}
