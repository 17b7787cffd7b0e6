/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * The sockets are bound to an address nobody sends to; packets reach them because the kernel program assigns them.
 * IP_TRANSPARENT lets them take packets for every address and answer from it, also once the privileges are gone. Two
 * proxies never share an address and none sets SO_REUSEPORT, so that the slot in the kernel's table alone says which of
 * them is served (hazard 21).
 *
 * The address asked comes with each datagram (IP_RECVORIGDSTADDR, port and all), the veth too (IP_PKTINFO). An answer
 * leaves by that veth, from that address.
 *
 * Cgroup endpoints are turned to our own address: the sockets above for IPv4, two more on ::1 for IPv6, since 100::/64 is
 * routed nowhere.
 */
#include "dnsproxy/listen.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "dnsproxy/wire.h"

#define BATCH	      32
#define QUERY_SIZE    2048
#define CONTROL_SIZE  128
#define FIRST_N	      53
#define LAST_N	      254
#define TCP_BACKLOG   256
#define PAUSE	      (200 * NSEC_PER_MSEC / 1000)
#define RECEIVE_BYTES (4 << 20) /* shared by all pods */

struct batch {
	struct mmsghdr headers[BATCH];
	struct iovec iovs[BATCH];
	struct sockaddr_storage peers[BATCH];
	union {
		char bytes[CONTROL_SIZE];
		struct cmsghdr align;
	} controls[BATCH];
	uint8_t data[BATCH][QUERY_SIZE];
};

struct endpoint_socket {
	struct source source;
	struct listen *listen;
	int fd;
	bool v6;
	bool loop;
	unsigned int queued;
	uint64_t last; /* something came */
	struct batch out;
};

struct listen {
	struct core *core;
	struct batch in;
	int used;		       /* of its headers, which the kernel has written to */
	struct endpoint_socket udp[3]; /* IPv4, IPv6, ::1 */
};

/* ---- making them ------------------------------------------------------------------------------------------------- */

struct option {
	int level, name, value;
};

static int set_options(int fd, const struct option *options, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (setsockopt(fd, options[i].level, options[i].name, &options[i].value, sizeof(int)) < 0)
			return -errno;
	return 0;
}

static int set_all_options(int fd, bool v6, bool tcp)
{
	static const struct option v4_any[] = { { IPPROTO_IP, IP_TRANSPARENT, 1 } };
	static const struct option v6_any[] = { { IPPROTO_IPV6, IPV6_V6ONLY, 1 },
						{ IPPROTO_IPV6, IPV6_TRANSPARENT, 1 } };
	static const struct option v4_udp[] = { { IPPROTO_IP, IP_RECVORIGDSTADDR, 1 }, { IPPROTO_IP, IP_PKTINFO, 1 } };
	static const struct option v6_udp[] = { { IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, 1 },
						{ IPPROTO_IPV6, IPV6_RECVPKTINFO, 1 } };
	static const struct option any_udp[] = { { SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BYTES },
						 { SOL_SOCKET, SO_SNDBUFFORCE, RECEIVE_BYTES } };
	/* Keeps answers out of connection tracking. Inherited by what is accepted, it tells our connections from others'. */
	static const struct option any[] = { { SOL_SOCKET, SO_MARK, SLUICE_SOCK_MARK } };
	int r = v6 ? set_options(fd, v6_any, ARRAY_SIZE(v6_any)) : set_options(fd, v4_any, ARRAY_SIZE(v4_any));

	if (r == 0)
		r = set_options(fd, any, ARRAY_SIZE(any));
	if (r < 0 || tcp)
		return r;
	r = set_options(fd, any_udp, ARRAY_SIZE(any_udp));
	if (r == 0)
		r = v6 ? set_options(fd, v6_udp, ARRAY_SIZE(v6_udp)) : set_options(fd, v4_udp, ARRAY_SIZE(v4_udp));
	return r;
}

/* 100::/64 is the discard prefix (RFC 6666): nothing is ever sent there, and nothing else binds it. */
static void own_address(bool v6, int n, struct sluice_addr *ret)
{
	*ret = v6 ? (struct sluice_addr){ .b = { 1, [13] = 0x53, [15] = (uint8_t)n } }
		  : (struct sluice_addr){ .b = { [10] = 0xff, [11] = 0xff, 127, 0, 53, (uint8_t)n } };
}

static bool is_loop(int slot)
{
	return slot == SLUICE_SOCK_LOOP_UDP6 || slot == SLUICE_SOCK_LOOP_TCP6;
}

static bool is_v6(int slot)
{
	return slot == SLUICE_SOCK_UDP6 || slot == SLUICE_SOCK_TCP6 || is_loop(slot);
}

