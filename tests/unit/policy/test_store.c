/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/policy/policy_test.h"

static const char good[] = CNP_HEAD "  egress: [{toCIDR: [10.0.0.0/8]}]\n";
static const char bad[] = CNP_HEAD "  egress: [{toGroups: []}]\n";
static const char other_labels[] =
	"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: ns}\nspec:\n"
	"  endpointSelector: {}\n  egress: [{toGroups: []}]\n";

/* 'o' open, 'R' refused, else the verdict of 10.0.0.1:1. */
static char fate(const struct store *s, const struct subject *subject)
{
	struct diags d = {};
	_cleanup_free_ uint8_t *data = NULL;
	CLEANUP(image_freep) struct image *img = NULL;
	size_t len;
	int r = compile(s, subject, NULL, &d, &data, &len);

	if (r == 1)
		return 'o';
	assert_int_equal(r, 0);
	assert_int_equal(image_open(data, len, &img), 0);
	if (!(image_flags(img) & IMAGE_REFUSED))
		return test_tcp(img, "10.0.0.1", 1);
	assert_int_equal(test_tcp(img, "10.0.0.1", 1), 'D');
	assert_int_equal(test_verdict(img, "2001:db8::1", IPPROTO_ICMPV6, 128 << 8, true), 'D');
	return 'R';
}

static int update(struct store *s, const char *text)
{
	struct diags d = {};
	int r = test_update(s, "f", text, &d);

	diags_clear(&d);
	return r;
}

static const struct label db_labels[] = { { "app", "db" } };
static const struct subject db = { .namespace_name = "ns", .name = "db", .labels = db_labels, .nlabels = 1 };
static const struct subject far = { .namespace_name = "far", .name = "far", .labels = db_labels, .nlabels = 1 };

static void last_good(void **state)
{
	CLEANUP(store_freep) struct store *s = NULL;
	struct store_entry e;

	(void)state;
	assert_int_equal(store_new(&s), 0);
	assert_int_equal(update(s, bad), 1);
	assert_int_equal(fate(s, &web), 'R');
	assert_int_equal(fate(s, &db), 'o');
	assert_int_equal(update(s, good), 0);
	assert_int_equal(fate(s, &web), 'A');
	assert_int_equal(update(s, bad), 1);
	assert_int_equal(fate(s, &web), 'A');
	assert_int_equal(update(s, other_labels), 1);
	assert_int_equal(fate(s, &web), 'A');
	assert_int_equal(fate(s, &db), 'R'); /* beyond what the last good one selects */
	assert_int_equal(fate(s, &far), 'o');
	assert_int_equal(store_policy_count(s), 1);
	assert_int_equal(store_refused_count(s), 1);
	store_entry_at(s, 0, &e);
	assert_true(e.last_good && !e.refused);
	assert_string_equal(e.policy, "ns/p");
	store_entry_at(s, 1, &e);
	assert_true(e.refused);
	assert_int_equal(update(s, ""), 0);
	assert_int_equal(fate(s, &web), 'o'); /* removed, and its last good state with it */
	assert_int_equal(update(s, bad), 1);
	assert_int_equal(fate(s, &web), 'R');
}

static void not_yaml(void **state)
{
	CLEANUP(store_freep) struct store *s = NULL;
	struct diags d = {};

	(void)state;
	assert_int_equal(store_new(&s), 0);
	assert_int_equal(update(s, "{"), 1);
	assert_int_equal(fate(s, &web), 'R');
	assert_int_equal(fate(s, &far), 'R');
	assert_int_equal(test_update(s, "g", good, &d), 0);
	assert_int_equal(fate(s, &web), 'A'); /* something else selects it */
	assert_int_equal(fate(s, &far), 'R');
	assert_int_equal(test_update(s, "g", "{", &d), 1);
	assert_int_equal(fate(s, &web), 'A');
	assert_int_equal(store_remove(s, "g"), 0);
	assert_int_equal(fate(s, &web), 'R');
	assert_int_equal(store_remove(s, "f"), 0);
	assert_int_equal(fate(s, &web), 'o');
	assert_int_equal(store_remove(s, "f"), -ENOENT);
	diags_clear(&d);
}

