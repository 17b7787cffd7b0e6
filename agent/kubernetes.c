/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * A pod is put on the interface that sluice-cni claimed for its uid, with the addresses that the CNI gave it: the kubelet tells
 * the API of these only when the CNI is done. A claim goes with its interface. What is claimed for a pod is no other's, whatever
 * routes and names say, and a claim of a pod that the watch does not know yet waits for it.
 *
 * When the API has addresses later that the CNI did not give, one of the two is wrong, and the pod is in quarantine.
 *
 * Without a claim (the plugin is not installed, or an earlier agent was told) a pod is put on an interface when the API has its
 * address: on the one that a host route to it leads to or, without any such route, on the one that the CNI names after it. That
 * name is the same for a pod that was made anew (hazard 28), so what is on it may only use the address that the API has: another
 * pod's packets drop for their source. A pod that is being deleted keeps the interface it has, and is put on no other: its
 * address may be another's before the API has that one's.
 *
 * At a start the cluster is what it was last known to be (kube/keeper.c), until the first word of the API; from there until the
 * last kind was heard nothing changes. Of a pod that is only known from before, no address finds an interface, since others may
 * have it by now: it is where the CNI claims it, or where the kernel's table has it from an earlier agent of the same boot.
 */
#include "agent/kubernetes.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/aws_agent.h"
#include "agent/diag_log.h"
#include "agent/kube/keeper.h"
#include "agent/kube/report.h"
#include "agent/kube/source.h"
#include "agent/kube/uninstall.h"
#include "agent/kube/world.h"
#include "agent/metrics.h"
#include "agent/troubles.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#define KUBECONFIG_MAX (1u << 20)
#define NODE_NAME_MAX  256

/* What endpoints and inventory were made of. */
enum taken {
	TAKEN_NOTHING = 0,
	TAKEN_RESTORED,
	TAKEN_HEARD,
};

struct kubernetes {
	struct kube_http *http;
	struct kube_source *source;
	struct kube_uninstall *uninstall; /* NULL: of no namespace, so no chart has installed it */
	struct kube_report *report;	  /* NULL: nothing is said */
	struct host_pods *host_pods;
	const struct endpoints *endpoints; /* as of the last refresh; NULL: there was none */
	struct kube_keeper *keeper;
	bool restored; /* from the keeper's file */
	enum taken taken;
	char node[NODE_NAME_MAX];
	char cluster[KUBE_CLUSTER_MAX];
	bool links_changed;
	/* As of the last refresh: */
	struct kube_world world;
	size_t claimed;	     /* pods on an interface by the CNI's word */
	size_t contradicted; /* and by nobody's, since the API's is another */
	struct troubles troubles;
	const struct store *store;
	struct aws_agent aws;
	bool aws_stale;	   /* pods or policies changed since it was looked for */
	uint64_t patience; /* with a pod in quarantine, until users are told */
	void (*changed)(void *context);
	void *context;
	void (*ended)(void *context);
	void *ended_context;
};

/* ---- start ------------------------------------------------------------------------------------------------------- */

static int read_kubeconfig(const char *path, struct kube_access **ret)
{
	_cleanup_free_ char *text = NULL;
	struct diags diags = {};
	size_t len;
	int r = file_read(AT_FDCWD, path, KUBECONFIG_MAX, &text, &len);

	if (r < 0) {
		log_error("kubernetes.kubeconfig: %s: %s", path, strerror(-r));
		return r;
	}
	r = kube_access_read(path, text, len, &diags, ret);
	diag_log(&diags);
	diags_clear(&diags);
	return r;
}

static int find_access(const struct config *config, struct kube_access **ret)
{
	int r;

	if (config->kubeconfig[0])
		return read_kubeconfig(config->kubeconfig, ret);
	r = kube_access_in_cluster(getenv("KUBERNETES_SERVICE_HOST"), getenv("KUBERNETES_SERVICE_PORT"),
				   KUBE_SECRETS_DIR, ret);
	if (r < 0)
		log_error("kubernetes.enabled: no service account in " KUBE_SECRETS_DIR
			  " and no kubernetes.kubeconfig: %s",
			  strerror(-r));
	return r;
}

