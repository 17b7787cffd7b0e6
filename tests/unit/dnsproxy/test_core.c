/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/dnsproxy/dns_test.h"
#include "tests/unit/dnsproxy/fake.h"

#include "base/clock.h"
#include "dnsproxy/answer.h"
#include "dnsproxy/flight.h"
#include "dnsproxy/lease.h"

#define NOW (1000 * NSEC_PER_SEC)

static struct fake f;
static struct compiled policy, other;
static char text[4096];

static const char names_policy[] = CNP_HEAD
	"  egress:\n"
	"  - toFQDNs: [{matchName: pypi.org}, {matchPattern: '*.example.org'}, {matchName: svc.cluster.local},\n"
	"              {matchName: deep.ns.svc.cluster.local}]\n"
	"    toPorts: [{ports: [{port: \"443\"}]}]\n"
	"  - toCIDR: [169.254.20.0/24]\n"
	"    toPorts: [{ports: [{port: \"80\"}]}]\n";

static const char other_policy[] = CNP_HEAD "  egress:\n  - toFQDNs: [{matchName: other.org}]\n";

/* Asks for everything, opens one name and one CIDR. */
static const char ask_policy[] =
	CNP_HEAD "  egress:\n"
		 "  - toEndpoints: [{matchLabels: {k8s-app: kube-dns}}]\n"
		 "    toPorts: [{ports: [{port: \"53\", protocol: ANY}], rules: {dns: [{matchPattern: '*'}]}}]\n"
		 "  - toFQDNs: [{matchName: pypi.org}]\n"
		 "  - toCIDR: [198.51.100.0/24]\n";

static const char ask_nothing_outside[] =
	CNP_HEAD "  egress:\n"
		 "  - toEndpoints: [{matchLabels: {k8s-app: kube-dns}}]\n"
		 "    toPorts: [{ports: [{port: \"53\", protocol: ANY}], rules: {dns: [{matchPattern: '*'}]}}]\n"
		 "  - toFQDNs: [{matchName: pypi.org}]\n";

static int set_up(void **state)
{
	(void)state;
	policy = test_compile(names_policy, NULL);
	other = test_compile(other_policy, NULL);
	fake_new(&f, policy.img);
	f.images[2] = other.img;
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	fake_free(&f);
	compiled_clear(&policy);
	compiled_clear(&other);
	return 0;
}

static void use_policy(const char *manifest)
{
	compiled_clear(&policy);
	policy = test_compile(manifest, NULL);
	f.images[1] = policy.img;
}

static void set_state(enum sluice_mode mode, uint64_t id)
{
	f.endpoints[3].state = SLUICE_STATE(mode, SLUICE_STATE_NAMES, 1, id);
}

static struct core_asker asker(bool tcp)
{
	return (struct core_asker){ .addr = test_addr("10.0.1.5"),
				    .server = test_addr("8.8.8.8"),
				    .ifindex = 103,
				    .endpoint = tcp ? 3 : 0,
				    .generation = tcp ? 77 : 0,
				    .port = 40000,
				    .tcp = tcp };
}

static int send_query(const struct msg *m, bool tcp)
{
	struct core_asker from = asker(tcp);

	return core_query(f.core, &from, m->data, m->len, NOW);
}

static void ask_name(const char *name, unsigned int type)
{
	struct msg m = query(name, type);

	assert_int_equal(send_query(&m, false), 0);
}

static const struct fake_packet *reply(void)
{
	assert_true(f.nreplies > 0);
	return &f.replies[(f.nreplies - 1) % 8];
}

static unsigned int rcode(void)
{
	return reply()->data[3] & 15;
}

static const char *replied(void)
{
	return answers(reply()->data, reply()->len, text, sizeof(text));
}

static const struct sluice_dns_record *last_record(void)
{
	return &f.log[1 + (((struct sluice_dns_log_head *)f.log)->next - 2) % 16];
}

/* One more pod, on interface 100 + id, under the same policy. */
static void add_endpoint(uint32_t id)
{
	f.links[id] = (struct sluice_if){ id, 100 + id };
	f.endpoints[id] = f.endpoints[3];
	f.endpoints[id].generation = 100 + id;
	f.endpoints[id].ifindex = 100 + id;
}

static void ask_from(uint32_t id, const struct msg *m)
{
	struct core_asker from = asker(false);

	from.ifindex = 100 + id;
	assert_int_equal(core_query(f.core, &from, m->data, m->len, NOW), 0);
}

static bool asked_with_opt(void)
{
	return f.asked.data[11] != 0;
}

/* The beginning of the answer to what was last asked upstream. */
static struct msg begin_answer(void)
{
	struct msg m = { .len = f.asked.len - (asked_with_opt() ? 11 : 0) };

	memcpy(m.data, f.asked.data, m.len);
	m.data[2] |= 0x80;
	m.data[11] = 0;
	return m;
}

static bool give(const struct msg *m)
{
	return core_answer(f.core, f.asked_transport, f.asked_tcp, m->data, m->len, NOW + NSEC_PER_MSEC);
}

/* Asks, and answers with one address of the name's own. */
static void resolve_to(const char *name, const char *addr)
{
	struct msg m;

	ask_name(name, strchr(addr, ':') ? WIRE_AAAA : WIRE_A);
	m = begin_answer();
	add_addr(&m, name, 60, addr);
	assert_true(give(&m));
}

/* The same, with an answer that comes late. */
static void resolve_at(const char *name, const char *addr, uint64_t when)
{
	struct msg m;

	ask_name(name, WIRE_A);
	m = begin_answer();
	add_addr(&m, name, 60, addr);
	assert_true(core_answer(f.core, f.asked_transport, f.asked_tcp, m.data, m.len, when));
}

static void allowed_name_gets_a_lease_and_an_answer(void **state)
{
	struct sluice_addr opened = test_addr("192.0.2.1");
	struct msg m;

	(void)state;
	ask_name("PyPI.org", WIRE_A);
	assert_int_equal(f.nasked, 1);
	assert_int_equal(f.nreplies, 0);
	assert_memory_equal(f.asked.data + 12, "\004pypi\003org", 10);
	m = begin_answer();
	add_name_rr(&m, "pypi.org", WIRE_CNAME, 30, "edge.example.net");
	add_addr(&m, "edge.example.net", 300, "192.0.2.1");
	add_addr(&m, "evil.example", 300, "6.6.6.6");
	assert_true(give(&m));
	assert_int_equal(f.nreplies, 1);
	assert_string_equal(replied(), "pypi.org -> edge.example.net 30; edge.example.net 192.0.2.1 300");
	assert_memory_equal(reply()->data + 12, "\004PyPI\003org", 10);
	assert_int_equal(get16(reply()->data), 0x1234);
	assert_int_equal(f.nleases, 1);
	assert_int_equal(f.leases[0].key.policy, 1);
	assert_memory_equal(&f.leases[0].key.addr, &opened, 16);
	assert_true(f.leases[0].slots[0].set & SLUICE_SET_NAME);
	assert_int_equal(f.leases[0].slots[0].generation, 77);
	assert_int_equal(f.leases[0].slots[0].name, f.names[0].id);
	assert_memory_equal(f.names[0].text, "pypi.org", 9);
	/* The least TTL of the chain, and the grace. */
	assert_int_equal(f.leases[0].slots[0].expires, NOW + NSEC_PER_MSEC + 35 * NSEC_PER_SEC);
	assert_int_equal(last_record()->verdict, SLUICE_DNS_ALLOWED);
	assert_int_equal(last_record()->ttl, 35);
	assert_int_equal(last_record()->naddrs, 1);
	assert_string_equal(last_record()->name, "pypi.org");
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_RECORDS_IGNORED], 1);
	assert_int_equal(core_in_flight(f.core), 0);
	assert_int_equal(f.nreleased, 1);
}

/* D1: nothing of a denied name leaves, whatever its type and form. */
static void denied_name_causes_no_upstream_query(void **state)
{
	static const unsigned int types[] = { 1, 28, 16, 10, 65, 64, 255, 252, 5, 12 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		ask_name("c2VjcmV0.evil.example", types[i]);
		assert_int_equal(rcode(), 0);
		assert_string_equal(replied(), "");
		assert_int_equal(get16(reply()->data + 8), 1);
		assert_int_equal(last_record()->verdict, SLUICE_DNS_DENIED);
	}
	ask_name("example.org", 1); /* the apex is not under its own wildcard */
	ask_name("a.b.example.org", 1);
	ask_name("", 2);
	assert_int_equal(f.nasked, 0);
	assert_int_equal(f.nleases, 0);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_DENIED], ARRAY_SIZE(types) + 3);
}

static void denial_names_the_policy(void **state)
{
	struct msg m = query("evil.example", WIRE_A);

	(void)state;
	assert_int_equal(send_query(&m, false), 0);
	assert_int_equal(get16(reply()->data + 10), 0); /* no EDNS, no OPT: RFC 6891 section 7 */
	add_opt(&m, 1232, 0, NULL, 0);
	assert_int_equal(send_query(&m, false), 0);
	assert_int_equal(get16(reply()->data + 10), 1);
	assert_non_null(memmem(reply()->data, reply()->len, "denied by policy ns/p", 21));
}

