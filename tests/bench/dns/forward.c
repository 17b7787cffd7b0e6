/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cheapest forwarder there can be: bench-dns-forward ADDRESS PORT RESOLVER. Queries get an id of its own and go to
 * port 53 of the resolver by one connected socket; answers get the asker's id back. Nothing is read but the id, nothing
 * expires, and what has the id of an older query takes its place. Two threads, so that neither way needs more than a
 * call that waits and a call that sends.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BATCH	  32
#define MESSAGE	  2048
#define HEADER	  12
#define RCV_BYTES (4 << 20)

static struct asked {
	struct sockaddr_in peer;
	uint16_t id;
} asked[65536];

static int below, above; /* towards who asks, and towards the resolver */

struct batch {
	struct mmsghdr headers[BATCH];
	struct iovec iovs[BATCH];
	struct sockaddr_in peers[BATCH];
	uint8_t data[BATCH][MESSAGE];
};

static unsigned int receive(struct batch *b, int fd, unsigned int used)
{
	int n;

	for (unsigned int i = 0; i < used; i++) {
		b->iovs[i] = (struct iovec){ b->data[i], MESSAGE };
		b->headers[i].msg_hdr = (struct msghdr){ .msg_name = &b->peers[i],
							 .msg_namelen = sizeof(b->peers[i]),
							 .msg_iov = &b->iovs[i],
							 .msg_iovlen = 1 };
	}
	n = recvmmsg(fd, b->headers, BATCH, MSG_WAITFORONE, NULL);
	return n > 0 ? (unsigned int)n : 0;
}

static void send_all(struct batch *b, int fd, unsigned int n)
{
	for (unsigned int done = 0; done < n;) {
		int r = sendmmsg(fd, b->headers + done, n - done, 0);

		done += r > 0 ? (unsigned int)r : 1;
	}
}

static void *take_queries(void *unused)
{
	static struct batch b;
	unsigned int n = BATCH;
	uint16_t next = 0;

	(void)unused;
	for (;;) {
		n = receive(&b, below, n);
		for (unsigned int i = 0; i < n; i++, next++) {
			asked[next].peer = b.peers[i];
			memcpy(&asked[next].id, b.data[i], 2);
			memcpy(b.data[i], &next, 2);
			b.iovs[i].iov_len = b.headers[i].msg_len;
			b.headers[i].msg_hdr.msg_name = NULL;
			b.headers[i].msg_hdr.msg_namelen = 0;
		}
		send_all(&b, above, n);
	}
	return NULL;
}

static void take_answers(void)
{
	static struct batch b;
	unsigned int n = BATCH;

	for (;;) {
		n = receive(&b, above, n);
		for (unsigned int i = 0; i < n; i++) {
			uint16_t id;

			memcpy(&id, b.data[i], 2);
			memcpy(b.data[i], &asked[id].id, 2);
			b.peers[i] = asked[id].peer;
			b.iovs[i].iov_len = b.headers[i].msg_len;
			b.headers[i].msg_hdr.msg_namelen = sizeof(b.peers[i]);
		}
		send_all(&b, below, n);
	}
}

static int datagram_socket(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0), bytes = RCV_BYTES;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes));
	return fd;
}

int main(int argc, char **argv)
{
	struct sockaddr_in own = { .sin_family = AF_INET }, resolver = { .sin_family = AF_INET, .sin_port = htons(53) };
	pthread_t other;

	if (argc != 4 || inet_pton(AF_INET, argv[1], &own.sin_addr) != 1 ||
	    inet_pton(AF_INET, argv[3], &resolver.sin_addr) != 1) {
		fprintf(stderr, "usage: bench-dns-forward ADDRESS PORT RESOLVER\n");
		return 2;
	}
	own.sin_port = htons((uint16_t)atoi(argv[2]));
	below = datagram_socket();
	above = datagram_socket();
	if (bind(below, (struct sockaddr *)&own, sizeof(own)) < 0 ||
	    connect(above, (struct sockaddr *)&resolver, sizeof(resolver)) < 0) {
		perror("bench-dns-forward");
		return 1;
	}
	if (pthread_create(&other, NULL, take_queries, NULL) != 0)
		return 1;
	take_answers();
}
