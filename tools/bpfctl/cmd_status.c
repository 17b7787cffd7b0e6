/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One page on the node's state, warnings first. Everything is read from the pins; the agent is asked for what only it
 * knows (policies with their refusals) and its silence is no error, only news.
 */
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "bpf/abi_names.h"
#include "tools/bpfctl/client.h"
#include "tools/bpfctl/ctl.h"
#include "tools/bpfctl/out.h"
#include "tools/bpfctl/records.h"
#include "tools/bpfctl/tables.h"

#define FULL_PERCENT 90

struct page {
	const struct ctl *ctl;
	struct records r;
	json_t *root;
	json_t *warnings;
};

__attribute__((format(printf, 2, 3))) static void warn(struct page *p, const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;
	int r;

	va_start(ap, format);
	r = vasprintf(&text, format, ap);
	va_end(ap);
	if (r < 0)
		text = NULL;
	else
		json_array_append_new(p->warnings, out_textz(text, SIZE_MAX));
}

static json_t *age_json(uint64_t then, uint64_t now)
{
	if (then == 0)
		return json_null();
	return json_real(then > now ? 0.0 : (double)(now - then) / (double)NSEC_PER_SEC);
}

/* ---- agent and proxy ---------------------------------------------------------------------------------------------- */

static json_t *ask(struct page *p, const char *method)
{
	json_t *result = NULL;

	return client_call(p->ctl->socket, method, &result) < 0 ? NULL : result;
}

/* What the agent says of the node and of the interfaces it watches. */
static void warn_of_agent(struct page *p, const json_t *details)
{
	const json_t *interfaces = json_object_get(details, "interfaces");
	json_t *problem;
	size_t i;

	json_array_foreach(json_object_get(details, "problems"), i, problem)
		warn(p, "agent: %s", json_string_value(problem));
	if (json_is_false(json_object_get(interfaces, "realtime")))
		warn(p, "agent: closes new interfaces without real-time priority (CAP_SYS_NICE, and with cgroup v1 a "
			"cpu.rt_runtime_us): on a busy node a new pod may get more out before it is");
	if (get_number(interfaces, "failed"))
		warn(p, "%lld time(s) a pod's interface could not be closed; the agent's log says why",
		     (long long)get_number(interfaces, "failed"));
	if (get_number(interfaces, "without_slot"))
		warn(p,
		     "%lld interface(s) are in quarantine without an entry of their own: the table of endpoints is "
		     "full "
		     "(limits.endpoints)",
		     (long long)get_number(interfaces, "without_slot"));
}

/* Pods that were to be held and are not. Those that nobody asked for are in the list only. */
static void warn_of_host_pods(struct page *p, const json_t *list)
{
	json_t *pod;
	size_t i;

	json_array_foreach(list, i, pod)
	{
		if (!strcmp(get_text(pod, "state"), API_HOST_POD_NOT_ENFORCEABLE))
			warn(p, "host-network pod %s/%s: not enforceable: %s", get_text(pod, "namespace"),
			     get_text(pod, "name"), get_text(pod, "reason"));
	}
}

static void add_agent(struct page *p)
{
	const struct sluice_settings *settings = pins_settings(p->r.pins);
	bool alive = pins_agent_alive(p->r.pins, p->r.now);
	json_t *details = ask(p, API_METHOD_STATUS);
	json_t *o = json_pack("{s:b, s:o, s:b}", "running", alive || details, "heartbeat_ago_seconds",
			      age_json(settings->agent_heartbeat, p->r.now), "answers", details != NULL);

	if (!alive && !details)
		warn(p, "agent: not running; enforcement continues from the pins");
	else if (!alive)
		warn(p, "agent: answers on its socket, but its heartbeat in the kernel maps has stopped");
	else if (!details)
		warn(p, "agent: its heartbeat is there, but it does not answer on %s", p->ctl->socket);
	if (details) {
		warn_of_agent(p, details);
		warn_of_host_pods(p, json_object_get(json_object_get(details, "kubernetes"), "host_pods"));
		json_object_set_new(o, "details", details);
	}
	json_object_set_new(p->root, "agent", o);
	if (settings->flags & SLUICE_SETTING_AUDIT)
		warn(p, "enforcement: audit for every endpoint; nothing is dropped by policy");
}

