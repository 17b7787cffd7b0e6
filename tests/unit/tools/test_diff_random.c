/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `policy diff` against the verdicts: for random pairs of policies, an address and port is told to be newly allowed or
 * newly denied exactly when the verdicts of the two sides say so. SEED=N repeats a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/strbuf.h"
#include "tools/bpfctl/diff.h"
#include "tools/bpfctl/offline.h"
#include "tools/bpfctl/out.h"

#define PAIRS	  300
#define QUESTIONS 200

static unsigned int seed;

static unsigned int pick(unsigned int n)
{
	seed = seed * 1103515245u + 12345u;
	return (seed >> 8) % n;
}

/* ---- policies ----------------------------------------------------------------------------------------------------- */

/* Few bits, so that prefixes meet; lengths from the whole family to single addresses. */
static void add_cidr(struct strbuf *b)
{
	unsigned int bits;

	if (pick(4)) {
		bits = pick(5) ? 24 + pick(9) : pick(24);
		strbuf_addf(b, "%u.%u.%u.%u/%u", 10 + pick(2), pick(2), pick(2), pick(256), bits);
	} else {
		bits = pick(5) ? 112 + pick(17) : pick(112);
		strbuf_addf(b, "\"2001:db8::%x/%u\"", pick(256), bits);
	}
}

static void add_ports(struct strbuf *b)
{
	unsigned int first = 1 + pick(20), n = pick(3);

	for (unsigned int i = 0; i < n; i++)
		strbuf_addf(b, "%s{port: \"%u\", endPort: %u, protocol: %s}", i ? ", " : "    toPorts: [{ports: [",
			    first, first + pick(20), pick(2) ? "TCP" : "ANY");
	strbuf_adds(b, n ? "]}]\n" : "");
}

static void add_section(struct strbuf *b, const char *name)
{
	strbuf_addf(b, "  %s:\n", name);
	for (unsigned int i = 1 + pick(4); i > 0; i--) {
		if (pick(8)) {
			strbuf_adds(b, "  - toCIDR: [");
			add_cidr(b);
			strbuf_adds(b, "]\n");
		} else {
			strbuf_addf(b, "  - toEntities: [%s]\n", pick(2) ? "all" : "world");
		}
		add_ports(b);
	}
}

static char *random_policy(void)
{
	struct strbuf b = {};

	strbuf_adds(&b,
		    "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: ns}\nspec:\n"
		    "  endpointSelector: {}\n");
	add_section(&b, "egress");
	if (pick(2))
		add_section(&b, "egressDeny");
	return strbuf_take(&b);
}

static void compile_policy(const char *text, struct offline_image *ret)
{
	struct subject subject = { .namespace_name = "ns", .name = "a" };
	CLEANUP(diags_clear) struct diags diags = {};
	CLEANUP(store_freep) struct store *store = NULL;
	struct inventory inventory = {};
	size_t len;

	assert_int_equal(store_new(&store), 0);
	assert_int_equal(store_update(store, "p.yaml", text, strlen(text), &diags), 0);
	assert_int_equal(compile(store, &subject, &inventory, &diags, &ret->bytes, &len), 0);
	assert_int_equal(image_open(ret->bytes, len, &ret->img), 0);
}

/* ---- what the difference says ------------------------------------------------------------------------------------- */

static bool is_within(const char *prefix, const struct sluice_addr *addr)
{
	struct sluice_prefix p;

	assert_int_equal(prefix_parse(prefix, &p), 0);
	return prefix_contains(&p, addr) && (p.bits >= 96 || !addr_is_ipv4(addr));
}

static bool has_port(const json_t *ports, unsigned int port, const char *proto)
{
	const json_t *item;
	size_t i;

	json_array_foreach(ports, i, item)
	{
		const char *text = json_string_value(item), *slash = strchr(text, '/');
		char *end;
		unsigned long first = strtoul(text, &end, 10), last = *end == '-' ? strtoul(end + 1, NULL, 10) : first;

		if (!strcmp(slash + 1, proto) && (!strncmp(text, "any/", 4) || (port >= first && port <= last)))
			return true;
	}
	return false;
}

static size_t count_told(const json_t *list, const struct explain_query *q, const char *proto, bool cluster)
{
	const json_t *o, *except;
	size_t found = 0, i, k;

	json_array_foreach(list, i, o)
	{
		const char *scope = get_text(o, "scope");
		bool told = is_within(get_text(o, "destination"), &q->addr) &&
			    has_port(json_object_get(o, "ports"), q->number, proto) &&
			    (!strcmp(scope, "any") || !strcmp(scope, cluster ? "cluster" : "outside"));

		json_array_foreach(json_object_get(o, "except"), k, except) told =
			told && !is_within(json_string_value(except), &q->addr);
		found += told;
	}
	return found;
}

/* ---- the comparison ----------------------------------------------------------------------------------------------- */

static bool always(void *context, const struct sluice_addr *addr)
{
	(void)addr;
	return context != NULL;
}

static void ask(const struct image *was, const struct image *is, const json_t *diff, const char *was_text,
		const char *is_text)
{
	bool cluster = pick(2), tcp = pick(2);
	struct explain_world world = { .in_cluster = always, .context = cluster ? &cluster : NULL };
	struct explain_query q = { .proto = tcp ? 6 : 17, .number = (uint16_t)(1 + pick(45)) };
	struct explain_answer a, b;
	char text[64];
	size_t allowed, denied;

	if (pick(3))
		snprintf(text, sizeof(text), "%u.%u.%u.%u", 10 + pick(2), pick(2), pick(2), pick(256));
	else
		snprintf(text, sizeof(text), "2001:db8::%x", pick(256));
	assert_int_equal(addr_parse(text, &q.addr), 0);
	explain(was, &world, &q, &a);
	explain(is, &world, &q, &b);
	allowed = count_told(json_object_get(diff, "allowed"), &q, tcp ? "TCP" : "UDP", cluster);
	denied = count_told(json_object_get(diff, "denied"), &q, tcp ? "TCP" : "UDP", cluster);
	if (allowed != (b.allowed && !a.allowed) || denied != (a.allowed && !b.allowed))
		fail_msg("%s %u/%s cluster %d: was %d, is %d, told allowed %zu, denied %zu\n%s\n%s", text, q.number,
			 tcp ? "TCP" : "UDP", cluster, a.allowed, b.allowed, allowed, denied, was_text, is_text);
}

static void test_random(void **state)
{
	static const struct diff_names none = {};
	const char *given = getenv("SEED");
	unsigned int start = given ? (unsigned int)strtoul(given, NULL, 10) : (unsigned int)time(NULL);

	(void)state;
	print_message("SEED=%u\n", start);
	seed = start;
	for (int i = 0; i < PAIRS; i++) {
		CLEANUP(offline_image_clear) struct offline_image was = {};
		CLEANUP(offline_image_clear) struct offline_image is = {};
		_cleanup_free_ char *was_text = random_policy(), *is_text = random_policy();
		_cleanup_json_ json_t *diff = NULL;

		compile_policy(was_text, &was);
		compile_policy(is_text, &is);
		diff = diff_images(was.img, is.img, &none);
		assert_non_null(diff);
		for (int k = 0; k < QUESTIONS; k++)
			ask(was.img, is.img, diff, was_text, is_text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_random) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
