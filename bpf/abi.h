/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
/*
 * The contract between the kernel programs and user space: every map's key and value, and every number both sides
 * must agree on. Fixed widths, explicit padding, byte order said where it is not the host's.
 *
 * Theory of operation
 * -------------------
 * A packet's interface leads to an endpoint (ifindexes -> endpoints). The endpoint's `state` is one 64-bit word: mode,
 * flags, policy id and epoch. Publishing a policy means: fill `dests` and `rules` under a policy id nobody uses yet,
 * carry leases over, then store the new word. Readers see the old policy or the new one, never a mixture
 * (hazard 8). A zeroed word is a quarantine: what nobody filled in drops everything.
 *
 * A destination's verdict comes from two places: `dests` (longest prefix of the policy) and `leases` (what DNS answers
 * opened). Either leads to a rule set, and `rules` gives the set's verdict for a protocol and port. decide.h joins them.
 *
 * Elements of hash maps are recycled while other CPUs read them, so the values a verdict hangs on repeat their key and
 * are compared after reading.
 */
#ifndef SLUICE_BPF_ABI_H
#define SLUICE_BPF_ABI_H

#include <linux/types.h>

#include "base/addr_type.h"

#define SLUICE_ABI_VERSION 3

/* Pinned under PINPATH/<name>; links under PINPATH/links/<ifindex>-<from|to> and SLUICE_CGROUP_LINK. */
#define SLUICE_MAP_SETTINGS	 "settings"    /* array[1], mmapable: struct sluice_settings */
#define SLUICE_MAP_IFINDEXES	 "ifindexes"   /* hash: __u32 ifindex -> struct sluice_if */
#define SLUICE_MAP_ENDPOINTS	 "endpoints"   /* array, mmapable: struct sluice_endpoint, index = endpoint id */
#define SLUICE_MAP_RUNTIME	 "runtime"     /* array, mmapable: struct sluice_runtime, index = endpoint id */
#define SLUICE_MAP_LABELS	 "labels"      /* array: struct sluice_label, index = endpoint id; user space only */
#define SLUICE_MAP_DESTS	 "dests"       /* hash: __u64 SLUICE_DEST_KEY -> struct sluice_dest_page */
#define SLUICE_MAP_RULES	 "rules"       /* LPM trie: struct sluice_rule_key -> struct sluice_rule */
#define SLUICE_MAP_LEASES	 "leases"      /* hash: struct sluice_lease_key -> struct sluice_lease */
#define SLUICE_MAP_LEASE_LINES	 "lease_lines" /* array, mmapable: struct sluice_lease_line, index by bpf/lease_line.h */
#define SLUICE_MAP_LEASE_USE	 "lease_use"   /* array, mmapable: __u64 CLOCK_MONOTONIC ns, index by bpf/lease_use.h */
#define SLUICE_MAP_NAMES	 "names"       /* hash: __u64 name id -> struct sluice_name; user space only */
#define SLUICE_MAP_CLUSTER	 "cluster"     /* hash: struct sluice_addr -> struct sluice_cluster */
#define SLUICE_MAP_CLUSTER_QUIET "cluster_quiet" /* array, mmapable: __u64, bits by bpf/cluster_quiet.h */
#define SLUICE_MAP_FLOWS	 "flows"	 /* hash: struct sluice_flow_key -> struct sluice_flow */
#define SLUICE_MAP_FRAGS	 "frags"	 /* LRU hash: struct sluice_frag_key -> struct sluice_frag */
#define SLUICE_MAP_EVENTS	 "events"	 /* ring buffer of struct sluice_event */
#define SLUICE_MAP_TOTALS	 "totals"	 /* per-CPU array[SLUICE_TOTAL_MAX] of __u64 */
#define SLUICE_MAP_DNS_SOCKETS	 "dns_sockets"	 /* sockmap, SLUICE_SOCK_* */
#define SLUICE_MAP_DNS_LOG	 "dns_log" /* array, mmapable: [0] is struct sluice_dns_log_head, then the records */
#define SLUICE_MAP_PROXY_PEERS	 "proxy_peers" /* hash: struct sluice_proxy_peer -> __u32, 1: where the proxy may send */
#define SLUICE_MAP_DNS_STATS	 "dns_stats" /* array[1], mmapable: struct sluice_dns_stats, written by the proxy only */
#define SLUICE_MAP_ATTACHED	 "attached" /* cgroup storage: __u64 cgroup id -> struct sluice_if of the endpoint there */
#define SLUICE_MAP_DNS_ASKERS	 "dns_askers" /* LRU hash: struct sluice_asker_key -> struct sluice_asker */
#define SLUICE_MAP_DNS_SERVERS	 "dns_servers" /* LRU hash: __u64 socket cookie -> struct sluice_addr, the server asked */

/* Default sizes; sluice.yaml `limits` overrides them before the maps are made. */
#define SLUICE_MAX_ENDPOINTS	   1024
#define SLUICE_MAX_DESTS	   262144 /* prefixes of all policies; what pages they take: policy/pages.h */
#define SLUICE_MAX_RULES	   262144
#define SLUICE_MAX_LEASES	   131072
#define SLUICE_MAX_LEASE_LINES	   131072 /* a power of two; 8 MB. Follows the leases: agent/kernel.c */
#define SLUICE_MAX_NAMES	   131072
#define SLUICE_MAX_CLUSTER	   131072
#define SLUICE_MAX_FLOWS	   262144
#define SLUICE_MAX_FRAGS	   8192
#define SLUICE_EVENTS_BYTES	   (1u << 20)
#define SLUICE_DNS_LOG_RECORDS	   2048
#define SLUICE_LEASE_USE_WORDS	   32768
#define SLUICE_CLUSTER_QUIET_WORDS 1024 /* 8 KB: 65,536 groups */
#define SLUICE_MAX_PROXY_PEERS	   32	/* eight resolvers, and those they replace */
#define SLUICE_MAX_ASKERS	   16384

