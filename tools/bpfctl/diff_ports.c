/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bpfctl/diff_ports.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "bpf/abi_names.h"
#include "policy/array.h"

static const uint8_t protocols[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_ICMP, IPPROTO_ICMPV6 };

/* ---- cuts --------------------------------------------------------------------------------------------------------- */

void cuts_clear(struct cuts *c)
{
	free(c->items);
	*c = (struct cuts){};
}

static void cut_at(struct cuts *c, uint32_t port)
{
	uint32_t *slot = port <= UINT16_MAX ? array_push(&c->items, &c->count, sizeof(*slot)) : NULL;

	if (slot)
		*slot = port;
	else if (port <= UINT16_MAX)
		c->oom = true;
}

/* The rows stand in the order of their sets. */
static size_t first_row(const struct image *img, uint32_t set)
{
	size_t low = 0, high = image_rule_count(img);

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (image_rule_at(img, middle)->set < set)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void cuts_add_set(struct cuts *c, const struct image *img, uint32_t set, uint8_t proto)
{
	for (size_t i = set && img ? first_row(img, set) : SIZE_MAX; img && i < image_rule_count(img); i++) {
		const struct image_rule *r = image_rule_at(img, i);
		uint32_t first = ntohs(r->port);

		if (r->set != set)
			return;
		if (r->proto != proto)
			continue;
		cut_at(c, first);
		cut_at(c, (first | (0xffffu >> r->port_bits)) + 1);
	}
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

void cuts_sort(struct cuts *c)
{
	size_t out = 0;

	cut_at(c, 0);
	if (c->oom)
		return;
	qsort(c->items, c->count, sizeof(*c->items), compare_u32);
	for (size_t i = 0; i < c->count; i++) {
		if (i == 0 || c->items[i] != c->items[out - 1])
			c->items[out++] = c->items[i];
	}
	c->count = out;
}

/* ---- changes ------------------------------------------------------------------------------------------------------ */

void changes_clear(struct changes *c)
{
	json_decref(c->allowed);
	json_decref(c->denied);
	*c = (struct changes){};
}

bool changes_equal(const struct changes *a, const struct changes *b)
{
	return json_equal(a->allowed, b->allowed) && json_equal(a->denied, b->denied);
}

/* "443/TCP", "8000-8080/UDP", "any/SCTP", "type 8/ICMP". */
static json_t *ports_json(uint8_t proto, uint32_t first, uint32_t last)
{
	bool icmp = proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
	const char *name = proto_name(proto), *type = icmp ? "type " : "";

	if (first == 0 && last == UINT16_MAX)
		return json_sprintf("any/%s", name);
	if (icmp) {
		first >>= 8;
		last >>= 8;
	}
	if (first == last)
		return json_sprintf("%s%u/%s", type, first, name);
	return json_sprintf("%s%u-%u/%s", type, first, last, name);
}

static void note_span(struct changes *c, uint8_t proto, uint32_t first, uint32_t last, bool allowed, uint32_t rule)
{
	uint32_t *kept = allowed ? &c->allowed_rule : &c->denied_rule;

	if (!*kept)
		*kept = rule;
	if (json_array_append_new(allowed ? c->allowed : c->denied, ports_json(proto, first, last)) < 0)
		c->oom = true;
}

static void find_proto(struct changes *c, const struct port_asker *asker, uint8_t proto)
{
	CLEANUP(cuts_clear) struct cuts cuts = {};
	uint32_t start = 0, rule = 0;
	int state = 0; /* +1 newly allowed, -1 newly denied, 0 as it was */

	asker->cut(asker->context, proto, &cuts);
	cuts_sort(&cuts);
	c->oom = c->oom || cuts.oom;
	for (size_t i = 0; !c->oom && i < cuts.count; i++) {
		struct port_word was = {}, is = {};
		int now;

		asker->ask(asker->context, proto, (uint16_t)cuts.items[i], &was, &is);
		now = is.allowed - was.allowed;
		if (now == state)
			continue;
		if (state)
			note_span(c, proto, start, cuts.items[i] - 1, state > 0, rule);
		state = now;
		start = cuts.items[i];
		rule = now > 0 ? is.rule : was.rule;
	}
	if (state)
		note_span(c, proto, start, UINT16_MAX, state > 0, rule);
}

void changes_find(struct changes *c, const struct port_asker *asker)
{
	*c = (struct changes){ .allowed = json_array(), .denied = json_array() };
	c->oom = !c->allowed || !c->denied;
	for (size_t i = 0; !c->oom && i < ARRAY_SIZE(protocols); i++)
		find_proto(c, asker, protocols[i]);
}
