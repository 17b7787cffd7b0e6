/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/kube/cache.h"
#include "agent/kube/state.h"
#include "base/addr.h"
#include "base/cleanup.h"

static const struct kube_state_head head = { "3f0c1d2e-0000-4000-8000-123456789abc", "node \"1\"", "0123456789abcdef" };

/* With what was written taken where the bits of `cuts` say so. */
static struct strbuf compose_cut(unsigned int cuts)
{
	struct kube_state_out out;
	struct strbuf all = {};

	kube_state_begin(&out, &head);
	for (int i = 0; i < 8; i++) {
		struct strbuf part;

		if (i == 0)
			kube_state_collection(&out, "/api/v1/pods");
		else if (i == 1)
			kube_state_object(&out, "{\"a\":1}");
		else if (i == 2)
			kube_state_collection(&out, "/apis/x/v1/policies");
		else if (i == 3)
			kube_state_accepted(&out, "{\n    \"old\": \"a\\nb\"\n}");
		else if (i == 4)
			kube_state_object(&out, "{\n    \"new\": [\n        1,\n        2\n    ]\n}");
		else if (i == 5)
			kube_state_collection(&out, "/api/v1/nodes");
		else if (i == 6)
			kube_state_end(&out);
		if (!(cuts >> i & 1) && i < 7)
			continue;
		part = kube_state_take(&out);
		assert_false(part.failed);
		strbuf_add(&all, part.data, part.len);
		strbuf_clear(&part);
	}
	return all;
}

static void compose(struct strbuf *out)
{
	*out = compose_cut(0);
}

static void test_in_parts(void **state)
{
	CLEANUP(strbuf_clear) struct strbuf whole = compose_cut(0);

	(void)state;
	for (unsigned int cuts = 1; cuts < 128; cuts++) {
		CLEANUP(strbuf_clear) struct strbuf parts = compose_cut(cuts);

		assert_string_equal(parts.data, whole.data);
	}
}

static void is_record(struct kube_state *s, enum kube_state_record record, const char *text)
{
	assert_int_equal(kube_state_next(s), record);
	assert_int_equal(s->len, strlen(text));
	assert_memory_equal(s->text, text, s->len);
}

static void test_round_trip(void **state)
{
	struct strbuf b = {};
	struct kube_state s;
	char error[128];

	(void)state;
	compose(&b);
	assert_int_equal(kube_state_open(&s, b.data, b.len, error, sizeof(error)), 0);
	assert_string_equal(s.head.boot_id, head.boot_id);
	assert_string_equal(s.head.node, head.node);
	assert_string_equal(s.head.cluster, head.cluster);
	is_record(&s, KUBE_STATE_COLLECTION, "/api/v1/pods");
	is_record(&s, KUBE_STATE_OBJECT, "{\"a\":1}");
	is_record(&s, KUBE_STATE_COLLECTION, "/apis/x/v1/policies");
	assert_int_equal(kube_state_next(&s), KUBE_STATE_ACCEPTED);
	assert_string_equal(json_string_value(json_object_get(s.object, "old")), "a\nb");
	assert_int_equal(kube_state_next(&s), KUBE_STATE_OBJECT);
	assert_int_equal(json_array_size(json_object_get(s.object, "new")), 2);
	is_record(&s, KUBE_STATE_COLLECTION, "/api/v1/nodes");
	assert_int_equal(kube_state_next(&s), KUBE_STATE_END);
	kube_state_close(&s);
	strbuf_clear(&b);
}

static void is_refused(const char *bytes, size_t len, const char *why)
{
	char error[128] = "", *copy = malloc(len ? len : 1); /* of its own, for AddressSanitizer to see its end */
	struct kube_state s;

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	assert_int_equal(kube_state_open(&s, copy, len, error, sizeof(error)), -EINVAL);
	if (why)
		assert_non_null(strstr(error, why));
	assert_true(*error);
	free(copy);
}

/* Cut anywhere, with any one byte changed, or with something behind its end. */
static void test_torn(void **state)
{
	struct strbuf b = {};

	(void)state;
	compose(&b);
	for (size_t i = 0; i < b.len; i++) {
		is_refused(b.data, i, NULL);
		b.data[i] ^= 1;
		is_refused(b.data, b.len, NULL);
		b.data[i] ^= 1;
	}
	strbuf_add(&b, "\n", 1);
	is_refused(b.data, b.len, "checksum");
	strbuf_clear(&b);
}

