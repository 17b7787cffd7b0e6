/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nanoseconds per packet of the programs alone, by BPF_PROG_TEST_RUN, beside an empty program and a bare one in the same
 * run (bare.bpf.c). Rounds are interleaved; each figure is the best of them, since what disturbs only ever adds.
 *
 *   bench-bpf-programs [--quick]
 */
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bare.skel.h"
#include "base/cleanup.h"
#include "tests/bpf/harness.h"

#define OTHER_IFINDEX 7 /* frames for the pod come from there */

static bool quick;

struct subject {
	const char *what;
	struct bpf_program *prog;
	const struct frame *frame;
	unsigned int best;
	int verdict;
};

static unsigned int run_once(const struct harness *h, struct bpf_program *prog, const struct frame *f, int repeat,
			     int *ret_verdict)
{
	struct __sk_buff ctx = { .ifindex = (uint32_t)h->host_ifindex, .ingress_ifindex = OTHER_IFINDEX };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->data, .data_size_in = (uint32_t)f->len, .ctx_in = &ctx,
		    .ctx_size_in = sizeof(ctx), .repeat = repeat);

	if (bpf_prog_test_run_opts(bpf_program__fd(prog), &opts))
		exit(1);
	*ret_verdict = (int)opts.retval;
	return opts.duration;
}

static void measure(const struct harness *h, struct subject *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		s[i].best = ~0u;
	for (int round = 0; round < (quick ? 2 : 15); round++) {
		for (size_t i = 0; i < n; i++) {
			unsigned int ns = run_once(h, s[i].prog, s[i].frame, quick ? 1000 : 100000, &s[i].verdict);

			if (ns < s[i].best)
				s[i].best = ns;
		}
	}
}

/* ---- what a packet costs ----------------------------------------------------------------------------------------- */

static void bare_flow(const struct harness *h, const struct bare_bpf *bare, const struct frame *f)
{
	struct sluice_flow flow = { .key = { .endpoint = (uint32_t)h->host_ifindex, .proto = IPPROTO_TCP } };

	memcpy(&flow.key.local.w[3], f->data + f->ip + 12, 4);
	memcpy(&flow.key.remote.w[3], f->data + f->ip + 16, 4);
	memcpy(&flow.key.lport, f->data + f->transport, 2);
	memcpy(&flow.key.rport, f->data + f->transport + 2, 2);
	if (bpf_map_update_elem(bpf_map__fd(bare->maps.bare_flows), &flow.key, &flow, BPF_ANY))
		exit(1);
}

static void packets(struct harness *h, const struct bare_bpf *bare)
{
	struct frame live = pod_tcp(PEER4, 1000, 443, ACK), live6 = pod_tcp(PEER6, 1000, 443, ACK);
	struct frame syn = pod_tcp(PEER4, 1000, 443, SYN), denied = pod_tcp(PEER4, 1002, 80, SYN);
	struct frame in = peer_tcp(PEER4, 443, 1000, ACK);
	struct subject s[] = {
		{ "empty program", bare->progs.empty, &live, 0, 0 },
		{ "bare program: parse, look up, count", bare->progs.bare, &live, 0, 0 },
		{ "from_pod, established flow, IPv4", h->skel->progs.from_pod, &live, 0, 0 },
		{ "from_pod, established flow, IPv6", h->skel->progs.from_pod, &live6, 0, 0 },
		{ "to_pod, established flow, IPv4", h->skel->progs.to_pod, &in, 0, 0 },
		{ "from_pod, SYN on a known flow, its verdict kept", h->skel->progs.from_pod, &syn, 0, 0 },
		{ "from_pod, SYN denied, verdict kept, no event", h->skel->progs.from_pod, &denied, 0, 0 },
	};

	set_quiet(h);
	allow(h, "0.0.0.0/0", 0, 443);
	allow(h, PEER6, 0, 443);
	h->settings->event_rate = 1;
	bare_flow(h, bare, &live);
	measure(h, s, ARRAY_SIZE(s));
	printf("%-48s %-5s %6s %9s\n", "packet", "", "ns", "of bare");
	for (size_t i = 0; i < ARRAY_SIZE(s); i++)
		printf("%-48s %-5s %6u %9.2f\n", s[i].what, s[i].verdict == PASS ? "pass" : "drop", s[i].best,
		       (double)s[i].best / s[1].best);
}

/* ---- what a new flow costs, by table sizes ----------------------------------------------------------------------- */

#define FLOWS 4000

static uint64_t seed = 1;

