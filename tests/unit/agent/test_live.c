/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's parts on a real kernel, in namespaces of the test's own: a BPF file system, two veths, no traffic. What
 * goes in is policies and endpoints; what is looked at is the tables the programs read.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/cluster.h"
#include "agent/endpoints.h"
#include "agent/kernel.h"
#include "agent/net.h"
#include "agent/publish.h"
#include "agent/sweep.h"
#include "agent/trace.h"
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/siphash.h"
#include "bpf/cluster_quiet.h"
#include "bpf/lease_line.h"
#include "policy/verdict.h"

#define SKIP 77

static char root[64], pins[96], run[96];

static const char *text_names(const char *name)
{
	static char text[1024];

	snprintf(text, sizeof(text),
		 "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: ns}\n"
		 "spec:\n  endpointSelector: {matchLabels: {x: w}}\n  egress:\n"
		 "  - toFQDNs: [{matchName: pypi.org}, {matchName: %s}]\n"
		 "    toPorts: [{ports: [{port: \"443\", protocol: TCP}]}]\n",
		 name);
	return text;
}

static const char *text_other =
	"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: ns}\n"
	"spec:\n  endpointSelector: {matchLabels: {x: w}}\n  egress:\n  - toCIDR: [203.0.113.0/24]\n";

struct node {
	struct config *config;
	struct kernel *k;
	struct publisher *p;
	struct endpoints *e;
	struct store *store;
};

static void node_close(struct node *n)
{
	endpoints_freep(&n->e);
	publisher_freep(&n->p);
	kernel_freep(&n->k);
	store_freep(&n->store);
	config_freep(&n->config);
}

static void node_open_sized(struct node *n, uint32_t dests)
{
	*n = (struct node){};
	assert_int_equal(config_new(&n->config), 0);
	free(n->config->pin_path);
	free(n->config->run_dir);
	n->config->pin_path = strdup(pins);
	n->config->run_dir = strdup(run);
	n->config->limits.endpoints = 8;
	n->config->limits.dests = dests;
	n->config->limits.rules = 64;
	n->config->limits.leases = 50;
	n->config->limits.names = 64;
	n->config->limits.flows = 64;
	assert_int_equal(kernel_open(n->config, &n->k), 0);
	assert_int_equal(publisher_open(n->k, run, &n->p), 0);
	assert_int_equal(endpoints_open(n->k, n->p, &n->e), 0);
	assert_int_equal(store_new(&n->store), 0);
}

static void node_open(struct node *n)
{
	node_open_sized(n, 64);
}

static void node_policy(struct node *n, const char *text)
{
	struct diags diags = {};

	assert_int_equal(store_update(n->store, "p.yaml", text, strlen(text), &diags), 0);
	diags_clear(&diags);
}

static void node_endpoints(struct node *n, const char *text)
{
	struct endpoints_file *list = NULL;
	struct diags diags = {};

	assert_int_equal(endpoints_file_read("e.yaml", text, strlen(text), &diags, &list), 0);
	endpoints_want(n->e, list, "e.yaml");
	endpoints_reconcile(n->e);
}

/* Of one node and one resolver, the same at each call. */
static struct endpoints_input node_input(const struct node *n)
{
	static struct sluice_addr node;
	static struct proxy_resolver resolver = { .port = 53 };

	assert_int_equal(addr_parse("10.0.0.10", &node), 0);
	assert_int_equal(addr_parse("10.0.1.53", &resolver.addr), 0);
	return (struct endpoints_input){
		.store = n->store, .node = &node, .nnode = 1, .resolvers = &resolver, .nresolvers = 1
	};
}

static size_t node_apply(struct node *n)
{
	const struct endpoints_input in = node_input(n);

	return endpoints_apply(n->e, &in);
}

#define TWO                                                                                                            \
	"endpoints:\n"                                                                                                 \
	"- {name: a, namespace: ns, labels: {x: w}, interface: live-a, addresses: [10.0.1.1]}\n"                       \
	"- {name: b, namespace: ns, labels: {x: w}, interface: live-b, addresses: [10.0.1.2, \"fd00::2\"]}\n"

static uint64_t state_of(const struct node *n, size_t i)
{
	return n->k->endpoints[endpoints_at(n->e, i)->id].state;
}

static unsigned int count_elements(int fd, size_t key_size)
{
	char key[64], next[64];
	unsigned int count = 0;

	assert_true(key_size <= sizeof(key));
	for (void *from = NULL; bpf_map_get_next_key(fd, from, next) == 0; from = key, count++)
		memcpy(key, next, key_size);
	return count;
}

static int add_interfaces(void)
{
	return system("ip link set lo up && ip link add live-a type veth peer name live-ap && "
		      "ip link add live-b type veth peer name live-bp && ip link set live-a up && ip link set live-b "
		      "up")
		       ? -1
		       : 0;
}