/*
 * Programs the proxy puts on its own cgroup at its start, pinned by the agent as PINPATH/programs/<name>; the links as
 * PINPATH/links/proxy-<cgroup id, hex>-<name>.
 */
#define SLUICE_PROG_PROXY_EGRESS   "proxy_egress"
#define SLUICE_PROG_PROXY_SENDMSG4 "proxy_sendmsg4"
#define SLUICE_PROG_PROXY_SENDMSG6 "proxy_sendmsg6"

/* Links of a cgroup endpoint: PINPATH/links/cgroup-<cgroup id, hex>-<hook>, the hook a program's name of cgroup.bpf.c. */
#define SLUICE_CGROUP_LINK "cgroup-%llx-%s"

/*
 * skb marks. FWMARK sends a datagram assigned to the proxy's socket to local delivery (an `ip rule` on value and
 * mask); SOCK_MARK is SO_MARK of the sockets pods are answered from. What the proxy has accepted inherits it, which tells its
 * connections from any other socket a look-up may find (hazard 19). Port 53 under either is not tracked (agent/notrack.h,
 * hazard 20). Both bits are free of AWS, kube-proxy, Cilium and Calico.
 */
#define SLUICE_FWMARK	   0x1000
#define SLUICE_SOCK_MARK   0x2000
#define SLUICE_RULE_PREF   5
#define SLUICE_ROUTE_TABLE 2053
/* Where what is sent under SOCK_MARK looks first: host routes to pods that no table for everybody has (agent/answer_way.h). */
#define SLUICE_ANSWER_TABLE 2054
/* 127.0.53.1, network byte order: on an interface, so that it has some address. */
#define SLUICE_ANSWER_ADDRESS                                                                                          \
	{                                                                                                              \
		127, 0, 53, 1                                                                                          \
	}

/*
 * Where the clsact filters sit: on kernels before 6.6, and elsewhere until a TCX link takes over. Not handle 1: the AWS
 * agent deletes that one. The second is for the moment in which a filter moves before one that got in front of it.
 */
#define SLUICE_TC_HANDLE   0x51ce
#define SLUICE_TC_HANDLE_2 0x51cf
#define SLUICE_TC_PRIORITY 1

/* ---- settings ---------------------------------------------------------------------------------------------------- */

enum sluice_setting_flags {
	SLUICE_SETTING_AUDIT = 1 << 0, /* enforcement: audit, for every endpoint; user space folds it into state */
	SLUICE_SETTING_LOG_ALLOWED = 1 << 1, /* emit an event for every new allowed flow too */
	SLUICE_SETTING_REJECT = 1 << 2,	     /* what policy denies is answered: a TCP reset, an ICMP error */
};

struct sluice_settings {
	__u32 abi;		/* SLUICE_ABI_VERSION */
	__u32 flags;		/* enum sluice_setting_flags */
	__u64 next_policy;	/* next unused policy id; user space only, never goes back (hazard 7) */
	__u64 proxy_generation; /* raised after the proxy's settings file was replaced; the proxy re-reads it then */
	__u32 flow_quota;	/* live flows per endpoint */
	__u32 tombstone_quota;	/* remembered denials per endpoint */
	__u32 dns_rate;		/* queries per second and endpoint handed to the proxy; 0 = no limit */
	__u32 dns_burst;
	__u32 event_rate; /* events per second and endpoint; 0 = no limit */
	__u32 event_burst;
	__u32 next_generation; /* next endpoint generation; user space only */
	__u32 reject_rate;     /* answers to denied packets per second and endpoint; 0 = no limit */
	__u64 agent_heartbeat; /* CLOCK_MONOTONIC ns, written by the agent's sweep; tells readers it is alive */
	__u64 name_key
		[2]; /* SipHash-2-4 key of name ids, random when the map is made; the first: bpf/lease_line.h too */
	__u64 dns_log_next; /* number of the next DNS record for the flow log; user space only */
	__u32 reject_burst;
	__u32 lease_lines; /* how many SLUICE_MAP_LEASE_LINES has, a power of two; 0: not said yet */
};
_Static_assert(sizeof(struct sluice_settings) == 96, "abi");

/* ---- endpoints --------------------------------------------------------------------------------------------------- */

struct sluice_if {
	__u32 endpoint;
	__u32 generation;
};
_Static_assert(sizeof(struct sluice_if) == 8, "abi");

enum sluice_mode {
	SLUICE_MODE_QUARANTINE = 0, /* identity unknown: all egress drops, host probes are answered */
	SLUICE_MODE_ENFORCE = 1,
	SLUICE_MODE_AUDIT = 2, /* same verdict path; what would drop passes and is reported */
	SLUICE_MODE_OPEN = 3,  /* selected by nothing: passes, after the L2 and source checks */
};

