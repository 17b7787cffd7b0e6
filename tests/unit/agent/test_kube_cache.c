/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/kube/cache.h"
#include "agent/kube/node.h"
#include "base/cleanup.h"

static json_t *json(const char *text)
{
	json_error_t error;
	json_t *value = json_loads(text, 0, &error);

	if (!value)
		fail_msg("%s in %s", error.text, text);
	return value;
}

static void put(struct kube_cache *c, enum kube_kind kind, const char *text)
{
	json_t *object = json(text);

	kube_cache_put(c, kind, object);
	json_decref(object);
}

static void gone(struct kube_cache *c, enum kube_kind kind, const char *text)
{
	json_t *object = json(text);

	kube_cache_gone(c, kind, object);
	json_decref(object);
}

#define POD(name, version, labels, more)                                                                               \
	"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"" name                  \
	"\",\"uid\":\"u-" name "\",\"resourceVersion\":\"" version "\",\"labels\":{" labels                            \
	"},\"annotations\":{\"a\":\"" version                                                                          \
	"\"}},\"spec\":{\"nodeName\":\"n1\",\"containers\":[{\"name\":\"c\",\"env\":[{\"name\":\"E\"}],\"ports\":"     \
	"[{\"name\":\"http\",\"containerPort\":8080}]}]},\"status\":{\"phase\":\"Running\",\"podIP\":\"10.0.0.5\","    \
	"\"podIPs\":"                                                                                                  \
	"[{\"ip\":\"10.0.0.5\"},{\"ip\":\"fd00::5\"}]}" more "}"

static int setup(void **state)
{
	return kube_cache_new("n1", (struct kube_cache **)state);
}

static int teardown(void **state)
{
	kube_cache_freep((struct kube_cache **)state);
	return 0;
}

static void test_pod(void **state)
{
	CLEANUP(objects_clear) struct objects o = {};
	struct kube_cache *c = *state;

	put(c, KUBE_POD, POD("web", "1", "\"app\":\"web\"", ""));
	assert_true(kube_cache_changed(c));
	assert_int_equal(kube_cache_view(c, &o), 0);
	assert_false(kube_cache_changed(c));
	assert_int_equal(o.nkept, 1);
	assert_string_equal(o.kept[0].pod->namespace_name, "ns");
	assert_string_equal(o.kept[0].pod->name, "web");
	assert_string_equal(o.kept[0].pod->node, "n1");
	assert_int_equal(o.kept[0].pod->nlabels, 1);
	assert_string_equal(o.kept[0].pod->labels[0].value, "web");
	assert_int_equal(o.kept[0].pod->naddrs, 2);
	assert_int_equal(o.kept[0].pod->nports, 1);
	assert_int_equal(o.kept[0].pod->ports[0].port, 8080);
	assert_false(o.kept[0].pod->not_running);
}

/* What changes nothing here is no news; a label is. */
static void test_news(void **state)
{
	struct kube_cache *c = *state;
	struct objects first = {}, second = {};

	put(c, KUBE_POD, POD("web", "1", "\"app\":\"web\"", ""));
	assert_int_equal(kube_cache_view(c, &first), 0);
	put(c, KUBE_POD, POD("web", "2", "\"app\":\"web\"", ""));
	assert_false(kube_cache_changed(c));
	put(c, KUBE_POD, POD("web", "3", "\"app\":\"db\"", ""));
	assert_true(kube_cache_changed(c));
	/* A view outlives the next one's making. */
	assert_int_equal(kube_cache_view(c, &second), 0);
	assert_string_equal(first.kept[0].pod->labels[0].value, "web");
	assert_string_equal(second.kept[0].pod->labels[0].value, "db");
	objects_clear(&first);
	objects_clear(&second);
}

/* What a version stands for never changes; what is new has a greater one. */
static void test_versions(void **state)
{
	struct kube_cache *c = *state;
	struct objects first = {}, second = {};

	put(c, KUBE_POD, POD("b", "1", "\"app\":\"web\"", ""));
	put(c, KUBE_POD, POD("a", "1", "\"app\":\"web\"", ""));
	assert_int_equal(kube_cache_view(c, &first), 0);
	assert_int_equal(first.nkept, 2);
	assert_string_equal(first.kept[0].pod->name, "a");
	assert_true(first.kept[0].version > first.kept[1].version && first.kept[1].version > 0);
	put(c, KUBE_POD, POD("a", "2", "\"app\":\"web\"", ""));
	put(c, KUBE_POD, POD("b", "2", "\"app\":\"db\"", ""));
	assert_int_equal(kube_cache_view(c, &second), 0);
	assert_int_equal(second.kept[0].version, first.kept[0].version);
	assert_true(second.kept[1].version > first.kept[0].version);
	objects_clear(&first);
	objects_clear(&second);
}

