/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the API's JSON to the tree that policy/ reads: of the inventory's objects only what an inventory needs, and where in
 * an object a position of its text is.
 */
#ifndef SLUICE_AGENT_KUBE_NODE_H
#define SLUICE_AGENT_KUBE_NODE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/yaml.h"

/*
 * A Pod, Namespace, Node, Service or EndpointSlice without what changes nothing here (annotations, volumes, heartbeats,
 * versions). `ret_print` is a fingerprint of what was kept. 0; -ENOMEM; -EINVAL: nested too deep.
 */
int kube_node_new(json_t *object, struct ynode **ret, uint64_t *ret_print);

/* A policy object as text without blanks: members in order, the managed fields and the status left out. free(). NULL: no memory. */
char *kube_node_text(json_t *object);
/* The same in the lines of `kubectl get … -o json`, which positions are of. free(). NULL: out of memory. */
char *kube_node_lines(const char *text);

/*
 * "spec.egress[2].toFQDNs[0]": what is at that line and column of such lines, or the last thing that begins before.
 * Into buf, "" for the object as a whole; returns buf.
 */
char *kube_node_path(const char *lines, uint32_t line, uint32_t column, char *buf, size_t size);

#endif
