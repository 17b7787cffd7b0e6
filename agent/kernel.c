/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * A start adopts: libbpf reuses every map that is pinned under its name, the programs are loaded anew over them, and
 * attach.c exchanges the program of each link. So an upgraded agent brings new programs over the old state, and at no
 * moment is an interface without one.
 *
 * `settings` tells whether the maps were ever completed: its `abi` is written last.
 */
#include "agent/kernel.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "agent/attach.h"
#include "agent/cgroup_programs.h"
#include "agent/proxy_filter.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "policy/pages.h"
#include "veth.skel.h"

static size_t page_align(size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (n + page - 1) / page * page;
}

static size_t array_bytes(uint32_t count, size_t size)
{
	return page_align((size_t)count * ((size + 7) & ~(size_t)7));
}

static void unmap(const void *p, uint32_t count, size_t size)
{
	if (p)
		munmap((void *)p, array_bytes(count, size));
}

void kernel_freep(struct kernel **k)
{
	struct kernel *o = *k;

	if (!o)
		return;
	unmap(o->settings, 1, sizeof(*o->settings));
	unmap(o->lease_use, SLUICE_LEASE_USE_WORDS, sizeof(*o->lease_use));
	unmap(o->endpoints, o->nendpoints, sizeof(*o->endpoints));
	unmap(o->runtime, o->nendpoints, sizeof(*o->runtime));
	unmap(o->dns_log, o->ndns_log, sizeof(*o->dns_log));
	unmap(o->dns_stats, 1, sizeof(*o->dns_stats));
	cgroup_programs_close(o);
	veth_bpf__destroy(o->skel);
	closep(&o->proxy_peers);
	closep(&o->lock);
	free(o->pin_path);
	free(o);
	*k = NULL;
}

/* ---- the pin folder ---------------------------------------------------------------------------------------------- */

static int make_dir(const char *path)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST) {
		int r = -errno;

		log_error("%s: cannot be made: %s", path, strerror(-r));
		return r;
	}
	return 0;
}

static int make_subdir(const char *path, const char *name)
{
	char full[PATH_MAX];

	if (snprintf(full, sizeof(full), "%s/%s", path, name) >= (int)sizeof(full))
		return -ENAMETOOLONG;
	return make_dir(full);
}

/* A folder of its own on a BPF file system, held by one agent. */
static int lock_folder(const char *path, int *ret)
{
	_cleanup_close_ int fd = -1;
	struct statfs fs;
	int r = make_dir(path);

	if (r < 0)
		return r;
	if (statfs(path, &fs) < 0 || fs.f_type != BPF_FS_MAGIC) {
		log_error("bpf.pinPath %s is not on a BPF file system: mount -t bpf bpf /sys/fs/bpf", path);
		return -EINVAL;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		r = -errno;
		log_error("%s: %s", path, r == -EWOULDBLOCK ? "another sluiced holds it" : strerror(-r));
		return r == -EWOULDBLOCK ? -EBUSY : r;
	}
	r = make_subdir(path, "links");
	if (r == 0)
		r = make_subdir(path, "programs");
	if (r == 0)
		*ret = TAKE_FD(fd);
	return r;
}

bool kernel_is_ours(const struct kernel *k)
{
	struct stat held, there;

	return fstat(k->lock, &held) == 0 && stat(k->pin_path, &there) == 0 && held.st_dev == there.st_dev &&
	       held.st_ino == there.st_ino;
}

/* ---- maps -------------------------------------------------------------------------------------------------------- */

struct sizing {
	const char *map;
	size_t limit; /* offset in struct config_limits */
};

/* Of pages: a policy for each endpoint, the one that replaces it, and as many again that linger. */
static uint32_t dest_pages(const struct config_limits *limits)
{
	return pages_most(4ull * limits->endpoints, limits->dests);
}

static const struct sizing sizes[] = {
	{ SLUICE_MAP_IFINDEXES, offsetof(struct config_limits, endpoints) },
	{ SLUICE_MAP_ENDPOINTS, offsetof(struct config_limits, endpoints) },
	{ SLUICE_MAP_RUNTIME, offsetof(struct config_limits, endpoints) },
	{ SLUICE_MAP_LABELS, offsetof(struct config_limits, endpoints) },
	{ SLUICE_MAP_RULES, offsetof(struct config_limits, rules) },
	{ SLUICE_MAP_LEASES, offsetof(struct config_limits, leases) },
	{ SLUICE_MAP_NAMES, offsetof(struct config_limits, names) },
	{ SLUICE_MAP_CLUSTER, offsetof(struct config_limits, cluster) },
	{ SLUICE_MAP_FLOWS, offsetof(struct config_limits, flows) },
	{ SLUICE_MAP_FRAGS, offsetof(struct config_limits, frags) },
	{ SLUICE_MAP_EVENTS, offsetof(struct config_limits, events) },
};

