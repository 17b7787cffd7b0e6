/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verdict on one destination, in words. Live: from the endpoint's image, the leases and the cluster's addresses.
 * With -f: from manifests and an `endpoints:` document, without a node.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "base/strbuf.h"
#include "base/siphash.h"
#include "bpf/abi_names.h"
#include "tools/bpfctl/beaten.h"
#include "tools/bpfctl/ctl.h"
#include "tools/bpfctl/explain.h"
#include "tools/bpfctl/offline.h"
#include "tools/bpfctl/out.h"
#include "tools/bpfctl/records.h"

#define SERVICE_ADDRS 256 /* that are looked at behind a name */

enum { EXPLAIN_FROM, EXPLAIN_TO, EXPLAIN_PORT, EXPLAIN_FILE, EXPLAIN_EXIT_CODE, EXPLAIN_DOMAIN, EXPLAIN_CIDRS };

/* One question on its way to its answer. */
struct question {
	const char *from;
	const char *to;
	struct explain_query query;
	struct explain_query judged; /* the same, or an address behind the name */
	struct explain_answer answer;
	const struct image *img; /* NULL: the mode alone decided */
	enum sluice_mode mode;
	json_t *refusals;  /* texts; may be NULL */
	json_t *beaten;	   /* rules; NULL: not known */
	const char *note;  /* on them; NULL: nothing to say */
	bool host_network; /* not enforced for it */
};

/* ---- printing ----------------------------------------------------------------------------------------------------- */

static json_t *image_policies(const struct image *img)
{
	json_t *list = json_array();

	for (size_t i = 0; img && list && i < image_policy_count(img); i++)
		json_array_append_new(list, out_textz(image_policy_at(img, i), SIZE_MAX));
	return list;
}

static const char *answer_text(const struct question *q)
{
	const struct explain_answer *a = &q->answer;

	switch (a->by) {
	case EXPLAIN_BY_NOTHING:
		if (a->allowed)
			return "no rule speaks for it, and the endpoint is not in default deny";
		return reason_text(SLUICE_REASON_POLICY_DEFAULT);
	case EXPLAIN_BY_RULE:
		return a->allowed ? "an address rule allows it" : "a rule denies it";
	case EXPLAIN_BY_NAME_RULE:
		return q->query.is_name ? "a name rule allows it, once the pod has asked for the name"
					: "a name that the pod asked for opened the address";
	case EXPLAIN_BY_DNS_PROXY:
		return "port 53 is answered by the DNS proxy, whatever the address";
	case EXPLAIN_BY_REFUSAL:
		return "a refused policy selects the endpoint; it is denied until the policy is mended";
	case EXPLAIN_BY_CLASS:
		return reason_text(SLUICE_REASON_NEVER_LEAVES);
	case EXPLAIN_BY_MODE:
		if (q->host_network)
			return "the pod is on its node's network and not enforced; sluice.dev/host-network: enforce "
			       "changes that";
		return a->allowed ? "no policy selects the endpoint" : reason_text(SLUICE_REASON_QUARANTINE);
	}
	return "";
}

static json_t *answer_json(const struct question *q)
{
	const struct explain_answer *a = &q->answer;
	json_t *o = json_pack("{s:o*, s:o*, s:I, s:s?, s:s, s:s, s:s, s:s}", "from", out_textz(q->from, SIZE_MAX), "to",
			      out_textz(q->to, SIZE_MAX), "port", (json_int_t)q->query.number, "protocol",
			      proto_name(q->query.proto), "verdict", a->allowed ? "allowed" : "denied", "by",
			      explain_by_name(a->by), "reason", reason_name(a->reason), "text", answer_text(q));

	json_object_set_new(o, "rule", q->img ? record_source(q->img, a->rule) : json_null());
	if (a->has_askable) {
		json_object_set_new(o, "askable", json_boolean(a->askable));
		json_object_set_new(o, "ask_only", json_boolean(a->ask_only));
	}
	json_object_set_new(o, "mode", json_string(mode_name(q->mode)));
	json_object_set_new(o, "passes", json_boolean(a->allowed || q->mode == SLUICE_MODE_AUDIT));
	json_object_set_new(o, "policies", image_policies(q->img));
	if (q->beaten)
		json_object_set(o, "beaten", q->beaten);
	if (q->note)
		json_object_set_new(o, "beaten_note", json_string(q->note));
	if (q->refusals)
		json_object_set(o, "refused", q->refusals);
	return o;
}