static bool any_dns_endpoint(struct page *p)
{
	uint32_t count = 0;
	const struct sluice_endpoint *ep = pins_endpoints(p->r.pins, &count);

	for (uint32_t i = 0; ep && i < count; i++) {
		if (ep[i].generation && (ep[i].state & SLUICE_STATE_NAMES))
			return true;
	}
	return false;
}

static void add_proxy(struct page *p)
{
	const struct sluice_dns_stats *stats = pins_dns_stats(p->r.pins);
	bool alive = pins_proxy_alive(p->r.pins, p->r.now);
	uint64_t pid = stats ? stats->pid : 0;
	json_t *o = json_pack("{s:b, s:I, s:o, s:o}", "running", alive, "pid", (json_int_t)pid, "heartbeat_ago_seconds",
			      stats ? age_json(stats->heartbeat, p->r.now) : json_null(), "uptime_seconds",
			      stats && alive ? age_json(stats->started, p->r.now) : json_null());

	json_object_set_new(o, "confined", json_boolean(alive && pins_proxy_confined(p->r.pins)));

	if (stats) {
		_cleanup_json_ json_t *all = dns_stats_json(stats);

		json_object_update(o, all);
	}
	json_object_set_new(p->root, "dns_proxy", o);
	for (size_t i = 0; alive && stats && i < SLUICE_DNS_RESOLVERS; i++)
		if (stats->resolvers[i].port && stats->resolvers[i].down)
			warn(p, "dns proxy: resolver %zu does not answer; %s", i + 1,
			     "others are preferred until it does again");
	if (alive && !pins_proxy_confined(p->r.pins))
		warn(p, "dns proxy: no egress filter: it is not in a cgroup of its own, or cannot see it; its log says "
			"which");
	if (!alive && any_dns_endpoint(p))
		warn(p, "dns proxy: not running; queries of endpoints with name rules are dropped");
}

/* ---- endpoints and policies --------------------------------------------------------------------------------------- */

static void add_endpoints(struct page *p)
{
	uint32_t count = 0;
	const struct sluice_endpoint *ep = pins_endpoints(p->r.pins, &count);
	json_int_t modes[4] = { 0 }, total = 0, detached = 0;
	char pod[RECORD_POD_MAX];

	for (uint32_t i = 0; ep && i < count; i++) {
		int attached;

		if (!ep[i].generation)
			continue;
		total++;
		modes[SLUICE_STATE_MODE(ep[i].state)]++;
		attached = pins_endpoint_attached(p->r.pins, &ep[i]);
		if (attached != 0)
			continue;
		detached++;
		warn(p, "endpoint %u (%s): no program of ours is attached to its %s %llu", i,
		     record_pod(&p->r, i, ep[i].generation, pod), ep[i].cgroup ? "cgroup" : "interface",
		     ep[i].cgroup ? (unsigned long long)ep[i].cgroup : ep[i].ifindex);
	}
	if (modes[SLUICE_MODE_QUARANTINE])
		warn(p, "%lld endpoint(s) in quarantine: all their egress is dropped until they are identified",
		     (long long)modes[SLUICE_MODE_QUARANTINE]);
	json_object_set_new(p->root, "endpoints",
			    json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "total", total, "quarantine",
				      modes[SLUICE_MODE_QUARANTINE], "enforce", modes[SLUICE_MODE_ENFORCE], "audit",
				      modes[SLUICE_MODE_AUDIT], "open", modes[SLUICE_MODE_OPEN], "detached", detached));
}

