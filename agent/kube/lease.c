/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * What the next request is:
 *
 *  LOOK     GET: who holds it, and what was renewed when
 *  TAKE     nobody holds it, this node does since before, or the record has not changed for as long as it says it holds
 *  RENEW    this node holds it: every ten seconds
 *  RELEASE  the agent ends: the next one need not wait
 *
 * Each but LOOK is a merge patch with the resourceVersion it was decided by, so two nodes never both succeed: the other's is
 * answered 409, and looks again.
 *
 * No clock is compared with another machine's: renewTime is only a text that changes, and how long it has not is measured here,
 * from when this node first saw it. What this node holds it stops using before others, who cannot have seen its last renewal
 * earlier than it was sent, may take it.
 */
#include "agent/kube/lease.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define DURATION_SECONDS 30u
#define RENEW_SECONDS	 10u
#define LOOK_SECONDS	 15u /* to twice that */
#define DURATION_MAX	 3600
/* A request in the holder's name takes KUBE_TALK_SECONDS at most, and ends some seconds before the Lease does. */
#define USE_SECONDS (DURATION_SECONDS - KUBE_TALK_SECONDS - 5u)

enum ask {
	ASK_LOOK,
	ASK_TAKE,
	ASK_RENEW,
	ASK_RELEASE,
};

struct record {
	char version[64];
	char holder[256];
	char renewed[64];
	unsigned int seconds;
	int transitions;
};

struct kube_lease {
	char *path;
	char *holder;
	uint32_t (*random)(void);
	struct record record;
	bool known;	     /* `record` is what the API has, as far as is known */
	bool seen;	     /* or at least was once */
	uint64_t changed;    /* when it was first seen so */
	uint64_t not_before; /* the next request */
	uint64_t started;    /* the one under way */
	uint64_t renewed;    /* when the last one that made or kept this node the holder was sent */
	bool held;
	bool releasing;
	bool released;
	enum ask ask;
	unsigned int failures;
	char *body;
	char error[256];
};

