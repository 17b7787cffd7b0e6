/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsproxy/kmaps.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/clock.h"

enum { MAP_SETTINGS, MAP_ENDPOINTS, MAP_LEASE_USE, MAP_STATS, MAP_LOG };

static int find_interface(void *context, uint32_t ifindex, struct sluice_if *ret)
{
	const struct kmaps *k = context;

	return bpf_map_lookup_elem(k->interfaces, &ifindex, ret) < 0 ? -errno : 0;
}

static int find_asker(void *context, const struct sluice_asker_key *key, struct sluice_asker *ret)
{
	const struct kmaps *k = context;

	return bpf_map_lookup_elem(k->askers, key, ret) < 0 ? -errno : 0;
}

/* A look-up that fails for another reason than absence counts as found: what belongs to the cluster opens nothing. */
static bool in_cluster(void *context, const struct sluice_addr *addr)
{
	const struct kmaps *k = context;
	struct sluice_cluster value;

	return bpf_map_lookup_elem(k->cluster, addr, &value) == 0 || errno != ENOENT;
}

static int get_lease(void *context, const struct sluice_lease_key *key, struct sluice_lease *ret)
{
	const struct kmaps *k = context;

	return bpf_map_lookup_elem(k->leases, key, ret) < 0 ? -errno : 0;
}

static int put_lease(void *context, const struct sluice_lease *lease)
{
	const struct kmaps *k = context;

	if (bpf_map_update_elem(k->leases, &lease->key, lease, BPF_ANY) < 0)
		return -errno;
	lines_put(&k->lines, lease, clock_now());
	return 0;
}

static int delete_lease(void *context, const struct sluice_lease_key *key)
{
	const struct kmaps *k = context;

	if (bpf_map_delete_elem(k->leases, key) < 0)
		return -errno;
	lines_clear(&k->lines, key);
	return 0;
}

#define BATCH 256u /* a bucket of the kernel's hash has no more, unless somebody guesses its secret */

struct batch {
	struct sluice_lease_key keys[BATCH];
	struct sluice_lease leases[BATCH];
};

static int each_lease(void *context, maps_lease_fn *each, void *each_context)
{
	const struct kmaps *k = context;
	_cleanup_free_ struct batch *b = calloc(1, sizeof(*b));
	uint32_t cursor, *in = NULL;
	int error = b ? 0 : ENOMEM;

	while (!error) {
		uint32_t count = BATCH;

		error = bpf_map_lookup_batch(k->leases, in, &cursor, b->keys, b->leases, &count, NULL) < 0 ? errno : 0;
		for (uint32_t i = 0; (!error || error == ENOENT) && i < count; i++)
			each(&b->leases[i], each_context);
		in = &cursor;
	}
	return error == ENOENT ? 0 : -error;
}

