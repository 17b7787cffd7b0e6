/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/endpoints_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "bpf/addr_class.h"
#include "policy/array.h"
#include "policy/yaml.h"

void static_endpoint_clear(struct static_endpoint *e)
{
	free(e->namespace_name);
	free(e->uid);
	free(e->name);
	free(e->cgroup);
	for (size_t i = 0; i < e->nlabels; i++) {
		free((char *)e->labels[i].key);
		free((char *)e->labels[i].value);
	}
	free(e->labels);
	*e = (struct static_endpoint){};
}

void static_endpoints_clear(struct static_endpoints *list)
{
	for (size_t i = 0; i < list->count; i++)
		static_endpoint_clear(&list->items[i]);
	free(list->items);
	*list = (struct static_endpoints){};
}

void endpoints_file_freep(struct endpoints_file **f)
{
	if (!*f)
		return;
	static_endpoints_clear(&(*f)->endpoints);
	objects_clear(&(*f)->objects);
	free(*f);
	*f = NULL;
}

int static_endpoint_set_labels(struct static_endpoint *to, const struct label *labels, size_t nlabels)
{
	to->labels = calloc(nlabels + 1, sizeof(*to->labels));
	if (!to->labels)
		return -ENOMEM;
	for (size_t i = 0; i < nlabels; i++) {
		char *key = strdup(labels[i].key), *value = strdup(labels[i].value);

		to->labels[to->nlabels++] = (struct label){ key, value };
		if (!key || !value)
			return -ENOMEM;
	}
	return 0;
}

/* Into `*to`; NULL stays NULL. */
static bool copy_text(char **to, const char *from)
{
	*to = from ? strdup(from) : NULL;
	return *to || !from;
}

int static_endpoint_copy(const struct static_endpoint *from, struct static_endpoint *to)
{
	*to = *from;
	to->labels = NULL;
	to->nlabels = 0;
	to->name = to->uid = to->cgroup = NULL;
	if (!copy_text(&to->namespace_name, from->namespace_name) || !copy_text(&to->name, from->name) ||
	    !copy_text(&to->uid, from->uid) || !copy_text(&to->cgroup, from->cgroup))
		return -ENOMEM;
	return static_endpoint_set_labels(to, from->labels, from->nlabels);
}

struct subject static_endpoint_subject(const struct static_endpoint *e)
{
	return (struct subject){
		.namespace_name = e->namespace_name,
		.name = e->name,
		.labels = e->labels,
		.nlabels = e->nlabels,
		.addrs = e->addrs,
		.naddrs = e->naddrs,
	};
}

/* The label of the kernel's table holds `max` bytes with the NUL; a name that is cut there would show as another's. */
static void read_short(struct yctx *c, const struct ynode *node, const char *what, size_t max, char **ret)
{
	const char *text;

	if (!yread_text(c, node, what, &text))
		return;
	if (!text[0] || strlen(text) >= max)
		yctx_error(c, node, "%s must have from 1 to %zu characters", what, max - 1);
	else if (strchr(text, '/'))
		yctx_error(c, node, "%s must not contain a '/'", what);
	else
		yread_string(c, node, what, ret);
}

static void read_name(struct yctx *c, const struct ynode *node, void *out)
{
	read_short(c, node, "name", sizeof(((struct sluice_label *)0)->name), &((struct static_endpoint *)out)->name);
}

static void read_namespace(struct yctx *c, const struct ynode *node, void *out)
{
	read_short(c, node, "namespace", sizeof(((struct sluice_label *)0)->namespace_name),
		   &((struct static_endpoint *)out)->namespace_name);
}

static void read_labels(struct yctx *c, const struct ynode *node, void *out)
{
	struct static_endpoint *e = out;

	if (!yread_mapping(c, node, "labels"))
		return;
	for (size_t i = 0; i < node->count; i++) {
		char *key = NULL, *value = NULL;
		struct label *label;

		if (!yread_string(c, ynode_value(node, i), "a label's value", &value))
			continue;
		key = strdup(ynode_key(node, i)->text);
		label = key ? array_push(&e->labels, &e->nlabels, sizeof(*label)) : NULL;
		if (!label) {
			free(key);
			free(value);
			c->oom = true;
			return;
		}
		*label = (struct label){ key, value };
	}
}

