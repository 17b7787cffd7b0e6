/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * Reading takes two passes: one over the whole answer section, which checks every length and notes where each record
 * lies, then one per hop of the chain, which picks the records owned by the name reached so far. What was not picked is
 * dropped from the list. The answer to the pod is written anew, with names read and written by ourselves, so no
 * compression pointer of an upstream's making reaches the pod.
 */
#include "dnsproxy/answer.h"

#include <errno.h>
#include <string.h>

static bool owned_by(const struct answer *a, const struct answer_record *r, const struct wire_name *name)
{
	struct wire_cursor c = { .data = a->msg, .len = a->len, .pos = r->owner };
	struct wire_name owner;

	/* A pointer to the question, as nearly all are. */
	if (name == &a->names[0] && r->owner + 1u < a->len && a->msg[r->owner] == 0xc0 &&
	    a->msg[r->owner + 1] == WIRE_HEADER)
		return true;
	wire_get_name(&c, true, &owner);
	return !c.failed && wire_name_equal(&owner, name);
}

/* RFC 1035 section 4.1.3. A TTL with the top bit set counts as zero, RFC 2181 section 8. */
static uint16_t get_record(struct wire_cursor *c, struct answer_record *r)
{
	uint16_t class;

	r->owner = (uint16_t)c->pos;
	wire_get_name(c, true, NULL);
	r->type = wire_get16(c);
	class = wire_get16(c);
	r->ttl = wire_get32(c);
	if (r->ttl > INT32_MAX)
		r->ttl = 0;
	r->rdlen = wire_get16(c);
	r->rdata = (uint16_t)c->pos;
	r->hop = 0;
	r->fate = ANSWER_STRIP;
	wire_skip(c, r->rdlen);
	return class;
}

static void get_question(struct wire_cursor *c, struct wire_name *name, uint16_t *type, uint16_t *class)
{
	wire_get_name(c, false, name);
	*type = wire_get16(c);
	*class = wire_get16(c);
}

bool answer_matches(const uint8_t *msg, size_t len, const struct wire_query *q, uint16_t id)
{
	struct wire_cursor c = { .data = msg, .len = len };
	struct wire_name name;
	uint16_t flags, type, class;

	if (len > WIRE_MAX_MESSAGE || wire_get16(&c) != id)
		return false;
	flags = wire_get16(&c);
	if (!(flags & WIRE_QR) || WIRE_OPCODE(flags) != 0 || wire_get16(&c) != 1)
		return false;
	wire_skip(&c, 6);
	get_question(&c, &name, &type, &class);
	return !c.failed && type == q->qtype && class == WIRE_CLASS_IN && wire_name_equal(&name, &q->name);
}

bool answer_is_bare_error(const uint8_t *msg, size_t len, uint16_t id)
{
	struct wire_cursor c = { .data = msg, .len = len };
	uint16_t flags;

	if (len != WIRE_HEADER || wire_get16(&c) != id)
		return false;
	flags = wire_get16(&c);
	if (!(flags & WIRE_QR) || wire_get32(&c) != 0 || wire_get32(&c) != 0)
		return false;
	return (flags & 15) == WIRE_RCODE_FORMERR || (flags & 15) == WIRE_RCODE_NOTIMP;
}

/*
 * RFC 6891 section 6.1.3: the upper bits of the rcode, BADVERS among them, are in the OPT record. `c` stands behind the
 * answer section. What cannot be read adds nothing: the header's own four bits stand.
 */
static void read_extended_rcode(struct answer *a, struct wire_cursor c, uint32_t nrecords)
{
	for (uint32_t i = 0; i < nrecords; i++) {
		struct answer_record r;

		get_record(&c, &r);
		if (c.failed)
			return;
		if (r.type == WIRE_OPT) {
			/* The TTL's place: rcode, version, flags. It may have the top bit set. */
			a->rcode = (enum wire_rcode)((unsigned int)a->rcode | (unsigned int)a->msg[r.rdata - 6] << 4);
			return;
		}
	}
}

/*
 * Behind so many records nothing is read: thousands fit into an answer by TCP, each with a name of 127 labels, and a pod
 * may ask for such answers as fast as for others.
 */
