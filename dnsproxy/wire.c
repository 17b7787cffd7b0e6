/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsproxy/wire.h"

#include <string.h>

bool wire_name_equal(const struct wire_name *a, const struct wire_name *b)
{
	return a->len == b->len && memcmp(a->text, b->text, a->len) == 0;
}

bool wire_name_within(const struct wire_name *name, const char *zone, size_t zone_len)
{
	if (zone_len == 0)
		return true;
	if (zone_len > name->len || memcmp(name->text + name->len - zone_len, zone, zone_len) != 0)
		return false;
	return zone_len == name->len || name->text[name->len - zone_len - 1] == '.';
}

size_t wire_parent(const struct wire_name *name)
{
	const char *dot = memchr(name->text, '.', name->len);

	return dot ? (size_t)(dot - name->text) + 1 : (size_t)name->len + 1;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static bool take(struct wire_cursor *c, size_t n)
{
	if (c->failed || c->pos > c->len || n > c->len - c->pos) {
		c->failed = true;
		return false;
	}
	c->pos += n;
	return true;
}

uint8_t wire_get8(struct wire_cursor *c)
{
	return take(c, 1) ? c->data[c->pos - 1] : 0;
}

uint16_t wire_get16(struct wire_cursor *c)
{
	if (!take(c, 2))
		return 0;
	return (uint16_t)(c->data[c->pos - 2] << 8 | c->data[c->pos - 1]);
}

uint32_t wire_get32(struct wire_cursor *c)
{
	uint32_t high = wire_get16(c);

	return high << 16 | wire_get16(c);
}

void wire_skip(struct wire_cursor *c, size_t n)
{
	take(c, n);
}

/* Appends a label's text. RFC 1035 sections 2.3.4 and 3.1: 255 bytes on the wire are 253 of text. */
static bool add_label(struct wire_name *name, const uint8_t *label, size_t len)
{
	size_t at = name->len;

	if (at + (at > 0) + len > WIRE_NAME_TEXT)
		return false;
	if (at > 0)
		name->text[at++] = '.';
	for (size_t i = 0; i < len; i++) {
		uint8_t ch = label[i];

		/* Such a label reads as another name, or ends, in whatever takes names for text. */
		if (ch == '\0' || ch == '.')
			return false;
		name->text[at++] = (char)(ch >= 'A' && ch <= 'Z' ? ch + 32 : ch);
	}
	name->len = (uint8_t)at;
	return true;
}

/* A name has at most 127 labels; more pointers than that only cost time. */
#define MAX_JUMPS 127

struct walk {
	struct wire_cursor at; /* follows pointers */
	size_t lowest;	       /* where the present run of labels began */
	size_t end;	       /* behind the first pointer */
	unsigned int jumps;
};

/* Backwards from where this run of labels began: RFC 1035 section 4.1.4, "a prior occurrence". */
static bool jump(struct walk *w, uint8_t high)
{
	size_t target = (size_t)(high & 0x3f) << 8 | wire_get8(&w->at);

	if (w->at.failed || target >= w->lowest || w->jumps == MAX_JUMPS)
		return false;
	if (w->jumps++ == 0)
		w->end = w->at.pos;
	w->lowest = w->at.pos = target;
	return true;
}

static bool walk_name(struct walk *w, bool pointers, struct wire_name *name)
{
	for (;;) {
		uint8_t len = wire_get8(&w->at);

		if (w->at.failed)
			return false;
		if (len == 0)
			return true;
		if ((len & 0xc0) == 0xc0) {
			if (!pointers || !jump(w, len))
				return false;
			continue;
		}
		/* The other two label types are not in use, RFC 6891 section 5. */
		if (len > 63 || !take(&w->at, len) || !add_label(name, w->at.data + w->at.pos - len, len))
			return false;
	}
}

void wire_get_name(struct wire_cursor *c, bool pointers, struct wire_name *ret)
{
	struct walk w = { .at = *c, .lowest = c->pos };
	struct wire_name name;

	name.len = 0;
	if (!walk_name(&w, pointers, &name)) {
		c->failed = true;
		name.len = 0;
	} else {
		c->pos = w.jumps ? w.end : w.at.pos;
	}
	if (ret)
		*ret = name;
}

/* RFC 6891 section 6.1. The options are the pod's own business: they are checked for shape and go no further. */
static enum wire_result read_opt(struct wire_cursor *c, struct wire_query *q)
{
	uint16_t size = wire_get16(c);
	uint32_t ttl = wire_get32(c);
	uint16_t rdlen = wire_get16(c);
	struct wire_cursor options = { .data = c->data, .len = c->pos + rdlen, .pos = c->pos };

	wire_skip(c, rdlen);
	if (c->failed)
		return WIRE_FORMERR;
	while (options.pos < options.len && !options.failed) {
		wire_get16(&options);
		wire_skip(&options, wire_get16(&options));
	}
	if (options.failed)
		return WIRE_FORMERR;
	q->edns = true;
	q->dnssec_ok = ttl & 0x8000;
	q->udp_size = size > WIRE_MIN_UDP ? size : WIRE_MIN_UDP;
	return (ttl >> 16 & 0xff) == 0 ? WIRE_OK : WIRE_BADVERS;
}

static enum wire_result read_question(struct wire_cursor *c, struct wire_query *q)
{
	uint16_t class;

	wire_get_name(c, false, &q->name);
	q->qtype = wire_get16(c);
	class = wire_get16(c);
	if (c->failed)
		return WIRE_FORMERR;
	q->question_len = (uint16_t)(c->pos - WIRE_HEADER);
	memcpy(q->question, c->data + WIRE_HEADER, q->question_len);
	return class == WIRE_CLASS_IN ? WIRE_OK : WIRE_NOTIMP;
}

/* Header, and how many additional records there are. */
static enum wire_result read_header(struct wire_cursor *c, struct wire_query *q, uint16_t *ret_additional)
{
	uint16_t questions, answers, authority;

	q->id = wire_get16(c);
	q->flags = wire_get16(c);
	questions = wire_get16(c);
	answers = wire_get16(c);
	authority = wire_get16(c);
	*ret_additional = wire_get16(c);
	if (c->failed)
		return WIRE_SHORT;
	if (q->flags & WIRE_QR)
		return WIRE_FORMERR;
	if (WIRE_OPCODE(q->flags) != 0)
		return WIRE_NOTIMP;
	/* RFC 9619: a query has one question. Records have no place in one, but for OPT. */
	return questions != 1 || answers != 0 || authority != 0 || *ret_additional > 1 ? WIRE_FORMERR : WIRE_OK;
}

enum wire_result wire_read_query(const uint8_t *msg, size_t len, struct wire_query *ret)
{
	struct wire_cursor c = { .data = msg, .len = len };
	enum wire_result r, opt = WIRE_OK;
	uint16_t additional;

	ret->question_len = 0;
	ret->name.len = 0;
	ret->qtype = 0;
	ret->edns = ret->dnssec_ok = false;
	ret->udp_size = WIRE_MIN_UDP;
	r = read_header(&c, ret, &additional);
	if (r != WIRE_OK)
		return r;
	r = read_question(&c, ret);
	if (r == WIRE_FORMERR)
		return r;
	if (additional == 1) {
		if (wire_get8(&c) != 0 || wire_get16(&c) != WIRE_OPT)
			return WIRE_FORMERR;
		opt = read_opt(&c, ret);
	}
	if (c.failed || c.pos != len)
		return WIRE_FORMERR;
	return opt != WIRE_OK ? opt : r;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

void wire_put(struct wire_out *o, const void *data, size_t n)
{
	if (n == 0)
		return;
	if (o->overflow || n > o->cap - o->len) {
		o->overflow = true;
		return;
	}
	memcpy(o->data + o->len, data, n);
	o->len += n;
}

void wire_put8(struct wire_out *o, uint8_t v)
{
	wire_put(o, &v, 1);
}

void wire_put16(struct wire_out *o, uint16_t v)
{
	uint8_t b[2] = { (uint8_t)(v >> 8), (uint8_t)v };

	wire_put(o, b, sizeof(b));
}

void wire_put32(struct wire_out *o, uint32_t v)
{
	uint8_t b[4] = { (uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v };

	wire_put(o, b, sizeof(b));
}

void wire_put_name(struct wire_out *o, const struct wire_name *name)
{
	size_t at = 0;

	while (at < name->len) {
		const char *dot = memchr(name->text + at, '.', name->len - at);
		size_t len = dot ? (size_t)(dot - name->text) - at : name->len - at;

		wire_put8(o, (uint8_t)len);
		wire_put(o, name->text + at, len);
		at += len + 1;
	}
	wire_put8(o, 0);
}

void wire_patch16(struct wire_out *o, size_t at, uint16_t v)
{
	if (at + 2 > o->len)
		return;
	o->data[at] = (uint8_t)(v >> 8);
	o->data[at + 1] = (uint8_t)v;
}

void wire_begin(struct wire_out *o, const struct wire_query *q, enum wire_rcode rcode, bool truncated)
{
	/* Opcode, RD and CD come back as asked: RFC 1035 section 4.1.1, RFC 4035 section 3.2.2. */
	uint16_t flags = (uint16_t)(WIRE_QR | WIRE_RA | (q->flags & (0x7800 | WIRE_RD | WIRE_CD)) | ((int)rcode & 15));

	o->len = 0;
	o->overflow = false;
	wire_put16(o, q->id);
	wire_put16(o, truncated ? flags | WIRE_TC : flags);
	wire_put16(o, q->question_len ? 1 : 0);
	wire_put16(o, 0);
	wire_put16(o, 0);
	wire_put16(o, 0);
	wire_put(o, q->question, q->question_len);
}

void wire_count(struct wire_out *o, enum wire_section section)
{
	size_t at = (size_t)section;

	if (!o->overflow && at + 2 <= o->len)
		wire_patch16(o, at, (uint16_t)((o->data[at] << 8 | o->data[at + 1]) + 1));
}

void wire_put_soa(struct wire_out *o, const struct wire_query *q, size_t zone)
{
	static const uint8_t names[] =
		"\005proxy\006sluice\007invalid\000\006nobody\007invalid"; /* RFC 6761 section 6.4 */
	size_t at = zone <= q->name.len ? zone : (size_t)q->name.len + (q->name.len > 0);

	wire_put16(o, (uint16_t)(0xc000 | (WIRE_HEADER + at)));
	wire_put16(o, WIRE_SOA);
	wire_put16(o, WIRE_CLASS_IN);
	wire_put32(o, 5); /* a pod whose policy changes must not remember a denial for long */
	wire_put16(o, sizeof(names) + 20);
	wire_put(o, names, sizeof(names));
	wire_put32(o, 1);
	wire_put32(o, 3600);
	wire_put32(o, 600);
	wire_put32(o, 86400);
	wire_put32(o, 5); /* RFC 2308 section 4: the negative TTL */
	wire_count(o, WIRE_AUTHORITY);
}

void wire_end(struct wire_out *o, const struct wire_query *q, enum wire_rcode rcode, enum wire_ede ede,
	      const char *text)
{
	size_t text_len = text ? strlen(text) : 0;
	size_t option = ede == WIRE_EDE_NONE ? 0 : 6 + text_len;

	if (!q->edns)
		return;
	wire_put8(o, 0);
	wire_put16(o, WIRE_OPT);
	wire_put16(o, WIRE_EDNS_UDP);
	wire_put8(o, (uint8_t)((int)rcode >> 4));
	wire_put8(o, 0);
	wire_put16(o, q->dnssec_ok ? 0x8000 : 0); /* RFC 3225 section 3: copied */
	wire_put16(o, (uint16_t)option);
	if (option) {
		wire_put16(o, 15);
		wire_put16(o, (uint16_t)(2 + text_len));
		wire_put16(o, (uint16_t)ede);
		wire_put(o, text, text_len);
	}
	wire_count(o, WIRE_ADDITIONAL);
}

size_t wire_write_query(uint8_t *buf, size_t cap, const struct wire_query *q, uint16_t id, bool edns)
{
	struct wire_out o = { .data = buf, .cap = cap };

	wire_put16(&o, id);
	wire_put16(&o, WIRE_RD);
	wire_put16(&o, 1);
	wire_put16(&o, 0);
	wire_put16(&o, 0);
	wire_put16(&o, edns ? 1 : 0);
	wire_put_name(&o, &q->name);
	wire_put16(&o, q->qtype);
	wire_put16(&o, WIRE_CLASS_IN);
	if (edns) {
		wire_put8(&o, 0);
		wire_put16(&o, WIRE_OPT);
		wire_put16(&o, WIRE_EDNS_UDP);
		wire_put16(&o, 0);
		wire_put16(&o, q->dnssec_ok ? 0x8000 : 0);
		wire_put16(&o, 0);
	}
	return o.overflow ? 0 : o.len;
}

size_t wire_udp_limit(const struct wire_query *q)
{
	return q->udp_size < WIRE_EDNS_UDP ? q->udp_size : WIRE_EDNS_UDP;
}
