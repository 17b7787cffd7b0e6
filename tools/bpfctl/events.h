/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pinned ring buffer of flow events and the ring of DNS decisions, read without the agent.
 *
 * While an agent runs it is the consumer of `events`, and only peeking is safe. Following consumes what it has shown,
 * or the ring would fill and the newest events would be the lost ones.
 */
#ifndef SLUICE_TOOLS_BPFCTL_EVENTS_H
#define SLUICE_TOOLS_BPFCTL_EVENTS_H

#include <jansson.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "tools/bpfctl/pins.h"
#include "tools/bpfctl/records.h"

typedef int event_fn(const struct sluice_event *event, void *context);
typedef int dns_fn(const struct sluice_dns_record *record, void *context);

/* Every event that waits in the ring, oldest first, left there. 0, -errno, or what `each` returned. */
int events_peek(struct pins *pins, event_fn *each, void *context);
/* Bytes that wait in the ring; negative: -errno. */
int64_t events_backlog(struct pins *pins);

struct event_ring;
int event_ring_open(const char *pin_path, struct pins *pins, struct event_ring **ret); /* for consuming */
void event_ring_freep(struct event_ring **ring);
/* What came since the last call; each event is taken out after `each` has seen it. */
int event_ring_consume(struct event_ring *ring, event_fn *each, void *context);

/*
 * The DNS records from number `*next` on; `*next` moves behind the last one seen, and `*lost` grows by those that were
 * overwritten before they could be read. Start with *next = 0: as far back as the ring reaches.
 */
int dns_log_read(struct pins *pins, uint64_t *next, uint64_t *lost, dns_fn *each, void *context);

json_t *event_json(const struct records *r, const struct sluice_event *event);

#endif
