/* SPDX-License-Identifier: Apache-2.0 */
/* What a change of manifests opens and closes, per endpoint. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/array.h"
#include "tools/bpfctl/ctl.h"
#include "tools/bpfctl/diff.h"
#include "tools/bpfctl/offline.h"
#include "tools/bpfctl/out.h"

enum { DIFF_FILE, DIFF_EXIT_CODE, DIFF_DOMAIN, DIFF_CIDRS };

struct comparison {
	struct offline was;
	struct offline is;
	struct diff_names names;
	json_t *groups; /* {endpoints, allowed, denied}: endpoints with the same answer together */
	json_t *alone;	/* names of endpoints that one side does not have */
	bool oom;
};

static void comparison_clear(struct comparison *c)
{
	offline_clear(&c->was);
	offline_clear(&c->is);
	free(c->names.items);
	json_decref(c->groups);
	json_decref(c->alone);
}

/* ---- loading ------------------------------------------------------------------------------------------------------ */

static void add_pattern(const struct tree_name *n, void *context)
{
	struct comparison *c = context;
	struct name_pattern *slot = array_push(&c->names.items, &c->names.count, sizeof(*slot));

	if (slot)
		*slot = n->pattern;
	else
		c->oom = true;
}

static void add_entry_names(const struct tree_entry *e, void *context)
{
	tree_each_name(e, add_pattern, context);
}

static void add_names(struct comparison *c, const struct tree *t)
{
	for (size_t i = 0; i < t->count; i++)
		tree_each_entry(&t->items[i], add_entry_names, c);
}

static int load(struct comparison *c, const struct ctl_args *args)
{
	const char *shared = args->value[DIFF_FILE];
	int r = offline_add(&c->was, args->operand[0]);

	if (r == 0)
		r = offline_add(&c->is, args->operand[1]);
	if (r == 0 && shared)
		r = offline_add(&c->was, shared);
	if (r == 0 && shared)
		r = offline_add(&c->is, shared);
	if (r < 0)
		return r;
	add_names(c, &c->was.tree);
	add_names(c, &c->is.tree);
	diff_names_sort(&c->names);
	c->groups = json_array();
	c->alone = json_array();
	return c->oom || !c->groups || !c->alone ? -ENOMEM : 0;
}

/* What is refused denies, and would look like a policy that does. How many there are. */
static int tell_refused(const struct offline *off, const char *side)
{
	int found = 0;

	for (size_t i = 0; i < off->diags.count; i++) {
		char line[1024];

		if (off->diags.items[i].level != DIAG_ERROR)
			continue;
		found++;
		ctl_error("refused, and what it selects denied, on the %s side: %s", side,
			  diag_format(&off->diags.items[i], line, sizeof(line)));
	}
	return found;
}

/* ---- comparing ---------------------------------------------------------------------------------------------------- */

static void add_result(struct comparison *c, const struct subject *s, json_t *diff)
{
	const json_t *group;
	json_t *endpoints = NULL;
	size_t i;

	json_array_foreach(c->groups, i, group)
	{
		if (json_equal(json_object_get(group, "allowed"), json_object_get(diff, "allowed")) &&
		    json_equal(json_object_get(group, "denied"), json_object_get(diff, "denied")))
			endpoints = json_object_get(group, "endpoints");
	}
	if (!endpoints) {
		endpoints = json_array();
		json_object_set_new(diff, "endpoints", endpoints);
		json_array_append(c->groups, diff);
	}
	json_array_append_new(endpoints, json_sprintf("%s/%s", s->namespace_name, s->name));
	json_decref(diff);
}

static int compare_endpoint(struct comparison *c, const struct subject *was, const struct subject *is)
{
	CLEANUP(offline_image_clear) struct offline_image old = {};
	CLEANUP(offline_image_clear) struct offline_image new = {};
	int r = offline_is_enforced(&c->was, was) ? offline_compile(&c->was, was, &c->was.diags, &old) : 0;
	json_t *diff;

	if (r >= 0 && offline_is_enforced(&c->is, is))
		r = offline_compile(&c->is, is, &c->is.diags, &new);
	if (r < 0)
		return r;
	diff = diff_images(old.img, new.img, &c->names);
	if (!diff)
		return -ENOMEM;
	if (json_array_size(json_object_get(diff, "allowed")) || json_array_size(json_object_get(diff, "denied")))
		add_result(c, is, diff);
	else
		json_decref(diff);
	return 0;
}

static const struct subject *counterpart(const struct fleet *f, const struct subject *s)
{
	char name[600];

	snprintf(name, sizeof(name), "%s/%s", s->namespace_name, s->name);
	return fleet_find(f, name);
}

static void note_alone(struct comparison *c, const struct subject *s, const char *side)
{
	json_array_append_new(c->alone,
			      json_sprintf("%s/%s is in the %s files only", s->namespace_name, s->name, side));
}

static int compare(struct comparison *c)
{
	int r = 0;

	for (size_t i = 0; i < c->is.fleet.count && r >= 0; i++) {
		const struct subject *is = &c->is.fleet.subjects[i], *was = counterpart(&c->was.fleet, is);

		if (was)
			r = compare_endpoint(c, was, is);
		else
			note_alone(c, is, "new");
	}
	for (size_t i = 0; i < c->was.fleet.count; i++) {
		if (!counterpart(&c->is.fleet, &c->was.fleet.subjects[i]))
			note_alone(c, &c->was.fleet.subjects[i], "old");
	}
	return r;
}

