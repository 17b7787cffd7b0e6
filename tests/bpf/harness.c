/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "bpf/cluster_quiet.h"
#include "policy/array.h"
#include "policy/pages.h"
#include "tests/bpf/harness.h"

const uint8_t HOST_MAC[6] = { 2, 0, 0, 0, 0, 1 };
const uint8_t POD_MAC[6] = { 2, 0, 0, 0, 0, 2 };

size_t verdicts_wanted(size_t usual)
{
	const char *given = getenv("SLUICE_VERDICTS");

	if (getenv("SLUICE_UNDER_EMULATION"))
		return usual / 10;
	return given ? strtoull(given, NULL, 10) : usual;
}

/* ---- set-up ------------------------------------------------------------------------------------------------------ */

static int make_namespaces(void)
{
	if (unshare(CLONE_NEWNET | CLONE_NEWNS))
		return -errno;
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return -errno;
	return system("ip link set lo up && ip link add sluice-h address 02:00:00:00:00:01 type veth"
		      " peer name sluice-p address 02:00:00:00:00:02 && ip link set sluice-h up && ip link set "
		      "sluice-p up")
		       ? -EIO
		       : 0;
}

static int load_programs(struct harness *h, uint32_t flows)
{
	int err;

	h->skel = veth_bpf__open();
	if (!h->skel)
		return -errno;
	bpf_map__set_max_entries(h->skel->maps.endpoints, 16);
	bpf_map__set_max_entries(h->skel->maps.runtime, 16);
	bpf_map__set_max_entries(h->skel->maps.flows, flows);
	bpf_map__set_max_entries(h->skel->maps.dns_log, 16);
	err = veth_bpf__load(h->skel);
	return err;
}

static void *map_values(struct bpf_map *map, size_t size)
{
	size_t len = bpf_map__max_entries(map) * ((size + 7) & ~7ul);
	void *p = mmap(NULL, (len + 4095) & ~4095ul, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	return p == MAP_FAILED ? NULL : p;
}

static int take_event(void *ctx, void *data, size_t size)
{
	struct harness *h = ctx;

	assert_int_equal(size, sizeof(h->last_event));
	memcpy(&h->last_event, data, sizeof(h->last_event));
	return 0;
}

int harness_open_sized(void **state, uint32_t flows)
{
	struct harness *h = calloc(1, sizeof(*h));

	if (!h || make_namespaces() || load_programs(h, flows))
		return -1;
	h->endpoints = map_values(h->skel->maps.endpoints, sizeof(*h->endpoints));
	h->runtime = map_values(h->skel->maps.runtime, sizeof(*h->runtime));
	h->settings = map_values(h->skel->maps.settings, sizeof(*h->settings));
	h->quiet = map_values(h->skel->maps.cluster_quiet, sizeof(*h->quiet));
	h->lines = (struct lines){ bpf_map__fd(h->skel->maps.lease_lines), h->settings };
	h->ring = ring_buffer__new(bpf_map__fd(h->skel->maps.events), take_event, h, NULL);
	h->host_ifindex = (int)if_nametoindex("sluice-h");
	h->pod_ifindex = (int)if_nametoindex("sluice-p");
	*state = h;
	return h->endpoints && h->runtime && h->settings && h->quiet && h->ring && h->host_ifindex && h->pod_ifindex
		       ? 0
		       : -1;
}

int harness_open(void **state)
{
	return harness_open_sized(state, 4096);
}

static int attach(struct bpf_program *prog, int ifindex, enum bpf_tc_attach_point point)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = point);
	LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = bpf_program__fd(prog), .handle = SLUICE_TC_HANDLE,
		    .priority = SLUICE_TC_PRIORITY);

	return bpf_tc_attach(&hook, &opts);
}

static int attach_programs(struct harness *h)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = h->host_ifindex, .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS);

	return bpf_tc_hook_create(&hook) ?: attach(h->skel->progs.from_pod, h->host_ifindex, BPF_TC_INGRESS) ?:
	       attach(h->skel->progs.to_pod, h->host_ifindex, BPF_TC_EGRESS);
}

/*
 * rp_filter: what is handed over arrives for addresses that are not this host's. addrgenmode: the pod's stack would
 * look for duplicates of its link-local address while a test counts frames.
 */
