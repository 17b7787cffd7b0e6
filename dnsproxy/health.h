/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of one trusted resolver: does it answer, and does it take EDNS. Zeroed is a good one.
 *
 * Up until HEALTH_DOWN faults in a row; silence weighs more than an error, which may be the name's own. Down, it is
 * asked again by a single query at a time, after a pause that doubles; one good answer and it is up.
 */
#ifndef SLUICE_DNSPROXY_HEALTH_H
#define SLUICE_DNSPROXY_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define HEALTH_DOWN	   16
#define HEALTH_PAUSE_FIRST (1 * NSEC_PER_SEC)
#define HEALTH_PAUSE_MAX   (16 * NSEC_PER_SEC)
#define HEALTH_PLAIN_TIME  (300 * NSEC_PER_SEC)

enum health_fault {
	HEALTH_ERROR = 1,		  /* an answer that is of no use */
	HEALTH_SILENCE = HEALTH_DOWN / 2, /* none in time, or nobody there */
};

struct health {
	uint64_t next_probe;  /* while down */
	uint64_t pause;	      /* the one that ends then */
	uint64_t plain_until; /* it refused EDNS: no OPT record is sent to it before */
	uint32_t faults;
};

bool health_down(const struct health *h);
/* May it be asked? True also for one that is down and due for a probe. */
bool health_up(const struct health *h, uint64_t now);
/* A query goes to it: the probe, where one is due. */
void health_asked(struct health *h, uint64_t now);
void health_good(struct health *h);
void health_bad(struct health *h, enum health_fault fault, uint64_t now);

bool health_plain(const struct health *h, uint64_t now);
/* It answered without EDNS what it refused with. */
void health_set_plain(struct health *h, uint64_t now);

#endif
