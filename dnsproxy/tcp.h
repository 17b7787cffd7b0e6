/* SPDX-License-Identifier: Apache-2.0 */
/* DNS messages out of a TCP stream (RFC 7766): a two-byte length, then the message, cut wherever the sender liked. */
#ifndef SLUICE_DNSPROXY_TCP_H
#define SLUICE_DNSPROXY_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Room for every query a stub sends, options and all; a longer one ends the connection. */
#define TCP_MAX_QUERY 2048

struct tcp_framer {
	uint32_t have; /* bytes in buf, the length prefix included */
	uint8_t buf[2 + TCP_MAX_QUERY];
};

/* Where to receive into next, and how much fits. Always some, as long as the framer has not failed. */
uint8_t *tcp_space(struct tcp_framer *f, size_t *ret_len);
void tcp_received(struct tcp_framer *f, size_t n);

/* 1: *ret is a message inside the framer, valid until tcp_consume; 0: more bytes are needed; -EMSGSIZE, -EBADMSG. */
int tcp_next(const struct tcp_framer *f, const uint8_t **ret, size_t *ret_len);
void tcp_consume(struct tcp_framer *f);

/* Part of a message is there: the rest is due. */
bool tcp_is_partial(const struct tcp_framer *f);

#endif
