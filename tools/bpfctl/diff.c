/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * Addresses. The prefixes of both tables, and the two whole families, make a tree; within a prefix, less the longer ones
 * in it, each side has one destination row, hence one rule set, and the two sets are compared along the line of ports.
 * A prefix that changed as the one around it is not named again; one that changed otherwise is an exception of it.
 *
 * Names. A pattern is asked by a name that stands for all it matches: itself, or with each star replaced by a label
 * nobody has. For "one or more labels" two such names are asked, one label and two labels deep. A name's verdict comes
 * from name rules and from rules for any address; changes of the latter are told once, as addresses.
 */
#include "tools/bpfctl/diff.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/array.h"
#include "tools/bpfctl/diff_ports.h"
#include "tools/bpfctl/explain.h"
#include "tools/bpfctl/out.h"
#include "tools/bpfctl/records.h"

struct pair {
	const struct image *was;
	const struct image *is;
	json_t *allowed;
	json_t *denied;
	bool oom;
};

/* One change, into both lists as far as it has something for them. Steals `what`. */
static void tell(struct pair *p, json_t *what, const struct changes *c)
{
	json_t *other = json_deep_copy(what);

	p->oom = p->oom || !what || !other || c->oom;
	if (json_array_size(c->allowed)) {
		json_object_set(what, "ports", c->allowed);
		json_object_set_new(what, "rule", p->is ? record_source(p->is, c->allowed_rule) : json_null());
		json_array_append(p->allowed, what);
	}
	if (json_array_size(c->denied)) {
		json_object_set(other, "ports", c->denied);
		json_object_set_new(other, "rule", p->was ? record_source(p->was, c->denied_rule) : json_null());
		json_array_append(p->denied, other);
	}
	json_decref(what);
	json_decref(other);
}

static bool is_refused(const struct image *img)
{
	return img && (image_flags(img) & IMAGE_REFUSED);
}

/* ---- addresses ---------------------------------------------------------------------------------------------------- */

struct node {
	struct sluice_prefix prefix;
	size_t parent; /* SIZE_MAX: none */
	bool empty;    /* longer prefixes leave nothing of it */
	struct sluice_dest was;
	struct sluice_dest is;
	struct changes changes; /* of the scope that is looked at */
	size_t owner;		/* the node that tells of it */
	json_t *except;
};

struct forest {
	struct pair *pair;
	struct node *nodes;
	size_t count;
	bool cluster; /* the scope that is looked at */
};

static void forest_clear(struct forest *f)
{
	for (size_t i = 0; i < f->count; i++) {
		changes_clear(&f->nodes[i].changes);
		json_decref(f->nodes[i].except);
	}
	free(f->nodes);
}

static void add_node(struct forest *f, const struct sluice_addr *addr, uint32_t bits)
{
	struct node *n = array_push(&f->nodes, &f->count, sizeof(*n));

	if (n)
		n->prefix = (struct sluice_prefix){ .addr = *addr, .bits = bits };
	else
		f->pair->oom = true;
}

static void add_rows(struct forest *f, const struct image *img)
{
	for (size_t i = 0; img && i < image_dest_count(img); i++)
		add_node(f, &image_dest_at(img, i)->addr, image_dest_at(img, i)->bits);
}

static int compare_prefixes(const struct sluice_prefix *a, const struct sluice_prefix *b)
{
	int order = addr_compare(&a->addr, &b->addr);

	return order ? order : (a->bits > b->bits) - (a->bits < b->bits);
}

static int compare_nodes(const void *a, const void *b)
{
	return compare_prefixes(&((const struct node *)a)->prefix, &((const struct node *)b)->prefix);
}

static bool is_ipv4_root(const struct sluice_prefix *p)
{
	return p->bits == 96 && addr_is_ipv4(&p->addr);
}

/* The row that answers for the whole of the node: its own, or what answers for the prefix around it. */
static struct sluice_dest row_of(const struct image *img, size_t *at, const struct sluice_prefix *prefix,
				 const struct sluice_dest *around)
{
	while (img && *at < image_dest_count(img)) {
		const struct image_dest *row = image_dest_at(img, *at);
		struct sluice_prefix p = { .addr = row->addr, .bits = row->bits };
		int order = compare_prefixes(&p, prefix);

		if (order > 0)
			break;
		(*at)++;
		if (order == 0)
			return row->dest;
	}
	return around ? *around : (struct sluice_dest){};
}

/* How many prefixes of each length, relative to its own, a prefix holds directly. */
struct inner {
	uint32_t count[129];
};

static void count_inner(struct inner *inner, const struct node *outer, const struct node *n)
{
	inner->count[n->prefix.bits - outer->prefix.bits]++;
}

