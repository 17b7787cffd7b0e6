/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/proxy_filter.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "proxy.skel.h"
#include "veth.skel.h"

static int prepare(const struct kernel *k, struct proxy_bpf *skel)
{
	char path[PATH_MAX], askers[PATH_MAX];
	int r = bpf_map__reuse_fd(skel->maps.ifindexes, k->ifindexes);

	if (r == 0)
		r = bpf_map__reuse_fd(skel->maps.totals, k->totals);
	if (r < 0)
		return r;
	if (snprintf(path, sizeof(path), "%s/" SLUICE_MAP_PROXY_PEERS, k->pin_path) >= (int)sizeof(path) ||
	    snprintf(askers, sizeof(askers), "%s/" SLUICE_MAP_DNS_ASKERS, k->pin_path) >= (int)sizeof(askers))
		return -ENAMETOOLONG;
	r = bpf_map__set_pin_path(skel->maps.dns_askers, askers);
	return r < 0 ? r : bpf_map__set_pin_path(skel->maps.proxy_peers, path);
}

static int pin_all(const struct kernel *k, const struct proxy_bpf *skel)
{
	int r = kernel_pin_program(k, bpf_program__fd(skel->progs.proxy_egress), SLUICE_PROG_PROXY_EGRESS);

	if (r == 0)
		r = kernel_pin_program(k, bpf_program__fd(skel->progs.proxy_sendmsg4), SLUICE_PROG_PROXY_SENDMSG4);
	if (r == 0)
		r = kernel_pin_program(k, bpf_program__fd(skel->progs.proxy_sendmsg6), SLUICE_PROG_PROXY_SENDMSG6);
	return r;
}

static void destroy(struct proxy_bpf **skel)
{
	proxy_bpf__destroy(*skel);
}

int proxy_filter_open(struct kernel *k)
{
	CLEANUP(destroy) struct proxy_bpf *skel = proxy_bpf__open();
	int r;

	if (!skel)
		return -errno;
	r = prepare(k, skel);
	if (r == 0)
		r = proxy_bpf__load(skel);
	if (r == 0)
		r = pin_all(k, skel);
	if (r < 0)
		return r;
	k->proxy_peers = fcntl(bpf_map__fd(skel->maps.proxy_peers), F_DUPFD_CLOEXEC, 3);
	return k->proxy_peers < 0 ? -errno : 0;
}

static struct sluice_proxy_peer peer_of(const struct proxy_resolver *r)
{
	return (struct sluice_proxy_peer){ .addr = r->addr, .port = r->port };
}

int proxy_filter_add(const struct kernel *k, const struct proxy_settings *s)
{
	const uint32_t one = 1;

	if (k->proxy_peers < 0)
		return 0;
	for (uint32_t i = 0; i < s->nresolvers; i++) {
		struct sluice_proxy_peer peer = peer_of(&s->resolvers[i]);

		if (bpf_map_update_elem(k->proxy_peers, &peer, &one, BPF_ANY) < 0)
			return -errno;
	}
	return 0;
}

static bool is_wanted(const struct proxy_settings *s, const struct sluice_proxy_peer *peer)
{
	for (uint32_t i = 0; i < s->nresolvers; i++) {
		struct sluice_proxy_peer wanted = peer_of(&s->resolvers[i]);

		if (memcmp(&wanted, peer, sizeof(wanted)) == 0)
			return true;
	}
	return false;
}

void proxy_filter_trim(const struct kernel *k, const struct proxy_settings *s)
{
	struct sluice_proxy_peer peers[SLUICE_MAX_PROXY_PEERS];
	uint32_t n = 0;

	if (k->proxy_peers < 0)
		return;
	while (n < ARRAY_SIZE(peers) && bpf_map_get_next_key(k->proxy_peers, n ? &peers[n - 1] : NULL, &peers[n]) == 0)
		n++;
	for (uint32_t i = 0; i < n; i++)
		if (!is_wanted(s, &peers[i]))
			bpf_map_delete_elem(k->proxy_peers, &peers[i]);
}