/* D3 */
static void types_that_are_not_asked_are_empty(void **state)
{
	static const unsigned int types[] = { 16, 10, 65, 64, 255, 252 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		ask_name("pypi.org", types[i]);
		assert_int_equal(rcode(), 0);
		assert_string_equal(replied(), "");
		assert_int_equal(last_record()->verdict, SLUICE_DNS_FILTERED);
	}
	assert_int_equal(f.nasked, 0);
}

static void search_domains_get_nxdomain(void **state)
{
	(void)state;
	ask_name("pypi.org.ns.svc.cluster.local", WIRE_A);
	assert_int_equal(rcode(), WIRE_RCODE_NXDOMAIN);
	assert_int_equal(get16(reply()->data + 8), 1);
	/* An allowed name lies below: NXDOMAIN would deny that too (RFC 8020). */
	ask_name("ns.svc.cluster.local", WIRE_A);
	assert_int_equal(rcode(), 0);
	ask_name("evil.example", WIRE_A);
	assert_int_equal(rcode(), 0);
	f.conf.deny_response = PROXY_DENY_REFUSED;
	core_set_settings(f.core, &f.conf);
	ask_name("evil.example", WIRE_A);
	assert_int_equal(rcode(), WIRE_RCODE_REFUSED);
	ask_name("pypi.org.cluster.local", WIRE_A);
	assert_int_equal(rcode(), WIRE_RCODE_NXDOMAIN);
	f.conf.deny_response = PROXY_DENY_NXDOMAIN;
	core_set_settings(f.core, &f.conf);
	ask_name("evil.example", WIRE_A);
	assert_int_equal(rcode(), WIRE_RCODE_NXDOMAIN);
	ask_name("example.org", WIRE_A);
	assert_int_equal(rcode(), 0);
	assert_int_equal(f.nasked, 0);
}

static void malformed_is_answered_here(void **state)
{
	struct msg m = query("pypi.org", WIRE_A);

	(void)state;
	add8(&m, 0);
	assert_int_equal(send_query(&m, false), 0);
	assert_int_equal(rcode(), WIRE_RCODE_FORMERR);
	m = query("pypi.org", WIRE_A);
	m.data[2] = 4 << 3;
	assert_int_equal(send_query(&m, false), 0);
	assert_int_equal(rcode(), WIRE_RCODE_NOTIMP);
	m.len = 11;
	assert_int_equal(send_query(&m, false), -EBADMSG);
	assert_int_equal(f.nreplies, 2);
	assert_int_equal(f.nasked, 0);
}

/* D13 and semantics section 5: one address per class; kept only where an address rule admits it. */
static void refused_addresses_are_stripped(void **state)
{
	static const char *const addrs[] = { "169.254.169.254", "127.0.0.1",	 "0.0.0.0",	   "224.0.0.1",
					     "255.255.255.255", "168.63.129.16", "100.100.100.200" };
	static const char *const addrs6[] = { "::1",
					      "fe80::1",
					      "ff02::1",
					      "fd00:ec2::254",
					      "64:ff9b::a9fe:a9fe",
					      "2002:a9fe:a9fe::",
					      "2001::1",
					      "::7f00:1",
					      "::ffff:0:a9fe:a9fe",
					      "fd20:ce::254" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(addrs); i++) {
		resolve_to("pypi.org", addrs[i]);
		assert_string_equal(replied(), "");
	}
	for (size_t i = 0; i < ARRAY_SIZE(addrs6); i++) {
		resolve_to("pypi.org", addrs6[i]);
		assert_string_equal(replied(), "");
	}
	assert_int_equal(f.nleases, 0);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_ADDRS_STRIPPED], ARRAY_SIZE(addrs) + ARRAY_SIZE(addrs6));
	/* ::ffff:10.0.0.1 as AAAA is the IPv4 address in disguise; it never leaves as such. */
	resolve_to("pypi.org", "169.254.20.10"); /* a CIDR rule admits it: kept, and no lease is needed */
	assert_string_equal(replied(), "pypi.org 169.254.20.10 60");
	assert_int_equal(f.nleases, 0);
	f.cluster[f.ncluster++] = test_addr("10.0.3.3");
	resolve_to("pypi.org", "10.0.3.3");
	assert_string_equal(replied(), "");
	resolve_to("pypi.org", "64:ff9b::a00:303"); /* a node's address behind NAT64 and 6to4 is a node's */
	assert_string_equal(replied(), "");
	resolve_to("pypi.org", "2002:a00:303::1");
	assert_string_equal(replied(), "");
	assert_int_equal(f.nleases, 0);
	resolve_to("pypi.org", "10.0.3.4");
	assert_string_equal(replied(), "pypi.org 10.0.3.4 60");
	assert_int_equal(f.nleases, 1);
	resolve_to("pypi.org", "64:ff9b::a00:304");
	assert_string_equal(replied(), "pypi.org 64:ff9b::a00:304 60");
	f.conf.flags = PROXY_DENY_PRIVATE_ANSWERS;
	core_set_settings(f.core, &f.conf);
	resolve_to("pypi.org", "10.0.3.5");
	assert_string_equal(replied(), "");
	resolve_to("pypi.org", "64:ff9b::a00:305");
	assert_string_equal(replied(), "");
	resolve_to("pypi.org", "192.0.2.9");
	assert_string_equal(replied(), "pypi.org 192.0.2.9 60");
}

/* Hazard 16 */
static void cluster_names_open_nothing_outside(void **state)
{
	struct msg m;

	(void)state;
	resolve_to("svc.cluster.local", "6.6.6.6");
	assert_string_equal(replied(), "");
	ask_name("pypi.org", WIRE_A);
	m = begin_answer();
	add_name_rr(&m, "pypi.org", WIRE_CNAME, 60, "6-6-6-6.ns.pod.cluster.local");
	add_addr(&m, "6-6-6-6.ns.pod.cluster.local", 60, "6.6.6.6");
	assert_true(give(&m));
	assert_int_equal(f.nleases, 0);
}

/* D15: the answer must come by its socket, under its id, to its question. */
static void foreign_answers_are_ignored(void **state)
{
	struct msg m, wrong;

	(void)state;
	ask_name("pypi.org", WIRE_A);
	m = begin_answer();
	add_addr(&m, "pypi.org", 60, "6.6.6.6");
	wrong = m;
	wrong.data[1] ^= 1;
	assert_false(give(&wrong));
	wrong = m;
	wrong.data[13] = 'q';
	assert_false(give(&wrong));
	assert_false(core_answer(f.core, f.asked_transport + 1, false, m.data, m.len, NOW));
	assert_false(core_answer(f.core, f.asked_transport, true, m.data, m.len, NOW));
	wrong.len = 11;
	assert_false(give(&wrong));
	assert_int_equal(f.nreplies, 0);
	assert_int_equal(f.nleases, 0);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_UPSTREAM_WRONG], 5);
	assert_true(give(&m));
	assert_false(give(&m)); /* once */
}

static void ids_are_not_the_pods(void **state)
{
	unsigned int first;

	(void)state;
	ask_name("pypi.org", WIRE_A);
	first = get16(f.asked.data);
	f.next_random = (uint16_t)(first - 0x3779); /* the generator says the same again */
	ask_name("pypi.org", WIRE_AAAA);
	assert_int_not_equal(get16(f.asked.data), first);
	assert_int_not_equal(first, 0x1234);
}

/* Hazard 15: another policy came while the resolver took its time. */
static void answer_is_judged_by_the_policy_then_in_force(void **state)
{
	struct msg m;

	(void)state;
	ask_name("pypi.org", WIRE_A);
	set_state(SLUICE_MODE_ENFORCE, 2);
	m = begin_answer();
	add_addr(&m, "pypi.org", 60, "192.0.2.1");
	assert_true(give(&m));
	assert_string_equal(replied(), "");
	assert_int_equal(f.nleases, 0);
	assert_int_equal(last_record()->verdict, SLUICE_DNS_DENIED);
}

static void flip_to_other(struct fake *fake)
{
	fake->endpoints[3].state = SLUICE_STATE(SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 1, 2);
}

static void flip_back_and_forth(struct fake *fake)
{
	fake->endpoints[3].state += 1ull << 8; /* another epoch each time */
}

static void slot_is_given_away(struct fake *fake)
{
	fake->endpoints[3].generation++;
}

/* It comes between the lease and the answer: the lease for the old one harms nobody, the answer must be the new one's. */
static void policy_that_moves_while_the_lease_is_written(void **state)
{
	(void)state;
	f.on_lease = flip_to_other;
	resolve_to("pypi.org", "192.0.2.1");
	assert_string_equal(replied(), "");
	assert_int_equal(last_record()->verdict, SLUICE_DNS_DENIED);
}