static void read_interface(struct yctx *c, const struct ynode *node, void *out)
{
	struct static_endpoint *e = out;
	const char *text;

	if (!yread_text(c, node, "interface", &text))
		return;
	if (!text[0] || strlen(text) >= sizeof(e->interface) || strchr(text, '/'))
		yctx_error(c, node, "'%s' is no interface name", text);
	else
		strcpy(e->interface, text);
}

static void read_addresses(struct yctx *c, const struct ynode *node, void *out)
{
	struct static_endpoint *e = out;

	if (!yread_sequence(c, node, "addresses"))
		return;
	if (node->count > SLUICE_ENDPOINT_ADDRS) {
		yctx_error(c, node, "%zu addresses; an endpoint has at most %d", node->count, SLUICE_ENDPOINT_ADDRS);
		return;
	}
	for (size_t i = 0; i < node->count; i++) {
		const char *text;

		if (!yread_text(c, node->items[i], "an address", &text))
			continue;
		if (addr_parse(text, &e->addrs[e->naddrs]) < 0 || addr_never_leaves(&e->addrs[e->naddrs]))
			yctx_error(c, node->items[i], "'%s' is no address an endpoint can have", text);
		else
			e->naddrs++;
	}
}

static void read_cgroup(struct yctx *c, const struct ynode *node, void *out)
{
	struct static_endpoint *e = out;
	const char *text;
	size_t len;

	if (!yread_text(c, node, "cgroup", &text))
		return;
	len = strlen(text);
	if (text[0] != '/' || strstr(text, "/../") || strstr(text, "//") ||
	    (len >= 3 && !strcmp(text + len - 3, "/.."))) {
		yctx_error(c, node, "'%s' is no absolute path of a cgroup", text);
		return;
	}
	while (len > 1 && text[len - 1] == '/')
		len--;
	e->cgroup = strndup(text, len);
	c->oom |= !e->cgroup;
}

static const struct yfield endpoint_fields[] = {
	{ "name", read_name },		 { "namespace", read_namespace }, { "labels", read_labels },
	{ "interface", read_interface }, { "addresses", read_addresses }, { "cgroup", read_cgroup },
};

static void check_placed(struct yctx *c, const struct ynode *node, const struct static_endpoint *e)
{
	static const char *const wanted[] = { "interface", "addresses" };

	if (!ynode_get(node, "namespace")) {
		yctx_error(c, node, "the endpoint has no 'namespace'");
		return;
	}
	if (e->cgroup) {
		if (ynode_get(node, "interface") || ynode_get(node, "addresses"))
			yctx_error(c, ynode_get(node, "cgroup"),
				   "an endpoint has either a cgroup, with the node's addresses, or an interface and "
				   "addresses");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		if (!ynode_get(node, wanted[i])) {
			yctx_error(c, node,
				   "the endpoint has no '%s', and no 'cgroup' either; nothing else tells what is "
				   "its traffic",
				   wanted[i]);
			return;
		}
	}
	if (e->naddrs == 0)
		yctx_error(c, node, "the endpoint has no address; everything it sends would have a foreign source");
}

static void read_endpoint(struct yctx *c, const struct ynode *node, bool placed, struct static_endpoints *list)
{
	size_t errors = c->errors;
	struct static_endpoint *e;

	if (!yread_mapping(c, node, "an endpoint"))
		return;
	e = array_push(&list->items, &list->count, sizeof(*e));
	if (!e) {
		c->oom = true;
		return;
	}
	e->line = node->line;
	e->column = node->column;
	if (!yread_fields(c, node, "the endpoint", endpoint_fields, ARRAY_SIZE(endpoint_fields), e) ||
	    errors != c->errors)
		return;
	if (!e->name)
		yctx_error(c, node, "the endpoint has no 'name'");
	else if (placed)
		check_placed(c, node, e);
	if (!e->namespace_name && !placed) {
		e->namespace_name = strdup("default");
		c->oom |= !e->namespace_name;
	}
}

/* Is `inner` the cgroup `outer`, or below it? */
static bool holds_cgroup(const char *outer, const char *inner)
{
	size_t len = strlen(outer);

	return strncmp(outer, inner, len) == 0 && (inner[len] == '\0' || inner[len] == '/');
}

