/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * An address is judged by decide(), with the look-ups answered from the image (the kernel's tries are made of the same
 * rows). A name has no address yet. A name rule that admits the port allows it, since its answer will open what it
 * resolves to. Otherwise the verdict is that of the any-address rule for the port: what a rule for 0.0.0.0/0, ::/0 or
 * the world says, one family being enough. Both can speak; then precedence decides between them as in the kernel.
 */
#include "tools/bpfctl/explain.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "bpf/abi_names.h"
#include "policy/names.h"
#include "tools/bpfctl/ctl.h"

struct sluice_tables {
	const struct image *img;
	const struct explain_world *world;
	struct sluice_lease *lease; /* room for the one tables_find_lease returns */
};

#include "bpf/addr_class.h"

static SLUICE_INLINE bool tables_find_dest(const struct sluice_tables *t, __u64 policy, const struct sluice_addr *addr,
					   struct sluice_dest *ret)
{
	(void)policy; /* an image is one policy */
	return image_find_dest(t->img, addr, ret);
}

static SLUICE_INLINE bool tables_find_rule(const struct sluice_tables *t, __u64 policy, __u32 set, __u8 proto,
					   __be16 port, struct sluice_rule *ret)
{
	(void)policy;
	return image_find_rule(t->img, set, proto, port, ret);
}

static SLUICE_INLINE const struct sluice_lease *tables_find_lease(const struct sluice_tables *t, __u64 policy,
								  const struct sluice_addr *addr)
{
	const struct explain_world *w = t->world;

	return w->find_lease && w->find_lease(w->context, policy, addr, t->lease) ? t->lease : NULL;
}

static SLUICE_INLINE bool tables_in_cluster(const struct sluice_tables *t, const struct sluice_addr *addr)
{
	return t->world->in_cluster && t->world->in_cluster(t->world->context, addr);
}

#include "bpf/decide.h"

/* ---- what is asked ------------------------------------------------------------------------------------------------ */

/* 10.0.0.300: every label is a number, so that it was meant to be an address (no top-level domain is one). */
static bool is_number_labels(const char *text)
{
	return *text && strspn(text, "0123456789.") == strlen(text);
}

int explain_parse_target(const char *text, struct explain_query *q)
{
	char bare[ADDR_TEXT_MAX];
	size_t len = strlen(text);

	if (len > 2 && len < sizeof(bare) && text[0] == '[' && text[len - 1] == ']') {
		memcpy(bare, text + 1, len - 2);
		bare[len - 2] = '\0';
		q->is_name = false;
		return addr_parse(bare, &q->addr) < 0 ? -EINVAL : 0;
	}
	q->is_name = addr_parse(text, &q->addr) < 0;
	if (q->is_name && is_number_labels(text))
		return -EINVAL;
	if (q->is_name && name_canonical(text, q->name) < 0)
		return -EINVAL;
	q->name_len = q->is_name ? strlen(q->name) : 0;
	return 0;
}

int explain_parse_port(const char *text, struct explain_query *q)
{
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	char number[8];
	uint64_t n;

	if (len == 0 || len >= sizeof(number))
		return -EINVAL;
	memcpy(number, text, len);
	number[len] = '\0';
	q->proto = slash ? proto_number(slash + 1) : IPPROTO_TCP;
	if (q->proto == IPPROTO_ICMP || q->proto == IPPROTO_ICMPV6) {
		if (ctl_parse_number(number, 0, 255, &n) < 0)
			return -EINVAL;
	} else if (!q->proto || ctl_parse_number(number, 1, 65535, &n) < 0) {
		return -EINVAL;
	}
	q->number = (uint16_t)n;
	return 0;
}

/* As rules and the kernel carry it: a port, or an ICMP type in the upper byte. */
static __be16 rule_port(const struct explain_query *q)
{
	if (q->proto == IPPROTO_ICMP || q->proto == IPPROTO_ICMPV6)
		return htons((uint16_t)(q->number << 8));
	return htons(q->number);
}

/* ---- the answer --------------------------------------------------------------------------------------------------- */

const char *explain_by_name(enum explain_by by)
{
	static const char *const names[] = {
		[EXPLAIN_BY_NOTHING] = "default",
		[EXPLAIN_BY_RULE] = "rule",
		[EXPLAIN_BY_NAME_RULE] = "name-rule",
		[EXPLAIN_BY_DNS_PROXY] = "dns-proxy",
		[EXPLAIN_BY_REFUSAL] = "refused-policy",
		[EXPLAIN_BY_CLASS] = "address-class",
		[EXPLAIN_BY_MODE] = "mode",
	};

	return (size_t)by < ARRAY_SIZE(names) ? names[by] : "unknown";
}

static void from_decision(const struct sluice_decision *d, struct explain_answer *ret)
{
	ret->allowed = d->verdict == SLUICE_ALLOW;
	ret->reason = d->reason;
	ret->rule = d->rule;
	ret->name = d->name;
	if (d->reason == SLUICE_REASON_NEVER_LEAVES)
		ret->by = EXPLAIN_BY_CLASS;
	else if (d->lease)
		ret->by = EXPLAIN_BY_NAME_RULE;
	else
		ret->by = d->precedence > SLUICE_PRECEDENCE_DEFAULT ? EXPLAIN_BY_RULE : EXPLAIN_BY_NOTHING;
	if (ret->by == EXPLAIN_BY_NOTHING)
		ret->rule = 0; /* a row may name the Pass it remembers */
}