static void state_that_never_rests_is_servfail(void **state)
{
	struct msg m;

	(void)state;
	f.on_lease = flip_back_and_forth;
	ask_name("pypi.org", WIRE_A);
	m = begin_answer();
	for (int i = 0; i < 4; i++) {
		char addr[32];

		snprintf(addr, sizeof(addr), "192.0.2.%d", i);
		add_addr(&m, "pypi.org", 60, addr);
	}
	assert_true(give(&m)); /* the second round has nothing new to write, so it rests */
	assert_int_equal(rcode(), 0);
	f.images[1] = NULL;
	ask_name("pypi.org", WIRE_A);
	assert_int_equal(rcode(), WIRE_RCODE_SERVFAIL);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_NO_POLICY], 1);
}

/* A segment of TCP holds many queries, and the kernel counts segments. */
static void tcp_queries_have_a_rate(void **state)
{
	struct msg m = query("denied.example", WIRE_A);

	(void)state;
	f.settings.dns_rate = 10;
	f.settings.dns_burst = 3;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(send_query(&m, true), 0);
		assert_int_equal(rcode(), WIRE_NOERROR);
	}
	assert_int_equal(send_query(&m, true), 0);
	assert_int_equal(rcode(), WIRE_RCODE_SERVFAIL);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_TCP_RATE], 1);
	assert_int_equal(send_query(&m, false), 0); /* datagrams were counted in the kernel */
	assert_int_equal(rcode(), WIRE_NOERROR);
}

static void endpoint_that_is_gone_gets_nothing(void **state)
{
	struct msg m;

	(void)state;
	f.on_lease = slot_is_given_away;
	resolve_to("pypi.org", "192.0.2.1");
	assert_int_equal(f.nreplies, 0);
	f.on_lease = NULL;
	m = query("pypi.org", WIRE_A);
	assert_int_equal(send_query(&m, false), -ENOENT);
	assert_int_equal(send_query(&m, true), -ENOENT);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_NO_ENDPOINT], 2);
	/* The interface belongs to the slot's next owner once the table says so. */
	f.links[3].generation = 78;
	assert_int_equal(send_query(&m, false), 0);
	assert_int_equal(f.nreplies, 0);
	assert_int_equal(core_in_flight(f.core), 1);
}

static void modes_without_names_are_servfail(void **state)
{
	(void)state;
	set_state(SLUICE_MODE_QUARANTINE, 1);
	ask_name("pypi.org", WIRE_A);
	assert_int_equal(rcode(), WIRE_RCODE_SERVFAIL);
	set_state(SLUICE_MODE_OPEN, 1);
	ask_name("pypi.org", WIRE_A);
	assert_int_equal(rcode(), WIRE_RCODE_SERVFAIL);
	f.endpoints[3].state = SLUICE_STATE(SLUICE_MODE_ENFORCE, 0, 1, 1);
	ask_name("pypi.org", WIRE_A);
	assert_int_equal(rcode(), WIRE_RCODE_SERVFAIL);
	assert_int_equal(f.nasked, 0);
}

static void full_tables_are_servfail(void **state)
{
	(void)state;
	f.max_leases = 1;
	resolve_to("pypi.org", "192.0.2.1");
	assert_int_equal(rcode(), 0);
	/* The one there is makes room, unless a flow lives by it. */
	resolve_to("pypi.org", "192.0.2.2");
	assert_int_equal(rcode(), 0);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_LEASES_EVICTED], 1);
	for (size_t i = 0; i < SLUICE_LEASE_USE_WORDS; i++)
		f.lease_use[i] = NOW;
	resolve_to("pypi.org", "192.0.2.1");
	assert_int_equal(rcode(), WIRE_RCODE_SERVFAIL);
	assert_string_equal(replied(), "");
	f.max_names = f.nnames;
	resolve_to("a.example.org", "192.0.2.2");
	assert_int_equal(rcode(), WIRE_RCODE_SERVFAIL);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_LEASES_FAILED], 2);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_SERVFAIL], 2);
}

/* A name asked often costs no look at the tables; one that has moved, or another policy's, does. */
static void what_was_just_opened_is_remembered(void **state)
{
	struct msg m = query("pypi.org", WIRE_A);
	uint32_t looks;

	(void)state;
	resolve_to("pypi.org", "192.0.2.1");
	looks = f.looks;
	assert_int_not_equal(looks, 0);
	resolve_to("pypi.org", "192.0.2.1");
	assert_string_equal(replied(), "pypi.org 192.0.2.1 60");
	assert_int_equal(f.looks, looks);
	assert_int_equal(f.lease_writes, 1);
	resolve_to("pypi.org", "192.0.2.2");
	resolve_to("a.example.org", "192.0.2.1"); /* shares the address, not the name */
	assert_int_equal(f.lease_writes, 3);
	f.images[2] = policy.img;
	set_state(SLUICE_MODE_ENFORCE, 2);
	resolve_to("pypi.org", "192.0.2.1");
	assert_int_equal(f.nleases, 3);
	set_state(SLUICE_MODE_ENFORCE, 1);
	/* A chain through the cluster's domain opens nothing, remembered or not. */
	ask_name("pypi.org", WIRE_A);
	m = begin_answer();
	add_name_rr(&m, "pypi.org", WIRE_CNAME, 60, "x.ns.pod.cluster.local");
	add_addr(&m, "x.ns.pod.cluster.local", 60, "192.0.2.1");
	assert_true(give(&m));
	assert_string_equal(replied(), "pypi.org -> x.ns.pod.cluster.local 60");
	/* Nor does what is remembered outlive the settings, or its time. */
	core_set_settings(f.core, &f.conf);
	looks = f.looks;
	resolve_to("pypi.org", "192.0.2.1");
	assert_true(f.looks > looks);
	looks = f.looks;
	ask_name("pypi.org", WIRE_A);
	m = begin_answer();
	add_addr(&m, "pypi.org", 600, "192.0.2.1"); /* a longer promise */
	assert_true(give(&m));
	assert_int_equal(f.leases[0].slots[0].expires, NOW + NSEC_PER_MSEC + 605 * NSEC_PER_SEC);
	looks = f.looks;
	resolve_at("pypi.org", "192.0.2.1", NOW + LEASE_MEMO_TIME);
	assert_int_equal(f.looks, looks);
	resolve_at("pypi.org", "192.0.2.1", NOW + LEASE_MEMO_TIME + 2 * NSEC_PER_MSEC);
	assert_true(f.looks > looks);
}

/* Hazard 12: no name opens a Service's address, known or not. */
static void barred_addresses_are_stripped(void **state)
{
	const struct sluice_prefix services = { .addr = test_addr("192.0.2.128"), .bits = 96 + 25 };
	const struct inventory inv = { .service_cidrs = &services, .nservice_cidrs = 1 };

	(void)state;
	compiled_clear(&policy);
	policy = test_compile(names_policy, &inv);
	f.images[1] = policy.img;
	resolve_to("pypi.org", "192.0.2.129");
	assert_string_equal(replied(), "");
	assert_int_equal(f.nleases, 0);
	resolve_to("pypi.org", "192.0.2.1");
	assert_string_equal(replied(), "pypi.org 192.0.2.1 60");
	assert_int_equal(f.nleases, 1);
}

/* A rule for all addresses is none for those that never leave a host. */
static void addresses_of_the_host_are_stripped(void **state)
{
	(void)state;
	use_policy(CNP_HEAD
		   "  egress:\n"
		   "  - toEndpoints: [{matchLabels: {k8s-app: kube-dns}}]\n"
		   "    toPorts: [{ports: [{port: \"53\", protocol: ANY}], rules: {dns: [{matchPattern: '*'}]}}]\n"
		   "  - toCIDR: [0.0.0.0/0]\n");
	resolve_to("any.test", "198.51.100.7");
	assert_string_equal(replied(), "any.test 198.51.100.7 60");
	resolve_to("any.test", "127.0.0.1");
	assert_string_equal(replied(), "");
}

/* D14: as many addresses of one answer as a pod can make use of, and no more. */
static void an_answer_opens_so_many(void **state)
{
	struct msg m = query("pypi.org", WIRE_A);

	(void)state;
	assert_int_equal(send_query(&m, true), 0);
	m = begin_answer();
	m.len = f.asked.len - 11;
	for (int i = 0; i < ANSWER_MAX_ADDRS + 6; i++) {
		char addr[32];

		snprintf(addr, sizeof(addr), "192.0.2.%d", i);
		add_addr(&m, "pypi.org", 60, addr);
	}
	assert_true(give(&m));
	assert_int_equal(get16(reply()->data + 6), ANSWER_MAX_ADDRS);
	assert_int_equal(f.nleases, ANSWER_MAX_ADDRS);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_ADDRS_STRIPPED], 6);
	/* At the lease and at the cluster of each that is opened, and at nothing of those that are too many. */
	assert_int_equal(f.looks, 2 * ANSWER_MAX_ADDRS);
}

