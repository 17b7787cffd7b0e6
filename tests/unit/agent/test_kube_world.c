/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/kube/world.h"
#include "base/cleanup.h"

/* Pods are placed on the interface that a label of theirs names. */
struct world {
	struct kube_cache *cache;
	char refused[256]; /* "name: why; " */
	struct kube_world counts;
	struct endpoints_file *file;
};

static bool place(void *context, const struct kube_pod *pod, struct static_endpoint *ret)
{
	(void)context;
	snprintf(ret->interface, sizeof(ret->interface), "%s",
		 pod->subject->nlabels ? pod->subject->labels[0].value : "");
	return *ret->interface;
}

static bool place_more(void *context, const char *interface, size_t i, struct static_endpoint *ret)
{
	(void)context;
	snprintf(ret->interface, sizeof(ret->interface), "%.8s-more%zu", interface, i % 10);
	return i < (strcmp(interface, "many") == 0 ? 250 : !strcmp(interface, "two"));
}

static int place_host(void *context, const struct kube_pod *pod, struct static_endpoint *ret)
{
	(void)context;
	(void)pod;
	ret->cgroup = strdup("/c");
	return 1;
}

static void refuse(void *context, const struct kube_pod *pod, const char *why)
{
	struct world *w = context;
	size_t len = strlen(w->refused);

	snprintf(w->refused + len, sizeof(w->refused) - len, "%s: %s; ", pod->subject->name, why);
}

static void put(struct world *w, enum kube_kind kind, const char *text)
{
	json_error_t error;
	json_t *object = json_loads(text, 0, &error);

	assert_non_null(object);
	kube_cache_put(w->cache, kind, object);
	json_decref(object);
}

static void put_namespace(struct world *w, const char *name)
{
	char text[256];

	snprintf(text, sizeof(text), "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"%s\"}}",
		 name);
	put(w, KUBE_NAMESPACE, text);
}

static void put_pod(struct world *w, const char *name, const char *interface, bool host)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"%s\",\"uid\":"
		 "\"u\","
		 "\"labels\":{\"interface\":\"%s\"}},\"spec\":{\"nodeName\":\"n1\"%s}}",
		 name, interface, host ? ",\"hostNetwork\":true" : "");
	put(w, KUBE_POD, text);
}

/* Who is where, as "name@interface ". */
static const char *build(struct world *w, char ret[256])
{
	const struct kube_join how = { w, place, place_more, place_host, refuse };

	w->refused[0] = ret[0] = '\0';
	endpoints_file_freep(&w->file);
	assert_int_equal(kube_world_new(w->cache, &how, &w->file, &w->counts), 0);
	for (size_t i = 0; i < w->file->endpoints.count; i++) {
		const struct static_endpoint *e = &w->file->endpoints.items[i];

		snprintf(ret + strlen(ret), 256 - strlen(ret), "%s@%s ", e->name, e->interface);
	}
	return ret;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	*state = w;
	return kube_cache_new("n1", &w->cache);
}

static int teardown(void **state)
{
	struct world *w = *state;

	endpoints_file_freep(&w->file);
	kube_cache_freep(&w->cache);
	free(w);
	return 0;
}

/* A policy may select by the namespace's labels, and the two are heard in any order. */
static void test_namespace_first(void **state)
{
	struct world *w = *state;
	char where[256];

	put_pod(w, "a", "one", false);
	assert_string_equal(build(w, where), "");
	assert_string_equal(w->refused, "a: its namespace is not known yet; ");
	assert_int_equal(w->counts.pods, 1);
	assert_int_equal(w->counts.unjoined, 1);
	put_namespace(w, "other");
	assert_string_equal(build(w, where), "");
	put_namespace(w, "ns");
	assert_string_equal(build(w, where), "a@one ");
	assert_string_equal(w->refused, "");
	assert_int_equal(w->counts.unjoined, 0);
}

/* Of a namespace of the host that all pods' veths lead into five are one's: else each of 250 pods were on 250 interfaces. */
static void test_no_more_than_a_pod_has(void **state)
{
	struct world *w = *state;
	char where[256];

	put_namespace(w, "ns");
	put_pod(w, "a", "many", false);
	put_pod(w, "b", "two", false);
	assert_string_equal(build(w, where), "a@many a@many-more0 a@many-more1 a@many-more2 a@many-more3 "
					     "b@two b@two-more0 ");
}

/* Two pods with one address, by the API: neither gets the interface, and the others theirs. */
static void test_one_interface_one_pod(void **state)
{
	struct world *w = *state;
	char where[256];

	put_namespace(w, "ns");
	put_pod(w, "a", "two", false);
	put_pod(w, "b", "one", false);
	put_pod(w, "c", "two", false);
	put_pod(w, "d", "", true);
	put_pod(w, "e", "", true);
	assert_string_equal(build(w, where), "b@one d@ e@ ");
	assert_non_null(strstr(w->refused, "a: another pod's addresses lead to its interface too; "));
	assert_non_null(strstr(w->refused, "c: another pod's addresses lead to its interface too; "));
	assert_null(strstr(w->refused, "b:"));
	assert_int_equal(w->counts.unjoined, 2);
	put_pod(w, "c", "three", false);
	assert_string_equal(build(w, where), "a@two a@two-more0 b@one c@three d@ e@ ");
	assert_string_equal(w->refused, "");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_namespace_first),
		TEST(test_one_interface_one_pod),
		TEST(test_no_more_than_a_pod_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
