/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Documents, lists and kinds: which front end reads what, and what becomes of the rest. A kind of the policy API
 * groups that we cannot enforce is an error that keeps what it might select closed; other groups' kinds are not ours.
 */
#include "policy/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/siphash.h"
#include "base/strbuf.h"
#include "policy/array.h"
#include "policy/read.h"

struct kind {
	const char *api_version; /* of a supported kind; of others the group */
	const char *name;	 /* NULL: every other kind of the group */
	enum policy_kind kind;
	bool namespaced;
	bool selects; /* endpoints hang on it */
};

/* In order; the first that fits counts. */
static const struct kind kinds[] = {
	{ "cilium.io/v2", "CiliumNetworkPolicy", POLICY_CNP, true, true },
	{ "cilium.io/v2", "CiliumClusterwideNetworkPolicy", POLICY_CCNP, false, true },
	{ "cilium.io/v2", "CiliumCIDRGroup", POLICY_CIDR_GROUP, false, false },
	{ "cilium.io/v2alpha1", "CiliumCIDRGroup", POLICY_CIDR_GROUP, false, false },
	{ "networking.k8s.aws/v1alpha1", "ApplicationNetworkPolicy", POLICY_ANP, true, true },
	{ "networking.k8s.aws/v1alpha1", "ClusterNetworkPolicy", POLICY_AWS_CLUSTER, false, true },
	{ "policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy", POLICY_CLUSTER, false, true },
	{ "networking.k8s.io/v1", "NetworkPolicy", POLICY_NP, true, true },
	{ "cilium.io", "CiliumNetworkPolicy", POLICY_OTHER, true, true },
	{ "cilium.io", "CiliumCIDRGroup", POLICY_OTHER, false, false },
	{ "cilium.io", NULL, POLICY_OTHER, false, true },
	{ "networking.k8s.aws", "ApplicationNetworkPolicy", POLICY_OTHER, true, true },
	{ "networking.k8s.aws", NULL, POLICY_OTHER, false, true },
	{ "policy.networking.k8s.io", NULL, POLICY_OTHER, false, true },
	{ "networking.k8s.io", "NetworkPolicy", POLICY_OTHER, true, true },
};

/* What does not even say its kind: it might be a policy for anyone. */
static const struct kind shapeless = { "", NULL, POLICY_OTHER, false, true };

struct reader {
	struct yctx ctx;
	struct manifest *out;
};

static bool kind_fits(const struct kind *k, const char *api_version, const char *name)
{
	size_t group = strlen(k->api_version);

	if (k->name && strcmp(k->name, name) != 0)
		return false;
	if (strchr(k->api_version, '/'))
		return strcmp(k->api_version, api_version) == 0;
	return strncmp(k->api_version, api_version, group) == 0 && api_version[group] == '/';
}

static const struct kind *find_kind(const char *api_version, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kind_fits(&kinds[i], api_version, name))
			return &kinds[i];
	return NULL;
}

/* ---- metadata -------------------------------------------------------------------------------------------------- */

static bool valid_name(const char *text)
{
	size_t len = strlen(text);

	return len > 0 && len <= 253 && text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789.-")] == '\0';
}

static void read_object_name(struct yctx *c, const struct ynode *metadata, const char *key, char **ret)
{
	const struct ynode *node = ynode_get(metadata, key);
	const char *text;
	char what[32];

	if (!node || ynode_is_null(node))
		return;
	snprintf(what, sizeof(what), "metadata.%s", key);
	if (!yread_text(c, node, what, &text))
		return;
	if (!valid_name(text)) {
		yctx_error(c, node, "%s: expected lower-case letters, digits, - and ., got %.300s", what, text);
		return;
	}
	yread_string(c, node, what, ret);
}

static void make_title(struct yctx *c, struct policy *p)
{
	const char *name = p->name ? p->name : "(no name)";
	int len;

	if (p->namespace_name)
		len = asprintf(&p->title, "%s/%s", p->namespace_name, name);
	else
		len = asprintf(&p->title, "%s", name);
	if (len >= 0)
		return;
	p->title = NULL;
	c->oom = true;
}

static void read_metadata(struct yctx *c, const struct ynode *root, bool namespaced, struct policy *p)
{
	const struct ynode *metadata = ynode_get(root, "metadata");

	if (!metadata)
		yctx_error(c, root, "expected a member metadata with a name");
	else if (yread_mapping(c, metadata, "metadata")) {
		size_t errors = c->errors;

		read_object_name(c, metadata, "name", &p->name);
		if (!p->name && c->errors == errors)
			yctx_error(c, metadata, "metadata: expected a member name");
		read_object_name(c, metadata, "namespace", &p->namespace_name);
	}
	if (!namespaced) {
		free(p->namespace_name);
		p->namespace_name = NULL;
	} else if (!p->namespace_name) {
		p->namespace_name = strdup("default");
		if (!p->namespace_name)
			c->oom = true;
	}
	make_title(c, p);
}