static int set_up(void **state)
{
	(void)state;
	snprintf(root, sizeof(root), "/tmp/sluice-live-XXXXXX");
	if (!mkdtemp(root) || mount("bpf", root, "bpf", 0, "mode=700") < 0)
		return -1;
	snprintf(pins, sizeof(pins), "%s/sluice", root);
	snprintf(run, sizeof(run), "/tmp/sluice-run-XXXXXX");
	return mkdtemp(run) && add_interfaces() == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
	char command[256];

	(void)state;
	snprintf(command, sizeof(command), "ip link del live-a 2>/dev/null; ip link del live-b 2>/dev/null; rm -rf %s",
		 run);
	if (system(command))
		return -1;
	umount(root);
	return rmdir(root);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void test_two_share_a_policy(void **state)
{
	CLEANUP(node_close) struct node n;

	(void)state;
	node_open(&n);
	node_policy(&n, text_names("a.example"));
	node_endpoints(&n, TWO);
	assert_int_equal(state_of(&n, 0), 0); /* quarantined until a policy is known */
	assert_int_equal(node_apply(&n), 0);
	assert_int_equal(SLUICE_STATE_MODE(state_of(&n, 0)), SLUICE_MODE_ENFORCE);
	assert_true(state_of(&n, 0) & SLUICE_STATE_NAMES);
	assert_int_equal(state_of(&n, 0), state_of(&n, 1));
	assert_int_equal(publisher_count(n.p), 1);
	assert_int_equal(count_elements(n.k->cluster, sizeof(struct sluice_addr)), 4);
	assert_int_equal(kernel_attached(n.k, if_nametoindex("live-a")), 1);
	assert_int_not_equal(endpoints_at(n.e, 0)->id, 0);
}

static json_t *node_trace(const struct node *n, const char *address, const char *name, const char **ret_error)
{
	const struct endpoint *ep = endpoints_at(n->e, 0);
	const struct endpoints_input in = node_input(n);
	json_t *request =
		json_pack("{s:I, s:I, s:s?, s:i, s:i, s:s?}", "endpoint", (json_int_t)ep->id, "generation",
			  (json_int_t)ep->generation, "address", address, "protocol", 6, "port", 443, "name", name);
	json_t *answer = trace_answer(n->e, &in, request, ret_error);

	json_decref(request);
	return answer;
}

static const char *rule_text(const json_t *answer, size_t i)
{
	const json_t *rule = json_array_get(json_object_get(answer, "rules"), i);

	return rule ? json_string_value(json_object_get(rule, "text")) : "";
}

/* Every rule that speaks for a destination, and whether what is in force was compiled from them. */
static void test_trace(void **state)
{
	static const char text[] =
		"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: ns}\n"
		"spec:\n  endpointSelector: {matchLabels: {x: w}}\n  egress:\n  - toCIDR: [203.0.113.0/24]\n"
		"  - toFQDNs: [{matchName: pypi.org}]\n  egressDeny:\n  - toCIDR: [203.0.113.7/32]\n";
	CLEANUP(node_close) struct node n;
	const char *error = NULL;
	json_t *answer;

	(void)state;
	node_open(&n);
	node_policy(&n, text);
	node_endpoints(&n, TWO);
	node_apply(&n);
	answer = node_trace(&n, "203.0.113.7", NULL, &error);
	assert_true(json_is_true(json_object_get(answer, "current")));
	assert_string_equal(rule_text(answer, 0), "egressDeny toCIDR 203.0.113.7/32 any port");
	assert_string_equal(rule_text(answer, 1), "toCIDR 203.0.113.0/24 any port");
	assert_string_equal(rule_text(answer, 2), "");
	json_decref(answer);
	answer = node_trace(&n, "0.0.0.0", "pypi.org", &error);
	assert_string_equal(rule_text(answer, 0), "toFQDNs pypi.org any port");
	json_decref(answer);
	/* Read, and not in force yet. */
	node_policy(&n, text_other);
	answer = node_trace(&n, "203.0.113.7", NULL, &error);
	assert_true(json_is_false(json_object_get(answer, "current")));
	assert_string_equal(rule_text(answer, 0), "toCIDR 203.0.113.0/24 any port");
	json_decref(answer);
	assert_null(node_trace(&n, "nonsense", NULL, &error));
	assert_non_null(strstr(error, "address"));
	assert_null(node_trace(&n, NULL, NULL, &error));
}

static void test_selected_by_nothing_is_open(void **state)
{
	CLEANUP(node_close) struct node n;

	(void)state;
	node_open(&n);
	node_endpoints(&n, TWO);
	node_apply(&n);
	assert_int_equal(SLUICE_STATE_MODE(state_of(&n, 0)), SLUICE_MODE_OPEN);
	assert_int_equal(SLUICE_STATE_POLICY(state_of(&n, 0)), 0);
}

/* A new agent finds the same text: same slots, same generations, same policy id, same state words. */
static void test_adoption(void **state)
{
	CLEANUP(node_close) struct node n, again;
	uint64_t word;
	uint32_t generation;

	(void)state;
	node_open(&n);
	node_policy(&n, text_names("a.example"));
	node_endpoints(&n, TWO);
	node_apply(&n);
	word = state_of(&n, 0);
	generation = endpoints_at(n.e, 0)->generation;
	node_close(&n);

	node_open(&again);
	assert_true(again.k->adopted);
	assert_int_equal(endpoints_count(again.e), 2);
	assert_int_equal(endpoints_at(again.e, 0)->phase, ENDPOINT_ADOPTED);
	assert_int_equal(state_of(&again, 0), word);
	endpoints_reconcile(again.e);
	node_apply(&again); /* no endpoints file could be read: what is there stays */
	assert_int_equal(state_of(&again, 0), word);
	node_policy(&again, text_names("a.example"));
	node_endpoints(&again, TWO);
	node_apply(&again);
	assert_int_equal(state_of(&again, 0), word);
	assert_int_equal(endpoints_at(again.e, 0)->generation, generation);
	assert_int_equal(again.k->settings->next_policy, 2);
	assert_int_equal(kernel_attached(again.k, if_nametoindex("live-b")), 1);
}

/* However generous the limits, the endpoints together cannot fill the table for one another. */
static void test_quotas_are_shares(void **state)
{
	CLEANUP(node_close) struct node n;

	(void)state;
	node_open(&n);
	n.config->limits.flow_quota = 20;
	n.config->limits.tombstone_quota = 1000;
	kernel_configure(n.k, n.config, 2); /* a table of 64 */
	assert_int_equal(n.k->settings->flow_quota, 20);
	assert_int_equal(n.k->settings->tombstone_quota, 8);
	kernel_configure(n.k, n.config, 4);
	assert_int_equal(n.k->settings->flow_quota, 12);
	assert_int_equal(n.k->settings->tombstone_quota, 4);
}

static void test_one_agent_at_a_time(void **state)
{
	CLEANUP(node_close) struct node n;
	struct kernel *second = NULL;

	(void)state;
	node_open(&n);
	assert_int_equal(kernel_open(n.config, &second), -EBUSY);
	assert_null(second);
}

static void put_lease(struct node *n, uint64_t policy, const char *name, const char *addr, uint32_t set)
{
	struct sluice_name entry = { .len = (uint8_t)strlen(name) };
	struct sluice_lease lease = { .key.policy = policy };

	memcpy(entry.text, name, strlen(name));
	entry.id = siphash24(name, strlen(name), (const uint64_t *)n->k->settings->name_key);
	assert_int_equal(addr_parse(addr, &lease.key.addr), 0);
	lease.slots[0] =
		(struct sluice_lease_slot){ clock_now() + 60 * NSEC_PER_SEC, entry.id, set | SLUICE_SET_NAME, 1000 };
	assert_int_equal(bpf_map_update_elem(n->k->names, &entry.id, &entry, BPF_ANY), 0);
	assert_int_equal(bpf_map_update_elem(n->k->leases, &lease.key, &lease, BPF_ANY), 0);
}

static bool has_lease(struct node *n, uint64_t policy, const char *addr)
{
	struct sluice_lease lease = { .key.policy = policy };

	assert_int_equal(addr_parse(addr, &lease.key.addr), 0);
	return bpf_map_lookup_elem(n->k->leases, &lease.key, &lease) == 0 && (lease.slots[0].set & SLUICE_SET_NAME);
}

/* As the proxy puts it when it has written the lease. */
static void put_line(struct node *n, uint64_t policy, const char *addr)
{
	struct sluice_lease lease = { .key.policy = policy };

	assert_int_equal(addr_parse(addr, &lease.key.addr), 0);
	assert_int_equal(bpf_map_lookup_elem(n->k->leases, &lease.key, &lease), 0);
	lines_put(&n->k->lines, &lease, clock_now());
}

static bool has_line(struct node *n, uint64_t policy, const char *addr)
{
	struct sluice_addr a;
	uint32_t index;
	struct sluice_lease_line line;

	assert_int_equal(addr_parse(addr, &a), 0);
	index = lease_line_index(n->k->settings->lease_lines, policy, &a);
	for (int i = 0; i < 2; i++, index = lease_line_other(index)) {
		assert_int_equal(bpf_map_lookup_elem(n->k->lines.fd, &index, &line), 0);
		if (line.key.policy == policy && addr_equal(&line.key.addr, &a))
			return line.check == lease_line_check(&line, n->k->settings->name_key[0]);
	}
	return false;
}

/* Rows of the policy's addresses that ask no lease. */
static unsigned int settled_rows(const struct node *n, uint64_t policy)
{
	struct sluice_rule_key key, *from = NULL;
	struct sluice_rule rule;
	unsigned int count = 0;

	for (; bpf_map_get_next_key(n->k->rules, from, &key) == 0; from = &key) {
		assert_int_equal(bpf_map_lookup_elem(n->k->rules, &key, &rule), 0);
		count += key.policy_lo == (uint32_t)policy && !(key.set & SLUICE_SET_NAME) && rule.settled;
	}
	return count;
}

static const char *text_both =
	"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: ns}\n"
	"spec:\n  endpointSelector: {matchLabels: {x: w}}\n  egress:\n"
	"  - toFQDNs: [{matchName: pypi.org}]\n    toPorts: [{ports: [{port: \"443\", protocol: TCP}]}]\n"
	"  - toCIDR: [203.0.113.0/24]\n    toPorts: [{ports: [{port: \"80\", protocol: TCP}]}]\n";
static const char *text_admin_name =
	"---\napiVersion: networking.k8s.aws/v1alpha1\nkind: ClusterNetworkPolicy\nmetadata: {name: c}\n"
	"spec: {tier: Admin, priority: 10, subject: {namespaces: {}}, egress: [{action: Accept, to: "
	"[{domainNames: [a.example.com]}]}]}\n";

/* Leases are asked where a name rule stands above the address's, and only there. */
static void test_settled_rows(void **state)
{
	CLEANUP(node_close) struct node n;
	char text[2048];

	(void)state;
	node_open(&n);
	node_policy(&n, text_both);
	node_endpoints(&n, TWO);
	assert_int_equal(node_apply(&n), 0);
	assert_int_equal(settled_rows(&n, SLUICE_STATE_POLICY(state_of(&n, 0))), 1);
	snprintf(text, sizeof(text), "%s%s", text_both, text_admin_name);
	node_policy(&n, text);
	assert_int_equal(node_apply(&n), 0);
	assert_true(state_of(&n, 0) & SLUICE_STATE_NAMES);
	assert_int_equal(settled_rows(&n, SLUICE_STATE_POLICY(state_of(&n, 0))), 0);
}

/* Leases go along for names that the new policy still opens, and only those; the old policy goes after a while. */
static void test_policy_change_carries_leases(void **state)
{
	CLEANUP(node_close) struct node n;
	uint64_t old, new;

	(void)state;
	node_open(&n);
	node_policy(&n, text_names("a.example"));
	node_endpoints(&n, TWO);
	node_apply(&n);
	old = SLUICE_STATE_POLICY(state_of(&n, 0));
	put_lease(&n, old, "pypi.org", "203.0.113.10", 1);
	put_lease(&n, old, "a.example", "203.0.113.11", 1);
	node_policy(&n, text_names("b.example"));
	assert_int_equal(node_apply(&n), 0);
	new = SLUICE_STATE_POLICY(state_of(&n, 0));
	assert_int_not_equal(old, new);
	assert_true(has_lease(&n, new, "203.0.113.10"));
	assert_true(has_line(&n, new, "203.0.113.10"));
	assert_false(has_lease(&n, new, "203.0.113.11"));
	publisher_collect(n.p, clock_now());
	assert_non_null(publisher_find(n.p, old)); /* a packet may be on its way */
	publisher_collect(n.p, clock_now() + 10 * NSEC_PER_SEC);
	assert_null(publisher_find(n.p, old));
	assert_false(has_lease(&n, old, "203.0.113.10"));
	assert_true(has_lease(&n, new, "203.0.113.10"));
	node_policy(&n, text_other);
	node_apply(&n);
	assert_false(state_of(&n, 0) & SLUICE_STATE_NAMES);
	publisher_collect(n.p, clock_now() + 10 * NSEC_PER_SEC);
	assert_int_equal(count_elements(n.k->leases, sizeof(struct sluice_lease_key)), 0);
}

/* No room for the new policy: quarantine, nothing half-written, and back when there is room. */
static void test_full_table_closes(void **state)
{
	CLEANUP(node_close) struct node n;
	char text[8192];
	int len;
	unsigned int before;

	(void)state;
	node_open_sized(&n, 16);
	node_policy(&n, text_other);
	node_endpoints(&n, TWO);
	assert_int_equal(node_apply(&n), 0);
	before = count_elements(n.k->dests, sizeof(uint64_t));
	len = snprintf(text, sizeof(text),
		       "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: ns}\n"
		       "spec:\n  endpointSelector: {matchLabels: {x: w}}\n  egress:\n  - toCIDR:\n");
	for (int i = 0; i < 40; i++)
		len += snprintf(text + len, sizeof(text) - (size_t)len, "    - 198.51.%d.0/25\n", i);
	node_policy(&n, text);
	assert_int_equal(node_apply(&n), 2);
	assert_int_equal(SLUICE_STATE_MODE(state_of(&n, 0)), SLUICE_MODE_QUARANTINE);
	assert_int_equal(publisher_failures(n.p) > 0, 1);
	assert_int_equal(count_elements(n.k->dests, sizeof(uint64_t)), before);
	node_policy(&n, text_other);
	assert_int_equal(node_apply(&n), 0);
	assert_int_equal(SLUICE_STATE_MODE(state_of(&n, 0)), SLUICE_MODE_ENFORCE);
}

#define FIVE(net) net "1/32, " net "3/32, " net "5/32, " net "7/32, " net "9/32"

static const char *text_twenty =
	"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: ns}\n"
	"spec:\n  endpointSelector: {matchLabels: {x: w}}\n  egress:\n"
	"  - toCIDR: [" FIVE("198.51.100.") ", " FIVE("198.51.101.") ", " FIVE("198.51.102.") ", " FIVE(
		"198.51.103.") ", \"2001:db8::/64\"]\n"
			       "    toPorts: [{ports: [{port: \"443\", protocol: TCP}]}]\n";

/* The limit is one of prefixes, of which many fit into a page; pages go with their policy, and at a start nobody's do. */
static void test_destinations_are_counted(void **state)
{
	struct sluice_dest_page stray = { .key = SLUICE_DEST_KEY(1ull << 39, SLUICE_DEST_ROOT6) };
	CLEANUP(node_close) struct node n;
	unsigned int before;

	(void)state;
	node_open_sized(&n, 16);
	node_policy(&n, text_twenty);
	node_endpoints(&n, TWO);
	assert_int_equal(node_apply(&n), 2);
	assert_int_equal(SLUICE_STATE_MODE(state_of(&n, 0)), SLUICE_MODE_QUARANTINE);
	assert_int_equal(bpf_map_update_elem(n.k->dests, &stray.key, &stray, BPF_ANY), 0);
	node_close(&n);
	node_open(&n);
	assert_int_equal(count_elements(n.k->dests, sizeof(uint64_t)), 0);
	node_policy(&n, text_other);
	node_endpoints(&n, TWO);
	assert_int_equal(node_apply(&n), 0);
	before = count_elements(n.k->dests, sizeof(uint64_t));
	node_policy(&n, text_twenty);
	assert_int_equal(node_apply(&n), 0);
	assert_int_equal(SLUICE_STATE_MODE(state_of(&n, 0)), SLUICE_MODE_ENFORCE);
	node_policy(&n, text_other);
	assert_int_equal(node_apply(&n), 0);
	publisher_collect(n.p, clock_now() + 10 * NSEC_PER_SEC);
	assert_int_equal(count_elements(n.k->dests, sizeof(uint64_t)), before);
}

static void test_interface_comes_and_goes(void **state)
{
	CLEANUP(node_close) struct node n;
	uint32_t generation, ifindex = if_nametoindex("live-a"), link;
	struct sluice_if entry;

	(void)state;
	node_open(&n);
	node_policy(&n, text_other);
	node_endpoints(&n, TWO);
	node_apply(&n);
	generation = endpoints_at(n.e, 0)->generation;
	link = endpoints_at(n.e, 0)->id;
	assert_int_equal(system("ip link del live-a"), 0);
	assert_true(endpoints_reconcile(n.e));
	assert_int_equal(endpoints_at(n.e, 0)->phase, ENDPOINT_WAITING);
	assert_int_equal(n.k->endpoints[link].generation, 0);
	assert_int_not_equal(bpf_map_lookup_elem(n.k->ifindexes, &ifindex, &entry), 0);
	assert_int_equal(system("ip link add live-a type veth peer name live-ap"), 0);
	assert_true(endpoints_reconcile(n.e));
	assert_int_equal(endpoints_at(n.e, 0)->phase, ENDPOINT_READY);
	assert_true(endpoints_at(n.e, 0)->generation > generation);
	assert_int_equal(state_of(&n, 0), 0); /* inherits nothing */
	node_apply(&n);
	assert_int_equal(SLUICE_STATE_MODE(state_of(&n, 0)), SLUICE_MODE_ENFORCE);
}

/* The id of the pinned link of from_pod. */
static uint32_t link_on(const char *interface)
{
	struct bpf_link_info info = {};
	uint32_t len = sizeof(info);
	char path[160];
	int fd;

	snprintf(path, sizeof(path), "%s/links/%u-from", pins, if_nametoindex(interface));
	fd = bpf_obj_get(path);
	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	close(fd);
	return info.id;
}

/* Links in place of filters, as the agent does when nothing is going on. */
static void settle(struct kernel *k, uint32_t ifindex)
{
	while (kernel_settle(k, ifindex) > 0)
		;
	assert_int_equal(kernel_settle(k, ifindex), 0);
}

static void test_changes_of_an_endpoint(void **state)
{
	CLEANUP(node_close) struct node n;
	uint32_t generation, link;
	uint64_t word;

	(void)state;
	node_open(&n);
	node_policy(&n, text_other);
	node_endpoints(&n, TWO);
	node_apply(&n);
	generation = endpoints_at(n.e, 0)->generation;
	settle(n.k, if_nametoindex("live-a"));
	link = link_on("live-a");
	/* labels: the same endpoint, another policy */
	node_endpoints(
		&n,
		"endpoints:\n- {name: a, namespace: ns, labels: {x: z}, interface: live-a, addresses: [10.0.1.1]}\n");
	word = state_of(&n, 0);
	assert_int_equal(SLUICE_STATE_MODE(word), SLUICE_MODE_ENFORCE); /* until the new one is known */
	node_apply(&n);
	assert_int_equal(endpoints_at(n.e, 0)->generation, generation);
	assert_int_equal(SLUICE_STATE_MODE(state_of(&n, 0)), SLUICE_MODE_OPEN);
	/* b is wanted no more */
	assert_int_equal(kernel_attached(n.k, if_nametoindex("live-b")), 0);
	/* addresses: another endpoint */
	node_endpoints(
		&n,
		"endpoints:\n- {name: a, namespace: ns, labels: {x: w}, interface: live-a, addresses: [10.0.1.9]}\n");
	assert_int_not_equal(endpoints_at(n.e, 0)->generation, generation);
	assert_int_equal(state_of(&n, 0), 0);
	/* on the link that was there all the while: off and on again would be open in between */
	assert_int_equal(link_on("live-a"), link);
}

/* Handed over, a resolver's own queries would come back to it (hazard 18). */
static void test_a_resolver_is_not_handed_over(void **state)
{
	CLEANUP(node_close) struct node n;

	(void)state;
	node_open(&n);
	node_policy(&n, text_names("a.example"));
	node_endpoints(
		&n,
		"endpoints:\n- {name: a, namespace: ns, labels: {x: w}, interface: live-a, addresses: [10.0.1.53]}\n"
		"- {name: b, namespace: ns, labels: {x: w}, interface: live-b, addresses: [10.0.1.2]}\n");
	node_apply(&n);
	assert_false(state_of(&n, 0) & SLUICE_STATE_NAMES);
	assert_true(state_of(&n, 1) & SLUICE_STATE_NAMES);
}

/* A pod's address that was outside before may turn an allow into a deny: every flow is judged again. */
static void test_inventory_raises_the_epoch(void **state)
{
	CLEANUP(node_close) struct node n;
	uint64_t before;

	(void)state;
	node_open(&n);
	node_policy(&n, text_other);
	node_endpoints(
		&n,
		"endpoints:\n- {name: a, namespace: ns, labels: {x: w}, interface: live-a, addresses: [10.0.1.1]}\n");
	node_apply(&n);
	before = state_of(&n, 0);
	node_apply(&n);
	assert_int_equal(state_of(&n, 0), before);
	node_endpoints(&n, TWO);
	node_apply(&n);
	assert_int_not_equal(SLUICE_STATE_EPOCH(state_of(&n, 0)), SLUICE_STATE_EPOCH(before));
}

/* ---- the inventory ----------------------------------------------------------------------------------------------- */

static const char *text_web =
	"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: ns}\n"
	"spec:\n  endpointSelector: {matchLabels: {x: w}}\n  egress:\n"
	"  - toEndpoints: [{matchLabels: {app: web, io.cilium.k8s.namespace.labels.team: t}}]\n"
	"    toPorts: [{ports: [{port: \"8080\", protocol: TCP}]}]\n"
	"---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: z, namespace: ns}\n"
	"spec:\n  endpointSelector: {matchLabels: {x: z}}\n  egress:\n  - toCIDR: [203.0.113.0/24]\n";

/* web and db are pods of ns, which has the label; the node is the test's own, and there is another. */
#define TOWN(backends)                                                                                                 \
	"endpoints:\n"                                                                                                 \
	"- {name: a, namespace: ns, labels: {x: w}, interface: live-a, addresses: [10.0.1.1]}\n"                       \
	"- {name: b, namespace: ns, labels: {x: z}, interface: live-b, addresses: [10.0.1.2]}\n"                       \
	"---\napiVersion: v1\nkind: List\nitems:\n"                                                                    \
	"- {apiVersion: v1, kind: Pod, metadata: {name: a, namespace: ns}, status: {podIP: 10.0.1.1}}\n"               \
	"- {apiVersion: v1, kind: Pod, metadata: {name: web, namespace: ns, labels: {app: web}}, "                     \
	"status: {podIP: 10.0.2.1}}\n"                                                                                 \
	"- {apiVersion: v1, kind: Pod, metadata: {name: db, namespace: ns, labels: {app: db}}, "                       \
	"status: {podIP: 10.0.2.2}}\n"                                                                                 \
	"- {apiVersion: v1, kind: Pod, metadata: {name: done, namespace: ns, labels: {app: web}}, "                    \
	"status: {phase: Succeeded, podIP: 10.0.2.3}}\n"                                                               \
	"- {apiVersion: v1, kind: Namespace, metadata: {name: ns, labels: {team: t}}}\n"                               \
	"- {apiVersion: v1, kind: Node, metadata: {name: n1}, status: {addresses: [{type: InternalIP, address: "       \
	"10.0.0.10}, {type: ExternalIP, address: 192.0.2.10}]}}\n"                                                     \
	"- {apiVersion: v1, kind: Node, metadata: {name: n2}, status: {addresses: [{type: InternalIP, address: "       \
	"10.0.0.11}]}}\n"                                                                                              \
	"- {apiVersion: v1, kind: Service, metadata: {name: web, namespace: ns}, spec: {clusterIP: 172.20.0.1, "       \
	"ports: [{port: 80, targetPort: 8080}]}}\n"                                                                    \
	"---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: web-1, namespace: ns, labels: "   \
	"{kubernetes.io/service-name: web}}\n"                                                                         \
	"endpoints: [" backends "]\nports: [{port: 8080}]\n"
#define WEB "{addresses: [10.0.2.1]}"
#define DB  "{addresses: [10.0.2.2]}"

static bool is_allowed(const struct node *n, size_t i, const char *addr, uint16_t port)
{
	const struct image *img = endpoints_at(n->e, i)->policy->img;
	struct sluice_query q = { .proto = IPPROTO_TCP, .port = htons(port) };
	struct sluice_cluster value;
	struct verdict_tables t = { .img = img, .cluster = &q.remote };

	assert_int_equal(addr_parse(addr, &q.remote), 0);
	t.ncluster = bpf_map_lookup_elem(n->k->cluster, &q.remote, &value) == 0;
	return verdict_decide(&t, &q).verdict == SLUICE_ALLOW;
}

static void expect_cluster(const struct node *n, const char *addr, uint32_t kind, uint32_t local)
{
	struct sluice_cluster value = {};
	struct sluice_addr key;

	assert_int_equal(addr_parse(addr, &key), 0);
	assert_int_equal(bpf_map_lookup_elem(n->k->cluster, &key, &value) == 0, kind != 0);
	assert_int_equal(value.kind, kind);
	assert_int_equal(value.local, local);
}

/* What bpf/cluster_quiet.h says of the address's group. */
static bool is_quiet(const struct node *n, const char *addr)
{
	struct sluice_addr key;
	uint32_t group;

	assert_int_equal(addr_parse(addr, &key), 0);
	group = cluster_group(&key);
	return n->k->cluster_quiet[cluster_group_word(group)] & cluster_group_bit(group);
}

static void test_inventory_is_the_clusters(void **state)
{
	CLEANUP(node_close) struct node n;
	char path[128];

	(void)state;
	node_open(&n);
	node_policy(&n, text_web);
	node_endpoints(&n, TOWN(WEB));
	assert_int_equal(node_apply(&n), 0);
	assert_int_equal(endpoints_count(n.e), 2); /* pods are peers, not endpoints */
	expect_cluster(&n, "10.0.1.1", SLUICE_CLUSTER_POD, 0);
	expect_cluster(&n, "10.0.2.1", SLUICE_CLUSTER_POD, 0);
	expect_cluster(&n, "10.0.2.3", 0, 0); /* its pod is over */
	expect_cluster(&n, "10.0.0.10", SLUICE_CLUSTER_NODE, 1);
	expect_cluster(&n, "192.0.2.10", SLUICE_CLUSTER_NODE, 0);
	expect_cluster(&n, "10.0.0.11", SLUICE_CLUSTER_NODE, 0);
	expect_cluster(&n, "172.20.0.1", SLUICE_CLUSTER_SERVICE, 0);
	assert_false(is_quiet(&n, "10.0.2.1"));
	assert_false(is_quiet(&n, "10.0.2.77")); /* one group with it */
	assert_false(is_quiet(&n, "192.0.2.10"));
	assert_false(is_quiet(&n, "172.20.0.1"));
	assert_true(is_quiet(&n, "203.0.113.1"));
	assert_true(is_quiet(&n, "2001:db8::1"));
	assert_true(is_allowed(&n, 0, "10.0.2.1", 8080));
	assert_false(is_allowed(&n, 0, "10.0.2.1", 80));
	assert_false(is_allowed(&n, 0, "10.0.2.2", 8080));
	assert_false(is_allowed(&n, 0, "10.0.2.3", 8080));
	/* without the objects they are addresses like any other again */
	node_endpoints(&n, TWO);
	assert_int_equal(node_apply(&n), 0);
	expect_cluster(&n, "10.0.2.1", 0, 0);
	expect_cluster(&n, "172.20.0.1", 0, 0);
	assert_false(is_allowed(&n, 0, "10.0.2.1", 8080));
	assert_true(is_quiet(&n, "172.20.0.1"));
	assert_false(is_quiet(&n, "10.0.0.10")); /* the node's own stays */
	/* An agent that starts forgets all: what wrote to `cluster` before it may have known nothing of these bits. */
	node_close(&n);
	node_open(&n);
	assert_false(is_quiet(&n, "172.20.0.1"));
	/* Pins of an agent that had no such map are taken over as they are. */
	node_close(&n);
	snprintf(path, sizeof(path), "%s/" SLUICE_MAP_CLUSTER_QUIET, pins);
	assert_int_equal(unlink(path), 0);
	node_open(&n);
	assert_true(n.k->adopted);
	assert_int_equal(access(path, F_OK), 0);
}

/* From the moment at which the table has the address, not only from the end of the pass. */
static void test_quiet_ends_with_the_first_address(void **state)
{
	CLEANUP(cluster_clear) struct cluster none = {}, some = {};
	CLEANUP(node_close) struct node n;
	struct sluice_addr addr;
	bool added;

	(void)state;
	node_open(&n);
	cluster_prune(n.k, &none, NULL);
	assert_true(is_quiet(&n, "2001:db8::1"));
	assert_int_equal(addr_parse("2001:db8::1", &addr), 0);
	cluster_add(&some, &addr, SLUICE_CLUSTER_POD, false);
	assert_int_equal(cluster_sync(n.k, &some, NULL, &added), 0);
	assert_false(is_quiet(&n, "2001:db8::1"));
	assert_false(is_quiet(&n, "2001:db8::ffff:1")); /* one group with it */
	assert_true(is_quiet(&n, "2001:db8::1:0:0:1"));
}

/* Every backend has to be admitted; a slice that changes concerns the policies that look at it, and no others. */
static void test_a_slice_changes(void **state)
{
	CLEANUP(node_close) struct node n;
	uint64_t web, other;

	(void)state;
	node_open(&n);
	node_policy(&n, text_web);
	node_endpoints(&n, TOWN(WEB ", " DB));
	assert_int_equal(node_apply(&n), 0);
	assert_false(is_allowed(&n, 0, "172.20.0.1", 80));
	web = state_of(&n, 0);
	other = state_of(&n, 1);
	node_endpoints(&n, TOWN(WEB));
	assert_int_equal(node_apply(&n), 0);
	assert_true(is_allowed(&n, 0, "172.20.0.1", 80));
	assert_false(is_allowed(&n, 0, "172.20.0.1", 8080));
	assert_false(is_allowed(&n, 1, "172.20.0.1", 80));
	assert_int_not_equal(SLUICE_STATE_POLICY(state_of(&n, 0)), SLUICE_STATE_POLICY(web));
	assert_int_equal(state_of(&n, 1), other); /* not a new address, not another policy */
	node_endpoints(&n, TOWN(DB));
	assert_int_equal(node_apply(&n), 0);
	assert_false(is_allowed(&n, 0, "172.20.0.1", 80));
	node_endpoints(&n, TOWN(""));
	assert_int_equal(node_apply(&n), 0);
	assert_false(is_allowed(&n, 0, "172.20.0.1", 80));
}

/* A program that says `code` to everything, as another tool might put on our interfaces. */
static int stranger(int code)
{
	struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = code },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "stranger", "GPL", insns, ARRAY_SIZE(insns), NULL);

	assert_true(fd >= 0);
	return fd;
}

