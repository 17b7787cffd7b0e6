/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * Each object's conditions as the watch last told of them are compared with what they are to be; one that differs is written
 * by server-side apply, without force, each type by a field manager of its own, since what an apply leaves out it gives up, and
 * the API then takes away. So a condition of another type, and what other writers own, stays theirs: where somebody else
 * (Cilium's operator) writes `Valid`, its reason shows it or the API answers 409, and it is left alone. The object's uid is in
 * the request, or one that was made anew would be told of another's text.
 *
 * What was written is not written again before the object changes or REPEAT_SECONDS have passed: not while the watch has not
 * told of it yet, and not for ever against a writer who takes it back. One request at a time, at most some forty a second.
 */
#include "agent/kube/conditions.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define PACE_MSEC      25u
#define REPEAT_SECONDS 10u
#define HOLD_SECONDS   600u /* of an object whose status cannot be written */
#define DENIED_SECONDS 60u  /* of a kind whose status may not be written */

/* Kinds whose CRDs have conditions in a status subresource. Cilium's schema has no observedGeneration. */
static const struct place {
	const char *kind;
	const char *group;
	const char *plural;
	bool generation;
} places[] = {
	{ "CiliumNetworkPolicy", "cilium.io/", "ciliumnetworkpolicies", false },
	{ "CiliumClusterwideNetworkPolicy", "cilium.io/", "ciliumclusterwidenetworkpolicies", false },
	{ "ApplicationNetworkPolicy", "networking.k8s.aws/", "applicationnetworkpolicies", true },
	{ "ClusterNetworkPolicy", "networking.k8s.aws/", "clusternetworkpolicies", true },
	{ "ClusterNetworkPolicy", "policy.networking.k8s.io/", "clusternetworkpolicies", true },
};

struct kube_conditions {
	struct kube_policies *policies;
	const struct kube_lease *lease;
	uint32_t (*random)(void);
	bool audit;
	size_t at;	     /* the next policy to look at */
	uint64_t puts;	     /* of the policies when a whole round found nothing to do */
	bool idle;	     /* it did */
	uint64_t again;	     /* and nothing is due before */
	uint64_t not_before; /* the next request */
	unsigned int failures;
	/* The request under way: */
	char *file;
	char *uid;
	char *path;
	char *body;
	enum kube_condition_type type;
	size_t place;
	uint64_t print;
	uint64_t denied[ARRAY_SIZE(places)]; /* until when nothing is asked of that kind */
	struct kube_conditions_stats stats;
	char error[256];
};

int kube_conditions_new(struct kube_policies *policies, const struct kube_lease *lease, uint32_t (*random)(void),
			struct kube_conditions **ret)
{
	struct kube_conditions *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->policies = policies;
	c->lease = lease;
	c->random = random;
	*ret = c;
	return 0;
}

static void forget_request(struct kube_conditions *c)
{
	freep(&c->file);
	freep(&c->uid);
	freep(&c->path);
	freep(&c->body);
}

void kube_conditions_freep(struct kube_conditions **c)
{
	if (!*c)
		return;
	forget_request(*c);
	free(*c);
	*c = NULL;
}

void kube_conditions_set_audit(struct kube_conditions *c, bool audit)
{
	c->idle = c->idle && c->audit == audit;
	c->audit = audit;
}

/* ---- what is to be said ------------------------------------------------------------------------------------------ */

static const struct place *place_of(const struct kube_verdict *v)
{
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		if (!strcmp(v->kind, places[i].kind) &&
		    !strncmp(v->api_version, places[i].group, strlen(places[i].group)))
			return &places[i];
	}
	return NULL;
}

static struct kube_wanted valid_of(const struct kube_verdict *v, int64_t generation)
{
	return (struct kube_wanted){ v->valid, v->valid ? "Accepted" KUBE_OURS : "Refused" KUBE_OURS, v->message,
				     generation };
}