/* An address record of another length is none. */
static void no_address_is_not_passed_on(void **state)
{
	struct msg m;

	(void)state;
	ask_name("pypi.org", WIRE_A);
	m = begin_answer();
	begin_rr(&m, "pypi.org", WIRE_A, 60);
	add16(&m, 5);
	memcpy(m.data + m.len, "\300\0\2\7\7", 5);
	m.len += 5;
	add_addr(&m, "pypi.org", 60, "192.0.2.1");
	assert_true(give(&m));
	assert_int_equal(get16(reply()->data + 6), 1);
	assert_int_equal(f.nleases, 1);
}

/* Semantics section 4, hazard 17. */
static void ask_only_names_tell_what_is_reachable(void **state)
{
	struct msg m;

	(void)state;
	use_policy(ask_policy);
	ask_name("any.test", WIRE_A);
	assert_int_equal(f.nasked, 1);
	m = begin_answer();
	add_name_rr(&m, "any.test", WIRE_CNAME, 60, "b.test");
	add_addr(&m, "b.test", 30, "198.51.100.7");
	add_addr(&m, "b.test", 30, "6.6.6.6");
	assert_true(give(&m));
	assert_string_equal(replied(), "any.test 198.51.100.7 30"); /* flat: no other name, no other address */
	assert_int_equal(f.nleases, 0);
	resolve_to("any.test", "6.6.6.6");
	assert_string_equal(replied(), "");
	assert_int_equal(last_record()->verdict, SLUICE_DNS_FILTERED);
	/* What a listed name has opened is reachable, whoever answers with it. */
	resolve_to("pypi.org", "192.0.2.1");
	resolve_to("any.test", "192.0.2.1");
	assert_string_equal(replied(), "any.test 192.0.2.1 60");
	ask_name("any.test", WIRE_SRV);
	assert_string_equal(replied(), "");
	assert_int_equal(f.nasked, 4);
}

static void ask_only_names_stay_here_where_nothing_outside_is_open(void **state)
{
	(void)state;
	use_policy(ask_nothing_outside);
	ask_name("c2VjcmV0.evil.example", WIRE_A);
	assert_int_equal(f.nasked, 0);
	assert_int_equal(rcode(), 0);
	assert_int_equal(last_record()->verdict, SLUICE_DNS_FILTERED);
	ask_name("kubernetes.default.svc.cluster.local", WIRE_A);
	assert_int_equal(f.nasked, 1);
	f.conf.ask_only = PROXY_ASK_FORWARD;
	core_set_settings(f.core, &f.conf);
	resolve_to("any.test", "6.6.6.6");
	assert_string_equal(replied(), "any.test 6.6.6.6 60");
	assert_int_equal(f.nleases, 0);
	f.conf.ask_only = PROXY_ASK_DENY;
	core_set_settings(f.core, &f.conf);
	ask_name("any.test", WIRE_A);
	assert_int_equal(last_record()->verdict, SLUICE_DNS_DENIED);
}

static void audit_answers_and_reports(void **state)
{
	(void)state;
	set_state(SLUICE_MODE_AUDIT, 1);
	resolve_to("evil.example", "6.6.6.6");
	assert_string_equal(replied(), "evil.example 6.6.6.6 60");
	assert_int_equal(last_record()->verdict, SLUICE_DNS_AUDIT);
	assert_int_equal(f.nleases, 0);
	resolve_to("pypi.org", "127.0.0.1");
	assert_string_equal(replied(), "pypi.org 127.0.0.1 60");
	assert_int_equal(last_record()->verdict, SLUICE_DNS_AUDIT);
	resolve_to("pypi.org", "192.0.2.1");
	assert_int_equal(last_record()->verdict, SLUICE_DNS_ALLOWED);
	assert_int_equal(f.nleases, 1);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_AUDIT], 2);
}

static void truncated_answers_teach_nothing(void **state)
{
	struct msg m;

	(void)state;
	ask_name("pypi.org", WIRE_A);
	m = begin_answer();
	add_addr(&m, "pypi.org", 60, "192.0.2.1");
	m.data[2] |= 2;
	assert_true(give(&m));
	assert_true(reply()->data[2] & 2);
	assert_string_equal(replied(), "");
	assert_int_equal(f.nleases, 0);

	/* Too long for this asker: the same. */
	ask_name("pypi.org", WIRE_A);
	m = begin_answer();
	for (int i = 0; i < 40; i++) {
		char addr[32];

		snprintf(addr, sizeof(addr), "192.0.2.%d", i);
		add_addr(&m, "pypi.org", 60, addr);
	}
	assert_true(give(&m));
	assert_true(reply()->data[2] & 2);
	assert_true(reply()->len <= 512);
	assert_int_equal(f.nleases, 0);

	/* A pod on TCP is not sent away: the resolver is asked by TCP. */
	m = query("pypi.org", WIRE_A);
	assert_int_equal(send_query(&m, true), 0);
	assert_false(f.asked_tcp);
	m = begin_answer();
	m.data[2] |= 2;
	assert_true(give(&m));
	assert_true(f.asked_tcp);
	m = begin_answer();
	add_addr(&m, "pypi.org", 60, "192.0.2.1");
	assert_true(give(&m));
	assert_string_equal(replied(), "pypi.org 192.0.2.1 60");
	assert_true(f.replied_to.tcp);
	assert_int_equal(f.nleases, 1);
}

static void ask_by_tcp(const char *name)
{
	struct msg m = query(name, WIRE_A);

	assert_int_equal(send_query(&m, true), 0);
}

/* A connection that stands is used for who asks by TCP, and for nobody else; nothing hangs on it. */
static void tcp_goes_on_by_tcp(void **state)
{
	struct sluice_addr first = test_addr("10.0.0.53");
	struct msg m;

	(void)state;
	f.conf.nresolvers = 2;
	f.conf.resolvers[1] = (struct proxy_resolver){ .addr = test_addr("10.0.0.54"), .port = 53 };
	core_set_settings(f.core, &f.conf);
	f.tcp_stands = true;
	ask_name("pypi.org", WIRE_A);
	assert_false(f.asked_tcp);
	ask_by_tcp("pypi.org");
	assert_true(f.asked_tcp);
	m = begin_answer();
	add_addr(&m, "pypi.org", 60, "192.0.2.1");
	assert_true(give(&m));
	assert_true(f.replied_to.tcp);

	/* The resolver closes it: the same one is asked by UDP, and is not to blame. */
	for (int i = 0; i < 20; i++) {
		ask_by_tcp("pypi.org");
		assert_true(f.asked_tcp);
		core_lost(f.core, f.asked_transport, true, false, NOW);
		assert_false(f.asked_tcp);
		assert_memory_equal(&f.asked_of.addr, &first, 16);
		m = begin_answer();
		add_addr(&m, "pypi.org", 60, "192.0.2.1");
		assert_true(give(&m));
		assert_int_equal(rcode(), WIRE_NOERROR);
	}
	assert_int_equal(f.stats.resolvers[0].failures, 0);

	/* Nor does silence tell of it: the query may have stood behind another. */
	ask_by_tcp("pypi.org");
	core_tick(f.core, NOW + 1001 * NSEC_PER_MSEC);
	assert_false(f.asked_tcp);
	assert_memory_equal(&f.asked_of.addr, &first, 16);
	assert_int_equal(f.stats.resolvers[0].timeouts, 1); /* of the first query of all, by UDP */
}

/* What has to go by TCP does so again, and not for ever. */
static void what_does_not_fit_stays_on_tcp(void **state)
{
	struct msg m;

	(void)state;
	ask_by_tcp("pypi.org");
	assert_false(f.asked_tcp);
	m = begin_answer();
	m.data[2] |= 2;
	assert_true(give(&m));
	assert_true(f.asked_tcp);
	core_lost(f.core, f.asked_transport, true, false, NOW);
	assert_true(f.asked_tcp);
	assert_int_equal(f.nasked, 3);
	assert_int_equal(f.nreplies, 0);
	core_lost(f.core, f.asked_transport, true, false, NOW);
	assert_int_equal(f.nasked, 3);
	assert_int_equal(rcode(), WIRE_RCODE_SERVFAIL);
	assert_int_equal(core_in_flight(f.core), 0);
	assert_int_equal(f.nreleased, 3);
}