static void test_foreign(void **state)
{
	(void)state;
	is_refused("", 0, "no state");
	is_refused("\n", 1, "no state");
	is_refused("sluice-state 2\n{}\n", 18, "format is 2, this version reads 1");
	is_refused("sluice-state  1\n{}\n", 19, "format is");
	is_refused("{\"kind\":\"Pod\"}\n", 15, "no state");
}

/* Of a version that did not say which cluster it is of. */
static void test_nobodys(void **state)
{
	struct kube_state_out out;

	(void)state;
	kube_state_begin(&out, &head);
	out.bytes.len = 0;
	strbuf_adds(&out.bytes, "sluice-state 1\n{\"boot_id\":\"b\",\"node\":\"n\"}\n");
	kube_state_end(&out);
	is_refused(out.bytes.data, out.bytes.len, "does not say whose it is");
	strbuf_clear(&out.bytes);
}

/* With a checksum that is right. */
static void test_disorder(void **state)
{
	static const char *const bodies[] = {
		"{}\n",		 "!{}\n{}\n", "@/p\n!{}\n", "@/p\n!{}\n!{}\n{}\n", "@/p\n[]\n",
		"@/p\n{\"a\"\n", "@/p\n\n",   "@\n",	    "@/p\n!{}\n@/q\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bodies); i++) {
		struct kube_state_out out;

		kube_state_begin(&out, &head);
		strbuf_adds(&out.bytes, bodies[i]);
		kube_state_end(&out);
		is_refused(out.bytes.data, out.bytes.len, "a line of it");
		strbuf_clear(&out.bytes);
	}
}

/* ---- the inventory's objects ---- */

static const struct {
	enum kube_kind kind;
	const char *json;
} objects[] = {
	{ KUBE_POD,
	  "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"full\",\"uid\":\"u\","
	  "\"deletionTimestamp\":\"2026-01-01T00:00:00Z\",\"annotations\":{\"kubernetes.io/config.mirror\":\"m\"},"
	  "\"labels\":{\"app\":\"a\\\"b\\\\c\\td\",\"empty\":\"\"}},\"spec\":{\"nodeName\":\"n1\",\"hostNetwork\":true,"
	  "\"serviceAccountName\":\"sa\",\"hostname\":\"h\",\"subdomain\":\"sd\",\"containers\":[{\"ports\":["
	  "{\"name\":\"http\",\"containerPort\":80},{\"name\":\"dns\",\"containerPort\":53,\"protocol\":\"UDP\"}]},"
	  "{\"name\":\"p\",\"securityContext\":{\"privileged\":true},\"ports\":[{\"name\":\"s\",\"containerPort\":9,"
	  "\"protocol\":\"SCTP\"}]}]},\"status\":{\"phase\":"
	  "\"Failed\",\"conditions\":[{\"type\":\"Ready\",\"status\":\"False\"}],\"podIPs\":[{\"ip\":\"10.0.0.1\"},"
	  "{\"ip\":\"fd00::1\"}]}}" },
	{ KUBE_POD,
	  "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"bare\",\"uid\":\"v\"},"
	  "\"spec\":{},\"status\":{}}" },
	{ KUBE_POD,
	  "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"soon\",\"uid\":\"w\"},"
	  "\"spec\":{\"nodeName\":\"n1\"},\"status\":{\"phase\":\"Pending\",\"podIP\":\"10.0.0.9\"}}" },
	{ KUBE_NAMESPACE,
	  "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"ns\",\"labels\":{\"team\":\"x\"}}}" },
	{ KUBE_NODE,
	  "{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"n1\",\"labels\":{\"zone\":\"a\"}},"
	  "\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"10.1.0.1\"},"
	  "{\"type\":\"Hostname\",\"address\":\"n1\"},{\"type\":\"ExternalIP\",\"address\":\"203.0.113.1\"}]}}" },
	{ KUBE_SERVICE,
	  "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"namespace\":\"ns\",\"name\":\"web\",\"labels\":"
	  "{\"l\":\"1\"}},\"spec\":{\"selector\":{\"app\":\"a\"},\"clusterIPs\":[\"172.20.0.5\",\"fd01::5\"],"
	  "\"externalIPs\":[\"198.51.100.1\"],\"publishNotReadyAddresses\":true,\"ports\":[{\"name\":\"http\","
	  "\"port\":80,\"targetPort\":\"http\",\"nodePort\":30080},{\"name\":\"m\",\"port\":9,\"targetPort\":90},"
	  "{\"port\":53,\"protocol\":\"UDP\"}]},\"status\":{\"loadBalancer\":{\"ingress\":[{\"ip\":\"198.51.100.2\"}]}}"
	  "}" },
	{ KUBE_SLICE,
	  "{\"apiVersion\":\"discovery.k8s.io/"
	  "v1\",\"kind\":\"EndpointSlice\",\"metadata\":{\"namespace\":\"ns\",\"name\":"
	  "\"web-1\",\"labels\":{\"kubernetes.io/service-name\":\"web\"}},\"endpoints\":[{\"addresses\":[\"10.0.0.1\","
	  "\"10.0.0.2\"],\"hostname\":\"h\",\"conditions\":{\"ready\":false},\"targetRef\":{\"kind\":\"Pod\",\"name\":"
	  "\"full\"}},{\"addresses\":[\"10.0.0.3\"]}],\"ports\":[{\"name\":\"\",\"port\":80},{\"port\":53,"
	  "\"protocol\":\"UDP\"}]}" },
};

