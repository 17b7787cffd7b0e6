/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/policy/policy_test.h"
#include "policy/yaml.h"

static int read_text(const char *text, struct diags *d, struct ydocs **docs)
{
	return yaml_read("f", text, strlen(text), d, docs);
}

static void positions(void **state)
{
	CLEANUP(ydocs_freep) struct ydocs *docs = NULL;
	struct diags d = {};
	const struct ynode *b;

	(void)state;
	assert_int_equal(read_text("a: 1\nb:\n  - x\n  - \"53\"\n---\nc: d\n", &d, &docs), 0);
	assert_int_equal(docs->count, 2);
	b = ynode_get(docs->roots[0], "b");
	assert_int_equal(b->kind, YNODE_SEQUENCE);
	assert_int_equal(b->items[1]->line, 4);
	assert_int_equal(b->items[1]->column, 5);
	assert_int_equal(b->items[1]->scalar, YSCALAR_STRING);
	assert_int_equal(ynode_get(docs->roots[0], "a")->scalar, YSCALAR_INT);
	assert_null(ynode_get(docs->roots[0], "c"));
	diags_clear(&d);
}

static void refused(void **state)
{
	static const struct {
		const char *text, *where, *part;
	} rows[] = {
		{ "a: &x 1\nb: *x\n", "f:1:4: error", "anchors" },
		{ "b: *x\n", "f:1:4: error", "aliases" },
		{ "a: !!str 1\n", "f:1:4: error", "tags" },
		{ "a: 1\nb: 2\na: 3\n", "f:3:1: error", "given twice, first in line 1" },
		{ "? [a]\n: b\n", "f:1:3: error", "scalar" },
		{ "a: \"x\\0y\"\n", "f:1:4: error", "NUL" },
		{ "a: [1\nb: 2\n", "f:", "not YAML" },
		{ "\ta: 1\n", "f:1:1: error", "not YAML" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct ydocs *docs = NULL;
		struct diags d = {};

		assert_int_equal(read_text(rows[i].text, &d, &docs), -EINVAL);
		assert_true(has_diag(&d, rows[i].where, rows[i].part));
		assert_int_equal(d.errors, 1);
		assert_null(docs);
		diags_clear(&d);
	}
}

static void depth(void **state)
{
	char text[4 * YAML_MAX_DEPTH];
	struct ydocs *docs = NULL;
	struct diags d = {};

	(void)state;
	memset(text, '[', YAML_MAX_DEPTH);
	memset(text + YAML_MAX_DEPTH, ']', YAML_MAX_DEPTH);
	text[2 * YAML_MAX_DEPTH] = '\0';
	assert_int_equal(read_text(text, &d, &docs), 0);
	ydocs_freep(&docs);
	memset(text, '[', YAML_MAX_DEPTH + 1);
	memset(text + YAML_MAX_DEPTH + 1, ']', YAML_MAX_DEPTH + 1);
	text[2 * YAML_MAX_DEPTH + 2] = '\0';
	assert_int_equal(read_text(text, &d, &docs), -EINVAL);
	assert_true(has_diag(&d, "f:1:65", "deeper"));
	diags_clear(&d);
}

static void scalars(void **state)
{
	static const struct {
		const char *text;
		bool ok;
		uint64_t ns;
	} rows[] = {
		{ "30s", true, 30000000000 },
		{ "1m30s", true, 90000000000 },
		{ "250ms", true, 250000000 },
		{ "0", true, 0 },
		{ "1h", true, 3600000000000 },
		{ "30", false, 0 },
		{ "s", false, 0 },
		{ "-1s", false, 0 },
		{ "99999999999h", false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		CLEANUP(ydocs_freep) struct ydocs *docs = NULL;
		struct diags d = {};
		struct yctx c = { .file = "f", .diags = &d };
		uint64_t ns = 7;

		assert_int_equal(read_text(rows[i].text, &d, &docs), 0);
		assert_int_equal(yread_duration(&c, docs->roots[0], "ttl", &ns), rows[i].ok);
		assert_int_equal(ns, rows[i].ok ? rows[i].ns : 7);
		assert_int_equal(c.errors, !rows[i].ok);
		diags_clear(&d);
	}
}

struct pair {
	uint64_t port;
	bool flag;
};

static void read_port(struct yctx *c, const struct ynode *value, void *out)
{
	yread_uint(c, value, "port", 1, 65535, &((struct pair *)out)->port);
}

static void read_flag(struct yctx *c, const struct ynode *value, void *out)
{
	yread_bool(c, value, "flag", &((struct pair *)out)->flag);
}

static void fields(void **state)
{
	static const struct yfield table[] = { { "port", read_port }, { "flag", read_flag } };
	CLEANUP(ydocs_freep) struct ydocs *docs = NULL;
	struct diags d = {};
	struct yctx c = { .file = "f", .diags = &d };
	struct pair p = {};

	(void)state;
	assert_int_equal(read_text("port: 053\nflag: yes\nother: 1\n---\n[]\n", &d, &docs), 0);
	assert_false(yread_fields(&c, docs->roots[0], "thing", table, 2, &p));
	assert_true(p.flag);
	assert_int_equal(p.port, 0);
	assert_true(has_diag(&d, "f:1:7: error", "port: expected a number from 1 to 65535, got the number 053"));
	assert_true(has_diag(&d, "f:3:1: error", "member other is not supported; expected one of: port, flag"));
	assert_false(yread_fields(&c, docs->roots[1], "thing", table, 2, &p));
	assert_true(has_diag(&d, "f:5:1: error", "thing: expected a mapping, got a list"));
	assert_int_equal(c.errors, 3);
	diags_clear(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(positions), cmocka_unit_test(refused),
					    cmocka_unit_test(depth), cmocka_unit_test(scalars),
					    cmocka_unit_test(fields) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
