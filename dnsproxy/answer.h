/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An upstream answer, cut down to what concerns the question: the records whose owner is the question's name or is
 * reached from it by the CNAMEs of the same answer. Everything else in the packet is never looked at again.
 */
#ifndef SLUICE_DNSPROXY_ANSWER_H
#define SLUICE_DNSPROXY_ANSWER_H

#include "base/addr_type.h"
#include "dnsproxy/wire.h"

#define ANSWER_MAX_RECORDS 256 /* of the answer section; what comes after them is not read */
#define ANSWER_MAX_HOPS	   8
#define ANSWER_MAX_ADDRS   64 /* per answer; later ones are stripped */

enum answer_fate {
	ANSWER_STRIP,
	ANSWER_KEEP,
	ANSWER_OPEN, /* kept, and a lease is written */
};

struct answer_record {
	uint32_t ttl;
	uint16_t owner; /* offset in the message */
	uint16_t type;
	uint16_t rdata; /* offset */
	uint16_t rdlen;
	uint8_t hop;  /* index in `names` */
	uint8_t fate; /* enum answer_fate */
};

struct answer {
	const uint8_t *msg;
	size_t len;
	enum wire_rcode rcode; /* extended, where the answer has no records */
	bool truncated;
	uint32_t ttl;	    /* least along the chain, seconds */
	uint32_t ignored;   /* records outside the chain */
	uint16_t authority; /* offset and count of the section */
	uint16_t nauthority;
	uint16_t nnames;		  /* the chain: the question's name, then each CNAME's target */
	uint16_t cnames[ANSWER_MAX_HOPS]; /* index of the record that leads from names[i] to names[i + 1] */
	uint16_t nrecords;
	struct wire_name names[ANSWER_MAX_HOPS + 1];
	struct answer_record records[ANSWER_MAX_RECORDS];
};

/* Is `msg` the answer to this question and id? Anything may have been sent to our port. */
bool answer_matches(const uint8_t *msg, size_t len, const struct wire_query *q, uint16_t id);

/* Nothing but a header that says FORMERR or NOTIMP: what servers from before EDNS make of an OPT record. */
bool answer_is_bare_error(const uint8_t *msg, size_t len, uint16_t id);

/*
 * 0, or -EBADMSG: malformed, a CNAME loop, or a chain longer than ANSWER_MAX_HOPS. After 0, `ret->records` holds the
 * chain's records with fate KEEP; `msg` must stay valid while `ret` is used. A truncated answer has no records.
 */
int answer_read(const uint8_t *msg, size_t len, const struct wire_query *q, struct answer *ret);

/* The address of an A or AAAA record of the right length; false for all others. */
bool answer_address(const struct answer *a, const struct answer_record *r, struct sluice_addr *ret);

/*
 * What the pod gets: chain records that are not stripped. `flat`: addresses only, owned by the question's name. False:
 * it does not fit in out->cap, and what was written is an answer with TC set and nothing in it.
 */
bool answer_write(const struct answer *a, const struct wire_query *q, bool flat, struct wire_out *out);

#endif