static int find_node(const struct config *config, char ret[NODE_NAME_MAX])
{
	const char *name = config->node_name[0] ? config->node_name : getenv("NODE_NAME");

	if (name && *name)
		return snprintf(ret, NODE_NAME_MAX, "%s", name) < NODE_NAME_MAX ? 0 : -ENAMETOOLONG;
	ret[NODE_NAME_MAX - 1] = '\0';
	return gethostname(ret, NODE_NAME_MAX - 1) < 0 ? -errno : 0;
}

void kubernetes_freep(struct kubernetes **k)
{
	if (!*k)
		return;
	kube_report_freep(&(*k)->report);
	kube_uninstall_freep(&(*k)->uninstall);
	host_pods_freep(&(*k)->host_pods);
	kube_keeper_freep(&(*k)->keeper);
	kube_source_freep(&(*k)->source);
	kube_http_freep(&(*k)->http);
	troubles_clear(&(*k)->troubles);
	aws_agent_clear(&(*k)->aws);
	free(*k);
	*k = NULL;
}

static void on_changed(void *context)
{
	struct kubernetes *k = context;

	k->changed(k->context);
}

static void see_node(void *context, json_t *node)
{
	kube_report_see_node(((struct kubernetes *)context)->report, node);
}

static int start_report(struct kubernetes *k, sd_event *event, const struct config *config, const char *namespace_name)
{
	const struct kube_report_wish wish = { namespace_name ? namespace_name : "kube-system", k->node,
					       config->kubernetes_status, config->startup_taint };
	int r;

	if (!wish.status && !wish.startup_taint[0])
		return 0;
	r = kube_report_new(event, k->http, kube_source_policies(k->source), &wish, &k->report);
	if (r < 0)
		return r;
	kube_source_see_node(k->source, see_node, k);
	kubernetes_configure(k, config);
	return 0;
}

static void on_host_pods_changed(void *context)
{
	struct kubernetes *k = context;

	kubernetes_links_changed(k);
	k->changed(k->context);
}

static int open_host_pods(struct kubernetes *k, sd_event *event, const struct config *config, struct kernel *kernel)
{
	const struct host_pods_settings settings = {
		.enforce = config->enforce_host_network,
		.own_namespace = getenv("POD_NAMESPACE"),
		.own_service_account = getenv("POD_SERVICE_ACCOUNT"),
		.kernel = kernel,
	};

	return host_pods_new(event, &settings, on_host_pods_changed, k, &k->host_pods);
}

/* Before the loop runs, so nothing was heard yet. */
static int restore(sd_event *event, const struct config *config, int accepted, struct kubernetes *k)
{
	const struct kube_keeper_places places = { config->state_dir, config->run_dir, accepted, k->node, k->cluster };
	int r = kube_keeper_new(event, &places, k->source, &k->keeper);

	if (r < 0)
		return r;
	k->restored = kube_keeper_load(k->keeper);
	if (k->restored)
		on_changed(k);
	return 0;
}