/* Of lines: as many as leases, and the next power of two. */
static uint32_t lease_lines(const struct config_limits *limits)
{
	uint32_t lines = 1;

	while (lines < limits->leases)
		lines *= 2;
	return lines;
}

static uint32_t configured_size(const struct config_limits *limits, const char *map)
{
	if (strcmp(map, SLUICE_MAP_DESTS) == 0)
		return dest_pages(limits);
	if (strcmp(map, SLUICE_MAP_LEASE_LINES) == 0)
		return lease_lines(limits);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		if (strcmp(sizes[i].map, map) == 0)
			return *(const uint32_t *)((const char *)limits + sizes[i].limit);
	}
	return 0;
}

/* The size the pinned map was made with; 0 when there is none. */
static uint32_t pinned_size(const char *path)
{
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);
	_cleanup_close_ int fd = bpf_obj_get(path);

	return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 ? info.max_entries : 0;
}

static int prepare_map(struct bpf_map *map, const char *pin_path, const struct config_limits *limits)
{
	const char *name = bpf_map__name(map);
	uint32_t wanted = configured_size(limits, name), there;
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", pin_path, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	there = pinned_size(path);
	if (there && wanted && there != wanted)
		log_warning("map %s has %u entries and keeps them; limits of %u are obeyed after `bpfctl cleanup`",
			    name, there, wanted);
	if (there || wanted)
		bpf_map__set_max_entries(map, there ? there : wanted);
	return bpf_map__set_pin_path(map, path);
}

/* Scratch memory and hints of the programs are theirs alone; everything else outlives them. */
static int prepare_maps(struct kernel *k, const struct config_limits *limits)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, k->skel->obj)
	{
		bool own =
			map == k->skel->maps.work || map == k->skel->maps.endpoint_hints || bpf_map__is_internal(map);
		int r = own ? 0 : prepare_map(map, k->pin_path, limits);

		if (r < 0)
			return r;
	}
	return 0;
}

static void *map_shared(const struct bpf_map *map, uint32_t count, size_t size, int prot)
{
	void *p = mmap(NULL, array_bytes(count, size), prot, MAP_SHARED, bpf_map__fd(map), 0);

	return p == MAP_FAILED ? NULL : p;
}

static int map_all(struct kernel *k)
{
	const int rw = PROT_READ | PROT_WRITE;

	k->nendpoints = bpf_map__max_entries(k->skel->maps.endpoints);
	k->ndns_log = bpf_map__max_entries(k->skel->maps.dns_log);
	k->settings = map_shared(k->skel->maps.settings, 1, sizeof(*k->settings), rw);
	k->endpoints = map_shared(k->skel->maps.endpoints, k->nendpoints, sizeof(*k->endpoints), rw);
	k->runtime = map_shared(k->skel->maps.runtime, k->nendpoints, sizeof(*k->runtime), rw);
	k->lease_use = map_shared(k->skel->maps.lease_use, SLUICE_LEASE_USE_WORDS, sizeof(*k->lease_use), rw);
	k->cluster_quiet =
		map_shared(k->skel->maps.cluster_quiet, SLUICE_CLUSTER_QUIET_WORDS, sizeof(*k->cluster_quiet), rw);
	k->dns_log = map_shared(k->skel->maps.dns_log, k->ndns_log, sizeof(*k->dns_log), PROT_READ);
	k->dns_stats = map_shared(k->skel->maps.dns_stats, 1, sizeof(*k->dns_stats), PROT_READ);
	if (!k->settings || !k->endpoints || !k->runtime || !k->lease_use || !k->cluster_quiet || !k->dns_log ||
	    !k->dns_stats)
		return -errno;
	/* What is said there is said anew: bpf/cluster_quiet.h. */
	memset(k->cluster_quiet, 0, SLUICE_CLUSTER_QUIET_WORDS * sizeof(*k->cluster_quiet));
	k->ifindexes = bpf_map__fd(k->skel->maps.ifindexes);
	k->labels = bpf_map__fd(k->skel->maps.labels);
	k->dests = bpf_map__fd(k->skel->maps.dests);
	k->rules = bpf_map__fd(k->skel->maps.rules);
	k->leases = bpf_map__fd(k->skel->maps.leases);
	k->lines = (struct lines){ bpf_map__fd(k->skel->maps.lease_lines), k->settings };
	k->names = bpf_map__fd(k->skel->maps.names);
	k->cluster = bpf_map__fd(k->skel->maps.cluster);
	k->flows = bpf_map__fd(k->skel->maps.flows);
	k->events = bpf_map__fd(k->skel->maps.events);
	k->totals = bpf_map__fd(k->skel->maps.totals);
	return 0;
}

