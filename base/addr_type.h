/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The one address type, shared by user space and the kernel programs.
 *
 * An address is 16 bytes in network byte order; IPv4 is carried v4-mapped (::ffff:a.b.c.d, RFC 4291 section 2.5.5.2).
 * The union lets the kernel side compare and mask in 64-bit words; their values have no meaning beyond equality.
 */
#ifndef SLUICE_BASE_ADDR_TYPE_H
#define SLUICE_BASE_ADDR_TYPE_H

#include <linux/types.h>

struct sluice_addr {
	union {
		__u8 b[16];
		__u32 w[4];
		__u64 d[2];
	};
};

#endif
