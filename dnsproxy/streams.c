/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * A resolver may answer a connection's queries one after the other (CoreDNS does), so whoever asks a slow name makes all
 * wait that are behind it. Hence the queries that wait on a connection are all of one endpoint; one that nobody waits on
 * is anybody's. A pod can slow down itself, as it could by asking the resolver directly, and nobody else.
 *
 *   FREE        no descriptor.
 *   CONNECTING  takes queries that have to go by TCP; they leave when it stands. Refused, or not standing after
 *               STREAM_CONNECT: they are lost by the resolver's fault, and its TCP is left alone for STREAM_REFUSED but
 *               for queries that have no other way.
 *   OPEN        takes queries of its endpoint while there is room, of any while none waits. One that has not answered
 *               for STREAM_SLOW takes none that could go by UDP.
 *   ENDING      takes none: too old, or a query on it was given up, or the resolvers have changed. Ends with the last
 *               query. A late answer finds nobody who waits: the core looks at id and question.
 *   LOST        its queries are being told; its number is in use until all have been.
 *
 * From any state: closed by the other side, an error, a message too short to be one, or taken by an endpoint that has fewer
 * for a query with no other way: LOST if queries wait, else FREE.
 * OPEN and idle for STREAM_IDLE: FREE. Queries of one turn of the loop leave in one segment where they fit.
 */
#include "dnsproxy/streams.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "dnsproxy/loop.h"
#include "dnsproxy/wire.h"

#define OUT_SIZE 8192
#define IN_SIZE	 (2 + WIRE_MAX_MESSAGE)
#define COALESCE 1024  /* bytes that leave together, before another connection is looked for */
#define IN_ONCE	 16384 /* no more memory is touched than answers need */

enum stream_state { FREE, CONNECTING, OPEN, ENDING, LOST };

/* Small, since all are looked at; the bytes are elsewhere. */
struct stream {
	struct source source;
	struct streams *streams;
	uint64_t born;
	uint64_t progress; /* the last answer, or the first query when none waited */
	uint32_t endpoint;
	uint32_t waiting;
	uint32_t out_len, out_done, have;
	uint32_t events; /* watched for */
	int fd;		 /* -1: FREE, LOST */
	uint8_t index;	 /* of the resolver */
	uint8_t state;
	bool broken; /* sending failed: over as soon as nobody is in the midst of something */
};

struct buffers {
	uint8_t out[OUT_SIZE];
	uint8_t in[IN_SIZE]; /* `have` bytes of a message that is not whole */
};

struct streams {
	struct streams_user user;
	int loop;
	uint32_t count;
	uint32_t high;	    /* from here on all are free */
	bool queued;	    /* something to send */
	uint32_t answering; /* number + 1 of the one whose message is being told */
	struct demand {
		uint64_t refused_until;
		uint64_t since;
		uint32_t queries; /* since then, asked about by streams_ready */
	} demand[PROXY_MAX_RESOLVERS];
	struct stream slots[STREAMS_MAX];
	struct buffers buffers[STREAMS_MAX];
};

static uint32_t number(const struct stream *s)
{
	return (uint32_t)(s - s->streams->slots);
}

static struct buffers *buffers_of(const struct stream *s)
{
	return &s->streams->buffers[number(s)];
}

uint32_t streams_count(const struct streams *t)
{
	return t->count;
}

/* ---- beginning and end ------------------------------------------------------------------------------------------- */

static void stream_free(struct stream *s)
{
	closep(&s->fd);
	s->state = FREE;
	s->waiting = 0;
	s->streams->count--;
}

/* Nobody may be in the midst of asking: those who wait ask again from here. */
static void stream_end(struct stream *s, bool fault, uint64_t now)
{
	struct streams *t = s->streams;

	if (fault)
		t->demand[s->index].refused_until = now + STREAM_REFUSED;
	if (s->waiting > 0) {
		closep(&s->fd);
		s->state = LOST;
		t->user.lost(t->user.context, number(s), fault, now);
	}
	stream_free(s);
}