int kubernetes_open(sd_event *event, const struct config *config, struct kernel *kernel, struct store *store,
		    int accepted, void (*changed)(void *context), void *context, struct kubernetes **ret)
{
	CLEANUP(kubernetes_freep) struct kubernetes *k = calloc(1, sizeof(*k));
	_cleanup_free_ char *namespace_name = NULL;
	struct kube_access *access = NULL;
	int r = k ? find_node(config, k->node) : -ENOMEM;

	if (r == 0)
		r = find_access(config, &access);
	if (r < 0)
		return r;
	k->changed = changed;
	k->context = context;
	k->store = store;
	k->patience = (config->cni.wait_seconds + 1) * NSEC_PER_SEC;
	kube_access_cluster(access, k->cluster);
	namespace_name = access->namespace ? strdup(access->namespace) : NULL;
	r = kube_http_new(event, access, &k->http);
	if (r == 0)
		r = kube_source_new(event, k->http, k->node, store, accepted, on_changed, k, &k->source);
	if (r == 0 && namespace_name)
		r = kube_uninstall_new(event, k->http, namespace_name, &k->uninstall);
	if (r == 0)
		r = restore(event, config, accepted, k);
	if (r == 0)
		r = start_report(k, event, config, namespace_name);
	if (r == 0)
		r = open_host_pods(k, event, config, kernel);
	if (r < 0) {
		log_error("kubernetes: %s", strerror(-r));
		return r;
	}
	log_info("node %s of the cluster at %s", k->node, kube_http_server(k->http));
	*ret = TAKE_PTR(k);
	return 0;
}

void kubernetes_configure(struct kubernetes *k, const struct config *config)
{
	if (k->report)
		kube_report_set_audit(k->report, config->audit);
}

static void on_reported(void *context)
{
	struct kubernetes *k = context;

	kube_uninstall_end(k->uninstall, k->ended, k->ended_context);
}

void kubernetes_end(struct kubernetes *k, void (*ended)(void *context), void *context)
{
	k->ended = ended;
	k->ended_context = context;
	if (k->report)
		kube_report_end(k->report, on_reported, k);
	else
		on_reported(k);
}

bool kubernetes_synced(const struct kubernetes *k)
{
	return kube_source_synced(k->source);
}

bool kubernetes_uninstalled(const struct kubernetes *k)
{
	return kube_uninstall_is(k->uninstall, clock_now());
}

static bool is_whole(const struct kubernetes *k)
{
	return kube_source_synced(k->source) || (k->restored && !kube_source_heard(k->source));
}

bool kubernetes_known(const struct kubernetes *k)
{
	return k->taken && is_whole(k);
}

void kubernetes_write_unsynced(const struct kubernetes *k, struct strbuf *out)
{
	strbuf_adds(out, "the cluster's API was not heard whole yet");
	if (k->restored)
		strbuf_addf(out, "; until then the cluster is as it was %lld s ago",
			    (long long)kube_keeper_age(k->keeper));
}

void kubernetes_move(struct kubernetes *k, struct store *store)
{
	k->store = store;
	if (kube_policies_move(kube_source_policies(k->source), store) < 0)
		log_error("out of memory; some of the cluster's policies are not in force");
}

/* ---- pods on interfaces ------------------------------------------------------------------------------------------ */

struct join {
	const struct discover *discover;
	const struct kube_cache *cache;
	struct host_pods *host_pods;
	const struct endpoints *endpoints; /* by the kernel's table */
	bool restored;			   /* what is known is from before, and so are its addresses */
	size_t claimed;
	size_t contradicted;
	struct troubles troubles;
};

static void set_addresses(struct static_endpoint *to, const struct sluice_addr *addrs, size_t naddrs)
{
	to->naddrs = naddrs < SLUICE_ENDPOINT_ADDRS ? naddrs : SLUICE_ENDPOINT_ADDRS;
	if (to->naddrs)
		memcpy(to->addrs, addrs, to->naddrs * sizeof(*addrs));
}

/* By the CNI's word, where the API's does not contradict it. */
static bool join_claim(struct join *j, const struct kube_pod *pod, struct claim *c, struct static_endpoint *ret)
{
	const struct subject *s = pod->subject;

	if (claim_contradicted(c, s->addrs, s->naddrs)) {
		if (!c->told)
			log_warning(
				"%s/%s: the API has other addresses of it than the CNI gave it on %s: in quarantine",
				s->namespace_name, s->name, ret->interface);
		c->told = true;
		j->contradicted++;
		troubles_add(&j->troubles, pod, "the API has other addresses of it than the CNI plugin gave it");
		return false;
	}
	c->told = false;
	if (c->naddrs)
		set_addresses(ret, c->addrs, c->naddrs);
	else if (!j->restored)
		set_addresses(ret, s->addrs, s->naddrs);
	j->claimed += ret->naddrs != 0;
	return ret->naddrs != 0;
}