static void print_beaten(const json_t *list)
{
	const json_t *rule;
	size_t i;

	json_array_foreach(list, i, rule)
		printf("  beaten  %s: %s, %s (%s:%lld)\n", get_text(rule, "policy"), get_text(rule, "text"),
		       get_text(rule, "action"), get_text(rule, "file"), (long long)get_number(rule, "line"));
}

static void print_answer(const json_t *o)
{
	const json_t *rule = json_object_get(o, "rule"), *lease;
	bool denied = !strcmp(get_text(o, "verdict"), "denied");
	size_t i;

	printf("%s  %s -> %s port %lld/%s\n", denied ? "DENIED " : "ALLOWED", get_text(o, "from"), get_text(o, "to"),
	       (long long)get_number(o, "port"), get_text(o, "protocol"));
	printf("  why     %s%s%s%s\n", get_text(o, "text"), denied ? " (" : "", denied ? get_text(o, "reason") : "",
	       denied ? ")" : "");
	if (json_is_object(rule))
		printf("  rule    %s: %s (%s:%lld)\n", get_text(rule, "policy"), get_text(rule, "text"),
		       get_text(rule, "file"), (long long)get_number(rule, "line"));
	print_beaten(json_object_get(o, "beaten"));
	if (get_text(o, "beaten_note")[0])
		printf("  beaten  %s\n", get_text(o, "beaten_note"));
	if (get_text(o, "name")[0])
		printf("  name    %s\n", get_text(o, "name"));
	if (json_object_get(o, "askable"))
		printf("  dns     %s\n", get_flag(o, "ask_only")
						 ? "may be asked; the answer tells only what other rules allow"
					 : get_flag(o, "askable") ? "may be asked"
								  : "may not be asked");
	json_array_foreach(json_object_get(o, "leases"), i, lease) printf(
		"  lease   %s for another %.0fs\n", get_text(lease, "address"), get_real(lease, "expires_in_seconds"));
	json_array_foreach(json_object_get(o, "refused"), i, lease) printf("  refused %s\n", json_string_value(lease));
	if (denied && get_flag(o, "passes"))
		printf("  audit   the endpoint is in audit mode: the packet passes and is reported\n");
}

/* Steals `o`. */
static enum ctl_exit finish(const struct ctl *ctl, const struct ctl_args *args, json_t *o)
{
	bool denied = strcmp(get_text(o, "verdict"), "allowed") != 0;

	if (ctl->json) {
		enum ctl_exit code = out_json(o);

		if (code != CTL_OK)
			return code;
	} else {
		print_answer(o);
		json_decref(o);
	}
	return denied && args->value[EXPLAIN_EXIT_CODE] ? CTL_NO : CTL_OK;
}

/* ---- live --------------------------------------------------------------------------------------------------------- */

static bool live_lease(void *context, uint64_t policy, const struct sluice_addr *addr, struct sluice_lease *ret)
{
	struct records *r = context;
	struct sluice_lease_key key = { .policy = policy, .addr = *addr };

	return pins_lookup(r->pins, PIN_LEASES, &key, ret) == 0;
}

static bool live_cluster(void *context, const struct sluice_addr *addr)
{
	struct records *r = context;
	struct sluice_cluster entry;

	return pins_lookup(r->pins, PIN_CLUSTER, addr, &entry) == 0;
}

struct lease_walk {
	const struct records *r;
	const struct explain_world *world;
	uint64_t name;
	json_t *list;
};

static int add_lease(const void *key, const void *value, void *context)
{
	const struct sluice_lease *lease = value;
	struct lease_walk *w = context;

	(void)key;
	if (lease->key.policy != w->world->policy)
		return 0;
	for (size_t i = 0; i < SLUICE_LEASE_SLOTS; i++) {
		const struct sluice_lease_slot *slot = &lease->slots[i];

		if (slot->set && slot->name == w->name && slot->expires > w->r->now &&
		    slot->generation >= w->world->generation)
			json_array_append_new(w->list, record_lease_slot(w->r, lease, slot));
	}
	return 0;
}

