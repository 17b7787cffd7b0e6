/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/config.h"
#include "base/addr.h"
#include "base/cleanup.h"

static struct config *read_ok(const char *text)
{
	struct diags diags = {};
	struct config *c = NULL;

	assert_int_equal(config_read("c.yaml", text, strlen(text), &diags, &c), 0);
	assert_int_equal(diags.errors, 0);
	diags_clear(&diags);
	return c;
}

/* The first diagnostic is at `where` ("LINE:COL") and contains `words`. */
static void read_bad(const char *text, const char *where, const char *words)
{
	struct diags diags = {};
	struct config *c = NULL;
	char line[1024], expected[64];

	assert_int_equal(config_read("c.yaml", text, strlen(text), &diags, &c), -EINVAL);
	assert_null(c);
	assert_true(diags.count > 0);
	diag_format(&diags.items[0], line, sizeof(line));
	snprintf(expected, sizeof(expected), "c.yaml:%s: error: ", where);
	if (strncmp(line, expected, strlen(expected)) != 0 || !strstr(line, words))
		fail_msg("'%s' is not '%s…%s…'", line, expected, words);
	diags_clear(&diags);
}

static void test_defaults(void **state)
{
	CLEANUP(config_freep) struct config *c = read_ok("");

	(void)state;
	assert_string_equal(c->policy_dir, "/etc/sluice/policies");
	assert_false(c->audit);
	assert_false(c->reject);
	assert_int_equal(c->dns.nresolvers, 0);
	assert_int_equal(c->dns.nqtypes, 5);
	assert_int_equal(c->limits.flows, 262144);
	assert_string_equal(c->metrics_listen, "127.0.0.1:9964");
	assert_int_equal(c->attach, ATTACH_AUTO);
	assert_false(c->cni.install);
	assert_string_equal(c->cni.conf_dir, "/etc/cni/net.d");
	assert_string_equal(c->cni.bin_dir, "/opt/cni/bin");
	assert_int_equal(c->cni.wait_seconds, 5);
	assert_true(c->interfaces.any);
	assert_int_equal(c->interfaces.nprefixes, 2);
	assert_string_equal(c->interfaces.prefixes[1], "vlan");
}

static void test_values(void **state)
{
	CLEANUP(config_freep)
	struct config *c =
		read_ok("policyDir: /p\nenforcement: audit\nflows: {file: /var/log/f, allowed: true}\n"
			"bpf: {pinPath: /sys/fs/bpf/x, attach: clsact}\nlimits: {flows: 1000, queriesPerSecond: 0, "
			"rejectsPerSecond: 7, rejectBurst: 8}\ndeny: {mode: reject}\n"
			"dns:\n  resolvers: [10.0.0.2, '10.0.0.3:5353', 'fd00::a', '[fd00::b]:54']\n"
			"  searchDomains: [Svc.Cluster.Local., lab]\n  minTTL: 30s\n  maxTTL: 1h\n"
			"  clusterDomain: lab.local\n  denyResponse: nxdomain\n  askOnly: deny\n  denyPrivateAnswers: "
			"true\n  queryTypes: [A, TXT]\n"
			"cluster: {serviceCIDRs: [172.20.0.0/16, 'fd00:1::/108']}\n"
			"cni: {install: true, confDir: /c, binDir: /b, waitSeconds: 0}\n");

	(void)state;
	assert_string_equal(c->policy_dir, "/p");
	assert_true(c->cni.install);
	assert_string_equal(c->cni.conf_dir, "/c");
	assert_string_equal(c->cni.bin_dir, "/b");
	assert_int_equal(c->cni.wait_seconds, 0);
	assert_true(c->audit);
	assert_true(c->flows_allowed);
	assert_string_equal(c->flows_file, "/var/log/f");
	assert_int_equal(c->attach, ATTACH_CLSACT);
	assert_int_equal(c->limits.flows, 1000);
	assert_int_equal(c->limits.dns_rate, 0);
	assert_true(c->reject);
	assert_int_equal(c->limits.reject_rate, 7);
	assert_int_equal(c->limits.reject_burst, 8);
	assert_int_equal(c->dns.nresolvers, 4);
	assert_int_equal(c->dns.resolvers[0].port, 53);
	assert_int_equal(c->dns.resolvers[1].port, 5353);
	assert_int_equal(c->dns.resolvers[2].port, 53);
	assert_int_equal(c->dns.resolvers[3].port, 54);
	assert_string_equal(c->dns.search[0], "svc.cluster.local");
	assert_int_equal(c->dns.nsearch, 2);
	assert_string_equal(c->dns.cluster_domain, "lab.local");
	assert_int_equal(c->nservice_cidrs, 2);
	assert_int_equal(c->service_cidrs[1].bits, 108);
	assert_int_equal(c->dns.min_ttl, 30);
	assert_int_equal(c->dns.max_ttl, 3600);
	assert_int_equal(c->dns.deny_response, PROXY_DENY_NXDOMAIN);
	assert_int_equal(c->dns.ask_only, PROXY_ASK_DENY);
	assert_int_equal(c->dns.flags, PROXY_DENY_PRIVATE_ANSWERS);
	assert_int_equal(c->dns.nqtypes, 2);
	assert_int_equal(c->dns.qtypes[1], 16);
	config_freep(&c);
	c = read_ok("metrics: {listen: ':9964'}");
	assert_string_equal(c->metrics_listen, ":9964");
	config_freep(&c);
	c = read_ok("metrics: {listen: '[::1]:9964'}");
}

