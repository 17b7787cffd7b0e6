/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bpfctl/check_resolve.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/array.h"
#include "tools/bpfctl/out.h"

/* One place where a name stands. */
struct place {
	struct name_pattern pattern;
	const struct tree_policy *policy;
	const struct ynode *entry;
	const struct ynode *node;
	size_t order;
	const struct resolve_name *found; /* exact names */
};

struct checker {
	const char *domain; /* the cluster's */
	struct diags *diags;
	struct place *places; /* by pattern, then as they stand */
	size_t count;
	struct resolve_name *names;
	size_t nnames;
	bool oom;
};

static void checker_clear(struct checker *c)
{
	resolve_clear(c->names, c->nnames);
	free(c->names);
	free(c->places);
}

/* ---- collecting --------------------------------------------------------------------------------------------------- */

/* Names below the cluster domain exist inside the cluster only. */
static bool is_cluster_name(const struct checker *c, const char *text)
{
	size_t len = strlen(text), n = strlen(c->domain);

	return len > n + 1 && text[len - n - 1] == '.' && !strcmp(text + len - n, c->domain);
}

static void add_place(const struct tree_name *n, void *context)
{
	struct checker *c = context;
	struct place *slot;

	if (n->ask_only)
		return;
	slot = array_push(&c->places, &c->count, sizeof(*slot));
	if (slot)
		*slot = (struct place){ .pattern = n->pattern,
					.policy = n->entry->policy,
					.entry = n->entry->node,
					.node = n->node,
					.order = c->count };
	else
		c->oom = true;
}

static void add_entry(const struct tree_entry *e, void *context)
{
	tree_each_name(e, add_place, context);
}

static int compare_places(const void *a, const void *b)
{
	const struct place *x = a, *y = b;
	int order = strcmp(x->pattern.text, y->pattern.text);

	return order ? order : (x->order > y->order) - (x->order < y->order);
}

static bool is_asked(const struct checker *c, const struct place *p)
{
	return pattern_is_exact(&p->pattern) && !is_cluster_name(c, p->pattern.text);
}

static int collect(struct checker *c, const struct tree *t)
{
	for (size_t i = 0; i < t->count; i++)
		tree_each_entry(&t->items[i], add_entry, c);
	c->names = calloc(c->count + 1, sizeof(*c->names));
	if (c->oom || !c->names)
		return -ENOMEM;
	if (c->count)
		qsort(c->places, c->count, sizeof(*c->places), compare_places);
	for (size_t i = 0; i < c->count; i++) {
		struct place *p = &c->places[i];

		if (!is_asked(c, p))
			continue;
		if (c->nnames == 0 || strcmp(c->names[c->nnames - 1].name, p->pattern.text) != 0)
			c->names[c->nnames++].name = p->pattern.text;
		p->found = &c->names[c->nnames - 1];
	}
	return 0;
}

/* ---- findings ----------------------------------------------------------------------------------------------------- */

/* Does a policy with the same selector, or one beside it, open the name too? */
static bool is_listed(const struct checker *c, const struct place *p, const char *name)
{
	struct name_pattern wanted = {};

	strncpy(wanted.text, name, sizeof(wanted.text) - 1);
	for (char *s = wanted.text; *s; s++)
		*s = (char)(*s >= 'A' && *s <= 'Z' ? *s - 'A' + 'a' : *s);
	for (size_t i = 0; i < c->count; i++) {
		if (pattern_covers(&c->places[i].pattern, &wanted) &&
		    tree_selects_all_of(c->places[i].policy, p->policy))
			return true;
	}
	return false;
}

__attribute__((format(printf, 4, 5))) static void say(struct checker *c, enum diag_level level, const struct place *p,
						      const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, format);
	if (vasprintf(&text, format, ap) < 0)
		text = NULL;
	va_end(ap);
	if (text)
		diag_add(c->diags, level, p->policy->file, p->node->line, p->node->column, "%s", text);
	else
		c->oom = true;
}

static void judge_status(struct checker *c, const struct place *p)
{
	switch (p->found->status) {
	case RESOLVE_OK:
		break;
	case RESOLVE_NO_NAME:
		say(c, DIAG_WARNING, p, "%s does not exist", p->found->name);
		break;
	case RESOLVE_NO_DATA:
		say(c, DIAG_WARNING, p, "%s has no address", p->found->name);
		break;
	case RESOLVE_TIMEOUT:
		say(c, DIAG_WARNING, p, "%s: no resolver answered", p->found->name);
		break;
	case RESOLVE_FAILED:
		say(c, DIAG_WARNING, p, "%s: the resolver failed or refused to answer", p->found->name);
		break;
	}
}

static void judge_aliases(struct checker *c, const struct place *p)
{
	for (size_t i = 0; i < p->found->naliases; i++) {
		if (is_listed(c, p, p->found->aliases[i]))
			continue;
		say(c, DIAG_NOTICE, p,
		    "%s leads to %s, which no rule for these pods lists; Sluice follows the chain, and whoever runs %s "
		    "decides what is opened",
		    p->found->name, p->found->aliases[i], p->found->aliases[i]);
		return;
	}
}