/*
 * The state word: bits 0-1 mode, bit 2 NAMES, bits 8-23 epoch, bits 24-63 policy id. A flow remembers the upper 56
 * bits; equality with the endpoint's means it was judged under exactly this policy and inventory.
 */
#define SLUICE_STATE_MODE(s)   ((enum sluice_mode)((s)&3))
#define SLUICE_STATE_NAMES     (1ull << 2) /* the policy has name rules: port 53 goes to the proxy */
#define SLUICE_STATE_EPOCH(s)  ((__u16)((s) >> 8))
#define SLUICE_STATE_POLICY(s) ((__u64)(s) >> 24)
#define SLUICE_STATE_JUDGED(s) ((__u64)(s) & ~0xffull)
#define SLUICE_STATE(mode, flags, epoch, policy)                                                                       \
	((__u64)(mode) | (__u64)(flags) | (__u64)(__u16)(epoch) << 8 | (__u64)(policy) << 24)

#define SLUICE_ENDPOINT_ADDRS 6

struct sluice_endpoint {
	__u64 state;	  /* the one word a policy change stores; see above */
	__u32 generation; /* 0: the slot is free. Never reused, so a recycled ifindex or id inherits nothing */
	__u32 ifindex;	  /* host side of the veth; 0 for a cgroup endpoint */
	__u64 cgroup;	  /* cgroup id; 0 for a veth */
	__u32 naddrs;	  /* 0 for a cgroup endpoint: it has the node's */
	__u32 level;	  /* of a cgroup: how far below the root, whose level is 0 */
	struct sluice_addr addrs[SLUICE_ENDPOINT_ADDRS];
};
_Static_assert(sizeof(struct sluice_endpoint) == 128, "abi");

/* Why an endpoint is in quarantine. */
enum sluice_quarantine {
	SLUICE_QUARANTINE_NONE = 0,
	SLUICE_QUARANTINE_UNKNOWN = 1, /* an interface that was found, and no endpoint is known for it */
	SLUICE_QUARANTINE_POLICY = 2,  /* its policy is not in force yet, or could not be put in force */
	SLUICE_QUARANTINE_CLUSTER = 3, /* the cluster's addresses do not fit their table */
};

/* What people call the endpoint: for `bpfctl` and the flow log while no agent runs. NUL-terminated UTF-8. */
struct sluice_label {
	__u32 generation;
	__u32 quarantine; /* enum sluice_quarantine; says something while the mode is quarantine */
	char interface[16];
	char namespace_name[64];
	char name[256];
	char policy[128]; /* "namespace/name, ..." of the policies that select it, cut with "..." when longer */
};

/* ---- verdicts ---------------------------------------------------------------------------------------------------- */

/* Values are Hubble's drop codes where Hubble has one (its flow log's event_type.sub_type), else from 230 up. */
enum sluice_reason {
	SLUICE_REASON_NONE = 0,
	SLUICE_REASON_SOURCE = 132,	    /* source address is not the endpoint's */
	SLUICE_REASON_POLICY_DEFAULT = 133, /* no rule allows it */
	SLUICE_REASON_MALFORMED = 134,	    /* a header is cut short or contradicts itself */
	SLUICE_REASON_PROTOCOL = 137,	    /* an L4 protocol that is not enforced */
	SLUICE_REASON_ETHERTYPE = 139,	    /* neither IPv4, IPv6 nor ARP */
	SLUICE_REASON_FLOWS_FULL = 155,	    /* the endpoint's flow quota, or the table, is full */
	SLUICE_REASON_EXTENSION = 156,	    /* IPv6 extension header chain unknown or too long */
	SLUICE_REASON_FRAGMENT = 175,	    /* a fragment without an admitted first one, or of a datagram to port 53 */
	SLUICE_REASON_POLICY_DENY = 181,    /* an explicit deny */
	SLUICE_REASON_VLAN = 182,	    /* VLAN-tagged */
	SLUICE_REASON_QUARANTINE = 203,	    /* the endpoint's identity or policy is not known */
	SLUICE_REASON_NEVER_LEAVES = 230,   /* loopback, multicast, broadcast, unspecified, v4-mapped on the wire */
	SLUICE_REASON_L2 = 231,		    /* destination MAC is not this host's (group address, or another station) */
	SLUICE_REASON_NEIGHBOUR = 232,	    /* ARP or neighbour discovery that speaks for someone else */
	SLUICE_REASON_ICMP_ERROR = 233,	    /* an ICMP error from the pod */
	SLUICE_REASON_DNS_SOCKET = 234,	    /* the proxy's socket is missing or could not be assigned */
	SLUICE_REASON_DNS_RATE = 235,	    /* over the endpoint's query rate, or a train of queries in one frame */
	SLUICE_REASON_TCP_STATE = 236,	    /* a set of TCP flags that no sender makes */
	SLUICE_REASON_IP_OPTION = 237,	    /* source route or another option that steers the packet */
	SLUICE_REASON_CUT = 238,	    /* a live flow that the policy in force no longer allows */
};

