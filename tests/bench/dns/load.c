/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks a name server:
 *   bench-dns-load [-t] [-c SOCKETS] [-l SECONDS] [-n QUERIES] -w WINDOW | -r RATE ADDRESS PORT NAMES
 * -w keeps so many queries under way; -r asks so many a second, however the answers come, each at its own moment. It ends
 * after -l seconds (3) or -n queries.
 * -t is TCP, pipelined. NAMES is a file, a name a line, asked in turn for A. Prints one line of JSON; latencies are from
 * just before a query is sent until it is looked at, in whole microseconds.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

#define BATCH	    32
#define MESSAGE	    1024
#define STREAM	    65536
#define HEADER	    12
#define MAX_SOCKETS 64
#define SLOWEST	    1000000 /* us; slower ones count as this */
#define GIVE_UP	    NSEC_PER_SEC

struct query {
	uint16_t len; /* of the message, which follows its length as over TCP */
	uint8_t bytes[2 + HEADER + 255 + 4];
};

struct conn {
	int fd;
	uint16_t id;
	unsigned int waiting;
	size_t have;
	uint8_t in[STREAM]; /* TCP */
	uint64_t sent_at[65536];
};

struct load {
	bool tcp;
	unsigned int nsockets, window, rate;
	double seconds;
	uint64_t most;
	struct sockaddr_in to;
	struct query *queries;
	size_t nqueries, next;
	struct conn *conns[MAX_SOCKETS];
	int loop;
	uint64_t sent, answered, lost, stray;
	uint64_t rcodes[16];
	uint32_t histogram[SLOWEST + 1];
};

