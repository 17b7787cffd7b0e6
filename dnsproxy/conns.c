/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * A connection belongs to the endpoint of the veth its handshake came by; the kernel keeps that interface with the
 * socket, and says it once asked with IP_PKTOPTIONS (RFC 3542 calls the IPv6 one IPV6_2292PKTOPTIONS). Without it the
 * connection is refused: the source address alone says nothing.
 *
 * States: reading (fewer than CONNS_QUERIES under way and nothing left to send) or waiting (not read from, so that TCP
 * itself slows the pod). Each message is judged on its own. Timers: a first or half message is due in HALF_OPEN, the next
 * one in IDLE; a connection that waits for a resolver is given WAITING.
 */
#include "dnsproxy/conns.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "dnsproxy/dnslog.h"
#include "dnsproxy/tcp.h"

#define HALF_OPEN    (5 * NSEC_PER_SEC)
#define IDLE	     (10 * NSEC_PER_SEC)
#define WAITING	     (30 * NSEC_PER_SEC)
#define ACCEPT_BATCH 16
#define HELD_SIZE    2048
#define MAX_UNSENT   (128u << 10) /* bytes of answers that a connection does not take */

#ifndef IPV6_2292PKTOPTIONS
#define IPV6_2292PKTOPTIONS 6
#endif

struct conn {
	struct source source;
	struct conns *conns;
	int fd;	      /* -1: free */
	uint32_t use; /* counts the slot's connections: an answer to an earlier one finds another number */
	uint32_t under_way;
	uint32_t events; /* watched for */
	bool resume;	 /* listed in conns.resume */
	bool ended;	 /* the pod sends no more */
	bool spoke;	 /* a whole message came */
	uint64_t active;
	struct core_asker asker;
	uint8_t *unsent;
	size_t unsent_len, unsent_done;
	uint32_t held_len;
	uint8_t held[HELD_SIZE]; /* answers that leave together at the end of the turn */
	struct tcp_framer in;
};

struct listener {
	struct source source;
	struct conns *conns;
	int fd;
	bool v6;
};

struct conns {
	struct core *core;
	const struct maps *maps;
	int loop;
	uint32_t count;
	uint32_t nresume;
	uint16_t resume[2 *
			CONNS_MAX]; /* to be gone on with at the end of the turn; each once, but while that happens */
	uint16_t *per_endpoint;
	struct listener listeners[3];
	struct conn slots[CONNS_MAX];
};

uint32_t conns_open_count(const struct conns *c)
{
	return c->count;
}

static void conn_close(struct conn *n)
{
	if (n->fd < 0)
		return;
	if (n->held_len > 0 && n->unsent_len == n->unsent_done)
		send(n->fd, n->held, n->held_len,
		     MSG_DONTWAIT | MSG_NOSIGNAL); /* what fits: nobody would send the rest */
	n->held_len = 0;
	closep(&n->fd);
	freep(&n->unsent);
	n->conns->per_endpoint[n->asker.endpoint]--;
	n->conns->count--;
}