static size_t count_of(struct kube_cache *c, enum kube_kind kind)
{
	struct kube_cache_stats stats;

	kube_cache_get_stats(c, &stats);
	return stats.count[kind];
}

static void test_lists(void **state)
{
	struct kube_cache *c = *state;

	kube_cache_begin(c, KUBE_POD);
	put(c, KUBE_POD, POD("a", "1", "", ""));
	put(c, KUBE_POD, POD("b", "1", "", ""));
	kube_cache_synced(c, KUBE_POD);
	assert_int_equal(count_of(c, KUBE_POD), 2);
	kube_cache_begin(c, KUBE_POD);
	put(c, KUBE_POD, POD("b", "1", "", ""));
	assert_int_equal(count_of(c, KUBE_POD), 2);
	kube_cache_synced(c, KUBE_POD);
	assert_int_equal(count_of(c, KUBE_POD), 1);
	gone(c, KUBE_POD, POD("b", "9", "", ""));
	assert_int_equal(count_of(c, KUBE_POD), 0);
	gone(c, KUBE_POD, POD("b", "9", "", ""));
	assert_int_equal(count_of(c, KUBE_POD), 0);
}

/* An object that cannot be read leaves what was known of it, in a list too. */
static void test_refused(void **state)
{
	struct kube_cache *c = *state;
	struct kube_cache_stats stats;

	kube_cache_begin(c, KUBE_SERVICE);
	put(c, KUBE_SERVICE,
	    "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"s\"},\"spec\":{"
	    "\"clusterIP\":\"10.1.0.1\"}}");
	kube_cache_synced(c, KUBE_SERVICE);
	kube_cache_begin(c, KUBE_SERVICE);
	put(c, KUBE_SERVICE,
	    "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"s\"},\"spec\":{"
	    "\"clusterIP\":\"10.1.0.x\"}}");
	kube_cache_synced(c, KUBE_SERVICE);
	kube_cache_get_stats(c, &stats);
	assert_int_equal(stats.refused, 1);
	assert_int_equal(stats.count[KUBE_SERVICE], 1);
}

static int name_pods(void *context, const struct kube_pod *pod)
{
	char *names = context;

	strcat(names, pod->subject->name);
	strcat(names, pod->deleting ? "-" : "+");
	return 0;
}

static void test_pods_of_node(void **state)
{
	struct kube_cache *c = *state;
	char names[64] = "";

	put(c, KUBE_POD, POD("b", "1", "", ""));
	put(c, KUBE_POD, POD("a", "1", "", ""));
	put(c, KUBE_POD,
	    "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"c\","
	    "\"deletionTimestamp\":"
	    "\"t\"},\"spec\":{\"nodeName\":\"n1\"}}");
	put(c, KUBE_POD,
	    "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"d\"},\"spec\":{"
	    "\"nodeName\":\"n2\"}}");
	assert_int_equal(kube_cache_pods(c, name_pods, names), 0);
	assert_string_equal(names, "a+b+c-");
	/* One is bound to the node later, one is no more, and one that is another node's changes. */
	put(c, KUBE_POD,
	    "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"d\"},\"spec\":{"
	    "\"nodeName\":\"n1\"}}");
	put(c, KUBE_POD, POD("a", "1", "\"x\":\"y\"", ""));
	gone(c, KUBE_POD, POD("b", "1", "", ""));
	put(c, KUBE_POD,
	    "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"c\"},\"spec\":{"
	    "\"nodeName\":\"n2\"}}");
	names[0] = '\0';
	assert_int_equal(kube_cache_pods(c, name_pods, names), 0);
	assert_string_equal(names, "a+d+");
}

/* CNI plugins are told the static pod's uid; the API has its mirror's too. */
static void test_uid(void **state)
{
	struct kube_cache *c = *state;
	struct kube_pod pod;

	put(c, KUBE_POD, POD("a", "1", "", ""));
	put(c, KUBE_POD,
	    "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"static\",\"uid\":"
	    "\"u\","
	    "\"annotations\":{\"kubernetes.io/config.mirror\":\"m\"}},\"spec\":{\"nodeName\":\"n1\"}}");
	assert_false(kube_cache_pod(c, "other", "a", &pod));
	assert_true(kube_cache_pod(c, "ns", "a", &pod));
	assert_string_equal(pod.cni_uid, "u-a");
	assert_true(kube_cache_pod(c, "ns", "static", &pod));
	assert_string_equal(pod.uid, "u");
	assert_string_equal(pod.cni_uid, "m");
}

