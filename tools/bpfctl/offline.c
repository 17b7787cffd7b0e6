/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bpfctl/offline.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "policy/names.h"
#include "tools/bpfctl/ctl.h"

void offline_clear(struct offline *off)
{
	tree_clear(&off->tree);
	fleet_clear(&off->fleet);
	diags_clear(&off->diags);
	store_freep(&off->store);
}

/* A file may hold manifests, endpoints, or both; what is an `endpoints:` document is no manifest to the store. */
static int add_file(struct offline *off, const char *path)
{
	_cleanup_free_ char *text = NULL;
	struct diags unread = {};
	size_t len;
	int r = paths_read(path, &text, &len);

	if (r < 0)
		return r;
	r = fleet_read(&off->fleet, path, text, len, &unread);
	if (r > 0)
		fleet_blank(text, len);
	for (size_t i = 0; r < 0 && i < unread.count; i++) {
		char line[1024];

		ctl_error("%s", diag_format(&unread.items[i], line, sizeof(line)));
	}
	diags_clear(&unread);
	if (r < 0)
		return r;
	r = tree_add(&off->tree, path, text, len);
	return r == -ENOMEM ? r : store_update(off->store, path, text, len, &off->diags);
}

/* Objects of all files so far; the first pair of a run is enough to stop at. */
static int refuse_duplicates(const struct offline *off)
{
	struct diags twice = {};
	int r = objects_duplicates(&off->fleet.objects, &twice);

	for (size_t i = 0; i < twice.count; i++) {
		char line[1024];

		ctl_error("%s", diag_format(&twice.items[i], line, sizeof(line)));
	}
	diags_clear(&twice);
	return r > 0 ? -EINVAL : r;
}

const char *offline_domain(const struct offline *off)
{
	return off->cluster_domain[0] ? off->cluster_domain : "cluster.local";
}

int offline_set_cluster(struct offline *off, const char *domain, const char *service_cidrs)
{
	struct fleet *f = &off->fleet;

	if (domain && name_canonical(domain, off->cluster_domain) < 0) {
		ctl_error("--cluster-domain: '%s' is no domain name", domain);
		return -EINVAL;
	}
	f->cluster_domain = domain ? off->cluster_domain : NULL;
	f->nservice_cidrs = 0;
	for (const char *at = service_cidrs; at && *at; at += *at == ',') {
		char text[ADDR_TEXT_MAX];
		size_t len = strcspn(at, ",");

		if (f->nservice_cidrs == FLEET_CIDRS || len >= sizeof(text))
			len = 0;
		memcpy(text, at, len);
		text[len] = '\0';
		if (!len || prefix_parse(text, &f->service_cidrs[f->nservice_cidrs]) < 0) {
			ctl_error("--service-cidrs: '%s'; expected up to %d prefixes, with commas between",
				  service_cidrs, FLEET_CIDRS);
			return -EINVAL;
		}
		addr_mask(&f->service_cidrs[f->nservice_cidrs].addr, f->service_cidrs[f->nservice_cidrs].bits);
		f->nservice_cidrs++;
		at += len;
	}
	return 0;
}

int offline_add(struct offline *off, const char *path)
{
	CLEANUP(paths_clear) struct paths paths = {};
	int r = off->store ? 0 : store_new(&off->store);

	if (r == 0) {
		r = paths_add(&paths, path);
		if (r < 0)
			ctl_error("%s: %s", path, r == -ENOENT ? "no such file, or no manifest in it" : strerror(-r));
	}
	for (size_t i = 0; r >= 0 && i < paths.count; i++) {
		r = add_file(off, paths.items[i]);
		off->nfiles++;
	}
	if (r >= 0)
		r = refuse_duplicates(off);
	return r < 0 ? r : 0;
}

void offline_image_clear(struct offline_image *image)
{
	image_freep(&image->img);
	free(image->bytes);
	*image = (struct offline_image){};
}

int offline_compile(struct offline *off, const struct subject *subject, struct diags *diags, struct offline_image *ret)
{
	struct inventory inventory = fleet_inventory(&off->fleet, subject);
	size_t len = 0;
	int r = compile(off->store, subject, &inventory, diags, &ret->bytes, &len);

	ret->mode = r == 1 ? SLUICE_MODE_OPEN : SLUICE_MODE_ENFORCE;
	return r == 0 ? image_open(ret->bytes, len, &ret->img) : r < 0 ? r : 0;
}

/* ---- the inventory ------------------------------------------------------------------------------------------------ */