/* ---- policies -------------------------------------------------------------------------------------------------- */

static struct policy *add_policy(struct reader *r, const struct ynode *root, const struct kind *k,
				 const char *kind_name)
{
	struct policy **slot = array_push(&r->out->policies, &r->out->count, sizeof(*slot));
	struct policy *p = slot ? policy_new() : NULL;

	if (!p) {
		if (slot)
			r->out->count--;
		r->ctx.oom = true;
		return NULL;
	}
	*slot = p;
	p->kind = k->kind;
	p->kind_name = strdup(kind_name);
	p->file = strdup(r->ctx.file);
	p->line = root->line;
	p->column = root->column;
	p->selects_nothing = !k->selects;
	if (!p->kind_name || !p->file)
		r->ctx.oom = true;
	return p;
}

static void read_known_members(struct yctx *c, const struct ynode *root, bool specs)
{
	static const char *const members[] = { "apiVersion", "kind", "metadata", "status", "spec", "specs" };

	for (size_t i = 0; i < root->count; i++) {
		const struct ynode *key = ynode_key(root, i);
		size_t m = 0, n = ARRAY_SIZE(members) - (specs ? 0 : 1);

		while (m < n && strcmp(members[m], key->text) != 0)
			m++;
		if (m == n)
			yctx_unknown(c, key,
				     "member %s is not supported; expected one of: apiVersion, kind, metadata, status, "
				     "spec%s",
				     key->text, specs ? ", specs" : "");
	}
}

typedef void (*front_end_fn)(struct yctx *c, const struct ynode *spec, struct policy *p);

static front_end_fn front_end(enum policy_kind kind)
{
	switch (kind) {
	case POLICY_CNP:
	case POLICY_CCNP:
		return cnp_read;
	case POLICY_ANP:
	case POLICY_NP:
		return anp_read;
	case POLICY_AWS_CLUSTER:
	case POLICY_CLUSTER:
		return cluster_policy_read;
	case POLICY_CIDR_GROUP:
		return cidr_group_read;
	case POLICY_OTHER:
		break;
	}
	return NULL;
}

static const struct ynode *metadata_labels(const struct ynode *root)
{
	const struct ynode *metadata = ynode_get(root, "metadata");

	return metadata ? ynode_get(metadata, "labels") : NULL;
}

static bool has_specs(enum policy_kind kind)
{
	return kind == POLICY_CNP || kind == POLICY_CCNP;
}

static void read_spec(struct reader *r, const struct ynode *root, const struct ynode *spec, const struct kind *k)
{
	struct policy *p = add_policy(r, root, k, k->name);

	if (!p || r->ctx.oom)
		return;
	read_metadata(&r->ctx, root, k->namespaced, p);
	if (r->ctx.oom)
		return;
	if (k->kind == POLICY_CIDR_GROUP)
		cidr_group_labels(&r->ctx, metadata_labels(root), p);
	front_end(k->kind)(&r->ctx, spec, p);
}

static void read_specs(struct reader *r, const struct ynode *root, const struct kind *k)
{
	const struct ynode *spec = ynode_get(root, "spec");
	const struct ynode *specs = has_specs(k->kind) ? ynode_get(root, "specs") : NULL;

	if (spec)
		read_spec(r, root, spec, k);
	if (specs && yread_sequence(&r->ctx, specs, "specs"))
		for (size_t i = 0; i < specs->count; i++)
			read_spec(r, root, specs->items[i], k);
}

/* The policies read from `first` on are one object's: one mistake refuses them all. */
static void refuse_from(struct reader *r, size_t first, size_t first_diag)
{
	const struct diags *d = r->ctx.diags;
	const char *why = "refused";

	for (size_t i = d->count; i-- > first_diag;)
		if (d->items[i].level == DIAG_ERROR)
			why = d->items[i].message;
	for (size_t i = first; i < r->out->count; i++) {
		struct policy *p = r->out->policies[i];

		p->refused = true;
		p->refusal = strdup(why);
		if (!p->refusal)
			r->ctx.oom = true;
	}
}

/* An object that is refused before its spec was looked at. */
static void add_unread(struct reader *r, const struct ynode *root, const struct kind *k, const char *kind_name)
{
	struct policy *p = add_policy(r, root, k, kind_name);

	if (p && !r->ctx.oom)
		read_metadata(&r->ctx, root, k->namespaced, p);
}

