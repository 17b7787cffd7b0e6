/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whoever says something through the API, as report.c makes its requests: one at a time, each asked for and answered here.
 * Without I/O.
 */
#ifndef SLUICE_AGENT_KUBE_TALK_H
#define SLUICE_AGENT_KUBE_TALK_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "agent/kube/http.h"

/* No request before somebody has news. */
#define KUBE_NEVER UINT64_MAX

#define KUBE_MERGE_PATCH "application/merge-patch+json"
#define KUBE_JSON_PATCH	 "application/json-patch+json"
#define KUBE_APPLY	 "application/apply-patch+yaml" /* of which JSON is a part */

/* A request's longest time in seconds. */
#define KUBE_TALK_SECONDS 10u

struct kube_now {
	uint64_t mono; /* ns of CLOCK_MONOTONIC: what everything is measured by */
	time_t wall;   /* for people */
};

struct kube_answer {
	long status; /* as in struct kube_reply */
	long retry_after;
	const char *text;
	const char *body; /* of a 2xx answer; "" when there is none */
};

struct kube_talker {
	/*
	 * Called when none of its requests is under way. 1: `ret` is to be asked, its strings are borrowed until `end`. 0: nothing
	 * before `ret_when`, ns of CLOCK_MONOTONIC.
	 */
	int (*poll)(void *context, const struct kube_now *now, struct kube_call *ret, uint64_t *ret_when);
	void (*end)(void *context, const struct kube_now *now, const struct kube_answer *answer);
};

/* "2026-11-30T10:58:58Z", and with ".000000" for what is a MicroTime. */
#define KUBE_TIME_MAX 40
const char *kube_time(time_t wall, char buf[KUBE_TIME_MAX]);
const char *kube_micro_time(time_t wall, char buf[KUBE_TIME_MAX]);

/* How long to wait after that many failures in a row, in ns: doubling from one second to a minute, never the same twice. */
uint64_t kube_back_off(unsigned int failures, long retry_after, uint32_t random);

/*
 * "HTTP status 403: pods is forbidden: …": of a Status object, which is what the API says no with, its words; its end may be
 * missing. Into buf; returns buf.
 */
char *kube_status_text(long status, const char *text, char *buf, size_t size);

/* A JSON string of a text that may have been cut within a character. NULL: out of memory. */
json_t *kube_text_json(const char *text);

#endif
