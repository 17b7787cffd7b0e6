/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * An image knows only who won: its tables are flattened. So each rule is tried alone. Its object is written out with
 * that one entry and that one peer, compiled for the same endpoint against the same inventory, and asked the same
 * question; a rule that gives an answer there is one that spoke. A Pass gives no answer of its own and is tried as an
 * Accept. A policy that as a whole has nothing to say is not taken apart.
 */
#include "tools/bpfctl/beaten.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/strbuf.h"
#include "tools/bpfctl/out.h"

/* What is left out of, or put into, an object as it is written. */
struct edits {
	const struct ynode *list[4]; /* of these sequences, only the item in `only` */
	size_t only[4];
	size_t nlists;
	const struct ynode *drop; /* a member of the spec: the other section */
	const struct ynode *pass; /* the scalar "Pass" */
};

struct search {
	struct offline *off;
	const struct subject *subject;
	const struct explain_query *query;
	const struct image_source *winner;
	const struct tree_policy *policy;
	char *groups; /* manifests that others refer to; NULL: none */
	json_t *found;
	int error;
};

/* ---- writing ------------------------------------------------------------------------------------------------------ */

static void write_string(struct strbuf *b, const char *text)
{
	strbuf_adds(b, "\"");
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			strbuf_addf(b, "\\%c", *text);
		else if ((unsigned char)*text < 0x20)
			strbuf_addf(b, "\\x%02x", (unsigned char)*text);
		else
			strbuf_add(b, text, 1);
	}
	strbuf_adds(b, "\"");
}

static void write_node(struct strbuf *b, const struct ynode *node, const struct edits *e);

static void write_sequence(struct strbuf *b, const struct ynode *node, const struct edits *e)
{
	size_t first = 0, end = node->count;

	for (size_t i = 0; i < e->nlists; i++) {
		if (e->list[i] == node) {
			first = e->only[i];
			end = first + 1;
		}
	}
	strbuf_adds(b, "[");
	for (size_t i = first; i < end; i++) {
		strbuf_adds(b, i > first ? ", " : "");
		write_node(b, node->items[i], e);
	}
	strbuf_adds(b, "]");
}

static void write_mapping(struct strbuf *b, const struct ynode *node, const struct edits *e)
{
	bool some = false;

	strbuf_adds(b, "{");
	for (size_t i = 0; i < node->count; i++) {
		if (ynode_value(node, i) == e->drop)
			continue;
		strbuf_adds(b, some ? ", " : "");
		write_string(b, ynode_key(node, i)->text);
		strbuf_adds(b, ": ");
		write_node(b, ynode_value(node, i), e);
		some = true;
	}
	strbuf_adds(b, "}");
}

static void write_node(struct strbuf *b, const struct ynode *node, const struct edits *e)
{
	switch (node->kind) {
	case YNODE_SCALAR:
		if (node == e->pass)
			strbuf_adds(b, "Accept");
		else if (node->scalar == YSCALAR_STRING)
			write_string(b, node->text);
		else
			strbuf_adds(b, ynode_is_null(node) ? "null" : node->text);
		break;
	case YNODE_SEQUENCE:
		write_sequence(b, node, e);
		break;
	case YNODE_MAPPING:
		write_mapping(b, node, e);
		break;
	}
}

/* The object with the one spec of `p`, whether it had `spec` or `specs`. */
static void write_policy(struct strbuf *b, const struct tree_policy *p, const struct edits *e)
{
	static const char *const members[] = { "apiVersion", "kind", "metadata" };

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const struct ynode *value = ynode_get(p->root, members[i]);

		if (!value)
			continue;
		strbuf_addf(b, "%s: ", members[i]);
		write_node(b, value, e);
		strbuf_adds(b, "\n");
	}
	strbuf_adds(b, "spec: ");
	write_node(b, p->spec, e);
	strbuf_adds(b, "\n---\n");
}

static int write_groups(struct search *s)
{
	static const struct edits none = {};
	const struct tree *t = &s->off->tree;
	struct strbuf b = {};

	for (size_t i = 0; i < t->count; i++) {
		if (t->items[i].kind == TREE_CIDR_GROUP)
			write_policy(&b, &t->items[i], &none);
	}
	if (!b.len && !b.failed)
		return 0;
	s->groups = strbuf_take(&b);
	return s->groups ? 0 : -ENOMEM;
}

/* ---- trying ------------------------------------------------------------------------------------------------------- */

/* True: it compiled and selects the endpoint. */
static bool try_text(struct search *s, const char *text, struct offline_image *image)
{
	struct inventory inventory = fleet_inventory(&s->off->fleet, s->subject);
	CLEANUP(store_freep) struct store *store = NULL;
	CLEANUP(diags_clear) struct diags unheard = {};
	size_t len = 0;
	int r = store_new(&store);

	if (r == 0 && s->groups)
		r = store_update(store, "groups", s->groups, strlen(s->groups), &unheard);
	if (r >= 0)
		r = store_update(store, s->policy->file, text, strlen(text), &unheard);
	if (r == 0)
		r = compile(store, s->subject, &inventory, &unheard, &image->bytes, &len);
	if (r == 0)
		r = image_open(image->bytes, len, &image->img);
	if (r < 0)
		s->error = r;
	return r == 0;
}

