/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * image_open() proves what the later calls rely on: every section lies inside the block, every string offset points
 * at a terminated string, every term, rule and node index exists, the edge table has a free slot (so that probing
 * ends), and the nodes form a tree. What is not checked can only give wrong answers, never a wild access or a long
 * walk: the order of the sorted sections, and the hash.
 */
#include "policy/image.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "policy/image_format.h"
#include "policy/names.h"

struct image {
	const struct fmt_header *header;
	const struct image_dest *dests;
	const struct image_rule *rules;
	const struct fmt_source *sources;
	const uint32_t *policies;
	const struct fmt_node *nodes;
	const uint32_t *edges;
	const uint32_t *globs;
	const struct fmt_glob_class *classes;
	const uint32_t *runs;
	const struct fmt_term *terms;
	const char *strings;
	bool has_bits[129]; /* prefix lengths that occur in dests */
};

static size_t count_of(const struct image *img, enum fmt_section_id id)
{
	return img->header->sections[id].count;
}

/* ---- opening --------------------------------------------------------------------------------------------------- */

static bool sections_fit(const struct fmt_header *h, size_t len)
{
	static const size_t sizes[FMT_SECTIONS] = {
		[FMT_DESTS] = sizeof(struct image_dest),
		[FMT_RULES] = sizeof(struct image_rule),
		[FMT_SOURCES] = sizeof(struct fmt_source),
		[FMT_POLICIES] = sizeof(uint32_t),
		[FMT_NODES] = sizeof(struct fmt_node),
		[FMT_EDGES] = sizeof(uint32_t),
		[FMT_GLOBS] = sizeof(uint32_t),
		[FMT_GLOB_CLASSES] = sizeof(struct fmt_glob_class),
		[FMT_GLOB_RUNS] = sizeof(uint32_t),
		[FMT_TERMS] = sizeof(struct fmt_term),
		[FMT_STRINGS] = 1,
	};

	for (size_t i = 0; i < FMT_SECTIONS; i++) {
		const struct fmt_section *s = &h->sections[i];

		if (s->offset % 8 != 0 || s->offset > len || s->count > (len - s->offset) / sizes[i])
			return false;
	}
	return true;
}

static void set_pointers(struct image *img, const void *data)
{
	const char *base = data;
	const struct fmt_section *s = img->header->sections;

	img->dests = (const void *)(base + s[FMT_DESTS].offset);
	img->rules = (const void *)(base + s[FMT_RULES].offset);
	img->sources = (const void *)(base + s[FMT_SOURCES].offset);
	img->policies = (const void *)(base + s[FMT_POLICIES].offset);
	img->nodes = (const void *)(base + s[FMT_NODES].offset);
	img->edges = (const void *)(base + s[FMT_EDGES].offset);
	img->globs = (const void *)(base + s[FMT_GLOBS].offset);
	img->classes = (const void *)(base + s[FMT_GLOB_CLASSES].offset);
	img->runs = (const void *)(base + s[FMT_GLOB_RUNS].offset);
	img->terms = (const void *)(base + s[FMT_TERMS].offset);
	img->strings = base + s[FMT_STRINGS].offset;
}

static bool span_fits(const struct fmt_span *s, size_t count)
{
	return s->first <= count && s->count <= count - s->first;
}

static bool strings_ok(const struct image *img)
{
	size_t n = count_of(img, FMT_STRINGS);

	if (n == 0 || img->strings[n - 1] != '\0')
		return false;
	for (size_t i = 0; i < count_of(img, FMT_POLICIES); i++)
		if (img->policies[i] >= n)
			return false;
	for (size_t i = 0; i < count_of(img, FMT_SOURCES); i++) {
		const struct fmt_source *s = &img->sources[i];

		if (s->policy >= n || s->kind >= n || s->file >= n || s->text >= n)
			return false;
	}
	return true;
}

