/* SPDX-License-Identifier: Apache-2.0 */
/* The compiled policies in the run directory, and, while an agent runs, the manifests they come from. */
#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api.h"
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/strbuf.h"
#include "bpf/abi_names.h"
#include "tools/bpfctl/client.h"
#include "tools/bpfctl/ctl.h"
#include "tools/bpfctl/out.h"
#include "tools/bpfctl/records.h"

/* ---- one image ---------------------------------------------------------------------------------------------------- */

static json_t *flags_json(uint32_t flags)
{
	static const struct {
		uint32_t bit;
		const char *name;
	} names[] = {
		{ IMAGE_ISOLATED, "default-deny" },
		{ IMAGE_NAMES, "name-rules" },
		{ IMAGE_ASK_ANY, "ask-any" },
		{ IMAGE_REFUSED, "refused" },
	};
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (flags & names[i].bit)
			json_array_append_new(list, json_string(names[i].name));
	}
	return list;
}

static json_t *hash_json(const uint8_t *hash)
{
	char text[2 * IMAGE_HASH_LEN + 1];

	for (size_t i = 0; i < IMAGE_HASH_LEN; i++)
		snprintf(text + 2 * i, 3, "%02x", hash[i]);
	return json_string(text);
}

/* Ports that one verdict and rule cover without a gap. */
struct span {
	uint8_t proto;
	uint8_t verdict;
	uint32_t rule;
	uint32_t first;
	uint32_t last;
};

static bool is_icmp(uint8_t proto)
{
	return proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
}

/* "443/TCP", "8000-8080/UDP", "any/SCTP", "type 8/ICMP"; a deny says so. */
static json_t *span_json(const struct span *s)
{
	const char *proto = proto_name(s->proto);
	const char *deny = s->verdict == SLUICE_ALLOW ? "" : "deny ";
	uint32_t first = is_icmp(s->proto) ? s->first >> 8 : s->first,
		 last = is_icmp(s->proto) ? s->last >> 8 : s->last;
	const char *type = is_icmp(s->proto) ? "type " : "";

	if (s->first == 0 && s->last == 65535)
		return json_sprintf("%sany/%s", deny, proto ? proto : "?");
	if (first == last)
		return json_sprintf("%s%s%u/%s", deny, type, first, proto ? proto : "?");
	return json_sprintf("%s%s%u-%u/%s", deny, type, first, last, proto ? proto : "?");
}

static json_t *ports_json(const struct image *img, uint32_t set)
{
	json_t *list = json_array();
	struct span span = {};
	bool open = false;

	for (size_t i = 0; set && i < image_rule_count(img); i++) {
		const struct image_rule *r = image_rule_at(img, i);
		uint32_t first = ntohs(r->port), last = first | (0xffffu >> r->port_bits);

		if (r->set != set)
			continue;
		if (open && r->proto == span.proto && r->rule.verdict == span.verdict && r->rule.rule == span.rule &&
		    first == span.last + 1) {
			span.last = last;
			continue;
		}
		if (open)
			json_array_append_new(list, span_json(&span));
		span = (struct span){ r->proto, r->rule.verdict, r->rule.rule, first, last };
		open = true;
	}
	if (open)
		json_array_append_new(list, span_json(&span));
	return list;
}

/* A row of the destination table may say one thing of the cluster's addresses and another of the rest. */
static json_t *dests_json(const struct image *img)
{
	json_t *list = json_array();

	for (size_t i = 0; i < image_dest_count(img); i++) {
		const struct image_dest *d = image_dest_at(img, i);
		struct sluice_prefix prefix = { .addr = d->addr, .bits = d->bits };
		char text[ADDR_TEXT_MAX];
		json_t *o =
			json_pack("{s:s, s:o, s:o}", "prefix", prefix_format(&prefix, text), "ports",
				  ports_json(img, d->dest.set), "cluster_ports", ports_json(img, d->dest.cluster_set));

		json_array_append_new(list, o);
	}
	return list;
}