static int put_name(void *context, const struct sluice_name *name)
{
	const struct kmaps *k = context;

	if (bpf_map_update_elem(k->names, &name->id, name, BPF_NOEXIST) == 0 || errno == EEXIST)
		return 0;
	return -errno;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

struct pin {
	const char *name;
	uint32_t key_size;
	uint32_t value_size;
	bool writable;
};

static int open_pin(const char *pin_path, const struct pin *pin, uint32_t file_flags, int *ret_fd,
		    uint32_t *ret_entries)
{
	LIBBPF_OPTS(bpf_obj_get_opts, opts, .file_flags = file_flags);
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);
	_cleanup_close_ int fd = -1;
	char path[512];
	int n = snprintf(path, sizeof(path), "%s/%s", pin_path, pin->name);

	if (n < 0 || n >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = bpf_obj_get_opts(path, &opts);
	if (fd < 0)
		return -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return -errno;
	if (info.key_size != pin->key_size || info.value_size != pin->value_size || info.max_entries == 0)
		return -EPROTO;
	*ret_entries = info.max_entries;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int open_map(struct kmaps *k, const char *pin_path, const struct pin *pin, int which, uint32_t *ret_entries)
{
	_cleanup_close_ int fd = -1;
	size_t len;
	void *p;
	/* The kernel maps no descriptor that is read-only. It is closed here, and mprotect is not on the call list. */
	int r = open_pin(pin_path, pin, 0, &fd, ret_entries);

	if (r < 0)
		return r;
	len = ((size_t)*ret_entries * pin->value_size + 4095) & ~(size_t)4095;
	p = mmap(NULL, len, pin->writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	k->mapped[which] = p;
	k->mapped_len[which] = len;
	return 0;
}

static int map_arrays(const char *pin_path, struct kmaps *k)
{
	static const struct pin pins[] = {
		[MAP_SETTINGS] = { SLUICE_MAP_SETTINGS, 4, sizeof(struct sluice_settings), false },
		[MAP_ENDPOINTS] = { SLUICE_MAP_ENDPOINTS, 4, sizeof(struct sluice_endpoint), false },
		[MAP_LEASE_USE] = { SLUICE_MAP_LEASE_USE, 4, 8, false },
		[MAP_STATS] = { SLUICE_MAP_DNS_STATS, 4, sizeof(struct sluice_dns_stats), true },
		[MAP_LOG] = { SLUICE_MAP_DNS_LOG, 4, sizeof(struct sluice_dns_record), true },
	};
	uint32_t entries[ARRAY_SIZE(pins)];

	for (int i = 0; i < (int)ARRAY_SIZE(pins); i++) {
		int r = open_map(k, pin_path, &pins[i], i, &entries[i]);

		if (r < 0)
			return r;
	}
	k->maps.settings = k->mapped[MAP_SETTINGS];
	k->maps.endpoints = k->mapped[MAP_ENDPOINTS];
	k->maps.nendpoints = entries[MAP_ENDPOINTS];
	k->maps.lease_use = k->mapped[MAP_LEASE_USE];
	k->maps.stats = k->mapped[MAP_STATS];
	k->maps.log = k->mapped[MAP_LOG];
	k->maps.nrecords = entries[MAP_LOG] - 1;
	switch (__atomic_load_n(&k->maps.settings->abi, __ATOMIC_ACQUIRE)) {
	case SLUICE_ABI_VERSION:
		return 0;
	case 0: /* the agent writes it last */
		return -EAGAIN;
	}
	return -EPROTO;
}

static int open_tables(const char *pin_path, struct kmaps *k)
{
	const struct {
		struct pin pin;
		int *fd;
	} pins[] = {
		{ { SLUICE_MAP_IFINDEXES, 4, sizeof(struct sluice_if), false }, &k->interfaces },
		{ { SLUICE_MAP_DNS_ASKERS, sizeof(struct sluice_asker_key), sizeof(struct sluice_asker), false },
		  &k->askers },
		{ { SLUICE_MAP_CLUSTER, sizeof(struct sluice_addr), sizeof(struct sluice_cluster), false },
		  &k->cluster },
		{ { SLUICE_MAP_LEASES, sizeof(struct sluice_lease_key), sizeof(struct sluice_lease), true },
		  &k->leases },
		{ { SLUICE_MAP_LEASE_LINES, 4, sizeof(struct sluice_lease_line), true }, &k->lines.fd },
		{ { SLUICE_MAP_NAMES, 8, sizeof(struct sluice_name), true }, &k->names },
		{ { SLUICE_MAP_DNS_SOCKETS, 4, 8, true }, &k->sockets },
	};

	for (size_t i = 0; i < ARRAY_SIZE(pins); i++) {
		uint32_t entries;
		int r = open_pin(pin_path, &pins[i].pin, pins[i].pin.writable ? 0 : BPF_F_RDONLY, pins[i].fd, &entries);

		if (r < 0)
			return r;
		if (pins[i].fd == &k->leases)
			k->maps.nleases = entries;
	}
	return 0;
}

int kmaps_open(const char *pin_path, struct kmaps *k)
{
	char path[512];
	int r = map_arrays(pin_path, k);

	if (r == 0)
		r = open_tables(pin_path, k);
	k->lines.settings = k->maps.settings;
	if (r == 0) {
		snprintf(path, sizeof(path), "%s/%s", pin_path, SLUICE_MAP_SETTINGS);
		k->pin = open(path, O_PATH | O_CLOEXEC);
		r = k->pin < 0 ? -errno : 0;
	}
	if (r < 0) {
		kmaps_close(k);
		return r;
	}
	k->maps.context = k;
	k->maps.find_interface = find_interface;
	k->maps.find_asker = find_asker;
	k->maps.in_cluster = in_cluster;
	k->maps.get_lease = get_lease;
	k->maps.put_lease = put_lease;
	k->maps.delete_lease = delete_lease;
	k->maps.each_lease = each_lease;
	k->maps.put_name = put_name;
	return 0;
}

void kmaps_close(struct kmaps *k)
{
	closep(&k->interfaces);
	closep(&k->askers);
	closep(&k->cluster);
	closep(&k->leases);
	closep(&k->lines.fd);
	closep(&k->names);
	closep(&k->sockets);
	closep(&k->pin);
	for (size_t i = 0; i < ARRAY_SIZE(k->mapped); i++) {
		if (k->mapped[i])
			munmap(k->mapped[i], k->mapped_len[i]);
		k->mapped[i] = NULL;
	}
}

int kmaps_enter_sockets(struct kmaps *k, const int fds[SLUICE_SOCK_MAX])
{
	for (uint32_t slot = 0; slot < SLUICE_SOCK_MAX; slot++) {
		uint64_t fd = (uint64_t)fds[slot];

		if (fds[slot] < 0)
			continue;
		if (bpf_map_update_elem(k->sockets, &slot, &fd, BPF_ANY) < 0)
			return -errno;
	}
	closep(&k->sockets);
	return 0;
}

bool kmaps_pinned(const struct kmaps *k)
{
	struct stat st;

	return fstat(k->pin, &st) == 0 && st.st_nlink > 0;
}
