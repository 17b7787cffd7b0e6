/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * One thread with one sd-event loop, beside that of closer.c, which does one thing. Every piece of news (a file, a link, an
 * address, a signal, a request to reload) only
 * says that something may have changed; a moment later `refresh` compares what there is with what was last taken in,
 * and applies the difference. So news may be repeated, bundled or lost to an overflow without harm.
 *
 * What is broken stays out: the configuration, the endpoints file and each policy keep their last good text.
 *
 * Ending it changes nothing in the kernel: verdicts are made there.
 */
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "agent/api.h"
#include "agent/api_server.h"
#include "agent/arrival.h"
#include "agent/cni_install.h"
#include "agent/config.h"
#include "agent/diag_log.h"
#include "agent/discover.h"
#include "agent/endpoints.h"
#include "agent/firewall.h"
#include "agent/kernel.h"
#include "agent/kubernetes.h"
#include "agent/metrics.h"
#include "agent/net.h"
#include "agent/notrack.h"
#include "agent/observe.h"
#include "agent/policy_dir.h"
#include "agent/privs.h"
#include "agent/proxy_settings.h"
#include "agent/publish.h"
#include "agent/status.h"
#include "agent/sweep.h"
#include "agent/trace.h"
#include "agent/watch.h"
#include "agent/web.h"
#include "base/addr.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"

#define FILE_MAX      (64u << 20)
#define SETTLE_USEC   20000 /* news come in bundles */
#define LINKS_USEC    20000 /* the same for interfaces, which are closed meanwhile */
#define CLAIM_USEC    2000  /* somebody waits for what comes of it */
#define CLUSTER_USEC  2000  /* and for what the API says, while it says much */
#define CLUSTER_QUIET (20 * NSEC_PER_MSEC)
#define TICK_USEC     100000
#define SECOND_TICKS  10
#define SWEEP_SECONDS 5
#define SWEEP_WHOLE   6 /* sweeps of the flows to one of everything */
#define AGENT_NICE    (-10)

struct agent {
	const char *config_path;
	struct config *config;
	char *config_text; /* as last read, good or bad */
	char *endpoints_text;
	struct kernel *kernel;
	struct publisher *publisher;
	struct endpoints *endpoints;
	struct policy_dir *policies;
	int accepted; /* RUNDIR/policies */
	struct proxy_settings proxy;
	bool proxy_told; /* of its settings, since this start */
	struct net *net;
	struct notrack *notrack; /* NULL: the kernel cannot */
	int notrack_error;
	struct firewall *firewall; /* NULL: the kernel has none to ask */
	struct arrival arrival;
	struct discover *discover;
	struct watch *watch;
	struct observe *observe;
	struct sweep *sweep;
	struct api_server *api;
	struct web *web;
	struct kubernetes *kubernetes; /* NULL: files instead */
	struct cni_install *cni;       /* NULL: the node's CNI configuration is not ours to change */
	sd_event *event;
	sd_event_source *settle;
	sd_event_source *links_settle;
	sd_event_source *cluster_settle;
	uint64_t cluster_taken; /* when the API's news were last */
	struct sluice_addr *node;
	size_t nnode;
	size_t quarantined;
	unsigned int pins_repaired;
	struct strbuf problems; /* of the node's settings, one a line */
	bool config_refused;	/* as it stands there now; what is in force is older */
	bool endpoints_refused;
	bool ending;
	bool node_changed;
	bool apply_again; /* something could not be put in force: tried again every sweep */
	unsigned int ticks;
	uint64_t started;
};

/* ---- over HTTP ------------------------------------------------------------------------------------------------- */

static struct status status_of(const struct agent *a)
{
	return (struct status){
		.kernel = a->kernel,
		.publisher = a->publisher,
		.endpoints = a->endpoints,
		.observe = a->observe,
		.config_path = a->config_path,
		.policy_dir = policy_dir_path(a->policies),
		.store = policy_dir_store(a->policies),
		.proxy = &a->proxy,
		.problems = a->problems.data,
		.quarantined = a->quarantined,
		.pins_repaired = a->pins_repaired,
		.discover = a->discover,
		.audit = a->config->audit,
		.started = a->started,
	};
}

