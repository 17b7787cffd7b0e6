/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "tools/bpfctl/check_resolve.h"
#include "tools/bpfctl/ctl.h"
#include "tools/bpfctl/lint.h"
#include "tools/bpfctl/offline.h"
#include "tools/bpfctl/out.h"

enum { CHECK_QUIET, CHECK_RESOLVE, CHECK_RESOLVER, CHECK_TIMEOUT, CHECK_DOMAIN, CHECK_CIDRS };

#define RESOLVE_TIMEOUT_SECONDS 2
#define RESOLVE_TRIES		2

struct check {
	struct offline off;
	json_t *names; /* with --resolve */
};

static void check_clear(struct check *c)
{
	offline_clear(&c->off);
	json_decref(c->names);
}

static bool is_told(const struct diags *diags, const struct diag *d)
{
	for (size_t i = 0; i < diags->count; i++) {
		const struct diag *other = &diags->items[i];

		if (other->line == d->line && other->column == d->column && !strcmp(other->file, d->file) &&
		    !strcmp(other->message, d->message))
			return true;
	}
	return false;
}

/* A DNS server of the cluster under name rules would be forwarded to itself. */
static void check_resolver(struct check *c, const struct subject *subject, const struct offline_image *image,
			   struct diags *found)
{
	struct image_source source;

	if (image->img && (image_flags(image->img) & IMAGE_NAMES) && offline_backs_resolver(&c->off, subject) &&
	    image_rule_source(image->img, 1, &source))
		diag_add(found, DIAG_WARNING, source.file, source.line, source.column,
			 "%s/%s is one of the cluster's own DNS servers: its port 53 is not handed to the DNS proxy, "
			 "and "
			 "follows the address rules",
			 subject->namespace_name, subject->name);
}

