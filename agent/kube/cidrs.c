/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kube/cidrs.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "policy/array.h"

/* One prefix of one object. */
struct cidr {
	char *object;
	struct sluice_prefix prefix;
	uint32_t list; /* the last one its object was in */
};

struct kube_cidrs {
	struct cidr *items;
	size_t count;
	struct sluice_prefix *joined;
	size_t njoined;
	uint32_t list; /* being read, or the last */
	bool changed;
};

int kube_cidrs_new(struct kube_cidrs **ret)
{
	*ret = calloc(1, sizeof(**ret));
	return *ret ? 0 : -ENOMEM;
}

void kube_cidrs_freep(struct kube_cidrs **c)
{
	if (!*c)
		return;
	for (size_t i = 0; i < (*c)->count; i++)
		free((*c)->items[i].object);
	free((*c)->items);
	free((*c)->joined);
	free(*c);
	*c = NULL;
}

/* ---- coming and going -------------------------------------------------------------------------------------------- */

static const char *name_of(json_t *object)
{
	const char *name = json_string_value(json_object_get(json_object_get(object, "metadata"), "name"));

	return name ? name : "";
}

static void take_out(struct kube_cidrs *c, size_t at)
{
	free(c->items[at].object);
	memmove(&c->items[at], &c->items[at + 1], (c->count - 1 - at) * sizeof(*c->items));
	c->count--;
	c->changed = true;
}

static bool same_prefix(const struct sluice_prefix *a, const struct sluice_prefix *b)
{
	return a->bits == b->bits && addr_compare(&a->addr, &b->addr) == 0;
}

static bool keep(struct kube_cidrs *c, const char *object, const struct sluice_prefix *prefix)
{
	for (size_t i = 0; i < c->count; i++) {
		if (strcmp(c->items[i].object, object) != 0 || !same_prefix(&c->items[i].prefix, prefix))
			continue;
		c->items[i].list = c->list;
		return true;
	}
	return false;
}

static void add(struct kube_cidrs *c, const char *object, const char *text)
{
	struct sluice_prefix prefix;
	struct cidr *slot;

	if (!text || prefix_parse(text, &prefix) != 0) {
		log_warning("ServiceCIDR %s: '%s' is no prefix", object, text ? text : "");
		return;
	}
	if (keep(c, object, &prefix))
		return;
	slot = array_push(&c->items, &c->count, sizeof(*slot));
	if (slot)
		*slot = (struct cidr){ strdup(object), prefix, c->list };
	if (slot && !slot->object)
		c->count--;
	if (!slot || !slot->object)
		log_error("out of memory; addresses in ServiceCIDR %s that no Service has are not known as such",
			  object);
	c->changed = true;
}

void kube_cidrs_begin(struct kube_cidrs *c)
{
	c->list++;
}

/* What an object has cannot be changed but by adding to it. */
void kube_cidrs_put(struct kube_cidrs *c, json_t *object)
{
	json_t *list = json_object_get(json_object_get(object, "spec"), "cidrs"), *text;
	size_t i;

	json_array_foreach(list, i, text)
	{
		add(c, name_of(object), json_string_value(text));
	}
}

void kube_cidrs_gone(struct kube_cidrs *c, json_t *object)
{
	for (size_t i = c->count; i > 0; i--) {
		if (!strcmp(c->items[i - 1].object, name_of(object)))
			take_out(c, i - 1);
	}
}

void kube_cidrs_synced(struct kube_cidrs *c)
{
	for (size_t i = c->count; i > 0; i--) {
		if (c->items[i - 1].list != c->list)
			take_out(c, i - 1);
	}
}

/* ---- looking ----------------------------------------------------------------------------------------------------- */

bool kube_cidrs_take_changed(struct kube_cidrs *c)
{
	bool changed = c->changed;

	c->changed = false;
	return changed;
}

void kube_cidrs_write(const struct kube_cidrs *c, void (*each)(void *context, const char *line), void *context)
{
	char text[ADDR_TEXT_MAX], line[512];

	for (size_t i = 0; i < c->count; i++) {
		/* A name of the API needs no escapes. */
		snprintf(line, sizeof(line), "{\"metadata\":{\"name\":\"%s\"},\"spec\":{\"cidrs\":[\"%s\"]}}",
			 c->items[i].object, prefix_format(&c->items[i].prefix, text));
		each(context, line);
	}
}

static void join(struct kube_cidrs *c, const struct sluice_prefix *prefix)
{
	struct sluice_prefix *slot;

	for (size_t i = 0; i < c->njoined; i++) {
		if (same_prefix(&c->joined[i], prefix))
			return;
	}
	slot = array_push(&c->joined, &c->njoined, sizeof(*slot));
	if (slot)
		*slot = *prefix;
}

size_t kube_cidrs_join(struct kube_cidrs *c, const struct sluice_prefix *first, size_t nfirst,
		       const struct sluice_prefix **ret)
{
	freep(&c->joined);
	c->njoined = 0;
	for (size_t i = 0; i < nfirst; i++)
		join(c, &first[i]);
	for (size_t i = 0; i < c->count; i++)
		join(c, &c->items[i].prefix);
	*ret = c->joined;
	return c->njoined;
}
