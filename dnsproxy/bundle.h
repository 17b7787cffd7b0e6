/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Datagrams that leave by one connected socket at once.
 *
 * Theory of operation
 * -------------------
 * Most of what a datagram costs is its way through the IP stack, a Service's translation and a veth, once each. Those of
 * equal length, and one shorter than they as the last, go that way as one packet (UDP_SEGMENT, Linux 4.18), which the
 * kernel takes apart where it must: at the receiving socket, or before a device that cannot. So the longest are sent
 * first. On the wire, and to who receives them, they are datagrams like all others.
 *
 * A device that computes no checksums takes none of these before 6.9, nor does IPsec: then each goes by itself. Answers to
 * pods always do: a pod's own network stack (gVisor's, on a packet socket) need not know such packets.
 */
#ifndef SLUICE_DNSPROXY_BUNDLE_H
#define SLUICE_DNSPROXY_BUNDLE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define BUNDLE_MAX  32
#define BUNDLE_SIZE 512 /* bytes of a datagram, which with its headers every path of IPv4 and IPv6 takes */

/* Zeroed is empty. */
struct bundle {
	unsigned int count; /* not sent yet */
	struct iovec datagrams[BUNDLE_MAX];
	struct mmsghdr headers[BUNDLE_MAX];
	union {
		char bytes[CMSG_SPACE(sizeof(uint16_t))];
		struct cmsghdr align;
	} controls[BUNDLE_MAX];
	uint8_t data[BUNDLE_MAX][BUNDLE_SIZE];
};

/* There must be room: count < BUNDLE_MAX, 0 < len <= BUNDLE_SIZE. (A packet of several has no place for an empty one.) */
void bundle_add(struct bundle *b, const uint8_t *msg, size_t len);

/*
 * Sends all of them, in an order of its own. `singly`: each by itself; set when the way out takes them in no other way.
 * 0, or -errno: what was not sent may be tried again; nothing is added before it is gone, or given up by count = 0.
 */
int bundle_send(struct bundle *b, int fd, bool *singly);

#endif
