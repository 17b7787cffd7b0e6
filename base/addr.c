/* SPDX-License-Identifier: Apache-2.0 */
#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const uint8_t v4_mapped[12] = { [10] = 0xff, [11] = 0xff };

bool addr_is_ipv4(const struct sluice_addr *addr)
{
	return memcmp(addr->b, v4_mapped, sizeof(v4_mapped)) == 0;
}

void addr_from_in(const struct in_addr *in, struct sluice_addr *ret)
{
	memcpy(ret->b, v4_mapped, sizeof(v4_mapped));
	memcpy(ret->b + 12, in, 4);
}

void addr_from_in6(const struct in6_addr *in6, struct sluice_addr *ret)
{
	memcpy(ret->b, in6, 16);
}

int addr_parse(const char *text, struct sluice_addr *ret)
{
	struct in_addr in;
	struct in6_addr in6;
	struct sluice_addr addr;

	if (inet_pton(AF_INET, text, &in) == 1) {
		addr_from_in(&in, ret);
		return 0;
	}
	if (inet_pton(AF_INET6, text, &in6) != 1)
		return -EINVAL;
	addr_from_in6(&in6, &addr);
	if (addr_is_ipv4(&addr))
		return -EAFNOSUPPORT;
	*ret = addr;
	return 0;
}

/* Decimal, one to three digits, no sign, no leading zero. */
static int parse_prefix_length(const char *text, uint32_t max, uint32_t *ret)
{
	uint32_t n = 0;
	size_t len = strlen(text);

	if (len == 0 || len > 3 || (text[0] == '0' && len > 1))
		return -EINVAL;
	for (const char *p = text; *p; p++) {
		if (*p < '0' || *p > '9')
			return -EINVAL;
		n = n * 10 + (uint32_t)(*p - '0');
	}
	if (n > max)
		return -EINVAL;
	*ret = n;
	return 0;
}

int prefix_parse(const char *text, struct sluice_prefix *ret)
{
	char addr_text[INET6_ADDRSTRLEN];
	struct sluice_addr addr, masked;
	const char *slash = strchr(text, '/');
	uint32_t bits;
	int r;

	if (!slash || (size_t)(slash - text) >= sizeof(addr_text))
		return -EINVAL;
	memcpy(addr_text, text, (size_t)(slash - text));
	addr_text[slash - text] = '\0';
	r = addr_parse(addr_text, &addr);
	if (r < 0)
		return r;
	r = parse_prefix_length(slash + 1, addr_is_ipv4(&addr) ? 32 : 128, &bits);
	if (r < 0)
		return r;
	if (addr_is_ipv4(&addr))
		bits += 96;
	masked = addr;
	addr_mask(&masked, bits);
	ret->addr = masked;
	ret->bits = bits;
	return addr_compare(&addr, &masked) == 0 ? PREFIX_OK : PREFIX_HOST_BITS;
}

char *addr_format(const struct sluice_addr *addr, char *buf)
{
	if (addr_is_ipv4(addr))
		inet_ntop(AF_INET, addr->b + 12, buf, ADDR_TEXT_MAX);
	else
		inet_ntop(AF_INET6, addr->b, buf, ADDR_TEXT_MAX);
	return buf;
}

/* A prefix shorter than 96 bits over a v4-mapped-looking address can only be IPv6. */
char *prefix_format(const struct sluice_prefix *prefix, char *buf)
{
	bool v4 = prefix->bits >= 96 && addr_is_ipv4(&prefix->addr);
	size_t len;

	if (v4)
		addr_format(&prefix->addr, buf);
	else
		inet_ntop(AF_INET6, prefix->addr.b, buf, ADDR_TEXT_MAX);
	len = strlen(buf);
	snprintf(buf + len, ADDR_TEXT_MAX - len, "/%u", v4 ? prefix->bits - 96 : prefix->bits);
	return buf;
}

void addr_mask(struct sluice_addr *addr, uint32_t bits)
{
	for (uint32_t i = 0; i < 16; i++) {
		uint32_t keep = bits > i * 8 ? bits - i * 8 : 0;

		if (keep < 8)
			addr->b[i] &= (uint8_t)(0xff00u >> keep);
	}
}

bool prefix_contains(const struct sluice_prefix *prefix, const struct sluice_addr *addr)
{
	struct sluice_addr masked = *addr;

	addr_mask(&masked, prefix->bits);
	return addr_compare(&masked, &prefix->addr) == 0;
}

int addr_compare(const struct sluice_addr *a, const struct sluice_addr *b)
{
	return memcmp(a->b, b->b, sizeof(a->b));
}

socklen_t addr_to_sockaddr(const struct sluice_addr *addr, uint16_t port, struct sockaddr_storage *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (addr_is_ipv4(addr)) {
		struct sockaddr_in *sin = (struct sockaddr_in *)ret;

		sin->sin_family = AF_INET;
		sin->sin_port = htons(port);
		memcpy(&sin->sin_addr, addr->b + 12, 4);
		return sizeof(*sin);
	}
	struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)ret;

	sin6->sin6_family = AF_INET6;
	sin6->sin6_port = htons(port);
	memcpy(&sin6->sin6_addr, addr->b, 16);
	return sizeof(*sin6);
}

int addr_from_sockaddr(const struct sockaddr_storage *ss, struct sluice_addr *ret, uint16_t *port)
{
	in_port_t be;

	if (ss->ss_family == AF_INET) {
		const struct sockaddr_in *sin = (const struct sockaddr_in *)ss;

		addr_from_in(&sin->sin_addr, ret);
		be = sin->sin_port;
	} else if (ss->ss_family == AF_INET6) {
		const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)ss;

		addr_from_in6(&sin6->sin6_addr, ret);
		be = sin6->sin6_port;
	} else {
		return -EAFNOSUPPORT;
	}
	if (port)
		*port = ntohs(be);
	return 0;
}
