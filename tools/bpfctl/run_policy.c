/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bpfctl/run_policy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "policy/array.h"
#include "policy/compile.h"
#include "policy/diag.h"
#include "policy/yaml.h"
#include "tools/bpfctl/ctl.h"

#define MANIFEST_MAX	(16u << 20)
#define NAMESPACE_LABEL "io.kubernetes.pod.namespace"

struct pair {
	char *key;
	char *value;
};

struct identity {
	struct pair *labels;
	size_t nlabels;
	char *namespace_name; /* NULL: no policy names one */
};

static void identity_clear(struct identity *id)
{
	for (size_t i = 0; i < id->nlabels; i++) {
		free(id->labels[i].key);
		free(id->labels[i].value);
	}
	free(id->labels);
	free(id->namespace_name);
}

/* ---- who the command is ------------------------------------------------------------------------------------------ */

static struct pair *find_label(struct identity *id, const char *key)
{
	for (size_t i = 0; i < id->nlabels; i++) {
		if (strcmp(id->labels[i].key, key) == 0)
			return &id->labels[i];
	}
	return NULL;
}

static int add_label(struct identity *id, const char *key, const char *value)
{
	struct pair *l = array_push(&id->labels, &id->nlabels, sizeof(*l));

	if (!l)
		return -ENOMEM;
	*l = (struct pair){ strdup(key), strdup(value) };
	return l->key && l->value ? 0 : -ENOMEM;
}

static int want_namespace(struct identity *id, const char *file, const char *name, bool given)
{
	if (id->namespace_name && strcmp(id->namespace_name, name) == 0)
		return 0;
	if (id->namespace_name) {
		if (given)
			return 0;
		ctl_error("%s: policies of namespace %s and of %s: --namespace says which the command is in", file,
			  id->namespace_name, name);
		return -EINVAL;
	}
	id->namespace_name = strdup(name);
	return id->namespace_name ? 0 : -ENOMEM;
}

/* Cilium writes a label's source before its key. */
static const char *without_source(const char *key)
{
	static const char *const sources[] = { "k8s:", "any:", "k8s.", "any." };

	for (size_t i = 0; i < ARRAY_SIZE(sources); i++) {
		if (strncmp(key, sources[i], strlen(sources[i])) == 0)
			return key + strlen(sources[i]);
	}
	return key;
}

static int want_labels(struct identity *id, const char *file, const struct ynode *selector, const struct run_policy *p)
{
	const struct ynode *labels = selector ? ynode_get(selector, "matchLabels") : NULL;
	int r = 0;

	for (size_t i = 0; r == 0 && labels && labels->kind == YNODE_MAPPING && i < labels->count; i++) {
		const struct ynode *value = ynode_value(labels, i);
		const char *key = without_source(ynode_key(labels, i)->text);
		const struct pair *there = find_label(id, key);

		if (value->kind != YNODE_SCALAR)
			continue;
		if (strcmp(key, NAMESPACE_LABEL) == 0)
			r = want_namespace(id, file, value->text, p->namespace_name != NULL);
		else if (!there)
			r = add_label(id, key, value->text);
		else if (strcmp(there->value, value->text) != 0 && p->nlabels == 0)
			r = -EINVAL;
		if (r == -EINVAL && there)
			ctl_error("%s:%u:%u: a selector wants label %s=%s, another one %s=%s: --label says which the "
				  "command has",
				  file, value->line, value->column, key, value->text, key, there->value);
	}
	return r;
}

static const struct ynode *below(const struct ynode *node, const char *key)
{
	return node ? ynode_get(node, key) : NULL;
}

static int want_spec(struct identity *id, const char *file, const struct ynode *spec, const struct run_policy *p)
{
	const struct ynode *subject = below(spec, "subject");
	int r = want_labels(id, file, below(spec, "endpointSelector"), p);

	if (r == 0)
		r = want_labels(id, file, below(spec, "podSelector"), p);
	if (r == 0)
		r = want_labels(id, file, below(below(subject, "pods"), "podSelector"), p);
	return r;
}