static bool tables_ok(struct image *img)
{
	size_t nsources = count_of(img, FMT_SOURCES);

	for (size_t i = 0; i < count_of(img, FMT_DESTS); i++) {
		if (img->dests[i].bits > 128)
			return false;
		img->has_bits[img->dests[i].bits] = true;
	}
	for (size_t i = 0; i < count_of(img, FMT_RULES); i++)
		if (img->rules[i].port_bits > 16 || img->rules[i].rule.rule > nsources ||
		    img->rules[i].rule.verdict > SLUICE_ALLOW)
			return false;
	for (size_t i = 0; i < count_of(img, FMT_TERMS); i++)
		if (img->terms[i].rule > nsources || (img->terms[i].set && !(img->terms[i].set & SLUICE_SET_NAME)))
			return false;
	return span_fits(&img->header->all, count_of(img, FMT_TERMS));
}

static bool node_ok(const struct image *img, uint32_t i)
{
	const struct fmt_node *n = &img->nodes[i];
	size_t nnodes = count_of(img, FMT_NODES), nterms = count_of(img, FMT_TERMS);

	if (i > 0 ? n->parent >= i || n->edge == FMT_EDGE_ROOT : n->edge != FMT_EDGE_ROOT)
		return false;
	if (n->edge > FMT_EDGE_GLOB || n->label > count_of(img, FMT_STRINGS) ||
	    n->label_len > count_of(img, FMT_STRINGS) - n->label)
		return false;
	if (!span_fits(&n->globs, count_of(img, FMT_GLOBS)) ||
	    !span_fits(&n->classes, count_of(img, FMT_GLOB_CLASSES)) || !span_fits(&n->exact, nterms) ||
	    !span_fits(&n->deep, nterms))
		return false;
	return n->star == 0 ||
	       (n->star < nnodes && img->nodes[n->star].edge == FMT_EDGE_STAR && img->nodes[n->star].parent == i);
}

/* `seen` counts, per node, the edges that lead to it: one each, and the walk is a walk over a tree. */
static bool globs_ok(const struct image *img, uint8_t *seen)
{
	size_t nnodes = count_of(img, FMT_NODES);

	for (uint32_t i = 0; i < nnodes; i++) {
		const struct fmt_span *s = &img->nodes[i].globs;

		if (img->nodes[i].star && seen[img->nodes[i].star]++)
			return false;
		for (uint32_t g = s->first; g < s->first + s->count; g++) {
			uint32_t child = img->globs[g];

			if (child == 0 || child >= nnodes || img->nodes[child].edge != FMT_EDGE_GLOB ||
			    img->nodes[child].parent != i || seen[child]++)
				return false;
		}
	}
	return true;
}

/* Each class of a node once, so that no glob is tried twice. */
static bool classes_ok(const struct image *img)
{
	for (uint32_t i = 0; i < count_of(img, FMT_NODES); i++) {
		const struct fmt_span *s = &img->nodes[i].classes;

		for (uint32_t c = s->first; c + 1 < s->first + s->count; c++)
			if (fmt_glob_class_compare(&img->classes[c], &img->classes[c + 1]) >= 0)
				return false;
	}
	return true;
}

static bool runs_ok(const struct image *img)
{
	size_t n = count_of(img, FMT_GLOB_RUNS), used = 0;

	if (n & (n - 1))
		return false;
	for (size_t i = 0; i < n; i++) {
		if (img->runs[i] > count_of(img, FMT_GLOBS))
			return false;
		used += img->runs[i] != 0;
	}
	return n == 0 || used < n;
}

static bool edges_ok(const struct image *img, uint8_t *seen)
{
	size_t n = count_of(img, FMT_EDGES), nnodes = count_of(img, FMT_NODES), used = 0;

	if (n & (n - 1))
		return false;
	for (size_t i = 0; i < n; i++) {
		uint32_t child = img->edges[i];

		if (child == 0)
			continue;
		if (child >= nnodes || img->nodes[child].edge != FMT_EDGE_LITERAL || seen[child]++)
			return false;
		used++;
	}
	return n == 0 || used < n;
}

