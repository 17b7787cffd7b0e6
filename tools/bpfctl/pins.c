/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bpfctl/pins.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "tools/bpfctl/ctl.h"

struct mapping {
	void *data;
	size_t len;
};

struct pins {
	char *path;
	int fd[PIN_MAX];	   /* -1: not opened yet */
	uint32_t entries[PIN_MAX]; /* max_entries */
	struct mapping map[PIN_MAX];
};

static const struct pin_shape shapes[PIN_MAX] = {
	[PIN_SETTINGS] = { SLUICE_MAP_SETTINGS, "settings every program reads", PIN_KIND_SHARED, 4,
			   sizeof(struct sluice_settings) },
	[PIN_IFINDEXES] = { SLUICE_MAP_IFINDEXES, "interface to endpoint", PIN_KIND_HASH, 4, sizeof(struct sluice_if) },
	[PIN_ENDPOINTS] = { SLUICE_MAP_ENDPOINTS, "endpoints with mode, policy and addresses", PIN_KIND_SHARED, 4,
			    sizeof(struct sluice_endpoint) },
	[PIN_RUNTIME] = { SLUICE_MAP_RUNTIME, "counters and quotas of each endpoint", PIN_KIND_SHARED, 4,
			  sizeof(struct sluice_runtime) },
	[PIN_LABELS] = { SLUICE_MAP_LABELS, "what people call each endpoint", PIN_KIND_ARRAY, 4,
			 sizeof(struct sluice_label) },
	[PIN_DESTS] = { SLUICE_MAP_DESTS, "destinations of each policy, in pages of intervals", PIN_KIND_HASH, 8,
			sizeof(struct sluice_dest_page) },
	[PIN_RULES] = { SLUICE_MAP_RULES, "ports of each rule set", PIN_KIND_TRIE, sizeof(struct sluice_rule_key),
			sizeof(struct sluice_rule) },
	[PIN_LEASES] = { SLUICE_MAP_LEASES, "addresses that DNS answers opened", PIN_KIND_HASH,
			 sizeof(struct sluice_lease_key), sizeof(struct sluice_lease) },
	[PIN_LEASE_LINES] = { SLUICE_MAP_LEASE_LINES, "a short way to leases of one name", PIN_KIND_ARRAY, 4,
			      sizeof(struct sluice_lease_line) },
	[PIN_LEASE_USE] = { SLUICE_MAP_LEASE_USE, "when leases were last of use to a flow", PIN_KIND_SHARED, 4, 8 },
	[PIN_NAMES] = { SLUICE_MAP_NAMES, "text of the names in leases and flows", PIN_KIND_HASH, 8,
			sizeof(struct sluice_name) },
	[PIN_CLUSTER] = { SLUICE_MAP_CLUSTER, "addresses of the cluster", PIN_KIND_HASH, sizeof(struct sluice_addr),
			  sizeof(struct sluice_cluster) },
	[PIN_CLUSTER_QUIET] = { SLUICE_MAP_CLUSTER_QUIET, "where no address of the cluster is", PIN_KIND_SHARED, 4, 8 },
	[PIN_FLOWS] = { SLUICE_MAP_FLOWS, "live flows and remembered denials", PIN_KIND_HASH,
			sizeof(struct sluice_flow_key), sizeof(struct sluice_flow) },
	[PIN_FRAGS] = { SLUICE_MAP_FRAGS, "admitted first fragments", PIN_KIND_HASH, sizeof(struct sluice_frag_key),
			sizeof(struct sluice_frag) },
	[PIN_EVENTS] = { SLUICE_MAP_EVENTS, "ring buffer of flow events (bytes)", PIN_KIND_RING, 0, 0 },
	[PIN_TOTALS] = { SLUICE_MAP_TOTALS, "node-wide counters", PIN_KIND_PERCPU, 4, 8 },
	[PIN_DNS_SOCKETS] = { SLUICE_MAP_DNS_SOCKETS, "the DNS proxy's sockets", PIN_KIND_SOCKETS, 4, 0 },
	[PIN_PROXY_PEERS] = { SLUICE_MAP_PROXY_PEERS, "resolvers that the DNS proxy's cgroup may send to",
			      PIN_KIND_HASH, sizeof(struct sluice_proxy_peer), 4 },
	[PIN_DNS_LOG] = { SLUICE_MAP_DNS_LOG, "ring of DNS decisions", PIN_KIND_SHARED, 4,
			  sizeof(struct sluice_dns_record) },
	[PIN_DNS_STATS] = { SLUICE_MAP_DNS_STATS, "counters of the DNS proxy", PIN_KIND_SHARED, 4,
			    sizeof(struct sluice_dns_stats) },
};