static int read_section(struct answer *a, struct wire_cursor *c, uint16_t count)
{
	for (uint16_t i = 0; i < count && i < ANSWER_MAX_RECORDS; i++) {
		struct answer_record r;
		uint16_t class = get_record(c, &r);

		if (c->failed)
			return -EBADMSG;
		if (class == WIRE_CLASS_IN)
			a->records[a->nrecords++] = r;
		else
			a->ignored++;
	}
	if (count > ANSWER_MAX_RECORDS) {
		a->ignored += count - ANSWER_MAX_RECORDS;
		a->nauthority = 0;
	}
	return 0;
}

/* Index of the CNAME that names[hop] owns, or -ENOENT. */
static int find_cname(const struct answer *a, uint16_t hop)
{
	for (uint16_t i = 0; i < a->nrecords; i++)
		if (a->records[i].type == WIRE_CNAME && owned_by(a, &a->records[i], &a->names[hop]))
			return i;
	return -ENOENT;
}

/* The whole of the record's data must be one name. */
static int read_target(const struct answer *a, const struct answer_record *r, struct wire_name *ret)
{
	struct wire_cursor c = { .data = a->msg, .len = (size_t)r->rdata + r->rdlen, .pos = r->rdata };

	wire_get_name(&c, true, ret);
	return c.failed || c.pos != c.len ? -EBADMSG : 0;
}

static int follow_cnames(struct answer *a, uint16_t qtype)
{
	if (qtype == WIRE_CNAME || qtype == WIRE_ANY)
		return 0;
	for (;;) {
		uint16_t hop = a->nnames - 1;
		int i = find_cname(a, hop);

		if (i < 0)
			return 0;
		if (hop == ANSWER_MAX_HOPS || read_target(a, &a->records[i], &a->names[hop + 1]) < 0)
			return -EBADMSG;
		for (uint16_t n = 0; n <= hop; n++)
			if (wire_name_equal(&a->names[n], &a->names[hop + 1]))
				return -EBADMSG;
		a->cnames[hop] = (uint16_t)i;
		a->records[i].hop = (uint8_t)hop;
		a->records[i].fate = ANSWER_KEEP;
		a->nnames++;
	}
}

/* RRSIG covers a type: RFC 4034 section 3.1.1. */
static uint16_t covered_type(const struct answer *a, const struct answer_record *r)
{
	return r->rdlen >= 2 ? (uint16_t)(a->msg[r->rdata] << 8 | a->msg[r->rdata + 1]) : 0;
}

static bool wanted(const struct answer *a, const struct answer_record *r, const struct wire_query *q)
{
	uint16_t type = r->type;

	if (q->qtype == WIRE_ANY)
		return true;
	if (type == WIRE_RRSIG && q->dnssec_ok)
		type = covered_type(a, r);
	return type == q->qtype;
}

/* Records of the question's type at the end of the chain; signatures also along it. */
static void pick_records(struct answer *a, const struct wire_query *q)
{
	uint16_t last = a->nnames - 1;

	for (uint16_t i = 0; i < a->nrecords; i++) {
		struct answer_record *r = &a->records[i];

		if (r->fate == ANSWER_KEEP)
			continue;
		if (wanted(a, r, q) && owned_by(a, r, &a->names[last])) {
			r->fate = ANSWER_KEEP;
			r->hop = (uint8_t)last;
		}
		for (uint16_t hop = 0; q->dnssec_ok && r->type == WIRE_RRSIG && r->fate == ANSWER_STRIP && hop < last;
		     hop++)
			if (covered_type(a, r) == WIRE_CNAME && owned_by(a, r, &a->names[hop])) {
				r->fate = ANSWER_KEEP;
				r->hop = (uint8_t)hop;
			}
	}
}

/* Drops what was not picked; cnames[] follow. */
static void compact(struct answer *a)
{
	uint16_t kept = 0;

	a->ttl = a->nrecords ? UINT32_MAX : 0;
	for (uint16_t i = 0; i < a->nrecords; i++) {
		if (a->records[i].fate == ANSWER_STRIP) {
			a->ignored++;
			continue;
		}
		for (uint16_t hop = 0; hop + 1 < a->nnames; hop++)
			if (a->cnames[hop] == i)
				a->cnames[hop] = kept;
		a->records[kept] = a->records[i];
		if (a->records[kept].type != WIRE_RRSIG && a->records[kept].ttl < a->ttl)
			a->ttl = a->records[kept].ttl;
		kept++;
	}
	a->nrecords = kept;
	if (a->ttl == UINT32_MAX)
		a->ttl = 0;
}

