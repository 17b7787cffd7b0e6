/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * An agent that is told to end leaves everything in force, since it cannot know whether another one comes. That the chart is
 * being uninstalled it hears beforehand: a ConfigMap labelled sluice.dev/uninstall=true in its namespace, the word, which helm makes
 * just before it deletes the release's objects, and takes away just after.
 *
 * Taken for more than it says it would open a node that is to stay closed. helm may have died between the two, or the deletion may
 * have failed, and then the word stays, for any agent to find; who installs without helm (`helm template`, for whatever applies it)
 * makes it with everything else. Therefore
 *
 * - the release's own ConfigMap, labelled sluice.dev/uninstall=false, must have gone too. It goes a moment after the DaemonSet, so an
 *   agent that is told to end before that waits for it, KUBE_UNINSTALL_WAIT_SECONDS at most;
 * - a word that is there when an agent first lists is not meant for that agent: it was installed, or started again, after it;
 * - the word counts for KUBE_UNINSTALL_SECONDS after it was heard: the time in which a large cluster's controllers delete that many
 *   pods. That it goes takes nothing back.
 *
 * Not heard in time, for whatever reason, it leaves the node closed, and to `bpfctl cleanup`.
 */
#ifndef SLUICE_AGENT_KUBE_UNINSTALL_H
#define SLUICE_AGENT_KUBE_UNINSTALL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "agent/kube/http.h"

#define KUBE_UNINSTALL_SECONDS	    600
#define KUBE_UNINSTALL_WAIT_SECONDS 10

struct kube_uninstall;

/* Listens in that namespace, from now on. `http` is borrowed, and must outlive it. 0 or -errno. */
int kube_uninstall_new(sd_event *event, struct kube_http *http, const char *namespace_name,
		       struct kube_uninstall **ret);
void kube_uninstall_freep(struct kube_uninstall **u); /* NULL-safe, sets NULL */

/*
 * The agent was told to end: `ended` is called as soon as nothing is to be waited for, at once or from the event loop. Of NULL at
 * once.
 */
void kube_uninstall_end(struct kube_uninstall *u, void (*ended)(void *context), void *context);

/* Is this agent uninstalled? `now` in ns of CLOCK_MONOTONIC; false of NULL. */
bool kube_uninstall_is(const struct kube_uninstall *u, uint64_t now);

/* {"listening", "heard", "gone", "error"}: would it hear the word, has it, and is the release gone. Null of NULL. */
json_t *kube_uninstall_json(const struct kube_uninstall *u, uint64_t now);

/* ---- what was heard, without I/O: for uninstall.c and its test -------------------------------------------------------- */

struct kube_uninstall_words {
	json_t *stale; /* uids of the first list, as keys */
	bool listed;
	char *last; /* uid of the word that was heard */
	uint64_t heard;
	/* The release's own object: */
	bool there;
	bool relisted; /* in the list that is under way */
	bool gone;     /* it was there, and is not */
};
void kube_uninstall_words_clear(struct kube_uninstall_words *w);
void kube_uninstall_words_begin(struct kube_uninstall_words *w);
/* An object of that collection is there; true: it is a word that means this agent, and news. */
bool kube_uninstall_words_put(struct kube_uninstall_words *w, const json_t *object, uint64_t now);
void kube_uninstall_words_gone(struct kube_uninstall_words *w, const json_t *object);
void kube_uninstall_words_synced(struct kube_uninstall_words *w);
/* Does the word hold? With `gone` the agent is uninstalled. */
bool kube_uninstall_words_hold(const struct kube_uninstall_words *w, uint64_t now);

#endif