static const char MAKE_POD[] =
	"set -e\n"
	"ip netns add pod\n"
	"ip link set sluice-p netns pod\n"
	"for key in net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.sluice-h.rp_filter=0; do sysctl -qw $key; done\n"
	"ip addr add " NODE4 "/32 dev sluice-h\n"
	"ip addr add " NODE6 "/128 dev sluice-h nodad\n"
	"ip neigh replace " POD4 " lladdr 02:00:00:00:00:02 dev sluice-h\n"
	"ip neigh replace " POD6 " lladdr 02:00:00:00:00:02 dev sluice-h\n"
	"ip route add " POD4 " dev sluice-h\n"
	"ip route add " POD6 " dev sluice-h\n"
	"for family in -4 -6; do\n"
	"	ip $family rule add pref 5 fwmark 0x1000/0x1000 lookup 2053\n"
	"	ip $family route add local default dev lo table 2053\n"
	"done\n"
	"ip -n pod link set lo up\n"
	"ip -n pod link set sluice-p addrgenmode none\n"
	"ip -n pod link set sluice-p up\n"
	"ip -n pod addr add " POD4 "/32 dev sluice-p\n"
	"ip -n pod addr add " POD6 "/128 dev sluice-p nodad\n"
	"ip -n pod neigh replace " NODE4 " lladdr 02:00:00:00:00:01 dev sluice-p\n"
	"ip -n pod neigh replace " NODE6 " lladdr 02:00:00:00:00:01 dev sluice-p\n"
	"ip -n pod route add default via " NODE4 " dev sluice-p onlink\n"
	"ip -n pod -6 route add " NODE6 " dev sluice-p\n"
	"ip -n pod -6 route add default via " NODE6 " dev sluice-p\n";

static int make_pod(struct harness *h)
{
	if (mount("tmpfs", "/run", "tmpfs", 0, NULL))
		return -errno;
	if (system(MAKE_POD))
		return -EIO;
	h->node_ns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	h->pod_ns = open("/run/netns/pod", O_RDONLY | O_CLOEXEC);
	return h->node_ns < 0 || h->pod_ns < 0 ? -errno : 0;
}

int harness_open_node_sized(void **state, uint32_t flows)
{
	return harness_open_sized(state, flows) ?: make_pod(*state) ?: attach_programs(*state);
}

int harness_open_node(void **state)
{
	return harness_open_node_sized(state, 4096);
}

int pod_socket(struct harness *h, int domain, int type, int protocol)
{
	int fd;

	assert_int_equal(setns(h->pod_ns, CLONE_NEWNET), 0);
	fd = socket(domain, type | SOCK_CLOEXEC, protocol);
	assert_int_equal(setns(h->node_ns, CLONE_NEWNET), 0);
	assert_true(fd >= 0);
	return fd;
}

int harness_close(void **state)
{
	struct harness *h = *state;

	ring_buffer__free(h->ring);
	veth_bpf__destroy(h->skel);
	free(h->dests);
	free(h);
	return 0;
}

static void clear_map(struct bpf_map *map)
{
	uint8_t key[64];

	while (bpf_map_get_next_key(bpf_map__fd(map), NULL, key) == 0)
		bpf_map_delete_elem(bpf_map__fd(map), key);
}

int harness_reset(void **state)
{
	struct harness *h = *state;
	struct sluice_endpoint *ep = &h->endpoints[TEST_ENDPOINT];
	struct sluice_if link = { TEST_ENDPOINT, TEST_GENERATION };
	uint32_t ifindex = (uint32_t)h->host_ifindex;

	clear_map(h->skel->maps.ifindexes);
	clear_map(h->skel->maps.dests);
	free(h->dests);
	h->dests = NULL;
	h->ndests = 0;
	h->hold_dests = false;
	h->changed = true;
	clear_map(h->skel->maps.rules);
	clear_map(h->skel->maps.leases);
	clear_map(h->skel->maps.cluster);
	memset(h->quiet, 0, SLUICE_CLUSTER_QUIET_WORDS * sizeof(*h->quiet));
	clear_map(h->skel->maps.flows);
	clear_map(h->skel->maps.frags);
	memset(&h->runtime[TEST_ENDPOINT], 0, sizeof(h->runtime[0]));
	memset(h->settings, 0, sizeof(*h->settings));
	h->settings->abi = SLUICE_ABI_VERSION;
	/* Another secret: lines of the test before are none. */
	h->settings->name_key[0] = ++h->secret;
	h->settings->lease_lines = bpf_map__max_entries(h->skel->maps.lease_lines);
	h->settings->flow_quota = 1000;
	h->settings->tombstone_quota = 1000;
	memset(ep, 0, sizeof(*ep));
	ep->generation = TEST_GENERATION;
	ep->ifindex = ifindex;
	ep->naddrs = 2;
	if (addr_parse(POD4, &ep->addrs[0]) || addr_parse(POD6, &ep->addrs[1]))
		return -1;
	set_state(h, SLUICE_MODE_ENFORCE, 0, 1);
	drain_events(h, NULL);
	return bpf_map_update_elem(bpf_map__fd(h->skel->maps.ifindexes), &ifindex, &link, BPF_ANY);
}

