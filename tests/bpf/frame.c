/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <assert.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <string.h>

#include "tests/bpf/frame.h"

void frame_bytes(struct frame *f, const void *bytes, size_t len)
{
	assert(f->len + len <= FRAME_MAX);
	if (bytes)
		memcpy(f->data + f->len, bytes, len);
	else
		memset(f->data + f->len, 0, len);
	f->len += len;
}

void frame_u16(struct frame *f, uint16_t v)
{
	uint16_t be = htons(v);

	frame_bytes(f, &be, sizeof(be));
}

void frame_u32(struct frame *f, uint32_t v)
{
	uint32_t be = htonl(v);

	frame_bytes(f, &be, sizeof(be));
}

static void put_u16(struct frame *f, size_t at, uint16_t v)
{
	uint16_t be = htons(v);

	memcpy(f->data + at, &be, sizeof(be));
}

void frame_eth(struct frame *f, const uint8_t *dst, const uint8_t *src, uint16_t type)
{
	memset(f, 0, sizeof(*f));
	frame_bytes(f, dst, ETH_ALEN);
	frame_bytes(f, src, ETH_ALEN);
	frame_u16(f, type);
}

static void frame_ipv6(struct frame *f, const char *src, const char *dst, uint8_t proto)
{
	const uint8_t start[8] = { 0x60, 0, 0, 0, 0, 0, proto, 64 };
	struct in6_addr addr;

	f->family = 6;
	frame_bytes(f, start, sizeof(start));
	assert(inet_pton(AF_INET6, src, &addr) == 1);
	frame_bytes(f, &addr, sizeof(addr));
	assert(inet_pton(AF_INET6, dst, &addr) == 1);
	frame_bytes(f, &addr, sizeof(addr));
}

void frame_ip(struct frame *f, const char *src, const char *dst, uint8_t proto)
{
	const uint8_t start[12] = { 0x45, 0, 0, 0, 0x12, 0x34, 0, 0, 64, proto, 0, 0 };
	struct in_addr addr;

	f->ip = f->len;
	if (strchr(src, ':')) {
		frame_ipv6(f, src, dst, proto);
		return;
	}
	f->family = 4;
	frame_bytes(f, start, sizeof(start));
	assert(inet_pton(AF_INET, src, &addr) == 1);
	frame_bytes(f, &addr, sizeof(addr));
	assert(inet_pton(AF_INET, dst, &addr) == 1);
	frame_bytes(f, &addr, sizeof(addr));
}

void frame_options(struct frame *f, const void *options, size_t len)
{
	frame_bytes(f, options, len);
	f->data[f->ip] += (uint8_t)(len / 4);
}

void frame_fragment(struct frame *f, uint16_t offset, int more, uint32_t id, uint8_t proto)
{
	if (f->family == 4) {
		put_u16(f, f->ip + 4, (uint16_t)id);
		put_u16(f, f->ip + 6, (uint16_t)(offset | (more ? 0x2000 : 0)));
		return;
	}
	frame_u16(f, (uint16_t)(proto << 8));
	frame_u16(f, (uint16_t)(offset << 3 | (more ? 1 : 0)));
	frame_u32(f, id);
}

void frame_extension(struct frame *f, uint8_t next)
{
	const uint8_t header[8] = { next, 0, 1, 4, 0, 0, 0, 0 };

	frame_bytes(f, header, sizeof(header));
}

void frame_tcp(struct frame *f, uint16_t sport, uint16_t dport, uint8_t flags)
{
	f->transport = f->len;
	frame_u16(f, sport);
	frame_u16(f, dport);
	frame_u32(f, 1000);
	frame_u32(f, 0);
	frame_u16(f, (uint16_t)(0x5000 | flags));
	frame_u16(f, 65535);
	frame_u32(f, 0);
}

void frame_udp(struct frame *f, uint16_t sport, uint16_t dport, size_t payload)
{
	f->transport = f->len;
	frame_u16(f, sport);
	frame_u16(f, dport);
	frame_u16(f, (uint16_t)(8 + payload));
	frame_u16(f, 0);
	frame_bytes(f, NULL, payload);
}

void frame_icmp(struct frame *f, uint8_t type, uint8_t code, uint16_t id)
{
	f->transport = f->len;
	frame_u16(f, (uint16_t)(type << 8 | code));
	frame_u16(f, 0);
	frame_u16(f, id);
	frame_u16(f, 1);
}

void frame_arp(struct frame *f, uint16_t operation, const uint8_t *sender_mac, const char *sender, const char *target)
{
	struct in_addr addr;

	frame_u16(f, 1);
	frame_u16(f, ETHERTYPE_IP);
	frame_u16(f, 6 << 8 | 4);
	frame_u16(f, operation);
	frame_bytes(f, sender_mac, ETH_ALEN);
	assert(inet_pton(AF_INET, sender, &addr) == 1);
	frame_bytes(f, &addr, sizeof(addr));
	frame_bytes(f, NULL, ETH_ALEN);
	assert(inet_pton(AF_INET, target, &addr) == 1);
	frame_bytes(f, &addr, sizeof(addr));
}

void frame_nd(struct frame *f, uint8_t type, const char *target)
{
	struct in6_addr addr;

	f->transport = f->len;
	f->data[f->ip + 7] = 255;
	frame_u32(f, (uint32_t)type << 24);
	frame_u32(f, 0);
	assert(inet_pton(AF_INET6, target, &addr) == 1);
	frame_bytes(f, &addr, sizeof(addr));
}

void frame_end(struct frame *f)
{
	if (f->family == 4)
		put_u16(f, f->ip + 2, (uint16_t)(f->len - f->ip));
	else if (f->family == 6)
		put_u16(f, f->ip + 4, (uint16_t)(f->len - f->ip - 40));
}

static uint32_t sum16(const uint8_t *p, size_t len, uint32_t sum)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)(p[i] << 8 | p[i + 1]);
	if (len & 1)
		sum += (uint32_t)(p[len - 1] << 8);
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

void frame_checksums(struct frame *f)
{
	size_t addrs = f->family == 4 ? f->ip + 12 : f->ip + 8, at;
	uint8_t proto = f->data[f->ip + (f->family == 4 ? 9 : 6)];
	uint32_t sum;

	assert(f->transport && (proto == IPPROTO_TCP || proto == IPPROTO_UDP));
	if (f->family == 4)
		put_u16(f, f->ip + 10, fold(sum16(f->data + f->ip, f->transport - f->ip, 0)));
	at = f->transport + (proto == IPPROTO_TCP ? 16 : 6);
	sum = sum16(f->data + addrs, f->family == 4 ? 8 : 32, (uint32_t)(f->len - f->transport) + proto);
	put_u16(f, at, fold(sum16(f->data + f->transport, f->len - f->transport, sum)));
}
