/* SPDX-License-Identifier: Apache-2.0 */
/* `policy explain -f`: what decided and what it beat, from endpoints: documents and from Kubernetes objects. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "tests/unit/tools/capture.h"
#include "tests/unit/tools/folder.h"
#include "tools/bpfctl/out.h"

static const char policies[] = "apiVersion: cilium.io/v2\n"
			       "kind: CiliumNetworkPolicy\n"
			       "metadata: {name: p, namespace: ns}\n"
			       "spec:\n"
			       "  endpointSelector: {matchLabels: {tier: sandbox}}\n"
			       "  egress:\n"
			       "  - toCIDR: [192.0.2.0/24, 198.51.100.0/24]\n"
			       "    toPorts: [{ports: [{port: \"80\", protocol: TCP}]}]\n"
			       "  - toFQDNs: [{matchName: pypi.org}, {matchPattern: \"*.org\"}]\n"
			       "  - toEndpoints: [{matchLabels: {app: web}}]\n"
			       "  egressDeny:\n"
			       "  - toCIDR: [192.0.2.0/28]\n"
			       "---\n"
			       "apiVersion: networking.k8s.aws/v1alpha1\n"
			       "kind: ApplicationNetworkPolicy\n"
			       "metadata: {name: q, namespace: ns}\n"
			       "spec:\n"
			       "  podSelector: {matchLabels: {tier: sandbox}}\n"
			       "  egress:\n"
			       "  - to:\n"
			       "    - ipBlock: {cidr: 192.0.0.0/8}\n"
			       "    - domainNames: [\"*.pypi.org\", pypi.org]\n";

static const char objects[] =
	"apiVersion: v1\n"
	"kind: List\n"
	"items:\n"
	"- apiVersion: v1\n"
	"  kind: Pod\n"
	"  metadata: {name: agent, namespace: ns, labels: {tier: sandbox}}\n"
	"  spec: {nodeName: n1, containers: [{name: c, ports: [{name: http, containerPort: 8080}]}]}\n"
	"  status: {phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: \"fd00::1\"}]}\n"
	"- apiVersion: v1\n"
	"  kind: Pod\n"
	"  metadata: {name: web, namespace: ns, labels: {app: web}}\n"
	"  status: {podIP: 10.0.0.2}\n"
	"- apiVersion: v1\n"
	"  kind: Pod\n"
	"  metadata: {name: other, namespace: ns, labels: {app: other}}\n"
	"  status: {podIP: 10.0.0.3}\n"
	"---\n"
	"apiVersion: v1\n"
	"kind: Pod\n"
	"metadata: {name: proxy, namespace: ns, labels: {tier: sandbox}}\n"
	"spec: {hostNetwork: true, nodeName: n1}\n"
	"status: {podIP: 10.1.0.1}\n"
	"---\n"
	"apiVersion: v1\n"
	"kind: Node\n"
	"metadata: {name: n1}\n"
	"status: {addresses: [{type: InternalIP, address: 10.1.0.1}, {type: Hostname, address: n1}]}\n"
	"---\n"
	"apiVersion: v1\n"
	"kind: Namespace\n"
	"metadata: {name: ns, labels: {team: a}}\n"
	"---\n"
	"apiVersion: v1\n"
	"kind: Service\n"
	"metadata: {name: web, namespace: ns}\n"
	"spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80, targetPort: http}]}\n"
	"---\n"
	"apiVersion: v1\n"
	"kind: ConfigMap\n"
	"metadata: {name: x}\n";

static struct folder folder;

static int set_up(void **state)
{
	(void)state;
	folder_make(&folder);
	folder_add(&folder, "policies.yaml", policies);
	folder_add(&folder, "objects.yaml", objects);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	folder_remove(&folder);
	return 0;
}

static json_t *explain(const char *from, const char *to, const char *port)
{
	_cleanup_free_ char *out = NULL;
	json_t *o;

	assert_int_equal(capture_words(&out, "policy", "explain", "--from", from, "--to", to, "--port", port, "-o",
				       "json", "-f", folder.path, NULL),
			 CTL_OK);
	o = json_loads(out, 0, NULL);
	assert_non_null(o);
	return o;
}

static void assert_verdict(const char *from, const char *to, const char *port, const char *verdict)
{
	_cleanup_json_ json_t *o = explain(from, to, port);

	if (strcmp(get_text(o, "verdict"), verdict) != 0)
		fail_msg("%s to %s %s: %s (%s)", from, to, port, get_text(o, "verdict"), get_text(o, "text"));
}

/* "LINE action" of each rule that was beaten. */
static void assert_beaten(const char *to, const char *port, int line, const char *expected)
{
	_cleanup_json_ json_t *o = explain("ns/agent", to, port);
	const json_t *rule;
	char found[256] = "";
	size_t i;

	assert_int_equal(get_number(json_object_get(o, "rule"), "line"), line);
	json_array_foreach(json_object_get(o, "beaten"), i, rule)
	{
		size_t len = strlen(found);

		snprintf(found + len, sizeof(found) - len, "%s%lld %s", i ? ", " : "",
			 (long long)get_number(rule, "line"), get_text(rule, "action"));
	}
	assert_string_equal(found, expected);
}

static void test_beaten(void **state)
{
	(void)state;
	assert_beaten("192.0.2.1", "80", 12, "7 allow, 21 allow");
	assert_beaten("198.51.100.1", "80", 7, "");
	assert_beaten("198.51.100.1", "81", 0, "");
	assert_beaten("a.pypi.org", "443", 22, "");
	assert_beaten("pypi.org", "443", 22, "9 allow, 9 allow");
}