void set_state(struct harness *h, enum sluice_mode mode, uint64_t flags, uint16_t epoch)
{
	h->endpoints[TEST_ENDPOINT].state = SLUICE_STATE(mode, flags, epoch, TEST_POLICY);
}

/* ---- tables ------------------------------------------------------------------------------------------------------ */

static void parse_prefix(const char *text, struct sluice_prefix *ret)
{
	if (strchr(text, '/')) {
		assert_int_equal(prefix_parse(text, ret), PREFIX_OK);
		return;
	}
	assert_int_equal(addr_parse(text, &ret->addr), 0);
	ret->bits = 128;
}

struct harness_dest {
	uint64_t policy;
	struct image_dest dest;
};

static int compare_dests(const void *a, const void *b)
{
	const struct image_dest *x = a, *y = b;

	return addr_compare(&x->addr, &y->addr) ?: (x->bits > y->bits) - (x->bits < y->bits);
}

void commit_dests(struct harness *h, uint64_t policy)
{
	_cleanup_free_ struct image_dest *dests = calloc(h->ndests + 1, sizeof(*dests));
	CLEANUP(pages_clear) struct pages pages = {};
	const uint64_t roots[] = { SLUICE_DEST_KEY(policy, SLUICE_DEST_ROOT4),
				   SLUICE_DEST_KEY(policy, SLUICE_DEST_ROOT6) };
	int fd = bpf_map__fd(h->skel->maps.dests);
	size_t count = 0, unique = 0;

	assert_non_null(dests);
	for (size_t i = 0; i < h->ndests; i++) {
		if (h->dests[i].policy == policy)
			dests[count++] = h->dests[i].dest;
	}
	qsort(dests, count, sizeof(*dests), compare_dests);
	for (size_t i = 0; i < count; i++) {
		if (i == 0 || compare_dests(&dests[i], &dests[i - 1]))
			dests[unique++] = dests[i];
	}
	assert_int_equal(pages_build(dests, unique, policy, &pages), 0);
	h->changed = true;
	/* What says nothing has no page. */
	for (size_t i = 0; i < ARRAY_SIZE(roots); i++)
		bpf_map_delete_elem(fd, &roots[i]);
	for (size_t i = 0; i < pages.count; i++)
		assert_int_equal(bpf_map_update_elem(fd, &pages.items[i].key, &pages.items[i], BPF_ANY), 0);
}

static struct harness_dest *find_dest(struct harness *h, uint64_t policy, const struct image_dest *dest)
{
	/* Among thousands that would take long; commit_dests keeps one. */
	for (size_t i = 0; !h->hold_dests && i < h->ndests; i++) {
		if (h->dests[i].policy == policy && compare_dests(&h->dests[i].dest, dest) == 0)
			return &h->dests[i];
	}
	return array_push(&h->dests, &h->ndests, sizeof(*h->dests));
}

void add_dest(struct harness *h, uint64_t policy, const char *prefix, uint32_t set, uint32_t cluster_set)
{
	struct image_dest dest = { .dest = { .set = set, .cluster_set = cluster_set } };
	struct harness_dest *slot;
	struct sluice_prefix p;

	parse_prefix(prefix, &p);
	dest.addr = p.addr;
	dest.bits = p.bits;
	slot = find_dest(h, policy, &dest);
	assert_non_null(slot);
	*slot = (struct harness_dest){ .policy = policy, .dest = dest };
	if (!h->hold_dests)
		commit_dests(h, policy);
}

void add_rule(struct harness *h, uint64_t policy, uint32_t set, uint8_t proto, uint16_t port, uint8_t port_bits,
	      struct sluice_rule rule)
{
	struct sluice_rule_key key = {
		.prefixlen = SLUICE_RULE_FIXED_BITS + port_bits,
		.policy_hi = (uint32_t)(policy >> 32),
		.policy_lo = (uint32_t)policy,
		.set = set,
		.proto = proto,
		.port = htons(port),
	};