/* ---- printing ----------------------------------------------------------------------------------------------------- */

static void print_list(const char *before, const json_t *list, const char *separator, const char *after)
{
	const json_t *item;
	size_t i;

	if (!json_array_size(list))
		return;
	fputs(before, stdout);
	json_array_foreach(list, i, item) printf("%s%s", i ? separator : "", json_string_value(item));
	fputs(after, stdout);
}

/* All five protocols whole are one word. */
static void print_ports(const json_t *ports)
{
	const json_t *item;
	bool whole = json_array_size(ports) == 5;
	size_t i;

	json_array_foreach(ports, i, item) whole = whole && !strncmp(json_string_value(item), "any/", 4);
	if (whole)
		printf("  every port");
	else
		print_list("  ", ports, ", ", "");
}

static void print_changes(const json_t *list, char sign)
{
	const json_t *o, *rule;
	size_t i;

	json_array_foreach(list, i, o)
	{
		const char *scope = get_text(o, "scope");

		printf("  %c %s", sign, get_text(o, json_object_get(o, "name") ? "name" : "destination"));
		print_list(" except ", json_object_get(o, "except"), ", ", "");
		if (!strcmp(scope, "cluster"))
			printf(" (addresses of the cluster)");
		else if (!strcmp(scope, "outside"))
			printf(" (outside the cluster)");
		else if (!strcmp(scope, "dns-proxy"))
			printf(" (answered by the DNS proxy)");
		print_ports(json_object_get(o, "ports"));
		rule = json_object_get(o, "rule");
		if (json_is_object(rule))
			printf("   %s: %s (%s:%lld)", get_text(rule, "policy"), get_text(rule, "text"),
			       get_text(rule, "file"), (long long)get_number(rule, "line"));
		putchar('\n');
	}
}

static void print_comparison(const struct comparison *c)
{
	const json_t *group;
	size_t i;

	json_array_foreach(c->groups, i, group)
	{
		print_list("", json_object_get(group, "endpoints"), ", ", "\n");
		print_changes(json_object_get(group, "allowed"), '+');
		print_changes(json_object_get(group, "denied"), '-');
	}
	print_list("", c->alone, "\n", "\n");
	if (!json_array_size(c->groups))
		printf("nothing is newly allowed or newly denied\n");
}

static bool newly_allowed(const struct comparison *c)
{
	const json_t *group;
	size_t i;

	json_array_foreach(c->groups, i, group)
	{
		if (json_array_size(json_object_get(group, "allowed")))
			return true;
	}
	return false;
}

static enum ctl_exit run(const struct ctl *ctl, const struct ctl_args *args)
{
	CLEANUP(comparison_clear) struct comparison c = {};
	const char *domain = args->value[DIFF_DOMAIN], *cidrs = args->value[DIFF_CIDRS];
	int r, refused;
	bool more;

	if (offline_set_cluster(&c.was, domain, cidrs) < 0 || offline_set_cluster(&c.is, domain, cidrs) < 0)
		return CTL_USAGE;
	r = load(&c, args);
	if (r < 0)
		return CTL_UNREACHABLE;
	if (!c.was.fleet.count && !c.is.fleet.count) {
		ctl_error("no endpoint to compare for: add an endpoints: document or Pods, in the files or with -f");
		return CTL_UNREACHABLE;
	}
	tell_refused(&c.was, "old");
	refused = tell_refused(&c.is, "new");
	r = compare(&c);
	if (r < 0) {
		ctl_error("cannot compare: %s", strerror(-r));
		return CTL_UNREACHABLE;
	}
	more = newly_allowed(&c);
	if (ctl->json)
		out_json(json_pack("{s:b, s:i, s:O, s:O}", "newly_allowed", more, "refused", refused, "changes",
				   c.groups, "not_compared", c.alone));
	else
		print_comparison(&c);
	return refused || (more && args->value[DIFF_EXIT_CODE]) ? CTL_NO : CTL_OK;
}

static const struct ctl_opt opts[] = {
	[DIFF_FILE] = { 'f', "file", "FILE|DIR", "endpoints, pods and other objects of both sides" },
	[DIFF_EXIT_CODE] = { 'e', "exit-code", NULL, "exit 1 when anything becomes newly allowed" },
	[DIFF_DOMAIN] = OFFLINE_CLUSTER_DOMAIN_OPT,
	[DIFF_CIDRS] = OFFLINE_SERVICE_CIDRS_OPT,
	{ 0 },
};

const struct ctl_command cmd_policy_diff = {
	.path = "policy diff",
	.operands = "OLD NEW",
	.min_operands = 2,
	.max_operands = 2,
	.summary = "What would newly be allowed and newly be denied, for each endpoint",
	.detail = "OLD and NEW are files or directories of manifests, with the endpoints they are for: endpoints: "
		  "documents "
		  "or\n"
		  "Pods, in them or given with -f. The compiled policies are compared, not samples of them; + is newly "
		  "allowed,\n"
		  "- is newly denied.",
	.opts = opts,
	.run = run,
};
