/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * The prefixes of both images, each once, cut the addresses into regions in each of which both have one rule set. The
 * sets' rows are in order of protocol and port, so two of them are compared by walking along both.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/image.h"

struct diff {
	const struct image *was;
	const struct image *is;
	int (*each)(const struct image_change *change, void *context);
	void *context;
};

/* One answer for a run of ports. */
struct answer {
	enum image_verdict verdict;
	uint32_t rule;
	uint32_t end; /* the first port beyond */
};

/* A set's rows of one protocol. */
struct rows {
	const struct image *img;
	size_t next;
	size_t end;
};

static int compare_prefixes(const void *a, const void *b)
{
	const struct sluice_prefix *x = a, *y = b;
	int order = addr_compare(&x->addr, &y->addr);

	return order ? order : (x->bits > y->bits) - (x->bits < y->bits);
}

/* The longest entry that covers the prefix. */
static struct sluice_dest dest_of(const struct image *img, const struct sluice_prefix *prefix)
{
	static const struct sluice_dest none;
	size_t count = image_dest_count(img);

	for (uint32_t bits = prefix->bits + 1; bits-- > 0;) {
		struct sluice_prefix key = { .addr = prefix->addr, .bits = bits };
		size_t low = 0, high = count;

		addr_mask(&key.addr, bits);
		while (low < high) {
			size_t mid = low + (high - low) / 2;
			const struct image_dest *d = image_dest_at(img, mid);
			struct sluice_prefix at = { .addr = d->addr, .bits = d->bits };
			int order = compare_prefixes(&at, &key);

			if (order == 0)
				return d->dest;
			if (order < 0)
				low = mid + 1;
			else
				high = mid;
		}
	}
	return none;
}

/* The first row of (set, proto) or after. */
static size_t first_row(const struct image *img, uint32_t set, uint32_t proto)
{
	size_t low = 0, high = image_rule_count(img);

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct image_rule *r = image_rule_at(img, mid);

		if (r->set < set || (r->set == set && r->proto < proto))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static struct rows rows_of(const struct image *img, uint32_t set, uint8_t proto)
{
	struct rows r = { .img = img };

	if (set) {
		r.next = first_row(img, set, proto);
		r.end = first_row(img, set, (uint32_t)proto + 1);
	}
	return r;
}

static struct answer answer_at(struct rows *r, uint32_t port)
{
	struct answer a = { .end = UINT16_MAX + 1 };

	while (r->next < r->end) {
		const struct image_rule *row = image_rule_at(r->img, r->next);
		uint32_t first = ntohs(row->port), end = first + (1u << (16 - row->port_bits));

		if (end <= port) {
			r->next++;
			continue;
		}
		if (first > port) {
			a.end = first;
			return a;
		}
		a.end = end;
		a.rule = row->rule.rule;
		if (row->rule.precedence > 0)
			a.verdict = row->rule.verdict == SLUICE_ALLOW ? IMAGE_ALLOW : IMAGE_DENY;
		return a;
	}
	return a;
}

static bool continues(const struct image_change *c, const struct answer *was, const struct answer *is, uint32_t port)
{
	return c->was != c->is && c->was == was->verdict && c->is == is->verdict && c->was_rule == was->rule &&
	       c->is_rule == is->rule && (uint32_t)c->last + 1 == port;
}

static int flush(const struct diff *d, struct image_change *c)
{
	int r = c->was != c->is ? d->each(c, d->context) : 0;

	c->was = c->is = IMAGE_NO_RULE;
	return r;
}

static int diff_proto(const struct diff *d, struct image_change *c, uint32_t was_set, uint32_t is_set)
{
	struct rows was = rows_of(d->was, was_set, c->proto), is = rows_of(d->is, is_set, c->proto);
	int r = 0;

	c->was = c->is = IMAGE_NO_RULE;
	for (uint32_t port = 0; port <= UINT16_MAX && r == 0;) {
		struct answer a = answer_at(&was, port), b = answer_at(&is, port);
		uint32_t end = a.end < b.end ? a.end : b.end;

		if (continues(c, &a, &b, port)) {
			c->last = (uint16_t)(end - 1);
		} else {
			r = flush(d, c);
			c->was = a.verdict;
			c->is = b.verdict;
			c->was_rule = a.rule;
			c->is_rule = b.rule;
			c->first = (uint16_t)port;
			c->last = (uint16_t)(end - 1);
		}
		port = end;
	}
	return r ? r : flush(d, c);
}

static int diff_scope(const struct diff *d, struct image_change *c, uint32_t was_set, uint32_t is_set)
{
	static const uint8_t protocols[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_ICMP, IPPROTO_ICMPV6 };
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(protocols) && r == 0; i++) {
		c->proto = protocols[i];
		r = diff_proto(d, c, was_set, is_set);
	}
	return r;
}

static int diff_prefix(const struct diff *d, const struct sluice_prefix *prefix)
{
	struct sluice_dest was = dest_of(d->was, prefix), is = dest_of(d->is, prefix);
	struct image_change c = { .prefix = *prefix };
	int r = diff_scope(d, &c, was.set, is.set);

	c.in_cluster = true;
	return r ? r : diff_scope(d, &c, was.cluster_set, is.cluster_set);
}

static size_t add_prefixes(const struct image *img, struct sluice_prefix *out)
{
	size_t n = image_dest_count(img);

	for (size_t i = 0; i < n; i++) {
		const struct image_dest *dest = image_dest_at(img, i);

		out[i] = (struct sluice_prefix){ .addr = dest->addr, .bits = dest->bits };
	}
	return n;
}

int image_diff(const struct image *was, const struct image *is,
	       int (*each)(const struct image_change *change, void *context), void *context)
{
	const struct diff d = { .was = was, .is = is, .each = each, .context = context };
	size_t n = image_dest_count(was) + image_dest_count(is);
	_cleanup_free_ struct sluice_prefix *all = calloc(n ? n : 1, sizeof(*all));
	int r = 0;

	if (!all)
		return -ENOMEM;
	n = add_prefixes(was, all);
	n += add_prefixes(is, all + n);
	if (n > 1)
		qsort(all, n, sizeof(*all), compare_prefixes);
	for (size_t i = 0; i < n && r == 0; i++)
		if (i == 0 || compare_prefixes(&all[i - 1], &all[i]) != 0)
			r = diff_prefix(&d, &all[i]);
	return r;
}
