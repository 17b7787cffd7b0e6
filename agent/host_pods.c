/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * The kubelet makes a pod's cgroup before its containers, and no CNI plugin is called that could wait for us. The folder is news
 * by inotify, and is looked for every second besides while a pod waits for it. It gets its programs at that very news, and they
 * drop everything until the pod's policy is in force. What is left open is the time from the folder to the news, in which a
 * kubelet makes the pod's sandbox; and a pod that the API tells of only after its folder, until it does.
 *
 * A pod that its cgroup does not hold is put under its policy all the same, since programs that can be got past stop most of
 * what is tried, and is said to be not enforceable.
 *
 * What decides who is held: the pod's label, else its namespace's, else the configuration, which never speaks for kube-system and
 * for Sluice itself. A policy for everybody would cut off kube-proxy, and with it the node.
 */
#include "agent/host_pods.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "agent/api.h"
#include "agent/cgroup_programs.h"
#include "agent/metrics.h"
#include "agent/pod_cgroup.h"
#include "base/cgroup.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "policy/array.h"

#define LABEL	   "sluice.dev/host-network"
#define ENFORCE	   "enforce"
#define CHECK_USEC 1000000

struct host_pod {
	char *namespace_name;
	char *name;
	char *uid;
	char *cgroup;  /* NULL: it has none, as far as is known */
	uint64_t id;   /* of the cgroup */
	uint64_t shut; /* the one that got its programs at its news; 0: none */
	int missing;   /* why there is no cgroup: -errno */
	char *escape;  /* NULL: its manifest lets it do nothing of the kind */
	char *told;    /* the reason that was logged last */
	bool wanted;
	bool seen;	  /* in this refresh */
	char reason[128]; /* why it is not wanted */
};

struct host_pods {
	struct host_pods_settings settings;
	struct pod_cgroups *cgroups;
	struct host_pod *items;
	size_t count;
	bool scanned; /* in this pass */
	sd_event_source *news;
	sd_event_source *timer;
	void (*changed)(void *context);
	void *context;
};

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void pod_clear(struct host_pod *p)
{
	free(p->namespace_name);
	free(p->name);
	free(p->uid);
	free(p->cgroup);
	free(p->escape);
	free(p->told);
}

void host_pods_freep(struct host_pods **h)
{
	if (!*h)
		return;
	for (size_t i = 0; i < (*h)->count; i++)
		pod_clear(&(*h)->items[i]);
	free((*h)->items);
	sd_event_source_disable_unref((*h)->news);
	sd_event_source_disable_unref((*h)->timer);
	pod_cgroups_freep(&(*h)->cgroups);
	free(*h);
	*h = NULL;
}

/* ---- folders ----------------------------------------------------------------------------------------------------- */

static int find_folder(struct host_pods *h, const char *uid, char path[PATH_MAX], uint64_t *ret_id)
{
	uint32_t level;
	int r = pod_cgroups_find(h->cgroups, uid, path, PATH_MAX);

	if (r < 0 && r != -EINVAL && !h->scanned) {
		h->scanned = true;
		pod_cgroups_scan(h->cgroups);
		r = pod_cgroups_find(h->cgroups, uid, path, PATH_MAX);
	}
	return r < 0 ? r : cgroup_identify(path, ret_id, &level);
}

/* What fails here is tried again, and told, when the endpoint is put there. */
static void shut(struct host_pods *h, struct host_pod *p, const char *path, uint64_t id)
{
	if (id != p->shut && cgroup_programs_shut(h->settings.kernel, path, id) == 0)
		p->shut = id;
}

/* Of a pod that is not to be held after all. If it is an endpoint, that is over too. */
static void let_go(struct host_pods *h, struct host_pod *p)
{
	if (p->shut)
		cgroup_programs_detach(h->settings.kernel, p->shut);
	p->shut = 0;
}