static void put(struct kube_cache *c, enum kube_kind kind, const char *text)
{
	json_error_t error;
	json_t *object = json_loads(text, 0, &error);

	if (!object)
		fail_msg("%s in %s", error.text, text);
	kube_cache_put(c, kind, object);
	json_decref(object);
}

struct copy {
	struct kube_cache *to;
	enum kube_kind kind;
	struct strbuf text;
};

static void copy_line(void *context, const char *line)
{
	struct copy *copy = context;

	if (copy->to)
		put(copy->to, copy->kind, line);
	strbuf_adds(&copy->text, line);
	strbuf_adds(&copy->text, "\n");
}

static void write_all(const struct kube_cache *from, struct copy *copy)
{
	for (int kind = 0; kind < KUBE_KINDS; kind++) {
		copy->kind = (enum kube_kind)kind;
		assert_int_equal(kube_cache_write(from, copy->kind, copy_line, copy), 0);
	}
}

static void is_text(const char *a, const char *b)
{
	assert_int_equal(a == NULL, b == NULL);
	if (a)
		assert_string_equal(a, b);
}

static void is_addrs(const struct sluice_addr *a, size_t na, const struct sluice_addr *b, size_t nb)
{
	assert_int_equal(na, nb);
	for (size_t i = 0; i < na; i++)
		assert_int_equal(addr_compare(&a[i], &b[i]), 0);
}

static void is_labels(const struct label *a, size_t na, const struct label *b, size_t nb)
{
	assert_int_equal(na, nb);
	for (size_t i = 0; i < na; i++) {
		assert_string_equal(a[i].key, b[i].key);
		assert_string_equal(a[i].value, b[i].value);
	}
}

static void is_pod(const struct subject *a, const struct subject *b)
{
	is_text(a->namespace_name, b->namespace_name);
	is_text(a->name, b->name);
	is_labels(a->labels, a->nlabels, b->labels, b->nlabels);
	is_addrs(a->addrs, a->naddrs, b->addrs, b->naddrs);
	is_text(a->service_account, b->service_account);
	assert_int_equal(a->nports, b->nports);
	for (size_t i = 0; i < a->nports; i++) {
		is_text(a->ports[i].name, b->ports[i].name);
		assert_int_equal(a->ports[i].port, b->ports[i].port);
		assert_int_equal(a->ports[i].proto, b->ports[i].proto);
	}
	is_text(a->hostname, b->hostname);
	is_text(a->subdomain, b->subdomain);
	is_text(a->node, b->node);
	assert_int_equal(a->host_network, b->host_network);
	assert_int_equal(a->not_running, b->not_running);
	assert_int_equal(a->not_ready, b->not_ready);
}

