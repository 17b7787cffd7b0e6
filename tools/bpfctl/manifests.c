/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bpfctl/manifests.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "policy/yaml.h"
#include "tools/bpfctl/ctl.h"

#define MANIFEST_MAX_BYTES (64u << 20)

/* ---- files -------------------------------------------------------------------------------------------------------- */

void paths_clear(struct paths *p)
{
	for (size_t i = 0; i < p->count; i++)
		free(p->items[i]);
	free(p->items);
	*p = (struct paths){};
}

/* Steals `path`. */
static int paths_push(struct paths *p, char *path)
{
	char **grown = path ? reallocarray(p->items, p->count + 1, sizeof(*grown)) : NULL;

	if (!grown) {
		free(path);
		return -ENOMEM;
	}
	p->items = grown;
	grown[p->count++] = path;
	return 0;
}

static int is_manifest(const struct dirent *entry)
{
	const char *dot = strrchr(entry->d_name, '.');

	if (entry->d_name[0] == '.' || !dot)
		return 0;
	return !strcmp(dot, ".yaml") || !strcmp(dot, ".yml") || !strcmp(dot, ".json");
}

static int add_directory(struct paths *p, const char *path)
{
	struct dirent **entries = NULL;
	int count = scandir(path, &entries, is_manifest, alphasort);
	int r = count == 0 ? -ENOENT : count < 0 ? -errno : 0;

	for (int i = 0; i < count; i++) {
		char *full = NULL;

		if (r == 0 && asprintf(&full, "%s/%s", path, entries[i]->d_name) < 0)
			full = NULL;
		if (r == 0)
			r = paths_push(p, full);
		free(entries[i]);
	}
	free(entries);
	return r;
}

int paths_add(struct paths *p, const char *path)
{
	struct stat st;

	if (strcmp(path, "-") && stat(path, &st) < 0)
		return -errno;
	if (strcmp(path, "-") && S_ISDIR(st.st_mode))
		return add_directory(p, path);
	return paths_push(p, strdup(path));
}

int paths_read(const char *path, char **ret, size_t *ret_len)
{
	bool standard_input = !strcmp(path, "-");
	int r = file_read_stream(AT_FDCWD, standard_input ? "/dev/stdin" : path, MANIFEST_MAX_BYTES, ret, ret_len);

	if (r < 0)
		ctl_error("cannot read %s: %s", standard_input ? "standard input" : path, strerror(-r));
	return r;
}

/* ---- endpoints documents ------------------------------------------------------------------------------------------ */

static const struct ynode *endpoints_of(const struct ynode *root)
{
	if (root->kind != YNODE_MAPPING || ynode_get(root, "kind"))
		return NULL;
	return ynode_get(root, "endpoints");
}

/* The lists may have moved while they grew, so the subjects are made anew. */
static int fleet_fill(struct fleet *f)
{
	size_t n = f->endpoints.count;
	_cleanup_free_ struct subject *endpoints = calloc(n + 1, sizeof(*endpoints));
	CLEANUP(subjects_clear) struct subjects who = {};
	int r;

	if (!endpoints)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		endpoints[i] = static_endpoint_subject(&f->endpoints.items[i]);
	r = objects_subjects(&f->objects, endpoints, n, &who);
	if (r < 0)
		return r;
	free(f->subjects);
	f->subjects = TAKE_PTR(who.pods);
	f->count = who.npods;
	return 0;
}

int fleet_read(struct fleet *f, const char *file, const char *text, size_t len, struct diags *diags)
{
	CLEANUP(ydocs_freep) struct ydocs *docs = NULL;
	struct yctx c = { .file = file, .diags = diags };
	int found = 0;
	int r = yaml_read(file, text, len, diags, &docs);

	for (size_t i = 0; r == 0 && i < docs->count; i++) {
		const struct ynode *list = endpoints_of(docs->roots[i]);

		objects_add(&f->objects, &c, docs->roots[i]);
		if (!list)
			continue;
		found++;
		static_endpoints_add(&c, list, false, &f->endpoints);
	}
	if (r == -EINVAL)
		return 0; /* no YAML: the store will say so, and deny */
	if (r == 0)
		r = c.oom ? -ENOMEM : c.errors ? -EINVAL : fleet_fill(f);
	return r < 0 ? r : found;
}