static void resolvers_take_over_from_each_other(void **state)
{
	struct sluice_addr first = test_addr("10.0.0.53"), second = test_addr("10.0.0.54");
	struct msg m = query("pypi.org", WIRE_A);
	struct core_asker from = asker(false);

	(void)state;
	f.conf.nresolvers = 2;
	f.conf.resolvers[1] = (struct proxy_resolver){ .addr = second, .port = 53 };
	core_set_settings(f.core, &f.conf);
	ask_name("pypi.org", WIRE_A);
	assert_memory_equal(&f.asked_of.addr, &first, 16);
	assert_int_equal(core_tick(f.core, NOW + 999 * NSEC_PER_MSEC), NOW + 1000 * NSEC_PER_MSEC);
	core_tick(f.core, NOW + 1000 * NSEC_PER_MSEC);
	assert_memory_equal(&f.asked_of.addr, &second, 16);
	m = begin_answer();
	m.data[3] = WIRE_RCODE_SERVFAIL;
	assert_true(give(&m));
	assert_int_equal(f.nasked, 3); /* the third and last try */
	core_tick(f.core, NOW + 5000 * NSEC_PER_MSEC);
	assert_int_equal(f.nreplies, 1);
	assert_int_equal(rcode(), WIRE_RCODE_SERVFAIL);
	assert_int_equal(core_in_flight(f.core), 0);
	assert_int_equal(f.nreleased, 3);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_UPSTREAM_TIMEOUTS], 2);
	/* The trusted one that was asked comes first; any other address is only played. */
	from.server = second;
	m = query("pypi.org", WIRE_A);
	assert_int_equal(core_query(f.core, &from, m.data, m.len, NOW + 100 * NSEC_PER_SEC), 0);
	assert_memory_equal(&f.asked_of.addr, &second, 16);
	core_lost(f.core, f.asked_transport, false, true, NOW + 100 * NSEC_PER_SEC);
	assert_memory_equal(&f.asked_of.addr, &first, 16);
}

/* A resolver's number means something within one set of settings only: neither blame nor praise goes to another's. */
static void who_was_asked_is_forgotten_with_the_settings(void **state)
{
	struct sluice_addr first = test_addr("10.0.0.53"), second = test_addr("10.0.0.54");
	struct msg m;

	(void)state;
	ask_name("pypi.org", WIRE_A);
	m = begin_answer();
	m.data[3] = WIRE_RCODE_SERVFAIL;
	assert_true(give(&m)); /* and no other to ask */
	assert_int_equal(rcode(), WIRE_RCODE_SERVFAIL);
	assert_int_equal(f.stats.resolvers[0].errors, 1);

	ask_name("pypi.org", WIRE_A);
	assert_memory_equal(&f.asked_of.addr, &first, 16);
	f.conf.nresolvers = 2;
	f.conf.resolvers[0] = (struct proxy_resolver){ .addr = second, .port = 53 };
	f.conf.resolvers[1] = (struct proxy_resolver){ .addr = first, .port = 53 };
	core_set_settings(f.core, &f.conf);
	m = begin_answer();
	m.data[3] = WIRE_RCODE_SERVFAIL;
	assert_true(give(&m));
	assert_int_equal(f.stats.resolvers[0].errors, 0);
	assert_memory_equal(&f.asked_of.addr, &second, 16); /* of another number 0 */
	assert_int_equal(f.stats.resolvers[0].sent, 1);
}

/* Sockets and connections are counted apart. */
static void a_lost_connection_is_no_lost_socket(void **state)
{
	uint32_t asked;

	(void)state;
	ask_name("pypi.org", WIRE_A);
	asked = f.nasked;
	core_lost(f.core, f.asked_transport, true, true, NOW);
	assert_int_equal(f.nasked, asked);
	core_lost(f.core, f.asked_transport, false, true, NOW);
	assert_int_equal(f.nasked, asked + 1);
}

static uint32_t ended;

/* In a full table the I/O side ends another endpoint's connection before it says where the query went. */
static void end_another(struct fake *fake)
{
	struct fake_packet asked = fake->asked;
	uint32_t transport = fake->asked_transport;

	fake->on_ask = NULL;
	fake->tcp_stands = false;
	core_lost(fake->core, ended, true, false, NOW);
	assert_false(fake->asked_tcp); /* what was under way there */
	assert_int_not_equal(fake->asked_transport, transport);
	fake->asked = asked;
	fake->asked_transport = transport;
	fake->asked_tcp = true;
}

static void asking_may_end_anothers_connection(void **state)
{
	struct core_asker from = asker(true);
	struct msg m = query("pypi.org", WIRE_A), a;

	(void)state;
	f.tcp_stands = true;
	add_endpoint(4);
	assert_int_equal(send_query(&m, true), 0);
	ended = f.asked_transport;
	f.on_ask = end_another;
	from.endpoint = 4;
	from.generation = 104;
	from.ifindex = 104;
	m = query("n.example.org", WIRE_A);
	assert_int_equal(core_query(f.core, &from, m.data, m.len, NOW), 0);
	assert_int_equal(f.nasked, 3);
	assert_int_equal(core_in_flight(f.core), 2);
	a = begin_answer();
	add_addr(&a, "n.example.org", 60, "192.0.2.1");
	assert_true(core_answer(f.core, f.asked_transport, true, a.data, a.len, NOW));
	assert_string_equal(replied(), "n.example.org 192.0.2.1 60");
	core_tick(f.core, NOW + 10 * NSEC_PER_SEC);
	core_tick(f.core, NOW + 20 * NSEC_PER_SEC);
	core_tick(f.core, NOW + 30 * NSEC_PER_SEC);
	assert_int_equal(rcode(), WIRE_RCODE_SERVFAIL);
	assert_int_equal(f.nreplies, 2);
	assert_int_equal(core_in_flight(f.core), 0);
}

static void no_resolver_is_servfail(void **state)
{
	(void)state;
	f.ask_error = -ENETUNREACH;
	ask_name("pypi.org", WIRE_A);
	assert_int_equal(rcode(), WIRE_RCODE_SERVFAIL);
	f.ask_error = 0;
	f.conf.nresolvers = 0;
	core_set_settings(f.core, &f.conf);
	ask_name("pypi.org", WIRE_A);
	assert_int_equal(rcode(), WIRE_RCODE_SERVFAIL);
	assert_int_equal(f.nasked, 0);
	assert_int_equal(core_in_flight(f.core), 0);
	/* The denied are denied all the same. */
	ask_name("evil.example", WIRE_A);
	assert_int_equal(rcode(), 0);
}

/* `m` under that id. */
static void ask_numbered(uint32_t endpoint, struct msg *m, int id)
{
	m->data[0] = (uint8_t)(id >> 8);
	m->data[1] = (uint8_t)id;
	ask_from(endpoint, m);
}

static void one_endpoint_does_not_take_all(void **state)
{
	struct msg m = query("pypi.org", WIRE_A);
	struct core_asker from = asker(false);

	(void)state;
	for (int i = 0; i < CORE_FLIGHTS_PER_ENDPOINT; i++)
		ask_numbered(3, &m, 1000 + i);
	assert_int_equal(f.nreplies, 0);
	/* One more: its own first is given up. */
	ask_numbered(3, &m, 7);
	assert_int_equal(rcode(), WIRE_RCODE_SERVFAIL);
	assert_int_equal(get16(f.replies[0].data), 1000);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_INFLIGHT_EVICTED], 1);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_INFLIGHT_FULL], 0);
	assert_int_equal(core_in_flight(f.core), CORE_FLIGHTS_PER_ENDPOINT);
	add_endpoint(4);
	from.ifindex = 104;
	assert_int_equal(core_query(f.core, &from, m.data, m.len, NOW), 0);
	assert_int_equal(f.nasked, 1); /* all of them are one question to the resolver */
	assert_int_equal(f.nreplies, 1);
	assert_int_equal(core_in_flight(f.core), CORE_FLIGHTS_PER_ENDPOINT + 1);
	for (int i = 1; i < 5; i++)
		core_tick(f.core, NOW + (uint64_t)i * 1000 * NSEC_PER_MSEC);
	assert_int_equal(core_in_flight(f.core), 0);
	assert_int_equal(f.nreplies, CORE_FLIGHTS_PER_ENDPOINT + 2);
}

/* Several pods that fill the whole table together: one of theirs makes room, the oldest of who has most. */
static void several_do_not_take_all(void **state)
{
	const uint32_t fill = CORE_FLIGHTS / CORE_FLIGHTS_PER_ENDPOINT, last = 1 + fill, honest = 2 + fill;
	struct msg m = query("pypi.org", WIRE_A);

	(void)state;
	for (uint32_t id = 1; id <= honest; id++)
		if (id != 3)
			add_endpoint(id);
	/* All but one have a full share; two others have the last one between them. */
	for (uint32_t id = 1; id < fill; id++)
		for (int i = 0; i < CORE_FLIGHTS_PER_ENDPOINT; i++)
			ask_numbered(id, &m, (int)(1000 * id) + i);
	for (int i = 0; i < CORE_FLIGHTS_PER_ENDPOINT; i++)
		ask_numbered(i < 100 ? fill : last, &m, 60000 + i);
	assert_int_equal(core_in_flight(f.core), CORE_FLIGHTS);
	assert_int_equal(f.nreplies, 0);
	ask_numbered(honest, &m, 7);
	assert_int_equal(f.nreplies, 1);
	assert_int_equal(rcode(), WIRE_RCODE_SERVFAIL);
	assert_int_equal(get16(f.replies[0].data), 1000);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_INFLIGHT_EVICTED], 1);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_INFLIGHT_FULL], 0);
	/* Who gave one up takes it from the next that has more, not from those with less. */
	ask_numbered(1, &m, 8);
	assert_int_equal(get16(reply()->data), 2000);
	ask_numbered(honest, &m, 9);
	assert_int_equal(get16(reply()->data), 1001);
	assert_int_equal(core_in_flight(f.core), CORE_FLIGHTS);
}

