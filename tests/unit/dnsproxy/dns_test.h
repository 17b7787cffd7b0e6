/* SPDX-License-Identifier: Apache-2.0 */
/* What the proxy's tests share: messages made and taken apart with little else than an array of bytes. */
#ifndef SLUICE_TESTS_DNS_TEST_H
#define SLUICE_TESTS_DNS_TEST_H

#include "tests/unit/policy/policy_test.h"

#include "dnsproxy/wire.h"

struct msg {
	uint8_t data[4096];
	size_t len;
};

static inline void add8(struct msg *m, unsigned int v)
{
	m->data[m->len++] = (uint8_t)v;
}

static inline void add16(struct msg *m, unsigned int v)
{
	add8(m, v >> 8);
	add8(m, v);
}

static inline void add32(struct msg *m, unsigned int v)
{
	add16(m, v >> 16);
	add16(m, v);
}

/* "www.Example.com" or "" for the root; no checks: labels may be of any length and case. */
static inline void add_name(struct msg *m, const char *name)
{
	while (*name) {
		size_t len = strcspn(name, ".");

		add8(m, (unsigned int)len);
		memcpy(m->data + m->len, name, len);
		m->len += len;
		name += len + (name[len] == '.');
	}
	add8(m, 0);
}

static inline void add_header(struct msg *m, unsigned int id, unsigned int flags, unsigned int qd, unsigned int an,
			      unsigned int ns, unsigned int ar)
{
	m->len = 0;
	add16(m, id);
	add16(m, flags);
	add16(m, qd);
	add16(m, an);
	add16(m, ns);
	add16(m, ar);
}

static inline void add_question(struct msg *m, const char *name, unsigned int type)
{
	add_name(m, name);
	add16(m, type);
	add16(m, 1);
}

static inline struct msg query(const char *name, unsigned int type)
{
	struct msg m = { .len = 0 };

	add_header(&m, 0x1234, WIRE_RD, 1, 0, 0, 0);
	add_question(&m, name, type);
	return m;
}

/* An OPT record; `options` are its data as they are. */
static inline void add_opt(struct msg *m, unsigned int size, unsigned int flags, const void *options, size_t len)
{
	add8(m, 0);
	add16(m, WIRE_OPT);
	add16(m, size);
	add16(m, 0);
	add16(m, flags);
	add16(m, (unsigned int)len);
	if (len)
		memcpy(m->data + m->len, options, len);
	m->len += len;
	m->data[11]++;
}

/* Counts it in the answer section. */
static inline void begin_rr(struct msg *m, const char *owner, unsigned int type, unsigned int ttl)
{
	add_name(m, owner);
	add16(m, type);
	add16(m, 1);
	add32(m, ttl);
	m->data[7]++;
}

static inline void add_addr(struct msg *m, const char *owner, unsigned int ttl, const char *addr)
{
	struct sluice_addr a = test_addr(addr);
	bool v4 = strchr(addr, ':') == NULL;
	size_t len = v4 ? 4 : 16;

	begin_rr(m, owner, v4 ? WIRE_A : WIRE_AAAA, ttl);
	add16(m, (unsigned int)len);
	memcpy(m->data + m->len, a.b + 16 - len, len);
	m->len += len;
}

static inline void add_name_rr(struct msg *m, const char *owner, unsigned int type, unsigned int ttl,
			       const char *target)
{
	begin_rr(m, owner, type, ttl);
	add16(m, (unsigned int)(strlen(target) + (*target ? 2 : 1)));
	add_name(m, target);
}

static inline unsigned int get16(const uint8_t *p)
{
	return (unsigned int)(p[0] << 8 | p[1]);
}

/* The answer section in words: "name A 192.0.2.1 60; ...", read with the library under test's cursor. */
static inline char *answers(const uint8_t *msg, size_t len, char *buf, size_t size)
{
	struct wire_cursor c = { .data = msg, .len = len, .pos = WIRE_HEADER };
	char text[ADDR_TEXT_MAX];
	size_t at = 0;

	buf[0] = '\0';
	for (unsigned int i = 0; i < get16(msg + 4); i++) {
		wire_get_name(&c, false, NULL);
		wire_skip(&c, 4);
	}
	for (unsigned int i = 0; i < get16(msg + 6); i++) {
		struct wire_name owner, target;
		struct sluice_addr a = { .b = { [10] = 0xff, [11] = 0xff } };
		unsigned int type, ttl, rdlen;

		wire_get_name(&c, true, &owner);
		type = wire_get16(&c);
		wire_skip(&c, 2);
		ttl = wire_get32(&c);
		rdlen = wire_get16(&c);
		assert_false(c.failed);
		at += (size_t)snprintf(buf + at, size - at, "%s%.*s ", i ? "; " : "", owner.len, owner.text);
		if (type == WIRE_A || type == WIRE_AAAA) {
			memcpy(a.b + 16 - rdlen, msg + c.pos, rdlen);
			at += (size_t)snprintf(buf + at, size - at, "%s", addr_format(&a, text));
		} else if (type == WIRE_CNAME || type == WIRE_PTR) {
			struct wire_cursor at_target = c;

			wire_get_name(&at_target, true, &target);
			at += (size_t)snprintf(buf + at, size - at, "-> %.*s", target.len, target.text);
		} else {
			at += (size_t)snprintf(buf + at, size - at, "type%u", type);
		}
		at += (size_t)snprintf(buf + at, size - at, " %u", ttl);
		wire_skip(&c, rdlen);
		assert_false(c.failed);
	}
	return buf;
}

#endif
