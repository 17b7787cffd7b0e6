/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsproxy/upstream.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "dnsproxy/bundle.h"
#include "dnsproxy/loop.h"
#include "dnsproxy/streams.h"
#include "dnsproxy/wire.h"

#define POOL	    16
#define POOL_USES   128
#define POOL_AGE    (30 * NSEC_PER_SEC)
#define RECEIVE	    16	 /* answers taken at once */
#define ANSWER_SIZE 2048 /* more than we say we take; what is longer still is nobody's answer to us */

struct pooled {
	struct source source;
	struct upstream *upstream;
	uint64_t born;
	uint32_t transport;
	uint32_t uses;
	uint32_t waiting; /* queries whose answer is due here */
	bool failed;	  /* what waits here has to be told */
	int fd;		  /* -1: closed */
};

_Static_assert(BUNDLE_SIZE >= WIRE_MIN_UDP, "room for each of our queries");

/* Queries of one turn of the loop, all for the same socket: one call sends them. */
struct queue {
	struct pooled *socket; /* NULL: empty */
	struct bundle bundle;
};

struct inbox {
	struct mmsghdr headers[RECEIVE];
	struct iovec iovs[RECEIVE];
	uint8_t data[RECEIVE][ANSWER_SIZE];
};

struct upstream {
	struct core *core;
	int loop;
	unsigned int nrandom;
	uint16_t random[128];
	bool failed; /* some socket */
	struct queue queue;
	bool singly[PROXY_MAX_RESOLVERS]; /* queries to it leave one by one (bundle.h) */
	struct inbox inbox;
	struct pooled udp[PROXY_MAX_RESOLVERS][POOL];
	struct streams *streams;
};

uint16_t upstream_random(struct upstream *u)
{
	if (u->nrandom == 0) {
		if (getrandom(u->random, sizeof(u->random), 0) != sizeof(u->random))
			abort(); /* a predictable id is worse than no proxy; does not happen after boot */
		u->nrandom = ARRAY_SIZE(u->random);
	}
	return u->random[--u->nrandom];
}

/* ---- UDP --------------------------------------------------------------------------------------------------------- */

static void pooled_close(struct pooled *s)
{
	closep(&s->fd);
	s->uses = 0;
}

/*
 * One batch per turn: the loop comes back while there is more. No more than is due is looked for, since looking in vain
 * costs as much as a short answer does.
 */
static int receive(struct pooled *s, struct inbox *in)
{
	ssize_t n;

	if (s->waiting != 1)
		return recvmmsg(s->fd, in->headers, s->waiting && s->waiting < RECEIVE ? s->waiting : RECEIVE,
				MSG_DONTWAIT, NULL);
	n = recvmsg(s->fd, &in->headers[0].msg_hdr, MSG_DONTWAIT);
	if (n < 0)
		return -1;
	in->headers[0].msg_len = (unsigned int)n;
	return 1;
}

static void pooled_ready(struct source *source, uint32_t events, uint64_t now)
{
	struct pooled *s = source->owner;
	struct upstream *u = s->upstream;
	struct inbox *in = &u->inbox;
	int n;

	(void)events;
	if (s->fd < 0)
		return;
	n = receive(s, in);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		/* ICMP said that nobody is there. The port is known to whoever sent that: it goes too. */
		s->uses = POOL_USES;
		core_lost(u->core, s->transport, false, true, now);
		return;
	}
	for (int i = 0; i < n; i++)
		if (!(in->headers[i].msg_hdr.msg_flags & MSG_TRUNC))
			core_answer(u->core, s->transport, false, in->data[i], in->headers[i].msg_len, now);
}