static int open_socket(int slot, int n, int *ret)
{
	bool v6 = is_v6(slot);
	bool tcp = slot == SLUICE_SOCK_TCP4 || slot == SLUICE_SOCK_TCP6 || slot == SLUICE_SOCK_LOOP_TCP6;
	_cleanup_close_ int fd =
		socket(v6 ? AF_INET6 : AF_INET, (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_storage ss;
	struct sluice_addr addr;
	socklen_t len;
	int r;

	if (fd < 0)
		return -errno;
	r = set_all_options(fd, v6, tcp);
	if (r < 0)
		return r;
	if (is_loop(slot))
		addr_from_in6(&in6addr_loopback, &addr);
	else
		own_address(v6, n, &addr);
	/* On ::1 port 53 may be a resolver's of the host; the kernel's choice is read off the socket. */
	len = addr_to_sockaddr(&addr, is_loop(slot) ? 0 : 53, &ss);
	if (bind(fd, (struct sockaddr *)&ss, len) < 0 || (tcp && listen(fd, TCP_BACKLOG) < 0))
		return -errno;
	*ret = TAKE_FD(fd);
	return 0;
}

static void close_all(int fds[SLUICE_SOCK_MAX])
{
	for (int i = 0; i < SLUICE_SOCK_MAX; i++)
		closep(&fds[i]);
}

int listen_open(int fds[SLUICE_SOCK_MAX], int *ret_n)
{
	int r = -EADDRINUSE;

	for (int i = 0; i < SLUICE_SOCK_MAX; i++)
		fds[i] = -1;
	for (int n = FIRST_N; n <= LAST_N && r == -EADDRINUSE; n++) {
		r = 0;
		for (int slot = 0; r == 0 && slot < SLUICE_SOCK_MAX; slot++) {
			r = open_socket(slot, n, &fds[slot]);
			/* A kernel started without IPv6, or no ::1: nobody asks by it either. */
			if ((r == -EAFNOSUPPORT && is_v6(slot)) || (r == -EADDRNOTAVAIL && is_loop(slot)))
				r = 0;
		}
		if (r < 0)
			close_all(fds);
		else
			*ret_n = n;
	}
	return r;
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void put_source(struct msghdr *h, const struct core_asker *to)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(h);

	memset(h->msg_control, 0, h->msg_controllen);
	if (to->v6) {
		struct in6_pktinfo info = { .ipi6_ifindex = to->ifindex };

		memcpy(&info.ipi6_addr, to->from.b, 16);
		c->cmsg_level = IPPROTO_IPV6;
		c->cmsg_type = IPV6_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		h->msg_controllen = CMSG_SPACE(sizeof(info));
	} else {
		struct in_pktinfo info = { .ipi_ifindex = (int)to->ifindex };

		memcpy(&info.ipi_spec_dst, to->from.b + 12, 4);
		c->cmsg_level = IPPROTO_IP;
		c->cmsg_type = IP_PKTINFO;
		c->cmsg_len = CMSG_LEN(sizeof(info));
		memcpy(CMSG_DATA(c), &info, sizeof(info));
		h->msg_controllen = CMSG_SPACE(sizeof(info));
	}
}

static void flush_socket(struct endpoint_socket *s)
{
	unsigned int done = 0;

	while (done < s->queued) {
		int n;

		if (s->queued - done > 1)
			n = sendmmsg(s->fd, s->out.headers + done, s->queued - done, 0);
		else
			n = sendmsg(s->fd, &s->out.headers[done].msg_hdr, 0) < 0 ? -1 : 1;
		/* One that cannot be sent (the veth is gone) must not keep back the others. */
		if (n < 0 && errno == EINTR)
			continue;
		/* By EPERM the kernel says that netfilter dropped it. */
		if (n < 0)
			core_unsent(s->listen->core, errno == EPERM);
		done += n > 0 ? (unsigned int)n : 1;
	}
	s->queued = 0;
}

void listen_reply(struct listen *l, const struct core_asker *to, const uint8_t *msg, size_t len)
{
	struct endpoint_socket *s = &l->udp[to->loop ? 2 : to->v6];
	unsigned int i = s->queued;
	struct msghdr *h = &s->out.headers[i].msg_hdr;

	if (len > QUERY_SIZE)
		return;
	memcpy(s->out.data[i], msg, len);
	s->out.iovs[i] = (struct iovec){ s->out.data[i], len };
	*h = (struct msghdr){ .msg_name = &s->out.peers[i],
			      .msg_namelen = addr_to_sockaddr(&to->addr, to->port, &s->out.peers[i]),
			      .msg_iov = &s->out.iovs[i],
			      .msg_iovlen = 1,
			      .msg_control = s->out.controls[i].bytes,
			      .msg_controllen = CONTROL_SIZE };
	/* A link-local asker is found on the veth only: RFC 4007 section 6. */
	if (to->v6 && to->addr.b[0] == 0xfe && (to->addr.b[1] & 0xc0) == 0x80)
		((struct sockaddr_in6 *)&s->out.peers[i])->sin6_scope_id = to->ifindex;
	put_source(h, to);
	if (++s->queued == BATCH)
		flush_socket(s);
}

void listen_flush(struct listen *l)
{
	for (size_t i = 0; i < ARRAY_SIZE(l->udp); i++)
		flush_socket(&l->udp[i]);
}

/* ---- queries ----------------------------------------------------------------------------------------------------- */

/* False: some of what must be known is missing. */
static bool read_controls(struct msghdr *h, struct core_asker *ret)
{
	bool have_server = false;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		const void *data = CMSG_DATA(c);

		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			ret->ifindex = (uint32_t)((const struct in_pktinfo *)data)->ipi_ifindex;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			ret->ifindex = ((const struct in6_pktinfo *)data)->ipi6_ifindex;
		} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_ORIGDSTADDR) {
			addr_from_in(&((const struct sockaddr_in *)data)->sin_addr, &ret->server);
			have_server = true;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_ORIGDSTADDR) {
			addr_from_in6(&((const struct sockaddr_in6 *)data)->sin6_addr, &ret->server);
			have_server = true;
		}
	}
	return have_server && ret->ifindex != 0;
}

