/* SPDX-License-Identifier: Apache-2.0 */
/* TCP connections to the trusted resolvers: kept for a while, pipelined (RFC 7766), one endpoint's at a time. */
#ifndef SLUICE_DNSPROXY_STREAMS_H
#define SLUICE_DNSPROXY_STREAMS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "dnsproxy/settings.h"

#define STREAMS_MAX	     64
#define STREAMS_PER_ENDPOINT 4
#define STREAM_QUERIES	     64			  /* waiting on one */
#define STREAM_BUSY	     16			  /* so many waiting: another is opened beside it */
#define STREAM_WORTH	     4			  /* queries within a second, for one to be opened unasked */
#define STREAM_CONNECT	     (5 * NSEC_PER_SEC)	  /* until it stands */
#define STREAM_IDLE	     (3 * NSEC_PER_SEC)	  /* without a query; RFC 7766 section 6.2.3 wants a few seconds */
#define STREAM_AGE	     (30 * NSEC_PER_SEC)  /* then another takes its place: a Service's back ends change */
#define STREAM_SLOW	     (20 * NSEC_PER_MSEC) /* without an answer */
#define STREAM_REFUSED	     (30 * NSEC_PER_SEC)  /* a resolver without TCP is left alone for so long */

struct streams;

/* Who is told. Both may ask again, from within the call. */
struct streams_user {
	void *context;
	/* A message came on `stream`. */
	void (*answer)(void *context, uint32_t stream, const uint8_t *msg, size_t len, uint64_t now);
	/* It ended with queries waiting. `fault`: it never stood, or spoke no DNS; otherwise the resolver has closed it. */
	void (*lost)(void *context, uint32_t stream, bool fault, uint64_t now);
};

/* 0 or -errno. */
int streams_new(int loop, const struct streams_user *user, struct streams **ret);
void streams_freep(struct streams **t);

/*
 * May a query of the endpoint go to the resolver by TCP at once: is there a connection that stands, has room and does not
 * lag? If there is none, or all are busy, one is opened for later, where queries are so frequent that it pays.
 */
bool streams_ready(struct streams *t, const struct proxy_resolver *to, uint32_t index, uint32_t endpoint, uint64_t now);

/*
 * Queues it for streams_flush, or until the connection stands. 0 and the stream; -EBUSY: the share or the table is full.
 * From a full table one of an endpoint with more may be ended: `lost` is called, without a fault, from within.
 */
int streams_ask(struct streams *t, const struct proxy_resolver *to, uint32_t index, uint32_t endpoint,
		const uint8_t *msg, size_t len, uint64_t now, uint32_t *ret);
/* A query that streams_ask took is no longer waited for: answered if that is from within `answer`, else given up. */
void streams_asked(struct streams *t, uint32_t stream);

/* Sends what is queued; at the end of each turn of the loop. */
void streams_flush(struct streams *t);
/* Ends what is idle, old or never came to stand; about once a second. */
void streams_sweep(struct streams *t, uint64_t now);
/* The resolvers have changed: no new queries go by the connections there are. */
void streams_reset(struct streams *t, uint64_t now);
uint32_t streams_count(const struct streams *t);

#endif