static int trie_ok(const struct image *img)
{
	size_t nnodes = count_of(img, FMT_NODES);
	_cleanup_free_ uint8_t *seen = calloc(nnodes ? nnodes : 1, 1);

	if (!seen)
		return -ENOMEM;
	if (nnodes == 0)
		return -EBADMSG;
	for (uint32_t i = 0; i < nnodes; i++)
		if (!node_ok(img, i))
			return -EBADMSG;
	return globs_ok(img, seen) && edges_ok(img, seen) && classes_ok(img) && runs_ok(img) ? 0 : -EBADMSG;
}

int image_open(const void *data, size_t len, struct image **ret)
{
	_cleanup_free_ struct image *img = NULL;
	const struct fmt_header *h = data;
	int r;

	if (len < sizeof(*h) || len > FMT_MAX_SIZE || (uintptr_t)data % 8 != 0)
		return -EBADMSG;
	if (h->magic != FMT_MAGIC || h->version != FMT_VERSION || h->size != len || !sections_fit(h, len))
		return -EBADMSG;
	img = calloc(1, sizeof(*img));
	if (!img)
		return -ENOMEM;
	img->header = h;
	set_pointers(img, data);
	if (!strings_ok(img) || !tables_ok(img))
		return -EBADMSG;
	r = trie_ok(img);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(img);
	return 0;
}

void image_freep(struct image **img)
{
	free(*img);
	*img = NULL;
}

uint32_t image_flags(const struct image *img)
{
	return img->header->flags & (IMAGE_ISOLATED | IMAGE_NAMES | IMAGE_ASK_ANY | IMAGE_REFUSED);
}

const uint8_t *image_hash(const struct image *img)
{
	return img->header->hash;
}

bool image_opens_outside(const struct image *img)
{
	return img->header->flags & FMT_OPENS_OUTSIDE;
}

/* ---- tables ---------------------------------------------------------------------------------------------------- */

size_t image_dest_count(const struct image *img)
{
	return count_of(img, FMT_DESTS);
}

const struct image_dest *image_dest_at(const struct image *img, size_t i)
{
	return &img->dests[i];
}

size_t image_rule_count(const struct image *img)
{
	return count_of(img, FMT_RULES);
}

const struct image_rule *image_rule_at(const struct image *img, size_t i)
{
	return &img->rules[i];
}

static int compare_dest(const void *key, const void *item)
{
	const struct image_dest *a = key, *b = item;
	int order = addr_compare(&a->addr, &b->addr);

	return order ? order : (a->bits > b->bits) - (a->bits < b->bits);
}

bool image_find_dest(const struct image *img, const struct sluice_addr *addr, struct sluice_dest *ret)
{
	struct image_dest key = { .addr = *addr };

	for (int bits = 128; bits >= 0; bits--) {
		const struct image_dest *found;

		if (!img->has_bits[bits])
			continue;
		key.bits = (uint32_t)bits;
		addr_mask(&key.addr, key.bits);
		found = bsearch(&key, img->dests, image_dest_count(img), sizeof(key), compare_dest);
		if (found) {
			*ret = found->dest;
			return true;
		}
	}
	return false;
}

static int compare_rule(const void *key, const void *item)
{
	const struct image_rule *a = key, *b = item;

	if (a->set != b->set)
		return a->set < b->set ? -1 : 1;
	if (a->proto != b->proto)
		return a->proto < b->proto ? -1 : 1;
	if (a->port != b->port)
		return ntohs(a->port) < ntohs(b->port) ? -1 : 1;
	return (a->port_bits > b->port_bits) - (a->port_bits < b->port_bits);
}

