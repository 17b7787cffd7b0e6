/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The taint that keeps pods off a node until it is protected: taken off this node once it is, whatever it joined with and how
 * often. Without I/O.
 */
#ifndef SLUICE_AGENT_KUBE_TAINT_H
#define SLUICE_AGENT_KUBE_TAINT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "agent/kube/talk.h"

struct kube_taint;

/* `key` is the taint's, whatever its value and effect. 0 or -ENOMEM. */
int kube_taint_new(const char *node, const char *key, uint32_t (*random)(void), struct kube_taint **ret);
void kube_taint_freep(struct kube_taint **t);

/* This node's object, whole, each time the watch brings it. */
void kube_taint_see(struct kube_taint *t, json_t *node);
/* Whether new pods of this node are held to their policies from their first packet. */
void kube_taint_set_ready(struct kube_taint *t, bool ready);

extern const struct kube_talker kube_taint_talker; /* its context is the struct kube_taint */

/* Is it on the node, as far as is known? */
bool kube_taint_there(const struct kube_taint *t);
/* Why it could not be taken off; "" when all is well. */
const char *kube_taint_error(const struct kube_taint *t);

#endif