/* A selector nobody can read closes its namespace, except what other policies select. */
static void unreadable_selector(void **state)
{
	CLEANUP(store_freep) struct store *s = NULL;
	struct diags d = {};

	(void)state;
	assert_int_equal(store_new(&s), 0);
	assert_int_equal(
		update(s, "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: ns}\n"
			  "spec: {endpointSelector: {matchExpressions: 1}, egress: [{}]}\n"),
		1);
	assert_int_equal(fate(s, &web), 'R');
	assert_int_equal(fate(s, &db), 'R');
	assert_int_equal(fate(s, &far), 'o');
	assert_int_equal(test_update(s, "g",
				     "apiVersion: networking.k8s.aws/v1alpha1\nkind: ApplicationNetworkPolicy\n"
				     "metadata: {name: a, namespace: ns}\nspec:\n  podSelector: {matchLabels: {app: "
				     "web}}\n  egress: [{}]\n",
				     &d),
			 0);
	assert_int_equal(fate(s, &web), 'A');
	assert_int_equal(fate(s, &db), 'R');
	diags_clear(&d);
}

/* Hazard 32: a member more, and all that is known unchanged. */
static void unknown_member_in_an_update(void **state)
{
#define GROWING(rest)                                                                                                  \
	"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: ns}\n"                    \
	"spec: {endpointSelector: {matchLabels: {app: web}}, egress: [{toCIDR: [0.0.0.0/0]" rest "}]}\n"
	CLEANUP(store_freep) struct store *s = NULL;
	struct diags d = {};

	(void)state;
	assert_int_equal(store_new(&s), 0);
	assert_int_equal(test_update(s, "f", GROWING(", novel: 1"), &d), 1); /* new: refused */
	assert_int_equal(fate(s, &web), 'R');
	assert_int_equal(test_update(s, "f", GROWING(""), &d), 0);
	diags_clear(&d);
	assert_int_equal(test_update(s, "f", "\n" GROWING(", novel: 1"), &d), 1); /* not taken whole */
	assert_int_equal(d.errors, 0);
	assert_true(has_diag(&d, "f:5:84: warning", "member novel"));
	assert_int_equal(fate(s, &web), 'A');
	assert_int_equal(store_refused_count(s), 0);
	diags_clear(&d);
	/* Again, and still the same. */
	assert_int_equal(test_update(s, "f", GROWING(", novel: [2]"), &d), 1);
	assert_int_equal(store_refused_count(s), 0);
	/* Something known changed too: the last good text stays, and the refusal is told. */
	assert_int_equal(test_update(s, "f", GROWING(", toPorts: [{}], novel: 1"), &d), 1);
	assert_int_equal(store_refused_count(s), 1);
	/* Another mistake beside it. */
	assert_int_equal(test_update(s, "f", GROWING(", novel: 1, toPorts: 1"), &d), 1);
	diags_clear(&d);
}

static const struct label web_only[] = { { "app", "web" } };