bool image_find_rule(const struct image *img, uint32_t set, uint8_t proto, __be16 port, struct sluice_rule *ret)
{
	struct image_rule key = { .set = set, .proto = proto };

	for (int bits = 16; bits >= 0; bits--) {
		const struct image_rule *found;

		key.port_bits = (uint8_t)bits;
		key.port = htons((uint16_t)(ntohs(port) & (0xffff0000u >> bits)));
		found = bsearch(&key, img->rules, image_rule_count(img), sizeof(key), compare_rule);
		if (found) {
			*ret = found->rule;
			return true;
		}
	}
	return false;
}

/* A set that bars names does so for every port. */
bool image_bars_names(const struct image *img, const struct sluice_addr *addr)
{
	struct sluice_dest dest;
	struct sluice_rule rule;

	return image_find_dest(img, addr, &dest) && dest.set && image_find_rule(img, dest.set, IPPROTO_TCP, 0, &rule) &&
	       rule.pass == SLUICE_PASS_NO_NAMES;
}

size_t image_rule_source_count(const struct image *img)
{
	return count_of(img, FMT_SOURCES);
}

bool image_rule_source(const struct image *img, uint32_t rule, struct image_source *ret)
{
	const struct fmt_source *s;

	if (rule == 0 || rule > image_rule_source_count(img))
		return false;
	s = &img->sources[rule - 1];
	*ret = (struct image_source){
		.policy = img->strings + s->policy,
		.kind = img->strings + s->kind,
		.file = img->strings + s->file,
		.line = s->line,
		.column = s->column,
		.text = img->strings + s->text,
	};
	return true;
}

size_t image_policy_count(const struct image *img)
{
	return count_of(img, FMT_POLICIES);
}

const char *image_policy_at(const struct image *img, size_t i)
{
	return img->strings + img->policies[i];
}

/* ---- names ----------------------------------------------------------------------------------------------------- */

