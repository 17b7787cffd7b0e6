/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/dnsproxy/fake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/addr_class.h"

static int find_interface(void *context, uint32_t ifindex, struct sluice_if *ret)
{
	struct fake *f = context;

	if (ifindex < 100 || ifindex >= 100 + FAKE_ENDPOINTS || f->links[ifindex - 100].generation == 0)
		return -ENOENT;
	*ret = f->links[ifindex - 100];
	return 0;
}

static int find_asker(void *context, const struct sluice_asker_key *key, struct sluice_asker *ret)
{
	struct fake *f = context;

	if (f->asker.generation == 0 || memcmp(key, &f->asker_key, sizeof(*key)) != 0)
		return -ENOENT;
	*ret = f->asker;
	return 0;
}

static bool in_cluster(void *context, const struct sluice_addr *addr)
{
	struct fake *f = context;

	f->looks++;
	for (uint32_t i = 0; i < f->ncluster; i++)
		if (addr_equal(&f->cluster[i], addr))
			return true;
	return false;
}

static struct sluice_lease *find_lease(struct fake *f, const struct sluice_lease_key *key)
{
	for (uint32_t i = 0; i < f->nleases; i++)
		if (memcmp(&f->leases[i].key, key, sizeof(*key)) == 0)
			return &f->leases[i];
	return NULL;
}

static int get_lease(void *context, const struct sluice_lease_key *key, struct sluice_lease *ret)
{
	struct sluice_lease *lease = find_lease(context, key);
	struct fake *f = context;

	f->looks++;
	if (!lease)
		return -ENOENT;
	*ret = *lease;
	return 0;
}

static int put_lease(void *context, const struct sluice_lease *lease)
{
	struct fake *f = context;
	struct sluice_lease *old = find_lease(f, &lease->key);

	if (!old && f->nleases >= f->max_leases)
		return -E2BIG;
	*(old ? old : &f->leases[f->nleases++]) = *lease;
	f->lease_writes++;
	if (f->on_lease)
		f->on_lease(f);
	return 0;
}

static int delete_lease(void *context, const struct sluice_lease_key *key)
{
	struct sluice_lease *lease = find_lease(context, key);
	struct fake *f = context;

	if (!lease)
		return -ENOENT;
	*lease = f->leases[--f->nleases];
	f->lease_deletes++;
	return 0;
}

static int each_lease(void *context, maps_lease_fn *each, void *each_context)
{
	struct fake *f = context;

	f->walks++;
	for (uint32_t i = 0; i < f->nleases; i++)
		each(&f->leases[i], each_context);
	return 0;
}

static int put_name(void *context, const struct sluice_name *name)
{
	struct fake *f = context;

	for (uint32_t i = 0; i < f->nnames; i++)
		if (f->names[i].id == name->id)
			return 0;
	if (f->nnames >= f->max_names)
		return -E2BIG;
	f->names[f->nnames++] = *name;
	return 0;
}

static void keep(struct fake_packet *p, const uint8_t *msg, size_t len)
{
	p->len = len < sizeof(p->data) ? len : sizeof(p->data);
	memcpy(p->data, msg, p->len);
}

static void reply(void *context, const struct core_asker *to, const uint8_t *msg, size_t len)
{
	struct fake *f = context;

	keep(&f->replies[f->nreplies++ % 8], msg, len);
	f->replied_to = *to;
}

static bool ready_tcp(void *context, const struct proxy_resolver *resolver, uint32_t index, uint32_t endpoint)
{
	struct fake *f = context;

	(void)resolver;
	(void)index;
	(void)endpoint;
	return f->tcp_stands;
}

static int ask(void *context, const struct proxy_resolver *resolver, uint32_t index, bool tcp, uint32_t endpoint,
	       const uint8_t *msg, size_t len, uint32_t *ret_transport)
{
	struct fake *f = context;

	(void)index;
	(void)endpoint;
	if (f->ask_error)
		return f->ask_error;
	keep(&f->asked, msg, len);
	f->asked_of = *resolver;
	f->asked_tcp = tcp;
	f->asked_transport = *ret_transport = f->nasked++ % 7;
	if (f->on_ask)
		f->on_ask(f);
	return 0;
}

static void asked(void *context, uint32_t transport, bool tcp)
{
	struct fake *f = context;

	(void)transport;
	(void)tcp;
	f->nreleased++;
}

static uint16_t next_random(void *context)
{
	struct fake *f = context;

	return f->next_random += 0x3779;
}

static const struct image *policy(void *context, uint64_t id)
{
	struct fake *f = context;

	return id < 4 ? f->images[id] : NULL;
}

void fake_new(struct fake *f, const struct image *img)
{
	const struct core_io io = { .context = f,
				    .reply = reply,
				    .ready_tcp = ready_tcp,
				    .ask = ask,
				    .asked = asked,
				    .random = next_random,
				    .policy = policy };

	memset(f, 0, sizeof(*f));
	f->max_leases = f->max_names = FAKE_LEASES;
	f->settings.name_key[0] = 5;
	f->links[3] = (struct sluice_if){ 3, 77 };
	f->endpoints[3] = (struct sluice_endpoint){ .generation = 77, .ifindex = 103 };
	f->endpoints[3].state = SLUICE_STATE(SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 1, 1);
	f->images[1] = img;
	f->conf = (struct proxy_settings){ .magic = PROXY_SETTINGS_MAGIC,
					   .size = sizeof(f->conf),
					   .max_ttl = 3600,
					   .grace = 5,
					   .query_timeout_ms = 1000,
					   .query_tries = 3,
					   .nresolvers = 1,
					   .nsearch = 2,
					   .search = { "ns.svc.cluster.local", "cluster.local" },
					   .cluster_domain = "cluster.local",
					   .nqtypes = 3,
					   .qtypes = { 1, 28, 33 } };
	f->conf.resolvers[0] =
		(struct proxy_resolver){ .addr = { .b = { [10] = 0xff, [11] = 0xff, 10, 0, 0, 53 } }, .port = 53 };
	f->maps = (struct maps){ .context = f,
				 .find_interface = find_interface,
				 .find_asker = find_asker,
				 .in_cluster = in_cluster,
				 .get_lease = get_lease,
				 .put_lease = put_lease,
				 .delete_lease = delete_lease,
				 .each_lease = each_lease,
				 .put_name = put_name,
				 .lease_use = f->lease_use,
				 .nleases = FAKE_LEASES,
				 .settings = &f->settings,
				 .endpoints = f->endpoints,
				 .nendpoints = FAKE_ENDPOINTS,
				 .stats = &f->stats,
				 .log = (struct sluice_dns_log_head *)&f->log[0],
				 .nrecords = 16 };
	if (core_new(&f->maps, &io, &f->conf, &f->core) < 0)
		abort();
}

void fake_free(struct fake *f)
{
	core_freep(&f->core);
}