static void test_mistakes(void **state)
{
	(void)state;
	read_bad("policyDir: /x\nenforcment: enforce\n", "2:1", "enforcment");
	read_bad("enforcement: sometimes\n", "1:14", "sometimes");
	read_bad("policyDir: relative\n", "1:12", "absolute");
	read_bad("dns: {resolvers: [nonsense]}\n", "1:19", "nonsense");
	read_bad("dns: {resolvers: ['1.2.3.4:0']}\n", "1:19", "1.2.3.4:0");
	read_bad("dns: {resolvers: ['::ffff:1.2.3.4']}\n", "1:19", "::ffff");
	read_bad("dns: {minTTL: 2h, maxTTL: 1h}\n", "1:6", "minTTL");
	read_bad("dns: {queryTypes: [A, BOGUS]}\n", "1:23", "BOGUS");
	read_bad("dns: {searchDomains: ['a..b']}\n", "1:23", "a..b");
	read_bad("cluster: {serviceCIDRs: [172.20.0.1/16]}\n", "1:26", "172.20.0.1/16");
	read_bad("cluster: {serviceCIDRs: 172.20.0.0/16}\n", "1:25", "serviceCIDRs");
	read_bad("cluster: {podCIDRs: []}\n", "1:11", "podCIDRs");
	read_bad("limits: {flow: 3}\n", "1:10", "flow");
	read_bad("limits: {flows: many}\n", "1:17", "flows");
	read_bad("limits: {eventBytes: 100000}\n", "1:9", "power of two");
	read_bad("deny: {mode: refuse}\n", "1:14", "expected drop or reject");
	read_bad("interfaces: {auto: maybe}\n", "1:20", "interfaces.auto");
	read_bad("interfaces: {prefixes: [eni, 'a/b']}\n", "1:30", "a/b");
	read_bad("interfaces: {prefixes: ['']}\n", "1:25", "no interface");
	read_bad("interfaces: {prefixes: eni}\n", "1:24", "prefixes");
	read_bad("kubernetes: {hostNetwork: {enforced: true}}\n", "1:28", "enforced");
	read_bad("a: 1\n---\nb: 2\n", "3:1", "second document");
	read_bad("flows: [\n", "2:1", "");
	read_bad("metrics: {listen: nonsense}", "1:19", "expected ADDRESS:PORT");
	read_bad("metrics: {listen: 10.0.0.1}", "1:19", "expected ADDRESS:PORT");
	read_bad("metrics: {listen: ':99999'}", "1:19", "expected ADDRESS:PORT");
	read_bad("metrics: {listen: 'localhost:80'}", "1:19", "expected ADDRESS:PORT");
	read_bad("api: {socket: "
		 "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		 "aaaa"
		 "aaaaaaa}",
		 "1:15", "at most 107");
}

static void test_restart_keys(void **state)
{
	CLEANUP(config_freep) struct config *a = read_ok("");
	CLEANUP(config_freep) struct config *b = read_ok("limits: {flows: 99, flowsPerEndpoint: 9}\nrunDir: /r\n");
	CLEANUP(config_freep) struct config *c = read_ok("kubernetes: {hostNetwork: {enforce: true}}\n");
	char keys[128];

	(void)state;
	assert_string_equal(config_restart_keys(a, a, keys, sizeof(keys)), "");
	assert_string_equal(config_restart_keys(a, b, keys, sizeof(keys)), "runDir, flows");
	assert_false(a->enforce_host_network);
	assert_true(c->enforce_host_network);
	assert_string_equal(config_restart_keys(a, c, keys, sizeof(keys)), "kubernetes");
}

static void test_resolv_conf(void **state)
{
	const char *text =
		"# made by hand\nnameserver 10.0.0.2\nnameserver fe80::1%eth0\n nameserver fd00::a ; second\n"
		"search a.example B.example.\noptions ndots:5\n";
	CLEANUP(config_freep) struct config *c = read_ok("");
	CLEANUP(config_freep) struct config *own = read_ok("dns: {resolvers: [1.1.1.1], searchDomains: [x]}\n");
	char buf[ADDR_TEXT_MAX];

	(void)state;
	config_fill_resolv(&c->dns, text);
	assert_int_equal(c->dns.nresolvers, 2);
	assert_string_equal(addr_format(&c->dns.resolvers[1].addr, buf), "fd00::a");
	assert_int_equal(c->dns.nsearch, 2);
	assert_string_equal(c->dns.search[1], "b.example");
	config_fill_resolv(&own->dns, text);
	assert_int_equal(own->dns.nresolvers, 1);
	assert_int_equal(own->dns.nsearch, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),    cmocka_unit_test(test_values),
		cmocka_unit_test(test_mistakes),    cmocka_unit_test(test_restart_keys),
		cmocka_unit_test(test_resolv_conf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