static void make_headers(struct listen *l)
{
	struct batch *b = &l->in;

	for (int i = 0; i < l->used; i++) {
		b->iovs[i] = (struct iovec){ b->data[i], QUERY_SIZE };
		b->headers[i].msg_hdr = (struct msghdr){ .msg_name = &b->peers[i],
							 .msg_namelen = sizeof(b->peers[i]),
							 .msg_iov = &b->iovs[i],
							 .msg_iovlen = 1,
							 .msg_control = b->controls[i].bytes,
							 .msg_controllen = CONTROL_SIZE };
	}
	l->used = 0;
}

/* After a pause only one is looked for: to look for the next costs a call, and the loop comes back if there is one. */
static int receive(struct endpoint_socket *s, uint64_t now)
{
	struct listen *l = s->listen;
	bool one = now - s->last > PAUSE;
	int n;

	s->last = now;
	make_headers(l);
	if (one) {
		ssize_t len = recvmsg(s->fd, &l->in.headers[0].msg_hdr, MSG_DONTWAIT);

		n = len < 0 ? 0 : 1;
		l->in.headers[0].msg_len = (unsigned int)len;
		l->used = 1;
	} else {
		n = recvmmsg(s->fd, l->in.headers, BATCH, MSG_DONTWAIT, NULL);
		l->used = n > 0 ? n : 1;
	}
	return n;
}

/* One batch per turn: the loop comes back while there is more, after everybody else had theirs. */
static void udp_ready(struct source *source, uint32_t events, uint64_t now)
{
	struct endpoint_socket *s = source->owner;
	struct batch *b = &s->listen->in;
	int n = receive(s, now);

	(void)events;
	for (int i = 0; i < n; i++) {
		struct core_asker from = { .v6 = s->v6, .loop = s->loop };

		if (addr_from_sockaddr(&b->peers[i], &from.addr, &from.port) == 0 &&
		    read_controls(&b->headers[i].msg_hdr, &from))
			core_query(s->listen->core, &from, b->data[i], b->headers[i].msg_len, now);
	}
	flush_socket(s);
}

int listen_new(int loop, const int fds[SLUICE_SOCK_MAX], struct listen **ret)
{
	static const int slots[] = { SLUICE_SOCK_UDP4, SLUICE_SOCK_UDP6, SLUICE_SOCK_LOOP_UDP6 };
	struct listen *l = calloc(1, sizeof(*l));
	int r = l ? 0 : -ENOMEM;

	if (l)
		l->used = BATCH;
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(slots); i++) {
		struct endpoint_socket *s = &l->udp[i];

		*s = (struct endpoint_socket){
			.source = { udp_ready, s }, .listen = l, .fd = fds[slots[i]], .v6 = i > 0, .loop = i == 2
		};
		if (s->fd >= 0)
			r = loop_watch(loop, s->fd, EPOLLIN, &s->source);
	}
	if (r < 0) {
		free(l);
		return r;
	}
	*ret = l;
	return 0;
}

void listen_set_core(struct listen *l, struct core *core)
{
	l->core = core;
}

void listen_freep(struct listen **l)
{
	free(*l);
	*l = NULL;
}