static void answer_metrics(void *context, struct strbuf *out)
{
	const struct agent *a = context;
	const struct status s = status_of(a);

	metrics_write(&s, out);
	if (a->kubernetes)
		kubernetes_metrics(a->kubernetes, out);
	if (a->cni)
		cni_install_metrics(a->cni, out);
}

/* Without a cluster the first pass is over before anything is asked. */
static bool answer_ready(void *context, struct strbuf *out)
{
	const struct agent *a = context;

	if (a->kubernetes && !kubernetes_synced(a->kubernetes))
		kubernetes_write_unsynced(a->kubernetes, out);
	else if (a->cni && !cni_install_in_force(a->cni))
		strbuf_addf(out, "pods start without sluice-cni: %s", cni_install_problem(a->cni));
	else
		return true;
	return false;
}

/* Its absence is seen by whoever scrapes; enforcement does not wait for it. */
static void open_web(struct agent *a)
{
	const struct web_handlers handlers = { a, answer_metrics, answer_ready };
	const char *listen = a->config->metrics_listen;
	int r = 0;

	web_freep(&a->web);
	if (*listen)
		r = web_open(a->event, listen, &handlers, &a->web);
	if (r < 0)
		log_error("metrics.listen: %s: %s; there are no metrics", listen, strerror(-r));
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

/*
 * The file's text when it is another one than `*last`, which takes it over (NULL: it cannot be read). 1: another; 0:
 * the same; -errno: it cannot be read, and could before, or at first.
 */
static int read_changed(const char *path, char **last)
{
	char *text = NULL;
	size_t len;
	int r = file_read(AT_FDCWD, path, FILE_MAX, &text, &len);

	if (r == 0 && memchr(text, '\0', len)) {
		free(text);
		r = -EINVAL;
	}
	if (r < 0) {
		bool was = *last == NULL || strcmp(*last, "") != 0;

		free(*last);
		*last = strdup("");
		return was ? r : 0;
	}
	if (*last && strcmp(*last, text) == 0) {
		free(text);
		return 0;
	}
	free(*last);
	*last = text;
	return 1;
}

/* Of read_changed(). */
static const char *why_unread(int r)
{
	if (r == -EINVAL)
		return "it holds a NUL byte, and is no text";
	return r == -ENOTSUP ? "it is no file, but a pipe or a device" : strerror(-r);
}

static int read_config(const char *path, const char *text, struct config **ret)
{
	struct diags diags = {};
	int r = config_read(path, text, strlen(text), &diags, ret);

	diag_log(&diags);
	diags_clear(&diags);
	return r;
}

/* A file that is missing, cannot be read or is wrong leaves everything as it is. */
static void refresh_endpoints_file(struct agent *a)
{
	const char *path = a->config->endpoints_file;
	struct endpoints_file *wanted = NULL;
	struct diags diags = {};
	int r = read_changed(path, &a->endpoints_text);

	if (r < 0)
		log_error("%s: %s; endpoints and inventory stay as they are", path, why_unread(r));
	if (r < 0)
		a->endpoints_refused = r != -ENOENT;
	if (r <= 0)
		return;
	r = endpoints_file_read(path, a->endpoints_text, strlen(a->endpoints_text), &diags, &wanted);
	diag_log(&diags);
	diags_clear(&diags);
	a->endpoints_refused = r < 0;
	if (r < 0)
		log_error("%s: not taken; endpoints and inventory stay as they are", path);
	else
		endpoints_want(a->endpoints, wanted, path);
}

static int watch_files(struct agent *a)
{
	int r;

	watch_clear(a->watch);
	r = watch_add_parent(a->watch, a->config_path);
	if (r == 0)
		r = watch_add_parent(a->watch, a->config->endpoints_file);
	if (r == 0)
		r = watch_add(a->watch, a->config->policy_dir);
	if (r == 0)
		r = watch_add_parent(a->watch, "/etc/resolv.conf");
	if (r == 0 && a->cni)
		r = cni_install_watch(a->cni, a->watch);
	return r;
}

/* The new directory is read whole before it takes the old one's place. */
static void change_policy_dir(struct agent *a, const char *path)
{
	struct policy_dir *fresh = NULL;
	int r = policy_dir_new(path, a->accepted, &fresh);

	if (r == 0)
		r = policy_dir_scan(fresh);
	if (r < 0) {
		log_error("policyDir %s: %s; the policies of %s stay in force", path, strerror(-r),
			  policy_dir_path(a->policies));
		policy_dir_freep(&fresh);
		return;
	}
	policy_dir_freep(&a->policies);
	a->policies = fresh;
	if (a->kubernetes)
		kubernetes_move(a->kubernetes, policy_dir_store(fresh));
	a->apply_again = true;
}

static void take_config(struct agent *a, struct config *fresh)
{
	char keys[512];
	bool listens;

	config_restart_keys(a->config, fresh, keys, sizeof(keys));
	if (keys[0])
		log_warning("%s: %s changed; obeyed at the next start", a->config_path, keys);
	if (strcmp(fresh->endpoints_file, a->config->endpoints_file) != 0) {
		free(a->endpoints_text);
		a->endpoints_text = NULL;
	}
	if (strcmp(fresh->flows_file, a->config->flows_file) != 0)
		observe_set_file(a->observe, fresh->flows_file);
	listens = strcmp(fresh->metrics_listen, a->config->metrics_listen) == 0;
	a->apply_again = true;
	config_freep(&a->config);
	a->config = fresh;
	discover_configure(a->discover, &fresh->interfaces);
	if (a->kubernetes)
		kubernetes_configure(a->kubernetes, fresh);
	if (!listens)
		open_web(a);
	if (strcmp(policy_dir_path(a->policies), fresh->policy_dir) != 0)
		change_policy_dir(a, fresh->policy_dir);
	watch_files(a);
	log_info("%s: taken in", a->config_path);
}

static void refresh_config(struct agent *a)
{
	struct config *fresh = NULL;
	int r = read_changed(a->config_path, &a->config_text);

	if (r < 0)
		log_error("%s: %s; the configuration stays", a->config_path, why_unread(r));
	if (r < 0)
		a->config_refused = true;
	if (r <= 0)
		return;
	a->config_refused = read_config(a->config_path, a->config_text, &fresh) < 0;
	if (a->config_refused)
		log_error("%s: not taken; the configuration stays", a->config_path);
	else
		take_config(a, fresh);
}

/* ---- bringing together ------------------------------------------------------------------------------------------- */

static void refresh_node(struct agent *a)
{
	struct sluice_addr *addrs = NULL;
	size_t count = 0;
	int r = net_addresses(a->net, &addrs, &count);

	if (r < 0) {
		log_warning("the node's addresses cannot be read: %s", strerror(-r));
		return;
	}
	if (count != a->nnode || (count && memcmp(addrs, a->node, count * sizeof(*addrs)) != 0))
		a->apply_again = true;
	free(a->node);
	a->node = addrs;
	a->nnode = count;
}

static void ensure_routing(struct agent *a)
{
	unsigned int added = 0;
	int r = net_ensure_routing(a->net, &added);

	if (r < 0)
		log_error("the rules and routes that lead DNS to the proxy: %s", strerror(-r));
	else if (added && a->api)
		log_warning("%u rule(s) or route(s) that lead DNS to the proxy were gone; they are put back", added);
}

/* What the kernel lacks, it lacks for good; anything else is tried again and stays among the problems meanwhile. */
static void ensure_notrack(struct agent *a)
{
	bool made = false;
	int r = a->notrack ? notrack_ensure(a->notrack, &made) : a->notrack_error;

	if (r < 0 && r != a->notrack_error)
		log_warning("connection tracking cannot be kept off DNS: %s", strerror(-r));
	else if (made && a->api)
		log_warning("the table that keeps connection tracking off DNS was gone or changed; it is put back");
	a->notrack_error = r;
	if (notrack_is_lacking(r))
		notrack_freep(&a->notrack);
}

static struct endpoints_input input_of(const struct agent *a)
{
	struct endpoints_input in = {
		.store = policy_dir_store(a->policies),
		.node = a->node,
		.nnode = a->nnode,
		.resolvers = a->proxy.resolvers,
		.nresolvers = a->proxy.nresolvers,
		.service_cidrs = a->config->service_cidrs,
		.nservice_cidrs = a->config->nservice_cidrs,
		.cluster_domain = a->config->dns.cluster_domain[0] ? a->config->dns.cluster_domain : NULL,
		.audit = a->config->audit,
	};

	if (a->kubernetes)
		in.nservice_cidrs = kubernetes_service_cidrs(a->kubernetes, a->config, &in.service_cidrs);
	return in;
}

/* Is all that policies depend on known? Until then what an earlier agent put in force stays, and new pods are closed. */
static bool may_apply(const struct agent *a)
{
	return !a->kubernetes || kubernetes_known(a->kubernetes);
}

static void apply(struct agent *a)
{
	const struct endpoints_input in = input_of(a);
	uint64_t failures = publisher_failures(a->publisher);

	kernel_configure(a->kernel, a->config, endpoints_count(a->endpoints));
	a->quarantined = endpoints_apply(a->endpoints, &in);
	a->apply_again = publisher_failures(a->publisher) != failures;
}

/* At a fixed time from the first news, or a stream of them would put it off for ever. */
static void run_in(sd_event_source *source, uint64_t usec)
{
	int enabled = SD_EVENT_OFF;

	sd_event_source_get_enabled(source, &enabled);
	if (enabled != SD_EVENT_OFF)
		return;
	sd_event_source_set_time_relative(source, usec);
	sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* What does not come from files. `changed`: something that did has. */
static void reconcile(struct agent *a, bool changed)
{
	if (a->node_changed)
		refresh_node(a);
	a->node_changed = false;
	changed = endpoints_reconcile(a->endpoints) || changed;
	a->apply_again |= changed;
	if (a->apply_again && may_apply(a))
		apply(a);
	if (discover_run(a->discover) && a->links_settle)
		run_in(a->links_settle, LINKS_USEC);
}

static void refresh_proxy_settings(struct agent *a)
{
	struct proxy_resolver cluster[PROXY_MAX_RESOLVERS];
	struct proxy_settings fresh;
	size_t n = 0;

	if (!may_apply(a))
		return;
	if (a->kubernetes)
		n = kubernetes_dns(a->kubernetes, cluster, ARRAY_SIZE(cluster));
	a->proxy_told = true;
	proxy_settings_write(a->kernel, publisher_dir(a->publisher), a->config, cluster, n, &fresh);
	a->apply_again |= memcmp(fresh.resolvers, a->proxy.resolvers, sizeof(fresh.resolvers)) != 0;
	memcpy(&a->proxy, &fresh, sizeof(fresh));
}

static void refresh(struct agent *a)
{
	int r;

	refresh_config(a);
	if (a->cni)
		cni_install_refresh(a->cni);
	if (!a->kubernetes)
		refresh_endpoints_file(a);
	r = policy_dir_scan(a->policies);
	if (r < 0)
		log_error("policyDir %s: %s; the policies in force stay", policy_dir_path(a->policies), strerror(-r));
	refresh_proxy_settings(a);
	reconcile(a, r > 0);
}

static void refresh_cluster(struct agent *a)
{
	bool changed = kubernetes_refresh(a->kubernetes, a->endpoints, a->discover);

	/* The first refresh may find that it must hear more before anything may be put in force; the next sees no change then. */
	if (changed || !a->proxy_told)
		refresh_proxy_settings(a);
	reconcile(a, changed);
}

static int on_settled(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)source;
	(void)usec;
	refresh(userdata);
	return 0;
}

static int on_links_settled(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct agent *a = userdata;

	(void)source;
	(void)usec;
	if (a->kubernetes) {
		kubernetes_links_changed(a->kubernetes);
		refresh_cluster(a);
	} else {
		reconcile(a, false);
	}
	return 0;
}

static int on_cluster_settled(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct agent *a = userdata;

	(void)source;
	(void)usec;
	refresh_cluster(a);
	a->cluster_taken = clock_now();
	return 0;
}

static void refresh_soon(struct agent *a)
{
	run_in(a->settle, SETTLE_USEC);
}

/* A change by itself waits for no other. */
static void on_cluster_changed(void *context)
{
	struct agent *a = context;
	bool quiet = clock_now() - a->cluster_taken > CLUSTER_QUIET;

	run_in(a->cluster_settle, quiet ? 0 : CLUSTER_USEC);
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

static int on_files(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct agent *a = userdata;

	(void)source;
	(void)fd;
	(void)events;
	if (watch_read(a->watch))
		refresh_soon(a);
	return 0;
}

static int on_net(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct agent *a = userdata;
	struct net_news news = {};

	(void)source;
	(void)fd;
	(void)events;
	if (net_read_news(a->net, &news) < 0)
		return 0;
	if (news.routing)
		ensure_routing(a);
	a->node_changed |= news.addresses;
	if (news.addresses)
		run_in(a->links_settle, LINKS_USEC);
	return 0;
}

static int on_links(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct agent *a = userdata;

	(void)source;
	(void)fd;
	(void)events;
	if (discover_read(a->discover))
		run_in(a->links_settle, LINKS_USEC);
	return 0;
}

static int on_hangup(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	(void)source;
	(void)info;
	refresh_soon(userdata);
	return 0;
}

static void on_ended(void *context)
{
	struct agent *a = context;

	sd_event_exit(a->event, 0);
}

/* A second signal does not wait for what is still to be said. */
static int on_terminate(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	struct agent *a = userdata;

	(void)source;
	(void)info;
	if (a->kubernetes && !a->ending)
		kubernetes_end(a->kubernetes, on_ended, a);
	else
		on_ended(a);
	a->ending = true;
	return 0;
}

/* Would a pod that starts now be held to its policy from its first packet? */
static bool is_protected(struct agent *a)
{
	struct strbuf why = {};
	bool ready = answer_ready(a, &why);

	strbuf_clear(&why);
	return ready && !a->apply_again && !endpoints_waiting(a->endpoints);
}

static void sweep(struct agent *a, uint64_t now)
{
	if (a->ticks % (SWEEP_WHOLE * SWEEP_SECONDS * SECOND_TICKS) != 0) {
		sweep_flows(a->sweep, now);
		return;
	}
	sweep_run(a->sweep, now);
	/* What lists and passes took for a moment goes back to the node. */
	malloc_trim(0);
}

static void each_second(struct agent *a)
{
	uint64_t now = clock_now();

	__atomic_store_n(&a->kernel->settings->agent_heartbeat, now, __ATOMIC_RELEASE);
	ensure_routing(a);
	ensure_notrack(a);
	discover_check(a->discover);
	endpoints_repair_cgroups(a->endpoints);
	if (endpoints_moved(a->endpoints))
		reconcile(a, false);
	if (a->kubernetes)
		kubernetes_tell(a->kubernetes, a->endpoints, a->kernel, is_protected(a));
	publisher_collect(a->publisher, now);
	if (watch_retry(a->watch))
		refresh_soon(a);
	if (a->ticks % (SWEEP_SECONDS * SECOND_TICKS) == 0) {
		sweep(a, now);
		a->pins_repaired += kernel_check_pins(a->kernel);
		strbuf_clear(&a->problems);
		net_preflight(&a->problems);
		arrival_look(&a->arrival, a->kernel, now);
		arrival_problems(&a->arrival, a->firewall, &a->problems);
		if (a->notrack_error < 0)
			strbuf_addf(&a->problems, "DNS may be tracked and rewritten: %s\n",
				    strerror(-a->notrack_error));
		if (a->cni && *cni_install_problem(a->cni))
			strbuf_addf(&a->problems, "cni: %s\n", cni_install_problem(a->cni));
		endpoints_watch_cgroups(a->endpoints);
		if (a->apply_again || endpoints_waiting(a->endpoints))
			refresh_soon(a);
	}
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct agent *a = userdata;

	(void)usec;
	observe_tick(a->observe);
	if (a->ticks % SECOND_TICKS == 0)
		each_second(a);
	discover_idle(a->discover, clock_now());
	a->ticks++;
	sd_event_source_set_time_relative(source, TICK_USEC);
	sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static void add_refused(const struct agent *a, json_t *problems)
{
	if (a->config_refused)
		json_array_append_new(problems,
				      json_sprintf("%s is not taken, the log says why; the configuration is as "
						   "it was before",
						   a->config_path));
	if (a->endpoints_refused)
		json_array_append_new(problems,
				      json_sprintf("%s is not taken, the log says why; endpoints and inventory "
						   "are as they were before",
						   a->config->endpoints_file));
}

static json_t *answer_status(void *context)
{
	const struct agent *a = context;
	const struct status s = status_of(a);
	json_t *answer = status_json(&s);

	add_refused(a, json_object_get(answer, "problems"));
	if (a->kubernetes) {
		json_object_set_new(answer, "kubernetes", kubernetes_json(a->kubernetes));
		kubernetes_problems(a->kubernetes, json_object_get(answer, "problems"));
	}
	if (a->cni)
		json_object_set_new(answer, "cni", cni_install_json(a->cni));
	return answer;
}

static json_t *answer_endpoints(void *context)
{
	return status_endpoints_json(((const struct agent *)context)->endpoints);
}

static json_t *answer_policies(void *context)
{
	const struct agent *a = context;
	json_t *list = policy_dir_json(a->policies), *entry;
	size_t i;

	/* What the cluster's objects are told is told by path, not by line. */
	json_array_foreach(list, i, entry)
	{
		const char *message =
			a->kubernetes ? kubernetes_policy_message(a->kubernetes,
								  json_string_value(json_object_get(entry, "file")))
				      : "";

		if (*message)
			json_array_append_new(json_object_get(entry, "diagnostics"), json_string(message));
	}
	return list;
}

static json_t *answer_interface(void *context, const json_t *request, const char **ret_error)
{
	struct discover_request wanted = { json_string_value(json_object_get(request, "name")), NULL };
	struct agent *a = context;
	struct claim claim;
	int r = claim_read(request, &claim, ret_error);
	bool news = false;
	json_t *answer;

	if (!wanted.interface)
		*ret_error = "no \"name\"";
	if (!wanted.interface || r < 0)
		return NULL;
	/* Without a cluster endpoints have no uid to be found by. */
	if (r > 0 && a->kubernetes) {
		kubernetes_note_before(a->kubernetes, &claim);
		wanted.claim = &claim;
	}
	answer = discover_interface_json(a->discover, &wanted, &news);
	if (news)
		run_in(a->links_settle, CLAIM_USEC);
	return answer;
}

static void do_reload(void *context)
{
	refresh(context);
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void agent_clear(struct agent *a)
{
	kubernetes_freep(&a->kubernetes);
	cni_install_freep(&a->cni);
	web_freep(&a->web);
	api_server_freep(&a->api);
	sweep_freep(&a->sweep);
	observe_freep(&a->observe);
	discover_freep(&a->discover);
	endpoints_freep(&a->endpoints);
	publisher_freep(&a->publisher);
	policy_dir_freep(&a->policies);
	closep(&a->accepted);
	kernel_freep(&a->kernel);
	net_freep(&a->net);
	notrack_freep(&a->notrack);
	firewall_freep(&a->firewall);
	watch_freep(&a->watch);
	sd_event_source_disable_unref(a->settle);
	sd_event_source_disable_unref(a->links_settle);
	sd_event_source_disable_unref(a->cluster_settle);
	sd_event_unref(a->event);
	config_freep(&a->config);
	free(a->config_text);
	free(a->endpoints_text);
	free(a->node);
	strbuf_clear(&a->problems);
}

static int start_config(struct agent *a)
{
	int r = read_changed(a->config_path, &a->config_text);

	if (r < 0) {
		log_error("%s: %s", a->config_path, why_unread(r));
		return r;
	}
	return read_config(a->config_path, a->config_text, &a->config);
}

static int open_accepted(const char *run_dir, int *ret)
{
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/" API_ACCEPTED_DIR, run_dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	if ((mkdir(run_dir, 0755) < 0 && errno != EEXIST) || (mkdir(path, 0700) < 0 && errno != EEXIST))
		return -errno;
	*ret = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *ret < 0 ? -errno : 0;
}

/* Without its policies an agent would open what they close, so there is no start without the directory. */
static int start_policies(struct agent *a)
{
	int r = open_accepted(a->config->run_dir, &a->accepted);

	if (r == 0)
		r = policy_dir_new(a->config->policy_dir, a->accepted, &a->policies);
	if (r == 0)
		r = policy_dir_scan(a->policies);
	if (r < 0)
		log_error("policyDir %s: %s", a->config->policy_dir, strerror(-r));
	return r < 0 ? r : 0;
}

static int start_kernel(struct agent *a)
{
	int r = kernel_open(a->config, &a->kernel);

	if (r < 0)
		return r;
	r = publisher_open(a->kernel, a->config->run_dir, &a->publisher);
	if (r < 0) {
		log_error("runDir %s: %s", a->config->run_dir, strerror(-r));
		return r;
	}
	r = endpoints_open(a->kernel, a->publisher, &a->endpoints);
	if (r == 0)
		r = observe_new(a->kernel, a->publisher, &a->observe);
	if (r == 0)
		r = sweep_new(a->kernel, &a->sweep);
	if (r < 0)
		log_error("start: %s", strerror(-r));
	return r;
}

/* Before everything else that waits: until it has its programs, a new interface is open. */
static int start_links(struct agent *a)
{
	sd_event_source *news = NULL;
	int r = sd_event_add_io(a->event, &news, discover_fd(a->discover), EPOLLIN, on_links, a);

	if (r >= 0)
		r = sd_event_source_set_priority(news, SD_EVENT_PRIORITY_IMPORTANT);
	if (r >= 0)
		r = sd_event_source_set_floating(news, true);
	sd_event_source_unref(news);
	if (r >= 0)
		r = sd_event_add_time_relative(a->event, &a->links_settle, CLOCK_MONOTONIC, 0, 1000, on_links_settled,
					       a);
	if (r >= 0)
		r = sd_event_source_set_enabled(a->links_settle, SD_EVENT_OFF);
	return r < 0 ? r : 0;
}

static int start_sources(struct agent *a)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP };
	sigset_t mask;
	int r = sd_event_new(&a->event);

	sigemptyset(&mask);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		sigaddset(&mask, signals[i]);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	if (r >= 0)
		r = sd_event_add_signal(a->event, NULL, SIGTERM, on_terminate, a);
	if (r >= 0)
		r = sd_event_add_signal(a->event, NULL, SIGINT, on_terminate, a);
	if (r >= 0)
		r = sd_event_add_signal(a->event, NULL, SIGHUP, on_hangup, a);
	if (r >= 0)
		r = sd_event_add_io(a->event, NULL, watch_fd(a->watch), EPOLLIN, on_files, a);
	if (r >= 0)
		r = sd_event_add_io(a->event, NULL, net_news_fd(a->net), EPOLLIN, on_net, a);
	if (r >= 0)
		r = sd_event_add_time_relative(a->event, NULL, CLOCK_MONOTONIC, 0, 1000, on_tick, a);
	if (r >= 0)
		r = sd_event_add_time_relative(a->event, &a->settle, CLOCK_MONOTONIC, 0, 1000, on_settled, a);
	if (r >= 0)
		r = sd_event_source_set_enabled(a->settle, SD_EVENT_OFF);
	return r < 0 ? r : start_links(a);
}

static int start_kubernetes(struct agent *a)
{
	int r;

	if (!a->config->kubernetes)
		return 0;
	r = sd_event_add_time_relative(a->event, &a->cluster_settle, CLOCK_MONOTONIC, 0, 1, on_cluster_settled, a);
	if (r >= 0)
		r = sd_event_source_set_enabled(a->cluster_settle, SD_EVENT_OFF);
	if (r < 0)
		return r;
	return kubernetes_open(a->event, a->config, a->kernel, policy_dir_store(a->policies), a->accepted,
			       on_cluster_changed, a, &a->kubernetes);
}

static int start_net(struct agent *a)
{
	int r = net_open(&a->net);

	if (r == 0 && a->config->cni.install)
		r = cni_install_new(a->config, NULL, &a->cni);
	if (r == 0)
		r = watch_new(&a->watch);
	if (r == 0)
		r = watch_files(a);
	if (r == 0)
		r = discover_open(a->kernel, a->endpoints, &a->config->interfaces, &a->discover);
	if (r < 0) {
		log_error("start: %s", strerror(-r));
		return r;
	}
	refresh_node(a);
	ensure_routing(a);
	r = notrack_open(&a->notrack);
	if (r < 0 && !notrack_is_lacking(r)) {
		log_error("start: %s", strerror(-r));
		return r;
	}
	ensure_notrack(a);
	firewall_open(&a->firewall);
	net_preflight(&a->problems);
	arrival_problems(&a->arrival, a->firewall, &a->problems);
	for (const char *line = a->problems.data; line && *line; line = strchr(line, '\n') + 1)
		log_warning("%.*s", (int)strcspn(line, "\n"), line);
	return 0;
}

static json_t *answer_trace(void *context, const json_t *request, const char **ret_error)
{
	struct agent *a = context;
	const struct endpoints_input in = input_of(a);

	return trace_answer(a->endpoints, &in, request, ret_error);
}

static int start_api(struct agent *a)
{
	const struct api_handlers handlers = {
		.context = a,
		.status = answer_status,
		.endpoints = answer_endpoints,
		.policies = answer_policies,
		.interface = answer_interface,
		.trace = answer_trace,
		.reload = do_reload,
		.observe = a->observe,
	};
	int r = api_server_open(a->event, a->config->socket, &handlers, &a->api);

	if (r == 0)
		observe_set_listener(a->observe, api_server_line, a->api);
	return r;
}

static int start(struct agent *a)
{
	int r = start_config(a);

	if (r == 0)
		r = start_policies(a);
	if (r == 0)
		r = start_kernel(a);
	if (r == 0)
		r = start_net(a);
	/* Without CAP_SYS_NICE it stays as it is. What cannot wait has a thread of its own (closer.c). */
	setpriority(PRIO_PROCESS, 0, AGENT_NICE);
	if (r == 0)
		r = privs_drop();
	if (r == 0)
		r = start_sources(a);
	if (r == 0)
		r = start_kubernetes(a);
	if (r < 0)
		return r;
	if (a->config->flows_file[0])
		observe_set_file(a->observe, a->config->flows_file);
	a->apply_again = true;
	refresh(a);
	open_web(a);
	return start_api(a);
}

int agent_check(const char *config_path)
{
	CLEANUP(agent_clear) struct agent a = { .config_path = config_path, .accepted = -1 };

	return start_config(&a);
}

int agent_run(const char *config_path)
{
	CLEANUP(agent_clear) struct agent a = { .config_path = config_path, .accepted = -1, .started = clock_now() };
	int r = start(&a);

	if (r < 0)
		return r;
	log_info("running: %zu endpoint(s), %zu polic%s in force, programs attached by %s",
		 endpoints_count(a.endpoints), store_policy_count(policy_dir_store(a.policies)),
		 store_policy_count(policy_dir_store(a.policies)) == 1 ? "y" : "ies",
		 a.kernel->attach == ATTACH_TCX ? "TCX" : "clsact");
	sd_notify(0, "READY=1");
	r = sd_event_loop(a.event);
	sd_notify(0, "STOPPING=1");
	__atomic_store_n(&a.kernel->settings->agent_heartbeat, 0, __ATOMIC_RELEASE);
	if (r >= 0 && a.kubernetes && kubernetes_uninstalled(a.kubernetes))
		return AGENT_UNINSTALLED;
	log_info("ending; what is in force stays in force");
	return r < 0 ? r : 0;
}