static const char *label_of(const struct label *labels, size_t count, const char *key)
{
	for (size_t i = 0; i < count; i++) {
		if (!strcmp(labels[i].key, key))
			return labels[i].value;
	}
	return NULL;
}

bool offline_is_enforced(const struct offline *off, const struct subject *subject)
{
	static const char key[] = "sluice.dev/host-network";
	const struct objects *o = &off->fleet.objects;
	const char *value = label_of(subject->labels, subject->nlabels, key);

	for (size_t i = 0; i < o->nnamespaces && !value; i++) {
		if (!strcmp(o->namespaces[i].name, subject->namespace_name))
			value = label_of(o->namespaces[i].labels, o->namespaces[i].nlabels, key);
	}
	return !subject->host_network || (value && !strcmp(value, "enforce"));
}

static const struct inventory_service *find_service(const struct offline *off, const char *name)
{
	const char *domain = offline_domain(off);
	const struct objects *o = &off->fleet.objects;
	const char *dot = strchr(name, '.');
	char suffix[264];
	size_t len = strlen(name), n = (size_t)snprintf(suffix, sizeof(suffix), ".svc.%s", domain);

	if (!dot || len <= n || strcmp(name + len - n, suffix) != 0 || dot == name + len - n)
		return NULL;
	for (size_t i = 0; i < o->nservices; i++) {
		const char *ns = o->services[i].namespace_name;

		if (strlen(o->services[i].name) == (size_t)(dot - name) &&
		    !strncmp(o->services[i].name, name, (size_t)(dot - name)) &&
		    strlen(ns) == (size_t)(name + len - n - dot - 1) && !strncmp(ns, dot + 1, strlen(ns)))
			return &o->services[i];
	}
	return NULL;
}

static size_t add_addrs(const struct sluice_addr *addrs, size_t count, struct sluice_addr *ret, size_t n, size_t max)
{
	for (size_t i = 0; i < count && n < max; i++)
		ret[n++] = addrs[i];
	return n;
}

static bool is_selected(const struct inventory_service *s, const struct subject *pod)
{
	if (!s->nselector || pod->not_running || strcmp(pod->namespace_name, s->namespace_name) != 0)
		return false;
	for (size_t i = 0; i < s->nselector; i++) {
		const char *value = label_of(pod->labels, pod->nlabels, s->selector[i].key);

		if (!value || strcmp(value, s->selector[i].value) != 0)
			return false;
	}
	return true;
}

size_t offline_service_addrs(const struct offline *off, const char *name, struct sluice_addr *ret, size_t max)
{
	const struct inventory_service *s = find_service(off, name);
	const struct objects *o = &off->fleet.objects;
	size_t n = s ? add_addrs(s->addrs, s->naddrs, ret, 0, max) : 0;

	if (!s || n)
		return n;
	for (size_t i = 0; i < o->nslices; i++) {
		const struct inventory_slice *slice = &o->slices[i];

		if (!slice->service || strcmp(slice->service, s->name) != 0 ||
		    strcmp(slice->namespace_name, s->namespace_name) != 0)
			continue;
		for (size_t k = 0; k < slice->nendpoints; k++)
			n = add_addrs(slice->endpoints[k].addrs, slice->endpoints[k].naddrs, ret, n, max);
	}
	for (size_t i = 0; n == 0 && i < off->fleet.count; i++) {
		if (is_selected(s, &off->fleet.subjects[i]))
			n = add_addrs(off->fleet.subjects[i].addrs, off->fleet.subjects[i].naddrs, ret, n, max);
	}
	return n;
}

static bool in_cluster(void *context, const struct sluice_addr *addr)
{
	return fleet_has_addr(context, addr);
}

/* By the Service kube-dns where the inventory has it, else by the label that every cluster gives them. */
bool offline_backs_resolver(const struct offline *off, const struct subject *subject)
{
	static const char ns[] = "kube-system", name[] = "kube-dns";
	const struct objects *o = &off->fleet.objects;
	const char *label = label_of(subject->labels, subject->nlabels, "k8s-app");

	if (strcmp(subject->namespace_name, ns) != 0)
		return false;
	for (size_t i = 0; i < o->nservices; i++) {
		if (!strcmp(o->services[i].namespace_name, ns) && !strcmp(o->services[i].name, name))
			return is_selected(&o->services[i], subject);
	}
	return label && !strcmp(label, name);
}

struct explain_world offline_world(struct offline *off, const struct subject *subject)
{
	return (struct explain_world){ .in_cluster = in_cluster,
				       .context = &off->fleet,
				       .now = clock_now(),
				       .no_proxy = offline_backs_resolver(off, subject) };
}