/* SLUICE_MAP_TOTALS: drops by reason code, then the rest. */
enum sluice_total {
	SLUICE_TOTAL_DROPS = 0, /* + reason, 0..255 */
	SLUICE_TOTAL_FORWARDED = 256,
	SLUICE_TOTAL_FORWARDED_BYTES,
	SLUICE_TOTAL_DNS_ASSIGNED,
	SLUICE_TOTAL_AUDIT,		/* would-be drops that passed under audit */
	SLUICE_TOTAL_EVENTS_LOST,	/* ring buffer full */
	SLUICE_TOTAL_EVENTS_SUPPRESSED, /* over the endpoint's event rate */
	SLUICE_TOTAL_FLOWS_FULL,	/* flow or tombstone could not be written */
	SLUICE_TOTAL_FLOWS_OPENED,
	SLUICE_TOTAL_FLOWS_CUT,
	SLUICE_TOTAL_INBOUND_NOTED,	 /* flows opened from outside */
	SLUICE_TOTAL_PROXY_BLOCKED,	 /* packets of the DNS proxy's own that its cgroup did not let out */
	SLUICE_TOTAL_REJECTED,		 /* of the drops, those answered by a TCP reset or an ICMP error */
	SLUICE_TOTAL_REJECTS_SUPPRESSED, /* not answered, being over the endpoint's rate of answers */
	SLUICE_TOTAL_CGROUP_BUSY,	 /* packets of cgroup endpoints dropped for want of working memory */
	/* Of what was handed over from interfaces: what arrives at the proxy one for one, unless the node drops it on the way. */
	SLUICE_TOTAL_DNS_DATAGRAMS,
	SLUICE_TOTAL_DNS_SYNS,
	SLUICE_TOTAL_MAX = 288,
};

enum sluice_verdict {
	SLUICE_DENY = 0,
	SLUICE_ALLOW = 1,
};

/* ---- policy ------------------------------------------------------------------------------------------------------ */

struct sluice_dest {
	__u32 set;	   /* rule set for an address outside the cluster; 0 = no rule */
	__u32 cluster_set; /* rule set when the address is a pod's, a node's or a Service's; 0 = no rule */
};
_Static_assert(sizeof(struct sluice_dest) == 8, "abi");

/* In the pages both sets of an interval share a word. A policy with more sets than that is not published. */
#define SLUICE_DEST_PACK(set, cluster_set) ((__u32)(cluster_set) << 16 | (__u32)(set))
#define SLUICE_DEST_SET(packed)		   ((__u32)(packed)&0xffff)
#define SLUICE_DEST_CLUSTER_SET(packed)	   ((__u32)(packed) >> 16)
#define SLUICE_DEST_MAX_SET		   0xfffeu

/* In no policy: a page of the tree is missing or another's. The address has no rule then, and no name opens it. */
#define SLUICE_SET_BROKEN 0xffffu

/*
 * A policy's prefixes are flattened: the addresses of each family are cut into intervals that begin at `first` and reach
 * to the next, each with its longest prefix's answer. They lie in pages, there in blocks, in order. A page that is not
 * a leaf has pages for intervals: the first is page `child`, and so on; a narrow one has one for each block, so that
 * there is nothing in the block to be looked up. What a look-up costs is the cache lines that it has to wait for: of a
 * page its place in the hash, its head with the blocks' beginnings, and one block. (A trie takes a line for nearly every
 * bit in which 10,000 prefixes differ.)
 *
 * `first` is in host order, most significant word first. What is not used of a page repeats the last interval's answer
 * with the highest address there is, so that a search needs no counts.
 */
#define SLUICE_DEST4_SLOTS	8  /* of a block */
#define SLUICE_DEST4_WIDE_SLOTS 16 /* of a wide page's block */
#define SLUICE_DEST4_ROW	14 /* beginnings of blocks are searched by rows */
#define SLUICE_DEST4_ROWS	4
#define SLUICE_DEST4_BLOCKS	(1 + SLUICE_DEST4_ROWS * SLUICE_DEST4_ROW)
#define SLUICE_DEST6_SLOTS	6
#define SLUICE_DEST6_WIDE_SLOTS 8
#define SLUICE_DEST6_ROW	4
#define SLUICE_DEST6_ROWS	6
#define SLUICE_DEST6_BLOCKS	(1 + SLUICE_DEST6_ROWS * SLUICE_DEST6_ROW)

union sluice_dest_block4 {
	struct {
		__u32 first[SLUICE_DEST4_SLOTS];
		__u32 dests[SLUICE_DEST4_SLOTS]; /* SLUICE_DEST_PACK */
	} leaf;
	__u32 wide[SLUICE_DEST4_WIDE_SLOTS]; /* first */
};
_Static_assert(sizeof(union sluice_dest_block4) == 64, "abi");

union sluice_dest_block6 {
	struct {
		__u32 first[SLUICE_DEST6_SLOTS][4];
		__u32 dests[SLUICE_DEST6_SLOTS]; /* SLUICE_DEST_PACK */
		__u32 pad[2];
	} leaf;
	__u32 wide[SLUICE_DEST6_WIDE_SLOTS][4]; /* first */
};
_Static_assert(sizeof(union sluice_dest_block6) == 2 * 64, "abi");

enum sluice_dest_kind {
	SLUICE_DEST_LEAF = 0,
	SLUICE_DEST_NARROW = 1,
	SLUICE_DEST_WIDE = 2,
};

