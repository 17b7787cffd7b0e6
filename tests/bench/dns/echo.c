/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cheapest name server there can be: bench-dns-echo ADDRESS PORT. What comes goes back with one A record appended
 * whose address is made of the name (20.0.0.0/8), 300 s; other types are answered empty. UDP in batches by one thread,
 * TCP by another, so that a run over UDP pays for nothing else.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH	  32
#define MESSAGE	  1024
#define STREAM	  65536
#define HEADER	  12
#define ANSWER	  16
#define TYPE_A	  1
#define MAX_FD	  1024
#define RCV_BYTES (4 << 20)

static struct sockaddr_in own;

/* Length of the question of the message, 0 when there is none. *ret_hash is of its name, without regard to case. */
static size_t question(const uint8_t *msg, size_t len, uint32_t *ret_hash)
{
	uint32_t hash = 2166136261u;
	size_t at = HEADER;

	while (at < len && msg[at] != 0) {
		for (size_t end = at + msg[at]; at <= end && at < len; at++)
			hash = (hash ^ (msg[at] | 0x20)) * 16777619u;
	}
	*ret_hash = hash ^ hash >> 15;
	return at + 5 <= len ? at + 5 - HEADER : 0;
}

/* Makes the answer in place; returns its length, 0 for none. */
static size_t answer(uint8_t *msg, size_t len)
{
	uint32_t hash;
	size_t q = len > HEADER ? question(msg, len, &hash) : 0;
	uint8_t *end = msg + HEADER + q;
	const uint8_t record[ANSWER] = { 0xc0, HEADER, 0, TYPE_A, 0, 1, 0, 0, 300 >> 8, 300 & 255, 0, 4, 20 };

	if (q == 0)
		return 0;
	msg[2] |= 0x80;
	msg[3] = 0x80;
	memset(msg + 6, 0, 6);
	if (end[-3] != TYPE_A || end[-4] != 0)
		return HEADER + q;
	msg[7] = 1;
	memcpy(end, record, ANSWER);
	end[ANSWER - 3] = (uint8_t)(hash >> 16);
	end[ANSWER - 2] = (uint8_t)(hash >> 8);
	end[ANSWER - 1] = (uint8_t)hash;
	return HEADER + q + ANSWER;
}

static void serve_udp(int fd)
{
	static uint8_t data[BATCH][MESSAGE + ANSWER];
	static struct sockaddr_in peers[BATCH];
	static struct iovec iovs[BATCH];
	static struct mmsghdr in[BATCH], out[BATCH];

	for (;;) {
		unsigned int replies = 0, done = 0;
		int n;

		for (int i = 0; i < BATCH; i++) {
			iovs[i] = (struct iovec){ data[i], MESSAGE };
			in[i].msg_hdr = (struct msghdr){ .msg_name = &peers[i],
							 .msg_namelen = sizeof(peers[i]),
							 .msg_iov = &iovs[i],
							 .msg_iovlen = 1 };
		}
		n = recvmmsg(fd, in, BATCH, MSG_WAITFORONE, NULL);
		for (int i = 0; i < n; i++) {
			iovs[i].iov_len = answer(data[i], in[i].msg_len);
			if (iovs[i].iov_len > 0)
				out[replies++] = in[i];
		}
		while (done < replies) {
			n = sendmmsg(fd, out + done, replies - done, 0);
			done += n > 0 ? (unsigned int)n : 1;
		}
	}
}

struct stream {
	size_t have;
	uint8_t in[STREAM];
};

/* Answers every whole message that is there in one write. False: the connection is over. */
static bool serve_stream(struct stream *s, int fd)
{
	static uint8_t out[STREAM * 2];
	ssize_t n = recv(fd, s->in + s->have, sizeof(s->in) - s->have, MSG_DONTWAIT);
	size_t at = 0, len = 0;

	if (n <= 0)
		return n < 0 && (errno == EAGAIN || errno == EINTR);
	s->have += (size_t)n;
	while (s->have - at >= 2) {
		size_t size = (size_t)s->in[at] << 8 | s->in[at + 1], made;

		if (s->have - at - 2 < size || len + size + 2 + ANSWER > sizeof(out))
			break;
		memcpy(out + len + 2, s->in + at + 2, size);
		made = answer(out + len + 2, size);
		out[len] = (uint8_t)(made >> 8);
		out[len + 1] = (uint8_t)made;
		len += made + 2;
		at += size + 2;
	}
	memmove(s->in, s->in + at, s->have - at);
	s->have -= at;
	return len == 0 || send(fd, out, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static void *serve_tcp(void *unused)
{
	static struct stream *streams[MAX_FD];
	int fd = socket(AF_INET, SOCK_STREAM, 0), loop = epoll_create1(0), one = 1;
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = fd };

	(void)unused;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&own, sizeof(own)) < 0 || listen(fd, 512) < 0) {
		perror("bench-dns-echo: TCP");
		exit(1);
	}
	epoll_ctl(loop, EPOLL_CTL_ADD, fd, &ev);
	while (epoll_wait(loop, &ev, 1, -1) >= 0 || errno == EINTR) {
		int c = ev.data.fd == fd ? accept(fd, NULL, NULL) : ev.data.fd;

		if (c < 0 || c >= MAX_FD)
			continue;
		if (ev.data.fd == fd) {
			streams[c] = streams[c] ? streams[c] : malloc(sizeof(*streams[c]));
			streams[c]->have = 0;
			ev = (struct epoll_event){ .events = EPOLLIN, .data.fd = c };
			epoll_ctl(loop, EPOLL_CTL_ADD, c, &ev);
		} else if (!serve_stream(streams[c], c)) {
			close(c);
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0), bytes = RCV_BYTES;
	pthread_t tcp;

	if (argc != 3 || inet_pton(AF_INET, argv[1], &own.sin_addr) != 1) {
		fprintf(stderr, "usage: bench-dns-echo ADDRESS PORT\n");
		return 2;
	}
	own.sin_family = AF_INET;
	own.sin_port = htons((uint16_t)atoi(argv[2]));
	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	if (bind(fd, (struct sockaddr *)&own, sizeof(own)) < 0) {
		perror("bench-dns-echo: UDP");
		return 1;
	}
	if (pthread_create(&tcp, NULL, serve_tcp, NULL) != 0)
		return 1;
	serve_udp(fd);
}