/* On the interface that it has in the kernel's table, while it is that one. */
static bool join_known(const struct endpoints *known, const struct kube_pod *pod, struct static_endpoint *ret)
{
	const struct subject *s = pod->subject;

	for (size_t i = 0; i < endpoints_count(known); i++) {
		const struct endpoint *ep = endpoints_at(known, i);
		const struct static_endpoint *w = &ep->wanted;

		if (!ep->id || w->cgroup || strcmp(w->namespace_name, s->namespace_name) != 0 ||
		    strcmp(w->name, s->name) != 0 || (w->uid && strcmp(w->uid, pod->cni_uid) != 0) ||
		    if_nametoindex(w->interface) != ep->place.ifindex)
			continue;
		snprintf(ret->interface, sizeof(ret->interface), "%s", w->interface);
		set_addresses(ret, w->addrs, w->naddrs);
		return w->naddrs != 0;
	}
	return false;
}

static bool join(void *context, const struct kube_pod *pod, struct static_endpoint *ret)
{
	const struct subject *s = pod->subject;
	struct join *j = context;
	struct claim *claim = discover_claim(j->discover, pod->cni_uid, s->namespace_name, s->name, ret->interface);

	if (claim)
		return join_claim(j, pod, claim, ret);
	/* The address of one that is being deleted may be another's by now, whose interface a route to it leads to. */
	if (j->restored || pod->deleting)
		return join_known(j->endpoints, pod, ret);
	set_addresses(ret, s->addrs, s->naddrs);
	/* Its sandbox is still to come. */
	if (s->naddrs == 0)
		return false;
	if (*discover_interface(j->discover, s->namespace_name, s->name, s->addrs, s->naddrs, ret->interface))
		return true;
	troubles_add(&j->troubles, pod, "no interface of the node is known to have its addresses");
	return false;
}

static bool join_more(void *context, const char *interface, size_t i, struct static_endpoint *ret)
{
	return discover_sibling(((struct join *)context)->discover, interface, i, ret);
}

static int join_host(void *context, const struct kube_pod *pod, struct static_endpoint *ret)
{
	struct join *j = context;

	return host_pods_place(j->host_pods, pod, kube_cache_namespace(j->cache, pod->subject->namespace_name), ret);
}

static void join_refuse(void *context, const struct kube_pod *pod, const char *why)
{
	troubles_add(&((struct join *)context)->troubles, pod, why);
}

void kubernetes_note_before(const struct kubernetes *k, struct claim *claim)
{
	struct kube_pod pod;

	if (kube_cache_pod(kube_source_cache(k->source), claim->namespace_name, claim->name, &pod) &&
	    !strcmp(pod.cni_uid, claim->uid))
		claim_note_before(claim, pod.subject->addrs, pod.subject->naddrs);
}

void kubernetes_links_changed(struct kubernetes *k)
{
	k->links_changed = true;
}

