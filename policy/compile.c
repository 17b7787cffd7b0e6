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
#include "base/strbuf.h"
#include "policy/array.h"
#include "policy/depends.h"
#include "policy/lower.h"
#include "policy/selections.h"

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
	const struct inventory *inv = lo->index->inv;
	const struct dest_places places = { .masks = inv->service_cidrs,
					    .nmasks = inv->nservice_cidrs,
					    .barred = lo->index->api_server,
					    .nbarred = lo->index->napi_server,
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

/* ---- the compiler ------------------------------------------------------------------------------------------------ */

struct compiler {
	struct resolver resolver;
	struct dependencies dependencies;
	struct selections selections;
	const struct store *store;
	bool ready; /* the pass began well */
};

int compiler_new(const uint64_t seed[2], struct compiler **ret)
{
	struct compiler *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->resolver.seed[0] = seed[0];
	c->resolver.seed[1] = seed[1];
	*ret = c;
	return 0;
}

void compiler_freep(struct compiler **compiler)
{
	struct compiler *c = *compiler;

	if (!c)
		return;
	selections_clear(&c->selections);
	dependencies_clear(&c->dependencies);
	resolver_clear(&c->resolver);
	free(c);
	*compiler = NULL;
}

int compiler_begin(struct compiler *c, const struct store *s, const struct inventory *inv)
{
	int r = selections_begin(&c->selections, s);

	dependencies_begin(&c->dependencies, c->resolver.services.pass);
	c->store = s;
	if (r == 0)
		r = resolver_begin(&c->resolver, inv);
	c->ready = r == 0;
	return r;
}

uint64_t compiler_cluster(const struct compiler *c)
{
	return c->resolver.cluster_of;
}

static int select_for(struct compiler *c, const struct subject *subject, const struct selection **ret)
{
	uint64_t print = c->ready ? resolver_subject(&c->resolver, subject) : 0;

	if (!print)
		return -ENOMEM;
	return selections_get(&c->selections, print, subject, c->resolver.index.inv, ret);
}

int compiler_compile(struct compiler *c, const struct subject *subject, struct diags *diags, uint8_t **ret,
		     size_t *ret_len)
{
	CLEANUP(lowering_clear) struct lowering lo = {};
	const struct selection *sel;
	int r = select_for(c, subject, &sel);

	if (r < 0)
		return r;
	if (sel->count == 0 && !sel->refusal)
		return 1;
	if (sel->refusal)
		lo.parts.flags |= IMAGE_REFUSED;
	r = sel->refusal ? lower_refusal(&lo, sel->refusal) : lower_policies(&lo, c->store, sel, &c->resolver, diags);
	if (r >= 0)
		r = build(&lo);
	if (r >= 0)
		r = image_write(&lo.parts, ret, ret_len);
	if (r == -E2BIG)
		say_too_big(diags, sel, subject);
	return r;
}

int compile(const struct store *s, const struct subject *subject, const struct inventory *inv, struct diags *diags,
	    uint8_t **ret, size_t *ret_len)
{
	CLEANUP(compiler_freep) struct compiler *c = NULL;
	int r = compiler_new((const uint64_t[2]){}, &c);

	if (r == 0)
		r = compiler_begin(c, s, inv);
	return r < 0 ? r : compiler_compile(c, subject, diags, ret, ret_len);
}

/* ---- keys -------------------------------------------------------------------------------------------------------- */

static void put(struct strbuf *b, uint64_t n)
{
	strbuf_add(b, &n, sizeof(n));
}

static int put_policies(struct compiler *c, const struct selection *sel, struct strbuf *b)
{
	for (size_t i = 0; i < sel->count; i++) {
		uint64_t print = 0;
		int r = dependencies_print(&c->dependencies, c->store, &c->resolver, sel->policies[i], &print);

		if (r < 0)
			return r;
		put(b, print);
	}
	/* Who is not isolated meets what nothing is behind, too. */
	put(b, sel->count && !sel->isolated ? c->resolver.every_presence : 0);
	put(b, sel->count ? c->resolver.place : 0);
	return 0;
}

uint64_t compiler_key(struct compiler *c, const struct subject *subject)
{
	CLEANUP(strbuf_clear) struct strbuf b = {};
	const struct selection *sel;
	int r = select_for(c, subject, &sel);

	if (r == 0) {
		put(&b, sel->refusal ? sel->refusal->serial : 0);
		put(&b, sel->refusal != NULL);
		if (!sel->refusal)
			r = put_policies(c, sel, &b);
	}
	if (r == 0 && !b.failed)
		return siphash24(b.data, b.len, c->resolver.seed);
	/* Without memory nothing is known to be equal: a key of the subject's own. */
	return (uint64_t)(uintptr_t)subject;
}

uint64_t compiler_key_apart(const struct compiler *like, const struct store *s, const struct inventory *inv,
			    const struct subject *subject)
{
	CLEANUP(compiler_freep) struct compiler *c = NULL;
	int r = compiler_new(like->resolver.seed, &c);

	if (r == 0)
		r = compiler_begin(c, s, inv);
	return r == 0 ? compiler_key(c, subject) : 0;
}

/* ---- tracing ----------------------------------------------------------------------------------------------------- */

int compile_trace(const struct store *s, const struct subject *subject, const struct inventory *inv,
		  const struct trace_query *q, struct trace_rule **ret, size_t *ret_count)
{
	CLEANUP(compiler_freep) struct compiler *c = NULL;
	CLEANUP(lowering_clear) struct lowering lo = {};
	const struct selection *sel = NULL;
	int r = compiler_new((const uint64_t[2]){}, &c);

	if (r == 0)
		r = compiler_begin(c, s, inv);
	if (r == 0)
		r = select_for(c, subject, &sel);
	if (r == 0 && sel->count > 0 && !sel->refusal)
		r = lower_policies(&lo, s, sel, &c->resolver, NULL);
	return r < 0 ? r : trace_rules(&lo, q, ret, ret_count);
}
