/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs under test, loaded in namespaces of the test's own, with one endpoint on a veth.
 *
 *   host side "sluice-h" (MAC HOST_MAC), where the programs think they sit
 *   pod side "sluice-p" (MAC POD_MAC)
 *   endpoint 3, generation 77, addresses POD4, POD6; policy 9, epoch 1
 */
#ifndef SLUICE_TESTS_BPF_HARNESS_H
#define SLUICE_TESTS_BPF_HARNESS_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/addr.h"
#include "bpf/abi.h"
#include "dnsproxy/lines.h"
#include "tests/bpf/frame.h"
#include "veth.skel.h"

#define POD4  "10.0.1.5"
#define POD6  "fd00::5"
#define NODE4 "10.0.0.1"
#define NODE6 "fd00::1"
#define PEER4 "192.0.2.7"
#define PEER6 "2001:db8::7"
#define LINK6 "fe80::5"

#define TEST_ENDPOINT	3u
#define TEST_GENERATION 77u
#define TEST_POLICY	9ull

#define PASS (-1)
#define DROP 2

extern const uint8_t HOST_MAC[6];
extern const uint8_t POD_MAC[6];

struct harness {
	struct veth_bpf *skel;
	struct sluice_endpoint *endpoints; /* mapped */
	struct sluice_runtime *runtime;
	struct sluice_settings *settings;
	uint64_t *quiet; /* bpf/cluster_quiet.h */
	struct lines lines;
	uint64_t secret; /* of the lines since the reset */
	struct ring_buffer *ring;
	struct sluice_event last_event;
	int host_ifindex;
	int pod_ifindex;
	struct harness_dest *dests; /* added since the reset; their pages are built from all of them */
	size_t ndests;
	bool changed; /* tables were, under a state that the programs have answers of: they are made to forget before the next run */
	bool hold_dests; /* add_dest leaves that to commit_dests, which thousands are quicker with */
	int node_ns;	 /* only after harness_open_node */
	int pod_ns;
};

/*
 * How many verdicts a randomized test compares per seed: `usual`, few under emulation, SLUICE_VERDICTS where that is set,
 * as an optimised build's ctest does.
 */
size_t verdicts_wanted(size_t usual);

/* cmocka group set-up: namespaces, devices, programs. */
int harness_open(void **state);
/* With a flow table of another size than the 4,096 entries that tests have. */
int harness_open_sized(void **state, uint32_t flows);
int harness_close(void **state);
/*
 * The same with the programs attached and the pod side in a network namespace of its own, as a pod has it: addresses
 * POD4 and POD6 on "sluice-p", everything routed to NODE4 and NODE6 on "sluice-h". The `ip rule` for handed-over packets
 * is in place.
 */
int harness_open_node(void **state);
int harness_open_node_sized(void **state, uint32_t flows);
/* socket(2) in the pod's namespace; asserts. */
int pod_socket(struct harness *h, int domain, int type, int protocol);
/* cmocka test set-up: empty tables, the endpoint enforcing TEST_POLICY, generous quotas. */
int harness_reset(void **state);

void set_state(struct harness *h, enum sluice_mode mode, uint64_t flags, uint16_t epoch);
/* set: rule set of `prefix`; proto 0 = TCP, UDP, SCTP, ICMP and ICMPv6; port 0 = every port */
void allow(struct harness *h, const char *prefix, uint8_t proto, uint16_t port);
void deny(struct harness *h, const char *prefix, uint8_t proto, uint16_t port);
/* Replaces what was added of the same prefix. */
void add_dest(struct harness *h, uint64_t policy, const char *prefix, uint32_t set, uint32_t cluster_set);
void commit_dests(struct harness *h, uint64_t policy);
void add_rule(struct harness *h, uint64_t policy, uint32_t set, uint8_t proto, uint16_t port, uint8_t port_bits,
	      struct sluice_rule rule);
/* In the hash alone. A policy that has leases has name rules: the state says so from now on. */
void add_lease(struct harness *h, const char *addr, uint32_t set, uint64_t expires, uint64_t name);
/* With its line, as the proxy and the agent do. The state says nothing of it. */
void write_lease(struct harness *h, const struct sluice_lease *lease);
/* No group of addresses holds anybody of the cluster; those added afterwards take theirs out. Not so after a reset. */
void set_quiet(struct harness *h);
void add_cluster(struct harness *h, const char *addr, enum sluice_cluster_kind kind, bool local);

/* Opens through a lease: set_id is made a name set that allows proto and port. */
void allow_name(struct harness *h, const char *addr, uint32_t set_id, uint8_t proto, uint16_t port);
/* An expired lease, or one good for an hour; its name is 1000 + set_id. */
void set_lease(struct harness *h, const char *addr, uint32_t set_id, bool valid);

/*
 * Programs keep what the tables said under a state (bpf/recent.h), which the agent never changes tables under. The calls above
 * do, so what is run next is preceded by this.
 */
void harness_forget(struct harness *h);

int run_from_pod(struct harness *h, const struct frame *f);
/* As a segment train of that size each. */
int run_from_pod_gso(struct harness *h, const struct frame *f, uint32_t gso_size);
int run_to_pod(struct harness *h, const struct frame *f, int ingress_ifindex);

/* The frame drops for `reason`, and the endpoint's and the node's counters and an event say so. */
void expect_drop(struct harness *h, const struct frame *f, enum sluice_reason reason);
/* The frame passes and is counted as forwarded. */
void expect_pass(struct harness *h, const struct frame *f);
/* It passes, and an audit event names `reason`. */
void expect_audit(struct harness *h, const struct frame *f, enum sluice_reason reason);

uint64_t total(struct harness *h, uint32_t index);
/* For what a real device carries: the softirq that receives it may come later. They assert that it comes at all. */
void wait_total(struct harness *h, uint32_t index, uint64_t least);
void wait_counter(const __u64 *counter, uint64_t least);
void wait_origin(struct harness *h, const char *remote, uint8_t proto, uint16_t lport, uint16_t rport,
		 enum sluice_flow_origin origin);
/* Events since the last call; the last one in *ret_last. */
unsigned int drain_events(struct harness *h, struct sluice_event *ret_last);
/* By the pod's view of the 5-tuple. */
bool find_flow(struct harness *h, const char *local, const char *remote, uint8_t proto, uint16_t lport, uint16_t rport,
	       struct sluice_flow *ret);
unsigned int count_flows(struct harness *h);
/* The flow's origin; 0 when there is none. */
uint8_t flow_origin(struct harness *h, const char *remote, uint8_t proto, uint16_t lport, uint16_t rport);

/* From the pod's MAC to the host's; complete. */
struct frame pod_tcp(const char *dst, uint16_t sport, uint16_t dport, uint8_t flags);
struct frame pod_udp(const char *dst, uint16_t sport, uint16_t dport);
struct frame pod_echo(const char *dst, bool reply, uint16_t id);
struct frame peer_tcp(const char *src, uint16_t sport, uint16_t dport, uint8_t flags);
struct frame peer_udp(const char *src, uint16_t sport, uint16_t dport);
struct frame peer_echo(const char *src, bool reply, uint16_t id);

#endif