/* With what the kernel puts before a hash's element, a page takes 4,096 bytes and begins on a cache line. */
struct sluice_dest_page {
	__u64 key;   /* SLUICE_DEST_KEY */
	__u32 kind;  /* enum sluice_dest_kind */
	__u32 child; /* the number of the first of its pages */
	__u32 count; /* of intervals or pages that are used */
	__u32 rows;  /* of `first` that are used */
	__u32 pad[10];
	/* `first` is of the second block and those that follow. */
	union {
		struct {
			__u32 first[SLUICE_DEST4_BLOCKS - 1];
			__u32 pad[8];
			union sluice_dest_block4 blocks[SLUICE_DEST4_BLOCKS];
			__u32 rest[16];
		} v4;
		struct {
			__u32 first[SLUICE_DEST6_BLOCKS - 1][4];
			union sluice_dest_block6 blocks[SLUICE_DEST6_BLOCKS];
		} v6;
	};
};
_Static_assert(sizeof(struct sluice_dest_page) == 4032, "abi");

/* The policy in the upper 40 bits, as in the state word, and the number of the page in the lower 24. */
#define SLUICE_DEST_KEY(policy, page) ((__u64)(policy) << 24 | (page))
#define SLUICE_DEST_KEY_POLICY(key)   ((__u64)(key) >> 24)
#define SLUICE_DEST_KEY_PAGE(key)     ((__u32)(key)&0xffffff)
/* The first page of the tree. The others of a family have the numbers that follow. */
#define SLUICE_DEST_ROOT4  0u
#define SLUICE_DEST_ROOT6  0x800000u
#define SLUICE_DEST_LEVELS 4 /* at most: for IPv6 200 to the third, times 150 intervals, more than there are numbers */

/* Rule set ids are per policy, from 1. Those that leases may point to carry this bit (hazard 23). */
#define SLUICE_SET_NAME 0x80000000u

/*
 * Trie keys match from their first bit, so policy id and set come first and are always matched whole. The id is split
 * into 32-bit words to keep the key free of padding; they are compared as bytes, so their order is the writer's
 * business, and every writer is the same host.
 */
struct sluice_rule_key {
	__u32 prefixlen; /* SLUICE_RULE_FIXED_BITS + bits of port */
	__u32 policy_hi;
	__u32 policy_lo;
	__u32 set;
	__u8 proto; /* IPPROTO_TCP, UDP, SCTP, ICMP, ICMPV6 */
	__u8 zero;
	__be16 port; /* destination port; for ICMP the type in the upper byte, lower byte zero */
};
#define SLUICE_RULE_FIXED_BITS 112
_Static_assert(sizeof(struct sluice_rule_key) == 20, "abi");

/*
 * Flattened: for a port, the set's one answer. Higher precedence wins between sets; at equal precedence deny wins. Where a
 * rule of the Admin tier passed the flow on, `pass` is that rule's precedence less SLUICE_PRECEDENCE_ADMIN: name rules of
 * the Admin tier below it do not speak; SLUICE_PASS_NO_NAMES: no name rule of any tier does, the address being one that no
 * name opens (hazards 12, 13). With precedence 0 a row says nothing but that.
 */
struct sluice_rule {
	__u32 precedence;
	__u32 rule;   /* index into the policy image's rule table, from 1; 0 = none */
	__u8 verdict; /* enum sluice_verdict */
	__u8 settled; /* 1: no name rule of the policy stands above it, so that leases need not be asked */
	__u16 pass;
};
_Static_assert(sizeof(struct sluice_rule) == 12, "abi");

/*
 * Precedences. Within the Admin and the Baseline tier: the tier, plus (1000 - priority) << 6, plus the rule's place, from
 * 1 to SLUICE_PRECEDENCE_SUB.
 */
#define SLUICE_PRECEDENCE_ADMIN	   0x80000000u
#define SLUICE_PRECEDENCE_DENY	   0x50000001u /* the namespaces' tier */
#define SLUICE_PRECEDENCE_ALLOW	   0x50000000u
#define SLUICE_PRECEDENCE_BASELINE 0x20000000u
#define SLUICE_PRECEDENCE_DEFAULT  1u /* of an endpoint that is not isolated: everything is allowed */
#define SLUICE_PRECEDENCE_SUB	   63u

/* Beyond every place of the Admin tier. */
#define SLUICE_PASS_NO_NAMES 0xffffu

/* ---- leases ------------------------------------------------------------------------------------------------------ */

struct sluice_lease_key {
	__u64 policy;
	struct sluice_addr addr;
};
_Static_assert(sizeof(struct sluice_lease_key) == 24, "abi");

#define SLUICE_LEASE_SLOTS 8

/*
 * One (rule set, name) that opened the address. A free slot has set 0. Expired slots open nothing new, but stay while
 * live flows were opened through them, so that a policy change can tell whether the name is still allowed.
 *
 * Generations are given in the order in which endpoints are born and never twice. The slot carries that of the youngest
 * endpoint that asked, and speaks for no endpoint that is younger still: what was asked before an endpoint was born, by
 * whoever is dead now, opens nothing to it (hazard 24).
 */
struct sluice_lease_slot {
	__u64 expires;	  /* CLOCK_MONOTONIC ns; slack of a coarse clock tick */
	__u64 name;	  /* id in SLUICE_MAP_NAMES; 0 = none */
	__u32 set;	  /* carries SLUICE_SET_NAME */
	__u32 generation; /* of the youngest endpoint that asked */
};

struct sluice_lease {
	struct sluice_lease_key key;
	struct sluice_lease_slot slots[SLUICE_LEASE_SLOTS];
};
_Static_assert(sizeof(struct sluice_lease) == 24 + 8 * 24, "abi");

