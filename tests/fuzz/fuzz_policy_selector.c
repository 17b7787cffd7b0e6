/* SPDX-License-Identifier: Apache-2.0 */
/* A selector on one line: where it is accepted, it selects whom the plain reading of it selects. */
#include <string.h>

#include "base/cleanup.h"
#include "base/strbuf.h"
#include "policy/compile.h"
#include "tests/fuzz/fuzz.h"
#include "tests/model/eval_private.h"

static const struct label labels[] = { { "app", "web" }, { "tier", "front" } };
static const struct subject pod = { .namespace_name = "a", .name = "p", .labels = labels, .nlabels = 2 };
static const struct inventory_namespace ns = { .name = "a" };
static const struct inventory inv = { .pods = &pod, .npods = 1, .namespaces = &ns, .nnamespaces = 1 };
static const struct world world = {
	.namespaces = { { .name = "a" } },
	.nnamespaces = 1,
	.pods = { { .namespace_name = "a",
		    .name = "p",
		    .account = "default",
		    .labels = { { { "app", "web" }, { "tier", "front" } }, 2 } } },
	.npods = 1,
};
static const char cilium[] = "apiVersion: cilium.io/v2\nkind: CiliumClusterwideNetworkPolicy\nmetadata: {name: p}\n"
			     "spec:\n  egress: [{}]\n  endpointSelector: ";
static const char k8s[] = "apiVersion: networking.k8s.aws/v1alpha1\nkind: ApplicationNetworkPolicy\n"
			  "metadata: {name: p, namespace: a}\nspec:\n  policyTypes: [Egress]\n  podSelector: ";

/* 1: selected, 0: not, -1: refused. */
static int compiled_selects(const char *head, const uint8_t *selector, size_t size)
{
	CLEANUP(strbuf_clear) struct strbuf text = {};
	struct diags diags = {};
	struct store *s = NULL;
	uint8_t *data = NULL;
	size_t len;
	int r;

	strbuf_adds(&text, head);
	strbuf_add(&text, selector, size);
	must(store_new(&s) == 0 && !text.failed);
	r = store_update(s, "f", text.data, text.len, &diags) ? -1 : compile(s, &pod, &inv, &diags, &data, &len) == 0;
	free(data);
	diags_clear(&diags);
	store_freep(&s);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct diags diags = {};
	struct ydocs *docs = NULL;
	int r;

	if (!memchr(data, '\n', size) && !memchr(data, '\r', size) &&
	    yaml_read("f", (const char *)data, size, &diags, &docs) == 0 && docs->count == 1 &&
	    docs->roots[0]->kind == YNODE_MAPPING) {
		r = compiled_selects(cilium, data, size);
		must(r < 0 || r == ev_cilium_selects(&world, docs->roots[0], &world.pods[0], NULL));
		r = compiled_selects(k8s, data, size);
		must(r < 0 || r == ev_selects(docs->roots[0], &world.pods[0].labels));
	}
	ydocs_freep(&docs);
	diags_clear(&diags);
	return 0;
}
