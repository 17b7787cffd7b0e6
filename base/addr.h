/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses and prefixes as text, and to and from the kernel's socket structs. */
#ifndef SLUICE_BASE_ADDR_H
#define SLUICE_BASE_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr_type.h"

#define ADDR_TEXT_MAX 64 /* a prefix or address:port, with brackets, terminated */

struct sluice_prefix {
	struct sluice_addr addr; /* masked to bits */
	uint32_t bits;		 /* of the 16-byte form, 0..128: an IPv4 /8 is 104 */
};

enum prefix_parse {
	PREFIX_OK = 0,
	PREFIX_HOST_BITS = 1, /* parsed and masked, but the text had host bits set */
};

/* Strict dotted quad or RFC 4291 text, no zone. 0 or -EINVAL. v4-mapped IPv6 text is -EAFNOSUPPORT. */
int addr_parse(const char *text, struct sluice_addr *ret);
/* "A/N". enum prefix_parse, -EINVAL, or -EAFNOSUPPORT for v4-mapped text. A bare address is -EINVAL. */
int prefix_parse(const char *text, struct sluice_prefix *ret);

/* Into buf of ADDR_TEXT_MAX bytes; returns buf. IPv4 as dotted quad. */
char *addr_format(const struct sluice_addr *addr, char *buf);
char *prefix_format(const struct sluice_prefix *prefix, char *buf);

bool addr_is_ipv4(const struct sluice_addr *addr);
void addr_mask(struct sluice_addr *addr, uint32_t bits);
bool prefix_contains(const struct sluice_prefix *prefix, const struct sluice_addr *addr);
int addr_compare(const struct sluice_addr *a, const struct sluice_addr *b); /* as memcmp */

void addr_from_in(const struct in_addr *in, struct sluice_addr *ret);
void addr_from_in6(const struct in6_addr *in6, struct sluice_addr *ret); /* copies; a v4-mapped one stays so */
/* A socket address of the address's own family; port in host order. Returns its length. */
socklen_t addr_to_sockaddr(const struct sluice_addr *addr, uint16_t port, struct sockaddr_storage *ret);
/* 0 or -EAFNOSUPPORT; port (host order) may be NULL. */
int addr_from_sockaddr(const struct sockaddr_storage *ss, struct sluice_addr *ret, uint16_t *port);

#endif
