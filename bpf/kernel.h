/* SPDX-License-Identifier: GPL-2.0 */
/* What the kernel programs take from the kernel's headers, and the few constants Debian 12's are too old for. */
#ifndef SLUICE_BPF_KERNEL_H
#define SLUICE_BPF_KERNEL_H

#include <linux/bpf.h>
#include <linux/icmpv6.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "bpf/abi.h"
#include "bpf/addr_class.h"

/* TCX_NEXT and TC_ACT_UNSPEC are the same -1: the next program, if any, still runs. */
#define VERDICT_NEXT TC_ACT_UNSPEC
#define VERDICT_DROP TC_ACT_SHOT

/* A global function: verified once on its own, so that its paths do not multiply with its callers'. */
#define SLUICE_GLOBAL __attribute__((noinline))

/* RFC 792. <linux/icmp.h> would draw in libc's <sys/socket.h>, which has no BPF form. */
enum icmp4_type {
	ICMP4_ECHO_REPLY = 0,
	ICMP4_DEST_UNREACH = 3,
	ICMP4_SOURCE_QUENCH = 4,
	ICMP4_REDIRECT = 5,
	ICMP4_ECHO_REQUEST = 8,
	ICMP4_TIME_EXCEEDED = 11,
	ICMP4_PARAMETER_PROBLEM = 12,
};

/* The eight bytes ICMP and ICMPv6 share; `id` in echo messages only. */
struct icmp_header {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be16 id;
	__be16 sequence;
};

#ifndef IPPROTO_SCTP
#define IPPROTO_SCTP 132
#endif

#endif
