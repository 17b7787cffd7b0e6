/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the last known state of the cluster on disk (state.h), for a start while the API is away.
 */
#ifndef SLUICE_AGENT_KUBE_KEEPER_H
#define SLUICE_AGENT_KUBE_KEEPER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "agent/kube/source.h"

struct kube_keeper;

/* All is borrowed, and must outlive it. */
struct kube_keeper_places {
	const char *dir; /* "": nothing is kept */
	const char *run_dir;
	int accepted; /* as in agent/accepted.h */
	const char *node;
	const char *cluster; /* as kube_access_cluster() has it */
};

/* A folder that cannot be used is logged, and is the keeper's problem: nothing is kept then. 0 or -errno. */
int kube_keeper_new(sd_event *event, const struct kube_keeper_places *places, struct kube_source *source,
		    struct kube_keeper **ret);
/* What is not on disk yet is put there. */
void kube_keeper_freep(struct kube_keeper **k);

/*
 * Gives what is on disk to the source's cache and policies, before anything is heard. True: all of it; they hold a whole state of
 * the cluster. Otherwise what they hold is good for nothing but to be corrected by what will be heard.
 */
bool kube_keeper_load(struct kube_keeper *k);

/* To be called before something else than what is on disk is put in force. */
void kube_keeper_changed(struct kube_keeper *k);

/* Seconds since what is on disk was last known to be as the API has it; -1: nothing is there. */
int64_t kube_keeper_age(const struct kube_keeper *k);
json_t *kube_keeper_json(const struct kube_keeper *k);
uint64_t kube_keeper_failures(const struct kube_keeper *k);

#endif