/*
 * Copy of a lease of one rule set, in one line of memory, where the hash waits for three or four one after the
 * other. The table has no chains: a lease may have no line, or lose it to another. It only ever adds an allow; where it
 * opens nothing the lease is asked. bpf/lease_line.h has the rules.
 */
struct sluice_lease_line {
	struct sluice_lease_key key;
	struct sluice_lease_slot slot;
	__u64 check; /* over all of the above, so that a line read while it is written is known for one */
	__u64 zero;
};
_Static_assert(sizeof(struct sluice_lease_line) == 64, "abi");

struct sluice_name {
	__u64 id; /* SipHash-2-4 of the text under settings.name_key (base/siphash.h); never 0 */
	__u8 len;
	char text[255]; /* lower case, no final dot, NUL-padded; not terminated at full length */
};
_Static_assert(sizeof(struct sluice_name) == 264, "abi");

enum sluice_cluster_kind {
	SLUICE_CLUSTER_NODE = 1,
	SLUICE_CLUSTER_POD = 2,
	SLUICE_CLUSTER_SERVICE = 3,
};

/* An address of the cluster: name rules never open it, and `cluster_set` judges it. */
struct sluice_cluster {
	__u32 kind;  /* enum sluice_cluster_kind */
	__u32 local; /* kind NODE: 1 when it is this node's own */
};

/* ---- flows ------------------------------------------------------------------------------------------------------- */

struct sluice_flow_key {
	__u32 endpoint;
	__u32 generation;
	struct sluice_addr local;
	struct sluice_addr remote;
	__be16 lport; /* ICMP echo: the identifier */
	__be16 rport; /* ICMP: 0 */
	__u8 proto;
	__u8 pad[3];
};
_Static_assert(sizeof(struct sluice_flow_key) == 48, "abi");

enum sluice_flow_origin {
	SLUICE_ORIGIN_POD = 1,	     /* opened by the pod and admitted by policy */
	SLUICE_ORIGIN_OUTSIDE = 2,   /* opened towards the pod; its replies are not egress */
	SLUICE_ORIGIN_HOST = 3,	     /* opened by this node: passes even in quarantine */
	SLUICE_ORIGIN_TOMBSTONE = 4, /* denied or cut: inbound packets cannot turn it (hazard 2) */
};

enum sluice_flow_flags {
	SLUICE_FLOW_LEASE = 1 << 0, /* admitted through a lease; `name` says which */
	SLUICE_FLOW_SEEN_REPLY = 1 << 1,
	SLUICE_FLOW_FIN_LOCAL = 1 << 2,
	SLUICE_FLOW_FIN_REMOTE = 1 << 3,
	SLUICE_FLOW_RST = 1 << 4,
	SLUICE_FLOW_AUDIT = 1 << 5, /* would have been denied; passes under audit */
};

struct sluice_flow {
	struct sluice_flow_key key;
	__u64 judged;	 /* SLUICE_STATE_JUDGED of the state it was judged under */
	__u64 opened;	 /* coarse CLOCK_MONOTONIC ns */
	__u64 last_seen; /* coarse CLOCK_MONOTONIC ns, either direction */
	__u64 name;	 /* lease's name id; 0 = none */
	__u64 tx_packets;
	__u64 tx_bytes; /* skb->len, so GSO counts whole */
	__u64 rx_packets;
	__u64 rx_bytes;
	__u32 rule;
	__u8 origin; /* enum sluice_flow_origin */
	__u8 flags;  /* enum sluice_flow_flags */
	__u8 pad[2];
};
_Static_assert(sizeof(struct sluice_flow) == 48 + 64 + 8, "abi");

#define SLUICE_RECENTS 256 /* for each CPU; a power of two */

/* What address rules have said of a destination: the programs' own, and not pinned (bpf/recent.h). */
struct sluice_recent {
	__u64 state; /* the endpoint's whole word; 0: none */
	__u64 until; /* coarse CLOCK_MONOTONIC ns */
	struct sluice_addr remote;
	__u32 rule;
	__be16 port; /* ICMP: type in the upper byte */
	__u8 proto;
	__u8 verdict;
	__u8 reason;
	__u8 pad[23]; /* a cache line */
};
_Static_assert(sizeof(struct sluice_recent) == 64, "abi");

struct sluice_runtime {
	__u32 flows;	  /* entries in `flows` with origin POD, OUTSIDE or HOST; atomic */
	__u32 tombstones; /* entries with origin TOMBSTONE; atomic */
	__u64 inbound_hold; /* until this coarse time no flow is noted from outside: a denial found no room for its tombstone */
	__u64 dns_bucket; /* token bucket: theoretical arrival time, coarse ns */
	__u64 event_bucket;
	__u64 events_suppressed;
	__u64 dns_assigned;
	__u64 dropped_bytes;
	__u64 audited;
	__u64 closed_tx_packets; /* of flows the agent has collected; the live ones are in `flows` */
	__u64 closed_tx_bytes;
	__u64 closed_rx_packets;
	__u64 closed_rx_bytes;
	__u64 reject_bucket;
	__u64 rejected; /* of the drops, those answered */
	__u64 rejects_suppressed;
	__u64 drops[256]; /* by enum sluice_reason; atomic */
};