static void watch(struct conn *n)
{
	uint32_t events = n->unsent_len > n->unsent_done	      ? EPOLLOUT
			  : n->under_way < CONNS_QUERIES && !n->ended ? EPOLLIN
								      : 0;

	if (n->fd >= 0 && events != n->events && loop_change(n->conns->loop, n->fd, events, &n->source) == 0)
		n->events = events;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* Takes the messages that are there. False: the connection is over. */
static bool take_messages(struct conn *n, uint64_t now)
{
	const uint8_t *msg;
	size_t len;

	while (n->under_way < CONNS_QUERIES && n->unsent_len == n->unsent_done) {
		int r = tcp_next(&n->in, &msg, &len);

		if (r < 0)
			return false;
		if (r == 0)
			return true;
		n->spoke = true;
		n->active = now;
		n->under_way++;
		n->asker.connection_use = n->use;
		if (core_query(n->conns->core, &n->asker, msg, len, now) < 0 || n->fd < 0)
			return false;
		tcp_consume(&n->in);
	}
	return true;
}

static bool may_read(const struct conn *n)
{
	return n->under_way < CONNS_QUERIES && n->unsent_len == n->unsent_done;
}

static bool is_done(const struct conn *n)
{
	return n->ended && n->under_way == 0 && n->unsent_len == n->unsent_done;
}

/* ---- writing ----------------------------------------------------------------------------------------------------- */

static bool keep_unsent(struct conn *n, const uint8_t *data, size_t len)
{
	size_t left = n->unsent_len - n->unsent_done;
	uint8_t *p;

	if (len == 0)
		return true;
	if (left + len > MAX_UNSENT)
		return false;
	p = malloc(left + len);
	if (!p)
		return false;
	if (left)
		memcpy(p, n->unsent + n->unsent_done, left);
	memcpy(p + left, data, len);
	free(n->unsent);
	n->unsent = p;
	n->unsent_len = left + len;
	n->unsent_done = 0;
	return true;
}

static void list(struct conn *n)
{
	struct conns *c = n->conns;

	if (!n->resume)
		c->resume[c->nresume++] = (uint16_t)(n - c->slots);
	n->resume = true;
}

/* What is held; what the socket does not take is kept. False: the connection is over. */
static bool send_held(struct conn *n)
{
	uint32_t len = n->held_len;
	ssize_t r;

	if (len == 0)
		return true;
	n->held_len = 0;
	if (n->unsent_len > n->unsent_done)
		return keep_unsent(n, n->held, len);
	r = send(n->fd, n->held, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (r < 0 && errno != EAGAIN && errno != EINTR)
		return false;
	r = r > 0 ? r : 0;
	return keep_unsent(n, n->held + r, len - (size_t)r);
}

/* One that does not fit among those that are held. False: the connection is over. */
static bool send_long(struct conn *n, uint8_t prefix[2], const uint8_t *msg, size_t len)
{
	struct iovec iov[2] = { { prefix, 2 }, { (void *)msg, len } };
	struct msghdr h = { .msg_iov = iov, .msg_iovlen = 2 };
	size_t sent = 0;

	if (n->unsent_len == n->unsent_done) {
		ssize_t r = sendmsg(n->fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (r < 0 && errno != EAGAIN && errno != EINTR)
			return false;
		sent = r > 0 ? (size_t)r : 0;
	}
	if (sent < 2 && !keep_unsent(n, prefix + sent, 2 - sent))
		return false;
	sent = sent > 2 ? sent - 2 : 0;
	return keep_unsent(n, msg + sent, len - sent);
}

/* A pipeline's answers of one turn leave together: a segment each is most of what they cost. False: it is over. */
static bool send_message(struct conn *n, const uint8_t *msg, size_t len)
{
	uint8_t prefix[2] = { (uint8_t)(len >> 8), (uint8_t)len };

	if (n->held_len + 2 + len > sizeof(n->held) && !send_held(n))
		return false;
	if (2 + len > sizeof(n->held))
		return send_long(n, prefix, msg, len);
	memcpy(n->held + n->held_len, prefix, 2);
	memcpy(n->held + n->held_len + 2, msg, len);
	n->held_len += 2 + (uint32_t)len;
	return true;
}

static void send_unsent(struct conn *n, uint64_t now)
{
	while (n->unsent_done < n->unsent_len) {
		ssize_t r = send(n->fd, n->unsent + n->unsent_done, n->unsent_len - n->unsent_done,
				 MSG_DONTWAIT | MSG_NOSIGNAL);

		if (r < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (r < 0) {
			conn_close(n);
			return;
		}
		n->active = now;
		n->unsent_done += (size_t)r;
	}
	freep(&n->unsent);
	n->unsent_len = n->unsent_done = 0;
	list(n);
}

void conns_reply(struct conns *c, const struct core_asker *to, const uint8_t *msg, size_t len, uint64_t now)
{
	struct conn *n = &c->slots[to->connection];

	if (n->fd < 0 || n->use != to->connection_use)
		return; /* it ended meanwhile */
	n->under_way--;
	n->active = now;
	if (!send_message(n, msg, len))
		conn_close(n);
	list(n);
}

/* Sends what there is, and ends what is over. */
static void settle(struct conn *n, bool going)
{
	if (n->fd >= 0 && (!send_held(n) || !going || is_done(n)))
		conn_close(n);
	watch(n);
}

void conns_resume(struct conns *c, uint64_t now)
{
	uint32_t listed = c->nresume;

	/* Whoever is answered on the spot meanwhile is listed anew, behind these. */
	for (uint32_t i = 0; i < listed; i++) {
		struct conn *n = &c->slots[c->resume[i]];

		n->resume = false;
		if (n->fd >= 0)
			settle(n, take_messages(n, now));
	}
	c->nresume -= listed;
	memmove(c->resume, c->resume + listed, c->nresume * sizeof(c->resume[0]));
}

static void conn_read(struct conn *n, uint64_t now)
{
	/* What waited in the framer comes first: only then is there room for more. */
	bool going = take_messages(n, now);

	for (int i = 0; going && i < 4 && may_read(n); i++) {
		size_t space;
		uint8_t *to = tcp_space(&n->in, &space);
		bool fresh = !tcp_is_partial(&n->in);
		ssize_t got = recv(n->fd, to, space, MSG_DONTWAIT);

		if (got < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (got <= 0) {
			n->ended = true;
			going = got == 0;
			break;
		}
		/* The clock of a message starts with its first byte: a trickle does not keep a connection. */
		if (fresh)
			n->active = now;
		tcp_received(&n->in, (size_t)got);
		going = take_messages(n, now);
		/* There was no more: the loop says when there is again. */
		if ((size_t)got < space)
			break;
	}
	settle(n, going);
}

static void conn_ready(struct source *source, uint32_t events, uint64_t now)
{
	struct conn *n = source->owner;

	if (n->fd < 0)
		return;
	if (events & EPOLLERR) {
		conn_close(n);
		return;
	}
	if (n->unsent_len > n->unsent_done) {
		send_unsent(n, now);
		watch(n);
		return;
	}
	/* Both directions are shut: nobody waits for the answers. EPOLLHUP cannot be masked, so it must end here. */
	if ((events & EPOLLHUP) && !(events & EPOLLIN)) {
		conn_close(n);
		return;
	}
	conn_read(n, now);
}

/* ---- accepting --------------------------------------------------------------------------------------------------- */

/* The interface of the handshake, or 0. */
static uint32_t arrived_on(int fd, bool v6)
{
	union {
		char bytes[256];
		struct cmsghdr align;
	} control;
	socklen_t len = sizeof(control);
	int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP, on = 1, off = 0;
	int want = v6 ? IPV6_RECVPKTINFO : IP_PKTINFO;
	struct msghdr h = { .msg_control = control.bytes };
	uint32_t ifindex = 0;

	if (setsockopt(fd, level, want, &on, sizeof(on)) < 0)
		return 0;
	if (getsockopt(fd, level, v6 ? IPV6_2292PKTOPTIONS : IP_PKTOPTIONS, control.bytes, &len) < 0)
		return 0;
	h.msg_controllen = len;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO && !v6)
			ifindex = (uint32_t)((const struct in_pktinfo *)CMSG_DATA(c))->ipi_ifindex;
		if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO && v6)
			ifindex = ((const struct in6_pktinfo *)CMSG_DATA(c))->ipi6_ifindex;
	}
	setsockopt(fd, level, want, &off, sizeof(off));
	return ifindex;
}

static int identify(struct conns *c, int fd, bool v6, struct core_asker *ret)
{
	struct sockaddr_storage peer = {}, own = {};
	socklen_t peer_len = sizeof(peer), own_len = sizeof(own);

	if (getpeername(fd, (struct sockaddr *)&peer, &peer_len) < 0 ||
	    getsockname(fd, (struct sockaddr *)&own, &own_len) < 0)
		return -errno;
	*ret = (struct core_asker){ .tcp = true, .v6 = v6, .ifindex = arrived_on(fd, v6) };
	if (addr_from_sockaddr(&peer, &ret->addr, &ret->port) < 0 || addr_from_sockaddr(&own, &ret->server, NULL) < 0)
		return -EAFNOSUPPORT;
	return core_identify(c->core, ret);
}

/* Of those of an endpoint that has most, the one that has been silent longest. */
static struct conn *of_who_has_most(struct conns *c)
{
	struct conn *most = &c->slots[0];

	for (uint32_t i = 1; i < CONNS_MAX; i++) {
		struct conn *n = &c->slots[i];
		uint16_t count = c->per_endpoint[n->asker.endpoint], than = c->per_endpoint[most->asker.endpoint];

		if (count > than || (count == than && n->active < most->active))
			most = n;
	}
	return most;
}

/*
 * A free one; else that of the connection that has been idle longest, which its owner opens again when it needs it. A few
 * pods can keep all of them busy: then one goes whose owner has more than the endpoint would have now.
 */
static struct conn *find_slot(struct conns *c, uint32_t endpoint)
{
	struct conn *given_up = NULL;

	for (uint32_t i = 0; i < CONNS_MAX; i++) {
		struct conn *n = &c->slots[i];

		if (n->fd < 0)
			return n;
		if (n->under_way == 0 && (!given_up || n->active < given_up->active))
			given_up = n;
	}
	if (!given_up) {
		given_up = of_who_has_most(c);
		if (c->per_endpoint[given_up->asker.endpoint] <= c->per_endpoint[endpoint] + 1)
			return NULL;
		dnslog_count(c->maps, SLUICE_DNS_STAT_TCP_REFUSED, 1);
	}
	conn_close(given_up);
	return given_up;
}

/* Takes `fd` in any case. */
static void admit(struct conns *c, int fd, bool v6, uint64_t now)
{
	_cleanup_close_ int owned = fd;
	struct core_asker asker;
	struct conn *n;

	if (identify(c, fd, v6, &asker) < 0) {
		dnslog_count(c->maps, SLUICE_DNS_STAT_NO_ENDPOINT, 1);
		return;
	}
	n = c->per_endpoint[asker.endpoint] < CONNS_PER_ENDPOINT ? find_slot(c, asker.endpoint) : NULL;
	if (!n || loop_watch(c->loop, fd, EPOLLIN, &n->source) < 0) {
		dnslog_count(c->maps, SLUICE_DNS_STAT_TCP_REFUSED, 1);
		return;
	}
	n->fd = TAKE_FD(owned);
	n->use++;
	n->under_way = 0;
	n->events = EPOLLIN;
	n->ended = n->spoke = false; /* still listed, if the slot's last one was */
	n->held_len = 0;
	n->active = now;
	n->asker = asker;
	n->asker.connection = (uint32_t)(n - c->slots);
	n->unsent_len = n->unsent_done = 0;
	n->in.have = 0;
	c->per_endpoint[asker.endpoint]++;
	c->count++;
	dnslog_count(c->maps, SLUICE_DNS_STAT_TCP_CONNECTIONS, 1);
	conn_read(n, now);
}

static void listener_ready(struct source *source, uint32_t events, uint64_t now)
{
	struct listener *l = source->owner;

	(void)events;
	for (int i = 0; i < ACCEPT_BATCH; i++) {
		int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return;
		admit(l->conns, fd, l->v6, now);
	}
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

void conns_sweep(struct conns *c, uint64_t now)
{
	for (uint32_t i = 0; i < CONNS_MAX; i++) {
		struct conn *n = &c->slots[i];
		uint64_t limit = n->under_way > 0 ? WAITING : tcp_is_partial(&n->in) || !n->spoke ? HALF_OPEN : IDLE;

		if (n->fd >= 0 && now - n->active > limit)
			conn_close(n);
	}
}

int conns_new(int loop, const int fds[SLUICE_SOCK_MAX], const struct maps *maps, struct conns **ret)
{
	struct conns *c = calloc(1, sizeof(*c));
	static const int slots[] = { SLUICE_SOCK_TCP4, SLUICE_SOCK_TCP6, SLUICE_SOCK_LOOP_TCP6 };
	int r = 0;

	if (!c)
		return -ENOMEM;
	c->loop = loop;
	c->maps = maps;
	c->per_endpoint = calloc(maps->nendpoints, sizeof(*c->per_endpoint));
	if (!c->per_endpoint)
		r = -ENOMEM;
	for (uint32_t i = 0; i < CONNS_MAX; i++) {
		c->slots[i].source = (struct source){ conn_ready, &c->slots[i] };
		c->slots[i].conns = c;
		c->slots[i].fd = -1;
	}
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(slots); i++) {
		struct listener *l = &c->listeners[i];

		if (fds[slots[i]] < 0)
			continue;
		*l = (struct listener){ .source = { listener_ready, l }, .conns = c, .fd = fds[slots[i]], .v6 = i > 0 };
		r = loop_watch(loop, l->fd, EPOLLIN, &l->source);
	}
	if (r < 0) {
		conns_freep(&c);
		return r;
	}
	*ret = c;
	return 0;
}

void conns_freep(struct conns **c)
{
	for (uint32_t i = 0; *c && i < CONNS_MAX; i++)
		conn_close(&(*c)->slots[i]);
	if (*c)
		free((*c)->per_endpoint);
	free(*c);
	*c = NULL;
}

void conns_set_core(struct conns *c, struct core *core)
{
	c->core = core;
}