#define TCX_INGRESS 46
#define TCX_BEFORE  (1u << 3)

/* The fd of a link, which holds it. */
static int tcx_in_front(uint32_t ifindex, int prog)
{
	struct {
		uint32_t prog, ifindex, type, flags, relative, pad;
		uint64_t revision;
	} attr = { (uint32_t)prog, ifindex, TCX_INGRESS, TCX_BEFORE, 0, 0, 0 };

	return (int)syscall(SYS_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
}

static void filter_in_front(uint32_t ifindex, int prog)
{
	LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = (int)ifindex, .attach_point = BPF_TC_INGRESS);
	LIBBPF_OPTS(bpf_tc_opts, opts, .handle = 1, .priority = 1, .prog_fd = prog);

	assert_int_equal(bpf_tc_attach(&hook, &opts), 0);
}

static void test_repair(void **state)
{
	CLEANUP(node_close) struct node n;
	uint32_t ifindex = if_nametoindex("live-a");

	(void)state;
	node_open(&n);
	node_endpoints(&n, TWO);
	kernel_detach(n.k, ifindex);
	assert_int_equal(kernel_attached(n.k, ifindex), ATTACH_STATE_MISSING);
	assert_int_equal(kernel_repair(n.k, ifindex), 0);
	assert_int_equal(kernel_attached(n.k, ifindex), ATTACH_STATE_FIRST);
	/* The other way of attaching, and back: never without. */
	n.k->attach = ATTACH_CLSACT;
	assert_int_equal(kernel_attach(n.k, ifindex), 0);
	assert_int_equal(kernel_attached(n.k, ifindex), ATTACH_STATE_FIRST);
	n.k->attach = ATTACH_TCX;
	assert_int_equal(kernel_attached(n.k, ifindex), ATTACH_STATE_FIRST);
	settle(n.k, ifindex);
	assert_int_equal(kernel_attached(n.k, ifindex), ATTACH_STATE_FIRST);
	assert_int_not_equal(link_on("live-a"), 0);
}

