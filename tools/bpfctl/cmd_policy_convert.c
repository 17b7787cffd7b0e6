/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "tools/bpfctl/convert.h"
#include "tools/bpfctl/ctl.h"
#include "tools/bpfctl/manifests.h"
#include "tools/bpfctl/out.h"

enum { CONVERT_TO };

static int read_file(struct tree *t, const char *path)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = paths_read(path, &text, &len);

	if (r < 0)
		return r;
	r = tree_add(t, path, text, len);
	if (r < 0)
		ctl_error("%s: %s", path, r == -EINVAL ? "is no YAML; bpfctl policy check says where" : strerror(-r));
	return r;
}

static int read_files(struct tree *t, const struct ctl_args *args)
{
	CLEANUP(paths_clear) struct paths paths = {};
	int r = 0;

	for (size_t i = 0; i < args->noperands && r == 0; i++) {
		r = paths_add(&paths, args->operand[i]);
		if (r < 0)
			ctl_error("%s: %s", args->operand[i],
				  r == -ENOENT ? "no such file, or no manifest in it" : strerror(-r));
	}
	for (size_t i = 0; i < paths.count && r == 0; i++)
		r = read_file(t, paths.items[i]);
	return r;
}

static enum ctl_exit run(const struct ctl *ctl, const struct ctl_args *args)
{
	CLEANUP(tree_clear) struct tree t = {};
	CLEANUP(strbuf_clear) struct strbuf out = {};
	const char *to = args->value[CONVERT_TO];
	size_t notes = 0;

	if (!to || (strcmp(to, "cilium") != 0 && strcmp(to, "anp") != 0))
		return ctl_usage("policy convert needs --to cilium or --to anp");
	if (read_files(&t, args) < 0)
		return CTL_UNREACHABLE;
	for (size_t i = 0; i < t.count; i++)
		notes += convert_policy(&t.items[i], !strcmp(to, "anp") ? CONVERT_TO_ANP : CONVERT_TO_CILIUM, &out);
	if (out.failed) {
		ctl_error("out of memory");
		return CTL_UNREACHABLE;
	}
	if (ctl->json)
		return out_json(json_pack("{s:I, s:I, s:o}", "policies", (json_int_t)t.count, "notes",
					  (json_int_t)notes, "manifests",
					  json_stringn(out.data ? out.data : "", out.len)));
	fputs(out.data ? out.data : "", stdout);
	if (notes)
		ctl_error("%zu place(s) where the dialects differ; look for # NOTE", notes);
	return CTL_OK;
}

static const struct ctl_opt opts[] = {
	[CONVERT_TO] = { 't', "to", "cilium|anp", "the dialect to write" },
	{ 0 },
};

const struct ctl_command cmd_policy_convert = {
	.path = "policy convert",
	.operands = "FILE|DIR...",
	.min_operands = 1,
	.max_operands = CTL_MAX_OPERANDS,
	.summary = "The policies in the other dialect, with a note where it cannot say the same",
	.detail = "Cilium's kinds become ApplicationNetworkPolicy and ClusterNetworkPolicy, and the other way round. "
		  "Each "
		  "place\n"
		  "where the two differ has a comment # NOTE; what cannot be said is left out, and wider is said to be "
		  "wider.",
	.opts = opts,
	.run = run,
};