/* splitmix64, Steele 2014 */
static uint64_t random64(void)
{
	uint64_t z = seed += 0x9e3779b97f4a7c15ull;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static void address(uint64_t bits, char ret[ADDR_TEXT_MAX])
{
	/* 1.0.0.0 to 126.255.255.255 but for 10/8: public, and never refused as a class */
	unsigned int first = 1 + bits % 126;

	snprintf(ret, ADDR_TEXT_MAX, "%u.%u.%u.%u", first == 10 ? 11 : first, (unsigned int)(bits >> 8) & 255,
		 (unsigned int)(bits >> 16) & 255, (unsigned int)(bits >> 24) & 255);
}

/* 2400::/7: public, of no class */
static void address6(uint64_t bits, char ret[ADDR_TEXT_MAX])
{
	snprintf(ret, ADDR_TEXT_MAX, "%x:%x:%x:%x::1", 0x2400 | (unsigned int)(bits & 0x1ff),
		 (unsigned int)(bits >> 16) & 0xffff, (unsigned int)(bits >> 32) & 0xffff, (unsigned int)(bits >> 48));
}

static int by_number(const void *a, const void *b)
{
	unsigned int x = *(const unsigned int *)a, y = *(const unsigned int *)b;

	return (x > y) - (x < y);
}

static void clear_flows(struct harness *h, const struct bpf_map *flows)
{
	struct sluice_flow_key key;

	while (bpf_map_get_next_key(bpf_map__fd(flows), NULL, &key) == 0)
		bpf_map_delete_elem(bpf_map__fd(flows), &key);
	h->runtime[TEST_ENDPOINT].flows = h->runtime[TEST_ENDPOINT].tombstones = 0;
}

/* What opens flows, and where it keeps them. */
struct opener {
	struct bpf_program *prog;
	const struct bpf_map *flows;
};

/* What was said of a destination under another epoch is not asked for: each packet's is searched anew (bpf/recent.h). */
static void next_epoch(struct harness *h)
{
	uint64_t *state = (uint64_t *)&h->endpoints[TEST_ENDPOINT].state;

	*state = (*state & ~0xffff00ull) | (uint64_t)(uint16_t)(SLUICE_STATE_EPOCH(*state) + 1) << 8;
}

/*
 * The median of single first packets, each to one of `count` addresses; the flow is written as well. `kept`: verdicts of the
 * last second may be used again.
 */
static unsigned int new_flows(struct harness *h, const struct opener *by, char (*addrs)[ADDR_TEXT_MAX], size_t count,
			      bool kept, unsigned int *ret_passed)
{
	static unsigned int ns[FLOWS];
	size_t n = quick ? 100 : FLOWS;

	*ret_passed = 0;
	clear_flows(h, by->flows);
	for (size_t i = 0; i < n; i++) {
		struct frame f = pod_tcp(addrs[random64() % count], (uint16_t)(1024 + i), 443, SYN);
		int verdict;

		if (!kept)
			next_epoch(h);
		ns[i] = run_once(h, by->prog, &f, 1, &verdict);
		*ret_passed += verdict == PASS;
	}
	qsort(ns, n, sizeof(ns[0]), by_number);
	return ns[n / 2];
}

/* A kind of table: who looks in it, how it is filled with one address more, and with how many. */
struct table {
	const struct opener *by;
	const char *what;
	const size_t *sizes;
	size_t count;
	void (*fill)(struct harness *h, const char *addr);
	void (*make)(uint64_t bits, char ret[ADDR_TEXT_MAX]);
	const char *again; /* where the last table is asked for ten members over and over; NULL: it is not */
};

/* From a table of the first size to one of the last; each holds the one before. */
static void growth(struct harness *h, const struct table *t)
{
	static char addrs[100000][ADDR_TEXT_MAX];
	unsigned int first = 0, passed;
	size_t filled = 0;

	for (size_t i = 0; i < t->count; i++) {
		unsigned int best = ~0u;

		for (; filled < t->sizes[i]; filled++) {
			t->make(random64(), addrs[filled]);
			t->fill(h, addrs[filled]);
		}
		commit_dests(h, TEST_POLICY);
		for (int round = 0; round < (quick ? 1 : 5); round++) {
			unsigned int ns = new_flows(h, t->by, addrs, t->sizes[i], false, &passed);

			best = ns < best ? ns : best;
		}
		first = first ? first : best;
		printf("new flow, %6zu %-40s %5u%% %6u %9.2f of %zu\n", t->sizes[i], t->what,
		       passed * 100 / (quick ? 100 : FLOWS), best, (double)best / first, t->sizes[0]);
	}
	if (t->again)
		printf("new flow, %6zu %-40s       %6u\n", filled, t->again,
		       new_flows(h, t->by, addrs, 10, true, &passed));
}

static void fill_prefix(struct harness *h, const char *addr, unsigned int bits)
{
	char text[ADDR_TEXT_MAX + 4];
	struct sluice_prefix p;

	snprintf(text, sizeof(text), "%s/%u", addr, bits);
	if (prefix_parse(text, &p) < 0)
		exit(1);
	add_dest(h, TEST_POLICY, prefix_format(&p, text), 1, 0);
}

static void fill_address(struct harness *h, const char *addr)
{
	fill_prefix(h, addr, 32);
}

static void fill_network(struct harness *h, const char *addr)
{
	fill_prefix(h, addr, 24);
}

static void fill_network6(struct harness *h, const char *addr)
{
	fill_prefix(h, addr, 64);
}

static void fill_slots(struct harness *h, const char *addr, uint32_t sets)
{
	struct sluice_lease lease = { .key.policy = TEST_POLICY };

	if (addr_parse(addr, &lease.key.addr))
		exit(1);
	for (uint32_t i = 0; i < sets; i++)
		lease.slots[i] = (struct sluice_lease_slot){
			.expires = ~0ull, .name = i + 1, .set = SLUICE_SET_NAME | (i + 1), .generation = TEST_GENERATION
		};
	write_lease(h, &lease);
	h->endpoints[TEST_ENDPOINT].state |= SLUICE_STATE_NAMES;
}

static void fill_lease(struct harness *h, const char *addr)
{
	fill_slots(h, addr, 1);
}

/* Such an address has no line. */
static void fill_two_sets(struct harness *h, const char *addr)
{
	fill_slots(h, addr, 2);
}

static const struct bpf_map *bare_leases;

static void fill_bare(struct harness *h, const char *addr)
{
	struct sluice_lease lease = { .slots[0].set = 1 };
	struct sluice_addr a;

	(void)h;
	if (addr_parse(addr, &a))
		exit(1);
	lease.key.addr.w[3] = a.w[3];
	if (bpf_map_update_elem(bpf_map__fd(bare_leases), &lease.key, &lease, BPF_ANY))
		exit(1);
}

#define RULES_EACH 20 /* of another policy: sets, each with a port */

/* Everything outside is of one set; what grows is the rules of other policies. */
static void fill_rules(struct harness *h, const char *addr)
{
	static unsigned int n;
	struct sluice_rule rule = { .precedence = SLUICE_PRECEDENCE_ALLOW, .rule = 1, .verdict = SLUICE_ALLOW };

	(void)addr;
	if (h->ndests == 0) {
		add_dest(h, TEST_POLICY, "0.0.0.0/0", 1, 0);
		n = 0;
	}
	add_rule(h, TEST_POLICY + 1 + n / RULES_EACH, 1 + n % RULES_EACH, IPPROTO_TCP, 443, 16, rule);
	n++;
}

#define PODS 10000

/* So that there is something in the table of cluster addresses. */
static void fill_cluster(struct harness *h)
{
	char text[ADDR_TEXT_MAX];

	set_quiet(h);
	for (unsigned int i = 0; i < PODS; i++) {
		snprintf(text, sizeof(text), "10.0.%u.%u", i / 256, i % 256);
		add_cluster(h, text, SLUICE_CLUSTER_POD, false);
	}
}

static void new_flow_costs(void **state, const struct bare_bpf *bare)
{
	static const size_t cidrs[] = { 10, 100, 1000, 10000 }, leases[] = { 10, 1000, 10000, 100000 };
	struct sluice_rule rule = { .precedence = SLUICE_PRECEDENCE_ALLOW, .rule = 1, .verdict = SLUICE_ALLOW };
	struct harness *h = *state;
	const struct opener ours = { h->skel->progs.from_pod, h->skel->maps.flows };
	const struct opener theirs = { bare->progs.bare_new, bare->maps.bare_flows };
	const struct table tables[] = {
		{ &theirs, "members, bare program with one look-up", leases, ARRAY_SIZE(leases) - quick, fill_bare,
		  address },
		{ &ours, "CIDRs of /32", cidrs, ARRAY_SIZE(cidrs), fill_address, address,
		  "CIDRs of /32, to ten of the last second" },
		{ &ours, "CIDRs of /24", cidrs, ARRAY_SIZE(cidrs), fill_network, address },
		{ &ours, "CIDRs of /64, IPv6", cidrs, ARRAY_SIZE(cidrs), fill_network6, address6 },
		{ &ours, "rules of other policies", leases, ARRAY_SIZE(leases) - quick, fill_rules, address },
		{ &ours, "leases", leases, ARRAY_SIZE(leases) - quick, fill_lease, address },
		{ &ours, "leases of two rule sets each", leases, ARRAY_SIZE(leases) - quick, fill_two_sets, address },
	};

	bare_leases = bare->maps.bare_leases;
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		if (harness_reset(state))
			exit(1);
		h->settings->flow_quota = h->settings->tombstone_quota = 2 * FLOWS;
		h->hold_dests = true;
		fill_cluster(h);
		rule.settled = 1; /* as the agent says it of CIDRs beside names of the same tier */
		add_rule(h, TEST_POLICY, 1, IPPROTO_TCP, 443, 16, rule);
		add_rule(h, TEST_POLICY, SLUICE_SET_NAME | 1, IPPROTO_TCP, 443, 16, rule);
		add_rule(h, TEST_POLICY, SLUICE_SET_NAME | 2, IPPROTO_TCP, 443, 16, rule);
		growth(h, &tables[i]);
	}
}

int main(int argc, char **argv)
{
	struct bare_bpf *bare = bare_bpf__open_and_load();
	void *state = NULL;

	quick = argc > 1 && strcmp(argv[1], "--quick") == 0;
	if (!bare || harness_open_sized(&state, 4 * FLOWS) || harness_reset(&state))
		return 1;
	packets(state, bare);
	new_flow_costs(&state, bare);
	bare_bpf__destroy(bare);
	harness_close(&state);
	return 0;
}