/* Of several that wait for one answer, the pod that asks too much loses its own query and nobody else's. */
static void what_others_wait_for_goes_on(void **state)
{
	struct msg m = query("pypi.org", WIRE_A), a;
	char name[32], shown[256];
	uint32_t transport;

	(void)state;
	add_endpoint(4);
	ask_numbered(3, &m, 1); /* asked of the resolver */
	a = begin_answer();
	transport = f.asked_transport;
	ask_numbered(4, &m, 2);
	ask_numbered(3, &m, 3);
	ask_numbered(4, &m, 4);
	for (int i = 0; i < CORE_FLIGHTS_PER_ENDPOINT; i++) {
		struct msg another;

		snprintf(name, sizeof(name), "n%d.example.org", i);
		another = query(name, WIRE_A);
		ask_from(3, &another);
	}
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_INFLIGHT_EVICTED], 2);
	assert_int_equal(f.nreplies, 2);
	assert_int_equal(get16(f.replies[0].data), 1);
	assert_int_equal(get16(f.replies[1].data), 3);
	assert_int_equal(f.nreleased, 0);
	assert_int_equal(core_in_flight(f.core), CORE_FLIGHTS_PER_ENDPOINT + 2);
	/* The resolver answers what it was asked first. */
	add_addr(&a, "pypi.org", 60, "192.0.2.1");
	assert_true(core_answer(f.core, transport, false, a.data, a.len, NOW));
	assert_int_equal(f.nreplies, 4);
	for (int i = 2; i < 4; i++) {
		assert_int_equal(get16(f.replies[i].data), 2 * i - 2);
		assert_string_equal(answers(f.replies[i].data, f.replies[i].len, shown, sizeof(shown)),
				    "pypi.org 192.0.2.1 60");
	}
	assert_int_equal(core_in_flight(f.core), CORE_FLIGHTS_PER_ENDPOINT);
	for (int i = 1; i < 5; i++)
		core_tick(f.core, NOW + (uint64_t)i * 1000 * NSEC_PER_MSEC);
	assert_int_equal(core_in_flight(f.core), 0);
}

/* D2: labels below an allowed wildcard are a way out; how wide it is can be said. */
static void new_names_have_a_budget(void **state)
{
	uint64_t minute = 60 * NSEC_PER_SEC;
	struct msg m;
	char name[32];

	(void)state;
	f.conf.new_names = 10;
	core_set_settings(f.core, &f.conf);
	for (int i = 0; i < 12; i++) {
		snprintf(name, sizeof(name), "n%d.example.org", i);
		ask_name(name, WIRE_A);
	}
	assert_int_equal(f.nasked, 10);
	assert_int_equal(rcode(), WIRE_RCODE_REFUSED);
	assert_int_equal(last_record()->verdict, SLUICE_DNS_DENIED);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_NEW_NAMES], 2);
	/* What it was let ask before, and what a rule spells out, is free; so is another pod's. */
	resolve_to("n3.example.org", "192.0.2.1");
	resolve_to("pypi.org", "192.0.2.1");
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_NEW_NAMES], 2);
	add_endpoint(4);
	m = query("n100.example.org", WIRE_A);
	ask_from(4, &m);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_NEW_NAMES], 2);
	/* A tenth of a minute later there is one more. */
	for (int i = 20; i < 22; i++) {
		struct core_asker from = asker(false);

		snprintf(name, sizeof(name), "n%d.example.org", i);
		m = query(name, WIRE_A);
		assert_int_equal(core_query(f.core, &from, m.data, m.len, NOW + minute / 10), 0);
	}
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_NEW_NAMES], 3);
	/* Under audit it is counted and goes on; another pod in its place has a budget of its own. */
	set_state(SLUICE_MODE_AUDIT, 1);
	m.len = f.nasked;
	ask_name("n30.example.org", WIRE_A);
	assert_int_equal(f.nasked, m.len + 1);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_NEW_NAMES], 4);
	set_state(SLUICE_MODE_ENFORCE, 1);
	f.links[3].generation = f.endpoints[3].generation = 500;
	ask_name("n31.example.org", WIRE_A);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_NEW_NAMES], 4);
}

/* By loopback the interface says nothing: what the endpoint's own program noted does, and nothing else (hazard 14). */
static void a_cgroup_endpoint_is_known_by_what_its_program_noted(void **state)
{
	struct msg m = query("evil.example", WIRE_A);
	struct core_asker from = {
		.addr = test_addr("127.0.0.1"), .server = test_addr("127.0.53.53"), .ifindex = 1, .port = 40000
	};
	struct core_asker another = from;

	(void)state;
	add_endpoint(4);
	f.endpoints[4].ifindex = 0;
	f.endpoints[4].generation = 78;
	f.asker_key = (struct sluice_asker_key){ .addr = from.addr, .port = htons(40000), .proto = IPPROTO_UDP };
	f.asker = (struct sluice_asker){ .server = test_addr("8.8.8.8"), .endpoint = 4, .generation = 78 };
	assert_int_equal(core_query(f.core, &from, m.data, m.len, NOW), 0);
	assert_int_equal(f.nreplies, 1);
	assert_int_equal(f.replied_to.endpoint, 4);
	assert_int_equal(f.replied_to.ifindex, 0);
	assert_true(addr_equal(&f.replied_to.from, &from.server));
	assert_true(addr_equal(&f.replied_to.server, &f.asker.server));
	another.port = 40001;
	assert_int_equal(core_query(f.core, &another, m.data, m.len, NOW), -ENOENT);
	f.asker.generation = 77;
	assert_int_equal(core_query(f.core, &from, m.data, m.len, NOW), -ENOENT);
	f.asker.generation = 78;
	f.endpoints[4].ifindex = 104; /* a veth's endpoint does not ask by loopback */
	assert_int_equal(core_query(f.core, &from, m.data, m.len, NOW), -ENOENT);
	assert_int_equal(f.nreplies, 1);
}

/* Equal questions of one policy are one upstream query; each asker is answered and leased for itself. */
static void equal_questions_share_an_answer(void **state)
{
	struct msg m = query("PYPI.org", WIRE_A), edns = query("pypi.org", WIRE_A);

	(void)state;
	add_endpoint(4);
	add_endpoint(5);
	ask_name("pypi.org", WIRE_A);
	ask_from(4, &m);
	m.data[1] = 0x77; /* another id, and the same pod twice */
	ask_from(4, &m);
	add_opt(&edns, 1232, 0, NULL, 0);
	ask_from(5, &edns);
	assert_int_equal(f.nasked, 1);
	assert_int_equal(core_in_flight(f.core), 4);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_SHARED], 3);
	f.endpoints[5].state = SLUICE_STATE(SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 1, 2);
	m = begin_answer();
	add_addr(&m, "pypi.org", 60, "192.0.2.1");
	assert_true(give(&m));
	assert_int_equal(f.nreplies, 4);
	assert_int_equal(core_in_flight(f.core), 0);
	assert_int_equal(f.nreleased, 1);
	for (int i = 0; i < 3; i++)
		assert_string_equal(answers(f.replies[i].data, f.replies[i].len, text, sizeof(text)),
				    "pypi.org 192.0.2.1 60");
	assert_memory_equal(f.replies[1].data + 12, "\004PYPI\003org", 10);
	assert_int_equal(get16(f.replies[2].data), 0x1277);
	/* Its policy is another one by now, and does not list the name. */
	assert_string_equal(replied(), "");
	assert_int_equal(last_record()->verdict, SLUICE_DNS_DENIED);
	assert_int_equal(f.nleases, 1);
	assert_int_equal(f.leases[0].slots[0].generation, 104);
	assert_false(give(&m));
}

/* What differs in anything that the answer may hang on is asked for itself. */
static void unequal_questions_do_not(void **state)
{
	struct sluice_addr second = test_addr("10.0.0.54");
	struct msg m = query("pypi.org", WIRE_A);
	struct core_asker from = asker(false);

	(void)state;
	f.conf.nresolvers = 2;
	f.conf.resolvers[1] = (struct proxy_resolver){ .addr = second, .port = 53 };
	core_set_settings(f.core, &f.conf);
	add_endpoint(4);
	ask_name("pypi.org", WIRE_A);
	ask_name("pypi.org", WIRE_AAAA);
	ask_name("a.example.org", WIRE_A);
	assert_int_equal(send_query(&m, true), 0);
	from.server = second;
	assert_int_equal(core_query(f.core, &from, m.data, m.len, NOW), 0);
	add_opt(&m, 1232, 0x8000, NULL, 0);
	assert_int_equal(send_query(&m, false), 0);
	assert_int_equal(f.nasked, 6);
	f.images[2] = policy.img; /* the same rules, another policy */
	f.endpoints[4].state = SLUICE_STATE(SLUICE_MODE_ENFORCE, SLUICE_STATE_NAMES, 1, 2);
	m = query("pypi.org", WIRE_A);
	ask_from(4, &m);
	assert_int_equal(f.nasked, 7);
	core_set_settings(f.core, &f.conf); /* nor what was asked of other settings' resolvers */
	ask_name("pypi.org", WIRE_A);
	assert_int_equal(f.nasked, 8);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_SHARED], 0);
}

