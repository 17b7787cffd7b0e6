/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A policy in the other dialect. Where the two cannot say the same, a comment `# NOTE` stands at the place, and what is
 * written is the nearest that opens no more, but for what the note calls wider.
 */
#ifndef SLUICE_TOOLS_BPFCTL_CONVERT_H
#define SLUICE_TOOLS_BPFCTL_CONVERT_H

#include "base/strbuf.h"
#include "tools/bpfctl/tree.h"

enum convert_to {
	CONVERT_TO_CILIUM, /* CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy */
	CONVERT_TO_ANP,	   /* ApplicationNetworkPolicy, ClusterNetworkPolicy of networking.k8s.aws */
};

/* Appends YAML documents for one policy of the tree. Number of notes in it. Check out->failed. */
size_t convert_policy(const struct tree_policy *p, enum convert_to to, struct strbuf *out);

/* ---- for convert*.c ----------------------------------------------------------------------------------------------- */

struct writer {
	struct strbuf out;
	size_t notes;
	const struct tree_policy *policy;
};
__attribute__((format(printf, 3, 4))) void writer_line(struct writer *w, unsigned int indent, const char *format, ...);
/* "# NOTE line 12: ...". */
__attribute__((format(printf, 4, 5))) void writer_note(struct writer *w, unsigned int indent, const struct ynode *at,
						       const char *format, ...);
/* Text quoted for YAML, into a buffer that is this call's until eight more; cut when longer than 600. */
const char *writer_quote(const char *text);
/* apiVersion, kind and metadata of the policy under another kind; `name` may be NULL for its own. */
void writer_head(struct writer *w, const char *version, const char *kind, const char *name, const char *namespace_name);
void writer_append(struct writer *w, struct writer *piece); /* and clears it */

/* A label selector in the making, as flow text. */
struct selector_text {
	struct strbuf labels;
	struct strbuf expressions;
	bool given; /* there was a selector, maybe an empty one */
};
void selector_text_clear(struct selector_text *s);
/* Adds each requirement of `selector` under the key that `rename` gives it, to `pod` or `ns`. False: one has no such key. */
typedef const char *(*selector_rename)(const char *key, bool *ret_ns, char *buf, size_t size);
bool selector_text_add(struct selector_text *pod, struct selector_text *ns, const struct ynode *selector,
		       selector_rename rename);
/* "{matchLabels: {...}, matchExpressions: [...]}"; free(). NULL without memory. */
char *selector_text_take(struct selector_text *s);

void convert_to_anp(const struct tree_policy *p, struct writer *w);
void convert_to_cilium(const struct tree_policy *p, struct writer *w);

#endif
