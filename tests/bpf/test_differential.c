/* SPDX-License-Identifier: Apache-2.0 */
/*
 * decide.h on the host, over plain arrays searched one by one, against the kernel programs over their maps: the same
 * random tables, the same random packets, the same answer: verdict, reason, rule and name.
 *
 * A small universe of addresses, ports and sets makes them meet. One seed is fixed; another is new in every run and
 * printed, and SLUICE_SEED repeats it.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tests/bpf/chance.h"
#include "tests/bpf/harness.h"

#define SETS	   6
#define MAX_DESTS  24
#define MAX_RULES  48
#define MAX_LEASES 16
#define NEVER	   ~0ull

struct dest_row {
	struct sluice_prefix prefix;
	struct sluice_dest dest;
};

struct rule_row {
	uint32_t set;
	uint8_t proto;
	uint16_t port;
	uint8_t bits;
	struct sluice_rule rule;
};

struct sluice_tables {
	struct dest_row dests[MAX_DESTS];
	struct rule_row rules[MAX_RULES];
	struct sluice_lease leases[MAX_LEASES];
	struct sluice_addr cluster[4];
	size_t ndests, nrules, nleases, ncluster;
};

/* ---- decide.h over arrays ---------------------------------------------------------------------------------------- */

static bool tables_find_dest(const struct sluice_tables *t, __u64 policy, const struct sluice_addr *addr,
			     struct sluice_dest *ret)
{
	const struct dest_row *best = NULL;

	if (policy != TEST_POLICY)
		return false;
	for (size_t i = 0; i < t->ndests; i++) {
		const struct dest_row *row = &t->dests[i];

		if (prefix_contains(&row->prefix, addr) && (!best || row->prefix.bits > best->prefix.bits))
			best = row;
	}
	if (best)
		*ret = best->dest;
	return best != NULL;
}

static bool rule_matches(const struct rule_row *r, __u32 set, __u8 proto, uint16_t port)
{
	return r->set == set && r->proto == proto && (r->bits == 0 || ((r->port ^ port) >> (16 - r->bits)) == 0);
}

static bool tables_find_rule(const struct sluice_tables *t, __u64 policy, __u32 set, __u8 proto, __be16 port,
			     struct sluice_rule *ret)
{
	const struct rule_row *best = NULL;

	if (policy != TEST_POLICY)
		return false;
	for (size_t i = 0; i < t->nrules; i++) {
		const struct rule_row *row = &t->rules[i];

		if (rule_matches(row, set, proto, ntohs(port)) && (!best || row->bits > best->bits))
			best = row;
	}
	if (best)
		*ret = best->rule;
	return best != NULL;
}

static const struct sluice_lease *tables_find_lease(const struct sluice_tables *t, __u64 policy,
						    const struct sluice_addr *addr)
{
	for (size_t i = 0; i < t->nleases; i++) {
		if (policy == TEST_POLICY && !addr_compare(&t->leases[i].key.addr, addr))
			return &t->leases[i];
	}
	return NULL;
}

static bool tables_in_cluster(const struct sluice_tables *t, const struct sluice_addr *addr)
{
	for (size_t i = 0; i < t->ncluster; i++) {
		if (!addr_compare(&t->cluster[i], addr))
			return true;
	}
	return false;
}

#include "bpf/decide.h"

/* ---- chance ------------------------------------------------------------------------------------------------------ */

/* Near each other, so that prefixes overlap; with embedded forms of one another, and the classes no name opens. */
static const char *const universe[] = {
	"192.0.2.1",
	"192.0.2.2",
	"192.0.2.130",
	"192.0.3.1",
	"10.0.9.9",
	"169.254.169.254",
	"127.0.0.1",
	"224.0.0.5",
	"2001:db8::1",
	"2001:db8::2",
	"2001:db8:0:1::1",
	"2001:db8:8000::1",
	"64:ff9b::c000:201",
	"64:ff9b::c000:282",
	"2002:c000:201::1",
	"2002:a9fe:a9fe::1",
	"64:ff9b:1::c000:202",
	"2001:0:1:2:3:4:3fff:fdfe",
	"fd00:ec2::254",
	"fd20:ce::254",
	"100.100.100.200",
	"64:ff9b::7f00:1",
	"::ffff:0:c000:201",
	"::ffff:0:a9fe:a9fe",
	"fd00::77",
	"fe80::99",
};