	h->changed = true;
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(h->skel->maps.rules), &key, &rule, BPF_ANY), 0);
}

/* One set for each prefix: the set's id is its hash, which is unique enough for a test's handful. */
static void add_peer(struct harness *h, const char *prefix, uint8_t proto, uint16_t port, struct sluice_rule rule)
{
	static const uint8_t all[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP, IPPROTO_ICMP, IPPROTO_ICMPV6 };
	uint32_t set = 5381;

	for (const char *c = prefix; *c; c++)
		set = set * 33 + (uint8_t)*c;
	set = 1 + set % SLUICE_DEST_MAX_SET;
	add_dest(h, TEST_POLICY, prefix, set, set);
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (proto == 0 || proto == all[i])
			add_rule(h, TEST_POLICY, set, all[i], port, port ? 16 : 0, rule);
	}
}

void allow(struct harness *h, const char *prefix, uint8_t proto, uint16_t port)
{
	add_peer(h, prefix, proto, port,
		 (struct sluice_rule){ .precedence = SLUICE_PRECEDENCE_ALLOW, .rule = 1, .verdict = SLUICE_ALLOW });
}

void deny(struct harness *h, const char *prefix, uint8_t proto, uint16_t port)
{
	add_peer(h, prefix, proto, port,
		 (struct sluice_rule){ .precedence = SLUICE_PRECEDENCE_DENY, .rule = 2, .verdict = SLUICE_DENY });
}

void add_lease(struct harness *h, const char *addr, uint32_t set, uint64_t expires, uint64_t name)
{
	struct sluice_lease lease = { .key.policy = TEST_POLICY };

	h->endpoints[TEST_ENDPOINT].state |= SLUICE_STATE_NAMES;
	assert_int_equal(addr_parse(addr, &lease.key.addr), 0);
	lease.slots[2] = (struct sluice_lease_slot){
		.expires = expires, .name = name, .set = set, .generation = TEST_GENERATION
	};
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(h->skel->maps.leases), &lease.key, &lease, BPF_ANY), 0);
}

void write_lease(struct harness *h, const struct sluice_lease *lease)
{
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(h->skel->maps.leases), &lease->key, lease, BPF_ANY), 0);
	lines_put(&h->lines, lease, clock_now());
}

void set_lease(struct harness *h, const char *addr, uint32_t set_id, bool valid)
{
	struct timespec now;

	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
	add_lease(h, addr, SLUICE_SET_NAME | set_id, valid ? (uint64_t)(now.tv_sec + 3600) * 1000000000u : 1,
		  1000 + set_id);
}

void allow_name(struct harness *h, const char *addr, uint32_t set_id, uint8_t proto, uint16_t port)
{
	add_rule(h, TEST_POLICY, SLUICE_SET_NAME | set_id, proto, port, port ? 16 : 0,
		 (struct sluice_rule){ .precedence = SLUICE_PRECEDENCE_ALLOW, .rule = 3, .verdict = SLUICE_ALLOW });
	set_lease(h, addr, set_id, true);
}

void set_quiet(struct harness *h)
{
	memset(h->quiet, 0xff, SLUICE_CLUSTER_QUIET_WORDS * sizeof(*h->quiet));
	h->changed = true;
}

void add_cluster(struct harness *h, const char *addr, enum sluice_cluster_kind kind, bool local)
{
	struct sluice_cluster c = { .kind = kind, .local = local };
	struct sluice_addr key;
	uint32_t group;

	assert_int_equal(addr_parse(addr, &key), 0);
	group = cluster_group(&key);
	h->quiet[cluster_group_word(group)] &= ~cluster_group_bit(group);
	h->changed = true;
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(h->skel->maps.cluster), &key, &c, BPF_ANY), 0);
}

/* ---- runs -------------------------------------------------------------------------------------------------------- */

void harness_forget(struct harness *h)
{
	size_t cpus = (size_t)libbpf_num_possible_cpus();
	_cleanup_free_ struct sluice_recent *none = calloc(SLUICE_RECENTS * cpus, sizeof(*none));
	uint32_t keys[SLUICE_RECENTS], count = SLUICE_RECENTS;

	assert_non_null(none);
	for (uint32_t i = 0; i < SLUICE_RECENTS; i++)
		keys[i] = i;
	assert_int_equal(bpf_map_update_batch(bpf_map__fd(h->skel->maps.recents), keys, none, &count, NULL), 0);
	h->changed = false;
}