/* They do not overlap, so they fill it when they can be joined two by two up to the whole. */
static bool fills(struct inner *inner)
{
	for (size_t i = ARRAY_SIZE(inner->count) - 1; i > 0; i--) {
		if (inner->count[i] % 2)
			return false;
		inner->count[i - 1] += inner->count[i] / 2;
	}
	return inner->count[0] == 1;
}

/* The prefixes around the one that is looked at, by depth. */
struct ladder {
	size_t nodes[130];
	struct inner inner[130];
	size_t depth;
};

static void climb_down(struct forest *f, struct ladder *l)
{
	l->depth--;
	f->nodes[l->nodes[l->depth]].empty = fills(&l->inner[l->depth]);
}

static void link_nodes(struct forest *f)
{
	_cleanup_free_ struct ladder *l = calloc(1, sizeof(*l));
	size_t was_at = 0, is_at = 0;

	f->pair->oom = f->pair->oom || !l;
	for (size_t i = 0; l && i < f->count; i++) {
		struct node *n = &f->nodes[i], *around = NULL;

		while (l->depth && !prefix_contains(&f->nodes[l->nodes[l->depth - 1]].prefix, &n->prefix.addr))
			climb_down(f, l);
		n->parent = l->depth ? l->nodes[l->depth - 1] : SIZE_MAX;
		if (l->depth) {
			around = &f->nodes[n->parent];
			count_inner(&l->inner[l->depth - 1], around, n);
		}
		n->was = row_of(f->pair->was, &was_at, &n->prefix, around ? &around->was : NULL);
		n->is = row_of(f->pair->is, &is_at, &n->prefix, around ? &around->is : NULL);
		l->inner[l->depth] = (struct inner){};
		l->nodes[l->depth++] = i;
	}
	while (l && l->depth)
		climb_down(f, l);
}

static void build_forest(struct forest *f)
{
	static const struct sluice_addr none = {}, v4 = { .b = { [10] = 0xff, [11] = 0xff } };
	size_t out = 0;

	add_node(f, &none, 0);
	add_node(f, &v4, 96);
	add_rows(f, f->pair->was);
	add_rows(f, f->pair->is);
	if (f->pair->oom)
		return;
	qsort(f->nodes, f->count, sizeof(*f->nodes), compare_nodes);
	for (size_t i = 0; i < f->count; i++) {
		if (i == 0 || compare_prefixes(&f->nodes[i].prefix, &f->nodes[out - 1].prefix) != 0)
			f->nodes[out++] = f->nodes[i];
	}
	f->count = out;
	link_nodes(f);
}

struct sets {
	const struct pair *pair;
	uint32_t was;
	uint32_t is;
};

static void cut_sets(void *context, uint8_t proto, struct cuts *cuts)
{
	struct sets *s = context;

	cuts_add_set(cuts, s->pair->was, s->was, proto);
	cuts_add_set(cuts, s->pair->is, s->is, proto);
}

static struct port_word ask_set(const struct image *img, uint32_t set, uint8_t proto, uint16_t port)
{
	struct sluice_rule rule;

	if (!img)
		return (struct port_word){ .allowed = true };
	if (is_refused(img) || !set || !image_find_rule(img, set, proto, htons(port), &rule))
		return (struct port_word){};
	return (struct port_word){ .allowed = rule.verdict == SLUICE_ALLOW, .rule = rule.rule };
}

static void ask_sets(void *context, uint8_t proto, uint16_t port, struct port_word *was, struct port_word *is)
{
	struct sets *s = context;

	*was = ask_set(s->pair->was, s->was, proto, port);
	*is = ask_set(s->pair->is, s->is, proto, port);
}

static void judge_node(struct forest *f, size_t i)
{
	struct node *n = &f->nodes[i], *owner;
	struct sets sets = { .pair = f->pair,
			     .was = f->cluster ? n->was.cluster_set : n->was.set,
			     .is = f->cluster ? n->is.cluster_set : n->is.set };
	struct port_asker asker = { .cut = cut_sets, .ask = ask_sets, .context = &sets };
	char text[ADDR_TEXT_MAX];

	changes_clear(&n->changes);
	json_decref(n->except);
	n->except = json_array();
	if (n->empty)
		n->changes = (struct changes){ .allowed = json_array(), .denied = json_array() };
	else
		changes_find(&n->changes, &asker);
	f->pair->oom = f->pair->oom || n->changes.oom || !n->except;
	n->owner = i;
	if (n->parent == SIZE_MAX || is_ipv4_root(&n->prefix))
		return;
	owner = &f->nodes[f->nodes[n->parent].owner];
	if (n->empty || changes_equal(&n->changes, &owner->changes))
		n->owner = f->nodes[n->parent].owner;
	else
		json_array_append_new(owner->except, json_string(prefix_format(&n->prefix, text)));
}

static void judge_scope(struct forest *f, bool cluster)
{
	f->cluster = cluster;
	for (size_t i = 0; i < f->count && !f->pair->oom; i++)
		judge_node(f, i);
}