/* Does what is left of the policy have an answer? */
static bool speaks(struct search *s, const struct edits *e, struct offline_image *image, struct explain_answer *answer)
{
	struct explain_world world = offline_world(s->off);
	_cleanup_free_ char *text = NULL;
	struct strbuf b = {};

	write_policy(&b, s->policy, e);
	text = strbuf_take(&b);
	if (!text) {
		s->error = -ENOMEM;
		return false;
	}
	if (!try_text(s, text, image))
		return false;
	explain(image->img, &world, s->query, answer);
	return answer->by == EXPLAIN_BY_RULE || answer->by == EXPLAIN_BY_NAME_RULE;
}

/* The winner stands at its peer, at a member of it, or, in entries of many peers, at the entry. */
static bool is_winner(const struct search *s, const struct ynode *entry, const struct image_source *source)
{
	const struct image_source *w = s->winner;

	if (!w || strcmp(w->file, s->policy->file) != 0 || strcmp(w->policy, source->policy) != 0)
		return false;
	return !strcmp(w->text, source->text) || (w->line == entry->line && w->column == entry->column);
}

static void try_rule(struct search *s, const struct edits *e, const struct ynode *entry, const struct ynode *peer)
{
	CLEANUP(offline_image_clear) struct offline_image image = {};
	const struct ynode *place = peer ? peer : entry;
	struct explain_answer answer;
	struct image_source source;

	if (!speaks(s, e, &image, &answer) || !image_rule_source(image.img, answer.rule, &source) ||
	    is_winner(s, entry, &source))
		return;
	json_array_append_new(
		s->found, json_pack("{s:o, s:o, s:o, s:I, s:I, s:o, s:s}", "policy", out_textz(source.policy, SIZE_MAX),
				    "kind", out_textz(source.kind, SIZE_MAX), "file",
				    out_textz(s->policy->file, SIZE_MAX), "line", (json_int_t)place->line, "column",
				    (json_int_t)place->column, "text", out_textz(source.text, SIZE_MAX), "action",
				    e->pass	     ? "pass"
				    : answer.allowed ? "allow"
						     : "deny"));
}

/* ---- taking apart ------------------------------------------------------------------------------------------------- */

static void keep_only(struct edits *e, const struct ynode *list, size_t i)
{
	e->list[e->nlists] = list;
	e->only[e->nlists++] = i;
}

/* An item of `to`: names and networks are lists of their own. */
static void try_peer(struct search *s, const struct edits *outer, const struct ynode *entry, const struct ynode *list,
		     size_t i)
{
	static const char *const members[] = { "domainNames", "networks" };
	struct edits e = *outer;

	keep_only(&e, list, i);
	for (size_t m = 0; m < ARRAY_SIZE(members); m++) {
		const struct ynode *inner;
		size_t n = tree_list(list->items[i], members[m], &inner);

		for (size_t k = 0; k < n; k++) {
			struct edits one = e;

			keep_only(&one, inner, k);
			try_rule(s, &one, entry, inner->items[k]);
		}
		if (n)
			return;
	}
	try_rule(s, &e, entry, list->items[i]);
}

static void try_entry(struct search *s, const struct edits *outer, const struct ynode *entry)
{
	static const char *const members[] = { "toFQDNs",    "toCIDR",	   "toCIDRSet", "toEndpoints",
					       "toEntities", "toServices", "toNodes",	"to" };
	const struct ynode *list;

	for (size_t m = 0; m < ARRAY_SIZE(members); m++) {
		size_t n = tree_list(entry, members[m], &list);

		for (size_t i = 0; i < n; i++)
			try_peer(s, outer, entry, list, i);
		if (n)
			return;
	}
	try_rule(s, outer, entry, NULL);
}

static const struct ynode *pass_of(const struct tree_policy *p, const struct ynode *entry)
{
	const struct ynode *action = tree_is_tiered(p->kind) ? ynode_get(entry, "action") : NULL;
	const char *text = action ? tree_text(action, NULL) : NULL;

	return text && !strcmp(text, "Pass") ? action : NULL;
}

static void try_section(struct search *s, const char *section, const char *other)
{
	const struct ynode *list;
	size_t n = tree_list(s->policy->spec, section, &list);

	for (size_t i = 0; i < n && s->error >= 0; i++) {
		struct edits e = { .drop = ynode_get(s->policy->spec, other),
				   .pass = pass_of(s->policy, list->items[i]) };

		keep_only(&e, list, i);
		if (list->items[i]->kind == YNODE_MAPPING)
			try_entry(s, &e, list->items[i]);
	}
}

static void try_policy(struct search *s)
{
	static const struct edits none = {};
	CLEANUP(offline_image_clear) struct offline_image image = {};
	struct explain_answer answer;

	/* In a tier a Pass may hide what else speaks. */
	if (!tree_is_tiered(s->policy->kind) && !speaks(s, &none, &image, &answer))
		return;
	try_section(s, "egress", "egressDeny");
	if (tree_is_cilium(s->policy->kind))
		try_section(s, "egressDeny", "egress");
}

int beaten_rules(struct offline *off, const struct subject *subject, const struct explain_query *q,
		 const struct image_source *winner, json_t **ret)
{
	struct search s = { .off = off, .subject = subject, .query = q, .winner = winner, .found = json_array() };

	s.error = write_groups(&s);
	for (size_t i = 0; s.error >= 0 && i < off->tree.count; i++) {
		s.policy = &off->tree.items[i];
		if (s.policy->kind != TREE_CIDR_GROUP)
			try_policy(&s);
	}
	free(s.groups);
	if (s.error < 0) {
		json_decref(s.found);
		return s.error;
	}
	*ret = s.found;
	return 0;
}