static int want_document(struct identity *id, const char *file, const struct ynode *root, const struct run_policy *p)
{
	const char *name = ynode_text(root, "metadata", "namespace", NULL);
	const struct ynode *specs = below(root, "specs");
	int r = name ? want_namespace(id, file, name, p->namespace_name != NULL) : 0;

	if (r == 0)
		r = want_spec(id, file, below(root, "spec"), p);
	for (size_t i = 0; r == 0 && specs && specs->kind == YNODE_SEQUENCE && i < specs->count; i++)
		r = want_spec(id, file, specs->items[i], p);
	return r;
}

/* With a policy that is refused the command would be denied everything, and nobody told. `option`: what it is made of. */
static int refuse_bad(const char *file, const char *text, size_t len, const char *option)
{
	CLEANUP(store_freep) struct store *store = NULL;
	struct diags diags = {};
	int r = store_new(&store);

	if (r == 0)
		r = store_update(store, file, text, len, &diags);
	for (size_t i = 0; i < diags.count; i++) {
		char line[1024];

		if (diags.items[i].level != DIAG_ERROR)
			continue;
		if (option)
			ctl_error("--allow '%s': %s", option, diags.items[i].message);
		else
			ctl_error("%s", diag_format(&diags.items[i], line, sizeof(line)));
		r = -EINVAL;
	}
	diags_clear(&diags);
	return r < 0 ? r : 0;
}

static int read_manifest(struct identity *id, const char *file, const char *text, size_t len,
			 const struct run_policy *p)
{
	CLEANUP(ydocs_freep) struct ydocs *docs = NULL;
	struct diags diags = {};
	int r = yaml_read(file, text, len, &diags, &docs);

	for (size_t i = 0; i < diags.count; i++)
		ctl_error("%s:%u:%u: %s", file, diags.items[i].line, diags.items[i].column, diags.items[i].message);
	diags_clear(&diags);
	for (size_t i = 0; r == 0 && i < docs->count; i++)
		r = want_document(id, file, docs->roots[i], p);
	return r;
}

static int take_given(struct identity *id, const struct run_policy *p)
{
	if (p->namespace_name) {
		id->namespace_name = strdup(p->namespace_name);
		if (!id->namespace_name)
			return -ENOMEM;
	}
	for (size_t i = 0; i < p->nlabels; i++) {
		const char *equals = strchr(p->labels[i], '=');
		_cleanup_free_ char *key = equals ? strndup(p->labels[i], (size_t)(equals - p->labels[i])) : NULL;

		if (!equals || equals == p->labels[i]) {
			ctl_error("--label '%s' is not KEY=VALUE", p->labels[i]);
			return -EINVAL;
		}
		if (!key || add_label(id, key, equals + 1) < 0)
			return -ENOMEM;
	}
	return 0;
}