struct sluice_frag_key {
	__u32 endpoint;
	__u32 generation;
	struct sluice_addr local;
	struct sluice_addr remote;
	__u32 id; /* as on the wire */
	__u8 proto;
	__u8 pad[3];
};
_Static_assert(sizeof(struct sluice_frag_key) == 48, "abi");

struct sluice_frag {
	struct sluice_frag_key key;
	__u64 judged; /* of the first fragment's verdict; later ones pass only under the same */
	__u64 seen;   /* coarse CLOCK_MONOTONIC ns; of the first fragment, its others follow within seconds or drop */
};
_Static_assert(sizeof(struct sluice_frag) == 48 + 16, "abi");

/* ---- events ------------------------------------------------------------------------------------------------------ */

enum sluice_event_verdict {
	SLUICE_EVENT_DROPPED = 1,
	SLUICE_EVENT_FORWARDED = 2,
	SLUICE_EVENT_AUDIT = 3,
};

struct sluice_event {
	__u64 time;  /* CLOCK_MONOTONIC ns */
	__u64 state; /* the endpoint's state word when judged */
	__u64 name;  /* lease's name id; 0 = none */
	struct sluice_addr local;
	struct sluice_addr remote;
	__u32 endpoint;
	__u32 generation;
	__u32 ifindex;
	__u32 length; /* skb->len */
	__u32 rule;
	__be16 lport;
	__be16 rport;	 /* ICMP: type in the upper byte, code in the lower */
	__u16 ethertype; /* host order */
	__u8 proto;
	__u8 tcp_flags;
	__u8 verdict;  /* enum sluice_event_verdict */
	__u8 reason;   /* enum sluice_reason */
	__u8 ip_known; /* 1: the addresses are valid */
	__u8 pad[5];
};
_Static_assert(sizeof(struct sluice_event) == 96, "abi");

/* ---- DNS --------------------------------------------------------------------------------------------------------- */

enum sluice_sock {
	SLUICE_SOCK_UDP4 = 0,
	SLUICE_SOCK_UDP6 = 1,
	SLUICE_SOCK_TCP4 = 2,
	SLUICE_SOCK_TCP6 = 3,
	/* On ::1, for cgroup endpoints; for IPv4 theirs is the loopback address of the first and third. */
	SLUICE_SOCK_LOOP_UDP6 = 4,
	SLUICE_SOCK_LOOP_TCP6 = 5,
	SLUICE_SOCK_MAX = 6,
};

/*
 * A cgroup endpoint's question to the proxy, as it arrives there: by loopback, where the interface says nothing. The
 * endpoint's own egress program writes the entry before the question leaves.
 */
struct sluice_asker_key {
	struct sluice_addr addr;
	__be16 port;
	__u8 proto;
	__u8 pad[5];
};
_Static_assert(sizeof(struct sluice_asker_key) == 24, "abi");

struct sluice_asker {
	struct sluice_addr server; /* the address it meant to ask; the proxy's own when it meant the proxy */
	__u64 cookie;		   /* of its socket */
	__u32 endpoint;
	__u32 generation;
};
_Static_assert(sizeof(struct sluice_asker) == 32, "abi");

struct sluice_proxy_peer {
	struct sluice_addr addr;
	__u16 port; /* host order */
	__u16 pad[3];
};
_Static_assert(sizeof(struct sluice_proxy_peer) == 24, "abi");

enum sluice_dns_verdict {
	SLUICE_DNS_ALLOWED = 1,
	SLUICE_DNS_DENIED = 2,
	SLUICE_DNS_ERROR = 3,	 /* SERVFAIL, FORMERR, NOTIMP: nobody's policy */
	SLUICE_DNS_AUDIT = 4,	 /* would have been denied; forwarded under audit */
	SLUICE_DNS_FILTERED = 5, /* ask-only name, or a query type that is not asked: answered empty */
};

/*
 * The proxy's log is a ring in shared memory: records are overwritten in order, and `seq` says which one a slot holds.
 * The writer claims a number (from 1), stores seq = 0, fills the record, then stores seq = the number with release
 * semantics, then head.next, in the order of the numbers. A reader copies and checks that seq is still the same; the difference between numbers is what it lost.
 */
struct sluice_dns_record {
	__u64 seq;
	__u64 time;		     /* CLOCK_MONOTONIC ns */
	__u64 state;		     /* the endpoint's state word when judged */
	struct sluice_addr local;    /* the asker */
	struct sluice_addr server;   /* the address it asked */
	struct sluice_addr upstream; /* the trusted resolver; all zero when nothing was sent */
	__u32 endpoint;
	__u32 generation;
	__u32 latency_us;
	__u32 ttl; /* lease TTL given, seconds; 0 = none */
	__be16 lport;
	__u16 qtype;  /* host order */
	__u8 proto;   /* IPPROTO_UDP or IPPROTO_TCP */
	__u8 verdict; /* enum sluice_dns_verdict */
	__u8 rcode;
	__u8 naddrs;
	__u8 name_len;
	__u8 pad[7];
	struct sluice_addr addrs[8]; /* the first eight the answer gave */
	char name[256];		     /* lower case, no final dot; bytes outside [!-~] as \DDD, cut at 255 */
	__u64 left_out; /* records of this endpoint before this one that the rate kept out since its last */
	__u64 reserved[2];
};

