/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * Of ten thousand pods one changes. Those that somebody keeps have a version, and what was made of a version (`carried`) holds
 * for as long as it is there: such a pod is not looked at again, and costs a few bytes read in order. The lists of two passes are
 * ordered alike, so one walk through both finds what stayed.
 *
 * A print holds the labels of the pod's namespace too, so it is made again when these are others.
 */
#include "policy/pods.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/prints.h"

#define NO_SLOT UINT32_MAX

struct carried {
	uint64_t version;
	uint64_t namespace_labels;
	uint64_t place;
	uint32_t slot; /* NO_SLOT: not printed yet, or it does not run */
	bool running;
};

int pods_compare(const struct subject *a, const struct subject *b)
{
	int order = strcmp(a->namespace_name, b->namespace_name);

	return order ? order : strcmp(a->name, b->name);
}

size_t pods_kept_from(const struct kept_pod *kept, size_t count, size_t from, const struct subject *pod)
{
	size_t low = from, high = count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (pods_compare(kept[mid].pod, pod) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

void pods_clear(struct pods *p)
{
	free(p->items);
	free(p->carried);
	slots_clear(&p->slots);
	*p = (struct pods){ .slots = p->slots };
}

/* ---- prints ------------------------------------------------------------------------------------------------------ */

static uint64_t namespace_print(const struct pods_input *in, const char *name)
{
	for (size_t i = 0; i < in->inv->nnamespaces; i++)
		if (strcmp(in->inv->namespaces[i].name, name) == 0)
			return in->namespaces[i];
	return in->inv->namespaces_told; /* unknown, or without labels */
}

void pods_put_effect(struct strbuf *b, const struct subject *pod)
{
	put_addrs(b, pod->addrs, pod->naddrs);
	put_number(b, pod->nports);
	for (size_t i = 0; i < pod->nports; i++) {
		put_text(b, pod->ports[i].name);
		put_number(b, (uint64_t)pod->ports[i].proto << 16 | pod->ports[i].port);
	}
}

static void put_identity(struct strbuf *b, const struct subject *s, uint64_t namespace_labels)
{
	put_text(b, s->namespace_name);
	put_text(b, s->service_account);
	put_labels(b, s->labels, s->nlabels);
	put_number(b, namespace_labels);
}

void pods_put_identity(struct strbuf *b, const struct pods_input *in, const struct subject *pod)
{
	put_identity(b, pod, namespace_print(in, pod->namespace_name));
}

/* ---- what stayed ------------------------------------------------------------------------------------------------- */

/* The one of that version from `*at` on, which then is the next; NULL: there is none. */
static const struct carried *find_carried(const struct pods *p, uint64_t version, size_t *at)
{
	for (size_t i = *at; i < p->ncarried; i++) {
		if (p->carried[i].version == version) {
			*at = i + 1;
			return &p->carried[i];
		}
	}
	return NULL;
}

static int carry(struct pods *p, const struct inventory *inv)
{
	struct carried *now = calloc(inv->nkept + 1, sizeof(*now));
	uint64_t newest = p->newest;
	size_t at = 0;

	if (!now)
		return -ENOMEM;
	for (size_t i = 0; i < inv->nkept; i++) {
		uint64_t version = inv->kept[i].version;
		const struct carried *old = version <= p->newest ? find_carried(p, version, &at) : NULL;

		now[i] = old ? *old
			     : (struct carried){ .version = version,
						 .slot = NO_SLOT,
						 .running = !inv->kept[i].pod->not_running };
		newest = version > newest ? version : newest;
	}
	free(p->carried);
	p->carried = now;
	p->ncarried = inv->nkept;
	p->newest = newest;
	return 0;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

struct reading {
	struct pods *p;
	const struct pods_input *in;
	struct strbuf *b;
	bool namespaces_moved;
	const char *namespace_name; /* of the last that was looked up: pods of one stand together */
	uint64_t namespace_labels;
};

static uint64_t labels_of_namespace(struct reading *rd, const struct subject *pod)
{
	if (!rd->namespace_name || strcmp(rd->namespace_name, pod->namespace_name) != 0)
		rd->namespace_labels = namespace_print(rd->in, pod->namespace_name);
	rd->namespace_name = pod->namespace_name;
	return rd->namespace_labels;
}

static uint64_t place_print(struct reading *rd, const struct subject *pod)
{
	rd->b->len = 0;
	put_addrs(rd->b, pod->addrs, pod->naddrs);
	put_number(rd->b, pod->host_network);
	return print_from(rd->in->seed, rd->b, 0);
}

static int print_pod(struct reading *rd, const struct subject *pod, struct carried *ret)
{
	struct slot_content content;

	ret->namespace_labels = labels_of_namespace(rd, pod);
	ret->place = place_print(rd, pod);
	rd->b->len = 0;
	pods_put_effect(rd->b, pod);
	content.effect = print_from(rd->in->seed, rd->b, 0);
	put_identity(rd->b, pod, ret->namespace_labels);
	put_text(rd->b, pod->name);
	put_number(rd->b, pod->host_network);
	content.print = print_from(rd->in->seed, rd->b, 0);
	return slots_put(&rd->p->slots, rd->p->count, &content, &ret->slot);
}

static void take(struct reading *rd, const struct subject *pod, const struct carried *c)
{
	struct pods *p = rd->p;

	p->items[p->count++] = pod;
	p->every += p->slots.items[c->slot].print;
	p->places += c->place;
}

static int take_kept(struct reading *rd, size_t i)
{
	const struct subject *pod = rd->in->inv->kept[i].pod;
	struct carried *c = &rd->p->carried[i];

	if (!c->running)
		return 0;
	if (c->slot != NO_SLOT && (!rd->namespaces_moved || labels_of_namespace(rd, pod) == c->namespace_labels))
		slots_keep(&rd->p->slots, rd->p->count, c->slot);
	else if (print_pod(rd, pod, c) < 0)
		return -ENOMEM;
	take(rd, pod, c);
	return 0;
}

static int take_own(struct reading *rd, const struct subject *pod)
{
	struct carried c;

	if (print_pod(rd, pod, &c) < 0)
		return -ENOMEM;
	take(rd, pod, &c);
	return 0;
}

static int read_all(struct reading *rd, const struct subject **own, size_t nown)
{
	const struct inventory *inv = rd->in->inv;
	size_t at = 0;

	for (size_t i = 0; i <= nown; i++) {
		size_t until = i < nown ? pods_kept_from(inv->kept, inv->nkept, at, own[i]) : inv->nkept;

		for (; at < until; at++)
			if (take_kept(rd, at) < 0)
				return -ENOMEM;
		if (i < nown && take_own(rd, own[i]) < 0)
			return -ENOMEM;
	}
	return rd->b->failed ? -ENOMEM : slots_end(&rd->p->slots);
}

static int compare_pointers(const void *a, const void *b)
{
	return pods_compare(*(const struct subject *const *)a, *(const struct subject *const *)b);
}

/* Those that nobody keeps, in order; the caller's to free. */
static const struct subject **sort_own(const struct inventory *inv, size_t *ret_count)
{
	const struct subject **own = calloc(inv->npods + 1, sizeof(*own));
	size_t n = 0;

	for (size_t i = 0; own && i < inv->npods; i++)
		if (!inv->pods[i].not_running)
			own[n++] = &inv->pods[i];
	if (own)
		qsort(own, n, sizeof(*own), compare_pointers);
	*ret_count = n;
	return own;
}

int pods_read(struct pods *p, const struct pods_input *in)
{
	CLEANUP(strbuf_clear) struct strbuf b = {};
	struct reading rd = { .p = p, .in = in, .b = &b, .namespaces_moved = p->namespaces != in->every_namespace };
	size_t nown = 0;
	_cleanup_free_ const struct subject **own = sort_own(in->inv, &nown);
	int r = own ? carry(p, in->inv) : -ENOMEM;

	free(p->items);
	p->items = calloc(nown + in->inv->nkept + 1, sizeof(*p->items));
	p->count = 0;
	p->every = p->places = 0;
	p->namespaces = in->every_namespace;
	if (r == 0)
		r = p->items ? slots_begin(&p->slots, nown + in->inv->nkept) : -ENOMEM;
	if (r == 0)
		r = read_all(&rd, own, nown);
	if (r < 0)
		pods_clear(p);
	return r;
}