/* A refused group closes those whose policies count on it, for a deny by it would be too small. */
static void refused_group(void **state)
{
#define GROUP(cidr)                                                                                                    \
	"apiVersion: cilium.io/v2alpha1\nkind: CiliumCIDRGroup\nmetadata: {name: g, labels: {kind: bad}}\n"            \
	"spec: {externalCIDRs: [" cidr "]}\n"
#define BY_GROUP(ref)                                                                                                  \
	"---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: ns}\n"               \
	"spec: {endpointSelector: {matchLabels: {app: web}}, egress: [{toCIDR: [0.0.0.0/0]}], "                        \
	"egressDeny: [{toCIDRSet: [{" ref ", except: [8.8.0.0/16]}]}]}\n"
	static const char *const refs[] = { BY_GROUP("cidrGroupRef: g"),
					    BY_GROUP("cidrGroupSelector: {matchLabels: {kind: bad}}") };
	static const struct subject subject = { .namespace_name = "ns", .name = "w", .labels = web_only, .nlabels = 1 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refs); i++) {
		CLEANUP(store_freep) struct store *s = NULL;
		struct diags d = {};
		struct image *img = NULL;
		uint8_t *data = NULL;
		size_t len;

		assert_int_equal(store_new(&s), 0);
		assert_int_equal(test_update(s, "g", GROUP("nonsense"), &d), 1);
		assert_int_equal(test_update(s, "f", refs[i] + 4, &d), 0);
		assert_int_equal(fate(s, &subject), 'R');
		assert_int_equal(test_update(s, "g", GROUP("8.0.0.0/8"), &d), 0);
		assert_int_equal(compile(s, &subject, NULL, &d, &data, &len), 0);
		assert_int_equal(image_open(data, len, &img), 0);
		assert_int_equal(test_tcp(img, "8.1.1.1", 1), 'D');
		assert_int_equal(test_tcp(img, "8.8.1.1", 1), 'A');
		assert_int_equal(test_tcp(img, "9.1.1.1", 1), 'A');
		image_freep(&img);
		free(data);
		diags_clear(&d);
	}
}

static void other_kinds(void **state)
{
	static const struct {
		const char *text;
		int result;
		char web, db, far;
	} rows[] = {
		{ "apiVersion: v1\nkind: ConfigMap\n", 0, 'o', 'o', 'o' },
		{ "apiVersion: networking.k8s.io/v1\nkind: Ingress\n", 0, 'o', 'o', 'o' },
		{ "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: n, namespace: ns}\n"
		  "spec: {podSelector: {matchLabels: {app: web}}}\n",
		  1, 'R', 'o', 'o' },
		{ "apiVersion: networking.k8s.aws/v1alpha1\nkind: ClusterNetworkPolicy\nmetadata: {name: n}\n", 1, 'R',
		  'R', 'R' },
		{ "apiVersion: cilium.io/v2\nkind: CiliumCIDRGroup\nmetadata: {name: n}\n", 1, 'o', 'o', 'o' },
		{ "apiVersion: cilium.io/v3\nkind: CiliumNetworkPolicy\nmetadata: {name: n, namespace: ns}\n", 1, 'R',
		  'R', 'o' },
		{ "- 1\n", 1, 'R', 'R', 'R' },
		{ "kind: X\n", 1, 'R', 'R', 'R' },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP(store_freep) struct store *s = NULL;

		assert_int_equal(store_new(&s), 0);
		if (update(s, rows[i].text) != rows[i].result || fate(s, &web) != rows[i].web ||
		    fate(s, &db) != rows[i].db || fate(s, &far) != rows[i].far)
			fail_msg("%s", rows[i].text);
	}
}

static void others_unaffected(void **state)
{
	CLEANUP(store_freep) struct store *s = NULL;
	char text[2048];

	(void)state;
	snprintf(text, sizeof(text), "%s---\n%s", good,
		 "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: q, namespace: ns}\nspec:\n"
		 "  endpointSelector: {matchLabels: {app: db}}\n  egress: [{toGroups: []}]\n");
	assert_int_equal(store_new(&s), 0);
	assert_int_equal(update(s, text), 1);
	assert_int_equal(fate(s, &web), 'A');
	assert_int_equal(fate(s, &db), 'R');
	snprintf(text, sizeof(text), "%s---\n%s", good, good);
	assert_int_equal(update(s, text), 1); /* one name twice */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(last_good),	       cmocka_unit_test(not_yaml),
		cmocka_unit_test(unreadable_selector), cmocka_unit_test(unknown_member_in_an_update),
		cmocka_unit_test(refused_group),       cmocka_unit_test(other_kinds),
		cmocka_unit_test(others_unaffected)
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