static const uint16_t ports[] = { 53, 80, 443, 444, 8000, 8007, 8008, 65535 };
static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6 };
static const uint32_t precedences[] = { 10, 20, SLUICE_PRECEDENCE_ALLOW, SLUICE_PRECEDENCE_DENY };

static struct sluice_addr random_addr(void)
{
	struct sluice_addr addr;

	assert_int_equal(addr_parse(universe[chance(ARRAY_SIZE(universe))], &addr), 0);
	return addr;
}

static uint32_t random_set(void)
{
	uint32_t set = 1 + chance(SETS);

	return chance(2) ? set | SLUICE_SET_NAME : set;
}

/* Keys are unique, or the kernel's last writer would win where the array's first does. */
static void add_random_dest(struct sluice_tables *t)
{
	struct dest_row row = { .prefix = { random_addr(), 0 } };
	bool v4 = addr_is_ipv4(&row.prefix.addr);

	row.prefix.bits = v4 ? 96 + chance(33) : chance(129);
	if (chance(3) == 0)
		row.prefix.bits = v4 ? 96 : 0;
	addr_mask(&row.prefix.addr, row.prefix.bits);
	row.dest.set = chance(SETS + 1);
	row.dest.cluster_set = chance(SETS + 1);
	for (size_t i = 0; i < t->ndests; i++) {
		if (t->dests[i].prefix.bits == row.prefix.bits &&
		    !addr_compare(&t->dests[i].prefix.addr, &row.prefix.addr))
			return;
	}
	t->dests[t->ndests++] = row;
}

static void add_random_rule(struct sluice_tables *t)
{
	static const uint8_t bits[] = { 0, 13, 16 };
	struct rule_row row = {
		.set = random_set(),
		.proto = protos[chance(ARRAY_SIZE(protos))],
		.port = ports[chance(ARRAY_SIZE(ports))],
		.bits = bits[chance(ARRAY_SIZE(bits))],
		.rule = { .precedence = precedences[chance(ARRAY_SIZE(precedences))], .rule = 1 + chance(1000) },
	};

	if (row.proto == IPPROTO_ICMP || row.proto == IPPROTO_ICMPV6)
		row.port = (uint16_t)(chance(2) ? 8 << 8 : 128 << 8);
	row.port &= (uint16_t)(0xffff0000u >> row.bits);
	row.rule.verdict = chance(3) ? SLUICE_ALLOW : SLUICE_DENY;
	for (size_t i = 0; i < t->nrules; i++) {
		if (t->rules[i].bits == row.bits && rule_matches(&t->rules[i], row.set, row.proto, row.port))
			return;
	}
	t->rules[t->nrules++] = row;
}

static void add_random_lease(struct sluice_tables *t)
{
	struct sluice_lease lease = { .key = { TEST_POLICY, random_addr() } };

	if (tables_find_lease(t, TEST_POLICY, &lease.key.addr))
		return;
	for (size_t i = 0; i < SLUICE_LEASE_SLOTS; i++) {
		if (chance(3) == 0)
			lease.slots[i] = (struct sluice_lease_slot){ .expires = chance(4) ? NEVER : 1,
								     .name = 1 + chance(1000),
								     .set = random_set(),
								     .generation = TEST_GENERATION - 1 + chance(3) };
	}
	t->leases[t->nleases++] = lease;
}

/* ---- the kernel's side ------------------------------------------------------------------------------------------- */

/*
 * The kernel's rows say where no lease changes anything, as the agent's do (agent/tables.c), and the host's do not: that
 * leases are not asked then must change no answer.
 */
static struct sluice_rule kernel_rule(const struct sluice_tables *t, const struct sluice_rule *rule)
{
	struct sluice_rule ret = *rule;

