/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs are measured against: `empty` does nothing, `bare` parses Ethernet, IPv4 and TCP in the linear part,
 * looks its flow up and counts in it: the least a stateful filter can do. `bare_new` does the least for a new flow: it looks
 * for the flow, once for the destination in a hash of as many members as the table that from_pod is measured with, reads
 * one word of what it finds, and writes the flow.
 */
#include "bpf/kernel.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SLUICE_MAX_FLOWS);
	__type(key, struct sluice_flow_key);
	__type(value, struct sluice_flow);
} bare_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SLUICE_MAX_LEASES);
	__type(key, struct sluice_lease_key);
	__type(value, struct sluice_lease);
} bare_leases SEC(".maps");

struct headers {
	struct ethhdr eth;
	struct iphdr ip;
	struct tcphdr tcp;
} __attribute__((packed));

SEC("tc")
int empty(struct __sk_buff *skb)
{
	(void)skb;
	return VERDICT_NEXT;
}

static SLUICE_INLINE bool bare_parse(struct __sk_buff *skb, struct sluice_flow_key *key)
{
	const struct headers *h = (void *)(long)skb->data;

	if ((void *)(h + 1) > (void *)(long)skb->data_end)
		return false;
	if (h->eth.h_proto != bpf_htons(ETH_P_IP) || h->ip.ihl != sizeof(h->ip) / 4 || h->ip.protocol != IPPROTO_TCP ||
	    (h->ip.frag_off & bpf_htons(0x3fff)))
		return false;
	key->endpoint = skb->ifindex;
	key->local.w[3] = h->ip.saddr;
	key->remote.w[3] = h->ip.daddr;
	key->lport = h->tcp.source;
	key->rport = h->tcp.dest;
	key->proto = IPPROTO_TCP;
	return true;
}

SEC("tc")
int bare(struct __sk_buff *skb)
{
	struct sluice_flow_key key = {};
	struct sluice_flow *flow;

	if (!bare_parse(skb, &key))
		return VERDICT_DROP;
	flow = bpf_map_lookup_elem(&bare_flows, &key);
	if (!flow)
		return VERDICT_DROP;
	flow->last_seen = bpf_ktime_get_coarse_ns();
	__sync_fetch_and_add(&flow->tx_packets, 1);
	__sync_fetch_and_add(&flow->tx_bytes, skb->len);
	return VERDICT_NEXT;
}

SEC("tc")
int bare_new(struct __sk_buff *skb)
{
	struct sluice_lease_key member = {};
	struct sluice_flow flow = {};
	const struct sluice_lease *lease;

	if (!bare_parse(skb, &flow.key) || bpf_map_lookup_elem(&bare_flows, &flow.key))
		return VERDICT_DROP;
	member.addr.w[3] = flow.key.remote.w[3];
	lease = bpf_map_lookup_elem(&bare_leases, &member);
	if (!lease || !lease->slots[0].set)
		return VERDICT_DROP;
	flow.last_seen = bpf_ktime_get_coarse_ns();
	return bpf_map_update_elem(&bare_flows, &flow.key, &flow, BPF_NOEXIST) ? VERDICT_DROP : VERDICT_NEXT;
}

char LICENSE[] SEC("license") = "GPL";