struct sluice_dns_log_head {
	__u64 next;	  /* number of the next record to be written; 1 at first */
	__u64 suppressed; /* records left out by the per-endpoint rate, of all endpoints */
	__u64 claimed;	  /* number of the next record that nobody writes yet; for writers, of which there may be two */
	__u64 pad[sizeof(struct sluice_dns_record) / 8 - 3];
};
_Static_assert(sizeof(struct sluice_dns_record) == sizeof(struct sluice_dns_log_head), "abi");
_Static_assert(sizeof(struct sluice_dns_record) == 512, "abi");

enum sluice_dns_stat {
	SLUICE_DNS_STAT_QUERIES_UDP = 0,
	SLUICE_DNS_STAT_QUERIES_TCP,
	SLUICE_DNS_STAT_ALLOWED,
	SLUICE_DNS_STAT_DENIED,
	SLUICE_DNS_STAT_FILTERED,
	SLUICE_DNS_STAT_AUDIT,
	SLUICE_DNS_STAT_FORMERR,
	SLUICE_DNS_STAT_NOTIMP,
	SLUICE_DNS_STAT_SERVFAIL,
	SLUICE_DNS_STAT_UPSTREAM_SENT,
	SLUICE_DNS_STAT_UPSTREAM_ANSWERS,
	SLUICE_DNS_STAT_UPSTREAM_TIMEOUTS,
	SLUICE_DNS_STAT_UPSTREAM_WRONG, /* answers that matched no question in flight */
	SLUICE_DNS_STAT_ADDRS_STRIPPED,
	SLUICE_DNS_STAT_RECORDS_IGNORED, /* answer records outside the owner chain */
	SLUICE_DNS_STAT_LEASES_WRITTEN,
	SLUICE_DNS_STAT_LEASES_FAILED,
	SLUICE_DNS_STAT_LEASE_SLOTS_FULL,
	SLUICE_DNS_STAT_INFLIGHT_FULL,
	SLUICE_DNS_STAT_TCP_CONNECTIONS,
	SLUICE_DNS_STAT_TCP_REFUSED,	  /* or closed, with queries under way, for one of an endpoint that has fewer */
	SLUICE_DNS_STAT_NO_ENDPOINT,	  /* asker unknown: dropped */
	SLUICE_DNS_STAT_NO_POLICY,	  /* image missing or invalid: SERVFAIL */
	SLUICE_DNS_STAT_TCP_RATE,	  /* a query by TCP over the endpoint's rate: SERVFAIL */
	SLUICE_DNS_STAT_SHARED,		  /* queries that waited for the answer to another's equal question */
	SLUICE_DNS_STAT_UPSTREAM_PLAIN,	  /* of those sent, without EDNS */
	SLUICE_DNS_STAT_LEASES_EVICTED,	  /* leases that made room for others */
	SLUICE_DNS_STAT_INFLIGHT_EVICTED, /* queries given up for a later one: SERVFAIL */
	SLUICE_DNS_STAT_NEW_NAMES,	  /* names under a wildcard over the endpoint's rate of new ones: REFUSED */
	SLUICE_DNS_STAT_ANSWERS_UNSENT,	  /* answers by UDP that the kernel did not take */
	SLUICE_DNS_STAT_ANSWERS_BARRED,	  /* of those, dropped by the node's own packet filter */
	SLUICE_DNS_STAT_MAX = 64,
};

#define SLUICE_DNS_RCODES    24	 /* by rcode; the last: all above */
#define SLUICE_DNS_QTYPES    258 /* by type; [0]: all above */
#define SLUICE_DNS_LATENCIES 16
#define SLUICE_DNS_RESOLVERS 8
/* Upper bounds in us of the buckets of latency_us; the last bucket has none. */
#define SLUICE_DNS_LATENCY_BOUNDS                                                                                      \
	{                                                                                                              \
		100, 200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000, 200000, 500000, 1000000, 2000000,        \
			5000000                                                                                        \
	}

/* One trusted resolver, in the order of the proxy's settings. Counted anew when another takes the place. */
struct sluice_dns_resolver {
	struct sluice_addr addr;
	__u64 port;	/* host order; 0: no resolver in this place */
	__u64 sent;	/* queries */
	__u64 answers;	/* that matched one, errors included */
	__u64 errors;	/* of those, malformed or with an rcode that says nothing of the name */
	__u64 timeouts; /* queries whose answer did not come in time */
	__u64 failures; /* queries that could not be sent, or whose socket was lost: ICMP errors, resets */
	__u64 down;	/* 1: others are preferred until a probe is answered */
};
_Static_assert(sizeof(struct sluice_dns_resolver) == 72, "abi");

struct sluice_dns_stats {
	__u64 pid;	 /* of the proxy that writes; 0 = none yet */
	__u64 heartbeat; /* CLOCK_MONOTONIC ns */
	__u64 started;	 /* CLOCK_MONOTONIC ns */
	__u64 counts[SLUICE_DNS_STAT_MAX];
	__u64 rcodes[SLUICE_DNS_RCODES];	/* of all answers to pods */
	__u64 qtypes[SLUICE_DNS_QTYPES];	/* of all queries whose question could be read */
	__u64 latency_us[SLUICE_DNS_LATENCIES]; /* of answers that a resolver was asked for, from query to answer */
	__u64 latency_sum_us;
	struct sluice_dns_resolver resolvers[SLUICE_DNS_RESOLVERS];
};
_Static_assert(sizeof(struct sluice_dns_stats) == 8 * (3 + 64 + 24 + 258 + 16 + 1) + 8 * 72, "abi");

#endif
