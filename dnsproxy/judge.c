/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsproxy/judge.h"

#include <string.h>

#include "bpf/addr_class.h"

/* NXDOMAIN says that nothing exists below either (RFC 8020), so it is no answer where an allowed name lies there. */
static bool nothing_below(const struct image *img, const struct wire_name *name)
{
	return !image_name_below(img, name->text, name->len);
}

/*
 * Under a search domain the denial is NXDOMAIN whatever the setting: musl's resolver ends its search list at an empty
 * answer or REFUSED, and the name without the suffix would never be asked.
 */
static void choose_response(const struct image *img, const struct proxy_settings *s, const struct wire_name *name,
			    struct judgement *j)
{
	int search = conf_search_above(s, name);

	j->response = JUDGE_NODATA;
	j->zone = 0;
	if (search >= 0 && nothing_below(img, name)) {
		j->response = JUDGE_NXDOMAIN;
		j->zone = name->len - (size_t)search;
		return;
	}
	switch ((enum proxy_deny_response)s->deny_response) {
	case PROXY_DENY_EMPTY:
		break;
	case PROXY_DENY_NXDOMAIN:
		if (name->len > 0 && nothing_below(img, name)) {
			j->response = JUDGE_NXDOMAIN;
			j->zone = wire_parent(name);
		}
		break;
	case PROXY_DENY_REFUSED:
		j->response = JUDGE_REFUSED;
		break;
	}
}

/*
 * A name that may be asked and opens nothing. Where no address rule admits anything outside, its answer could only be
 * empty, so it is, and no label of it leaves (hazard 17): but for names under the search domains, where the answer may
 * tell of the cluster and musl needs the authority's NXDOMAIN; those zones are the operator's, no pod's.
 */
static enum judge_verdict judge_ask_only(const struct image *img, const struct proxy_settings *s,
					 const struct wire_name *name, uint16_t qtype)
{
	switch ((enum proxy_ask_only)s->ask_only) {
	case PROXY_ASK_FORWARD:
		return conf_asks_type(s, qtype) ? JUDGE_WHOLE : JUDGE_EMPTY;
	case PROXY_ASK_DENY:
		return JUDGE_DENIED;
	case PROXY_ASK_FILTER:
		break;
	}
	if ((qtype != WIRE_A && qtype != WIRE_AAAA) || !conf_asks_type(s, qtype))
		return JUDGE_EMPTY;
	if (image_opens_outside(img) || conf_in_cluster_domain(s, name) || conf_search_above(s, name) >= 0)
		return JUDGE_FILTER;
	return JUDGE_EMPTY;
}

void judge_name(const struct image *img, const struct proxy_settings *s, const struct wire_name *name, uint16_t qtype,
		struct judgement *ret)
{
	struct judgement j = { .verdict = JUDGE_DENIED };
	uint32_t flags = image_flags(img);

	image_match_name(img, name->text, name->len, &j.match);
	j.open = (flags & IMAGE_ASK_ANY) && !(flags & IMAGE_REFUSED);
	if (j.match.overflow)
		j.verdict = JUDGE_BROKEN;
	else if ((flags & IMAGE_REFUSED) || !j.match.askable)
		j.verdict = JUDGE_DENIED;
	else if (j.match.nsets > 0 || j.open)
		j.verdict = !conf_asks_type(s, qtype) ? JUDGE_EMPTY : j.match.nsets > 0 ? JUDGE_ALLOWED : JUDGE_WHOLE;
	else
		j.verdict = judge_ask_only(img, s, name, qtype);
	if (j.verdict == JUDGE_DENIED)
		choose_response(img, s, name, &j);
	*ret = j;
}

/* First rule of the set; rules are sorted by it. */
static size_t first_rule(const struct image *img, uint32_t set)
{
	size_t low = 0, high = image_rule_count(img);

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (image_rule_at(img, mid)->set < set)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool set_allows(const struct image *img, uint32_t set)
{
	size_t count = image_rule_count(img);

	for (size_t i = first_rule(img, set); i < count && image_rule_at(img, i)->set == set; i++)
		if (image_rule_at(img, i)->rule.verdict == SLUICE_ALLOW)
			return true;
	return false;
}

bool judge_rule_allows(const struct image *img, const struct sluice_addr *addr, bool in_cluster)
{
	struct sluice_dest dest;
	uint32_t set;

	if (addr_never_leaves(addr) || !image_find_dest(img, addr, &dest))
		return false;
	set = in_cluster ? dest.cluster_set : dest.set;
	return set != 0 && set_allows(img, set);
}

/* RFC 1918, RFC 6598, RFC 2544, RFC 4193: what dns.denyPrivateAnswers adds. */
static bool is_private(const struct sluice_addr *a)
{
	const __u8 *b = a->b + 12;

	if (!addr_is_v4(a))
		return (a->b[0] & 0xfe) == 0xfc;
	return b[0] == 10 || (b[0] == 172 && (b[1] & 0xf0) == 16) || (b[0] == 192 && b[1] == 168) ||
	       (b[0] == 100 && (b[1] & 0xc0) == 64) || (b[0] == 198 && (b[1] & 0xfe) == 18);
}

bool judge_may_open(const struct proxy_settings *s, const struct sluice_addr *addr, bool in_cluster,
		    bool in_cluster_domain)
{
	struct sluice_addr v4;

	if (in_cluster || in_cluster_domain || addr_no_name_opens(addr))
		return false;
	if (!(s->flags & PROXY_DENY_PRIVATE_ANSWERS))
		return true;
	return !is_private(addr) && !(addr_embedded_v4(addr, &v4) && is_private(&v4));
}