/* Hazard 4: what gets in front of ours could let everything by it. */
static uint32_t pinned_id(const char *name)
{
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);
	char path[160];
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), "%s/%s", pins, name);
	fd = bpf_obj_get(path);
	return fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0 ? info.id : 0;
}

/* What others open by the pins is what the programs use (hazard 30). */
static void test_pins_that_lead_elsewhere(void **state)
{
	CLEANUP(node_close) struct node n;
	uint32_t map, program;
	char command[512];

	(void)state;
	node_open(&n);
	map = pinned_id(SLUICE_MAP_LEASES);
	program = pinned_id("programs/from_pod");
	assert_int_equal(kernel_check_pins(n.k), 0);
	snprintf(command, sizeof(command),
		 "cd %s && rm names && mv leases names && rm programs/from_pod && mv programs/to_pod programs/from_pod",
		 pins);
	assert_int_equal(system(command), 0);
	assert_int_equal(pinned_id(SLUICE_MAP_NAMES), map);
	assert_int_equal(kernel_check_pins(n.k), 4);
	assert_int_equal(pinned_id(SLUICE_MAP_LEASES), map);
	assert_int_not_equal(pinned_id(SLUICE_MAP_NAMES), map);
	assert_int_equal(pinned_id("programs/from_pod"), program);
	assert_int_equal(kernel_check_pins(n.k), 0);
}

