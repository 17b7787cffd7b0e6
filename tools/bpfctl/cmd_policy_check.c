/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "tools/bpfctl/ctl.h"
#include "tools/bpfctl/manifests.h"
#include "tools/bpfctl/out.h"

enum { CHECK_QUIET };

struct check {
	struct store *store;
	struct diags diags;
	struct paths paths;
};

static void check_clear(struct check *c)
{
	store_freep(&c->store);
	diags_clear(&c->diags);
	paths_clear(&c->paths);
}

static int check_files(struct check *c)
{
	for (size_t i = 0; i < c->paths.count; i++) {
		_cleanup_free_ char *text = NULL;
		size_t len;
		int r = paths_read(c->paths.items[i], &text, &len);

		if (r == 0)
			r = store_update(c->store, c->paths.items[i], text, len, &c->diags);
		if (r < 0)
			return r;
	}
	return 0;
}

static size_t count_level(const struct diags *diags, enum diag_level level)
{
	size_t n = 0;

	for (size_t i = 0; i < diags->count; i++)
		n += diags->items[i].level == level;
	return n;
}

static json_t *diags_json(const struct diags *diags)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < diags->count; i++) {
		const struct diag *d = &diags->items[i];

		json_array_append_new(
			list, json_pack("{s:s, s:o*, s:I, s:I, s:o*}", "level", diag_level_name(d->level), "file",
					out_textz(d->file, SIZE_MAX), "line", (json_int_t)d->line, "column",
					(json_int_t)d->column, "message", out_textz(d->message, SIZE_MAX)));
	}
	return list;
}

static json_t *policies_json(const struct store *store)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < store_entry_count(store); i++) {
		struct store_entry e;

		store_entry_at(store, i, &e);
		json_array_append_new(
			list, json_pack("{s:o*, s:o*, s:o*, s:I, s:b}", "policy", out_textz(e.policy, SIZE_MAX), "kind",
					out_textz(e.kind, SIZE_MAX), "file", out_textz(e.file, SIZE_MAX), "line",
					(json_int_t)e.line, "refused", e.refused));
	}
	return list;
}

static void print_result(const struct check *c, bool valid, bool quiet)
{
	for (size_t i = 0; i < c->diags.count; i++) {
		_cleanup_json_ json_t *line = NULL;
		char text[2048];

		if (quiet && c->diags.items[i].level != DIAG_ERROR)
			continue;
		diag_format(&c->diags.items[i], text, sizeof(text));
		line = out_textz(text, sizeof(text));
		printf("%s\n", json_string_value(line));
	}
	if (!quiet)
		printf("%s%zu file(s), %zu policies: %zu error(s), %zu warning(s), %zu notice(s)\n",
		       valid ? "ok: " : "refused: ", c->paths.count, store_policy_count(c->store), c->diags.errors,
		       count_level(&c->diags, DIAG_WARNING), count_level(&c->diags, DIAG_NOTICE));
}

static enum ctl_exit run(const struct ctl *ctl, const struct ctl_args *args)
{
	__attribute__((cleanup(check_clear))) struct check c = {};
	bool valid;
	int r;

	for (size_t i = 0; i < args->noperands; i++) {
		r = paths_add(&c.paths, args->operand[i]);
		if (r < 0) {
			ctl_error("%s: %s", args->operand[i],
				  r == -ENOENT ? "no such file, or no manifest in it" : strerror(-r));
			return CTL_UNREACHABLE;
		}
	}
	r = store_new(&c.store);
	if (r == 0)
		r = check_files(&c);
	if (r < 0) {
		if (r == -ENOMEM)
			ctl_error("out of memory");
		return CTL_UNREACHABLE;
	}
	valid = c.diags.errors == 0 && store_refused_count(c.store) == 0;
	if (ctl->json)
		out_json(json_pack("{s:b, s:I, s:o*, s:o*}", "valid", valid, "errors", (json_int_t)c.diags.errors,
				   "policies", policies_json(c.store), "diagnostics", diags_json(&c.diags)));
	else
		print_result(&c, valid, args->value[CHECK_QUIET] != NULL);
	return valid ? CTL_OK : CTL_NO;
}

static const struct ctl_opt opts[] = {
	[CHECK_QUIET] = { 'q', "quiet", NULL, "errors only, and no summary" },
	{ 0 },
};

const struct ctl_command cmd_policy_check = {
	.path = "policy check",
	.operands = "FILE|DIR...",
	.summary = "Would these manifests be accepted? Says what is wrong, with file, line and column",
	.detail = "A directory stands for its *.yaml, *.yml and *.json files; - for standard input. Needs no agent and "
		  "no\n"
		  "privileges. Exit code 1: something is refused.",
	.opts = opts,
	.min_operands = 1,
	.max_operands = CTL_MAX_OPERANDS,
	.run = run,
};