static json_t *node_json(const struct node *n, const char *scope)
{
	char text[ADDR_TEXT_MAX];

	return json_pack("{s:s, s:O, s:s}", "destination", prefix_format(&n->prefix, text), "except", n->except,
			 "scope", scope);
}

static bool same_telling(const struct node *a, size_t i, const struct node *b)
{
	return (a->owner == i) == (b->owner == i) && changes_equal(&a->changes, &b->changes) &&
	       json_equal(a->except, b->except);
}

/* Both scopes are judged, and what is the same in both is told once. */
static void diff_addresses(struct pair *p)
{
	CLEANUP(forest_clear) struct forest outside = { .pair = p };
	CLEANUP(forest_clear) struct forest cluster = { .pair = p };

	build_forest(&outside);
	build_forest(&cluster);
	judge_scope(&outside, false);
	judge_scope(&cluster, true);
	for (size_t i = 0; i < outside.count && !p->oom; i++) {
		const struct node *o = &outside.nodes[i], *c = &cluster.nodes[i];

		if (same_telling(o, i, c)) {
			if (o->owner == i)
				tell(p, node_json(o, "any"), &o->changes);
			continue;
		}
		if (o->owner == i)
			tell(p, node_json(o, "outside"), &o->changes);
		if (c->owner == i)
			tell(p, node_json(c, "cluster"), &c->changes);
	}
}

/* ---- names -------------------------------------------------------------------------------------------------------- */

static int compare_patterns(const void *a, const void *b)
{
	const struct name_pattern *x = a, *y = b;
	int order = strcmp(x->text, y->text);

	return order ? order : x->all != y->all ? x->all - y->all : x->deep - y->deep;
}

void diff_names_sort(struct diff_names *names)
{
	size_t out = 0;

	if (names->count)
		qsort(names->items, names->count, sizeof(*names->items), compare_patterns);
	for (size_t i = 0; i < names->count; i++) {
		if (i == 0 || compare_patterns(&names->items[i], &names->items[out - 1]) != 0)
			names->items[out++] = names->items[i];
	}
	names->count = out;
}

/* A name for all that a pattern matches. */
struct witness {
	const struct pair *pair;
	struct explain_query query;
	struct image_match was;
	struct image_match is;
};

/* False when it would be longer than a name can be. */
static bool make_witness(struct witness *w, const struct name_pattern *p, size_t above)
{
	static const char any[] = "sluice-any-label";
	char *out = w->query.name;
	size_t n = 0, size = sizeof(w->query.name);

	for (size_t i = 0; i < above; i++)
		n += (size_t)snprintf(out + n, size - n, "%s%s", any, i + 1 < above || *p->text ? "." : "");
	for (const char *s = p->text; *s; s++) {
		if (n + sizeof(any) >= size)
			return false;
		if (*s == '*')
			n += (size_t)snprintf(out + n, size - n, "%s", any);
		else
			out[n++] = *s;
	}
	out[n] = '\0';
	w->query.is_name = true;
	w->query.name_len = n;
	if (w->pair->was)
		image_match_name(w->pair->was, out, n, &w->was);
	if (w->pair->is)
		image_match_name(w->pair->is, out, n, &w->is);
	return n > 0 && n <= NAME_MAX_TEXT;
}

static void cut_match(const struct image *img, const struct image_match *m, uint8_t proto, struct cuts *cuts)
{
	for (size_t family = 0; img && family < 2; family++) {
		const struct image_dest *row = explain_any_row(img, family == 0);

		if (row)
			cuts_add_set(cuts, img, row->dest.set, proto);
	}
	for (uint32_t i = 0; i < m->nsets; i++)
		cuts_add_set(cuts, img, m->sets[i], proto);
}

static void cut_names(void *context, uint8_t proto, struct cuts *cuts)
{
	struct witness *w = context;

	cut_match(w->pair->was, &w->was, proto, cuts);
	cut_match(w->pair->is, &w->is, proto, cuts);
}

static struct port_word ask_name(const struct image *img, const struct explain_query *q, bool *ret_by_name)
{
	struct explain_answer a;

	*ret_by_name = false;
	if (!img)
		return (struct port_word){ .allowed = true };
	explain_by_rules(img, q, &a);
	*ret_by_name = a.by == EXPLAIN_BY_NAME_RULE;
	return (struct port_word){ .allowed = a.allowed, .rule = a.rule };
}

/* A change that no name rule has a part in is told of the addresses. */
static void ask_names(void *context, uint8_t proto, uint16_t port, struct port_word *was, struct port_word *is)
{
	struct witness *w = context;
	bool was_by_name, is_by_name;

	w->query.proto = proto;
	w->query.number = proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6 ? port >> 8 : port;
	*was = ask_name(w->pair->was, &w->query, &was_by_name);
	*is = ask_name(w->pair->is, &w->query, &is_by_name);
	if (was->allowed != is->allowed && !(was->allowed ? was_by_name : is_by_name))
		is->allowed = was->allowed;
}

