/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsproxy/tcp.h"

#include <errno.h>
#include <string.h>

#include "dnsproxy/wire.h"

static size_t message_len(const struct tcp_framer *f)
{
	return (size_t)f->buf[0] << 8 | f->buf[1];
}

uint8_t *tcp_space(struct tcp_framer *f, size_t *ret_len)
{
	*ret_len = sizeof(f->buf) - f->have;
	return f->buf + f->have;
}

void tcp_received(struct tcp_framer *f, size_t n)
{
	if (n > sizeof(f->buf) - f->have)
		n = sizeof(f->buf) - f->have;
	f->have += (uint32_t)n;
}

int tcp_next(const struct tcp_framer *f, const uint8_t **ret, size_t *ret_len)
{
	size_t len;

	if (f->have < 2)
		return 0;
	len = message_len(f);
	if (len < WIRE_HEADER)
		return -EBADMSG; /* there is no id to answer to */
	if (len > TCP_MAX_QUERY)
		return -EMSGSIZE;
	if (f->have < 2 + len)
		return 0;
	*ret = f->buf + 2;
	*ret_len = len;
	return 1;
}

void tcp_consume(struct tcp_framer *f)
{
	size_t used = f->have >= 2 ? 2 + message_len(f) : 0;

	if (used == 0 || used > f->have)
		return;
	memmove(f->buf, f->buf + used, f->have - used);
	f->have -= (uint32_t)used;
}

bool tcp_is_partial(const struct tcp_framer *f)
{
	return f->have > 0;
}