void fleet_clear(struct fleet *f)
{
	static_endpoints_clear(&f->endpoints);
	objects_clear(&f->objects);
	free(f->subjects);
	*f = (struct fleet){};
}

static bool is_own_node(const struct fleet *f, const struct subject *subject, const char *node)
{
	if (!subject)
		return false;
	if (subject->node)
		return !strcmp(subject->node, node);
	/* An endpoint that says no node is on the only one. */
	return (size_t)(subject - f->subjects) < f->endpoints.count && f->objects.nnodes == 1;
}

struct inventory fleet_inventory(struct fleet *f, const struct subject *subject)
{
	struct inventory inv = objects_inventory(&f->objects);

	for (size_t i = 0; i < f->objects.nnodes; i++)
		f->objects.nodes[i].local = is_own_node(f, subject, f->objects.nodes[i].name);
	inv.pods = f->subjects;
	inv.npods = f->count;
	inv.service_cidrs = f->service_cidrs;
	inv.nservice_cidrs = f->nservice_cidrs;
	inv.cluster_domain = f->cluster_domain;
	return inv;
}

static bool holds(const struct sluice_addr *addrs, size_t count, const struct sluice_addr *addr)
{
	for (size_t i = 0; i < count; i++) {
		if (addr_compare(&addrs[i], addr) == 0)
			return true;
	}
	return false;
}

bool fleet_has_addr(const struct fleet *f, const struct sluice_addr *addr)
{
	const struct objects *o = &f->objects;
	bool found = false;

	for (size_t i = 0; i < f->count && !found; i++)
		found = !f->subjects[i].not_running && holds(f->subjects[i].addrs, f->subjects[i].naddrs, addr);
	for (size_t i = 0; i < o->nnodes && !found; i++)
		found = holds(o->nodes[i].addrs, o->nodes[i].naddrs, addr);
	for (size_t i = 0; i < o->nservices && !found; i++)
		found = holds(o->services[i].addrs, o->services[i].naddrs, addr);
	return found;
}

const struct subject *fleet_find(const struct fleet *f, const char *pod)
{
	const char *slash = strchr(pod, '/');
	size_t len = slash ? (size_t)(slash - pod) : 0;

	for (size_t i = 0; slash && i < f->count; i++) {
		const struct subject *s = &f->subjects[i];

		if (strlen(s->namespace_name) == len && !memcmp(s->namespace_name, pod, len) &&
		    !strcmp(s->name, slash + 1))
			return s;
	}
	return NULL;
}

/* A line that begins a document: "---" alone or before a blank. */
static bool is_separator(const char *line, size_t len)
{
	return len >= 3 && !memcmp(line, "---", 3) && (len == 3 || line[3] == ' ' || line[3] == '\r');
}

static size_t line_length(const char *line, size_t left)
{
	const char *newline = memchr(line, '\n', left);

	return newline ? (size_t)(newline - line) : left;
}

static void blank_document(char *text, size_t len, uint32_t first_line)
{
	uint32_t line = 1;

	for (size_t at = 0; at < len;) {
		size_t n = line_length(text + at, len - at);

		if (line > first_line && is_separator(text + at, n))
			return;
		if (line >= first_line)
			memset(text + at, ' ', n);
		at += n + 1;
		line++;
	}
}

void fleet_blank(char *text, size_t len)
{
	__attribute__((cleanup(ydocs_freep))) struct ydocs *docs = NULL;
	struct diags ignored = {};

	if (yaml_read("", text, len, &ignored, &docs) == 0) {
		for (size_t i = 0; i < docs->count; i++) {
			if (endpoints_of(docs->roots[i]))
				blank_document(text, len, docs->roots[i]->line);
		}
	}
	diags_clear(&ignored);
}