/* The one selector that reads the same in a kind we cannot enforce: it says exactly whom the refusal concerns. */
static void read_unsupported(struct reader *r, const struct ynode *root, const struct kind *k, const char *api_version,
			     const char *kind_name)
{
	const struct ynode *spec = ynode_get(root, "spec");
	const struct ynode *selector = spec ? ynode_get(spec, "podSelector") : NULL;
	struct policy *p;

	yctx_error(&r->ctx, root,
		   "kind %s of %s is not supported; expected CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy or "
		   "CiliumCIDRGroup of cilium.io/v2, ApplicationNetworkPolicy or ClusterNetworkPolicy of "
		   "networking.k8s.aws/v1alpha1, ClusterNetworkPolicy of policy.networking.k8s.io/v1alpha2, or "
		   "NetworkPolicy of networking.k8s.io/v1",
		   kind_name, api_version);
	add_unread(r, root, k, kind_name);
	if (r->ctx.oom || !selector || !k->namespaced)
		return;
	p = r->out->policies[r->out->count - 1];
	if (read_selector(&r->ctx, selector, "podSelector", SELECTOR_PODS, &p->selector))
		p->selector_known = selector_in_namespace(&r->ctx, &p->selector, p->namespace_name);
}

static void read_supported(struct reader *r, const struct ynode *root, const struct kind *k)
{
	size_t first = r->out->count;

	read_known_members(&r->ctx, root, has_specs(k->kind));
	read_specs(r, root, k);
	if (r->out->count > first || r->ctx.oom)
		return;
	yctx_error(&r->ctx, root, "expected a member spec");
	add_unread(r, root, k, k->name);
}

static void read_kind(struct reader *r, const struct ynode *node)
{
	const struct ynode *api_node = ynode_get(node, "apiVersion"), *kind_node = ynode_get(node, "kind");
	const char *api_version, *kind_name;
	const struct kind *k;

	if (!api_node || !kind_node) {
		yctx_error(&r->ctx, node, "expected a manifest with members apiVersion and kind");
		add_unread(r, node, &shapeless, "manifest");
		return;
	}
	if (!yread_text(&r->ctx, api_node, "apiVersion", &api_version) ||
	    !yread_text(&r->ctx, kind_node, "kind", &kind_name)) {
		add_unread(r, node, &shapeless, "manifest");
		return;
	}
	k = find_kind(api_version, kind_name);
	if (!k)
		yctx_notice(&r->ctx, node, "%s of %s is no policy; skipped", kind_name, api_version);
	else if (k->kind == POLICY_OTHER)
		read_unsupported(r, node, k, api_version, kind_name);
	else
		read_supported(r, node, k);
}

/* ---- what is known of an object ---------------------------------------------------------------------------------- */

static bool is_unknown(const struct yctx *c, const struct ynode *key)
{
	for (size_t i = 0; i < c->nunknown; i++)
		if (c->unknown[i] == key)
			return true;
	return false;
}

/* The tree as bytes, without positions and without members that nobody knew. */
static void add_known(const struct yctx *c, const struct ynode *node, struct strbuf *out)
{
	strbuf_addf(out, "%d%d:", node->kind, node->kind == YNODE_SCALAR ? (int)node->scalar : 0);
	switch (node->kind) {
	case YNODE_SCALAR:
		strbuf_add(out, node->text, strlen(node->text) + 1);
		break;
	case YNODE_SEQUENCE:
		for (size_t i = 0; i < node->count; i++)
			add_known(c, node->items[i], out);
		break;
	case YNODE_MAPPING:
		for (size_t i = 0; i < node->count; i++) {
			if (is_unknown(c, ynode_key(node, i)))
				continue;
			add_known(c, ynode_key(node, i), out);
			add_known(c, ynode_value(node, i), out);
		}
		break;
	}
	strbuf_add(out, ";", 1);
}

static uint64_t known_of(struct yctx *c, const struct ynode *root)
{
	static const uint64_t key[2] = { 0x736c75696365, 0x6b6e6f776e };
	static const char *const members[] = { "spec", "specs" };
	CLEANUP(strbuf_clear) struct strbuf text = {};

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const struct ynode *node = ynode_get(root, members[i]);

		strbuf_add(&text, members[i], strlen(members[i]));
		if (node)
			add_known(c, node, &text);
	}
	c->oom = c->oom || text.failed;
	return siphash24(text.data, text.len, key);
}

