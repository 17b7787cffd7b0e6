/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Over loopback, whatever lengths are put together and sent when: each datagram arrives once, as it was, the longest first
 * and equal ones as they came. Where nobody listens, what an error leaves is still whole.
 *
 * The first byte says how (the bits below); then each pair is a length, or sends what is there.
 */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>

#include "base/cleanup.h"
#include "dnsproxy/bundle.h"
#include "tests/fuzz/fuzz.h"

#define SINGLY	    1
#define NO_CHECKSUM 2 /* the way out takes none together */
#define DEAF	    4

struct line {
	int sender, receiver;
	bool singly;
	bool stuck;		    /* something was not sent: nothing is added to it */
	size_t lengths[BUNDLE_MAX]; /* of what was added since the bundle was empty */
	unsigned int added;
};

static struct bundle bundle;

static void open_line(struct line *l, uint8_t how)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
	socklen_t len = sizeof(to);
	const int on = 1;

	l->receiver = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	l->sender = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	l->singly = how & SINGLY;
	must(bind(l->receiver, (struct sockaddr *)&to, len) == 0);
	must(getsockname(l->receiver, (struct sockaddr *)&to, &len) == 0);
	must(connect(l->sender, (struct sockaddr *)&to, len) == 0);
	/* Connected to itself it hears nobody else, and the port stays its own. */
	if (how & DEAF)
		must(connect(l->receiver, (struct sockaddr *)&to, len) == 0);
	if (how & NO_CHECKSUM)
		must(setsockopt(l->sender, SOL_SOCKET, SO_NO_CHECK, &on, sizeof(on)) == 0);
}

static uint8_t byte_of(unsigned int which, size_t at)
{
	return (uint8_t)(which * 31 + at * 7 + at / 256);
}

static void add(struct line *l, size_t len)
{
	uint8_t msg[BUNDLE_SIZE];

	if (bundle.count == 0)
		l->added = 0;
	for (size_t i = 0; i < len; i++)
		msg[i] = byte_of(l->added, i);
	l->lengths[l->added++] = len;
	bundle_add(&bundle, msg, len);
}

/* The places in the order in which they are to leave. */
static void put_in_order(const struct line *l, unsigned int *ret)
{
	for (size_t len = BUNDLE_SIZE; len > 0; len--)
		for (unsigned int i = 0; i < l->added; i++)
			if (l->lengths[i] == len)
				*ret++ = i;
}

static void must_be(const struct line *l, unsigned int which, const uint8_t *msg, size_t len)
{
	must(len == l->lengths[which]);
	for (size_t i = 0; i < len; i++)
		must(msg[i] == byte_of(which, i));
}

static void receive_all(const struct line *l)
{
	unsigned int order[BUNDLE_MAX];
	uint8_t msg[2 * BUNDLE_SIZE];

	put_in_order(l, order);
	for (unsigned int i = 0; i < l->added; i++) {
		struct pollfd p = { l->receiver, POLLIN, 0 };
		ssize_t n;

		must(poll(&p, 1, 10000) == 1);
		n = recv(l->receiver, msg, sizeof(msg), 0);
		must(n > 0);
		must_be(l, order[i], msg, (size_t)n);
	}
	must(recv(l->receiver, msg, sizeof(msg), MSG_DONTWAIT) < 0 && errno == EAGAIN);
}

static void send_heard(struct line *l)
{
	must(bundle_send(&bundle, l->sender, &l->singly) == 0 && bundle.count == 0);
	receive_all(l);
}

/* The first of them are gone, and an error stands for one at least that was not sent. */
static void send_unheard(struct line *l)
{
	unsigned int before = bundle.count, order[BUNDLE_MAX];
	int r = bundle_send(&bundle, l->sender, &l->singly);

	must(r == 0 ? bundle.count == 0 : r == -ECONNREFUSED && bundle.count > 0 && bundle.count <= before);
	put_in_order(l, order);
	for (unsigned int i = 0; i < bundle.count; i++)
		must_be(l, order[l->added - bundle.count + i], bundle.datagrams[i].iov_base,
			bundle.datagrams[i].iov_len);
	/* Now and then they are given up. */
	if (before == bundle.count && before % 2)
		bundle.count = 0;
	l->stuck = bundle.count > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct line l = {};
	uint8_t how = size > 0 ? data[0] : 0;

	bundle.count = 0;
	open_line(&l, how);
	for (size_t i = 1; i + 1 < size; i += 2) {
		unsigned int n = (unsigned int)data[i] << 8 | data[i + 1];

		if (bundle.count > 0 && (n & 0x8000 || bundle.count == BUNDLE_MAX || l.stuck)) {
			if (how & DEAF)
				send_unheard(&l);
			else
				send_heard(&l);
		}
		if (!(n & 0x8000) && !l.stuck && bundle.count < BUNDLE_MAX)
			add(&l, 1 + n % BUNDLE_SIZE);
	}
	if (bundle.count > 0 && !(how & DEAF))
		send_heard(&l);
	closep(&l.sender);
	closep(&l.receiver);
	return 0;
}