/* What the name has opened to the endpoint up to now. */
static json_t *live_leases(struct records *r, const struct explain_world *world, const struct explain_query *q)
{
	const struct sluice_settings *settings = pins_settings(r->pins);
	struct lease_walk w = { .r = r, .world = world, .list = json_array() };

	w.name = siphash24(q->name, q->name_len, (const uint64_t *)settings->name_key);
	pins_each(r->pins, PIN_LEASES, add_lease, &w);
	return w.list;
}

static void live_extras(struct records *r, const struct explain_world *world, const struct question *q, json_t *o)
{
	char name[256];

	json_object_set_new(o, "policy_id", out_hex(world->policy));
	if (q->query.is_name)
		json_object_set_new(o, "leases", live_leases(r, world, &q->query));
	if (q->answer.name && pins_name(r->pins, q->answer.name, name))
		json_object_set_new(o, "name", out_textz(name, sizeof(name)));
}

/* Do the rules that a deciding one beat mean anything, for an answer of this kind? */
static bool has_beaten(const struct explain_answer *a)
{
	return a->by == EXPLAIN_BY_RULE || a->by == EXPLAIN_BY_NAME_RULE || a->by == EXPLAIN_BY_NOTHING;
}

/*
 * The image in force holds the winners only: that is what makes one look-up enough. Who lost is the agent's to say, who
 * has the manifests and the cluster's objects, last good texts included.
 */
static void live_beaten(const struct ctl *ctl, struct records *r, uint32_t id, struct question *q)
{
	struct beaten_agent agent = { .socket = ctl->socket,
				      .endpoint = id,
				      .generation = pins_endpoints(r->pins, NULL)[id].generation };
	bool in_cluster = !q->query.is_name && live_cluster(r, &q->query.addr);
	struct beaten_source source = beaten_from_agent(&agent, in_cluster);
	struct image_source winner;
	bool decided = image_rule_source(q->img, q->answer.rule, &winner);
	int error;

	if (!has_beaten(&q->answer))
		return;
	error = beaten_rules(&source, &q->query, decided ? &winner : NULL, &q->beaten);
	json_decref(agent.answer);
	if (error == -ENOENT || error == -ECONNREFUSED)
		q->note = "not known, since no agent answers";
	else if (error < 0)
		q->note = "not known; the agent could not tell";
	else if (!agent.is_current)
		q->note = "by manifests or a cluster newer than the policy in force; see bpfctl policy get";
}

static enum ctl_exit run_live(const struct ctl *ctl, const struct ctl_args *args, struct question *q)
{
	_cleanup_records_ struct records r = {};
	struct explain_world world = { .find_lease = live_lease, .in_cluster = live_cluster, .context = &r };
	uint64_t state;
	uint32_t id;
	json_t *o;
	int error;

	if (records_open(ctl, &r) < 0)
		return CTL_UNREACHABLE;
	if (record_find_endpoint(&r, q->from, &id) < 0) {
		ctl_error("no endpoint '%s'; bpfctl endpoint list shows those there are", q->from);
		return CTL_UNREACHABLE;
	}
	state = __atomic_load_n(&pins_endpoints(r.pins, NULL)[id].state, __ATOMIC_ACQUIRE);
	q->mode = SLUICE_STATE_MODE(state);
	world.policy = SLUICE_STATE_POLICY(state);
	world.generation = __atomic_load_n(&pins_endpoints(r.pins, NULL)[id].generation, __ATOMIC_ACQUIRE);
	world.now = r.now;
	world.no_proxy = !(state & SLUICE_STATE_NAMES);
	if (q->mode == SLUICE_MODE_QUARANTINE || q->mode == SLUICE_MODE_OPEN) {
		explain_mode(q->mode, &q->answer);
	} else {
		error = images_get(r.images, world.policy, &q->img);
		if (error < 0) {
			ctl_error("cannot read the image of policy %llx in %s: %s", (unsigned long long)world.policy,
				  ctl->run_dir, strerror(-error));
			return CTL_UNREACHABLE;
		}
		explain(q->img, &world, &q->query, &q->answer);
		live_beaten(ctl, &r, id, q);
	}
	o = answer_json(q);
	json_decref(q->beaten);
	live_extras(&r, &world, q, o);
	return finish(ctl, args, o);
}