static bool is_own_name(const struct resolve_name *n, const char *name)
{
	bool own = !strcasecmp(n->name, name);

	for (size_t i = 0; i < n->naliases && !own; i++)
		own = !strcasecmp(n->aliases[i], name);
	return own;
}

/* One address is example enough. */
static void judge_reverse(struct checker *c, const struct place *p)
{
	for (size_t i = 0; i < p->found->naddrs; i++) {
		const struct resolve_addr *a = &p->found->addrs[i];
		char text[ADDR_TEXT_MAX];

		if (!a->reverse || is_own_name(p->found, a->reverse) || is_listed(c, p, a->reverse))
			continue;
		say(c, DIAG_NOTICE, p,
		    "%s has the address %s, which is also %s; who may reach the one reaches the other", p->found->name,
		    addr_format(&a->addr, text), a->reverse);
		return;
	}
}

/* ---- shared addresses --------------------------------------------------------------------------------------------- */

struct use {
	const struct sluice_addr *addr;
	const struct place *place;
};

static int compare_uses(const void *a, const void *b)
{
	const struct use *x = a, *y = b;
	int order = addr_compare(x->addr, y->addr);

	return order ? order : (x->place->order > y->place->order) - (x->place->order < y->place->order);
}

/* Each name once, against the first name of its first shared address that other pods, or other ports, are given. */
static void judge_uses(struct checker *c, const struct use *uses, size_t n, bool *told)
{
	for (size_t i = 0; i < n;) {
		size_t end = i + 1;
		char text[ADDR_TEXT_MAX];

		for (; end < n && addr_compare(uses[end].addr, uses[i].addr) == 0; end++) {
			const struct place *a = uses[i].place, *b = uses[end].place;

			if (told[b->order - 1] || a->entry == b->entry || a->found == b->found)
				continue;
			told[b->order - 1] = true;
			say(c, DIAG_NOTICE, b,
			    "%s shares the address %s with %s (%s:%u); who may reach the one reaches the other there",
			    b->found->name, addr_format(uses[i].addr, text), a->found->name, a->policy->file,
			    a->node->line);
		}
		i = end;
	}
}

static int judge_shared(struct checker *c)
{
	_cleanup_free_ struct use *uses = NULL;
	_cleanup_free_ bool *told = calloc(c->count + 1, sizeof(*told));
	size_t n = 0;

	if (!told)
		return -ENOMEM;
	for (size_t i = 0; i < c->count; i++) {
		const struct resolve_name *found = c->places[i].found;

		for (size_t k = 0; found && k < found->naddrs; k++) {
			struct use *slot = array_push(&uses, &n, sizeof(*slot));

			if (!slot)
				return -ENOMEM;
			*slot = (struct use){ .addr = &found->addrs[k].addr, .place = &c->places[i] };
		}
	}
	if (n)
		qsort(uses, n, sizeof(*uses), compare_uses);
	judge_uses(c, uses, n, told);
	return 0;
}

/* ---- the list ----------------------------------------------------------------------------------------------------- */

static json_t *addrs_json(const struct resolve_name *n)
{
	json_t *list = json_array();

	for (size_t i = 0; i < n->naddrs; i++)
		json_array_append_new(
			list, json_pack("{s:o, s:o}", "address", out_addr(&n->addrs[i].addr), "reverse",
					n->addrs[i].reverse ? out_textz(n->addrs[i].reverse, SIZE_MAX) : json_null()));
	return list;
}

static json_t *name_json(const struct resolve_name *n)
{
	json_t *aliases = json_array();

	for (size_t i = 0; i < n->naliases; i++)
		json_array_append_new(aliases, out_textz(n->aliases[i], SIZE_MAX));
	return json_pack("{s:o, s:s, s:o, s:o}", "name", out_textz(n->name, SIZE_MAX), "status",
			 resolve_status_name(n->status), "aliases", aliases, "addresses", addrs_json(n));
}

static bool none_answered(const struct checker *c)
{
	for (size_t i = 0; i < c->nnames; i++) {
		if (c->names[i].status != RESOLVE_TIMEOUT && c->names[i].status != RESOLVE_FAILED)
			return false;
	}
	return c->nnames > 0;
}

int check_resolve(const struct tree *t, const char *domain, const struct resolve_options *options, struct diags *diags,
		  json_t **ret)
{
	CLEANUP(checker_clear) struct checker c = { .domain = domain, .diags = diags };
	int r = collect(&c, t);

	if (r == 0)
		r = resolve_names(c.names, c.nnames, options);
	if (r == 0 && none_answered(&c))
		r = -ETIMEDOUT;
	if (r < 0)
		return r;
	for (size_t i = 0; i < c.count; i++) {
		if (!c.places[i].found)
			continue;
		judge_status(&c, &c.places[i]);
		judge_aliases(&c, &c.places[i]);
		judge_reverse(&c, &c.places[i]);
	}
	r = judge_shared(&c);
	if (r < 0 || c.oom)
		return -ENOMEM;
	*ret = json_array();
	for (size_t i = 0; i < c.nnames; i++)
		json_array_append_new(*ret, name_json(&c.names[i]));
	return 0;
}