static void test_path(void **state)
{
	static const char text[] = "{\n"
				   "    \"kind\": \"X\",\n"
				   "    \"spec\": {\n"
				   "        \"egress\": [\n"
				   "            {},\n"
				   "            {\n"
				   "                \"toFQDNs\": [\n"
				   "                    {\n"
				   "                        \"matchName\": \"a..b\"\n"
				   "                    }\n"
				   "                ]\n"
				   "            }\n"
				   "        ]\n"
				   "    }\n"
				   "}\n";
	char path[128];

	(void)state;
	assert_string_equal(kube_node_path(text, 9, 38, path, sizeof(path)), "spec.egress[1].toFQDNs[0].matchName");
	assert_string_equal(kube_node_path(text, 8, 21, path, sizeof(path)), "spec.egress[1].toFQDNs[0]");
	assert_string_equal(kube_node_path(text, 4, 19, path, sizeof(path)), "spec.egress");
	assert_string_equal(kube_node_path(text, 0, 0, path, sizeof(path)), "");
	assert_string_equal(kube_node_path(text, 9, 38, path, 10), "spec.egre");
}

static void test_text(void **state)
{
	json_t *object =
		json("{\"spec\":{\"b\":1,\"a\":\"x/\\u00e9\"},\"metadata\":{\"managedFields\":[1],\"name\":\"n\"},"
		     "\"status\":{\"s\":1}}");
	_cleanup_free_ char *text = kube_node_text(object), *lines = kube_node_lines(text);

	(void)state;
	assert_string_equal(text, "{\"metadata\":{\"name\":\"n\"},\"spec\":{\"a\":\"x/\xc3\xa9\",\"b\":1}}");
	assert_null(kube_node_lines("{"));
	assert_string_equal(lines,
			    "{\n    \"metadata\": {\n        \"name\": \"n\"\n    },\n    \"spec\": {\n        \"a\": "
			    "\"x/\xc3\xa9\",\n        \"b\": 1\n    }\n}");
	json_decref(object);
}

#define HOST_POD(network, drop, more)                                                                                  \
	"{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"h\",\"uid\":\"u\"},"    \
	"\"spec\":{\"nodeName\":"                                                                                      \
	"\"n1\","                                                                                                      \
	"\"hostNetwork\":" network                                                                                     \
	",\"containers\":[{\"name\":\"c\",\"securityContext\":{\"capabilities\":{\"drop\":[" drop "]}}}]" more         \
	"},\"status\":{\"phase\":\"Running\"}}"

static const char *escape_of(struct kube_cache *c)
{
	struct kube_pod pod;

	assert_true(kube_cache_pod(c, "ns", "h", &pod));
	return pod.escape;
}

/* Nothing that an inventory shows has changed, and yet the pod is another. */
static void test_escape(void **state)
{
	struct kube_cache *c = *state;
	CLEANUP(objects_clear) struct objects view = {};

	put(c, KUBE_POD, HOST_POD("true", "\"ALL\"", ""));
	assert_null(escape_of(c));
	assert_int_equal(kube_cache_view(c, &view), 0);
	put(c, KUBE_POD, HOST_POD("true", "\"ALL\"", ""));
	assert_false(kube_cache_changed(c));
	put(c, KUBE_POD, HOST_POD("true", "\"ALL\"", ",\"ephemeralContainers\":[{\"name\":\"d\"}]"));
	assert_true(kube_cache_changed(c));
	assert_string_equal(escape_of(c), "container d does not drop CAP_NET_RAW");
	put(c, KUBE_POD, HOST_POD("true", "", ""));
	assert_string_equal(escape_of(c), "container c does not drop CAP_NET_RAW");
	put(c, KUBE_POD, HOST_POD("false", "", ""));
	assert_null(escape_of(c));
}

static void test_namespace(void **state)
{
	struct kube_cache *c = *state;
	CLEANUP(objects_clear) struct objects o = {};
	const struct inventory_namespace *ns;

	assert_null(kube_cache_namespace(c, "ns"));
	/* One that is not there is not known yet, to the compiler too. */
	assert_int_equal(kube_cache_view(c, &o), 0);
	assert_true(objects_inventory(&o).namespaces_told);
	put(c, KUBE_NAMESPACE,
	    "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"ns\",\"labels\":{\"a\":\"b\"}}}");
	ns = kube_cache_namespace(c, "ns");
	assert_non_null(ns);
	assert_int_equal(ns->nlabels, 1);
	assert_string_equal(ns->labels[0].value, "b");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_pod),		 TEST(test_news),      TEST(test_lists),    TEST(test_refused),
		TEST(test_pods_of_node), TEST(test_uid),       TEST(test_path),	    TEST(test_text),
		TEST(test_escape),	 TEST(test_namespace), TEST(test_versions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