bool kubernetes_refresh(struct kubernetes *k, struct endpoints *e, const struct discover *d)
{
	struct kube_cache *cache = kube_source_cache(k->source);
	struct kube_policies *policies = kube_source_policies(k->source);
	bool synced = kube_source_synced(k->source);
	struct join found = {
		.discover = d, .endpoints = e, .restored = !synced, .cache = cache, .host_pods = k->host_pods
	};
	const struct kube_join how = { &found, join, join_more, join_host, join_refuse };
	struct endpoints_file *wanted = NULL;
	bool changed;

	if (!is_whole(k))
		return false;
	if (k->report && synced)
		kube_report_poke(k->report);
	kube_source_want_all_pods(k->source, kube_policies_count(policies) > 0);
	changed = kube_policies_take_changed(policies);
	changed = kube_cidrs_take_changed(kube_source_cidrs(k->source)) || changed;
	k->aws_stale = k->aws_stale || changed || kube_cache_changed(cache);
	if (synced && (changed || kube_cache_changed(cache)))
		kube_keeper_changed(k->keeper);
	/* What was placed by the state from before is placed by the API's word at the first. */
	if (k->taken == (synced ? TAKEN_HEARD : TAKEN_RESTORED) && !kube_cache_changed(cache) && !k->links_changed)
		return changed;
	host_pods_begin(k->host_pods);
	if (kube_world_new(cache, &how, &wanted, &k->world) < 0) {
		log_error("out of memory; endpoints and inventory stay as they are");
		troubles_clear(&found.troubles);
		return changed;
	}
	host_pods_end(k->host_pods, e, &wanted->endpoints);
	k->endpoints = e;
	troubles_clear(&k->troubles);
	k->troubles = found.troubles;
	k->links_changed = false;
	k->claimed = found.claimed;
	k->contradicted = found.contradicted;
	endpoints_want(e, wanted, "the cluster");
	k->taken = synced ? TAKEN_HEARD : TAKEN_RESTORED;
	return true;
}

bool kubernetes_host_pod(const struct kubernetes *k, size_t i, struct host_pod_view *ret)
{
	return host_pods_view(k->host_pods, k->endpoints, i, ret);
}

void kubernetes_tell(struct kubernetes *k, const struct endpoints *e, const struct kernel *kernel, bool ready)
{
	const struct troubles_input in = { kube_source_cache(k->source), e, kernel, k->patience };
	struct host_pod_view host;

	if (!kube_source_synced(k->source))
		return;
	if (k->aws_stale)
		aws_agent_look(&k->aws, in.cache, k->store);
	k->aws_stale = false;
	if (!k->report)
		return;
	kube_report_set_ready(k->report, ready);
	kube_report_events_begin(k->report);
	troubles_tell(&k->troubles, &in, k->report);
	aws_agent_tell(&k->aws, k->report);
	for (size_t i = 0; k->endpoints && kubernetes_host_pod(k, i, &host); i++)
		troubles_tell_host(in.cache, &host, k->report);
	kube_report_events_end(k->report);
}

void kubernetes_problems(const struct kubernetes *k, json_t *list)
{
	aws_agent_problems(&k->aws, list);
}

size_t kubernetes_service_cidrs(const struct kubernetes *k, const struct config *config,
				const struct sluice_prefix **ret)
{
	return kube_cidrs_join(kube_source_cidrs(k->source), config->service_cidrs, config->nservice_cidrs, ret);
}

/* ---- cluster DNS ------------------------------------------------------------------------------------------------- */

size_t kubernetes_dns(const struct kubernetes *k, struct proxy_resolver *ret, size_t max)
{
	const struct inventory_service *s = kube_cache_service(kube_source_cache(k->source), "kube-system", "kube-dns");
	size_t n = 0;

	for (size_t i = 0; s && i < s->naddrs && n < max; i++)
		ret[n++] = (struct proxy_resolver){ .addr = s->addrs[i], .port = 53 };
	return n;
}

/* ---- what is said of it ------------------------------------------------------------------------------------------ */