static int run(struct harness *h, struct bpf_program *prog, const struct frame *f, struct __sk_buff *ctx)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->data, .data_size_in = (uint32_t)f->len, .ctx_in = ctx,
		    .ctx_size_in = sizeof(*ctx));

	if (h->changed)
		harness_forget(h);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(prog), &opts), 0);
	return (int)opts.retval;
}

int run_from_pod(struct harness *h, const struct frame *f)
{
	struct __sk_buff ctx = { .ifindex = (uint32_t)h->host_ifindex };

	return run(h, h->skel->progs.from_pod, f, &ctx);
}

int run_from_pod_gso(struct harness *h, const struct frame *f, uint32_t gso_size)
{
	struct __sk_buff ctx = { .ifindex = (uint32_t)h->host_ifindex, .gso_size = gso_size, .gso_segs = 1 };

	return run(h, h->skel->progs.from_pod, f, &ctx);
}

int run_to_pod(struct harness *h, const struct frame *f, int ingress_ifindex)
{
	struct __sk_buff ctx = { .ifindex = (uint32_t)h->host_ifindex, .ingress_ifindex = (uint32_t)ingress_ifindex };

	return run(h, h->skel->progs.to_pod, f, &ctx);
}

uint64_t total(struct harness *h, uint32_t index)
{
	uint64_t values[1024], sum = 0;
	int cpus = libbpf_num_possible_cpus();

	assert_in_range(cpus, 1, (int)ARRAY_SIZE(values));
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(h->skel->maps.totals), &index, values), 0);
	for (int i = 0; i < cpus; i++)
		sum += values[i];
	return sum;
}

unsigned int drain_events(struct harness *h, struct sluice_event *ret_last)
{
	int count = ring_buffer__consume(h->ring);

	assert_true(count >= 0);
	if (ret_last && count)
		*ret_last = h->last_event;
	return (unsigned int)count;
}

void expect_drop(struct harness *h, const struct frame *f, enum sluice_reason reason)
{
	uint64_t before = total(h, SLUICE_TOTAL_DROPS + reason);
	uint64_t own = h->runtime[TEST_ENDPOINT].drops[reason];
	struct sluice_event event;

	drain_events(h, NULL);
	assert_int_equal(run_from_pod(h, f), DROP);
	assert_int_equal(drain_events(h, &event), 1);
	assert_int_equal(event.reason, reason);
	assert_int_equal(event.verdict, SLUICE_EVENT_DROPPED);
	assert_int_equal(event.endpoint, TEST_ENDPOINT);
	assert_int_equal(event.length, f->len);
	assert_int_equal(total(h, SLUICE_TOTAL_DROPS + reason), before + 1);
	assert_int_equal(h->runtime[TEST_ENDPOINT].drops[reason], own + 1);
}

void expect_pass(struct harness *h, const struct frame *f)
{
	uint64_t before = total(h, SLUICE_TOTAL_FORWARDED);

	drain_events(h, NULL);
	assert_int_equal(run_from_pod(h, f), PASS);
	assert_int_equal(total(h, SLUICE_TOTAL_FORWARDED), before + 1);
}

void expect_audit(struct harness *h, const struct frame *f, enum sluice_reason reason)
{
	uint64_t before = h->runtime[TEST_ENDPOINT].audited;
	struct sluice_event event;

	drain_events(h, NULL);
	assert_int_equal(run_from_pod(h, f), PASS);
	assert_int_equal(drain_events(h, &event), 1);
	assert_int_equal(event.reason, reason);
	assert_int_equal(event.verdict, SLUICE_EVENT_AUDIT);
	assert_int_equal(h->runtime[TEST_ENDPOINT].audited, before + 1);
}

/* ---- flows ------------------------------------------------------------------------------------------------------- */

bool find_flow(struct harness *h, const char *local, const char *remote, uint8_t proto, uint16_t lport, uint16_t rport,
	       struct sluice_flow *ret)
{
	struct sluice_flow_key key = {
		.endpoint = TEST_ENDPOINT,
		.generation = TEST_GENERATION,
		.lport = htons(lport),
		.rport = htons(rport),
		.proto = proto,
	};

	assert_int_equal(addr_parse(local, &key.local), 0);
	assert_int_equal(addr_parse(remote, &key.remote), 0);
	return bpf_map_lookup_elem(bpf_map__fd(h->skel->maps.flows), &key, ret) == 0;
}