static json_t *sources_json(const struct image *img)
{
	json_t *list = json_array();

	for (size_t i = 1; i <= image_rule_source_count(img); i++) {
		json_t *o = record_source(img, (uint32_t)i);

		if (json_is_object(o))
			json_object_set_new(o, "rule", json_integer((json_int_t)i));
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *users_json(const struct records *r, uint64_t id)
{
	uint32_t count = 0;
	const struct sluice_endpoint *ep = r->pins ? pins_endpoints(r->pins, &count) : NULL;
	json_t *list = json_array();
	char pod[RECORD_POD_MAX];

	for (uint32_t i = 0; ep && i < count; i++) {
		if (ep[i].generation && SLUICE_STATE_POLICY(ep[i].state) == id)
			json_array_append_new(list, out_textz(record_pod(r, i, ep[i].generation, pod), sizeof(pod)));
	}
	return list;
}

static json_t *image_json(const struct records *r, uint64_t id)
{
	const struct image *img;
	json_t *o, *names = json_array();
	int error = images_get(r->images, id, &img);

	if (error < 0) {
		json_decref(names);
		return json_pack("{s:o, s:s}", "policy_id", out_hex(id), "error",
				 error == -EBADMSG ? "not a valid image" : strerror(-error));
	}
	for (size_t i = 0; i < image_policy_count(img); i++)
		json_array_append_new(names, out_textz(image_policy_at(img, i), SIZE_MAX));
	o = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "policy_id", out_hex(id), "hash",
		      hash_json(image_hash(img)), "flags", flags_json(image_flags(img)), "policies", names, "endpoints",
		      users_json(r, id), "rules", sources_json(img), "destinations", dests_json(img));
	return o;
}

/* ---- all of them -------------------------------------------------------------------------------------------------- */

/* Does the operand name this image: by id, by one of its policies, or by an endpoint that uses it? */
static bool is_wanted(const json_t *image, const char *wanted)
{
	static const char *const lists[] = { "policies", "endpoints" };
	unsigned long long id;
	char *end;

	if (!wanted)
		return true;
	id = strtoull(wanted, &end, 16);
	if (!*end && end != wanted && id == strtoull(get_text(image, "policy_id"), NULL, 16))
		return true;
	for (size_t k = 0; k < ARRAY_SIZE(lists); k++) {
		const json_t *name, *list = json_object_get(image, lists[k]);
		size_t i;

		json_array_foreach(list, i, name)
		{
			if (!strcmp(json_string_value(name), wanted))
				return true;
		}
	}
	return false;
}

static int collect_images(const struct records *r, const char *wanted, json_t *list)
{
	_cleanup_free_ uint64_t *ids = NULL;
	size_t count = 0;
	int error = images_list(r->images, &ids, &count);

	for (size_t i = 0; error == 0 && i < count; i++) {
		json_t *o = image_json(r, ids[i]);

		if (is_wanted(o, wanted))
			json_array_append_new(list, o);
		else
			json_decref(o);
	}
	return error;
}

/* The agent's own list: every manifest, the refused ones with their diagnostics. NULL when no agent answers. */
static json_t *collect_manifests(const struct ctl *ctl, const char *wanted)
{
	json_t *all = NULL, *list, *o;
	size_t i;

	if (client_call(ctl->socket, API_METHOD_POLICIES, &all) < 0)
		return NULL;
	list = json_array();
	json_array_foreach(all, i, o)
	{
		if (!wanted || !strcmp(get_text(o, "policy"), wanted))
			json_array_append(list, o);
	}
	json_decref(all);
	return list;
}

static char *join(const json_t *list, const char *separator)
{
	struct strbuf b = {};
	const json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		strbuf_adds(&b, i ? separator : "");
		strbuf_adds(&b, json_string_value(item));
	}
	return strbuf_take(&b);
}

static void print_list(const char *title, const json_t *list)
{
	_cleanup_free_ char *text = join(list, ", ");

	printf("  %-14s%s\n", title, text && text[0] ? text : "-");
}