json_t *kubernetes_json(const struct kubernetes *k)
{
	struct kube_reflector_state s;
	struct kube_cache_stats stats;
	json_t *list = json_array(), *o;

	for (size_t i = 0; kube_source_state(k->source, i, &s); i++)
		json_array_append_new(list, json_pack("{s:s, s:b, s:b, s:b, s:s, s:I}", "path", s.path, "synced",
						      s.synced, "watching", s.watching, "absent", s.absent, "error",
						      s.error, "failures", (json_int_t)s.failures));
	kube_cache_get_stats(kube_source_cache(k->source), &stats);
	o = json_pack("{s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "server",
		      kube_http_server(k->http), "node", k->node, "synced", kube_source_synced(k->source), "pods",
		      (json_int_t)k->world.pods, "unjoined", (json_int_t)k->world.unjoined, "claimed",
		      (json_int_t)k->claimed, "contradicted", (json_int_t)k->contradicted, "host_network",
		      (json_int_t)k->world.host_network, "known_pods", (json_int_t)stats.count[KUBE_POD], "policies",
		      (json_int_t)kube_policies_count(kube_source_policies(k->source)), "unreadable",
		      (json_int_t)stats.refused, "collections", list, "uninstall",
		      kube_uninstall_json(k->uninstall, clock_now()), "state", kube_keeper_json(k->keeper));
	if (k->report)
		json_object_set_new(o, "report", kube_report_json(k->report));
	json_object_set_new(o, "host_pods", host_pods_json(k->host_pods, k->endpoints));
	return o;
}

static void counter(struct strbuf *out, const char *name, const char *help, uint64_t value)
{
	metrics_head(out, name, "counter", help);
	metrics_value(out, name, "", value);
}

static void gauge(struct strbuf *out, const char *name, const char *help, uint64_t value)
{
	metrics_head(out, name, "gauge", help);
	metrics_value(out, name, "", value);
}

static void report_metrics(const struct kube_report *r, struct strbuf *out)
{
	struct kube_report_stats s;

	kube_report_get_stats(r, &s);
	gauge(out, "sluice_kubernetes_lease_held", "1: this node writes the conditions of policies.", s.held);
	counter(out, "sluice_kubernetes_conditions_total", "Policies whose conditions were written.", s.conditions);
	counter(out, "sluice_kubernetes_condition_failures_total", "Policies whose conditions could not be written.",
		s.condition_failures);
	gauge(out, "sluice_kubernetes_startup_taint", "1: the startup taint is still on this node.", s.tainted);
	gauge(out, "sluice_kubernetes_troubles", "What is amiss now and has an Event, or is to have one.",
	      s.events.lasting);
	counter(out, "sluice_kubernetes_events_total", "Events written, and that they go on.", s.events.written);
	counter(out, "sluice_kubernetes_events_dropped_total", "Events never written: too many, or over before.",
		s.events.dropped);
}

static void pod_metrics(const struct kubernetes *k, struct strbuf *out)
{
	gauge(out, "sluice_kubernetes_aws_agent", "1: AWS's network policy agent is turned on on this node.",
	      k->aws.there);
	gauge(out, "sluice_kubernetes_pods_dropped_by_aws", "Pods that it drops everything of.", k->aws.dropped.count);
}

void kubernetes_metrics(const struct kubernetes *k, struct strbuf *out)
{
	struct kube_reflector_state s;
	uint64_t failures = 0;

	for (size_t i = 0; kube_source_state(k->source, i, &s); i++)
		failures += s.failures;
	gauge(out, "sluice_kubernetes_synced", "1: the API was heard once, all of it.", kube_source_synced(k->source));
	gauge(out, "sluice_kubernetes_pods", "Pods of this node on networks of their own.", k->world.pods);
	gauge(out, "sluice_kubernetes_pods_unjoined", "Of those, without a known interface: in quarantine.",
	      k->world.unjoined);
	gauge(out, "sluice_kubernetes_pods_contradicted", "Of those, with other addresses by the API than by the CNI.",
	      k->contradicted);
	host_pods_metrics(k->host_pods, k->endpoints, out);
	pod_metrics(k, out);
	counter(out, "sluice_kubernetes_request_failures_total", "Requests to the API that failed.", failures);
	counter(out, "sluice_kubernetes_state_failures_total", "Times the last known state could not be kept.",
		kube_keeper_failures(k->keeper));
	if (k->report)
		report_metrics(k->report, out);
}

const char *kubernetes_policy_message(const struct kubernetes *k, const char *file)
{
	return kube_policies_message(kube_source_policies(k->source), file);
}