static bool has_moved(struct host_pods *h, struct host_pod *p)
{
	char path[PATH_MAX];
	uint64_t id = 0;
	int r = p->wanted ? find_folder(h, p->uid, path, &id) : 0;

	if (!p->wanted || (r == p->missing && id == p->id))
		return false;
	if (r == 0)
		shut(h, p, path, id);
	return true;
}

static void check_folders(struct host_pods *h)
{
	bool moved = false;

	h->scanned = false;
	for (size_t i = 0; i < h->count; i++)
		moved = has_moved(h, &h->items[i]) || moved;
	if (moved)
		h->changed(h->context);
}

static int on_news(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
	struct host_pods *h = userdata;

	(void)source;
	(void)fd;
	(void)events;
	pod_cgroups_read(h->cgroups);
	check_folders(h);
	return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
	(void)usec;
	check_folders(userdata);
	sd_event_source_set_time_relative(source, CHECK_USEC);
	return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int host_pods_new(sd_event *event, const struct host_pods_settings *settings, void (*changed)(void *context),
		  void *context, struct host_pods **ret)
{
	CLEANUP(host_pods_freep) struct host_pods *h = calloc(1, sizeof(*h));
	int r = h ? pod_cgroups_new(settings->root, &h->cgroups) : -ENOMEM;

	if (r < 0)
		return r;
	h->settings = *settings;
	h->changed = changed;
	h->context = context;
	r = sd_event_add_io(event, &h->news, pod_cgroups_fd(h->cgroups), EPOLLIN, on_news, h);
	if (r >= 0)
		r = sd_event_add_time_relative(event, &h->timer, CLOCK_MONOTONIC, CHECK_USEC, 0, on_timer, h);
	if (r >= 0)
		r = sd_event_source_set_enabled(h->timer, SD_EVENT_OFF);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(h);
	return 0;
}

/* ---- who is held ------------------------------------------------------------------------------------------------- */

static const char *label_of(const struct label *labels, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (!strcmp(labels[i].key, LABEL))
			return labels[i].value;
	}
	return NULL;
}

static bool is_own(const struct host_pods_settings *s, const struct subject *pod)
{
	return s->own_namespace && s->own_service_account && pod->service_account &&
	       !strcmp(pod->namespace_name, s->own_namespace) && !strcmp(pod->service_account, s->own_service_account);
}

static bool is_wanted(const struct host_pods *h, const struct subject *pod, const struct inventory_namespace *ns,
		      char *reason, size_t size)
{
	const char *value = label_of(pod->labels, pod->nlabels);

	if (!value && ns)
		value = label_of(ns->labels, ns->nlabels);
	reason[0] = '\0';
	if (value && strcmp(value, ENFORCE) != 0)
		snprintf(reason, size, "its label " LABEL " is '%s', not '" ENFORCE "'", value);
	else if (value)
		return true;
	else if (!h->settings.enforce)
		snprintf(reason, size, "it has no label " LABEL ": " ENFORCE);
	else if (!strcmp(pod->namespace_name, "kube-system"))
		snprintf(reason, size, "it is of kube-system, and has no label " LABEL ": " ENFORCE);
	else if (is_own(&h->settings, pod))
		snprintf(reason, size, "it is Sluice's own, and has no label " LABEL ": " ENFORCE);
	else
		return true;
	return false;
}

/* ---- a refresh --------------------------------------------------------------------------------------------------- */

void host_pods_begin(struct host_pods *h)
{
	h->scanned = false;
	for (size_t i = 0; i < h->count; i++)
		h->items[i].seen = false;
}

static struct host_pod *find_or_add(struct host_pods *h, const struct kube_pod *pod)
{
	struct host_pod fresh = {}, *slot;

	for (size_t i = 0; i < h->count; i++) {
		if (!strcmp(h->items[i].uid, pod->cni_uid))
			return &h->items[i];
	}
	fresh.namespace_name = strdup(pod->subject->namespace_name);
	fresh.name = strdup(pod->subject->name);
	fresh.uid = strdup(pod->cni_uid);
	slot = fresh.namespace_name && fresh.name && fresh.uid ? array_push(&h->items, &h->count, sizeof(*slot)) : NULL;
	if (!slot) {
		pod_clear(&fresh);
		return NULL;
	}
	*slot = fresh;
	return slot;
}