static uint64_t id_of(const char *name)
{
	struct wire_name n = { .len = (uint8_t)strlen(name) };

	memcpy(n.text, name, n.len);
	return lease_name_id(&f.maps, &n);
}

/* Nor do those that only chance has put into one place of the table. */
static void neighbours_in_the_table_are_no_equals(void **state)
{
	unsigned int i = 0;
	char name[32];

	(void)state;
	f.conf.qtypes[f.conf.nqtypes++] = WIRE_A + FLIGHT_BUCKETS;
	core_set_settings(f.core, &f.conf);
	ask_name("pypi.org", WIRE_A);
	do
		snprintf(name, sizeof(name), "h%u.example.org", i++);
	while ((id_of(name) ^ id_of("pypi.org")) % FLIGHT_BUCKETS != 0);
	ask_name(name, WIRE_A);
	assert_int_equal(f.nasked, 2);
	ask_name("pypi.org", WIRE_A + FLIGHT_BUCKETS);
	assert_int_equal(f.nasked, 3);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_SHARED], 0);
}

/* Deadlines go off in their order, also where later queries are given less time. */
static void who_has_less_time_is_first(void **state)
{
	(void)state;
	ask_name("pypi.org", WIRE_A);
	f.conf.query_timeout_ms = 100;
	core_set_settings(f.core, &f.conf);
	ask_name("pypi.org", WIRE_AAAA);
	core_tick(f.core, NOW + 150 * NSEC_PER_MSEC);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_UPSTREAM_TIMEOUTS], 1);
}

static void who_waits_shares_the_failure(void **state)
{
	struct msg m = query("pypi.org", WIRE_A);

	(void)state;
	add_endpoint(4);
	add_endpoint(5);
	ask_name("pypi.org", WIRE_A);
	ask_from(4, &m);
	ask_from(5, &m);
	f.endpoints[3].generation++; /* the pod that asked first is gone, and so is another */
	f.endpoints[5].generation++;
	for (int i = 1; i < 5; i++)
		core_tick(f.core, NOW + (uint64_t)i * NSEC_PER_SEC);
	assert_int_equal(f.nreplies, 1);
	assert_int_equal(f.replied_to.ifindex, 104);
	assert_int_equal(rcode(), WIRE_RCODE_SERVFAIL);
	assert_int_equal(core_in_flight(f.core), 0);
	ask_from(4, &m);
	assert_int_equal(core_in_flight(f.core), 1); /* a query of its own again */
	assert_int_equal(f.nasked, 4);
	f.endpoints[4].generation++;
	m = begin_answer();
	add_addr(&m, "pypi.org", 60, "192.0.2.1");
	assert_true(give(&m));
	assert_int_equal(f.nreplies, 1);
	assert_int_equal(f.nleases, 0);
}

/* Servers from before EDNS: once asked without, then remembered for a while. */
static void resolvers_that_refuse_edns(void **state)
{
	struct msg m = query("pypi.org", WIRE_A);
	struct core_asker from = asker(false);

	(void)state;
	for (int form = 0; form < 3; form++) {
		core_set_settings(f.core, &f.conf);
		ask_name("pypi.org", WIRE_A);
		assert_true(asked_with_opt());
		m = begin_answer();
		m.data[3] = form == 0 ? WIRE_RCODE_FORMERR : form == 1 ? WIRE_RCODE_NOTIMP : 0;
		if (form == 0) { /* a header and nothing else */
			memset(m.data + 4, 0, 8);
			m.len = 12;
		}
		if (form == 2) { /* BADVERS: its upper bits are in the OPT record */
			add_opt(&m, 512, 0, NULL, 0);
			m.data[m.len - 6] = 1;
		}
		assert_true(give(&m));
		assert_false(asked_with_opt());
		assert_int_equal(core_in_flight(f.core), 1);
		/* A failure of the question itself says nothing about EDNS. */
		m = begin_answer();
		m.data[3] = WIRE_RCODE_FORMERR;
		assert_true(give(&m));
		assert_int_equal(rcode(), WIRE_RCODE_SERVFAIL);
		ask_name("pypi.org", WIRE_A);
		assert_true(asked_with_opt());
		m = begin_answer();
		m.data[3] = WIRE_RCODE_NOTIMP;
		assert_true(give(&m));
		m = begin_answer();
		add_addr(&m, "pypi.org", 60, "192.0.2.1");
		assert_true(give(&m));
		assert_string_equal(replied(), "pypi.org 192.0.2.1 60");
		ask_name("pypi.org", WIRE_A);
		assert_false(asked_with_opt());
		m = begin_answer();
		add_addr(&m, "pypi.org", 60, "192.0.2.1");
		assert_true(give(&m));
	}
	m = query("pypi.org", WIRE_A);
	assert_int_equal(core_query(f.core, &from, m.data, m.len, NOW + 301 * NSEC_PER_SEC), 0);
	assert_true(asked_with_opt());
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_UPSTREAM_PLAIN], 9);
	/* Only what came by the query's own socket under its id. */
	m = begin_answer();
	m.data[3] = WIRE_RCODE_FORMERR;
	memset(m.data + 4, 0, 8);
	m.len = 12;
	m.data[0] ^= 1;
	assert_false(give(&m));
}

static uint64_t ask_at(const char *name, uint64_t now)
{
	struct core_asker from = asker(false);
	struct msg m = query(name, WIRE_A);
	uint32_t before = f.nreplies;

	assert_int_equal(core_query(f.core, &from, m.data, m.len, now), 0);
	/* The first resolver is dead, the other answers within a millisecond. */
	for (uint64_t wait = 0; wait < 10 * NSEC_PER_SEC; wait += NSEC_PER_MSEC) {
		core_tick(f.core, now + wait);
		if (f.asked_of.addr.b[15] == 54) {
			m = begin_answer();
			add_addr(&m, name, 60, "192.0.2.1");
			core_answer(f.core, f.asked_transport, false, m.data, m.len, now + wait + NSEC_PER_MSEC);
		}
		if (f.nreplies > before)
			return wait + NSEC_PER_MSEC;
	}
	return UINT64_MAX;
}

/* Ten minutes with the preferred resolver dead: what it costs, and how soon it is used again once it is back. */
static void fail_over_is_quick_and_ends(void **state)
{
	uint64_t now = NOW, worst = 0;
	unsigned int slow = 0;
	struct msg m;

	(void)state;
	f.conf.nresolvers = 2;
	f.conf.resolvers[1] = (struct proxy_resolver){ .addr = test_addr("10.0.0.54"), .port = 53 };
	core_set_settings(f.core, &f.conf);
	for (int i = 0; i < 6000; i++, now += 100 * NSEC_PER_MSEC) {
		uint64_t took = ask_at("pypi.org", now);

		worst = took > worst ? took : worst;
		slow += took > 10 * NSEC_PER_MSEC;
	}
	print_message("6000 queries, the first of two resolvers dead: %u waited, the longest %llu ms\n", slow,
		      (unsigned long long)(worst / NSEC_PER_MSEC));
	assert_int_equal(worst, 1001 * NSEC_PER_MSEC); /* one try */
	assert_true(slow >= 2 && slow <= 2 + 4 + 600 / 16 + 1);
	/* It is back: the next probe is answered, and all go to it again. */
	for (int i = 0; i < 170; i++, now += 100 * NSEC_PER_MSEC) {
		struct core_asker from = asker(false);

		m = query("pypi.org", WIRE_A);
		assert_int_equal(core_query(f.core, &from, m.data, m.len, now), 0);
		m = begin_answer();
		add_addr(&m, "pypi.org", 60, "192.0.2.1");
		assert_true(core_answer(f.core, f.asked_transport, false, m.data, m.len, now));
		if (f.asked_of.addr.b[15] == 53)
			slow = 0;
		else
			assert_int_not_equal(slow, 0);
	}
	assert_int_equal(slow, 0);
}