static void test_position_tcx(void **state)
{
	CLEANUP(node_close) struct node n;
	_cleanup_close_ int prog = stranger(0 /* TCX_PASS: ends the chain */), link = -1, again = -1;
	uint32_t ifindex = if_nametoindex("live-a");

	(void)state;
	node_open(&n);
	node_endpoints(&n, TWO);
	/* on the chain while ours are still filters, which run after it */
	link = tcx_in_front(ifindex, prog);
	if (link < 0) {
		print_message("no TCX on this kernel\n");
		skip();
	}
	assert_int_equal(kernel_attached(n.k, ifindex), ATTACH_STATE_BEHIND);
	assert_int_equal(kernel_repair(n.k, ifindex), 0);
	settle(n.k, ifindex);
	assert_int_equal(kernel_attached(n.k, ifindex), ATTACH_STATE_FIRST);
	/* and in front of our link */
	closep(&link);
	again = tcx_in_front(ifindex, prog);
	assert_true(again >= 0);
	assert_int_equal(kernel_attached(n.k, ifindex), ATTACH_STATE_BEHIND);
	assert_int_equal(kernel_repair(n.k, ifindex), 0);
	assert_int_equal(kernel_attached(n.k, ifindex), ATTACH_STATE_FIRST);
}

static void test_position_clsact(void **state)
{
	CLEANUP(node_close) struct node n;
	_cleanup_close_ int prog = stranger(0 /* TC_ACT_OK */);
	uint32_t ifindex = if_nametoindex("live-a");

	(void)state;
	node_open(&n);
	n.k->attach = ATTACH_CLSACT;
	node_endpoints(&n, TWO);
	filter_in_front(ifindex, prog);
	assert_int_equal(kernel_attached(n.k, ifindex), ATTACH_STATE_BEHIND);
	assert_int_equal(kernel_repair(n.k, ifindex), 0);
	assert_int_equal(kernel_attached(n.k, ifindex), ATTACH_STATE_FIRST);
	/* once more, from the second handle to the first */
	assert_int_equal(system("tc filter del dev live-a ingress handle 1 prio 1 bpf"), 0);
	filter_in_front(ifindex, prog);
	assert_int_equal(kernel_attached(n.k, ifindex), ATTACH_STATE_BEHIND);
	assert_int_equal(kernel_repair(n.k, ifindex), 0);
	assert_int_equal(kernel_attached(n.k, ifindex), ATTACH_STATE_FIRST);
	/* the qdisc, with everything on it */
	assert_int_equal(system("tc qdisc del dev live-a clsact"), 0);
	assert_int_equal(kernel_attached(n.k, ifindex), ATTACH_STATE_MISSING);
	assert_int_equal(kernel_repair(n.k, ifindex), 0);
	assert_int_equal(kernel_attached(n.k, ifindex), ATTACH_STATE_FIRST);
}

