/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many patterns below the same few names, against each of them read by itself: which of them match a name, by the port each
 * opens. Three letters and short labels, so that nearly every wildcard meets some name.
 *
 *   SLUICE_MODEL_NAMES  how many names are matched (400,000); SLUICE_SEED as in test_model.c
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "policy/compile.h"
#include "policy/image.h"
#include "tests/model/eval_private.h"
#include "tests/model/generate.h"

#define PATTERNS 300
#define NAMES	 300
#define PORTS	 3

struct pattern {
	char text[48];
	bool aws;
	uint16_t port;
};

static void put_label(struct rng *r, char **at, bool stars)
{
	for (uint32_t i = 0, n = 1 + chance(r, 5); i < n; i++)
		*(*at)++ = stars && chance(r, 3) == 0 ? '*' : "ab-"[chance(r, 3)];
	*(*at)++ = '.';
}

/* One to three labels of few letters, and the name they all lie below. */
static void make_name(struct rng *r, char *out, uint32_t stars)
{
	for (uint32_t i = 0, n = 1 + chance(r, 3); i < n; i++)
		put_label(r, &out, stars > 0 && chance(r, stars) == 0);
	strcpy(out, "x.io");
}

static void make_pattern(struct rng *r, struct pattern *p)
{
	static const char *const cilium[] = { "", "", "", "*.", "**.", "***" };
	char name[40];

	p->aws = chance(r, 4) == 0;
	p->port = (uint16_t)(1 + chance(r, PORTS));
	make_name(r, name, p->aws ? 0 : 2);
	snprintf(p->text, sizeof(p->text), "%s%s", p->aws ? (chance(r, 2) ? "*." : "") : cilium[chance(r, 6)], name);
	/* AWS's labels begin and end with a letter. */
	for (char *c = p->text; p->aws && *c; c++)
		*c = *c == '-' ? 'b' : *c;
}

static void write_policies(const struct pattern *p, size_t n, struct strbuf *t)
{
	static const char *const heads[] = {
		"apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: a}\n"
		"spec:\n  endpointSelector: {}\n  egress:\n  - {}\n",
		"---\napiVersion: networking.k8s.aws/v1alpha1\nkind: ApplicationNetworkPolicy\n"
		"metadata: {name: p, namespace: a}\nspec:\n  podSelector: {}\n  policyTypes: [Egress]\n  egress:\n"
		"  - {to: [{domainNames: [nothing.example]}]}\n",
	};

	for (int aws = 0; aws < 2; aws++) {
		strbuf_adds(t, heads[aws]);
		for (size_t i = 0; i < n; i++) {
			if (p[i].aws != aws)
				continue;
			if (aws)
				strbuf_addf(t, "  - {to: [{domainNames: [\"%s\"]}], ports: [{port: %u}]}\n", p[i].text,
					    p[i].port);
			else
				strbuf_addf(t,
					    "  - {toFQDNs: [{matchPattern: \"%s\"}], "
					    "toPorts: [{ports: [{port: \"%u\", protocol: TCP}]}]}\n",
					    p[i].text, p[i].port);
		}
	}
}

static struct image *compile_text(const struct strbuf *t, uint8_t **data)
{
	static const struct subject pod = { .namespace_name = "a", .name = "p" };
	static const struct inventory nothing;
	struct diags diags = {};
	struct store *s = NULL;
	struct image *img = NULL;
	size_t len;

	if (t->failed || store_new(&s) < 0 || store_update(s, "f", t->data, t->len, &diags) != 0 ||
	    compile(s, &pod, &nothing, &diags, data, &len) != 0 || image_open(*data, len, &img) < 0) {
		fprintf(stderr, "refused, or does not compile:\n%s", t->data);
		exit(1);
	}
	diags_clear(&diags);
	store_freep(&s);
	return img;
}

/* Bit n: the name opens port n. */
static uint32_t opened_by_image(const struct image *img, const char *name)
{
	struct image_match m;
	struct sluice_rule rule;
	uint32_t ports = 0;

	image_match_name(img, name, strlen(name), &m);
	for (uint32_t i = 0; i < m.nsets; i++)
		for (uint16_t port = 1; port <= PORTS; port++)
			if (image_find_rule(img, m.sets[i], IPPROTO_TCP, htons(port), &rule) && rule.verdict)
				ports |= 1u << port;
	return m.overflow || m.askable != (m.nsets > 0) ? UINT32_MAX : ports;
}

static uint32_t opened_by_patterns(const struct pattern *p, size_t n, const char *name)
{
	uint32_t ports = 0;

	for (size_t i = 0; i < n; i++)
		if (p[i].aws ? ev_aws_name_matches(p[i].text, name) : ev_cilium_name_matches(p[i].text, name))
			ports |= 1u << p[i].port;
	return ports;
}

static bool one_round(struct rng *r, uint64_t *matching)
{
	static struct pattern patterns[PATTERNS];
	CLEANUP(strbuf_clear) struct strbuf text = {};
	_cleanup_free_ uint8_t *data = NULL;
	size_t n = 1 + chance(r, chance(r, 2) ? PATTERNS : 20);
	struct image *img;
	bool ok = true;

	for (size_t i = 0; i < n; i++)
		make_pattern(r, &patterns[i]);
	write_policies(patterns, n, &text);
	img = compile_text(&text, &data);
	for (size_t i = 0; i < NAMES && ok; i++) {
		char name[40];
		uint32_t want, got;

		make_name(r, name, 0);
		want = opened_by_patterns(patterns, n, name);
		got = opened_by_image(img, name);
		*matching += want != 0;
		ok = want == got;
		if (!ok)
			printf("MISMATCH: %s opens ports %x, and to the image %x, under\n%s", name, want, got,
			       text.data);
	}
	image_freep(&img);
	return ok;
}

int main(void)
{
	const char *given = getenv("SLUICE_SEED"), *count = getenv("SLUICE_MODEL_NAMES");
	uint64_t seed = given ? strtoull(given, NULL, 10) : 0, matching = 0, names = 0;
	uint64_t wanted = count ? strtoull(count, NULL, 10) : 400000;
	struct rng r;

	if (!given && getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return 1;
	printf("seed %" PRIu64 "\n", seed);
	r.state = seed | 1;
	for (; names < wanted; names += NAMES)
		if (!one_round(&r, &matching))
			return 1;
	printf("%" PRIu64 " names, %" PRIu64 " match something\n", names, matching);
	return matching * 5 < names || matching * 20 > names * 19;
}
