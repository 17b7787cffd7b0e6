/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsproxy/conf.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "bpf/addr_class.h"

static bool is_text(const char *s, size_t size)
{
	return memchr(s, '\0', size) != NULL && strlen(s) <= WIRE_NAME_TEXT;
}

static bool counts_ok(const struct proxy_settings *s)
{
	return s->nresolvers <= PROXY_MAX_RESOLVERS && s->nsearch <= PROXY_MAX_SEARCH &&
	       s->nqtypes <= ARRAY_SIZE(s->qtypes);
}

static bool numbers_ok(const struct proxy_settings *s)
{
	return s->deny_response <= PROXY_DENY_REFUSED && s->ask_only <= PROXY_ASK_DENY && s->query_timeout_ms >= 1 &&
	       s->query_timeout_ms <= 60000 && s->query_tries >= 1 && s->query_tries <= 16 &&
	       s->min_ttl <= s->max_ttl && s->max_ttl <= INT32_MAX && s->grace <= INT32_MAX;
}

int conf_read(const void *data, size_t len, struct proxy_settings *ret)
{
	const struct proxy_settings *s = ret;

	if (len != sizeof(*ret))
		return -EBADMSG;
	memcpy(ret, data, len);
	if (s->magic != PROXY_SETTINGS_MAGIC || s->size != sizeof(*s) || !counts_ok(s) || !numbers_ok(s))
		return -EBADMSG;
	for (uint32_t i = 0; i < s->nresolvers; i++)
		if (s->resolvers[i].port == 0)
			return -EBADMSG;
	for (uint32_t i = 0; i < s->nsearch; i++)
		if (!is_text(s->search[i], sizeof(s->search[i])))
			return -EBADMSG;
	return is_text(s->cluster_domain, sizeof(s->cluster_domain)) ? 0 : -EBADMSG;
}

bool conf_asks_type(const struct proxy_settings *s, uint16_t qtype)
{
	for (uint32_t i = 0; i < s->nqtypes; i++)
		if (s->qtypes[i] == qtype)
			return true;
	return false;
}

int conf_search_above(const struct proxy_settings *s, const struct wire_name *name)
{
	int best = -1;

	for (uint32_t i = 0; i < s->nsearch; i++) {
		size_t len = strlen(s->search[i]);

		if (len > 0 && len < name->len && (int)len > best && wire_name_within(name, s->search[i], len))
			best = (int)len;
	}
	return best;
}

bool conf_in_cluster_domain(const struct proxy_settings *s, const struct wire_name *name)
{
	return s->cluster_domain[0] && wire_name_within(name, s->cluster_domain, strlen(s->cluster_domain));
}

int conf_find_resolver(const struct proxy_settings *s, const struct sluice_addr *addr)
{
	for (uint32_t i = 0; i < s->nresolvers; i++)
		if (addr_equal(&s->resolvers[i].addr, addr))
			return (int)i;
	return -1;
}