static void put_flow(struct node *n, uint32_t endpoint, uint32_t generation, uint16_t port, uint64_t age, uint64_t name)
{
	struct sluice_flow f = {
		.key = { .endpoint = endpoint, .generation = generation, .lport = port, .proto = IPPROTO_UDP }
	};

	assert_int_equal(addr_parse("203.0.113.10", &f.key.remote), 0);
	f.origin = SLUICE_ORIGIN_POD;
	f.flags = name ? SLUICE_FLOW_LEASE : 0;
	f.name = name;
	f.last_seen = clock_now() - age * NSEC_PER_SEC;
	f.tx_packets = 3;
	assert_int_equal(bpf_map_update_elem(n->k->flows, &f.key, &f, BPF_ANY), 0);
}

static void test_sweep(void **state)
{
	CLEANUP(node_close) struct node n;
	CLEANUP(sweep_freep) struct sweep *s = NULL;
	const struct endpoint *ep;
	struct sluice_runtime *rt;
	uint64_t policy, later = clock_now() + 3600 * NSEC_PER_SEC;

	(void)state;
	node_open(&n);
	node_policy(&n, text_names("a.example"));
	node_endpoints(&n, TWO);
	node_apply(&n);
	assert_int_equal(sweep_new(n.k, &s), 0);
	assert_int_equal(n.k->settings->lease_lines, 64); /* for 50 leases */
	ep = endpoints_at(n.e, 0);
	rt = &n.k->runtime[ep->id];
	policy = SLUICE_STATE_POLICY(state_of(&n, 0));
	rt->flows = 2;
	put_flow(&n, ep->id, ep->generation, 1, 0, 0);
	put_flow(&n, ep->id, ep->generation, 2, 1000, 0);
	put_flow(&n, ep->id, ep->generation + 100, 3, 0, 0); /* of an endpoint that is gone */
	sweep_run(s, clock_now());
	assert_int_equal(count_elements(n.k->flows, sizeof(struct sluice_flow_key)), 1);
	assert_int_equal(rt->flows, 1);
	assert_int_equal(rt->closed_tx_packets, 3);
	/* An expired lease stays for the flow it let in, and goes with it; its name one pass later. */
	put_lease(&n, policy, "pypi.org", "203.0.113.10", 1);
	put_line(&n, policy, "203.0.113.10");
	put_flow(&n, ep->id, ep->generation, 1, 0, 5);
	for (int i = 0; i < 2; i++) {
		struct sluice_flow_key key = {
			.endpoint = ep->id, .generation = ep->generation, .lport = 1, .proto = IPPROTO_UDP
		};
		struct sluice_flow f;

		assert_int_equal(addr_parse("203.0.113.10", &key.remote), 0);
		assert_int_equal(bpf_map_lookup_elem(n.k->flows, &key, &f), 0);
		f.last_seen = later;
		assert_int_equal(bpf_map_update_elem(n.k->flows, &key, &f, BPF_ANY), 0);
		sweep_run(s, later);
		assert_true(has_lease(&n, policy, "203.0.113.10"));
		assert_true(has_line(&n, policy, "203.0.113.10"));
	}
	sweep_run(s, later + 1000 * NSEC_PER_SEC); /* the flow goes */
	sweep_run(s, later + 1000 * NSEC_PER_SEC);
	assert_false(has_lease(&n, policy, "203.0.113.10"));
	assert_false(has_line(&n, policy, "203.0.113.10"));
	sweep_run(s, later + 1000 * NSEC_PER_SEC);
	sweep_run(s, later + 1000 * NSEC_PER_SEC);
	assert_int_equal(count_elements(n.k->names, sizeof(uint64_t)), 0);
}