static void test_objects(void **state)
{
	(void)state;
	assert_verdict("ns/agent", "10.0.0.2", "8080", "allowed");
	assert_verdict("ns/agent", "10.0.0.3", "8080", "denied");
	assert_verdict("ns/web", "10.0.0.3", "8080", "allowed");    /* selected by nothing */
	assert_verdict("ns/proxy", "203.0.113.1", "80", "allowed"); /* not enforced */
	assert_verdict("ns/agent", "web.ns.svc.cluster.local", "8080", "allowed");
	assert_verdict("ns/agent", "none.ns.svc.cluster.local", "8080", "denied");
}

/* A DNS server of the cluster is never forwarded to itself, and check says so. */
static void test_resolver(void **state)
{
	static const char text[] = "apiVersion: networking.k8s.aws/v1alpha1\nkind: ApplicationNetworkPolicy\n"
				   "metadata: {name: dns, namespace: kube-system}\nspec:\n  podSelector: {}\n"
				   "  egress: [{to: [{domainNames: [a.org]}]}]\n---\nendpoints:\n"
				   "- {namespace: kube-system, name: coredns, labels: {k8s-app: kube-dns}}\n"
				   "- {namespace: kube-system, name: other, labels: {k8s-app: other}}\n";
	const char *file = folder_add(&folder, "resolver.txt", text);
	_cleanup_free_ char *dns = NULL, *other = NULL, *checked = NULL;

	(void)state;
	assert_int_equal(capture_words(&dns, "policy", "explain", "-e", "--from", "kube-system/coredns", "--to",
				       "8.8.8.8", "--port", "53/UDP", "-f", file, NULL),
			 CTL_NO);
	assert_int_equal(capture_words(&other, "policy", "explain", "-e", "--from", "kube-system/other", "--to",
				       "8.8.8.8", "--port", "53/UDP", "-f", file, NULL),
			 CTL_OK);
	assert_int_equal(capture_words(&checked, "policy", "check", file, NULL), CTL_OK);
	assert_non_null(strstr(checked, "kube-system/coredns is one of the cluster's own DNS servers"));
	assert_null(strstr(checked, "kube-system/other is"));
}

/* No file is left out in silence. */
static void test_files_of_several_options(void **state)
{
	_cleanup_free_ char *out = NULL, *twice = NULL;

	(void)state;
	assert_int_equal(capture_words(&out, "policy", "explain", "-e", "--from", "ns/agent", "--to", "192.0.2.1",
				       "--port", "80", "-f", folder.files[0], "-f", folder.files[1], NULL),
			 CTL_NO);
	assert_non_null(strstr(out, "a rule denies it"));
	assert_int_equal(capture_words(&twice, "policy", "explain", "--from", "ns/agent", "--from", "ns/web", "--to",
				       "192.0.2.1", "--port", "80", "-f", folder.path, NULL),
			 CTL_USAGE);
}

static void test_mistakes(void **state)
{
	_cleanup_free_ char *out = NULL, *none = NULL;
	const char *file = folder_add(&folder, "bad.yml",
				      "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n"
				      "status: {podIP: nonsense}\n");

	(void)state;
	assert_int_equal(capture_words(&out, "policy", "explain", "--from", "default/x", "--to", "192.0.2.1", "--port",
				       "80", "-f", file, NULL),
			 CTL_UNREACHABLE);
	assert_int_equal(capture_words(&none, "policy", "explain", "--from", "ns/nobody", "--to", "192.0.2.1", "--port",
				       "80", "-f", folder.files[0], NULL),
			 CTL_UNREACHABLE);
}

/* What only the agent's configuration knows can be said: the Service CIDRs, the cluster's domain. */
static void test_cluster_options(void **state)
{
	static const struct {
		const char *to, *option;
		enum ctl_exit code; /* --exit-code is given too */
	} rows[] = {
		{ "172.20.0.9", NULL, CTL_OK },
		{ "172.20.0.9", "--service-cidrs=fd00::/108,172.20.0.0/16", CTL_NO },
		{ "192.0.2.1", "--service-cidrs=fd00::/108,172.20.0.0/16", CTL_OK },
		{ "s.ns.svc.corp.example", "--cluster-domain=Corp.Example.", CTL_NO },
		{ "s.ns.svc.corp.example", NULL, CTL_OK },
		{ "192.0.2.1", "--service-cidrs=172.20.0.0", CTL_USAGE },
		{ "192.0.2.1", "--service-cidrs=172.20.0.0/16,", CTL_OK },
		{ "192.0.2.1", "--service-cidrs=,", CTL_USAGE },
		{ "192.0.2.1", "--cluster-domain=a..b", CTL_USAGE },
	};
	const char *file = folder_add(&folder, "world.yaml",
				      "endpoints: [{name: w, namespace: ns, addresses: [10.0.0.77]}]\n---\n"
				      "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: ns}\n"
				      "spec: {clusterIP: 172.20.0.7, ports: [{port: 80}], selector: {app: none}}\n---\n"
				      "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n"
				      "metadata: {name: w, namespace: ns}\n"
				      "spec: {endpointSelector: {}, egress: [{toEntities: [world]}]}\n");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *out = NULL;
		enum ctl_exit code = capture_words(&out, "policy", "explain", "-e", "--from", "ns/w", "--to",
						   rows[i].to, "--port", "80", "-f", file, rows[i].option, NULL);

		if (code != rows[i].code)
			fail_msg("%s %s: exit %d\n%s", rows[i].to, rows[i].option ? rows[i].option : "", code, out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_beaten),	 cmocka_unit_test(test_objects),
		cmocka_unit_test(test_resolver), cmocka_unit_test(test_files_of_several_options),
		cmocka_unit_test(test_mistakes), cmocka_unit_test(test_cluster_options),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