static void print_dests(const json_t *list)
{
	const json_t *o;
	size_t i;

	if (json_array_size(list))
		printf("  destinations\n");
	json_array_foreach(list, i, o)
	{
		const json_t *ports = json_object_get(o, "ports"), *cluster = json_object_get(o, "cluster_ports");
		_cleanup_free_ char *outside = join(ports, ", "), *inside = join(cluster, ", ");

		if (json_equal(ports, cluster)) {
			printf("    %-28s %s\n", get_text(o, "prefix"), outside && outside[0] ? outside : "nothing");
			continue;
		}
		if (outside && outside[0])
			printf("    %-28s %s (outside the cluster)\n", get_text(o, "prefix"), outside);
		if (inside && inside[0])
			printf("    %-28s %s (addresses of the cluster)\n", get_text(o, "prefix"), inside);
	}
}

static void print_image(const json_t *o)
{
	const json_t *rule;
	const char *id = get_text(o, "policy_id");
	size_t i;

	printf("policy %s\n", id + strspn(id, "0"));
	if (get_text(o, "error")[0]) {
		printf("  cannot be read: %s\n", get_text(o, "error"));
		return;
	}
	print_list("made of", json_object_get(o, "policies"));
	print_list("endpoints", json_object_get(o, "endpoints"));
	print_list("flags", json_object_get(o, "flags"));
	printf("  %-14s%s\n", "hash", get_text(o, "hash"));
	if (json_array_size(json_object_get(o, "rules")))
		printf("  rules\n");
	json_array_foreach(json_object_get(o, "rules"), i, rule)
		printf("    %-4lld %s: %s (%s:%lld)\n", (long long)get_number(rule, "rule"), get_text(rule, "policy"),
		       get_text(rule, "text"), get_text(rule, "file"), (long long)get_number(rule, "line"));
	print_dests(json_object_get(o, "destinations"));
}

static void print_manifests(const json_t *list)
{
	const json_t *o, *diag;
	size_t i, k;

	json_array_foreach(list, i, o)
	{
		printf("manifest %s %s (%s:%lld)%s%s\n", get_text(o, "kind"), get_text(o, "policy"),
		       get_text(o, "file"), (long long)get_number(o, "line"), get_flag(o, "refused") ? ": REFUSED" : "",
		       get_flag(o, "last_good") ? "; its last good text stays in force" : "");
		json_array_foreach(json_object_get(o, "diagnostics"), k, diag)
			printf("  %s\n", json_is_string(diag) ? json_string_value(diag) : get_text(diag, "message"));
	}
}

static enum ctl_exit run(const struct ctl *ctl, const struct ctl_args *args)
{
	const char *wanted = args->operand[0];
	_cleanup_records_ struct records r = { 0 };
	_cleanup_json_ json_t *images = json_array(), *manifests = NULL;
	const json_t *o;
	size_t i;
	int error;

	if (images_new(ctl->run_dir, &r.images) < 0)
		return CTL_UNREACHABLE;
	pins_open(ctl->pin_path, &r.pins); /* without them, nobody is known to use a policy */
	error = collect_images(&r, wanted, images);
	manifests = collect_manifests(ctl, wanted);
	if (error < 0 && !manifests) {
		ctl_error("cannot read the policies in %s: %s", ctl->run_dir, strerror(-error));
		return CTL_UNREACHABLE;
	}
	if (wanted && !json_array_size(images) && !json_array_size(manifests)) {
		ctl_error("no policy '%s' is in force here", wanted);
		return CTL_UNREACHABLE;
	}
	if (ctl->json)
		return out_json(json_pack("{s:O, s:O?}", "compiled", images, "manifests", manifests));
	print_manifests(manifests);
	json_array_foreach(images, i, o) print_image(o);
	return CTL_OK;
}

const struct ctl_command cmd_policy_get = {
	.path = "policy get",
	.operands = "[NAMESPACE/NAME|ID]",
	.summary = "The policies in force: rules with file and line, destinations and ports",
	.detail = "The operand is a policy, the id of a compiled policy, or an endpoint that uses it.",
	.max_operands = 1,
	.run = run,
};