/* `abi` last: a start that was cut off before it counts as none. */
static int init_settings(struct kernel *k)
{
	struct sluice_settings *s = k->settings;

	s->lease_lines = bpf_map__max_entries(k->skel->maps.lease_lines);
	if (s->abi == SLUICE_ABI_VERSION) {
		k->adopted = true;
		return 0;
	}
	if (getrandom(s->name_key, sizeof(s->name_key), 0) != sizeof(s->name_key))
		return -EIO;
	s->next_policy = 1;
	s->next_generation = 1;
	s->proxy_generation = 1;
	__atomic_store_n(&s->abi, SLUICE_ABI_VERSION, __ATOMIC_RELEASE);
	return 0;
}

/* Before libbpf compares shapes: its message for another version's maps would not tell what to do. */
static int check_version(const char *pin_path)
{
	struct sluice_settings settings;
	uint32_t zero = 0;
	char path[PATH_MAX];
	_cleanup_close_ int fd = -1;
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);

	if (snprintf(path, sizeof(path), "%s/" SLUICE_MAP_SETTINGS, pin_path) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = bpf_obj_get(path);
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0) {
		int r = -errno;

		log_error("%s: %s", path, strerror(-r));
		return r;
	}
	if (bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && info.value_size == sizeof(settings) &&
	    bpf_map_lookup_elem(fd, &zero, &settings) == 0 && (settings.abi == 0 || settings.abi == SLUICE_ABI_VERSION))
		return 0;
	log_error("%s holds the maps of another version, which stay in force; `bpfctl cleanup` takes them away",
		  pin_path);
	return -EPROTO;
}

/* ---- programs ---------------------------------------------------------------------------------------------------- */

/* Replaces the pin by rename, so that whoever opens it finds one. */
static int pin(const struct kernel *k, int fd, const char *name)
{
	char path[PATH_MAX], tmp[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", k->pin_path, name) >= (int)sizeof(path) ||
	    snprintf(tmp, sizeof(tmp), "%s/%s_new", k->pin_path, name) >= (int)sizeof(tmp))
		return -ENAMETOOLONG;
	unlink(tmp);
	if (bpf_obj_pin(fd, tmp) < 0)
		return -errno;
	return rename(tmp, path) < 0 ? -errno : 0;
}

