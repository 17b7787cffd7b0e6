/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/policy/policy_test.h"

static const char policy[] = CNP_HEAD
	"  egress:\n"
	"  - toFQDNs: [{matchName: a.example}, {matchPattern: \"*.b.example\"}, {matchPattern: \"**.c.example\"}, "
	"{matchPattern: \"s*.d.*.example\"}, {matchName: e.example}, {matchName: f.example}]\n"
	"    toPorts: [{ports: [{port: \"443\"}]}]\n"
	"  - toPorts: [{ports: [{port: \"53\"}], rules: {dns: [{matchPattern: \"*\"}]}}]\n"
	"  - toCIDRSet: [{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}, {cidr: \"2001:db8::/32\"}]\n"
	"  egressDeny: [{toCIDR: [10.2.0.0/16]}]\n";

/* Everything a reader may do with an image that opened; ASan and UBSan are the judges. */
static size_t use(const struct image *img)
{
	static const char *const names[] = { "", "a.example", "x.b.example", "x.y.c.example", "s1.d.q.example", "zz" };
	size_t seen = 0;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct image_match m;
		struct image_source source;

		image_match_name(img, names[i], strlen(names[i]), &m);
		seen += m.nsets + image_name_below(img, names[i], strlen(names[i]));
		if (image_rule_source(img, m.rule, &source))
			seen += strlen(source.text) + strlen(source.policy) + strlen(source.kind) + strlen(source.file);
	}
	for (size_t i = 0; i < image_policy_count(img); i++)
		seen += strlen(image_policy_at(img, i));
	for (size_t i = 0; i < image_dest_count(img); i++) {
		const struct image_dest *d = image_dest_at(img, i);
		struct sluice_dest dest;
		struct sluice_rule rule;

		if (image_find_dest(img, &d->addr, &dest))
			seen += image_find_rule(img, dest.set, IPPROTO_TCP, htons(443), &rule);
	}
	for (size_t i = 0; i < image_rule_count(img); i++)
		seen += image_rule_at(img, i)->set;
	return seen + image_flags(img) + image_hash(img)[0] + image_opens_outside(img);
}

static void mutated(void **state)
{
	struct compiled c = test_compile(policy, NULL);
	unsigned int seed = 7;
	size_t opened = 0;

	(void)state;
	for (int i = 0; i < 40000; i++) {
		_cleanup_free_ uint8_t *copy = malloc(c.len);
		struct image *img = NULL;
		int flips = 1 + i % 3;

		memcpy(copy, c.data, c.len);
		while (flips-- > 0)
			copy[(size_t)rand_r(&seed) % c.len] = (uint8_t)(rand_r(&seed) % 4 ? rand_r(&seed) : 0xff);
		if (image_open(copy, c.len, &img) == 0) {
			opened++;
			use(img);
		}
		image_freep(&img);
	}
	assert_true(opened > 1000); /* or the later calls were not tried */
	compiled_clear(&c);
}

static void cut_short(void **state)
{
	struct compiled c = test_compile(policy, NULL);

	(void)state;
	for (size_t len = 0; len < c.len; len++) {
		_cleanup_free_ uint8_t *copy = malloc(len ? len : 1);
		struct image *img = NULL;

		memcpy(copy, c.data, len);
		assert_int_equal(image_open(copy, len, &img), -EBADMSG);
	}
	compiled_clear(&c);
}

/* One prefix and one port each, found where they are and nowhere beside it. */
static void lookups(void **state)
{
	struct compiled c = test_compile(policy, NULL);
	struct sluice_addr hole = test_addr("10.1.2.3"), in = test_addr("10.3.0.1"), out = test_addr("11.0.0.1");
	struct sluice_dest dest;

	(void)state;
	assert_true(image_find_dest(c.img, &in, &dest));
	assert_int_not_equal(dest.set, 0);
	assert_true(image_find_dest(c.img, &hole, &dest));
	assert_true(image_find_dest(c.img, &out, &dest)); /* port 53 of any destination */
	assert_true(image_opens_outside(c.img));
	assert_int_equal(test_tcp(c.img, "10.1.2.3", 443), '-');
	assert_int_equal(test_tcp(c.img, "10.2.2.3", 443), 'D');
	assert_int_equal(test_tcp(c.img, "10.3.2.3", 443), 'A');
	compiled_clear(&c);
}

static void many_names(void **state)
{
	struct strbuf_like {
		char *data;
		size_t len;
	} text = { .data = malloc(2 << 20) };
	struct compiled c;

	(void)state;
	text.len = (size_t)sprintf(text.data, "%s  egress:\n  - toFQDNs:\n", CNP_HEAD);
	for (int i = 0; i < 5000; i++)
		text.len += (size_t)sprintf(text.data + text.len, "    - matchName: n%d.example.com\n", i);
	c = test_compile(text.data, NULL);
	for (int i = 0; i < 5000; i += 7) {
		char name[40];

		sprintf(name, "n%d.example.com", i);
		assert_int_equal(test_name(c.img, name), 'O');
	}
	assert_int_equal(test_name(c.img, "n5000.example.com"), '-');
	compiled_clear(&c);
	free(text.data);
}

struct changes {
	struct image_change items[32];
	size_t count;
};

static int collect(const struct image_change *change, void *context)
{
	struct changes *c = context;

	assert_true(c->count < ARRAY_SIZE(c->items));
	c->items[c->count++] = *change;
	return 0;
}

/* What two images answer differently, and only that. */
static void differences(void **state)
{
	struct compiled a = test_compile(CNP_HEAD "  egress: [{toCIDR: [10.0.0.0/8], toPorts: [{ports: [{port: \"80\", "
						  "endPort: 90, protocol: TCP}]}]}]\n",
					 NULL);
	struct compiled b = test_compile(
		CNP_HEAD
		"  egress: [{toCIDR: [10.0.0.0/8], toPorts: [{ports: [{port: \"80\", endPort: 99, protocol: TCP}]}]}]\n"
		"  egressDeny: [{toCIDR: [10.1.0.0/16], toPorts: [{ports: [{port: \"85\", protocol: TCP}]}]}]\n",
		NULL);
	struct changes c = {};

	(void)state;
	assert_int_equal(image_diff(a.img, a.img, collect, &c), 0);
	assert_int_equal(c.count, 0);
	assert_int_equal(image_diff(a.img, b.img, collect, &c), 0);
	assert_int_equal(c.count, 3);
	assert_int_equal(c.items[0].prefix.bits, 104);
	assert_int_equal(c.items[0].first, 91);
	assert_int_equal(c.items[0].last, 99);
	assert_int_equal(c.items[0].was, IMAGE_NO_RULE);
	assert_int_equal(c.items[0].is, IMAGE_ALLOW);
	assert_int_equal(c.items[1].prefix.bits, 112);
	assert_int_equal(c.items[1].first, 85);
	assert_int_equal(c.items[1].was, IMAGE_ALLOW);
	assert_int_equal(c.items[1].is, IMAGE_DENY);
	assert_int_equal(c.items[2].last, 99);
	assert_false(c.items[2].in_cluster);
	compiled_clear(&a);
	compiled_clear(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(differences), cmocka_unit_test(lookups),
					    cmocka_unit_test(cut_short), cmocka_unit_test(mutated),
					    cmocka_unit_test(many_names) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