/* Endpoints whose published policy has no image file: the proxy answers SERVFAIL for them and `explain` cannot read it. */
static void check_images(struct page *p)
{
	uint32_t count = 0;
	const struct sluice_endpoint *ep = pins_endpoints(p->r.pins, &count);

	for (uint32_t i = 0; ep && i < count; i++) {
		uint64_t policy = SLUICE_STATE_POLICY(ep[i].state);
		const struct image *img;
		int r;

		if (!ep[i].generation || policy == 0)
			continue;
		r = images_get(p->r.images, policy, &img);
		if (r < 0)
			warn(p, "endpoint %u: the image of its policy %llx cannot be read: %s", i,
			     (unsigned long long)policy, strerror(-r));
		else if (image_flags(img) & IMAGE_REFUSED)
			warn(p, "endpoint %u: a refused policy selects it; everything it sends is denied", i);
	}
}

static void add_policies(struct page *p)
{
	_cleanup_json_ json_t *list = ask(p, API_METHOD_POLICIES);
	_cleanup_free_ uint64_t *ids = NULL;
	json_int_t refused = 0;
	size_t images = 0, i;
	json_t *entry, *o = json_object();

	if (images_list(p->r.images, &ids, &images) == 0)
		json_object_set_new(o, "images", json_integer((json_int_t)images));
	json_object_set_new(p->root, "policies", o);
	check_images(p);
	if (!json_is_array(list))
		return;
	json_array_foreach(list, i, entry)
	{
		if (!get_flag(entry, "refused"))
			continue;
		refused++;
		warn(p, "policy %s is refused (%s:%lld)%s", get_text(entry, "policy"), get_text(entry, "file"),
		     (long long)get_number(entry, "line"),
		     get_flag(entry, "last_good") ? "; its last good text stays in force" : "");
	}
	json_object_set_new(o, "total", json_integer((json_int_t)json_array_size(list)));
	json_object_set_new(o, "refused", json_integer(refused));
}

/* ---- tables, drops, losses ---------------------------------------------------------------------------------------- */

static void add_tables(struct page *p)
{
	json_t *list = tables_json(p->r.pins), *o;
	size_t i;

	json_array_foreach(list, i, o)
	{
		int64_t used = get_number(o, "used"), max = get_number(o, "max");

		if (json_object_get(o, "error"))
			warn(p, "map %s cannot be read: %s", get_text(o, "name"), get_text(o, "error"));
		/* An LRU is full by nature, and the proxy's four sockets are meant to be all there. */
		else if (max && used * 100 >= max * FULL_PERCENT && strcmp(get_text(o, "name"), SLUICE_MAP_FRAGS) &&
			 strcmp(get_text(o, "name"), SLUICE_MAP_DNS_SOCKETS))
			warn(p, "table %s is %lld%% full (%lld of %lld); a full table denies", get_text(o, "name"),
			     (long long)(used * 100 / max), (long long)used, (long long)max);
	}
	json_object_set_new(p->root, "tables", list);
}

/* What nobody will see any more: events that found no room, records the rate held back. */
static void add_losses(struct page *p, const __u64 *totals)
{
	uint32_t count = 0;
	const struct sluice_dns_log_head *head = (const void *)pins_dns_log(p->r.pins, &count);
	uint64_t dns = head ? head->suppressed : 0;

	json_object_set_new(
		p->root, "losses",
		json_pack("{s:I, s:I, s:I, s:I}", "events_lost", (json_int_t)totals[SLUICE_TOTAL_EVENTS_LOST],
			  "events_suppressed", (json_int_t)totals[SLUICE_TOTAL_EVENTS_SUPPRESSED], "flows_full",
			  (json_int_t)totals[SLUICE_TOTAL_FLOWS_FULL], "dns_log_suppressed", (json_int_t)dns));
	if (totals[SLUICE_TOTAL_EVENTS_LOST])
		warn(p, "%llu flow event(s) lost: the ring buffer was full",
		     (unsigned long long)totals[SLUICE_TOTAL_EVENTS_LOST]);
	if (totals[SLUICE_TOTAL_FLOWS_FULL])
		warn(p, "%llu flow(s) found no room in the flow table or their endpoint's quota",
		     (unsigned long long)totals[SLUICE_TOTAL_FLOWS_FULL]);
}