int answer_read(const uint8_t *msg, size_t len, const struct wire_query *q, struct answer *ret)
{
	struct wire_cursor c = { .data = msg, .len = len };
	uint16_t flags, nanswers, nadditional, type, class;
	int r;

	ret->msg = msg;
	ret->len = len;
	ret->ttl = ret->ignored = 0;
	ret->nrecords = ret->nauthority = 0;
	ret->nnames = 1;
	ret->names[0] = q->name;
	wire_skip(&c, 2);
	flags = wire_get16(&c);
	wire_skip(&c, 2);
	nanswers = wire_get16(&c);
	ret->nauthority = wire_get16(&c);
	nadditional = wire_get16(&c);
	get_question(&c, &ret->names[1], &type, &class);
	if (c.failed || len > WIRE_MAX_MESSAGE)
		return -EBADMSG;
	ret->rcode = (enum wire_rcode)(flags & 15);
	ret->truncated = flags & WIRE_TC;
	if (ret->truncated) {
		ret->nauthority = 0;
		return 0;
	}
	r = read_section(ret, &c, nanswers);
	if (r < 0)
		return r;
	ret->authority = (uint16_t)c.pos;
	if (nanswers == 0)
		read_extended_rcode(ret, c, (uint32_t)ret->nauthority + nadditional);
	r = follow_cnames(ret, q->qtype);
	if (r < 0)
		return r;
	pick_records(ret, q);
	compact(ret);
	return 0;
}

bool answer_address(const struct answer *a, const struct answer_record *r, struct sluice_addr *ret)
{
	static const struct sluice_addr mapped = { .b = { [10] = 0xff, [11] = 0xff } };

	if (r->type == WIRE_A && r->rdlen == 4) {
		*ret = mapped;
		memcpy(ret->b + 12, a->msg + r->rdata, 4);
		return true;
	}
	if (r->type == WIRE_AAAA && r->rdlen == 16) {
		memcpy(ret->b, a->msg + r->rdata, 16);
		return true;
	}
	return false;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

/* Types whose data holds names that may be compressed (RFC 3597 section 4): fixed bytes, names, fixed bytes. */
static const struct layout {
	uint16_t type;
	uint8_t before;
	uint8_t names;
	uint8_t after;
} layouts[] = {
	{ WIRE_NS, 0, 1, 0 }, { WIRE_CNAME, 0, 1, 0 }, { WIRE_SOA, 0, 2, 20 },	{ WIRE_PTR, 0, 1, 0 },
	{ WIRE_MX, 2, 1, 0 }, { WIRE_SRV, 6, 1, 0 },   { WIRE_DNAME, 0, 1, 0 },
};

static const struct layout *layout_of(uint16_t type)
{
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++)
		if (layouts[i].type == type)
			return &layouts[i];
	return NULL;
}

/* False: the data is not what the type says. */
static bool put_rdata(const struct answer *a, const struct answer_record *r, struct wire_out *o)
{
	const struct layout *l = layout_of(r->type);
	struct wire_cursor c = { .data = a->msg, .len = (size_t)r->rdata + r->rdlen, .pos = r->rdata };
	size_t at = o->len;

	wire_put16(o, 0);
	if (!l) {
		wire_put(o, a->msg + r->rdata, r->rdlen);
	} else {
		wire_skip(&c, l->before);
		if (!c.failed)
			wire_put(o, a->msg + r->rdata, l->before);
		for (uint8_t i = 0; i < l->names; i++) {
			struct wire_name name;

			wire_get_name(&c, true, &name);
			wire_put_name(o, &name);
		}
		if (!c.failed && c.len - c.pos == l->after)
			wire_put(o, a->msg + c.pos, l->after);
		else
			c.failed = true;
	}
	if (!o->overflow)
		wire_patch16(o, at, (uint16_t)(o->len - at - 2));
	return !c.failed;
}

/* `owner` is an offset in the output. Malformed data leaves no record. */
static void put_record(const struct answer *a, const struct answer_record *r, uint16_t owner, uint32_t ttl,
		       enum wire_section section, struct wire_out *o)
{
	size_t start = o->len;