int kernel_pin_program(const struct kernel *k, int fd, const char *name)
{
	char path[NAME_MAX];

	if (snprintf(path, sizeof(path), "programs/%s", name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	return pin(k, fd, path);
}

/*
 * Ids by our own descriptors: to open an object by its id takes SYS_ADMIN. Of a map and of a program the type comes first and
 * the id second.
 */
static uint32_t object_id(int fd, uint32_t *ret_type)
{
	union {
		struct bpf_map_info map;
		struct bpf_prog_info program;
	} info = {};
	uint32_t len = sizeof(info);

	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return 0;
	*ret_type = info.map.type;
	return info.map.id;
}

/* 1: `name` led elsewhere, and leads to the object again. */
static int check_pin(const struct kernel *k, int fd, const char *name)
{
	_cleanup_close_ int there = -1;
	uint32_t held_type = 0, type = 0;
	char path[PATH_MAX];
	int r;

	if (snprintf(path, sizeof(path), "%s/%s", k->pin_path, name) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	there = bpf_obj_get(path);
	if (object_id(there, &type) == object_id(fd, &held_type) && type == held_type)
		return 0;
	r = pin(k, fd, name);
	if (r < 0)
		log_error("%s: not what this agent put there, and cannot be put back: %s", path, strerror(-r));
	else
		log_warning("%s: was not what this agent put there; it is put back", path);
	return r < 0 ? r : 1;
}

unsigned int kernel_check_pins(const struct kernel *k)
{
	unsigned int wrong = 0;
	struct bpf_map *map;

	if (!kernel_is_ours(k))
		return 0;
	bpf_object__for_each_map(map, k->skel->obj)
	{
		if (bpf_map__pin_path(map))
			wrong += check_pin(k, bpf_map__fd(map), bpf_map__name(map)) != 0;
	}
	wrong += check_pin(k, k->from_pod, "programs/from_pod") != 0;
	wrong += check_pin(k, k->to_pod, "programs/to_pod") != 0;
	return wrong;
}

static int libbpf_log(enum libbpf_print_level level, const char *format, va_list args)
{
	char line[2048];
	size_t len;

	if (level == LIBBPF_DEBUG)
		return 0;
	vsnprintf(line, sizeof(line), format, args);
	len = strcspn(line, "\n");
	line[len] = '\0';
	if (len)
		log_warning("%s", line);
	return 0;
}

static int load(struct kernel *k, const struct config *config)
{
	int r;

	libbpf_set_print(libbpf_log);
	k->skel = veth_bpf__open();
	if (!k->skel)
		return -errno;
	r = prepare_maps(k, &config->limits);
	if (r == 0)
		r = veth_bpf__load(k->skel);
	if (r < 0) {
		log_error("the kernel programs cannot be loaded: %s", strerror(-r));
		return r;
	}
	k->from_pod = bpf_program__fd(k->skel->progs.from_pod);
	k->to_pod = bpf_program__fd(k->skel->progs.to_pod);
	return 0;
}

/* ---- a second copy ----------------------------------------------------------------------------------------------- */

struct kernel_copy {
	struct veth_bpf *skel;
};

void kernel_copy_freep(struct kernel_copy **c)
{
	if (*c)
		veth_bpf__destroy((*c)->skel);
	free(*c);
	*c = NULL;
}

static int reuse_maps(const struct kernel *k, struct veth_bpf *skel)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, skel->obj)
	{
		const struct bpf_map *there = bpf_object__find_map_by_name(k->skel->obj, bpf_map__name(map));
		int r;

		if (bpf_map__is_internal(map) || !there)
			continue;
		r = bpf_map__reuse_fd(map, bpf_map__fd(there));
		if (r < 0)
			return r;
	}
	return 0;
}

int kernel_copy_open(const struct kernel *k, struct kernel_copy **ret)
{
	CLEANUP(kernel_copy_freep) struct kernel_copy *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->skel = veth_bpf__open();
	if (!c->skel)
		return -errno;
	r = reuse_maps(k, c->skel);
	if (r == 0)
		r = veth_bpf__load(c->skel);
	if (r == 0)
		*ret = TAKE_PTR(c);
	return r;
}

int kernel_copy_from_pod(const struct kernel_copy *c)
{
	return bpf_program__fd(c->skel->progs.from_pod);
}

int kernel_copy_to_pod(const struct kernel_copy *c)
{
	return bpf_program__fd(c->skel->progs.to_pod);
}

int kernel_open(const struct config *config, struct kernel **ret)
{
	CLEANUP(kernel_freep) struct kernel *k = calloc(1, sizeof(*k));
	int r;

	if (!k)
		return -ENOMEM;
	k->lock = k->proxy_peers = -1;
	k->max_dests = config->limits.dests;
	k->pin_path = strdup(config->pin_path);
	if (!k->pin_path)
		return -ENOMEM;
	r = lock_folder(k->pin_path, &k->lock);
	if (r == 0)
		r = check_version(k->pin_path);
	if (r == 0)
		r = load(k, config);
	if (r == 0)
		r = map_all(k);
	if (r == 0)
		r = init_settings(k);
	if (r == 0)
		r = kernel_pin_program(k, k->from_pod, "from_pod");
	if (r == 0)
		r = kernel_pin_program(k, k->to_pod, "to_pod");
	/* Sockets of other programs are not in its way; the node is served without it too. */
	if (r == 0 && proxy_filter_open(k) < 0)
		log_warning("the DNS proxy's egress filter cannot be loaded: it runs without");
	if (r == 0 && cgroup_programs_open(k) < 0)
		log_warning("no cgroup endpoint can be enforced");
	if (r == 0)
		r = attach_choose(config->attach, k->from_pod, &k->attach);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(k);
	return 0;
}

static uint32_t share(uint32_t wanted, uint64_t room, size_t endpoints)
{
	uint64_t part = room / (endpoints ? endpoints : 1);

	return part < wanted ? (uint32_t)part : wanted;
}

void kernel_configure(struct kernel *k, const struct config *config, size_t endpoints)
{
	uint64_t table = bpf_map__max_entries(k->skel->maps.flows);
	struct sluice_settings *s = k->settings;

	s->flow_quota = share(config->limits.flow_quota, table - table / 4, endpoints);
	s->tombstone_quota = share(config->limits.tombstone_quota, table / 4, endpoints);
	s->dns_rate = config->limits.dns_rate;
	s->dns_burst = config->limits.dns_burst;
	s->event_rate = config->limits.event_rate;
	s->event_burst = config->limits.event_burst;
	s->reject_rate = config->limits.reject_rate;
	s->reject_burst = config->limits.reject_burst;
	s->flags = (config->audit ? SLUICE_SETTING_AUDIT : 0) |
		   (config->flows_allowed ? SLUICE_SETTING_LOG_ALLOWED : 0) |
		   (config->reject ? SLUICE_SETTING_REJECT : 0);
}

uint64_t kernel_total(const struct kernel *k, uint32_t index)
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ uint64_t *values = cpus > 0 ? calloc((size_t)cpus, sizeof(*values)) : NULL;
	uint64_t sum = 0;

	if (!values || bpf_map_lookup_elem(k->totals, &index, values) < 0)
		return 0;
	for (int i = 0; i < cpus; i++)
		sum += values[i];
	return sum;
}
