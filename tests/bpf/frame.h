/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames, byte by byte: each call appends one header, frame_end() writes the lengths. Nothing is checked, since most of
 * what the tests send is wrong on purpose. Checksums stay 0 until asked for; the programs do not look.
 */
#ifndef SLUICE_TESTS_BPF_FRAME_H
#define SLUICE_TESTS_BPF_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define FRAME_MAX 2048

struct frame {
	uint8_t data[FRAME_MAX];
	size_t len;
	size_t ip;	  /* offset of the IP header; 0 = none */
	size_t transport; /* offset of the transport header; 0 = none */
	uint8_t family;	  /* 4, 6 or 0 */
};

enum {
	FIN = 0x01,
	SYN = 0x02,
	RST = 0x04,
	PSH = 0x08,
	ACK = 0x10,
	URG = 0x20,
};

void frame_bytes(struct frame *f, const void *bytes, size_t len);
void frame_u16(struct frame *f, uint16_t v);
void frame_u32(struct frame *f, uint32_t v);
void frame_eth(struct frame *f, const uint8_t *dst, const uint8_t *src, uint16_t type);
/* Text addresses; the family is the addresses' own. */
void frame_ip(struct frame *f, const char *src, const char *dst, uint8_t proto);
/* Appends IPv4 options (len divisible by 4) and raises IHL; directly after frame_ip. */
void frame_options(struct frame *f, const void *options, size_t len);
/* IPv4: sets frag_off; IPv6: appends a fragment header for `proto`. Offset in 8-byte units. */
void frame_fragment(struct frame *f, uint16_t offset, int more, uint32_t id, uint8_t proto);
/* An IPv6 extension header of 8 bytes. */
void frame_extension(struct frame *f, uint8_t next);
void frame_tcp(struct frame *f, uint16_t sport, uint16_t dport, uint8_t flags);
void frame_udp(struct frame *f, uint16_t sport, uint16_t dport, size_t payload);
void frame_icmp(struct frame *f, uint8_t type, uint8_t code, uint16_t id);
void frame_arp(struct frame *f, uint16_t operation, const uint8_t *sender_mac, const char *sender, const char *target);
/* Neighbour solicitation or advertisement; hop limit 255. */
void frame_nd(struct frame *f, uint8_t type, const char *target);
void frame_end(struct frame *f);
/* IPv4 header and UDP or TCP checksums, for frames that a stack shall take; after frame_end. */
void frame_checksums(struct frame *f);

#endif