static const char *missing_text(int missing)
{
	switch (missing) {
	case -EOPNOTSUPP:
		return "the node's pods are on cgroup v1";
	case -EXDEV:
		return "the agent sees only a part of cgroup2: its root must be mounted in the agent's container";
	case -ENOENT:
		return "its cgroup is not there yet";
	default:
		return strerror(-missing);
	}
}

static bool cannot_have_programs(const struct host_pod *p)
{
	return p->wanted && !p->cgroup && p->missing != -ENOENT;
}

static void tell(struct host_pod *p)
{
	const char *reason = cannot_have_programs(p) ? missing_text(p->missing) : p->wanted ? p->escape : NULL;

	if (reason && (!p->told || strcmp(reason, p->told) != 0))
		log_warning("%s/%s: not enforceable: %s", p->namespace_name, p->name, reason);
	free(p->told);
	p->told = reason ? strdup(reason) : NULL;
}

static void find_cgroup(struct host_pods *h, struct host_pod *p)
{
	char path[PATH_MAX];
	int r = p->wanted ? find_folder(h, p->uid, path, &p->id) : 0;

	free(p->cgroup);
	p->cgroup = p->wanted && r == 0 ? strdup(path) : NULL;
	if (p->cgroup)
		shut(h, p, path, p->id);
	else
		p->id = 0;
	p->missing = r;
}

/* Both NULL, or the same text. False: out of memory. */
static bool replace_text(char **to, const char *text)
{
	free(*to);
	*to = text ? strdup(text) : NULL;
	return *to || !text;
}

int host_pods_place(struct host_pods *h, const struct kube_pod *pod, const struct inventory_namespace *ns,
		    struct static_endpoint *ret)
{
	struct host_pod *p = find_or_add(h, pod);

	if (!p || !replace_text(&p->escape, pod->escape))
		return -ENOMEM;
	p->seen = true;
	p->wanted = is_wanted(h, pod->subject, ns, p->reason, sizeof(p->reason));
	find_cgroup(h, p);
	if (!p->wanted)
		let_go(h, p);
	tell(p);
	return p->cgroup ? replace_text(&ret->cgroup, p->cgroup) ? 1 : -ENOMEM : 0;
}

static const struct endpoint *find_endpoint(const struct endpoints *e, const struct host_pod *p)
{
	for (size_t i = 0; i < endpoints_count(e); i++) {
		const struct endpoint *ep = endpoints_at(e, i);

		if (ep->wanted.cgroup && ep->wanted.uid && !strcmp(ep->wanted.uid, p->uid))
			return ep;
	}
	return NULL;
}

/* Its processes may still run. */
static bool outlives(struct host_pods *h, const struct host_pod *p)
{
	char path[PATH_MAX];
	uint64_t id = 0;

	return p->cgroup && find_folder(h, p->uid, path, &id) == 0 && id == p->id;
}

static bool keep_endpoint(const struct endpoints *now, const struct host_pod *p, struct static_endpoints *list)
{
	const struct endpoint *ep = find_endpoint(now, p);
	struct static_endpoint copy = {}, *slot;

	if (!ep)
		return false;
	slot = static_endpoint_copy(&ep->wanted, &copy) == 0 ? array_push(&list->items, &list->count, sizeof(*slot))
							     : NULL;
	if (slot)
		*slot = copy;
	else
		static_endpoint_clear(&copy);
	return slot != NULL;
}

