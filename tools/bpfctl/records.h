/* SPDX-License-Identifier: Apache-2.0 */
/* Elements of the pinned maps as JSON objects: one function per type. NULL when memory runs out. */
#ifndef SLUICE_TOOLS_BPFCTL_RECORDS_H
#define SLUICE_TOOLS_BPFCTL_RECORDS_H

#include <jansson.h>
#include <stdint.h>

#include "tools/bpfctl/ctl.h"
#include "tools/bpfctl/images.h"
#include "tools/bpfctl/pins.h"

/* What the printers look things up in. `images` may be NULL. */
struct records {
	struct pins *pins;
	struct images *images;
	uint64_t now; /* CLOCK_MONOTONIC ns */
};

/*
 * Opens the pins and the image folder, with a message when that fails (-errno), and a note on stderr when no agent
 * runs. `= {}` is a closed one.
 */
int records_open(const struct ctl *ctl, struct records *ret);
void records_close(struct records *r);
#define _cleanup_records_ __attribute__((cleanup(records_close)))

json_t *record_endpoint(const struct records *r, uint32_t id);
json_t *record_endpoint_counters(const struct records *r, uint32_t id); /* record_endpoint and `drops`, traffic */
json_t *record_flow(const struct records *r, const struct sluice_flow *flow);
json_t *record_lease_slot(const struct records *r, const struct sluice_lease *lease,
			  const struct sluice_lease_slot *slot);
/* Where a rule comes from: {"policy", "kind", "file", "line", "text"}; JSON null when it cannot be told. */
json_t *record_rule(const struct records *r, uint64_t policy, uint32_t rule);
json_t *record_source(const struct image *img, uint32_t rule);

/* Key and value of any map but `events`, as `map dump` shows them. */
json_t *record_element(const struct records *r, enum pin pin, const void *key, const void *value);

/* {"POLICY_DENIED": 3, ...} of 256 counters, zeros left out; `ret_sum` may be NULL. */
json_t *record_drops(const __u64 *drops, uint64_t *ret_sum);

/* "namespace/name" of the endpoint in that slot and generation into buf; "" when it is another's by now. */
#define RECORD_POD_MAX 328
const char *record_pod(const struct records *r, uint32_t id, uint32_t generation, char *buf);

/*
 * The endpoint that `text` names: "namespace/name", an id, or an interface. Of several of one name the newest. 0,
 * -ENOENT.
 */
int record_find_endpoint(const struct records *r, const char *text, uint32_t *ret);

#endif