static int connect_to(const struct proxy_resolver *to, int *ret_fd)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(&to->addr, to->port, &ss);
	_cleanup_close_ int fd = socket(ss.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&ss, len) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int pooled_open(struct pooled *s, const struct proxy_resolver *to, uint64_t now)
{
	const int bytes = POOL_USES * 4096;
	int r = connect_to(to, &s->fd);

	if (r < 0)
		return r;
	/* As many long answers as it can have queries under way; without the privilege that is twice the default. */
	setsockopt(s->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	r = loop_watch(s->upstream->loop, s->fd, EPOLLIN, &s->source);
	if (r < 0) {
		pooled_close(s);
		return r;
	}
	s->uses = 0;
	s->born = now;
	return 0;
}

static bool is_spent(const struct pooled *s, uint64_t now)
{
	return s->uses >= POOL_USES || now - s->born > POOL_AGE;
}

/*
 * A random socket of the resolver's pool. One that is spent is replaced as soon as nobody waits on it; while somebody
 * does, another is taken, and if all are so, it serves on: every port still changes with time and use.
 */
static struct pooled *pick(struct upstream *u, uint32_t index, uint64_t now)
{
	uint16_t start = upstream_random(u);
	struct pooled *s = NULL;

	for (uint32_t i = 0; i < POOL; i++) {
		s = &u->udp[index][(start + i) % POOL];
		if (s->fd < 0 || !is_spent(s, now))
			return s;
		if (s->waiting == 0) {
			pooled_close(s);
			return s;
		}
	}
	return s;
}

/* Who waits on a socket that failed is told by upstream_flush: the core may be in the midst of something. */
static void send_queue(struct upstream *u)
{
	struct queue *q = &u->queue;
	struct pooled *s = q->socket;
	bool *singly = &u->singly[s->transport / POOL];
	int r = bundle_send(&q->bundle, s->fd, singly);

	if (r < 0) {
		/* May be the error of an earlier datagram, and is over with having been told. */
		s->uses = POOL_USES;
		r = bundle_send(&q->bundle, s->fd, singly);
	}
	if (r < 0)
		s->failed = u->failed = true;
	q->bundle.count = 0;
	q->socket = NULL;
}

/*
 * Queries of one turn share a socket, which chance has picked: equal questions are never under way twice, so more than
 * one query behind a port makes none of them easier to hit.
 */
static int ask_udp(struct upstream *u, const struct proxy_resolver *to, uint32_t index, const uint8_t *msg, size_t len,
		   uint64_t now, uint32_t *ret_transport)
{
	struct queue *q = &u->queue;
	struct pooled *s = q->socket;
	int r;

	if (len > BUNDLE_SIZE)
		return -EMSGSIZE;
	if (s && (q->bundle.count == BUNDLE_MAX || s->transport / POOL != index || is_spent(s, now)))
		send_queue(u);
	if (!q->socket)
		s = pick(u, index, now);
	if (s->fd < 0) {
		r = pooled_open(s, to, now);
		if (r < 0)
			return r;
	}
	bundle_add(&q->bundle, msg, len);
	q->socket = s;
	s->uses++;
	s->waiting++;
	*ret_transport = s->transport;
	return 0;
}

void upstream_flush(struct upstream *u, uint64_t now)
{
	/* Who is told asks another resolver, which may fail too: a few rounds, the rest in the loop's next turn. */
	for (int round = 0; round < 4; round++) {
		if (u->queue.socket)
			send_queue(u);
		if (!u->failed)
			break;
		u->failed = false;
		for (uint32_t i = 0; i < PROXY_MAX_RESOLVERS * POOL; i++) {
			struct pooled *s = &u->udp[i / POOL][i % POOL];

			if (!s->failed)
				continue;
			s->failed = false;
			core_lost(u->core, i, false, true, now);
		}
	}
	streams_flush(u->streams);
}

/* ---- TCP --------------------------------------------------------------------------------------------------------- */

static void stream_answer(void *context, uint32_t stream, const uint8_t *msg, size_t len, uint64_t now)
{
	struct upstream *u = context;

	core_answer(u->core, stream, true, msg, len, now);
}

static void stream_lost(void *context, uint32_t stream, bool fault, uint64_t now)
{
	struct upstream *u = context;

	core_lost(u->core, stream, true, fault, now);
}

bool upstream_ready_tcp(struct upstream *u, const struct proxy_resolver *resolver, uint32_t index, uint32_t endpoint,
			uint64_t now)
{
	return streams_ready(u->streams, resolver, index, endpoint, now);
}

void upstream_sweep(struct upstream *u, uint64_t now)
{
	streams_sweep(u->streams, now);
}

/* ---- for the core ------------------------------------------------------------------------------------------------ */

int upstream_ask(struct upstream *u, const struct proxy_resolver *resolver, uint32_t index, bool tcp, uint32_t endpoint,
		 const uint8_t *msg, size_t len, uint64_t now, uint32_t *ret_transport)
{
	if (tcp)
		return streams_ask(u->streams, resolver, index, endpoint, msg, len, now, ret_transport);
	return ask_udp(u, resolver, index, msg, len, now, ret_transport);
}

void upstream_asked(struct upstream *u, uint32_t transport, bool tcp)
{
	struct pooled *s;

	if (tcp) {
		streams_asked(u->streams, transport);
		return;
	}
	s = &u->udp[transport / POOL][transport % POOL];
	if (s->waiting > 0)
		s->waiting--;
}

void upstream_reset(struct upstream *u, uint64_t now)
{
	if (u->queue.socket)
		send_queue(u);
	memset(u->singly, 0, sizeof(u->singly));
	for (uint32_t i = 0; i < PROXY_MAX_RESOLVERS * POOL; i++)
		pooled_close(&u->udp[i / POOL][i % POOL]);
	for (uint32_t i = 0; i < PROXY_MAX_RESOLVERS * POOL; i++)
		if (u->udp[i / POOL][i % POOL].waiting > 0)
			core_lost(u->core, i, false, true, now);
	streams_reset(u->streams, now);
}

int upstream_new(int loop, struct upstream **ret)
{
	struct upstream *u = calloc(1, sizeof(*u));
	const struct streams_user user = { u, stream_answer, stream_lost };

	if (!u)
		return -ENOMEM;
	if (streams_new(loop, &user, &u->streams) < 0) {
		free(u);
		return -ENOMEM;
	}
	u->loop = loop;
	for (uint32_t i = 0; i < PROXY_MAX_RESOLVERS * POOL; i++) {
		struct pooled *s = &u->udp[i / POOL][i % POOL];

		*s = (struct pooled){ .source = { pooled_ready, s }, .upstream = u, .transport = i, .fd = -1 };
	}
	for (uint32_t i = 0; i < RECEIVE; i++) {
		u->inbox.iovs[i] = (struct iovec){ u->inbox.data[i], ANSWER_SIZE };
		u->inbox.headers[i].msg_hdr = (struct msghdr){ .msg_iov = &u->inbox.iovs[i], .msg_iovlen = 1 };
	}
	*ret = u;
	return 0;
}

void upstream_freep(struct upstream **u)
{
	for (uint32_t i = 0; *u && i < PROXY_MAX_RESOLVERS * POOL; i++)
		pooled_close(&(*u)->udp[i / POOL][i % POOL]);
	if (*u)
		streams_freep(&(*u)->streams);
	free(*u);
	*u = NULL;
}

void upstream_set_core(struct upstream *u, struct core *core)
{
	u->core = core;
}