uint8_t flow_origin(struct harness *h, const char *remote, uint8_t proto, uint16_t lport, uint16_t rport)
{
	struct sluice_flow flow;
	bool found = find_flow(h, strchr(remote, ':') ? POD6 : POD4, remote, proto, lport, rport, &flow);

	return found ? flow.origin : 0;
}

unsigned int count_flows(struct harness *h)
{
	struct sluice_flow_key key, *from = NULL;
	unsigned int n = 0;

	while (bpf_map_get_next_key(bpf_map__fd(h->skel->maps.flows), from, &key) == 0) {
		from = &key;
		n++;
	}
	return n;
}

/* ---- waiting ----------------------------------------------------------------------------------------------------- */

#define WAIT_TRIES 10000

static void nap(void)
{
	const struct timespec ms = { .tv_nsec = 1000000 };

	nanosleep(&ms, NULL);
}

void wait_total(struct harness *h, uint32_t index, uint64_t least)
{
	for (int i = 0; i < WAIT_TRIES && total(h, index) < least; i++)
		nap();
	assert_true(total(h, index) >= least);
}

void wait_counter(const __u64 *counter, uint64_t least)
{
	const volatile __u64 *now = counter;

	for (int i = 0; i < WAIT_TRIES && *now < least; i++)
		nap();
	assert_true(*now >= least);
}

void wait_origin(struct harness *h, const char *remote, uint8_t proto, uint16_t lport, uint16_t rport,
		 enum sluice_flow_origin origin)
{
	for (int i = 0; i < WAIT_TRIES && flow_origin(h, remote, proto, lport, rport) != origin; i++)
		nap();
	assert_int_equal(flow_origin(h, remote, proto, lport, rport), origin);
}

/* ---- common frames ----------------------------------------------------------------------------------------------- */

static const char *own_address(const char *peer)
{
	return strchr(peer, ':') ? POD6 : POD4;
}

static uint16_t ethertype(const char *address)
{
	return strchr(address, ':') ? ETHERTYPE_IPV6 : ETHERTYPE_IP;
}

static struct frame start(const char *src, const char *dst, uint8_t proto, bool to_pod)
{
	struct frame f;

	frame_eth(&f, to_pod ? POD_MAC : HOST_MAC, to_pod ? HOST_MAC : POD_MAC, ethertype(src));
	frame_ip(&f, src, dst, proto);
	return f;
}

struct frame pod_tcp(const char *dst, uint16_t sport, uint16_t dport, uint8_t flags)
{
	struct frame f = start(own_address(dst), dst, IPPROTO_TCP, false);

	frame_tcp(&f, sport, dport, flags);
	frame_end(&f);
	return f;
}

struct frame pod_udp(const char *dst, uint16_t sport, uint16_t dport)
{
	struct frame f = start(own_address(dst), dst, IPPROTO_UDP, false);

	frame_udp(&f, sport, dport, 16);
	frame_end(&f);
	return f;
}

static void add_echo(struct frame *f, bool reply, uint16_t id)
{
	if (f->family == 6)
		frame_icmp(f, reply ? 129 : 128, 0, id);
	else
		frame_icmp(f, reply ? 0 : 8, 0, id);
	frame_end(f);
}

struct frame pod_echo(const char *dst, bool reply, uint16_t id)
{
	struct frame f = start(own_address(dst), dst, strchr(dst, ':') ? IPPROTO_ICMPV6 : IPPROTO_ICMP, false);

	add_echo(&f, reply, id);
	return f;
}

struct frame peer_tcp(const char *src, uint16_t sport, uint16_t dport, uint8_t flags)
{
	struct frame f = start(src, own_address(src), IPPROTO_TCP, true);

	frame_tcp(&f, sport, dport, flags);
	frame_end(&f);
	return f;
}

struct frame peer_udp(const char *src, uint16_t sport, uint16_t dport)
{
	struct frame f = start(src, own_address(src), IPPROTO_UDP, true);

	frame_udp(&f, sport, dport, 16);
	frame_end(&f);
	return f;
}

struct frame peer_echo(const char *src, bool reply, uint16_t id)
{
	struct frame f = start(src, own_address(src), strchr(src, ':') ? IPPROTO_ICMPV6 : IPPROTO_ICMP, true);

	add_echo(&f, reply, id);
	return f;
}
