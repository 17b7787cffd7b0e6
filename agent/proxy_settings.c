/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/proxy_settings.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "agent/proxy_filter.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"

#define RESOLV_CONF	"/etc/resolv.conf"
#define RESOLV_CONF_MAX 65536

/* The cluster domain is a search domain like those of the node: `ndots:5` leads every client there first. */
static void add_cluster_domain(struct proxy_settings *dns)
{
	if (!dns->cluster_domain[0] || dns->nsearch >= PROXY_MAX_SEARCH)
		return;
	for (uint32_t i = 0; i < dns->nsearch; i++) {
		if (strcmp(dns->search[i], dns->cluster_domain) == 0)
			return;
	}
	strcpy(dns->search[dns->nsearch++], dns->cluster_domain);
}

static bool is_there(int dir, const struct proxy_settings *wanted)
{
	_cleanup_free_ char *text = NULL;
	size_t len;

	return file_read(dir, PROXY_SETTINGS_FILE, sizeof(*wanted), &text, &len) == 0 && len == sizeof(*wanted) &&
	       memcmp(text, wanted, len) == 0;
}

static void add_cluster_resolvers(struct proxy_settings *dns, const struct proxy_resolver *cluster, size_t count)
{
	if (dns->nresolvers || !count)
		return;
	memcpy(dns->resolvers, cluster, count * sizeof(*cluster));
	dns->nresolvers = (uint32_t)count;
}

int proxy_settings_write(struct kernel *k, int dir, const struct config *config, const struct proxy_resolver *cluster,
			 size_t ncluster, struct proxy_settings *ret)
{
	_cleanup_free_ char *text = NULL;
	struct proxy_settings wanted;
	size_t len;
	int r;

	memcpy(&wanted, &config->dns, sizeof(wanted)); /* with its padding, since it is compared and written as bytes */
	add_cluster_resolvers(&wanted, cluster, ncluster);
	if (file_read(AT_FDCWD, RESOLV_CONF, RESOLV_CONF_MAX, &text, &len) == 0)
		config_fill_resolv(&wanted, text);
	add_cluster_domain(&wanted);
	memcpy(ret, &wanted, sizeof(wanted));
	/* New ones before the proxy hears of them, old ones go once it has had the time. */
	r = proxy_filter_add(k, &wanted);
	if (r == -E2BIG) {
		proxy_filter_trim(k, &wanted);
		r = proxy_filter_add(k, &wanted);
	}
	if (r < 0)
		log_error("the DNS proxy's egress filter: %s", strerror(-r));
	if (is_there(dir, &wanted)) {
		proxy_filter_trim(k, &wanted);
		return 0;
	}
	if (wanted.nresolvers == 0)
		log_warning("no trusted resolver: dns.resolvers is empty and " RESOLV_CONF
			    " names none; queries of endpoints with name rules are answered SERVFAIL");
	r = file_replace(dir, PROXY_SETTINGS_FILE, &wanted, sizeof(wanted), 0644);
	if (r == 0)
		__atomic_fetch_add(&k->settings->proxy_generation, 1, __ATOMIC_RELEASE);
	else
		log_error("the proxy's settings: %s", strerror(-r));
	return r;
}