/* Errors are about the name more often than the resolver: the next one is asked, and this one stays up for long. */
static void errors_do_not_take_a_resolver_down(void **state)
{
	struct msg m;

	(void)state;
	f.conf.nresolvers = 2;
	f.conf.resolvers[1] = (struct proxy_resolver){ .addr = test_addr("10.0.0.54"), .port = 53 };
	core_set_settings(f.core, &f.conf);
	for (int i = 0; i < 17; i++) {
		ask_name("pypi.org", WIRE_A);
		assert_int_equal(f.asked_of.addr.b[15], i < 16 ? 53 : 54);
		if (i < 16) {
			m = begin_answer();
			m.data[3] = WIRE_RCODE_SERVFAIL;
			assert_true(give(&m));
			assert_int_equal(f.asked_of.addr.b[15], 54);
		}
		m = begin_answer();
		add_addr(&m, "pypi.org", 60, "192.0.2.1");
		assert_true(give(&m));
		assert_int_equal(rcode(), 0);
	}
	/* All have said so: no third try. */
	f.nasked = 0;
	ask_name("a.example.org", WIRE_A);
	for (int of = 0; of < 2; of++) {
		m = begin_answer();
		m.data[3] = WIRE_RCODE_REFUSED;
		assert_true(give(&m));
	}
	assert_int_equal(f.nasked, 2);
	assert_int_equal(rcode(), WIRE_RCODE_SERVFAIL);
	assert_int_equal(core_in_flight(f.core), 0);
}

static void log_is_a_ring_with_a_rate(void **state)
{
	struct sluice_dns_log_head *head = (struct sluice_dns_log_head *)f.log;

	(void)state;
	for (int i = 0; i < 20; i++)
		ask_name("evil.example", WIRE_A);
	assert_int_equal(head->next, 21);
	assert_int_equal(f.log[1 + (20 - 1) % 16].seq, 20);
	assert_int_equal(f.log[1 + (5 - 1) % 16].seq, 5);
	for (int i = 0; i < 1000; i++)
		ask_name("evil.example", WIRE_A);
	assert_true(head->suppressed > 500);
	assert_int_equal(f.stats.counts[SLUICE_DNS_STAT_DENIED], 1020);
}

/* Logged and left out are all there is, for each endpoint by itself; a new one in the slot starts anew. */
static void log_says_what_it_leaves_out(void **state)
{
	struct sluice_dns_log_head *head = (struct sluice_dns_log_head *)f.log;
	struct msg m = query("evil.example", WIRE_A);
	struct core_asker from = asker(false);
	uint64_t logged, left_out;

	(void)state;
	add_endpoint(4);
	for (int i = 0; i < 1000; i++)
		ask_name("evil.example", WIRE_A);
	left_out = head->suppressed;
	assert_int_equal(head->next - 1 + left_out, 1000);
	/* Another's is not kept back, and says nothing of that. */
	ask_from(4, &m);
	assert_int_equal(last_record()->endpoint, 4);
	assert_int_equal(last_record()->left_out, 0);
	assert_int_equal(core_query(f.core, &from, m.data, m.len, NOW + NSEC_PER_SEC), 0);
	assert_int_equal(last_record()->left_out, left_out);
	assert_int_equal(core_query(f.core, &from, m.data, m.len, NOW + NSEC_PER_SEC), 0);
	assert_int_equal(last_record()->left_out, 0);
	assert_int_equal(head->suppressed, left_out);
	for (int i = 0; i < 1000; i++)
		ask_name("evil.example", WIRE_A);
	logged = head->next;
	f.links[3].generation = f.endpoints[3].generation = 99;
	assert_int_equal(core_query(f.core, &from, m.data, m.len, NOW + 10 * NSEC_PER_SEC), 0);
	assert_int_equal(head->next, logged + 1);
	assert_int_equal(last_record()->left_out, 0);
}

static void counters_tell_verdict_rcode_type_resolver_and_time(void **state)
{
	const struct sluice_dns_resolver *first = &f.stats.resolvers[0], *second = &f.stats.resolvers[1];
	struct sluice_addr addr = test_addr("10.0.0.54");
	struct msg m;

	(void)state;
	f.conf.nresolvers = 2;
	f.conf.resolvers[1] = (struct proxy_resolver){ .addr = addr, .port = 5353 };
	core_set_settings(f.core, &f.conf);
	assert_memory_equal(&second->addr, &addr, 16);
	assert_int_equal(second->port, 5353);
	resolve_to("pypi.org", "192.0.2.1");
	assert_int_equal(f.stats.latency_us[3], 1); /* up to 1 ms, and that it took */
	assert_int_equal(f.stats.latency_sum_us, 1000);
	ask_name("evil.example", 999);
	ask_name("evil.example.cluster.local", WIRE_AAAA);
	ask_name("pypi.org", WIRE_AAAA);
	core_tick(f.core, NOW + NSEC_PER_SEC); /* a time-out at the first */
	m = begin_answer();
	m.data[3] = WIRE_RCODE_SERVFAIL;
	assert_true(give(&m)); /* an error of the second; the first again */
	core_lost(f.core, f.asked_transport, false, true, NOW + 2 * NSEC_PER_SEC);
	assert_int_equal(rcode(), WIRE_RCODE_SERVFAIL);
	assert_int_equal(f.stats.latency_us[13], 1); /* up to 2 s */
	assert_int_equal(f.stats.qtypes[WIRE_A], 1);
	assert_int_equal(f.stats.qtypes[WIRE_AAAA], 2);
	assert_int_equal(f.stats.qtypes[0], 1);
	assert_int_equal(f.stats.rcodes[0], 2);
	assert_int_equal(f.stats.rcodes[WIRE_RCODE_NXDOMAIN], 1);
	assert_int_equal(f.stats.rcodes[WIRE_RCODE_SERVFAIL], 1);
	assert_int_equal(first->sent, 3);
	assert_int_equal(first->answers, 1);
	assert_int_equal(first->timeouts, 1);
	assert_int_equal(first->failures, 1);
	assert_int_equal(first->down, 1);
	assert_int_equal(second->sent, 1);
	assert_int_equal(second->errors, 1);
	assert_int_equal(second->down, 0);
	/* The same resolver goes on counting; another in its place does not inherit. */
	f.conf.resolvers[1].port = 53;
	core_set_settings(f.core, &f.conf);
	assert_int_equal(first->sent, 3);
	assert_int_equal(first->down, 0);
	assert_int_equal(second->sent, 0);
	f.conf.nresolvers = 1;
	core_set_settings(f.core, &f.conf);
	assert_int_equal(second->port, 0);
}

static void odd_names_are_shown_escaped(void **state)
{
	(void)state;
	ask_name("a b\\x\001", WIRE_A);
	assert_string_equal(last_record()->name, "a\\032b\\092x\\001");
	assert_int_equal(last_record()->name_len, 15);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(allowed_name_gets_a_lease_and_an_answer),
		TEST(denied_name_causes_no_upstream_query),
		TEST(denial_names_the_policy),
		TEST(types_that_are_not_asked_are_empty),
		TEST(search_domains_get_nxdomain),
		TEST(malformed_is_answered_here),
		TEST(refused_addresses_are_stripped),
		TEST(cluster_names_open_nothing_outside),
		TEST(foreign_answers_are_ignored),
		TEST(ids_are_not_the_pods),
		TEST(answer_is_judged_by_the_policy_then_in_force),
		TEST(policy_that_moves_while_the_lease_is_written),
		TEST(state_that_never_rests_is_servfail),
		TEST(tcp_queries_have_a_rate),
		TEST(endpoint_that_is_gone_gets_nothing),
		TEST(modes_without_names_are_servfail),
		TEST(full_tables_are_servfail),
		TEST(what_was_just_opened_is_remembered),
		TEST(ask_only_names_tell_what_is_reachable),
		TEST(ask_only_names_stay_here_where_nothing_outside_is_open),
		TEST(audit_answers_and_reports),
		TEST(truncated_answers_teach_nothing),
		TEST(tcp_goes_on_by_tcp),
		TEST(what_does_not_fit_stays_on_tcp),
		TEST(resolvers_take_over_from_each_other),
		TEST(who_was_asked_is_forgotten_with_the_settings),
		TEST(a_lost_connection_is_no_lost_socket),
		TEST(barred_addresses_are_stripped),
		TEST(addresses_of_the_host_are_stripped),
		TEST(an_answer_opens_so_many),
		TEST(no_address_is_not_passed_on),
		TEST(asking_may_end_anothers_connection),
		TEST(no_resolver_is_servfail),
		TEST(one_endpoint_does_not_take_all),
		TEST(several_do_not_take_all),
		TEST(what_others_wait_for_goes_on),
		TEST(new_names_have_a_budget),
		TEST(a_cgroup_endpoint_is_known_by_what_its_program_noted),
		TEST(equal_questions_share_an_answer),
		TEST(unequal_questions_do_not),
		TEST(neighbours_in_the_table_are_no_equals),
		TEST(who_has_less_time_is_first),
		TEST(who_waits_shares_the_failure),
		TEST(resolvers_that_refuse_edns),
		TEST(fail_over_is_quick_and_ends),
		TEST(errors_do_not_take_a_resolver_down),
		TEST(log_is_a_ring_with_a_rate),
		TEST(log_says_what_it_leaves_out),
		TEST(counters_tell_verdict_rcode_type_resolver_and_time),
		TEST(odd_names_are_shown_escaped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