	wire_put16(o, 0xc000 | owner);
	wire_put16(o, r->type);
	wire_put16(o, WIRE_CLASS_IN);
	wire_put32(o, ttl);
	if (put_rdata(a, r, o))
		wire_count(o, section);
	else
		o->len = start;
}

static void put_chain(const struct answer *a, struct wire_out *o)
{
	uint16_t owner[ANSWER_MAX_HOPS + 1] = { WIRE_HEADER };

	for (uint16_t hop = 0; hop + 1 < a->nnames; hop++) {
		const struct answer_record *r = &a->records[a->cnames[hop]];

		put_record(a, r, owner[hop], r->ttl, WIRE_ANSWER, o);
		/* The target just written is the next owner's name: last in the record. RFC 1035 pointers hold 14 bits. */
		owner[hop + 1] = (uint16_t)(o->len - (a->names[hop + 1].len ? a->names[hop + 1].len + 2u : 1u));
	}
	for (uint16_t i = 0; i < a->nrecords; i++) {
		const struct answer_record *r = &a->records[i];

		if (r->fate == ANSWER_STRIP || (r->hop + 1 < a->nnames && a->cnames[r->hop] == i))
			continue;
		put_record(a, r, owner[r->hop], r->ttl, WIRE_ANSWER, o);
	}
}

static void put_flat(const struct answer *a, struct wire_out *o)
{
	struct sluice_addr addr;

	for (uint16_t i = 0; i < a->nrecords; i++)
		if (a->records[i].fate != ANSWER_STRIP && answer_address(a, &a->records[i], &addr))
			put_record(a, &a->records[i], WIRE_HEADER, a->ttl, WIRE_ANSWER, o);
}

static bool answered(const struct wire_out *o, bool flat, const struct answer *a)
{
	uint16_t written = (uint16_t)(o->data[WIRE_ANSWER] << 8 | o->data[WIRE_ANSWER + 1]);

	return written > (flat ? 0 : a->nnames - 1);
}

/*
 * A negative answer needs an SOA to be cached (RFC 2308 section 3): upstream's own, when it speaks for a zone of the
 * last name of the chain; for a flat answer, which hides that name, and where there is none, a made-up one.
 */
static void put_negative(const struct answer *a, const struct wire_query *q, bool flat, struct wire_out *o)
{
	struct wire_cursor c = { .data = a->msg, .len = a->len, .pos = a->authority };
	const struct wire_name *last = &a->names[a->nnames - 1];

	for (uint16_t i = 0; !flat && i < a->nauthority && i < 64; i++) {
		struct answer_record r;
		struct wire_name owner;
		struct wire_cursor at = c;
		uint16_t class = get_record(&c, &r);
		size_t start = o->len;

		if (c.failed)
			break;
		wire_get_name(&at, true, &owner);
		if (r.type != WIRE_SOA || class != WIRE_CLASS_IN || !wire_name_within(last, owner.text, owner.len))
			continue;
		wire_put_name(o, &owner);
		wire_put16(o, WIRE_SOA);
		wire_put16(o, WIRE_CLASS_IN);
		wire_put32(o, r.ttl);
		if (put_rdata(a, &r, o)) {
			wire_count(o, WIRE_AUTHORITY);
			return;
		}
		o->len = start;
	}
	/* A name that does not exist owns no SOA either: its parent is the nearest that may. */
	wire_put_soa(o, q, a->rcode == WIRE_RCODE_NXDOMAIN ? wire_parent(&q->name) : 0);
}

bool answer_write(const struct answer *a, const struct wire_query *q, bool flat, struct wire_out *out)
{
	if (!a->truncated) {
		wire_begin(out, q, a->rcode, false);
		if (flat)
			put_flat(a, out);
		else
			put_chain(a, out);
		if (!out->overflow && !answered(out, flat, a))
			put_negative(a, q, flat, out);
		wire_end(out, q, a->rcode, WIRE_EDE_NONE, NULL);
		if (!out->overflow)
			return true;
	}
	wire_begin(out, q, a->rcode, true);
	wire_end(out, q, a->rcode, WIRE_EDE_NONE, NULL);
	return false;
}
