/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsproxy/health.h"

bool health_down(const struct health *h)
{
	return h->faults >= HEALTH_DOWN;
}

bool health_up(const struct health *h, uint64_t now)
{
	return !health_down(h) || h->next_probe <= now;
}

void health_asked(struct health *h, uint64_t now)
{
	if (!health_down(h) || h->next_probe > now)
		return;
	h->pause = 2 * h->pause < HEALTH_PAUSE_MAX ? 2 * h->pause : HEALTH_PAUSE_MAX;
	h->next_probe = now + h->pause;
}

void health_good(struct health *h)
{
	h->faults = 0;
}

void health_bad(struct health *h, enum health_fault fault, uint64_t now)
{
	/* What was sent while it was thought up fails when it is known down: that is no news. */
	if (health_down(h))
		return;
	h->faults += fault;
	if (!health_down(h))
		return;
	h->pause = HEALTH_PAUSE_FIRST;
	h->next_probe = now + h->pause;
}

bool health_plain(const struct health *h, uint64_t now)
{
	return h->plain_until > now;
}

void health_set_plain(struct health *h, uint64_t now)
{
	h->plain_until = now + HEALTH_PLAIN_TIME;
}