static int connect_to(const struct proxy_resolver *to, int *ret_fd)
{
	struct sockaddr_storage ss;
	socklen_t len = addr_to_sockaddr(&to->addr, to->port, &ss);
	_cleanup_close_ int fd = socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;

	if (fd < 0)
		return -errno;
	/* What belongs together is sent together here: the kernel need not wait for more. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (connect(fd, (struct sockaddr *)&ss, len) < 0 && errno != EINPROGRESS)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

/* A free slot; else that of one that nobody waits on. */
static struct stream *find_slot(struct streams *t)
{
	struct stream *idle = NULL;

	for (uint32_t i = 0; i < STREAMS_MAX; i++) {
		struct stream *s = &t->slots[i];

		if (s->state == FREE)
			return s;
		if ((s->state == OPEN || s->state == ENDING) && s->waiting == 0 && i + 1 != t->answering &&
		    (!idle || s->progress < idle->progress))
			idle = s;
	}
	if (idle)
		stream_free(idle);
	return idle;
}

static int stream_open(struct streams *t, const struct proxy_resolver *to, uint32_t index, uint32_t endpoint,
		       uint64_t now, struct stream **ret)
{
	struct stream *s = find_slot(t);
	int r;

	if (!s)
		return -EBUSY;
	r = connect_to(to, &s->fd);
	if (r == 0)
		r = loop_watch(t->loop, s->fd, EPOLLOUT, &s->source);
	if (r < 0) {
		closep(&s->fd);
		t->demand[index].refused_until = now + STREAM_REFUSED;
		return r;
	}
	s->state = CONNECTING;
	s->events = EPOLLOUT;
	s->index = (uint8_t)index;
	s->endpoint = endpoint;
	s->born = s->progress = now;
	s->waiting = s->out_len = s->out_done = s->have = 0;
	s->broken = false;
	t->count++;
	if (number(s) >= t->high)
		t->high = number(s) + 1;
	*ret = s;
	return 0;
}

static void watch(struct stream *s)
{
	uint32_t events = s->out_done < s->out_len ? EPOLLIN | EPOLLOUT : EPOLLIN;

	if (events != s->events && loop_change(s->streams->loop, s->fd, events, &s->source) == 0)
		s->events = events;
}

/* ---- sending ----------------------------------------------------------------------------------------------------- */

static void stream_send(struct stream *s)
{
	const uint8_t *out = buffers_of(s)->out;

	while (s->out_done < s->out_len && !s->broken) {
		ssize_t n = send(s->fd, out + s->out_done, s->out_len - s->out_done, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		s->broken = n < 0;
		s->out_done += n > 0 ? (uint32_t)n : 0;
	}
	if (s->out_done == s->out_len || s->broken)
		s->out_len = s->out_done = 0;
	watch(s);
}

void streams_flush(struct streams *t)
{
	if (!t->queued)
		return;
	t->queued = false;
	for (uint32_t i = 0; i < t->high; i++) {
		struct stream *s = &t->slots[i];

		/* One that is being watched for room has its turn when there is some. */
		if ((s->state == OPEN || s->state == ENDING) && s->out_len > 0 && !(s->events & EPOLLOUT))
			stream_send(s);
	}
}

/* ---- receiving --------------------------------------------------------------------------------------------------- */

/* The whole messages that are there. -EBADMSG: one is too short to be one. */
static int take_messages(struct stream *s, uint64_t now)
{
	struct streams *t = s->streams;
	uint8_t *in = buffers_of(s)->in;
	uint32_t at = 0;

	while (s->have - at >= 2) {
		uint32_t len = (uint32_t)in[at] << 8 | in[at + 1];

		if (len < WIRE_HEADER)
			return -EBADMSG;
		if (s->have - at - 2 < len)
			break;
		s->progress = now;
		t->answering = number(s) + 1;
		t->user.answer(t->user.context, number(s), in + at + 2, len, now);
		t->answering = 0;
		at += 2 + len;
	}
	s->have -= at;
	memmove(in, in + at, s->have);
	return 0;
}

/* 0 or -errno: it is over. */
static int stream_receive(struct stream *s, uint64_t now)
{
	size_t space = IN_SIZE - s->have;
	ssize_t n = recv(s->fd, buffers_of(s)->in + s->have, space < IN_ONCE ? space : IN_ONCE, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n <= 0)
		return n < 0 ? -errno : -ECONNRESET;
	s->have += (uint32_t)n;
	return take_messages(s, now);
}

static void stream_ready(struct source *source, uint32_t events, uint64_t now)
{
	struct stream *s = source->owner;
	int r = 0;

	if (s->fd < 0)
		return;
	if (s->state == CONNECTING && (events & (EPOLLERR | EPOLLHUP))) {
		stream_end(s, true, now);
		return;
	}
	if (s->state == CONNECTING) {
		s->state = OPEN;
		s->progress = now;
	}
	if (events & EPOLLOUT)
		stream_send(s);
	if (events & (EPOLLIN | EPOLLERR | EPOLLHUP))
		r = stream_receive(s, now);
	if (r < 0 || s->broken)
		stream_end(s, r == -EBADMSG, now);
	else if (s->state == ENDING && s->waiting == 0)
		stream_free(s);
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static bool has_room(const struct stream *s)
{
	return s->waiting < STREAM_QUERIES && s->out_len + 2 + WIRE_MIN_UDP <= OUT_SIZE && !s->broken;
}

static bool is_slow(const struct stream *s, uint64_t now)
{
	return s->waiting > 0 && now - s->progress > STREAM_SLOW;
}

/* What there is for a query of an endpoint to a resolver. All but `own` have room. */
struct choice {
	struct stream *best;	   /* stands and does not lag: the endpoint's, or one that nobody waits on */
	struct stream *connecting; /* the endpoint's, as is: */
	struct stream *slow;
	uint32_t own; /* connections of the endpoint, to any resolver */
};

/* The better one has some queries that leave at the end of this turn, or else the fewest waiting. */
static bool is_better(const struct stream *s, const struct stream *than)
{
	if (!than || (s->out_len > 0 && s->out_len < COALESCE))
		return true;
	return (than->out_len == 0 || than->out_len >= COALESCE) && s->waiting < than->waiting;
}

static void look_at_own(struct choice *c, struct stream *s, uint64_t now)
{
	if (s->state == CONNECTING)
		c->connecting = s;
	else if (is_slow(s, now))
		c->slow = s;
	else if (is_better(s, c->best))
		c->best = s;
}

static struct choice choose(struct streams *t, uint32_t index, uint32_t endpoint, uint64_t now)
{
	struct choice c = {};
	struct stream *idle = NULL;

	for (uint32_t i = 0; i < t->high; i++) {
		struct stream *s = &t->slots[i];
		bool taken = s->waiting > 0 || s->state == CONNECTING;
		bool fits = s->index == index && (s->state == OPEN || s->state == CONNECTING) && has_room(s);

		if (s->state == FREE || s->state == LOST)
			continue;
		c.own += taken && s->endpoint == endpoint;
		if (fits && taken && s->endpoint == endpoint)
			look_at_own(&c, s, now);
		else if (fits && !taken && !idle)
			idle = s;
	}
	if ((!c.best || c.best->waiting >= STREAM_BUSY) && c.own < STREAMS_PER_ENDPOINT && idle)
		c.best = idle;
	return c;
}

/* A single query is not worth a connection, which the resolver has to keep too. */
static bool is_worth_one(struct demand *d, uint64_t now)
{
	if (now - d->since > NSEC_PER_SEC) {
		d->since = now;
		d->queries = 0;
	}
	return ++d->queries >= STREAM_WORTH && now >= d->refused_until;
}

bool streams_ready(struct streams *t, const struct proxy_resolver *to, uint32_t index, uint32_t endpoint, uint64_t now)
{
	struct choice c = choose(t, index, endpoint, now);
	bool worth_one = is_worth_one(&t->demand[index], now);
	struct stream *s;

	if ((!c.best || c.best->waiting >= STREAM_BUSY) && !c.connecting && c.own < STREAMS_PER_ENDPOINT && worth_one)
		stream_open(t, to, index, endpoint, now, &s);
	return c.best != NULL;
}

static void put_query(struct stream *s, const uint8_t *msg, size_t len)
{
	uint8_t *out = buffers_of(s)->out + s->out_len;

	out[0] = (uint8_t)(len >> 8);
	out[1] = (uint8_t)len;
	memcpy(out + 2, msg, len);
	s->out_len += (uint32_t)len + 2;
}

/* In a full table, where none is free. */
static uint32_t count_of(const struct streams *t, uint32_t endpoint)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < STREAMS_MAX; i++)
		n += t->slots[i].endpoint == endpoint;
	return n;
}

/*
 * In a full table: ends the one that has been silent longest of an endpoint that has most, if that is more than the asker
 * would have then. Some pods together can keep all busy, and an answer that is too long for UDP has no other way.
 */
static bool make_room(struct streams *t, uint32_t own, uint64_t now)
{
	struct stream *most = NULL;
	uint32_t count = own + 1;

	for (uint32_t i = 0; i < STREAMS_MAX; i++) {
		struct stream *s = &t->slots[i];
		uint32_t n = s->state != LOST && i + 1 != t->answering ? count_of(t, s->endpoint) : 0;

		if (n > count || (most && n == count && s->progress < most->progress)) {
			most = s;
			count = n;
		}
	}
	if (most)
		stream_end(most, false, now);
	return most;
}

int streams_ask(struct streams *t, const struct proxy_resolver *to, uint32_t index, uint32_t endpoint,
		const uint8_t *msg, size_t len, uint64_t now, uint32_t *ret)
{
	struct choice c = choose(t, index, endpoint, now);
	struct stream *s = c.best ? c.best : c.connecting;
	int r;

	if (len > WIRE_MIN_UDP)
		return -EMSGSIZE;
	if (!s && c.own < STREAMS_PER_ENDPOINT) {
		r = stream_open(t, to, index, endpoint, now, &s);
		if (r == -EBUSY && make_room(t, c.own, now))
			r = stream_open(t, to, index, endpoint, now, &s);
		if (r < 0 && r != -EBUSY)
			return r;
	}
	if (!s)
		s = c.slow;
	if (!s)
		return -EBUSY;
	put_query(s, msg, len);
	if (s->waiting++ == 0)
		s->progress = now;
	s->endpoint = endpoint;
	t->queued = true;
	*ret = number(s);
	return 0;
}

void streams_asked(struct streams *t, uint32_t stream)
{
	struct stream *s = &t->slots[stream];

	if (s->state == LOST || s->waiting == 0)
		return;
	s->waiting--;
	if (t->answering != stream + 1 && s->state == OPEN)
		s->state = ENDING;
}

/* ---- the clock --------------------------------------------------------------------------------------------------- */

static void stream_sweep(struct stream *s, uint64_t now)
{
	if (s->broken || (s->state == CONNECTING && now - s->born > STREAM_CONNECT)) {
		stream_end(s, s->state == CONNECTING, now);
		return;
	}
	if (s->state == OPEN && now - s->born > STREAM_AGE)
		s->state = ENDING;
	if (s->waiting == 0 && (s->state == ENDING || (s->state == OPEN && now - s->progress > STREAM_IDLE)))
		stream_free(s);
}

void streams_sweep(struct streams *t, uint64_t now)
{
	for (uint32_t i = 0; i < STREAMS_MAX; i++)
		if (t->slots[i].state != FREE && t->slots[i].state != LOST)
			stream_sweep(&t->slots[i], now);
	while (t->high > 0 && t->slots[t->high - 1].state == FREE)
		t->high--;
}

void streams_reset(struct streams *t, uint64_t now)
{
	memset(t->demand, 0, sizeof(t->demand));
	for (uint32_t i = 0; i < STREAMS_MAX; i++) {
		struct stream *s = &t->slots[i];

		if (s->state == CONNECTING)
			stream_end(s, false, now);
		else if (s->state == OPEN)
			s->state = ENDING;
	}
}

int streams_new(int loop, const struct streams_user *user, struct streams **ret)
{
	struct streams *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->user = *user;
	t->loop = loop;
	for (uint32_t i = 0; i < STREAMS_MAX; i++)
		t->slots[i] = (struct stream){ .source = { stream_ready, &t->slots[i] }, .streams = t, .fd = -1 };
	*ret = t;
	return 0;
}

void streams_freep(struct streams **t)
{
	for (uint32_t i = 0; *t && i < STREAMS_MAX; i++)
		closep(&(*t)->slots[i].fd);
	free(*t);
	*t = NULL;
}
