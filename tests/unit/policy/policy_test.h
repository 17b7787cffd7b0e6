/* SPDX-License-Identifier: Apache-2.0 */
/* What the policy tests share: manifests as strings, endpoints, and an image in one call. */
#ifndef SLUICE_TESTS_POLICY_TEST_H
#define SLUICE_TESTS_POLICY_TEST_H

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "policy/compile.h"
#include "policy/verdict.h"

#define CNP_HEAD                                                                                                       \
	"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: ns}\nspec:\n"             \
	"  endpointSelector: {matchLabels: {app: web}}\n"
#define ANP_HEAD                                                                                                       \
	"apiVersion: networking.k8s.aws/v1alpha1\nkind: ApplicationNetworkPolicy\n"                                    \
	"metadata: {name: p, namespace: ns}\nspec:\n  podSelector: {matchLabels: {app: web}}\n"

static const struct label web_labels[] = { { "app", "web" }, { "tier", "x" } };
static const struct subject web = { .namespace_name = "ns", .name = "web-0", .labels = web_labels, .nlabels = 2 };

static inline struct sluice_addr test_addr(const char *text)
{
	struct sluice_addr a;

	assert_int_equal(addr_parse(text, &a), 0);
	return a;
}

/* Does some diagnostic read "f:LINE:COL: LEVEL: ...PART..."? */
static inline bool has_diag(const struct diags *d, const char *where, const char *part)
{
	char text[1024];

	for (size_t i = 0; i < d->count; i++) {
		diag_format(&d->items[i], text, sizeof(text));
		if (strncmp(text, where, strlen(where)) == 0 && strstr(text, part))
			return true;
	}
	for (size_t i = 0; i < d->count; i++)
		print_message("  have: %s\n", diag_format(&d->items[i], text, sizeof(text)));
	return false;
}

static inline int test_update(struct store *s, const char *file, const char *text, struct diags *d)
{
	return store_update(s, file, text, strlen(text), d);
}

static inline uint64_t test_key(const struct store *s, const struct inventory *inv)
{
	static const uint64_t seed[2] = { 1, 2 };
	static const struct inventory nothing = {};
	CLEANUP(compiler_freep) struct compiler *c = NULL;

	assert_int_equal(compiler_new(seed, &c), 0);
	assert_int_equal(compiler_begin(c, s, inv ? inv : &nothing), 0);
	return compiler_key(c, &web);
}

struct compiled {
	struct store *store;
	uint8_t *data;
	size_t len;
	struct image *img;
	int result;
};

/* `text` must be accepted. */
static inline struct compiled test_compile(const char *text, const struct inventory *inv)
{
	struct compiled c = {};
	struct diags d = {};

	assert_int_equal(store_new(&c.store), 0);
	if (test_update(c.store, "f", text, &d) != 0) {
		assert_false(has_diag(&d, "?", ""));
		fail_msg("refused: %s", text);
	}
	c.result = compile(c.store, &web, inv, &d, &c.data, &c.len);
	if (c.result == 0)
		assert_int_equal(image_open(c.data, c.len, &c.img), 0);
	diags_clear(&d);
	return c;
}

static inline void compiled_clear(struct compiled *c)
{
	image_freep(&c->img);
	free(c->data);
	store_freep(&c->store);
}

/* 'A' allowed, 'D' explicit deny, '-' no rule. */
static inline char test_verdict(const struct image *img, const char *addr, uint8_t proto, uint16_t port, bool cluster)
{
	struct sluice_query q = { .remote = test_addr(addr), .proto = proto, .port = htons(port) };
	struct verdict_tables t = { .img = img, .cluster = &q.remote, .ncluster = cluster };
	struct sluice_decision d = verdict_decide(&t, &q);

	if (d.verdict == SLUICE_ALLOW)
		return 'A';
	return d.reason == SLUICE_REASON_POLICY_DENY ? 'D' : '-';
}

static inline char test_tcp(const struct image *img, const char *addr, uint16_t port)
{
	return test_verdict(img, addr, IPPROTO_TCP, port, false);
}

/* 'O' opens, 'a' may be asked, '-' neither. */
static inline char test_name(const struct image *img, const char *name)
{
	struct image_match m;

	image_match_name(img, name, strlen(name), &m);
	assert_false(m.overflow);
	if (m.nsets > 0)
		return m.askable ? 'O' : '!';
	return m.askable ? 'a' : '-';
}

#endif