const struct pin_shape *pin_shape(enum pin pin)
{
	return &shapes[pin];
}

enum pin pin_find(const char *name)
{
	for (enum pin i = 0; i < PIN_MAX; i++) {
		if (!strcmp(shapes[i].name, name))
			return i;
	}
	return PIN_MAX;
}

static bool type_fits(enum pin_kind kind, uint32_t type, uint32_t flags)
{
	switch (kind) {
	case PIN_KIND_ARRAY:
		return type == BPF_MAP_TYPE_ARRAY;
	case PIN_KIND_SHARED:
		return type == BPF_MAP_TYPE_ARRAY && (flags & BPF_F_MMAPABLE);
	case PIN_KIND_PERCPU:
		return type == BPF_MAP_TYPE_PERCPU_ARRAY;
	case PIN_KIND_HASH:
		return type == BPF_MAP_TYPE_HASH || type == BPF_MAP_TYPE_LRU_HASH;
	case PIN_KIND_TRIE:
		return type == BPF_MAP_TYPE_LPM_TRIE;
	case PIN_KIND_RING:
		return type == BPF_MAP_TYPE_RINGBUF;
	case PIN_KIND_SOCKETS:
		return type == BPF_MAP_TYPE_SOCKMAP;
	}
	return false;
}

static bool shape_fits(const struct pin_shape *shape, const struct bpf_map_info *info)
{
	if (!type_fits(shape->kind, info->type, info->map_flags) || info->max_entries == 0)
		return false;
	if (shape->kind == PIN_KIND_SOCKETS)
		return info->key_size == shape->key_size; /* the value is a socket; both 4 and 8 bytes are its cookie */
	return info->key_size == shape->key_size && info->value_size == shape->value_size;
}

/*
 * Read-only where the kernel lets us: mmap takes VM_SHARED off a mapping of a read-only file, and BPF maps then refuse
 * it (EINVAL). What we map we map with PROT_READ.
 */
static uint32_t open_flags(enum pin_kind kind)
{
	return kind == PIN_KIND_SHARED || kind == PIN_KIND_RING ? 0 : BPF_F_RDONLY;
}

static int open_map(struct pins *pins, enum pin pin)
{
	LIBBPF_OPTS(bpf_obj_get_opts, opts, .file_flags = open_flags(shapes[pin].kind));
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);
	char path[PATH_MAX];
	_cleanup_close_ int fd = -1;

	if (snprintf(path, sizeof(path), "%s/%s", pins->path, shapes[pin].name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = bpf_obj_get_opts(path, &opts);
	if (fd < 0)
		return -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return -errno;
	if (!shape_fits(&shapes[pin], &info))
		return -EPROTO;
	pins->entries[pin] = info.max_entries;
	pins->fd[pin] = TAKE_FD(fd);
	return 0;
}

int pins_fd(struct pins *pins, enum pin pin, uint32_t *ret_entries)
{
	if (pins->fd[pin] < 0) {
		int r = open_map(pins, pin);

		if (r < 0)
			return r;
	}
	if (ret_entries)
		*ret_entries = pins->entries[pin];
	return pins->fd[pin];
}

/* The kernel rounds the elements of an array up to 8 bytes; abi.h's shared structs are multiples of it already. */
static const void *map_shared(struct pins *pins, enum pin pin, uint32_t *count)
{
	struct mapping *m = &pins->map[pin];
	int fd = pins_fd(pins, pin, count);

	if (fd < 0)
		return NULL;
	if (!m->data) {
		size_t page = (size_t)sysconf(_SC_PAGESIZE);
		size_t len = ((size_t)pins->entries[pin] * shapes[pin].value_size + page - 1) / page * page;
		void *data = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);

		if (data == MAP_FAILED)
			return NULL;
		m->data = data;
		m->len = len;
	}
	return m->data;
}

void pins_freep(struct pins **pins)
{
	struct pins *p = *pins;

	if (!p)
		return;
	for (enum pin i = 0; i < PIN_MAX; i++) {
		if (p->map[i].data)
			munmap(p->map[i].data, p->map[i].len);
		closep(&p->fd[i]);
	}
	free(p->path);
	free(p);
	*pins = NULL;
}

int pins_open(const char *path, struct pins **ret)
{
	__attribute__((cleanup(pins_freep))) struct pins *pins = calloc(1, sizeof(*pins));
	const struct sluice_settings *settings;
	int r;

	if (!pins)
		return -ENOMEM;
	for (enum pin i = 0; i < PIN_MAX; i++)
		pins->fd[i] = -1;
	pins->path = strdup(path);
	if (!pins->path)
		return -ENOMEM;
	r = pins_fd(pins, PIN_SETTINGS, NULL);
	if (r < 0)
		return r;
	settings = map_shared(pins, PIN_SETTINGS, NULL);
	if (!settings)
		return -errno;
	if (settings->abi != SLUICE_ABI_VERSION)
		return -EPROTO;
	*ret = TAKE_PTR(pins);
	return 0;
}

