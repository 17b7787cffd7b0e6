/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/kube/policies.h"
#include "base/cleanup.h"

struct world {
	struct store *store;
	struct kube_policies *p;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_int_equal(store_new(&w->store), 0);
	assert_int_equal(kube_policies_new(w->store, -1, &w->p), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	kube_policies_freep(&w->p);
	store_freep(&w->store);
	free(w);
	return 0;
}

static json_t *policy(const char *name, int generation, const char *version, const char *egress)
{
	json_error_t error;
	json_t *spec = json_loads(egress, 0, &error);
	json_t *object;

	if (!spec)
		fail_msg("%s", error.text);
	object = json_pack("{s:s, s:s, s:{s:s, s:s, s:s, s:s, s:i}, s:{s:{}, s:o}}", "apiVersion", "cilium.io/v2",
			   "kind", "CiliumNetworkPolicy", "metadata", "namespace", "ns", "name", name, "uid", name,
			   "resourceVersion", version, "generation", generation, "spec", "endpointSelector", "egress",
			   spec);
	assert_non_null(object);
	return object;
}

static void put(struct world *w, const char *name, int generation, const char *version, const char *egress)
{
	json_t *object = policy(name, generation, version, egress);

	kube_policies_put(w->p, 3, object);
	json_decref(object);
}

#define NAMES(name) "[{\"toFQDNs\":[{\"matchName\":\"" name "\"}]}]"

static void test_comes_and_goes(void **state)
{
	struct world *w = *state;
	json_t *object = policy("b", 1, "1", "[{}]");

	kube_policies_begin(w->p, 3);
	put(w, "b", 1, "1", "[{}]");
	put(w, "a", 1, "1", NAMES("example.com"));
	kube_policies_synced(w->p, 3);
	assert_int_equal(store_policy_count(w->store), 2);
	assert_true(kube_policies_take_changed(w->p));
	assert_false(kube_policies_take_changed(w->p));
	kube_policies_gone(w->p, 3, object);
	json_decref(object);
	assert_int_equal(store_policy_count(w->store), 1);
	/* Another collection's list says nothing of these. */
	kube_policies_begin(w->p, 4);
	kube_policies_synced(w->p, 4);
	assert_int_equal(store_policy_count(w->store), 1);
	kube_policies_begin(w->p, 3);
	kube_policies_synced(w->p, 3);
	assert_int_equal(store_policy_count(w->store), 0);
}

/* Its status written changes a version and no generation. */
static void test_generation(void **state)
{
	struct world *w = *state;

	put(w, "a", 1, "1", "[{}]");
	kube_policies_take_changed(w->p);
	put(w, "a", 1, "2", "[{}]");
	assert_false(kube_policies_take_changed(w->p));
	put(w, "a", 2, "3", NAMES("example.com"));
	assert_true(kube_policies_take_changed(w->p));
	assert_int_equal(store_policy_count(w->store), 1);
}

static void put_uid(struct world *w, const char *uid, int generation, const char *egress)
{
	json_t *object = policy("a", generation, "1", egress);

	json_object_set_new(json_object_get(object, "metadata"), "uid", json_string(uid));
	kube_policies_put(w->p, 3, object);
	json_decref(object);
}

static void assert_store(const struct world *w, size_t in_force, size_t refused)
{
	assert_int_equal(store_policy_count(w->store), in_force);
	assert_int_equal(store_refused_count(w->store), refused);
}

/* The last good text is of the object, not of its name: what was deleted does not come back by a wrong one of that name. */
static void test_made_anew(void **state)
{
	static const char wrong[] = "[{\"toCIDR\":[\"nonsense\"]}]";
	char path[] = "/tmp/sluice-accepted-XXXXXX", line[64];
	struct world *w = *state;
	int dir;

	put_uid(w, "u1", 1, "[{}]");
	put_uid(w, "u1", 2, wrong);
	assert_store(w, 1, 1);
	put_uid(w, "u2", 1, wrong);
	assert_store(w, 0, 1);
	/* The same over a restart. */
	assert_non_null(mkdtemp(path));
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	for (int n = 0; n < 2; n++) {
		kube_policies_freep(&w->p);
		store_freep(&w->store);
		assert_int_equal(store_new(&w->store), 0);
		assert_int_equal(kube_policies_new(w->store, dir, &w->p), 0);
		put_uid(w, "u1", 1, "[{}]");
		assert_store(w, 1, 0);
		kube_policies_freep(&w->p);
		store_freep(&w->store);
		assert_int_equal(store_new(&w->store), 0);
		assert_int_equal(kube_policies_new(w->store, dir, &w->p), 0);
		put_uid(w, n ? "u2" : "u1", 2, wrong);
		assert_store(w, n ? 0 : 1, 1);
	}
	close(dir);
	snprintf(line, sizeof(line), "rm -r %s", path);
	assert_int_equal(system(line), 0);
}

static void test_refused(void **state)
{
	struct world *w = *state;
	struct kube_verdict v;

	put(w, "a", 1, "1", "[{},{\"toFQDNs\":[{\"matchName\":\"example.com\"},{\"matchNames\":\"b\"}]}]");
	assert_true(kube_policies_verdict(w->p, 0, &v));
	assert_false(v.valid);
	if (strncmp(v.message, "spec.egress[1].toFQDNs[1]", 25) != 0)
		fail_msg("%s", v.message);
	assert_int_equal(store_refused_count(w->store), 1);
	put(w, "a", 2, "2", "[{}]");
	assert_true(kube_policies_verdict(w->p, 0, &v));
	assert_true(v.valid);
	assert_string_equal(v.message, "");
	assert_int_equal(v.generation, 2);
	assert_false(kube_policies_verdict(w->p, 1, &v));
}

static void test_move(void **state)
{
	struct world *w = *state;
	struct store *fresh = NULL;

	put(w, "a", 1, "1", "[{}]");
	put(w, "b", 1, "1", "[{}]");
	assert_int_equal(store_new(&fresh), 0);
	assert_int_equal(kube_policies_move(w->p, fresh), 0);
	assert_int_equal(store_policy_count(fresh), 2);
	put(w, "c", 1, "1", "[{}]");
	assert_int_equal(store_policy_count(fresh), 3);
	assert_int_equal(store_policy_count(w->store), 2);
	store_freep(&fresh);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_comes_and_goes), TEST(test_generation), TEST(test_made_anew),
		TEST(test_refused),	   TEST(test_move),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