static void note_known(struct reader *r, const struct ynode *node, size_t first, size_t first_diag, size_t errors)
{
	uint64_t known = r->out->count > first ? known_of(&r->ctx, node) : 0;

	for (size_t i = first; i < r->out->count; i++) {
		struct policy *p = r->out->policies[i];

		p->known = known;
		p->only_unknown = errors > 0 && errors == r->ctx.nunknown;
		p->first_diag = first_diag;
		p->ndiags = r->ctx.diags->count - first_diag;
	}
	free(r->ctx.unknown);
	r->ctx.unknown = NULL;
	r->ctx.nunknown = 0;
}

static void read_object(struct reader *r, const struct ynode *node)
{
	size_t first = r->out->count, first_diag = r->ctx.diags->count, errors = r->ctx.errors;

	if (ynode_is_null(node) || r->ctx.oom)
		return;
	if (yread_mapping(&r->ctx, node, "manifest"))
		read_kind(r, node);
	else
		add_unread(r, node, &shapeless, "manifest");
	if (r->ctx.errors > errors)
		refuse_from(r, first, first_diag);
	note_known(r, node, first, first_diag, r->ctx.errors - errors);
}

/* `List`, and the kinds' own lists that the API server hands out. */
static const struct ynode *list_items(const struct ynode *node)
{
	const struct ynode *kind = ynode_get(node, "kind");
	const struct ynode *items = ynode_get(node, "items");
	size_t len;

	if (!kind || kind->kind != YNODE_SCALAR || !items || items->kind != YNODE_SEQUENCE)
		return NULL;
	len = strlen(kind->text);
	return len >= 4 && strcmp(kind->text + len - 4, "List") == 0 ? items : NULL;
}

static void read_document(struct reader *r, const struct ynode *root)
{
	const struct ynode *items = list_items(root);

	if (!items) {
		read_object(r, root);
		return;
	}
	for (size_t i = 0; i < items->count; i++)
		read_object(r, items->items[i]);
}

static int compare_identity(const void *a, const void *b)
{
	const struct policy *x = *(const struct policy *const *)a, *y = *(const struct policy *const *)b;
	int order = strcmp(x->kind_name, y->kind_name);

	if (order == 0)
		order = strcmp(x->title, y->title);
	if (order == 0)
		order = (x->line > y->line) - (x->line < y->line);
	return order ? order : (x->column > y->column) - (x->column < y->column);
}

/* Two objects of one name in one file: neither can be told to be the meant one. */
static bool same_identity(const struct policy *a, const struct policy *b)
{
	return strcmp(a->kind_name, b->kind_name) == 0 && strcmp(a->title, b->title) == 0;
}

static void refuse_duplicate(struct reader *r, struct policy *p, const struct policy *first)
{
	if (p->refused || (p->line == first->line && p->column == first->column))
		return;
	diag_add(r->ctx.diags, DIAG_ERROR, r->ctx.file, p->line, p->column,
		 "%s %s is already defined in line %u of this file", p->kind_name, p->title, first->line);
	p->refused = true;
	p->refusal = strdup("defined twice in one file");
	r->ctx.oom = r->ctx.oom || !p->refusal;
}

static void refuse_duplicates(struct reader *r)
{
	size_t n = r->out->count;
	_cleanup_free_ struct policy **sorted = calloc(n ? n : 1, sizeof(struct policy *));

	if (!sorted) {
		r->ctx.oom = true;
		return;
	}
	if (n > 0)
		memcpy(sorted, r->out->policies, n * sizeof(struct policy *));
	qsort(sorted, n, sizeof(struct policy *), compare_identity);
	for (size_t i = 1, first = 0; i < n; i++) {
		if (same_identity(sorted[first], sorted[i]))
			refuse_duplicate(r, sorted[i], sorted[first]);
		else
			first = i;
	}
}

int manifest_read(const char *file, const char *text, size_t len, struct diags *diags, struct manifest *ret)
{
	struct manifest m = {};
	struct reader r = { .ctx = { .file = file, .diags = diags, .keep_unknown = true }, .out = &m };
	CLEANUP(ydocs_freep) struct ydocs *docs = NULL;
	int result = yaml_read(file, text, len, diags, &docs);

	if (result < 0)
		return result;
	for (size_t i = 0; i < docs->count; i++)
		read_document(&r, docs->roots[i]);
	if (!r.ctx.oom)
		refuse_duplicates(&r);
	if (r.ctx.oom) {
		manifest_clear(&m);
		return -ENOMEM;
	}
	for (size_t i = 0; i < m.count; i++)
		policy_trim(m.policies[i]);
	*ret = m;
	return 0;
}

void manifest_clear(struct manifest *m)
{
	for (size_t i = 0; i < m->count; i++)
		policy_unrefp(&m->policies[i]);
	free(m->policies);
	*m = (struct manifest){};
}