static void test_routing(void **state)
{
	CLEANUP(net_freep) struct net *net = NULL;
	unsigned int added = 0;

	(void)state;
	assert_int_equal(net_open(&net), 0);
	assert_int_equal(net_ensure_routing(net, &added), 0);
	assert_int_equal(added, 8);
	assert_int_equal(net_ensure_routing(net, &added), 0);
	assert_int_equal(added, 0);
	assert_int_equal(system("ip rule del pref 5"), 0);
	assert_int_equal(net_ensure_routing(net, &added), 0);
	assert_int_equal(added, 1);
	assert_int_equal(system("ip rule del pref 4; ip rule del pref 5; ip rule del pref 6; ip rule del pref 7; "
				"ip -6 rule del pref 5; ip -6 rule del pref 7; ip "
				"route flush table 2053; "
				"ip -6 route flush table 2053"),
			 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_two_share_a_policy, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_selected_by_nothing_is_open, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_adoption, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_trace, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_quotas_are_shares, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_one_agent_at_a_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_policy_change_carries_leases, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_full_table_closes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_destinations_are_counted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_interface_comes_and_goes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_changes_of_an_endpoint, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_resolver_is_not_handed_over, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_inventory_raises_the_epoch, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_settled_rows, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_quiet_ends_with_the_first_address, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_inventory_is_the_clusters, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_slice_changes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_repair, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_pins_that_lead_elsewhere, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_position_tcx, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_position_clsact, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_sweep, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_routing, set_up, tear_down),
	};

	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		fprintf(stderr, "skipped: namespaces of its own need root: %s\n", strerror(errno));
		return SKIP;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