static struct kube_wanted enforced_of(const struct kube_verdict *v, int64_t generation, bool audit)
{
	if (!v->valid)
		return (struct kube_wanted){
			false, "Refused" KUBE_OURS,
			"What was accepted of it before stays in force; where there is none, all that "
			"it may select is denied everything",
			generation
		};
	if (audit)
		return (struct kube_wanted){ false, "Audited" KUBE_OURS, "What it denies is reported, and passes",
					     generation };
	return (struct kube_wanted){ true, "Enforced" KUBE_OURS, "", generation };
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

static char *path_of(const struct kube_verdict *v, const struct place *p, enum kube_condition_type type)
{
	static const char *const managers[] = { [KUBE_VALID] = "sluice-valid", [KUBE_ENFORCED] = "sluice-enforced" };
	bool inside = v->namespace_name[0];
	char *path;

	if (asprintf(&path, "/apis/%s/%s%s%s%s/%s/status?fieldManager=%s", v->api_version, inside ? "namespaces/" : "",
		     v->namespace_name, inside ? "/" : "", p->plural, v->name, managers[type]) < 0)
		return NULL;
	return path;
}

static char *body_of(const struct kube_verdict *v, json_t *condition)
{
	json_t *metadata = json_pack("{s:s, s:s}", "name", v->name, "uid", v->uid), *object;
	char *text;

	if (v->namespace_name[0])
		json_object_set_new(metadata, "namespace", json_string(v->namespace_name));
	object = json_pack("{s:s, s:s, s:o, s:{s:[o]}}", "apiVersion", v->api_version, "kind", v->kind, "metadata",
			   metadata, "status", "conditions", condition);
	text = json_dumps(object, JSON_COMPACT);
	json_decref(object);
	return text;
}

/* Is it to be written now? Where it is too early for that, `again` comes nearer. */
static bool is_due(struct kube_conditions *c, const struct kube_condition *seen, const struct kube_told *told,
		   uint64_t print, uint64_t now)
{
	if (seen->print == print || (seen->print && !seen->ours))
		return false;
	if (now >= told->not_before || told->print != print)
		return true;
	c->again = told->not_before < c->again ? told->not_before : c->again;
	return false;
}

/* True: the request for it is ready. */
static bool look_at(struct kube_conditions *c, const struct kube_verdict *v, enum kube_condition_type type,
		    const struct kube_now *now)
{
	const struct place *p = place_of(v);
	size_t place = p ? (size_t)(p - places) : 0;
	const struct kube_told *told = kube_policies_told(c->policies, v->file, v->uid);
	int64_t generation = p && p->generation ? v->generation : 0;
	struct kube_wanted w = type == KUBE_VALID ? valid_of(v, generation) : enforced_of(v, generation, c->audit);
	uint64_t print;

	if (!p || !told)
		return false;
	if (now->mono < c->denied[place]) {
		c->again = c->denied[place] < c->again ? c->denied[place] : c->again;
		return false;
	}
	print = kube_wanted_print(&w);
	if (!is_due(c, &v->seen[type], &told[type], print, now->mono))
		return false;
	forget_request(c);
	c->type = type;
	c->place = place;
	c->print = print;
	c->file = strdup(v->file);
	c->uid = strdup(v->uid);
	c->path = path_of(v, p, type);
	c->body = body_of(v, kube_wanted_json(type, &w, &v->seen[type], now->wall));
	return c->file && c->uid && c->path && c->body;
}

static bool find_work(struct kube_conditions *c, const struct kube_now *now)
{
	struct kube_verdict v;
	size_t n = kube_policies_count(c->policies);

	c->again = KUBE_NEVER;
	for (size_t i = 0; i < n; i++, c->at++) {
		c->at = c->at < n ? c->at : 0;
		if (kube_policies_verdict(c->policies, c->at, &v) &&
		    (look_at(c, &v, KUBE_VALID, now) || look_at(c, &v, KUBE_ENFORCED, now)))
			return true;
	}
	return false;
}

static int poll(void *context, const struct kube_now *now, struct kube_call *ret, uint64_t *ret_when)
{
	struct kube_conditions *c = context;
	uint64_t puts = kube_policies_puts(c->policies);

	*ret_when = KUBE_NEVER;
	if (!kube_lease_held(c->lease, now->mono)) {
		c->idle = false;
		return 0;
	}
	*ret_when = c->not_before;
	if (now->mono < c->not_before)
		return 0;
	*ret_when = c->again;
	if (c->idle && c->puts == puts && now->mono < c->again)
		return 0;
	c->idle = false;
	if (find_work(c, now)) {
		*ret = (struct kube_call){ .method = "PATCH",
					   .path = c->path,
					   .type = KUBE_APPLY,
					   .body = c->body,
					   .timeout_seconds = KUBE_TALK_SECONDS };
		return 1;
	}
	c->idle = true;
	c->puts = puts;
	*ret_when = c->again;
	return 0;
}

/* ---- what is answered -------------------------------------------------------------------------------------------- */

static void hold(struct kube_conditions *c, uint64_t until)
{
	struct kube_told *told = kube_policies_told(c->policies, c->file, c->uid);

	if (told)
		told[c->type] = (struct kube_told){ c->print, until };
}

static void fail(struct kube_conditions *c, const struct kube_now *now, const struct kube_answer *a)
{
	/* Was made anew since, has no such status, or will not have ours. */
	bool for_good = a->status == 400 || a->status == 404 || a->status == 415 || a->status == 422;
	char words[160];

	c->stats.failures++;
	snprintf(c->error, sizeof(c->error), "%.80s: %s", c->file,
		 kube_status_text(a->status, a->text, words, sizeof(words)));
	if (for_good)
		hold(c, now->mono + HOLD_SECONDS * NSEC_PER_SEC);
	else if (a->status == 403)
		c->denied[c->place] = now->mono + DENIED_SECONDS * NSEC_PER_SEC;
	else
		c->not_before = now->mono + kube_back_off(c->failures++, a->retry_after, c->random());
}

static void end(void *context, const struct kube_now *now, const struct kube_answer *a)
{
	struct kube_conditions *c = context;

	c->not_before = now->mono + PACE_MSEC * NSEC_PER_MSEC;
	if (a->status == 200 || a->status == 201) {
		c->failures = 0;
		c->error[0] = '\0';
		c->stats.written++;
		hold(c, now->mono + REPEAT_SECONDS * NSEC_PER_SEC);
	} else if (a->status == 409) {
		/* Another writer's, or another object by now. */
		c->stats.foreign++;
		hold(c, now->mono + HOLD_SECONDS * NSEC_PER_SEC);
	} else {
		fail(c, now, a);
	}
}

const struct kube_talker kube_conditions_talker = { poll, end };

void kube_conditions_get_stats(const struct kube_conditions *c, struct kube_conditions_stats *ret)
{
	*ret = c->stats;
	ret->error = c->error;
}
