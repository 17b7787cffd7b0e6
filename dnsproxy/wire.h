/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DNS messages: a bounded reader and a bounded writer (RFC 1035, RFC 6891, RFC 8914). No allocation, no I/O.
 *
 * A name is kept as canonical text: lower case, dots between labels, no final dot. Labels that hold a dot or a NUL are
 * refused by the reader, so text and wire form tell the same. A label that starts at text offset k starts at offset
 * k of the wire form too.
 */
#ifndef SLUICE_DNSPROXY_WIRE_H
#define SLUICE_DNSPROXY_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_HEADER	  12
#define WIRE_NAME_TEXT	  253
#define WIRE_MAX_QUESTION 259 /* a name of 255 bytes, type, class */
#define WIRE_MIN_UDP	  512
#define WIRE_EDNS_UDP	  1232 /* what we ask upstream, and the most we send by UDP: no fragments (RFC 9715) */
#define WIRE_MAX_MESSAGE  65535

#define WIRE_QR		   0x8000
#define WIRE_TC		   0x0200
#define WIRE_RD		   0x0100
#define WIRE_RA		   0x0080
#define WIRE_CD		   0x0010
#define WIRE_OPCODE(flags) (((flags) >> 11) & 15)

enum wire_rcode {
	WIRE_NOERROR = 0,
	WIRE_RCODE_FORMERR = 1,
	WIRE_RCODE_SERVFAIL = 2,
	WIRE_RCODE_NXDOMAIN = 3,
	WIRE_RCODE_NOTIMP = 4,
	WIRE_RCODE_REFUSED = 5,
	WIRE_RCODE_BADVERS = 16,
};

enum wire_type {
	WIRE_A = 1,
	WIRE_NS = 2,
	WIRE_CNAME = 5,
	WIRE_SOA = 6,
	WIRE_PTR = 12,
	WIRE_MX = 15,
	WIRE_TXT = 16,
	WIRE_AAAA = 28,
	WIRE_SRV = 33,
	WIRE_DNAME = 39,
	WIRE_OPT = 41,
	WIRE_RRSIG = 46,
	WIRE_ANY = 255,
};
#define WIRE_CLASS_IN 1

enum wire_ede { /* RFC 8914 section 4 */
		WIRE_EDE_NONE = -1,
		WIRE_EDE_BLOCKED = 15,
		WIRE_EDE_NETWORK = 23,
};

struct wire_name {
	uint8_t len;
	char text[WIRE_NAME_TEXT + 2];
};

bool wire_name_equal(const struct wire_name *a, const struct wire_name *b);
/* Is `name` below `zone`, or the zone itself? The root is above everything. */
bool wire_name_within(const struct wire_name *name, const char *zone, size_t zone_len);
/* Text offset of the name without its first label, for wire_put_soa; past the end: the root. */
size_t wire_parent(const struct wire_name *name);

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* After the first read beyond the end `failed` stays set and every read gives zeros. */
struct wire_cursor {
	const uint8_t *data;
	size_t len;
	size_t pos;
	bool failed;
};

uint8_t wire_get8(struct wire_cursor *c);
uint16_t wire_get16(struct wire_cursor *c);
uint32_t wire_get32(struct wire_cursor *c);
void wire_skip(struct wire_cursor *c, size_t n);
/* `ret` may be NULL. Pointers, where allowed, lead strictly backwards, so a name ends. */
void wire_get_name(struct wire_cursor *c, bool pointers, struct wire_name *ret);

enum wire_result {
	WIRE_OK,
	WIRE_SHORT, /* less than a header: nothing to answer to */
	WIRE_FORMERR,
	WIRE_NOTIMP,
	WIRE_BADVERS,
};

struct wire_query {
	uint16_t id;
	uint16_t flags;
	uint16_t qtype;
	uint16_t udp_size; /* what the asker takes by UDP, from 512 */
	bool edns;
	bool dnssec_ok;
	uint16_t question_len;		     /* 0: not read, the answer carries none */
	uint8_t question[WIRE_MAX_QUESTION]; /* as it came, case and all */
	struct wire_name name;
};

/* Everything but WIRE_SHORT leaves a query that wire_begin can answer. */
enum wire_result wire_read_query(const uint8_t *msg, size_t len, struct wire_query *ret);

/* ---- writing ---------------------------------------------------------------------------------------------------- */

struct wire_out {
	uint8_t *data;
	size_t cap;
	size_t len;
	bool overflow; /* something did not fit; `len` stays where it was */
};

void wire_put(struct wire_out *o, const void *data, size_t n);
void wire_put8(struct wire_out *o, uint8_t v);
void wire_put16(struct wire_out *o, uint16_t v);
void wire_put32(struct wire_out *o, uint32_t v);
void wire_put_name(struct wire_out *o, const struct wire_name *name); /* uncompressed */
void wire_patch16(struct wire_out *o, size_t at, uint16_t v);

/* Header and question of an answer. Counts are added to with wire_count. */
void wire_begin(struct wire_out *o, const struct wire_query *q, enum wire_rcode rcode, bool truncated);
enum wire_section { WIRE_ANSWER = 6, WIRE_AUTHORITY = 8, WIRE_ADDITIONAL = 10 }; /* where the header counts them */
void wire_count(struct wire_out *o, enum wire_section section);
/* A made-up SOA in authority: its owner is the question's name from text offset `zone` on. TTL and minimum 5 s. */
void wire_put_soa(struct wire_out *o, const struct wire_query *q, size_t zone);
/* Our own OPT record when the query had one, with an extended error where `ede` is one. `text` may be NULL. */
void wire_end(struct wire_out *o, const struct wire_query *q, enum wire_rcode rcode, enum wire_ede ede,
	      const char *text);

/*
 * The query we send: our id, lower case, recursion desired, our size, DO as asked and nothing else. Without `edns` there
 * is no OPT record, so neither size nor DO.
 */
size_t wire_write_query(uint8_t *buf, size_t cap, const struct wire_query *q, uint16_t id, bool edns);

/* How much an answer by UDP may hold for this asker. */
size_t wire_udp_limit(const struct wire_query *q);

#endif
