/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * An agent that is told to end leaves everything in force, since it cannot know whether another one comes. That the chart is
 * being uninstalled it hears beforehand: a ConfigMap labelled sluice.dev/uninstall=true in its namespace, which helm makes just
 * before it deletes the DaemonSet, and takes away just after it, which may be before the agent is told to end. So that it goes
 * takes nothing back.
 *
 * Taken for more than it says it would open a node that is to stay closed. Helm may have died between the two, or the deletion
 * may have failed, and then the object stays, for any agent to find. Therefore
 *
 * - what is there when an agent first lists is not meant for that agent: it was installed, or started again, after it;
 * - the word counts for KUBE_UNINSTALL_SECONDS after it was heard. An agent that lives longer was not uninstalled, and may end
 *   for any reason again. It is the time in which a large cluster's controllers delete that many pods.
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

#define KUBE_UNINSTALL_SECONDS 600

struct kube_uninstall;

/* Listens in that namespace, from now on. `http` is borrowed, and must outlive it. 0 or -errno. */
int kube_uninstall_new(sd_event *event, struct kube_http *http, const char *namespace_name,
		       struct kube_uninstall **ret);
void kube_uninstall_freep(struct kube_uninstall **u); /* NULL-safe, sets NULL */

/* Does the word hold? `now` in ns of CLOCK_MONOTONIC; false of NULL. */
bool kube_uninstall_heard(const struct kube_uninstall *u, uint64_t now);

/* {"listening", "heard", "error"}: whether it would hear the word, and whether it holds. Null of NULL. */
json_t *kube_uninstall_json(const struct kube_uninstall *u, uint64_t now);

/* ---- what was heard, without I/O: for uninstall.c and its test -------------------------------------------------------- */

struct kube_uninstall_words {
	json_t *stale; /* uids of the first list, as keys */
	bool listed;
	char *last; /* uid of the word that was heard */
	uint64_t heard;
};
void kube_uninstall_words_clear(struct kube_uninstall_words *w);
/* An object of that collection is there; true: that is news, and means this agent. */
bool kube_uninstall_words_put(struct kube_uninstall_words *w, const json_t *object, uint64_t now);
void kube_uninstall_words_synced(struct kube_uninstall_words *w);
bool kube_uninstall_words_hold(const struct kube_uninstall_words *w, uint64_t now);

#endif