struct pins *pins_require(const char *path)
{
	struct pins *pins = NULL;
	int r = pins_open(path, &pins);

	if (r == -ENOENT)
		ctl_error("no maps are pinned under %s: sluiced has not run here, or has been cleaned up", path);
	else if (r == -EPERM || r == -EACCES)
		ctl_error("may not read the maps under %s: this needs root (CAP_BPF)", path);
	else if (r == -EPROTO)
		ctl_error("the maps under %s have another version's layout; this bpfctl reads layout %d", path,
			  SLUICE_ABI_VERSION);
	else if (r < 0)
		ctl_error("cannot open the maps under %s: %s", path, strerror(-r));
	return pins;
}

const struct sluice_settings *pins_settings(const struct pins *pins)
{
	return pins->map[PIN_SETTINGS].data;
}

const struct sluice_endpoint *pins_endpoints(struct pins *pins, uint32_t *count)
{
	return map_shared(pins, PIN_ENDPOINTS, count);
}

const struct sluice_runtime *pins_runtime(struct pins *pins, uint32_t *count)
{
	return map_shared(pins, PIN_RUNTIME, count);
}

const struct sluice_dns_record *pins_dns_log(struct pins *pins, uint32_t *count)
{
	return map_shared(pins, PIN_DNS_LOG, count);
}

const struct sluice_dns_stats *pins_dns_stats(struct pins *pins)
{
	return map_shared(pins, PIN_DNS_STATS, NULL);
}

int pins_lookup(struct pins *pins, enum pin pin, const void *key, void *value)
{
	int fd = pins_fd(pins, pin, NULL);

	if (fd < 0)
		return fd;
	return bpf_map_lookup_elem(fd, key, value) < 0 ? -errno : 0;
}

/*
 * Bounded by twice the map's size: when the key we stand on is deleted, the kernel starts over, and under churn the
 * walk would never end.
 */
int pins_each(struct pins *pins, enum pin pin, pins_each_fn *each, void *context)
{
	uint32_t entries = 0;
	int fd = pins_fd(pins, pin, &entries);
	_cleanup_free_ char *keys = calloc(2, shapes[pin].key_size + 1);
	_cleanup_free_ char *value = calloc(1, shapes[pin].value_size + 8);
	char *next = keys, *key = NULL;

	if (fd < 0)
		return fd;
	if (!keys || !value)
		return -ENOMEM;
	for (uint64_t i = 0; i < 2 * (uint64_t)entries; i++) {
		int r;

		if (bpf_map_get_next_key(fd, key, next) < 0)
			return errno == ENOENT ? 0 : -errno;
		r = bpf_map_lookup_elem(fd, next, value) < 0 ? 0 : each(next, value, context);
		if (r)
			return r;
		key = next;
		next = keys + (next == keys ? shapes[pin].key_size : 0);
	}
	return 0;
}

static int count_one(const void *key, const void *value, void *context)
{
	(void)key;
	(void)value;
	++*(int64_t *)context;
	return 0;
}

static int64_t used_endpoints(struct pins *pins)
{
	uint32_t count = 0;
	const struct sluice_endpoint *ep = pins_endpoints(pins, &count);
	int64_t used = 0;

	if (!ep)
		return -ENOENT;
	for (uint32_t i = 0; i < count; i++)
		used += ep[i].generation != 0;
	return used;
}

int64_t pins_used(struct pins *pins, enum pin pin)
{
	int64_t used = 0;
	int r;

	if (pin == PIN_ENDPOINTS)
		return used_endpoints(pins);
	if (shapes[pin].kind != PIN_KIND_HASH && shapes[pin].kind != PIN_KIND_TRIE)
		return -ENOTSUP;
	r = pins_each(pins, pin, count_one, &used);
	return r < 0 ? r : used;
}

int pins_totals(struct pins *pins, __u64 *ret)
{
	int cpus = libbpf_num_possible_cpus();
	int fd = pins_fd(pins, PIN_TOTALS, NULL);
	_cleanup_free_ uint64_t *values = NULL;

	if (fd < 0)
		return fd;
	if (cpus < 0)
		return cpus;
	values = calloc((size_t)cpus, sizeof(*values));
	if (!values)
		return -ENOMEM;
	for (uint32_t i = 0; i < SLUICE_TOTAL_MAX; i++) {
		ret[i] = 0;
		if (bpf_map_lookup_elem(fd, &i, values) < 0)
			continue; /* an older agent's map is shorter */
		for (int cpu = 0; cpu < cpus; cpu++)
			ret[i] += values[cpu];
	}
	return 0;
}

