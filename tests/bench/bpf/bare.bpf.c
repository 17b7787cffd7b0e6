/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs are measured against: `empty` does nothing, `bare` parses Ethernet, IPv4 and TCP in the linear part,
 * looks its flow up and counts in it: the least a stateful filter can do.
 */
#include "bpf/kernel.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SLUICE_MAX_FLOWS);
	__type(key, struct sluice_flow_key);
	__type(value, struct sluice_flow);
} bare_flows SEC(".maps");

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

SEC("tc")
int bare(struct __sk_buff *skb)
{
	const struct headers *h = (void *)(long)skb->data;
	struct sluice_flow_key key = {};
	struct sluice_flow *flow;

	if ((void *)(h + 1) > (void *)(long)skb->data_end)
		return VERDICT_DROP;
	if (h->eth.h_proto != bpf_htons(ETH_P_IP) || h->ip.ihl != sizeof(h->ip) / 4 || h->ip.protocol != IPPROTO_TCP ||
	    (h->ip.frag_off & bpf_htons(0x3fff)))
		return VERDICT_DROP;
	key.endpoint = skb->ifindex;
	key.local.w[3] = h->ip.saddr;
	key.remote.w[3] = h->ip.daddr;
	key.lport = h->tcp.source;
	key.rport = h->tcp.dest;
	key.proto = IPPROTO_TCP;
	flow = bpf_map_lookup_elem(&bare_flows, &key);
	if (!flow)
		return VERDICT_DROP;
	flow->last_seen = bpf_ktime_get_coarse_ns();
	__sync_fetch_and_add(&flow->tx_packets, 1);
	__sync_fetch_and_add(&flow->tx_bytes, skb->len);
	return VERDICT_NEXT;
}

char LICENSE[] SEC("license") = "GPL";