const struct image_dest *explain_any_row(const struct image *img, bool ipv4)
{
	static const struct sluice_addr none = {}, mapped = { .b = { [10] = 0xff, [11] = 0xff } };
	const struct sluice_addr *wanted = ipv4 ? &mapped : &none;
	uint32_t bits = ipv4 ? 96 : 0;
	size_t low = 0, high = image_dest_count(img);

	while (low < high) { /* the rows stand by address, then length */
		size_t middle = low + (high - low) / 2;
		const struct image_dest *row = image_dest_at(img, middle);
		int order = addr_compare(&row->addr, wanted);

		if (order == 0 && row->bits == bits)
			return row;
		if (order < 0 || (order == 0 && row->bits < bits))
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* What the rules for any address of a family outside the cluster say. */
static struct sluice_decision decide_any(const struct image *img, const struct explain_query *q, bool ipv4)
{
	const struct image_dest *row = explain_any_row(img, ipv4);
	struct sluice_decision d;
	struct sluice_rule rule;

	decision_init(&d);
	if (row && row->dest.set && image_find_rule(img, row->dest.set, q->proto, rule_port(q), &rule)) {
		decision_take(&d, &rule);
		d.pass = rule.pass;
	}
	return d;
}

/* As decide_by_lease, with the sets that an answer for the name would lease. */
static void decide_by_name(const struct image *img, const struct explain_query *q, const struct image_match *match,
			   struct sluice_decision *d)
{
	struct sluice_decision best = *d;
	struct sluice_rule rule;

	for (uint32_t i = 0; !match->overflow && i < match->nsets; i++) {
		if (!image_find_rule(img, match->sets[i], q->proto, rule_port(q), &rule) ||
		    rule.verdict != SLUICE_ALLOW || decision_passed(&rule, d) || !decision_beats(&rule, &best))
			continue;
		decision_take(&best, &rule);
		/* A set is shared by names of the same ports, each with a rule of its own. */
		best.rule = match->set_rules[i];
		best.lease = 1;
	}
	*d = best;
}

/* An allow of one family is enough. */
static void explain_name(const struct image *img, const struct explain_query *q, struct explain_answer *ret)
{
	struct sluice_decision d = decide_any(img, q, true), v6 = decide_any(img, q, false);
	struct image_match match = {};

	if (image_flags(img) & IMAGE_NAMES) {
		image_match_name(img, q->name, q->name_len, &match);
		decide_by_name(img, q, &match, &d);
		decide_by_name(img, q, &match, &v6);
	}
	/* What is denied by a rule says more than the default. */
	if (d.verdict != SLUICE_ALLOW && (v6.verdict == SLUICE_ALLOW || d.precedence == 0))
		d = v6;
	from_decision(&d, ret);
	if (!(image_flags(img) & IMAGE_NAMES))
		return;
	ret->has_askable = true;
	ret->askable = match.askable;
	ret->ask_only = match.askable && match.nsets == 0 && !(image_flags(img) & IMAGE_ASK_ANY);
}

void explain_by_rules(const struct image *img, const struct explain_query *q, struct explain_answer *ret)
{
	*ret = (struct explain_answer){ .reason = SLUICE_REASON_POLICY_DEFAULT };
	if (image_flags(img) & IMAGE_REFUSED)
		ret->by = EXPLAIN_BY_REFUSAL;
	else
		explain_name(img, q, ret);
}

static bool is_dns(const struct image *img, const struct explain_world *world, const struct explain_query *q)
{
	return !world->no_proxy && q->number == 53 && (q->proto == IPPROTO_UDP || q->proto == IPPROTO_TCP) &&
	       (image_flags(img) & IMAGE_NAMES);
}

void explain(const struct image *img, const struct explain_world *world, const struct explain_query *q,
	     struct explain_answer *ret)
{
	struct sluice_lease lease;
	struct sluice_tables tables = { .img = img, .world = world, .lease = &lease };
	struct sluice_query query = { .policy = world->policy,
				      .now = world->now,
				      .remote = q->addr,
				      .generation = world->generation,
				      .port = rule_port(q),
				      .proto = q->proto };
	struct sluice_decision d;

	*ret = (struct explain_answer){ .reason = SLUICE_REASON_POLICY_DEFAULT };
	if (image_flags(img) & IMAGE_REFUSED) {
		ret->by = EXPLAIN_BY_REFUSAL;
		return;
	}
	if (q->is_name) {
		explain_name(img, q, ret);
	} else {
		d = is_dns(img, world, q) ? decide_dns(&tables, &query) : decide(&tables, &query);
		from_decision(&d, ret);
	}
	if (is_dns(img, world, q) && (q->is_name || ret->allowed)) {
		ret->allowed = true;
		ret->reason = SLUICE_REASON_NONE;
		ret->by = EXPLAIN_BY_DNS_PROXY;
		ret->rule = 0;
	}
}

void explain_mode(enum sluice_mode mode, struct explain_answer *ret)
{
	bool open = mode == SLUICE_MODE_OPEN;

	*ret = (struct explain_answer){ .allowed = open,
					.reason = open ? SLUICE_REASON_NONE : SLUICE_REASON_QUARANTINE,
					.by = EXPLAIN_BY_MODE };
}