/* Two endpoints on one interface, of one name or with one address would each get part of the other's traffic. */
static void check_pair(struct yctx *c, const struct ynode *at, const struct static_endpoint *a,
		       const struct static_endpoint *b)
{
	if (a->cgroup && b->cgroup && (holds_cgroup(a->cgroup, b->cgroup) || holds_cgroup(b->cgroup, a->cgroup)))
		yctx_error(c, at, "cgroup %s lies within that of the endpoint in line %u, or around it", a->cgroup,
			   b->line);
	if (!a->cgroup && !b->cgroup && strcmp(a->interface, b->interface) == 0)
		yctx_error(c, at, "interface %s is already that of the endpoint in line %u", a->interface, b->line);
	if (strcmp(a->name, b->name) == 0 && strcmp(a->namespace_name, b->namespace_name) == 0)
		yctx_error(c, at, "%s/%s is already the endpoint in line %u", a->namespace_name, a->name, b->line);
	for (size_t i = 0; i < a->naddrs; i++) {
		for (size_t k = 0; k < b->naddrs; k++) {
			char text[ADDR_TEXT_MAX];

			if (addr_compare(&a->addrs[i], &b->addrs[k]) == 0)
				yctx_error(c, at, "address %s is already that of the endpoint in line %u",
					   addr_format(&a->addrs[i], text), b->line);
		}
	}
}

void static_endpoints_add(struct yctx *c, const struct ynode *node, bool placed, struct static_endpoints *list)
{
	size_t errors = c->errors, first = list->count;

	if (ynode_is_null(node) || !yread_sequence(c, node, "endpoints"))
		return;
	for (size_t i = 0; i < node->count; i++)
		read_endpoint(c, node->items[i], placed, list);
	if (!placed || c->errors != errors || c->oom)
		return;
	for (size_t i = first; i < list->count; i++)
		for (size_t k = 0; k < i; k++)
			check_pair(c, node->items[i - first], &list->items[i], &list->items[k]);
}

static void read_list(struct yctx *c, const struct ynode *node, void *out)
{
	static_endpoints_add(c, node, true, out);
}

/* Returns whether it is a document `endpoints:`. */
static bool read_document(struct yctx *c, const struct ynode *root, bool another, struct endpoints_file *f)
{
	static const struct yfield fields[] = { { "endpoints", read_list } };
	const char *kind = ynode_text(root, "kind", NULL), *version;
	const struct ynode *other;

	if (ynode_is_null(root))
		return false;
	if (!kind) {
		if (another)
			yctx_error(c, root, "a second document of endpoints; the file has one");
		yread_fields(c, root, "the endpoints file", fields, ARRAY_SIZE(fields), &f->endpoints);
		return true;
	}
	other = objects_add(&f->objects, c, root);
	if (other) {
		kind = ynode_text(other, "kind", NULL);
		version = ynode_text(other, "apiVersion", NULL);
		yctx_error(c, other,
			   "expected a v1 Pod, Namespace, Node or Service or a discovery.k8s.io/v1 EndpointSlice, "
			   "got %.100s %.100s",
			   version ? version : "(no apiVersion)", kind ? kind : "(no kind)");
	}
	return false;
}

int endpoints_file_read(const char *file, const char *text, size_t len, struct diags *diags,
			struct endpoints_file **ret)
{
	CLEANUP(endpoints_file_freep) struct endpoints_file *f = calloc(1, sizeof(*f));
	CLEANUP(ydocs_freep) struct ydocs *docs = NULL;
	struct yctx c = { .file = file, .diags = diags };
	bool found = false;
	int r;

	if (!f)
		return -ENOMEM;
	r = yaml_read(file, text, len, diags, &docs);
	if (r < 0)
		return r;
	for (size_t i = 0; i < docs->count; i++)
		found = read_document(&c, docs->roots[i], found, f) || found;
	if (c.oom)
		return -ENOMEM;
	r = objects_duplicates(&f->objects, diags);
	if (r < 0 || r > 0 || c.errors)
		return r < 0 ? r : -EINVAL;
	*ret = TAKE_PTR(f);
	return 0;
}
