/* SPDX-License-Identifier: Apache-2.0 */
/* Any text: what compiles can be opened, the same text gives the same bytes, and what is wholly refused admits nothing. */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "policy/compile.h"
#include "policy/verdict.h"
#include "tests/fuzz/fuzz.h"

static const struct label labels[] = { { "app", "web" } };
static const struct sluice_addr addr = { .b = { [10] = 0xff, 0xff, 10, 0, 0, 1 } };
static const struct sluice_addr remote = { .b = { [10] = 0xff, 0xff, 192, 0, 2, 1 } };
static const struct subject pod = {
	.namespace_name = "a", .name = "p", .labels = labels, .nlabels = 1, .addrs = &addr, .naddrs = 1
};
static const struct inventory inv = { .pods = &pod, .npods = 1 };

/* 0 and the image's hash; 1: open. */
static int once(struct store *s, const char *text, size_t len, uint8_t *hash)
{
	struct sluice_query q = { .remote = remote, .port = htons(443), .proto = IPPROTO_TCP };
	struct verdict_tables t = {};
	struct diags diags = {};
	struct image *img = NULL;
	uint8_t *data = NULL;
	size_t size;
	int r = store_update(s, "f", text, len, &diags);

	must((r == 0 && diags.errors == 0) || (r == 1 && diags.errors > 0));
	r = compile(s, &pod, &inv, &diags, &data, &size);
	must(r >= 0 || r == -E2BIG);
	if (r == 0) {
		must(image_open(data, size, &img) == 0);
		t.img = img;
		must(store_policy_count(s) > 0 || verdict_decide(&t, &q).verdict == SLUICE_DENY);
		memcpy(hash, image_hash(img), IMAGE_HASH_LEN);
	}
	image_freep(&img);
	free(data);
	diags_clear(&diags);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t first[IMAGE_HASH_LEN], second[IMAGE_HASH_LEN];
	struct store *a = NULL, *b = NULL;
	int r;

	must(store_new(&a) == 0 && store_new(&b) == 0);
	r = once(a, (const char *)data, size, first);
	must(once(b, (const char *)data, size, second) == r);
	must(r != 0 || memcmp(first, second, sizeof(first)) == 0);
	store_freep(&a);
	store_freep(&b);
	return 0;
}
