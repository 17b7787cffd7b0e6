/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flow-log objects in the shape that `hubble observe --input-file` reads (flow.proto's JSON form):
 *
 *   {"flow": {"verdict", "time", "source", "destination", "IP", "l4", "l7"?, ...}, "node_name", "time"}
 *
 * made from the kernel's events and the proxy's records. The agent makes them for observers and the log file; bpfctl
 * makes them itself from the pins when no agent runs.
 */
#ifndef SLUICE_AGENT_FLOWLOG_H
#define SLUICE_AGENT_FLOWLOG_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "policy/image.h"

/* Where the words behind the numbers come from. */
struct flowlog_sources {
	void *context;
	/* The endpoint's label; false: it is unknown, or another's by now. */
	bool (*label)(void *context, uint32_t endpoint, uint32_t generation, struct sluice_label *ret);
	/* The lease's name; false: unknown. */
	bool (*name)(void *context, uint64_t id, struct sluice_name *ret);
	/* The policy's image, or NULL. */
	const struct image *(*image)(void *context, uint64_t policy);
};

/* A new object, NULL when memory runs out. */
json_t *flowlog_event(const struct flowlog_sources *s, const struct sluice_event *event);
json_t *flowlog_dns(const struct flowlog_sources *s, const struct sluice_dns_record *record);

#endif
