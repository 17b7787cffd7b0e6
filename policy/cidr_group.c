/* SPDX-License-Identifier: Apache-2.0 */
/* CiliumCIDRGroup, cilium.io/v2 and v2alpha1: prefixes that policies refer to by name or by the group's labels. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/array.h"
#include "policy/manifest.h"
#include "policy/read.h"

static void read_external_cidrs(struct yctx *c, const struct ynode *node, void *out)
{
	struct policy *p = out;

	if (!read_list(c, node, "externalCIDRs"))
		return;
	if (node->count == 0)
		yctx_warn(c, node, "externalCIDRs is empty: the group stands for no address");
	for (size_t i = 0; i < node->count; i++) {
		struct sluice_prefix prefix, *slot;

		if (!read_cidr(c, node->items[i], "externalCIDRs", &prefix))
			continue;
		slot = array_push(&p->prefixes, &p->nprefixes, sizeof(*slot));
		if (!slot) {
			c->oom = true;
			return;
		}
		*slot = prefix;
	}
}

void cidr_group_read(struct yctx *c, const struct ynode *spec, struct policy *p)
{
	static const struct yfield fields[] = { { "externalCIDRs", read_external_cidrs } };

	p->selects_nothing = true;
	if (yread_fields(c, spec, "spec", fields, ARRAY_SIZE(fields), p) && !ynode_get(spec, "externalCIDRs"))
		yctx_error(c, spec, "spec: expected a member externalCIDRs");
}

/* metadata.labels, which cidrGroupSelector looks at. */
void cidr_group_labels(struct yctx *c, const struct ynode *labels, struct policy *p)
{
	if (!labels || ynode_is_null(labels) || !yread_mapping(c, labels, "metadata.labels"))
		return;
	for (size_t i = 0; i < labels->count; i++) {
		struct label_pair *pair;
		const char *value;

		if (!read_label_value(c, ynode_value(labels, i), "metadata.labels", &value))
			continue;
		pair = array_push(&p->labels, &p->nlabels, sizeof(*pair));
		if (pair) {
			pair->key = strdup(ynode_key(labels, i)->text);
			pair->value = strdup(value);
		}
		if (!pair || !pair->key || !pair->value) {
			c->oom = true;
			return;
		}
	}
}