/* What the policies come to for the endpoints and pods of the files, if there are any: each remark once. */
static int check_endpoints(struct check *c)
{
	const struct fleet *f = &c->off.fleet;

	for (size_t i = 0; i < f->count; i++) {
		CLEANUP(offline_image_clear) struct offline_image image = {};
		CLEANUP(diags_clear) struct diags found = {};
		int r = offline_compile(&c->off, &f->subjects[i], &found, &image);

		check_resolver(c, &f->subjects[i], &image, &found);
		for (size_t k = 0; k < found.count; k++) {
			const struct diag *d = &found.items[k];

			if (!is_told(&c->off.diags, d))
				diag_add(&c->off.diags, d->level, d->file, d->line, d->column, "%s", d->message);
		}
		if (r < 0 && r != -E2BIG)
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
	for (size_t i = 0; i < c->off.diags.count; i++) {
		_cleanup_json_ json_t *line = NULL;
		char text[2048];

		if (quiet && c->off.diags.items[i].level != DIAG_ERROR)
			continue;
		diag_format(&c->off.diags.items[i], text, sizeof(text));
		line = out_textz(text, sizeof(text));
		printf("%s\n", json_string_value(line));
	}
	if (!quiet)
		printf("%s%zu file(s), %zu policies: %zu error(s), %zu warning(s), %zu notice(s)\n",
		       valid ? "ok: " : "refused: ", c->off.nfiles, store_policy_count(c->off.store),
		       c->off.diags.errors, count_level(&c->off.diags, DIAG_WARNING),
		       count_level(&c->off.diags, DIAG_NOTICE));
}

static enum ctl_exit resolve(struct check *c, const struct ctl_args *args)
{
	struct resolve_options o = { .server = args->value[CHECK_RESOLVER], .tries = RESOLVE_TRIES };
	uint64_t seconds = RESOLVE_TIMEOUT_SECONDS;
	int r;

	if (args->value[CHECK_TIMEOUT] && ctl_parse_number(args->value[CHECK_TIMEOUT], 1, 60, &seconds) < 0)
		return ctl_usage("'%s' is no number of seconds from 1 to 60", args->value[CHECK_TIMEOUT]);
	o.timeout_ms = (unsigned int)seconds * 1000;
	r = check_resolve(&c->off.tree, offline_domain(&c->off), &o, &c->off.diags, &c->names);
	if (r == -EINVAL)
		return ctl_usage("'%s' is no resolver: ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT", o.server);
	if (r == -ETIMEDOUT)
		ctl_error("no resolver answered");
	else if (r < 0)
		ctl_error("cannot resolve: %s", strerror(-r));
	return r < 0 ? CTL_UNREACHABLE : CTL_OK;
}

/* As the files stand, not as the checks came. */
static int compare_diags(const void *a, const void *b)
{
	const struct diag *x = a, *y = b;
	int order = strcmp(x->file, y->file);

	if (order == 0)
		order = (x->line > y->line) - (x->line < y->line);
	if (order == 0)
		order = (x->column > y->column) - (x->column < y->column);
	return order ? order : strcmp(x->message, y->message);
}

static enum ctl_exit read_files(struct check *c, const struct ctl_args *args)
{
	int r = 0;

	for (size_t i = 0; i < args->noperands && r == 0; i++)
		r = offline_add(&c->off, args->operand[i]);
	if (r < 0)
		return CTL_UNREACHABLE;
	r = lint(&c->off.tree, &c->off.diags);
	if (r == 0)
		r = check_endpoints(c);
	if (r < 0)
		ctl_error("cannot check: %s", strerror(-r));
	return r < 0 ? CTL_UNREACHABLE : CTL_OK;
}

static enum ctl_exit run(const struct ctl *ctl, const struct ctl_args *args)
{
	__attribute__((cleanup(check_clear))) struct check c = {};
	enum ctl_exit code;
	bool valid;

	if ((args->value[CHECK_RESOLVER] || args->value[CHECK_TIMEOUT]) && !args->value[CHECK_RESOLVE])
		return ctl_usage("--resolver and --timeout go with --resolve");
	if (offline_set_cluster(&c.off, args->value[CHECK_DOMAIN], args->value[CHECK_CIDRS]) < 0)
		return CTL_USAGE;
	code = read_files(&c, args);
	if (code == CTL_OK && args->value[CHECK_RESOLVE])
		code = resolve(&c, args);
	if (code != CTL_OK)
		return code;
	if (c.off.diags.count)
		qsort(c.off.diags.items, c.off.diags.count, sizeof(*c.off.diags.items), compare_diags);
	valid = c.off.diags.errors == 0 && store_refused_count(c.off.store) == 0;
	if (ctl->json) {
		json_t *o =
			json_pack("{s:b, s:I, s:o*, s:o*}", "valid", valid, "errors", (json_int_t)c.off.diags.errors,
				  "policies", policies_json(c.off.store), "diagnostics", diags_json(&c.off.diags));

		if (c.names)
			json_object_set(o, "names", c.names);
		out_json(o);
	} else {
		print_result(&c, valid, args->value[CHECK_QUIET] != NULL);
	}
	return valid ? CTL_OK : CTL_NO;
}

static const struct ctl_opt opts[] = {
	[CHECK_QUIET] = { 'q', "quiet", NULL, "errors only, and no summary" },
	[CHECK_RESOLVE] = { 'r', "resolve", NULL, "ask DNS for every exact name" },
	[CHECK_RESOLVER] = { 0, "resolver", "ADDR[:PORT]", "ask this one (default: those of /etc/resolv.conf)" },
	[CHECK_TIMEOUT] = { 0, "timeout", "SECONDS", "of each of two tries (default 2)" },
	[CHECK_DOMAIN] = OFFLINE_CLUSTER_DOMAIN_OPT,
	[CHECK_CIDRS] = OFFLINE_SERVICE_CIDRS_OPT,
	{ 0 },
};

const struct ctl_command cmd_policy_check = {
	.path = "policy check",
	.operands = "FILE|DIR...",
	.summary = "Would these manifests be accepted? Says what is wrong, with file, line and column",
	.detail =
		"A directory stands for its *.yaml, *.yml and *.json files; - for standard input. Needs no agent and "
		"no\n"
		"privileges. Exit code 1: something is refused.\n\n"
		"Warnings that end in a word in brackets are advice on what is valid. The files are judged together. "
		"An\n"
		"object does without some of it by naming the words in its annotation " LINT_IGNORE ".\n\n"
		"Endpoints and Kubernetes objects may stand in the files too, as for policy explain -f: then what the\n"
		"policies come to for them is looked at as well.\n\n"
		"With --resolve: names that do not exist, aliases that no rule lists, addresses shared with other "
		"names.",
	.opts = opts,
	.min_operands = 1,
	.max_operands = CTL_MAX_OPERANDS,
	.run = run,
};