/* ---- from files --------------------------------------------------------------------------------------------------- */

static json_t *offline_refusals(const struct offline *off)
{
	json_t *list = json_array();

	for (size_t i = 0; i < off->diags.count; i++) {
		char line[1024];

		if (off->diags.items[i].level == DIAG_ERROR)
			json_array_append_new(list,
					      out_textz(diag_format(&off->diags.items[i], line, sizeof(line)), 1024));
	}
	return list;
}

static int offline_load(struct offline *off, const struct ctl_args *args)
{
	int r = offline_add(off, args->value[EXPLAIN_FILE]);

	for (size_t i = 0; r == 0 && i < args->noperands; i++)
		r = offline_add(off, args->operand[i]);
	return r;
}

/*
 * A Service's name stands for its addresses: ClusterIPs judged by the address rules, or the pods of a headless one, of
 * which one admitted is enough.
 */
static void explain_service(const struct offline *off, const struct explain_world *world, struct question *q)
{
	struct sluice_addr addrs[SERVICE_ADDRS];
	struct explain_answer of_name = q->answer;
	struct explain_query query = q->query;
	size_t n = q->query.is_name ? offline_service_addrs(off, q->query.name, addrs, ARRAY_SIZE(addrs)) : 0;

	query.is_name = false;
	for (size_t i = 0; i < n && q->answer.by != EXPLAIN_BY_REFUSAL; i++) {
		struct explain_answer a;

		query.addr = addrs[i];
		explain(q->img, world, &query, &a);
		if (i > 0 && (q->answer.allowed || !a.allowed))
			continue;
		a.has_askable = of_name.has_askable;
		a.askable = of_name.askable;
		a.ask_only = of_name.ask_only;
		q->answer = a;
		q->judged = query;
	}
}

/* 0 or -errno; `q` is answered then. */
static int offline_answer(struct offline *off, const struct subject *subject, struct offline_image *image,
			  struct question *q)
{
	struct explain_world world = offline_world(off, subject);
	struct beaten_files files = { off, subject };
	struct beaten_source source;
	struct image_source winner;
	bool decided;
	int r = offline_compile(off, subject, &off->diags, image);

	if (r < 0)
		return r;
	q->host_network = !offline_is_enforced(off, subject);
	q->mode = q->host_network ? SLUICE_MODE_OPEN : image->mode;
	if (!image->img || q->host_network) {
		explain_mode(q->mode, &q->answer);
		return 0;
	}
	q->img = image->img;
	q->judged = q->query;
	explain(q->img, &world, &q->query, &q->answer);
	explain_service(off, &world, q);
	if (!has_beaten(&q->answer))
		return 0;
	decided = image_rule_source(q->img, q->answer.rule, &winner);
	source = beaten_from_files(&files, &q->judged);
	return beaten_rules(&source, &q->judged, decided ? &winner : NULL, &q->beaten);
}

/* A few names, since it is mostly a slip of the pen. */
static void say_who(const struct fleet *f, const char *from)
{
	CLEANUP(strbuf_clear) struct strbuf b = {};

	for (size_t i = 0; i < f->count && i < 5; i++)
		strbuf_addf(&b, "%s%s/%s", i ? ", " : "", f->subjects[i].namespace_name, f->subjects[i].name);
	ctl_error("no endpoint '%s' among the endpoints and pods of the files given%s%s%s", from,
		  f->count ? "; there is " : "", b.len ? b.data : "", f->count > 5 ? ", ..." : "");
}

