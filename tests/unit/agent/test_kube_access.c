/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "agent/kube/access.h"
#include "base/cleanup.h"

static void write_file(const char *dir, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void remove_file(const char *dir, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	remove(path);
}

static void test_in_cluster(void **state)
{
	CLEANUP(kube_access_freep) struct kube_access *a = NULL;
	char dir[] = "/tmp/sluice-access-XXXXXX";

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(kube_access_in_cluster(NULL, NULL, dir, &a), -ENOENT);
	assert_int_equal(kube_access_in_cluster("10.96.0.1", "443", dir, &a), -ENOENT);
	write_file(dir, "ca.crt", "CA");
	write_file(dir, "token", "secret");
	write_file(dir, "namespace", "sluice");
	assert_int_equal(kube_access_in_cluster("fd00::1", "6443", dir, &a), 0);
	assert_string_equal(a->server, "https://[fd00::1]:6443");
	assert_string_equal(a->ca, "CA");
	assert_string_equal(a->namespace, "sluice");
	assert_null(a->token);
	assert_string_equal(strrchr(a->token_file, '/'), "/token");
	remove_file(dir, "ca.crt");
	remove_file(dir, "token");
	remove_file(dir, "namespace");
	remove(dir);
}

static int read_text(const char *text, char *line, size_t size, struct kube_access **ret)
{
	struct diags diags = {};
	int r = kube_access_read("/nowhere/kubeconfig", text, strlen(text), &diags, ret);

	*line = '\0';
	if (diags.count)
		diag_format(&diags.items[0], line, size);
	diags_clear(&diags);
	return r;
}

static void test_which_cluster(void **state)
{
	struct kube_access one = { .server = "https://10.96.0.1:443", .ca = "CA" }, other = one;
	char a[KUBE_CLUSTER_MAX], b[KUBE_CLUSTER_MAX];

	(void)state;
	kube_access_cluster(&one, a);
	assert_int_equal(strlen(a), KUBE_CLUSTER_MAX - 1);
	/* The same by another address; another by its authority, though its address is the same. */
	other.server = "https://api.example.com";
	kube_access_cluster(&other, b);
	assert_string_equal(a, b);
	other = one;
	other.ca = "CB";
	kube_access_cluster(&other, b);
	assert_string_not_equal(a, b);
	/* Under the system's authorities the address tells. */
	one.ca = other.ca = NULL;
	kube_access_cluster(&one, a);
	kube_access_cluster(&other, b);
	assert_string_equal(a, b);
	other.server = "https://api.example.com";
	kube_access_cluster(&other, b);
	assert_string_not_equal(a, b);
}

#define CLUSTER(more)                                                                                                  \
	"current-context: c\nclusters:\n- name: one\n  cluster: {server: 'https://10.0.0.1:6443/', "                   \
	"certificate-authority-data: Q0E=" more "}\ncontexts:\n- name: c\n  context: {cluster: one, user: me}\n"

static void test_kubeconfig(void **state)
{
	CLEANUP(kube_access_freep) struct kube_access *a = NULL;
	char line[512];

	(void)state;
	assert_int_equal(
		read_text(CLUSTER(", tls-server-name: api.lab") "users:\n- name: me\n  user: "
								"{client-certificate-data: Q0VSVA==, client-key-data: "
								"S0VZ, token: t, tokenFile: dir/token}\n",
			  line, sizeof(line), &a),
		0);
	assert_string_equal(a->server, "https://10.0.0.1:6443");
	assert_string_equal(a->ca, "CA");
	assert_string_equal(a->server_name, "api.lab");
	assert_string_equal(a->cert, "CERT");
	assert_string_equal(a->key, "KEY");
	assert_string_equal(a->token, "t");
	assert_string_equal(a->token_file, "/nowhere/dir/token");
}

static void test_namespace_of_context(void **state)
{
	CLEANUP(kube_access_freep) struct kube_access *a = NULL, *b = NULL;
	char line[512];

	(void)state;
	assert_int_equal(
		read_text("current-context: c\nclusters:\n- {name: one, cluster: {server: 'https://10.0.0.1'}}\n"
			  "users:\n- {name: me, user: {token: t}}\ncontexts:\n"
			  "- {name: c, context: {cluster: one, user: me, namespace: sluice}}\n",
			  line, sizeof(line), &a),
		0);
	assert_string_equal(a->namespace, "sluice");
	assert_int_equal(read_text(CLUSTER("") "users:\n- {name: me, user: {token: t}}\n", line, sizeof(line), &b), 0);
	assert_null(b->namespace);
}

static void refused(const char *text, const char *words)
{
	struct kube_access *a = NULL;
	char line[512];

	assert_int_equal(read_text(text, line, sizeof(line), &a), -EINVAL);
	assert_null(a);
	if (!strstr(line, words))
		fail_msg("'%s' does not say '%s'", line, words);
}

#define USER(user) "users:\n- name: me\n  user: {" user "}\n"

static void test_refused(void **state)
{
	(void)state;
	refused("[", "not YAML");
	refused("a: b\n", "current-context");
	refused("current-context: c\n", "no entry 'c' under contexts");
	refused(CLUSTER(""), "no entry 'me' under users");
	refused(CLUSTER(", insecure-skip-tls-verify: true") USER(""), ":4:");
	refused(CLUSTER(", insecure-skip-tls-verify: true") USER(""), "insecure-skip-tls-verify");
	refused(CLUSTER("") USER("exec: {command: aws}"), "exec is not supported");
	refused(CLUSTER("") USER("client-key-data: S0VZ"), "go together");
	refused(CLUSTER("") USER("client-certificate-data: '***'"), "expected base64");
	refused(CLUSTER("") USER("client-certificate: no-such-file"), "no-such-file: No such file");
	refused("current-context: c\nclusters:\n- name: one\n  cluster: {server: 'http://10.0.0.1'}\ncontexts:\n- "
		"name: "
		"c\n  context: {cluster: one}\n",
		"expected https");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_in_cluster), cmocka_unit_test(test_which_cluster),
		cmocka_unit_test(test_kubeconfig), cmocka_unit_test(test_namespace_of_context),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