void host_pods_end(struct host_pods *h, const struct endpoints *now, struct static_endpoints *list)
{
	size_t kept = 0;
	bool check = false;

	for (size_t i = 0; i < h->count; i++) {
		struct host_pod *p = &h->items[i];

		if (!p->seen && !(outlives(h, p) && keep_endpoint(now, p, list))) {
			let_go(h, p);
			pod_clear(p);
			continue;
		}
		check = check || !p->seen || (p->wanted && !p->cgroup);
		h->items[kept++] = *p;
	}
	h->count = kept;
	sd_event_source_set_time_relative(h->timer, CHECK_USEC);
	sd_event_source_set_enabled(h->timer, check ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
}

/* ---- what is said of them ---------------------------------------------------------------------------------------- */

static enum host_pod_state judge(const struct host_pod *p, const struct endpoint *ep, const char **ret_reason)
{
	const char *escape = p->escape ? p->escape : ep && ep->escape[0] ? ep->escape : NULL;

	*ret_reason = p->reason;
	if (!p->wanted)
		return HOST_POD_NOT_ENFORCED;
	*ret_reason = missing_text(p->missing);
	if (cannot_have_programs(p))
		return HOST_POD_NOT_ENFORCEABLE;
	if (!p->cgroup)
		return HOST_POD_WAITING;
	*ret_reason = "its cgroup has no programs yet; the agent's log says why when it stays so";
	if (!ep || !ep->id)
		return HOST_POD_WAITING;
	*ret_reason = escape ? escape : "";
	return escape ? HOST_POD_NOT_ENFORCEABLE : HOST_POD_ENFORCED;
}

bool host_pods_view(const struct host_pods *h, const struct endpoints *now, size_t i, struct host_pod_view *ret)
{
	const struct host_pod *p = i < h->count ? &h->items[i] : NULL;
	const char *reason;

	if (!p)
		return false;
	*ret = (struct host_pod_view){
		.namespace_name = p->namespace_name,
		.name = p->name,
		.uid = p->uid,
		.cgroup = p->cgroup,
		.state = judge(p, now ? find_endpoint(now, p) : NULL, &reason),
	};
	snprintf(ret->reason, sizeof(ret->reason), "%s", reason);
	return true;
}

static const char *state_name(enum host_pod_state state)
{
	switch (state) {
	case HOST_POD_NOT_ENFORCED:
		return API_HOST_POD_NOT_ENFORCED;
	case HOST_POD_WAITING:
		return API_HOST_POD_WAITING;
	case HOST_POD_ENFORCED:
		return API_HOST_POD_ENFORCED;
	case HOST_POD_NOT_ENFORCEABLE:
		return API_HOST_POD_NOT_ENFORCEABLE;
	}
	return "unknown";
}

json_t *host_pods_json(const struct host_pods *h, const struct endpoints *now)
{
	json_t *list = json_array();
	struct host_pod_view v;

	for (size_t i = 0; host_pods_view(h, now, i, &v); i++) {
		json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:s}", "namespace", v.namespace_name, "name", v.name, "uid",
				      v.uid, "state", state_name(v.state), "reason", v.reason);

		if (v.cgroup)
			json_object_set_new(o, "cgroup", json_string(v.cgroup));
		json_array_append_new(list, o);
	}
	return list;
}

void host_pods_metrics(const struct host_pods *h, const struct endpoints *now, struct strbuf *out)
{
	static const char name[] = "sluice_kubernetes_pods_host_network";
	static const char *const labels[HOST_POD_STATES] = {
		[HOST_POD_NOT_ENFORCED] = "state=\"not_enforced\"",
		[HOST_POD_WAITING] = "state=\"waiting\"",
		[HOST_POD_ENFORCED] = "state=\"enforced\"",
		[HOST_POD_NOT_ENFORCEABLE] = "state=\"not_enforceable\"",
	};
	uint64_t counts[HOST_POD_STATES] = { 0 };
	struct host_pod_view v;

	for (size_t i = 0; host_pods_view(h, now, i, &v); i++)
		counts[v.state]++;
	metrics_head(out, name, "gauge", "Pods on the node's own network, by whether their cgroup holds them.");
	for (size_t i = 0; i < HOST_POD_STATES; i++)
		metrics_value(out, name, labels[i], counts[i]);
}