static void put_quoted(struct strbuf *b, const char *text)
{
	strbuf_adds(b, "\"");
	for (; *text; text++)
		strbuf_addf(b, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
	strbuf_adds(b, "\"");
}

static void put_identity(const struct identity *id, struct strbuf *b)
{
	strbuf_adds(b, "namespace: ");
	put_quoted(b, id->namespace_name ? id->namespace_name : "default");
	strbuf_adds(b, ", labels: {");
	for (size_t i = 0; i < id->nlabels; i++) {
		strbuf_adds(b, i ? ", " : "");
		put_quoted(b, id->labels[i].key);
		strbuf_adds(b, ": ");
		put_quoted(b, id->labels[i].value);
	}
	strbuf_adds(b, "}");
}

/* ---- --allow ----------------------------------------------------------------------------------------------------- */

struct allowed {
	char target[300]; /* without brackets */
	const char *port; /* NULL: any */
};

/* "[2001:db8::1]:443", "2001:db8::/32", "10.0.0.0/8:5432", "example.com:443". */
static int split_allowed(const char *text, struct allowed *ret)
{
	const char *end = text[0] == '[' ? strchr(text, ']') : NULL;
	const char *colon = end ? (end[1] == ':' ? end + 1 : NULL) : strrchr(text, ':');
	size_t len;

	/* More than one colon and no brackets: an IPv6 address or prefix without a port. */
	if (!end && colon && strchr(text, ':') != colon)
		colon = NULL;
	ret->port = colon ? colon + 1 : NULL;
	len = end ? (size_t)(end - text) - 1 : colon ? (size_t)(colon - text) : strlen(text);
	if (len == 0 || len >= sizeof(ret->target) || (ret->port && !*ret->port))
		return -EINVAL;
	memcpy(ret->target, text + (end ? 1 : 0), len);
	ret->target[len] = '\0';
	return 0;
}

static bool is_prefix(const char *text, char *buf, size_t size)
{
	struct sluice_addr addr;

	if (strchr(text, '/'))
		return snprintf(buf, size, "%s", text) < (int)size;
	if (addr_parse(text, &addr) < 0)
		return false;
	return snprintf(buf, size, "%s/%d", text, strchr(text, ':') ? 128 : 32) < (int)size;
}

static int put_allowed(struct strbuf *b, const char *text)
{
	char prefix[320];
	struct allowed a;

	if (split_allowed(text, &a) < 0) {
		ctl_error("--allow '%s' is not NAME, NAME:PORT, ADDRESS, ADDRESS:PORT or PREFIX:PORT", text);
		return -EINVAL;
	}
	if (is_prefix(a.target, prefix, sizeof(prefix))) {
		strbuf_adds(b, "  - toCIDR: [");
		put_quoted(b, prefix);
		strbuf_adds(b, "]\n");
	} else {
		strbuf_addf(b, "  - toFQDNs: [{%s: ", strchr(a.target, '*') ? "matchPattern" : "matchName");
		put_quoted(b, a.target);
		strbuf_adds(b, "}]\n");
	}
	if (a.port) {
		const char *slash = strchr(a.port, '/');
		int len = slash ? (int)(slash - a.port) : (int)strlen(a.port);

		strbuf_addf(b, "    toPorts: [{ports: [{port: \"%.*s\", protocol: ", len, a.port);
		put_quoted(b, slash ? slash + 1 : "ANY");
		strbuf_adds(b, "}]}]\n");
	}
	return 0;
}

static int put_policy(struct strbuf *b, const struct identity *id, const char *const *allow, size_t nallow)
{
	int r = 0;

	strbuf_adds(b, "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: allow, namespace: ");
	put_quoted(b, id->namespace_name ? id->namespace_name : "default");
	strbuf_adds(b, "}\nspec:\n  endpointSelector: {}\n  egress:\n");
	for (size_t i = 0; r == 0 && i < nallow; i++)
		r = put_allowed(b, allow[i]);
	return r == 0 && b->failed ? -ENOMEM : r;
}

static int check_allowed(const struct identity *id, const char *const *allow)
{
	CLEANUP(strbuf_clear) struct strbuf b = {};
	int r = put_policy(&b, id, allow, 1);

	return r < 0 ? r : refuse_bad("", b.data, b.len, *allow);
}

static int write_allowed(const struct run_policy *p, const struct identity *id, int dir)
{
	CLEANUP(strbuf_clear) struct strbuf b = {};
	int r = 0;

	if (p->nallow == 0)
		return 0;
	for (size_t i = 0; r == 0 && i < p->nallow; i++)
		r = check_allowed(id, &p->allow[i]);
	if (r == 0)
		r = put_policy(&b, id, p->allow, p->nallow);
	return r < 0 ? r : file_replace(dir, "allow.yaml", b.data, b.len, 0600);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static int take_file(const struct run_policy *p, size_t i, int dir, struct identity *id)
{
	_cleanup_free_ char *text = NULL;
	char name[48];
	size_t len;
	int r = file_read_stream(AT_FDCWD, p->files[i], MANIFEST_MAX, &text, &len);

	if (r < 0) {
		ctl_error("%s: %s", p->files[i], strerror(-r));
		return r;
	}
	r = read_manifest(id, p->files[i], text, len, p);
	if (r == 0)
		r = refuse_bad(p->files[i], text, len, NULL);
	snprintf(name, sizeof(name), "policy-%zu.yaml", i);
	return r < 0 ? r : file_replace(dir, name, text, len, 0600);
}

int run_policy_write(const struct run_policy *p, int dir, struct strbuf *ret_endpoint)
{
	CLEANUP(identity_clear) struct identity id = {};
	int r = take_given(&id, p);

	for (size_t i = 0; r == 0 && i < p->nfiles; i++)
		r = take_file(p, i, dir, &id);
	if (r == 0)
		r = write_allowed(p, &id, dir);
	if (r == 0)
		put_identity(&id, ret_endpoint);
	return r;
}
