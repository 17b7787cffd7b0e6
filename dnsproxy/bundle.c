/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsproxy/bundle.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>

void bundle_add(struct bundle *b, const uint8_t *msg, size_t len)
{
	uint8_t *data = b->data[b->count];

	memcpy(data, msg, len);
	b->datagrams[b->count++] = (struct iovec){ data, len };
}

/* The longest first, equal ones as they came. They are few, and mostly of few lengths. */
static void sort(struct bundle *b)
{
	for (unsigned int i = 1; i < b->count; i++) {
		struct iovec v = b->datagrams[i];
		unsigned int at = i;

		for (; at > 0 && b->datagrams[at - 1].iov_len < v.iov_len; at--)
			b->datagrams[at] = b->datagrams[at - 1];
		b->datagrams[at] = v;
	}
}

/* How many from the first on may go as one packet. */
static unsigned int together(const struct iovec *datagrams, unsigned int count)
{
	unsigned int n = 1;

	while (n < count && datagrams[n].iov_len == datagrams[0].iov_len)
		n++;
	return n < count ? n + 1 : n;
}

static void set_segment(struct msghdr *h, char *control, size_t size, uint16_t segment)
{
	struct cmsghdr *c;

	memset(control, 0, size);
	h->msg_control = control;
	h->msg_controllen = size;
	c = CMSG_FIRSTHDR(h);
	c->cmsg_level = SOL_UDP;
	c->cmsg_type = UDP_SEGMENT;
	c->cmsg_len = CMSG_LEN(sizeof(segment));
	memcpy(CMSG_DATA(c), &segment, sizeof(segment));
}

/* How many packets. */
static unsigned int make_headers(struct bundle *b, bool singly)
{
	unsigned int packets = 0, n;

	for (unsigned int i = 0; i < b->count; i += n, packets++) {
		struct iovec *first = &b->datagrams[i];
		struct msghdr *h = &b->headers[packets].msg_hdr;

		n = singly ? 1 : together(first, b->count - i);
		*h = (struct msghdr){ .msg_iov = first, .msg_iovlen = n };
		if (n > 1)
			set_segment(h, b->controls[packets].bytes, sizeof(b->controls[packets].bytes),
				    (uint16_t)first->iov_len);
	}
	return packets;
}

/* How many packets were sent, or -1. */
static int send_packets(struct bundle *b, unsigned int packets, int fd)
{
	const int flags = MSG_DONTWAIT | MSG_NOSIGNAL;

	if (b->count == 1)
		return send(fd, b->datagrams[0].iov_base, b->datagrams[0].iov_len, flags) < 0 ? -1 : 1;
	return sendmmsg(fd, b->headers, packets, flags);
}

static void remove_sent(struct bundle *b, unsigned int packets)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < packets; i++)
		n += (unsigned int)b->headers[i].msg_hdr.msg_iovlen;
	b->count -= n;
	memmove(b->datagrams, b->datagrams + n, b->count * sizeof(b->datagrams[0]));
}

/* EIO: no checksums, or IPsec; EINVAL: longer than the device takes, or a kernel that does not know it. */
static bool takes_none(int error)
{
	return error == EIO || error == EINVAL || error == EMSGSIZE || error == EOPNOTSUPP;
}

int bundle_send(struct bundle *b, int fd, bool *singly)
{
	sort(b);
	while (b->count > 0) {
		unsigned int packets = make_headers(b, *singly);
		bool in_one = b->headers[0].msg_hdr.msg_iovlen > 1;
		int n = send_packets(b, packets, fd);

		if (n > 0)
			remove_sent(b, (unsigned int)n);
		else if (errno != EINTR && (!in_one || !takes_none(errno)))
			return -errno;
		else if (errno != EINTR)
			*singly = true;
	}
	return 0;
}