	ret.settled = 1;
	for (size_t i = 0; i < t->nrules; i++) {
		const struct rule_row *r = &t->rules[i];

		if ((r->set & SLUICE_SET_NAME) && r->rule.verdict == SLUICE_ALLOW &&
		    r->rule.precedence > rule->precedence)
			ret.settled = 0;
	}
	return ret;
}

static void put_tables(struct harness *h, const struct sluice_tables *t)
{
	char text[ADDR_TEXT_MAX];

	for (size_t i = 0; i < t->ndests; i++)
		add_dest(h, TEST_POLICY, prefix_format(&t->dests[i].prefix, text), t->dests[i].dest.set,
			 t->dests[i].dest.cluster_set);
	for (size_t i = 0; i < t->nrules; i++)
		add_rule(h, TEST_POLICY, t->rules[i].set, t->rules[i].proto, t->rules[i].port, t->rules[i].bits,
			 kernel_rule(t, &t->rules[i].rule));
	for (size_t i = 0; i < t->nleases; i++)
		write_lease(h, &t->leases[i]);
	set_quiet(h);
	for (size_t i = 0; i < t->ncluster; i++) {
		addr_format(&t->cluster[i], text);
		add_cluster(h, text, SLUICE_CLUSTER_POD, false);
	}
}

struct probe {
	char dst[ADDR_TEXT_MAX];
	struct sluice_query query;
	uint16_t sport;
};

static struct frame probe_frame(const struct probe *p, uint8_t flags)
{
	uint16_t port = ntohs(p->query.port);

	if (p->query.proto == IPPROTO_TCP)
		return pod_tcp(p->dst, p->sport, port, flags);
	if (p->query.proto == IPPROTO_UDP)
		return pod_udp(p->dst, p->sport, port);
	return pod_echo(p->dst, false, p->sport);
}

static void describe(const struct probe *p, const struct sluice_decision *d)
{
	print_error("%s proto %u port %u live %u: host says verdict %u reason %u rule %u name %llu\n", p->dst,
		    p->query.proto, ntohs(p->query.port), p->query.live, d->verdict, d->reason, d->rule, d->name);
}

static bool agree(struct harness *h, const struct probe *p, uint8_t flags, const struct sluice_decision *d)
{
	bool icmp = p->query.proto != IPPROTO_TCP && p->query.proto != IPPROTO_UDP;
	struct frame f = probe_frame(p, flags);
	struct sluice_event e = {};
	struct sluice_flow flow;
	int verdict;

	drain_events(h, NULL);
	verdict = run_from_pod(h, &f);
	drain_events(h, &e);
	if (d->verdict == SLUICE_DENY)
		return verdict == DROP && e.reason == d->reason && e.rule == d->rule;
	if (verdict != PASS || !find_flow(h, strchr(p->dst, ':') ? POD6 : POD4, p->dst, p->query.proto, p->sport,
					  icmp ? 0 : ntohs(p->query.port), &flow))
		return false;
	return flow.rule == d->rule && flow.name == d->name && !!(flow.flags & SLUICE_FLOW_LEASE) == d->lease;
}

/* What the program makes of the pure verdict: port 53 under name rules, no leases without, and the words for a flow that ends. */
static struct sluice_decision expected(const struct sluice_tables *t, const struct probe *p, bool names, bool was_live)
{
	struct sluice_decision d;

	if (names && p->query.proto != IPPROTO_ICMP && p->query.proto != IPPROTO_ICMPV6 && p->query.port == htons(53)) {
		d = decide_dns(t, &p->query);
		if (d.verdict == SLUICE_ALLOW) { /* there is no socket here */
			d.verdict = SLUICE_DENY;
			d.reason = SLUICE_REASON_DNS_SOCKET;
		}
		return d;
	}
	if (names)
		d = decide(t, &p->query);
	else
		decide_without_leases(t, &p->query, &d);
	if (was_live && d.verdict == SLUICE_DENY)
		d.reason = SLUICE_REASON_CUT;
	return d;
}

static struct probe random_probe(size_t i)
{
	struct probe p = { .sport = (uint16_t)(1024 + i),
			   .query = { .policy = TEST_POLICY, .now = 1000, .generation = TEST_GENERATION } };
	struct sluice_addr addr = random_addr();
	uint32_t kind = chance(3);