static enum ctl_exit run_offline(const struct ctl *ctl, const struct ctl_args *args, struct question *q)
{
	CLEANUP(offline_clear) struct offline off = {};
	CLEANUP(offline_image_clear) struct offline_image image = {};
	_cleanup_json_ json_t *refusals = NULL, *beaten = NULL;
	const struct subject *subject;
	int r;

	if (offline_set_cluster(&off, args->value[EXPLAIN_DOMAIN], args->value[EXPLAIN_CIDRS]) < 0)
		return CTL_USAGE;
	if (offline_load(&off, args) < 0)
		return CTL_UNREACHABLE;
	subject = fleet_find(&off.fleet, q->from);
	if (!subject) {
		say_who(&off.fleet, q->from);
		return CTL_UNREACHABLE;
	}
	r = offline_answer(&off, subject, &image, q);
	if (r < 0) {
		ctl_error("cannot compile the policy of %s: %s", q->from, strerror(-r));
		return CTL_UNREACHABLE;
	}
	beaten = q->beaten;
	if (q->answer.by == EXPLAIN_BY_REFUSAL)
		q->refusals = refusals = offline_refusals(&off);
	return finish(ctl, args, answer_json(q));
}

static enum ctl_exit run(const struct ctl *ctl, const struct ctl_args *args)
{
	struct question q = { .from = args->value[EXPLAIN_FROM], .to = args->value[EXPLAIN_TO] };

	if (!q.from || !q.to || !args->value[EXPLAIN_PORT])
		return ctl_usage("policy explain needs --from, --to and --port");
	if (args->noperands && !args->value[EXPLAIN_FILE])
		return ctl_usage("files are read with -f only");
	if ((args->value[EXPLAIN_DOMAIN] || args->value[EXPLAIN_CIDRS]) && !args->value[EXPLAIN_FILE])
		return ctl_usage("--cluster-domain and --service-cidrs go with -f");
	if (explain_parse_target(q.to, &q.query) < 0)
		return ctl_usage("'%s' is neither an address nor a host name", q.to);
	if (explain_parse_port(args->value[EXPLAIN_PORT], &q.query) < 0)
		return ctl_usage("'%s' is no port: N, N/TCP, N/UDP, N/SCTP, or a type as N/ICMP, N/ICMPv6",
				 args->value[EXPLAIN_PORT]);
	return args->value[EXPLAIN_FILE] ? run_offline(ctl, args, &q) : run_live(ctl, args, &q);
}

static const struct ctl_opt opts[] = {
	[EXPLAIN_FROM] = { 0, "from", "NAMESPACE/POD", "who sends (live: an endpoint id or an interface too)" },
	[EXPLAIN_TO] = { 0, "to", "HOST|ADDRESS", "to whom" },
	[EXPLAIN_PORT] = { 0, "port", "N[/PROTOCOL]", "TCP by default; for ICMP and ICMPv6 the type" },
	[EXPLAIN_FILE] = { 'f', "file", "FILE|DIR", "from manifests and endpoints or pods, not from this node", true },
	[EXPLAIN_EXIT_CODE] = { 'e', "exit-code", NULL, "exit 1 when the verdict is denied" },
	[EXPLAIN_DOMAIN] = OFFLINE_CLUSTER_DOMAIN_OPT,
	[EXPLAIN_CIDRS] = OFFLINE_SERVICE_CIDRS_OPT,
	{ 0 },
};

const struct ctl_command cmd_policy_explain = {
	.path = "policy explain",
	.operands = "[-f FILE|DIR...]",
	.max_operands = CTL_MAX_OPERANDS,
	.summary = "May this pod reach that host and port, and which rule says so?",
	.detail =
		"The verdict comes from the code the kernel runs, on the policy that is in force now. A host name that "
		"a\n"
		"name rule admits is allowed before it was ever resolved; one that no name rule lists gets the verdict "
		"of\n"
		"the rules for any address.\n\n"
		"With -f, the files hold manifests and the endpoints they are for: endpoints: documents, or Pods with "
		"the\n"
		"Namespaces, Nodes, Services and EndpointSlices around them. Live, the rules that the deciding one "
		"beat "
		"are\n"
		"the agent's to tell; without it, only the verdict and its rule are known.",
	.opts = opts,
	.run = run,
};