static void add_totals(struct page *p)
{
	__u64 totals[SLUICE_TOTAL_MAX];
	uint64_t dropped = 0;
	json_t *o;

	if (pins_totals(p->r.pins, totals) < 0)
		return;
	json_object_set_new(p->root, "drops", record_drops(totals + SLUICE_TOTAL_DROPS, &dropped));
	o = totals_json(totals);
	json_object_set_new(o, "dropped", json_integer((json_int_t)dropped));
	json_object_set_new(p->root, "totals", o);
	add_losses(p, totals);
}

/* ---- the page in words -------------------------------------------------------------------------------------------- */

static void print_process(const char *title, const json_t *o)
{
	const json_t *ago = json_object_get(o, "heartbeat_ago_seconds");
	char age[OUT_AGE_MAX];

	printf("%-12s%s", title, get_flag(o, "running") ? "running" : "not running");
	if (get_number(o, "pid") && get_flag(o, "running"))
		printf(", pid %lld", (long long)get_number(o, "pid"));
	if (json_is_number(ago))
		printf(", last heartbeat %s ago", out_age(json_number_value(ago), age));
	putchar('\n');
}

static void print_counts(const char *title, const json_t *object)
{
	const char *key;
	json_t *value;
	bool any = false;

	json_object_foreach((json_t *)object, key, value)
	{
		if (!json_integer_value(value))
			continue;
		printf("%-12s%-42s%lld\n", any ? "" : title, key, (long long)json_integer_value(value));
		any = true;
	}
	if (!any)
		printf("%-12snone\n", title);
}

/* Bounds of the histogram's buckets, so "within", not "is". */
static void print_latency(const json_t *latency)
{
	static const unsigned int percents[] = { 50, 99 };

	if (get_number(latency, "count") == 0)
		return;
	printf("%-12s", "dns latency");
	for (size_t i = 0; i < ARRAY_SIZE(percents); i++) {
		int64_t us = dns_latency_bound(latency, percents[i]);

		printf("%s%u%% within ", i ? ", " : "", percents[i]);
		if (us < 0)
			printf("more than 5 s");
		else
			printf("%g ms", (double)us / 1000);
	}
	printf(", of %lld answers\n", (long long)get_number(latency, "count"));
}

static void print_resolvers(const json_t *list)
{
	static const struct out_column columns[] = {
		{ "RESOLVER", "address", OUT_PLAIN }, { "PORT", "port", OUT_PLAIN },
		{ "SENT", "sent", OUT_RIGHT },	      { "ANSWERS", "answers", OUT_RIGHT },
		{ "ERRORS", "errors", OUT_RIGHT },    { "TIMEOUTS", "timeouts", OUT_RIGHT },
		{ "FAILED", "failures", OUT_RIGHT },  { "DOWN", "down", OUT_PLAIN },
	};

	if (json_array_size(list) == 0)
		return;
	putchar('\n');
	out_table(stdout, columns, ARRAY_SIZE(columns), list);
}

static void print_policies(const json_t *o)
{
	printf("policies    ");
	if (json_object_get(o, "total"))
		printf("%lld (%lld refused), ", (long long)get_number(o, "total"), (long long)get_number(o, "refused"));
	printf("%lld compiled\n", (long long)get_number(o, "images"));
}