static void die(const char *what)
{
	fprintf(stderr, "bench-dns-load: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- what is asked ----------------------------------------------------------------------------------------------- */

static void write_query(struct query *q, char *name)
{
	static const uint8_t header[HEADER] = { [2] = 1, [5] = 1 };
	uint8_t *p = q->bytes + 2;
	char *rest = name;

	memcpy(p, header, HEADER);
	p += HEADER;
	for (char *label; (label = strsep(&rest, "."));) {
		size_t len = strlen(label);

		if (len == 0)
			continue;
		*p++ = (uint8_t)len;
		p = (uint8_t *)memcpy(p, label, len) + len;
	}
	memcpy(p, (uint8_t[]){ 0, 0, 1, 0, 1 }, 5);
	q->len = (uint16_t)(p + 5 - q->bytes - 2);
	q->bytes[0] = (uint8_t)(q->len >> 8);
	q->bytes[1] = (uint8_t)q->len;
}

static void read_names(struct load *l, const char *path)
{
	FILE *f = fopen(path, "re");
	char line[256];

	if (!f)
		die(path);
	while (fgets(line, sizeof(line), f)) {
		line[strcspn(line, " \n")] = 0;
		if (strlen(line) > 250)
			continue;
		if (l->nqueries % 1024 == 0)
			l->queries = realloc(l->queries, (l->nqueries + 1024) * sizeof(*l->queries));
		write_query(&l->queries[l->nqueries++], line);
	}
	fclose(f);
	if (l->nqueries == 0)
		die("no names");
}

static const struct query *take_query(struct load *l, struct conn *c, uint64_t now, uint16_t *ret_id)
{
	const struct query *q = &l->queries[l->next];

	l->next = l->next + 1 == l->nqueries ? 0 : l->next + 1;
	*ret_id = c->id++;
	c->sent_at[*ret_id] = now;
	return q;
}

static void put_id(uint8_t *msg, uint16_t id)
{
	msg[0] = (uint8_t)(id >> 8);
	msg[1] = (uint8_t)id;
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

/* Send n queries (at most BATCH). What does not go out is lost, and found out by waiting. */
static void send_udp(struct load *l, struct conn *c, unsigned int n)
{
	static uint8_t data[BATCH][sizeof(l->queries->bytes)];
	struct iovec iovs[BATCH];
	struct mmsghdr headers[BATCH] = {};
	uint64_t now = clock_now();

	for (unsigned int i = 0; i < n; i++) {
		uint16_t id;
		const struct query *q = take_query(l, c, now, &id);

		memcpy(data[i], q->bytes + 2, q->len);
		put_id(data[i], id);
		iovs[i] = (struct iovec){ data[i], q->len };
		headers[i].msg_hdr = (struct msghdr){ .msg_iov = &iovs[i], .msg_iovlen = 1 };
	}
	for (unsigned int done = 0; done < n;) {
		int r = sendmmsg(c->fd, headers + done, n - done, 0);

		done += r > 0 ? (unsigned int)r : 1;
	}
}

static void send_tcp(struct load *l, struct conn *c, unsigned int n)
{
	static uint8_t data[BATCH * sizeof(l->queries->bytes)];
	uint64_t now = clock_now();
	size_t len = 0, done = 0;

	for (unsigned int i = 0; i < n; i++) {
		uint16_t id;
		const struct query *q = take_query(l, c, now, &id);

		memcpy(data + len, q->bytes, 2 + q->len);
		put_id(data + len + 2, id);
		len += 2u + q->len;
	}
	while (done < len) {
		ssize_t r = send(c->fd, data + done, len - done, MSG_NOSIGNAL);

		if (r < 0 && errno != EINTR)
			die("send");
		done += r > 0 ? (size_t)r : 0;
	}
}

static void ask(struct load *l, struct conn *c, unsigned int n)
{
	if (l->most - l->sent < n)
		n = (unsigned int)(l->most - l->sent);
	while (n > 0) {
		unsigned int some = n < BATCH ? n : BATCH;

		if (l->tcp)
			send_tcp(l, c, some);
		else
			send_udp(l, c, some);
		c->waiting += some;
		l->sent += some;
		n -= some;
	}
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static void answered(struct load *l, struct conn *c, const uint8_t *msg, size_t len, uint64_t now)
{
	uint16_t id = (uint16_t)(msg[0] << 8 | msg[1]);
	uint64_t us;

	if (len < HEADER || c->sent_at[id] == 0) {
		l->stray++;
		return;
	}
	us = (now - c->sent_at[id]) / 1000;
	l->histogram[us < SLOWEST ? us : SLOWEST]++;
	l->rcodes[msg[3] & 15]++;
	l->answered++;
	c->sent_at[id] = 0;
	c->waiting--;
}

static void receive_udp(struct load *l, struct conn *c)
{
	static uint8_t data[BATCH][MESSAGE];
	struct iovec iovs[BATCH];
	struct mmsghdr headers[BATCH] = {};
	uint64_t now;
	int n;

	for (int i = 0; i < BATCH; i++) {
		iovs[i] = (struct iovec){ data[i], MESSAGE };
		headers[i].msg_hdr = (struct msghdr){ .msg_iov = &iovs[i], .msg_iovlen = 1 };
	}
	n = recvmmsg(c->fd, headers, BATCH, MSG_DONTWAIT, NULL);
	now = clock_now();
	for (int i = 0; i < n; i++)
		answered(l, c, data[i], headers[i].msg_len, now);
}

static void receive_tcp(struct load *l, struct conn *c)
{
	ssize_t n = recv(c->fd, c->in + c->have, sizeof(c->in) - c->have, MSG_DONTWAIT);
	uint64_t now = clock_now();
	size_t at = 0;

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		die("the connection was closed");
	c->have += n > 0 ? (size_t)n : 0;
	while (c->have - at >= 2) {
		size_t size = (size_t)c->in[at] << 8 | c->in[at + 1];

		if (c->have - at - 2 < size)
			break;
		answered(l, c, c->in + at + 2, size, now);
		at += 2 + size;
	}
	memmove(c->in, c->in + at, c->have - at);
	c->have -= at;
}

static void give_up_old(struct load *l, uint64_t now)
{
	for (unsigned int i = 0; i < l->nsockets; i++) {
		struct conn *c = l->conns[i];

		for (int id = 0; c->waiting > 0 && id < 65536; id++) {
			if (c->sent_at[id] == 0 || now - c->sent_at[id] < GIVE_UP)
				continue;
			c->sent_at[id] = 0;
			c->waiting--;
			l->lost++;
		}
	}
}

/* ---- the run ----------------------------------------------------------------------------------------------------- */

/* Waits until the time, or for ever so little less when there are answers to read, and reads them. */
static void wait_for_answers(struct load *l, uint64_t until, bool refill)
{
	uint64_t now = clock_now(), left = until > now ? until - now : 0;
	struct timespec ts = { (time_t)(left / NSEC_PER_SEC), (long)(left % NSEC_PER_SEC) };
	struct epoll_event events[MAX_SOCKETS];
	int n = epoll_pwait2(l->loop, events, MAX_SOCKETS, &ts, NULL);

	for (int i = 0; i < n; i++) {
		struct conn *c = events[i].data.ptr;

		if (l->tcp)
			receive_tcp(l, c);
		else
			receive_udp(l, c);
		if (refill)
			ask(l, c, l->window / l->nsockets - c->waiting);
	}
}

static void run_window(struct load *l, uint64_t end)
{
	uint64_t now;

	for (unsigned int i = 0; i < l->nsockets; i++)
		ask(l, l->conns[i], l->window / l->nsockets);
	while ((now = clock_now()) < end && l->sent < l->most) {
		uint64_t before = l->answered;

		wait_for_answers(l, now + NSEC_PER_SEC / 10, true);
		if (l->answered > before)
			continue;
		give_up_old(l, clock_now());
		for (unsigned int i = 0; i < l->nsockets; i++)
			ask(l, l->conns[i], l->window / l->nsockets - l->conns[i]->waiting);
	}
}

static void run_rate(struct load *l, uint64_t start, uint64_t end)
{
	unsigned int turn = 0;
	uint64_t now;

	while ((now = clock_now()) < end && l->sent < l->most) {
		uint64_t due = (now - start) * l->rate / NSEC_PER_SEC;

		while (l->sent < due && l->sent < l->most)
			ask(l, l->conns[turn++ % l->nsockets], 1);
		wait_for_answers(l, start + (l->sent + 1) * NSEC_PER_SEC / l->rate, false);
	}
}

static bool anything_waiting(const struct load *l)
{
	for (unsigned int i = 0; i < l->nsockets; i++)
		if (l->conns[i]->waiting > 0)
			return true;
	return false;
}

static void open_conns(struct load *l)
{
	int one = 1, bytes = 4 << 20;

	l->loop = epoll_create1(EPOLL_CLOEXEC);
	for (unsigned int i = 0; i < l->nsockets; i++) {
		struct conn *c = calloc(1, sizeof(*c));
		struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

		if (!c)
			die("memory");
		l->conns[i] = c;
		c->fd = socket(AF_INET, (l->tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC, 0);
		if (l->tcp)
			setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		else
			setsockopt(c->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
		if (connect(c->fd, (struct sockaddr *)&l->to, sizeof(l->to)) < 0 ||
		    epoll_ctl(l->loop, EPOLL_CTL_ADD, c->fd, &ev) < 0)
			die("connect");
	}
}

static unsigned int percentile(const struct load *l, unsigned int per_mille)
{
	uint64_t seen = 0;
	unsigned int us = 0;

	while (us < SLOWEST && (seen += l->histogram[us]) * 1000 < l->answered * per_mille)
		us++;
	return us;
}

static void report(const struct load *l, double seconds)
{
	uint64_t lost = l->lost;

	for (unsigned int i = 0; i < l->nsockets; i++)
		lost += l->conns[i]->waiting;
	printf("{\"sent\": %llu, \"answered\": %llu, \"lost\": %llu, \"stray\": %llu, \"seconds\": %.6f, "
	       "\"p50_us\": %u, \"p90_us\": %u, \"p99_us\": %u, \"noerror\": %llu, \"servfail\": %llu, "
	       "\"nxdomain\": %llu, \"refused\": %llu}\n",
	       (unsigned long long)l->sent, (unsigned long long)l->answered, (unsigned long long)lost,
	       (unsigned long long)l->stray, seconds, percentile(l, 500), percentile(l, 900), percentile(l, 990),
	       (unsigned long long)l->rcodes[0], (unsigned long long)l->rcodes[2], (unsigned long long)l->rcodes[3],
	       (unsigned long long)l->rcodes[5]);
}

static void parse(struct load *l, int argc, char **argv)
{
	int option;

	while ((option = getopt(argc, argv, "tc:l:n:w:r:")) != -1) {
		if (option == 't')
			l->tcp = true;
		else if (option == 'c')
			l->nsockets = (unsigned int)atoi(optarg);
		else if (option == 'l')
			l->seconds = strtod(optarg, NULL);
		else if (option == 'n')
			l->most = strtoull(optarg, NULL, 10);
		else if (option == 'w')
			l->window = (unsigned int)atoi(optarg);
		else if (option == 'r')
			l->rate = (unsigned int)atoi(optarg);
		else
			exit(2);
	}
	if (argc - optind != 3 || (l->window == 0) == (l->rate == 0) || l->nsockets == 0 || l->nsockets > MAX_SOCKETS ||
	    inet_pton(AF_INET, argv[optind], &l->to.sin_addr) != 1) {
		fprintf(stderr, "usage: bench-dns-load [-t] [-c SOCKETS] [-l SECONDS] [-n QUERIES] -w WINDOW | -r RATE "
				"ADDRESS PORT NAMES\n");
		exit(2);
	}
	l->to.sin_family = AF_INET;
	l->to.sin_port = htons((uint16_t)atoi(argv[optind + 1]));
	read_names(l, argv[optind + 2]);
}

int main(int argc, char **argv)
{
	static struct load l = { .nsockets = 4, .seconds = 3, .most = UINT64_MAX };
	uint64_t start, end, stop;

	parse(&l, argc, argv);
	prctl(PR_SET_TIMERSLACK, 1);
	open_conns(&l);
	start = clock_now();
	end = start + (uint64_t)(l.seconds * 1e9);
	if (l.window)
		run_window(&l, end);
	else
		run_rate(&l, start, end);
	stop = clock_now();
	while (anything_waiting(&l) && clock_now() < stop + GIVE_UP)
		wait_for_answers(&l, stop + GIVE_UP, false);
	report(&l, (double)(stop - start) / 1e9);
	return 0;
}