	p.query.remote = addr;
	addr_format(&addr, p.dst);
	p.query.proto = kind == 0	      ? IPPROTO_TCP
			: kind == 1	      ? IPPROTO_UDP
			: addr_is_ipv4(&addr) ? IPPROTO_ICMP
					      : IPPROTO_ICMPV6;
	p.query.port = htons(ports[chance(ARRAY_SIZE(ports))]);
	if (kind == 2)
		p.query.port = htons((uint16_t)(addr_is_ipv4(&addr) ? 8 << 8 : 128 << 8));
	return p;
}

/* ---- rounds ------------------------------------------------------------------------------------------------------ */

#define PROBES 300

static void fill(struct sluice_tables *t)
{
	memset(t, 0, sizeof(*t));
	for (int i = 0; i < MAX_DESTS; i++)
		add_random_dest(t);
	for (int i = 0; i < MAX_RULES; i++)
		add_random_rule(t);
	for (int i = 0; i < MAX_LEASES; i++)
		add_random_lease(t);
	for (t->ncluster = 0; t->ncluster < chance(5) && t->ncluster < 4; t->ncluster++)
		t->cluster[t->ncluster] = random_addr();
}

/* Leases run out and rules turn, under a new epoch: live TCP flows are judged with what they were opened for. */
static void change(struct harness *h, struct sluice_tables *t)
{
	for (size_t i = 0; i < t->nleases; i++) {
		for (size_t k = 0; k < SLUICE_LEASE_SLOTS; k++)
			t->leases[i].slots[k].expires = 1;
		write_lease(h, &t->leases[i]);
	}
	for (size_t i = 0; i < t->nrules; i++) {
		if (chance(4) == 0)
			t->rules[i].rule.verdict ^= 1;
	}
	put_tables(h, t);
}

static void one_round(void **state, size_t *asked, size_t *allowed)
{
	static struct sluice_tables t;
	static struct probe probes[PROBES];
	static struct sluice_decision first[PROBES];
	struct harness *h = *state;
	uint64_t names = chance(2) ? SLUICE_STATE_NAMES : 0;

	assert_int_equal(harness_reset(state), 0);
	fill(&t);
	put_tables(h, &t);
	set_state(h, SLUICE_MODE_ENFORCE, names, 1);
	for (size_t i = 0; i < PROBES; i++, (*asked)++) {
		probes[i] = random_probe(i);
		first[i] = expected(&t, &probes[i], names, false);
		*allowed += first[i].verdict;
		if (!agree(h, &probes[i], SYN, &first[i])) {
			describe(&probes[i], &first[i]);
			fail();
		}
	}
	change(h, &t);
	set_state(h, SLUICE_MODE_ENFORCE, names, 2);
	for (size_t i = 0; i < PROBES; i++) {
		struct probe *p = &probes[i];
		struct sluice_decision d;

		if (p->query.proto != IPPROTO_TCP || !first[i].verdict)
			continue;
		p->query.live = first[i].lease;
		d = expected(&t, p, names, true);
		(*asked)++;
		if (!agree(h, p, ACK, &d)) {
			describe(p, &d);
			fail();
		}
	}
}

static void rounds(void **state, uint64_t from)
{
	size_t wanted = verdicts_wanted(12000), asked = 0, allowed = 0;

	print_message("seed %llu\n", (unsigned long long)from);
	chance_seed = from;
	while (asked < wanted)
		one_round(state, &asked, &allowed);
	print_message("%zu verdicts, %zu of the first ones allowed\n", asked, allowed);
	/* A generator that only ever denies, or only allows, compares nothing. */
	assert_in_range(allowed, asked / 50, asked - asked / 50);
}

static void fixed_seed(void **state)
{
	rounds(state, 20240229);
}

static void new_seed(void **state)
{
	rounds(state, new_seed_of_run());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fixed_seed),
		cmocka_unit_test(new_seed),
	};

	return cmocka_run_group_tests(tests, harness_open, harness_close);
}