static void print_interfaces(const json_t *o)
{
	if (!o)
		return;
	printf("interfaces  %lld guarded, %lld of them of nobody known; %lld closed when announced, %lld repaired\n",
	       (long long)get_number(o, "guarded"), (long long)get_number(o, "unknown"),
	       (long long)get_number(o, "closed_at_announcement"), (long long)get_number(o, "repaired"));
}

/* Each of them that is not enforced, with its reason. */
static void print_host_pods(const json_t *list)
{
	size_t held = 0, i;
	json_t *pod;

	json_array_foreach(list, i, pod) held += !strcmp(get_text(pod, "state"), API_HOST_POD_ENFORCED);
	if (json_array_size(list))
		printf("host pods   %zu on the node's own network, %zu of them enforced\n", json_array_size(list),
		       held);
	json_array_foreach(list, i, pod)
	{
		if (strcmp(get_text(pod, "state"), API_HOST_POD_ENFORCED) != 0)
			printf("            %s/%s: %s: %s\n", get_text(pod, "namespace"), get_text(pod, "name"),
			       get_text(pod, "state"), get_text(pod, "reason"));
	}
}

static void print_page(const json_t *root)
{
	static const struct out_column columns[] = {
		{ "TABLE", "name", OUT_PLAIN },
		{ "USED", "used", OUT_RIGHT },
		{ "MAX", "max", OUT_RIGHT },
	};
	const json_t *ep = json_object_get(root, "endpoints"), *proxy = json_object_get(root, "dns_proxy");
	const json_t *details = json_object_get(json_object_get(root, "agent"), "details");
	json_t *warning;
	size_t i;

	json_array_foreach(json_object_get(root, "warnings"), i, warning)
		printf("WARNING: %s\n", json_string_value(warning));
	print_process("agent", json_object_get(root, "agent"));
	print_process("dns proxy", json_object_get(root, "dns_proxy"));
	printf("endpoints   %lld: %lld enforce, %lld audit, %lld open, %lld quarantine\n",
	       (long long)get_number(ep, "total"), (long long)get_number(ep, "enforce"),
	       (long long)get_number(ep, "audit"), (long long)get_number(ep, "open"),
	       (long long)get_number(ep, "quarantine"));
	print_interfaces(json_object_get(details, "interfaces"));
	print_host_pods(json_object_get(json_object_get(details, "kubernetes"), "host_pods"));
	print_policies(json_object_get(root, "policies"));
	print_counts("drops", json_object_get(root, "drops"));
	print_counts("totals", json_object_get(root, "totals"));
	print_counts("losses", json_object_get(root, "losses"));
	print_counts("dns", json_object_get(proxy, "counts"));
	print_counts("dns rcodes", json_object_get(proxy, "rcodes"));
	print_counts("dns types", json_object_get(proxy, "qtypes"));
	print_latency(json_object_get(proxy, "latency_us"));
	print_resolvers(json_object_get(proxy, "resolvers"));
	putchar('\n');
	out_table(stdout, columns, ARRAY_SIZE(columns), json_object_get(root, "tables"));
}

static enum ctl_exit run(const struct ctl *ctl, const struct ctl_args *args)
{
	_cleanup_json_ json_t *root = json_object();
	struct page page = { .ctl = ctl, .root = root, .warnings = json_array() };
	struct ctl quiet = *ctl;

	(void)args;
	quiet.json = true; /* the note on a missing agent is among the warnings here */
	json_object_set_new(root, "warnings", page.warnings);
	if (records_open(&quiet, &page.r) < 0)
		return CTL_UNREACHABLE;
	add_agent(&page);
	add_proxy(&page);
	add_endpoints(&page);
	add_policies(&page);
	add_totals(&page);
	add_tables(&page);
	records_close(&page.r);
	if (ctl->json)
		return out_json(json_incref(root));
	print_page(root);
	return CTL_OK;
}

const struct ctl_command cmd_status = {
	.path = "status",
	.operands = "",
	.summary = "The node on one page, warnings first",
	.run = run,
};