int kube_lease_new(const char *namespace_name, const char *holder, uint32_t (*random)(void), struct kube_lease **ret)
{
	CLEANUP(kube_lease_freep) struct kube_lease *l = calloc(1, sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->random = random;
	l->holder = strdup(holder);
	if (asprintf(&l->path, "/apis/coordination.k8s.io/v1/namespaces/%s/leases/" KUBE_LEASE_NAME, namespace_name) <
	    0)
		l->path = NULL;
	if (!l->holder || !l->path)
		return -ENOMEM;
	*ret = TAKE_PTR(l);
	return 0;
}

void kube_lease_freep(struct kube_lease **l)
{
	if (!*l)
		return;
	free((*l)->path);
	free((*l)->holder);
	free((*l)->body);
	free(*l);
	*l = NULL;
}

/* ---- what is asked ----------------------------------------------------------------------------------------------- */

static bool is_own(const struct kube_lease *l)
{
	return !strcmp(l->record.holder, l->holder);
}

static bool is_free(const struct kube_lease *l, uint64_t now)
{
	return !l->record.holder[0] || is_own(l) || now - l->changed >= l->record.seconds * NSEC_PER_SEC;
}

static enum ask next_ask(const struct kube_lease *l, uint64_t now)
{
	if (!l->known)
		return ASK_LOOK;
	if (l->held)
		return l->releasing ? ASK_RELEASE : ASK_RENEW;
	return is_free(l, now) ? ASK_TAKE : ASK_LOOK;
}

static json_t *spec_of(const struct kube_lease *l, const struct kube_now *now)
{
	char time[KUBE_TIME_MAX];
	json_t *spec = json_pack("{s:s, s:i, s:s}", "holderIdentity", l->holder, "leaseDurationSeconds",
				 (int)DURATION_SECONDS, "renewTime", kube_micro_time(now->wall, time));

	if (l->ask == ASK_RELEASE)
		json_object_set_new(spec, "holderIdentity", json_null());
	if (l->ask != ASK_TAKE)
		return spec;
	json_object_set_new(spec, "acquireTime", json_string(time));
	json_object_set_new(spec, "leaseTransitions", json_integer(l->record.transitions + !is_own(l)));
	return spec;
}

static char *patch_of(const struct kube_lease *l, const struct kube_now *now)
{
	json_t *patch =
		json_pack("{s:{s:s}, s:o}", "metadata", "resourceVersion", l->record.version, "spec", spec_of(l, now));
	char *text = json_dumps(patch, JSON_COMPACT);

	json_decref(patch);
	return text;
}

static int poll(void *context, const struct kube_now *now, struct kube_call *ret, uint64_t *ret_when)
{
	struct kube_lease *l = context;

	*ret_when = l->not_before;
	if (l->releasing && (!l->held || !l->known))
		l->released = true;
	if (l->released)
		*ret_when = KUBE_NEVER;
	if (l->released || (now->mono < l->not_before && !l->releasing))
		return 0;
	l->ask = next_ask(l, now->mono);
	l->started = now->mono;
	freep(&l->body);
	*ret = (struct kube_call){ .method = "GET", .path = l->path, .timeout_seconds = KUBE_TALK_SECONDS };
	if (l->ask == ASK_LOOK)
		return 1;
	l->body = patch_of(l, now);
	ret->method = "PATCH";
	ret->type = KUBE_MERGE_PATCH;
	ret->body = l->body;
	*ret_when = l->not_before = now->mono + NSEC_PER_SEC;
	return l->body != NULL;
}

/* ---- what is answered -------------------------------------------------------------------------------------------- */

static bool read_record(const char *body, struct record *ret)
{
	json_error_t error;
	json_t *lease = json_loads(body, 0, &error), *spec = json_object_get(lease, "spec");
	const char *version = json_string_value(json_object_get(json_object_get(lease, "metadata"), "resourceVersion"));
	const char *holder = json_string_value(json_object_get(spec, "holderIdentity"));
	const char *renewed = json_string_value(json_object_get(spec, "renewTime"));
	json_int_t seconds = json_integer_value(json_object_get(spec, "leaseDurationSeconds"));

	*ret = (struct record){
		.seconds = seconds < 1		    ? 1
			   : seconds > DURATION_MAX ? DURATION_MAX
						    : (unsigned int)seconds,
		.transitions = (int)json_integer_value(json_object_get(spec, "leaseTransitions")),
	};
	snprintf(ret->version, sizeof(ret->version), "%s", version ? version : "");
	snprintf(ret->holder, sizeof(ret->holder), "%s", holder ? holder : "");
	snprintf(ret->renewed, sizeof(ret->renewed), "%s", renewed ? renewed : "");
	json_decref(lease);
	return ret->version[0];
}

static void take_record(struct kube_lease *l, const struct kube_now *now, const struct record *record)
{
	if (!l->seen || strcmp(l->record.holder, record->holder) != 0 ||
	    strcmp(l->record.renewed, record->renewed) != 0)
		l->changed = now->mono;
	l->record = *record;
	l->known = l->seen = true;
	l->failures = 0;
	l->error[0] = '\0';
}

static void go_on(struct kube_lease *l, const struct kube_now *now)
{
	uint64_t end = l->changed + l->record.seconds * NSEC_PER_SEC, jitter = l->random() % (5u * 1000);

	switch (l->ask) {
	case ASK_RELEASE:
		l->held = false;
		return;
	case ASK_TAKE:
	case ASK_RENEW:
		l->held = true;
		l->renewed = l->started;
		l->not_before = l->started + RENEW_SECONDS * NSEC_PER_SEC;
		return;
	case ASK_LOOK:
		break;
	}
	l->held = l->held && is_own(l);
	l->not_before = now->mono + (LOOK_SECONDS * 1000 + l->random() % (LOOK_SECONDS * 1000)) * NSEC_PER_MSEC;
	/* Not all nodes at the same moment. */
	if (end + jitter * NSEC_PER_MSEC < l->not_before)
		l->not_before = end + jitter * NSEC_PER_MSEC;
	if (is_free(l, now->mono))
		l->not_before = now->mono;
}

static void fail(struct kube_lease *l, const struct kube_now *now, const struct kube_answer *a)
{
	char words[200];

	snprintf(l->error, sizeof(l->error), "Lease " KUBE_LEASE_NAME ": %s",
		 kube_status_text(a->status, a->text, words, sizeof(words)));
	l->not_before = now->mono + kube_back_off(l->failures++, a->retry_after, l->random());
	if (a->status == 404 || a->status == 403)
		l->held = l->known = false;
}

static void end(void *context, const struct kube_now *now, const struct kube_answer *a)
{
	struct kube_lease *l = context;
	struct record record;

	if (a->status == 200 && read_record(a->body, &record)) {
		take_record(l, now, &record);
		go_on(l, now);
	} else if (a->status == 409) {
		l->known = false;
		l->not_before = now->mono + l->random() % 1000 * NSEC_PER_MSEC;
	} else {
		fail(l, now, a);
	}
	l->released = l->ask == ASK_RELEASE;
}

const struct kube_talker kube_lease_talker = { poll, end };

/* ---- looking ----------------------------------------------------------------------------------------------------- */

bool kube_lease_held(const struct kube_lease *l, uint64_t now)
{
	return l->held && !l->releasing && now < l->renewed + USE_SECONDS * NSEC_PER_SEC;
}

void kube_lease_release(struct kube_lease *l)
{
	l->releasing = true;
}

bool kube_lease_released(const struct kube_lease *l)
{
	return l->released;
}

const char *kube_lease_holder(const struct kube_lease *l)
{
	return l->known ? l->record.holder : "";
}

const char *kube_lease_error(const struct kube_lease *l)
{
	return l->error;
}