bool pins_name(struct pins *pins, uint64_t id, char *buf)
{
	struct sluice_name name;

	if (id == 0 || pins_lookup(pins, PIN_NAMES, &id, &name) < 0 || name.id != id)
		return false;
	memcpy(buf, name.text, name.len);
	buf[name.len] = '\0';
	return true;
}

/*
 * A link outlives its interface with ifindex 0. linux/bpf.h of 6.1 has no `tcx` member in struct bpf_link_info; it
 * lies where `xdp.ifindex` does: first in the union.
 */
static int link_attached(const struct pins *pins, uint32_t ifindex, const char *direction)
{
	struct bpf_link_info info = {};
	uint32_t len = sizeof(info);
	char path[PATH_MAX];
	_cleanup_close_ int fd = -1;

	if (snprintf(path, sizeof(path), "%s/links/%u-%s", pins->path, ifindex, direction) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return -errno;
	return info.xdp.ifindex == ifindex;
}

static bool filter_at(uint32_t ifindex, enum bpf_tc_attach_point point, uint32_t handle)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = point);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = handle, .priority = SLUICE_TC_PRIORITY);
	libbpf_print_fn_t print = libbpf_set_print(NULL); /* that there is none is an answer */
	int r = bpf_tc_query(&hook, &opts);

	libbpf_set_print(print);
	return r == 0 && opts.prog_id != 0;
}

/* Where there is no link there may be a clsact filter, known by where it sits. */
static bool filter_attached(uint32_t ifindex, enum bpf_tc_attach_point point)
{
	return filter_at(ifindex, point, SLUICE_TC_HANDLE) || filter_at(ifindex, point, SLUICE_TC_HANDLE_2);
}

static int interface_attached(const struct pins *pins, uint32_t ifindex)
{
	int from = link_attached(pins, ifindex, "from");
	int to = link_attached(pins, ifindex, "to");

	if (from < 0 || to < 0)
		return from < 0 ? from : to;
	return (from || filter_attached(ifindex, BPF_TC_INGRESS)) && (to || filter_attached(ifindex, BPF_TC_EGRESS));
}

/* The enforcing one of a cgroup's links. It outlives its cgroup with id 0. */
static int cgroup_attached(const struct pins *pins, uint64_t id)
{
	struct bpf_link_info info = {};
	uint32_t len = sizeof(info);
	char path[PATH_MAX], name[64];
	_cleanup_close_ int fd = -1;

	snprintf(name, sizeof(name), SLUICE_CGROUP_LINK, (unsigned long long)id, "egress");
	if (snprintf(path, sizeof(path), "%s/links/%s", pins->path, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return -errno;
	return info.cgroup.cgroup_id == id;
}

int pins_endpoint_attached(const struct pins *pins, const struct sluice_endpoint *ep)
{
	return ep->cgroup ? cgroup_attached(pins, ep->cgroup) : interface_attached(pins, ep->ifindex);
}

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static bool link_is_on_cgroup(const char *path)
{
	struct bpf_link_info info = {};
	uint32_t len = sizeof(info);
	_cleanup_close_ int fd = bpf_obj_get(path);

	return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && info.cgroup.cgroup_id != 0;
}

bool pins_proxy_confined(const struct pins *pins)
{
	static const char last[] = "-" SLUICE_PROG_PROXY_EGRESS;
	__attribute__((cleanup(closedirp))) DIR *dir = NULL;
	char path[PATH_MAX];
	struct dirent *entry;

	if (snprintf(path, sizeof(path), "%s/links", pins->path) < (int)sizeof(path))
		dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		size_t len = strlen(entry->d_name);

		if (strncmp(entry->d_name, "proxy-", 6) == 0 && len > strlen(last) &&
		    strcmp(entry->d_name + len - strlen(last), last) == 0 &&
		    snprintf(path, sizeof(path), "%s/links/%s", pins->path, entry->d_name) < (int)sizeof(path) &&
		    link_is_on_cgroup(path))
			return true;
	}
	return false;
}

static bool fresh(uint64_t heartbeat, uint64_t now)
{
	return heartbeat != 0 && (heartbeat > now || now - heartbeat < PINS_ALIVE_NSEC);
}

bool pins_agent_alive(const struct pins *pins, uint64_t now)
{
	return fresh(pins_settings(pins)->agent_heartbeat, now);
}

bool pins_proxy_alive(struct pins *pins, uint64_t now)
{
	const struct sluice_dns_stats *stats = pins_dns_stats(pins);

	return stats && fresh(stats->heartbeat, now);
}