/* Which names an endpoint may ask for. */
enum asking {
	ASKING_UNTOUCHED, /* no name rules: port 53 is as its addresses are */
	ASKING_ALL,
	ASKING_LISTED,
};

static enum asking asking(const struct image *img)
{
	if (!img)
		return ASKING_ALL;
	if (is_refused(img) || !(image_flags(img) & IMAGE_NAMES))
		return image_flags(img) & IMAGE_ISOLATED ? ASKING_UNTOUCHED : ASKING_ALL;
	return image_flags(img) & IMAGE_ASK_ANY ? ASKING_ALL : ASKING_LISTED;
}

static void tell_question(struct pair *p, const char *name, bool askable)
{
	json_array_append_new(askable ? p->allowed : p->denied, json_pack("{s:s, s:b, s:[s]}", "name", name, "askable",
									  askable, "ports", "DNS question"));
}

static void tell_name(struct pair *p, const char *name, const struct witness *w, const struct changes *c)
{
	tell(p, json_pack("{s:s}", "name", name), c);
	if (asking(p->was) == ASKING_LISTED && asking(p->is) == ASKING_LISTED && w->was.askable != w->is.askable &&
	    !json_array_size(c->allowed) && !json_array_size(c->denied))
		tell_question(p, name, w->is.askable);
}

static bool look_at(struct witness *w, const struct name_pattern *p, size_t above, struct changes *c)
{
	struct port_asker asker = { .cut = cut_names, .ask = ask_names, .context = w };

	if (!make_witness(w, p, above))
		return false;
	changes_find(c, &asker);
	return true;
}

static void diff_deep(struct pair *p, const struct name_pattern *pattern)
{
	CLEANUP(changes_clear) struct changes one = {};
	CLEANUP(changes_clear) struct changes two = {};
	struct witness shallow = { .pair = p }, deep = { .pair = p };
	char name[300];

	if (!look_at(&shallow, pattern, 1, &one) || !look_at(&deep, pattern, 2, &two))
		return;
	snprintf(name, sizeof(name), "**.%s", pattern->text);
	if (changes_equal(&one, &two)) {
		tell_name(p, name, &shallow, &one);
		return;
	}
	tell_name(p, name + 1, &shallow, &one);
	snprintf(name, sizeof(name), "**.*.%s", pattern->text);
	tell_name(p, name, &deep, &two);
}

static void diff_name(struct pair *p, const struct name_pattern *pattern)
{
	CLEANUP(changes_clear) struct changes c = {};
	struct witness w = { .pair = p };

	if (pattern->deep) {
		diff_deep(p, pattern);
		return;
	}
	if (look_at(&w, pattern, pattern->all ? 2 : 0, &c))
		tell_name(p, pattern->all ? "*" : pattern->text, &w, &c);
}

/* With name rules port 53 is the proxy's, whatever the address; it answers. */
static void diff_dns(struct pair *p)
{
	bool was = p->was && !is_refused(p->was) && (image_flags(p->was) & IMAGE_NAMES);
	bool is = p->is && !is_refused(p->is) && (image_flags(p->is) & IMAGE_NAMES);

	if (was != is && p->was && p->is)
		json_array_append_new(is ? p->allowed : p->denied,
				      json_pack("{s:s, s:[], s:s, s:[s, s], s:n}", "destination", "any", "except",
						"scope", "dns-proxy", "ports", "53/TCP", "53/UDP", "rule"));
}

static bool same_image(const struct image *was, const struct image *is)
{
	return was == is || (was && is && !memcmp(image_hash(was), image_hash(is), IMAGE_HASH_LEN));
}

json_t *diff_images(const struct image *was, const struct image *is, const struct diff_names *names)
{
	struct pair p = { .was = was, .is = is, .allowed = json_array(), .denied = json_array() };

	if (same_image(was, is))
		return json_pack("{s:o, s:o}", "allowed", p.allowed, "denied", p.denied);
	p.oom = !p.allowed || !p.denied;
	diff_dns(&p);
	if (asking(was) != asking(is) && asking(was) != ASKING_UNTOUCHED && asking(is) != ASKING_UNTOUCHED)
		tell_question(&p, "every name that no rule lists", asking(is) == ASKING_ALL);
	diff_addresses(&p);
	for (size_t i = 0; i < names->count && !p.oom; i++)
		diff_name(&p, &names->items[i]);
	if (!p.oom)
		return json_pack("{s:o, s:o}", "allowed", p.allowed, "denied", p.denied);
	json_decref(p.allowed);
	json_decref(p.denied);
	return NULL;
}