static bool in_alphabet(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

/* Labels of the alphabet, none empty. */
static bool plain_name(const char *name, size_t len)
{
	char before = '.';

	for (size_t i = 0; i < len; before = name[i++])
		if (name[i] == '.' ? before == '.' : !in_alphabet(name[i]))
			return false;
	return len == 0 || before != '.';
}

static uint32_t literal_child(const struct image *img, uint32_t parent, const char *label, size_t len)
{
	size_t n = count_of(img, FMT_EDGES);

	if (n == 0)
		return 0;
	for (size_t i = fmt_edge_hash(parent, label, len) & (n - 1);; i = (i + 1) & (n - 1)) {
		uint32_t child = img->edges[i];
		const struct fmt_node *node = &img->nodes[child];

		if (child == 0)
			return 0;
		if (node->parent == parent && node->label_len == len &&
		    memcmp(img->strings + node->label, label, len) == 0)
			return child;
	}
}

/* What the walk does on the way; `ret` is NULL when only "is something below" is asked. */
struct walk {
	const struct image *img;
	const char *name;
	struct image_match *match;
	bool opening; /* match->rule is one that opens something */
	bool below;
};

static void add_set(struct image_match *m, const struct fmt_term *t)
{
	uint32_t i = 0;

	while (i < m->nsets && m->sets[i] != t->set)
		i++;
	if (i == IMAGE_MATCH_SETS) {
		m->overflow = true;
		return;
	}
	if (i == m->nsets || t->rule < m->set_rules[i])
		m->set_rules[i] = t->rule;
	m->sets[i] = t->set;
	m->nsets += i == m->nsets;
}

static bool better_rule(const struct fmt_term *t, bool opening, uint32_t than)
{
	if (than == 0 || (t->set != 0) != opening)
		return than == 0 || t->set != 0;
	return t->rule < than;
}

static void take_terms(const struct image *img, const struct fmt_span *span, struct image_match *m, bool *opening)
{
	for (uint32_t i = span->first; i < span->first + span->count; i++) {
		const struct fmt_term *t = &img->terms[i];

		m->askable = true;
		if (t->set)
			add_set(m, t);
		/* A rule that opens something says more than one that lets the name be asked. */
		if (t->rule && better_rule(t, *opening, m->rule)) {
			m->rule = t->rule;
			*opening = t->set != 0;
		}
	}
}

static void walk_names(struct walk *w, uint32_t node, size_t left);

/* The texts of a run, in a label or in a glob. */
struct run_key {
	uint32_t parent;
	struct fmt_glob_class class;
	const char *before;
	const char *after;
	const char *middle;
};

static bool glob_has_key(const struct image *img, uint32_t child, const struct run_key *k)
{
	const struct fmt_node *n = &img->nodes[child];
	const char *label = img->strings + n->label;
	struct fmt_glob_class class = fmt_glob_class_of(label, n->label_len);

	return n->parent == k->parent && fmt_glob_class_compare(&class, &k->class) == 0 &&
	       memcmp(label, k->before, class.before) == 0 &&
	       memcmp(label + n->label_len - class.after, k->after, class.after) == 0 &&
	       memcmp(label + class.before + 1, k->middle, class.middle) == 0;
}

/* The first of the run in GLOBS; UINT32_MAX: there is none. */
static uint32_t find_run(const struct image *img, const struct run_key *k)
{
	size_t n = count_of(img, FMT_GLOB_RUNS);
	size_t i = n ? fmt_glob_hash(k->parent, &k->class, k->before, k->after, k->middle) & (n - 1) : 0;

	for (; n && img->runs[i]; i = (i + 1) & (n - 1))
		if (glob_has_key(img, img->globs[img->runs[i] - 1], k))
			return img->runs[i] - 1;
	return UINT32_MAX;
}

static void walk_run(struct walk *w, const struct run_key *k, const char *label, size_t len, size_t rest)
{
	const struct fmt_span *globs = &w->img->nodes[k->parent].globs;

	for (uint32_t i = find_run(w->img, k); i < globs->first + globs->count; i++) {
		uint32_t child = w->img->globs[i];
		const struct fmt_node *g = &w->img->nodes[child];

		if (!glob_has_key(w->img, child, k))
			return;
		if (name_glob_matches(w->img->strings + g->label, g->label_len, label, len))
			walk_names(w, child, rest);
	}
}

/* A middle text is tried where it first occurs: a glob that matches at all does there too. */
static void walk_class(struct walk *w, struct run_key *k, const char *label, size_t len, size_t rest)
{
	size_t end = len - k->class.after;

	k->before = k->middle = label;
	k->after = label + end;
	if (k->class.middle == 0) {
		walk_run(w, k, label, len, rest);
		return;
	}
	for (size_t at = k->class.before; at + k->class.middle <= end; at++) {
		k->middle = label + at;
		if (memmem(label + k->class.before, end - k->class.before, k->middle, k->class.middle) == k->middle)
			walk_run(w, k, label, len, rest);
	}
}

static void walk_globs(struct walk *w, uint32_t node, const char *label, size_t len, size_t rest)
{
	const struct fmt_span *s = &w->img->nodes[node].classes;

	for (uint32_t i = s->first; i < s->first + s->count; i++) {
		struct run_key k = { .parent = node, .class = w->img->classes[i] };

		if ((size_t)k.class.before + k.class.after + k.class.middle <= len)
			walk_class(w, &k, label, len, rest);
	}
}

static bool is_literal(const struct image *img, uint32_t node)
{
	while (img->nodes[node].edge == FMT_EDGE_LITERAL)
		node = img->nodes[node].parent;
	return img->nodes[node].edge == FMT_EDGE_ROOT;
}

/* `left` bytes of the name are still to be matched below `node`. Depth is at most the name's labels. */
static void walk_names(struct walk *w, uint32_t node, size_t left)
{
	const struct fmt_node *n = &w->img->nodes[node];
	const char *label;
	size_t start, rest, len;
	uint32_t child;

	if (n->deep.count > 0) {
		w->below = true;
		if (w->match && left > 0)
			take_terms(w->img, &n->deep, w->match, &w->opening);
	}
	if (left == 0) {
		w->below = w->below || n->children > 0;
		if (!w->match)
			return;
		take_terms(w->img, &n->exact, w->match, &w->opening);
		w->match->exact = w->match->exact || (n->exact.count > 0 && is_literal(w->img, node));
		return;
	}
	for (start = left; start > 0 && w->name[start - 1] != '.';)
		start--;
	label = w->name + start;
	len = left - start;
	rest = start > 0 ? start - 1 : 0;
	child = literal_child(w->img, node, label, len);
	if (child)
		walk_names(w, child, rest);
	if (n->star)
		walk_names(w, n->star, rest);
	if (n->classes.count)
		walk_globs(w, node, label, len, rest);
}

void image_match_name(const struct image *img, const char *name, size_t len, struct image_match *ret)
{
	struct image_match m = {};
	struct walk w = { .img = img, .name = name, .match = &m };

	take_terms(img, &img->header->all, &m, &w.opening);
	if (len <= 253 && plain_name(name, len))
		walk_names(&w, 0, len);
	if (image_flags(img) & IMAGE_ASK_ANY)
		m.askable = true;
	*ret = m;
}

bool image_name_below(const struct image *img, const char *name, size_t len)
{
	struct walk w = { .img = img, .name = name };

	if (img->header->all.count > 0 || (image_flags(img) & IMAGE_ASK_ANY))
		return true;
	if (len <= 253 && plain_name(name, len))
		walk_names(&w, 0, len);
	return w.below;
}

/* ---- patterns ---------------------------------------------------------------------------------------------------- */

/* The node's labels, from it up to the root, are the pattern from left to right. False: the image is nonsense. */
static bool pattern_of(const struct image *img, uint32_t node, bool deep, char *buf, size_t size)
{
	size_t len = 0;

	if (deep)
		len = (size_t)snprintf(buf, size, "**");
	for (; node; node = img->nodes[node].parent) {
		const struct fmt_node *n = &img->nodes[node];
		bool star = n->edge == FMT_EDGE_STAR;
		size_t label = star ? 1 : n->label_len;

		if (len + label + 2 > size)
			return false;
		if (len)
			buf[len++] = '.';
		memcpy(buf + len, star ? "*" : img->strings + n->label, label);
		len += label;
	}
	buf[len] = '\0';
	return true;
}

struct each_name {
	const struct image *img;
	int (*each)(const struct image_name *name, void *context);
	void *context;
};

static int each_term(const struct each_name *e, const struct fmt_span *span, struct image_name *name)
{
	for (uint32_t i = span->first; i < span->first + span->count; i++) {
		int r;

		name->set = e->img->terms[i].set;
		name->rule = e->img->terms[i].rule;
		r = e->each(name, e->context);
		if (r)
			return r;
	}
	return 0;
}

static int each_of_node(const struct each_name *e, uint32_t node)
{
	const struct fmt_node *n = &e->img->nodes[node];
	struct image_name name = {};
	int r = 0;

	if (n->exact.count && pattern_of(e->img, node, false, name.pattern, sizeof(name.pattern)))
		r = each_term(e, &n->exact, &name);
	if (r == 0 && n->deep.count && pattern_of(e->img, node, true, name.pattern, sizeof(name.pattern)))
		r = each_term(e, &n->deep, &name);
	return r;
}

int image_each_name(const struct image *img, int (*each)(const struct image_name *name, void *context), void *context)
{
	const struct each_name e = { .img = img, .each = each, .context = context };
	struct image_name all = { .pattern = "*" };
	int r = each_term(&e, &img->header->all, &all);

	for (uint32_t i = 0; r == 0 && i < count_of(img, FMT_NODES); i++)
		r = each_of_node(&e, i);
	return r;
}