static void is_service(const struct inventory_service *a, const struct inventory_service *b)
{
	is_text(a->namespace_name, b->namespace_name);
	is_text(a->name, b->name);
	is_labels(a->labels, a->nlabels, b->labels, b->nlabels);
	is_labels(a->selector, a->nselector, b->selector, b->nselector);
	is_addrs(a->addrs, a->naddrs, b->addrs, b->naddrs);
	is_addrs(a->externals, a->nexternals, b->externals, b->nexternals);
	assert_int_equal(a->publish_not_ready, b->publish_not_ready);
	assert_int_equal(a->nports, b->nports);
	for (size_t i = 0; i < a->nports; i++) {
		is_text(a->ports[i].name, b->ports[i].name);
		is_text(a->ports[i].target_name, b->ports[i].target_name);
		assert_int_equal(a->ports[i].proto, b->ports[i].proto);
		assert_int_equal(a->ports[i].port, b->ports[i].port);
		assert_int_equal(a->ports[i].target_port, b->ports[i].target_port);
		assert_int_equal(a->ports[i].node_port, b->ports[i].node_port);
	}
}

static void is_slice(const struct inventory_slice *a, const struct inventory_slice *b)
{
	is_text(a->namespace_name, b->namespace_name);
	is_text(a->service, b->service);
	assert_int_equal(a->nendpoints, b->nendpoints);
	for (size_t i = 0; i < a->nendpoints; i++) {
		is_addrs(a->endpoints[i].addrs, a->endpoints[i].naddrs, b->endpoints[i].addrs, b->endpoints[i].naddrs);
		is_text(a->endpoints[i].hostname, b->endpoints[i].hostname);
		is_text(a->endpoints[i].pod, b->endpoints[i].pod);
		assert_int_equal(a->endpoints[i].not_ready, b->endpoints[i].not_ready);
	}
	assert_int_equal(a->nports, b->nports);
	for (size_t i = 0; i < a->nports; i++) {
		is_text(a->ports[i].name, b->ports[i].name);
		assert_int_equal(a->ports[i].proto, b->ports[i].proto);
		assert_int_equal(a->ports[i].port, b->ports[i].port);
	}
}

/* What an inventory reads of an object is written, and read again the same. */
static void test_objects(void **state)
{
	CLEANUP(objects_clear) struct objects a = {}, b = {};
	CLEANUP(kube_cache_freep) struct kube_cache *from = NULL, *to = NULL;
	struct copy copy = {}, again = {};
	struct kube_pod pod, before;

	(void)state;
	assert_int_equal(kube_cache_new("n1", &from), 0);
	assert_int_equal(kube_cache_new("n1", &to), 0);
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
		put(from, objects[i].kind, objects[i].json);
	copy.to = to;
	write_all(from, &copy);
	write_all(to, &again);
	assert_string_equal(copy.text.data, again.text.data);
	assert_int_equal(kube_cache_view(from, &a), 0);
	assert_int_equal(kube_cache_view(to, &b), 0);
	assert_int_equal(b.nkept, 3);
	for (size_t i = 0; i < b.nkept; i++)
		is_pod(a.kept[i].pod, b.kept[i].pod);
	assert_int_equal(b.nnamespaces, 1);
	is_labels(a.namespaces->labels, a.namespaces->nlabels, b.namespaces->labels, b.namespaces->nlabels);
	assert_int_equal(b.nnodes, 1);
	is_labels(a.nodes->labels, a.nodes->nlabels, b.nodes->labels, b.nodes->nlabels);
	is_addrs(a.nodes->addrs, a.nodes->naddrs, b.nodes->addrs, b.nodes->naddrs);
	assert_int_equal(b.nservices, 1);
	is_service(a.services, b.services);
	assert_int_equal(b.nslices, 1);
	is_slice(a.slices, b.slices);
	assert_true(kube_cache_pod(from, "ns", "full", &before));
	assert_true(kube_cache_pod(to, "ns", "full", &pod));
	assert_string_equal(pod.uid, "u");
	assert_string_equal(pod.cni_uid, "m");
	assert_non_null(pod.escape);
	assert_string_equal(pod.escape, before.escape);
	assert_true(pod.deleting);
	assert_true(pod.finished);
	assert_true(kube_cache_pod(to, "ns", "soon", &pod));
	assert_string_equal(pod.cni_uid, "w");
	assert_false(pod.deleting || pod.finished);
	strbuf_clear(&copy.text);
	strbuf_clear(&again.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_torn),	    cmocka_unit_test(test_foreign),
		cmocka_unit_test(test_nobodys),	   cmocka_unit_test(test_disorder), cmocka_unit_test(test_objects),
		cmocka_unit_test(test_in_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
