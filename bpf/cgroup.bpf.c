// SPDX-License-Identifier: GPL-2.0
/*
 * The programs of a cgroup endpoint: host-network pods and commands of the host, whose sockets this network namespace
 * itself holds. egress enforces; ingress notes what is opened towards the endpoint; the others make a denied connection
 * fail at once, and lead DNS to the proxy.
 *
 * Theory of operation
 * -------------------
 * Only egress is trusted: it sees every IP packet of every socket that was made in the cgroup, raw ones too, and has the
 * same order, verdict and tables as from_pod (README.md). What differs, and why:
 *
 *  - No link layer and no source check: the host's own stack chose both.
 *  - A TCP packet is judged by what its socket is connected to, as a veth's is judged before Services are translated;
 *    the header has been through the host's NAT by now. A datagram is judged by its header, that is by the backend.
 *  - Loopback is the host's, not the endpoint's: a relay there would be a way out. So 127/8 and ::1 carry what stays
 *    among the endpoint's own sockets, answers to what the host opened, and questions to the proxy; nothing else.
 *  - Port 53 of an endpoint with name rules has been turned to the proxy when it comes here; what still goes elsewhere
 *    was sent past those programs, and drops.
 *
 * Whose packet it is comes from storage that belongs to cgroup and program: the same program sits on every endpoint's
 * cgroup, and on which of them it runs no id in the packet can say. Empty storage is quarantine.
 *
 * Unlike TC's, these programs run with softirqs on and may be preempted: one packet's run can nest in another's on the
 * same CPU. Each takes a slot of working memory and gives it back; without a free one the packet drops, counted.
 */
#define PARSE_LINK 0 /* a cgroup sees no link layer */
#define JUDGE_NESTS

#include "bpf/dns.h"
#include "bpf/inbound.h"
#include "bpf/loop.h"
#include "bpf/maps.h"
#include "bpf/outbound.h"
#include "bpf/parse.h"
#include "bpf/work.h"

#define PASS   1
#define REFUSE 0

/* <sys/socket.h> and <netinet/tcp.h> have no BPF form. */
#define SOCK_RAW   3
#define TCP_SYNCNT 7

/* In this namespace, as in every one. */
#define LOOPBACK_IFINDEX 1

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
	__type(key, __u64);
	__type(value, struct sluice_if);
} attached SEC(".maps");

/* ---- working memory ---------------------------------------------------------------------------------------------- */

#define SLOTS 8

struct slot {
	__u32 busy;
	__u32 pad;
	struct work work;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, struct slot);
} slots SEC(".maps");

int slot_claim(void);

/* The number of a slot that is the caller's from now on, or SLOTS. */
SLUICE_GLOBAL int slot_claim(void)
{
	for (__u32 i = 0; i < SLOTS; i++) {
		__u32 index = i;
		struct slot *s = bpf_map_lookup_elem(&slots, &index);

		if (s && __sync_val_compare_and_swap(&s->busy, 0, 1) == 0)
			return i;
	}
	return SLOTS;
}

static SLUICE_INLINE struct slot *slot_take(void)
{
	__u32 index = slot_claim();
	struct slot *s = bpf_map_lookup_elem(&slots, &index);

	if (!s)
		total_add(SLUICE_TOTAL_CGROUP_BUSY, 1);
	return s;
}

/* `answer`, once the slot is free. */
static SLUICE_INLINE int slot_give(struct slot *s, int answer)
{
	__sync_val_compare_and_swap(&s->busy, 1, 0);
	return answer;
}

/* ---- whose it is ------------------------------------------------------------------------------------------------- */

static SLUICE_INLINE const struct sluice_endpoint *owner_find(struct work *w)
{
	const struct sluice_if *at = bpf_get_local_storage(&attached, 0);
	const struct sluice_endpoint *ep;
	__u32 id = at->endpoint, generation = at->generation;

	ep = bpf_map_lookup_elem(&endpoints, &id);
	if (!ep || generation == 0)
		return NULL;
	w->state = *(const volatile __u64 *)&ep->state;
	if (*(const volatile __u32 *)&ep->generation != generation || !ep->cgroup) {
		w->state = 0;
		return NULL;
	}
	w->endpoint = id;
	w->generation = generation;
	return ep;
}

/* ---- egress ------------------------------------------------------------------------------------------------------ */

static SLUICE_INLINE __u8 parse_ip(struct __sk_buff *skb, struct packet *p)
{
	p->ethertype = bpf_ntohs(skb->protocol);
	p->cursor = PARSE_LINK;
	p->end = skb->len;
	return p->ethertype == ETH_P_IP || p->ethertype == ETH_P_IPV6 ? parse_network(skb, p) : SLUICE_REASON_ETHERTYPE;
}

/* The two ends of a connection as its socket knows them, before NAT. A listener's SYN-ACK has them in the header only. */
static SLUICE_INLINE void take_socket_ends(const struct __sk_buff *skb, struct packet *p)
{
	struct bpf_sock *sk = skb->sk;
	const volatile struct bpf_sock *s;

	if (p->proto != IPPROTO_TCP || !sk)
		return;
	sk = bpf_sk_fullsock(sk);
	if (!sk || sk->protocol != IPPROTO_TCP || sk->state == BPF_TCP_LISTEN)
		return;
	s = sk;
	if (p->ethertype == ETH_P_IP) {
		__u32 local = s->src_ip4, remote = s->dst_ip4;

		packet_set_v4(&p->src, local);
		packet_set_v4(&p->dst, remote);
	} else {
		p->src.w[0] = s->src_ip6[0];
		p->src.w[1] = s->src_ip6[1];
		p->src.w[2] = s->src_ip6[2];
		p->src.w[3] = s->src_ip6[3];
		p->dst.w[0] = s->dst_ip6[0];
		p->dst.w[1] = s->dst_ip6[1];
		p->dst.w[2] = s->dst_ip6[2];
		p->dst.w[3] = s->dst_ip6[3];
	}
	p->sport = bpf_htons(s->src_port);
	p->dport = s->dst_port;
	p->rule_port = p->dport;
}

/* A question on its way to the proxy, which learns here whose it is and whom it was meant for (hazard 14). */
static SLUICE_INLINE __u8 ask_proxy(struct __sk_buff *skb, struct work *w, struct sluice_runtime *rt)
{
	const struct packet *p = &w->packet;
	struct sluice_asker_key *key = &w->asker_key;
	struct sluice_asker *asker = &w->asker;
	const struct sluice_addr *server;
	__u64 cookie = bpf_get_socket_cookie(skb);

	if (p->fragment)
		return SLUICE_REASON_FRAGMENT;
	if (!dns_within_rate(w, rt))
		return SLUICE_REASON_DNS_RATE;
	server = bpf_map_lookup_elem(&dns_servers, &cookie);
	__builtin_memset(key, 0, sizeof(*key));
	key->addr = p->src;
	key->port = p->sport;
	key->proto = p->proto;
	__builtin_memset(asker, 0, sizeof(*asker));
	asker->server = server ? *server : p->dst;
	asker->cookie = cookie;
	asker->endpoint = w->endpoint;
	asker->generation = w->generation;
	if (bpf_map_update_elem(&dns_askers, key, asker, BPF_ANY))
		return SLUICE_REASON_DNS_SOCKET;
	total_add(SLUICE_TOTAL_DNS_ASSIGNED, 1);
	__sync_fetch_and_add(&rt->dns_assigned, 1);
	return SLUICE_REASON_NONE;
}

static SLUICE_INLINE struct bpf_sock *find_receiver(struct __sk_buff *skb, const struct packet *p)
{
	struct bpf_sock_tuple tuple = {};
	__u32 size = sizeof(tuple.ipv4);

	if (p->ethertype == ETH_P_IP) {
		tuple.ipv4.saddr = p->src.w[3];
		tuple.ipv4.daddr = p->dst.w[3];
		tuple.ipv4.sport = p->sport;
		tuple.ipv4.dport = p->dport;
		return p->proto == IPPROTO_TCP ? bpf_sk_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0)
					       : bpf_sk_lookup_udp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	}
	__builtin_memcpy(tuple.ipv6.saddr, &p->src, sizeof(p->src));
	__builtin_memcpy(tuple.ipv6.daddr, &p->dst, sizeof(p->dst));
	tuple.ipv6.sport = p->sport;
	tuple.ipv6.dport = p->dport;
	size = sizeof(tuple.ipv6);
	return p->proto == IPPROTO_TCP ? bpf_sk_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0)
				       : bpf_sk_lookup_udp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
}

/* Does what is sent stay among the endpoint's own sockets? Where nobody listens nothing is reached either. */
static SLUICE_INLINE bool stays_inside(struct __sk_buff *skb, const struct packet *p, const struct sluice_endpoint *ep)
{
	struct bpf_sock *sk;
	bool own;

	if (p->fragment || (p->proto != IPPROTO_TCP && p->proto != IPPROTO_UDP))
		return false;
	sk = find_receiver(skb, p);
	if (!sk)
		return true;
	own = bpf_sk_ancestor_cgroup_id(sk, ep->level) == ep->cgroup;
	bpf_sk_release(sk);
	return own;
}

static SLUICE_INLINE __u8 egress_loopback(struct __sk_buff *skb, struct work *w, const struct sluice_endpoint *ep,
					  struct sluice_runtime *rt)
{
	const struct packet *p = &w->packet;
	struct flow_view view = {};
	struct sluice_flow *flow;
	bool audited;

	if ((w->state & SLUICE_STATE_NAMES) && (p->proto == IPPROTO_TCP || p->proto == IPPROTO_UDP) &&
	    loop_is_proxy(p->proto == IPPROTO_TCP, &p->dst, p->dport))
		return ask_proxy(skb, w, rt);
	if (stays_inside(skb, p, ep))
		return SLUICE_REASON_NONE;
	flow = flow_find(&w->flow.key, &view);
	if (flow && flow_passes(w, &view, &audited)) {
		flow_count_tx(flow, w->now, w->length, w->packet.tcp_flags);
		w->audited = audited;
		return SLUICE_REASON_NONE;
	}
	return flow_denied(w, rt, flow, &view, SLUICE_REASON_NEVER_LEAVES);
}

static SLUICE_INLINE __u8 egress_policy(struct __sk_buff *skb, struct work *w, const struct sluice_endpoint *ep,
					__u8 soft)
{
	struct sluice_runtime *rt = runtime_get(w);
	const struct packet *p = &w->packet;
	__u8 reason;

	if (!rt)
		return SLUICE_REASON_QUARANTINE;
	if (!soft && !p->mapped_dst && loop_address(&p->dst))
		return egress_loopback(skb, w, ep, rt);
	if (p->mapped_dst || addr_never_leaves(&p->dst))
		return SLUICE_REASON_NEVER_LEAVES;
	if (soft)
		return soft;
	if (dns_is_query(w)) {
		reason = p->fragment ? SLUICE_REASON_FRAGMENT : judge_dns(w);
		return reason ? reason : SLUICE_REASON_DNS_SOCKET;
	}
	return outbound_judge(w, rt);
}

static SLUICE_INLINE __u8 egress_admit(struct __sk_buff *skb, struct work *w)
{
	const struct sluice_endpoint *ep = owner_find(w);
	struct packet *p = &w->packet;
	__u8 reason = parse_ip(skb, p), soft;

	if (!ep)
		return SLUICE_REASON_QUARANTINE;
	if (reason)
		return reason;
	soft = parse_transport(skb, p);
	if (packet_is_nd(p))
		return SLUICE_REASON_NEIGHBOUR;
	if (reason_is_hard(soft))
		return soft;
	if (work_mode(w) == SLUICE_MODE_OPEN)
		return SLUICE_REASON_NONE;
	take_socket_ends(skb, p);
	flow_set_key(w, &p->src, &p->dst, p->sport, p->dport);
	if (work_mode(w) == SLUICE_MODE_QUARANTINE)
		return soft ? SLUICE_REASON_QUARANTINE : outbound_quarantine(w);
	return egress_policy(skb, w, ep, soft);
}

SEC("cgroup_skb/egress")
int egress(struct __sk_buff *skb)
{
	struct slot *s = slot_take();

	if (!s)
		return REFUSE;
	work_set_skb(&s->work, skb);
	return slot_give(s, end(&s->work, egress_admit(skb, &s->work)) == VERDICT_DROP ? REFUSE : PASS);
}

/* ---- ingress ----------------------------------------------------------------------------------------------------- */

/* What came by loopback is this node's. The proxy's answers open nothing, and neither do the endpoint's own sockets. */
static SLUICE_INLINE __u8 ingress_origin(const struct __sk_buff *skb, const struct packet *p)
{
	if (skb->ingress_ifindex != LOOPBACK_IFINDEX)
		return SLUICE_ORIGIN_OUTSIDE;
	return loop_is_proxy(p->proto == IPPROTO_TCP, &p->src, p->sport) ? 0 : SLUICE_ORIGIN_HOST;
}

static SLUICE_INLINE void ingress_note(struct __sk_buff *skb, struct work *w)
{
	struct packet *p = &w->packet;
	struct flow_view view = {};
	struct sluice_flow *flow;

	if (!owner_find(w) || parse_ip(skb, p) || parse_transport(skb, p) || p->fragment == FRAGMENT_LATER ||
	    packet_is_nd(p))
		return;
	inbound_set_key(w);
	if (!inbound_known(w, &flow, &view))
		inbound_unknown(w, flow, &view, ingress_origin(skb, p));
}

/* Never drops. */
SEC("cgroup_skb/ingress")
int ingress(struct __sk_buff *skb)
{
	struct slot *s = slot_take();

	if (!s)
		return PASS;
	work_set_skb(&s->work, skb);
	ingress_note(skb, &s->work);
	return slot_give(s, PASS);
}

/* ---- connect and sendmsg ----------------------------------------------------------------------------------------- */

/* `v6` is the hook's, a constant: the fields of the other family are not there for its program. */
static SLUICE_INLINE void get_place(const struct bpf_sock_addr *ctx, bool v6, struct sluice_addr *ret)
{
	if (!v6) {
		packet_set_v4(ret, ctx->user_ip4);
		return;
	}
	ret->w[0] = ctx->user_ip6[0];
	ret->w[1] = ctx->user_ip6[1];
	ret->w[2] = ctx->user_ip6[2];
	ret->w[3] = ctx->user_ip6[3];
}

static SLUICE_INLINE void put_place(struct bpf_sock_addr *ctx, bool v6, const struct sluice_addr *addr, __be16 port)
{
	ctx->user_port = port;
	if (!v6) {
		ctx->user_ip4 = addr->w[3];
		return;
	}
	ctx->user_ip6[0] = addr->w[0];
	ctx->user_ip6[1] = addr->w[1];
	ctx->user_ip6[2] = addr->w[2];
	ctx->user_ip6[3] = addr->w[3];
}

/* To an address the endpoint's policy does not allow, in enforce: a connection that would only time out. */
static SLUICE_INLINE bool is_hopeless(struct work *w)
{
	__u8 reason;

	if (w->packet.proto != IPPROTO_TCP || work_mode(w) != SLUICE_MODE_ENFORCE)
		return false;
	reason = judge_packet(w, 0);
	if (!reason)
		return false;
	end_drop(w, reason);
	return true;
}

/* -1: no question of the endpoint's; else what the program returns. `to` is where it goes instead. */
static SLUICE_INLINE int turn_query(struct bpf_sock_addr *ctx, struct work *w, struct loop_place *to, bool *ret_turned)
{
	const struct packet *p = &w->packet;
	__u64 cookie = bpf_get_socket_cookie(ctx);
	__u8 reason;

	*ret_turned = false;
	if (!dns_is_query(w))
		return -1;
	if (loop_is_proxy(p->proto == IPPROTO_TCP, &p->dst, p->dport))
		return PASS;
	/* A resolver on loopback (systemd's) is asked like any other. */
	reason = loop_address(&p->dst) ? SLUICE_REASON_NONE : judge_dns(w);
	if (!reason && !loop_proxy(p->proto == IPPROTO_TCP, !addr_is_v4(&p->dst), to))
		reason = SLUICE_REASON_DNS_SOCKET;
	if (!reason && bpf_map_update_elem(&dns_servers, &cookie, &p->dst, BPF_ANY))
		reason = SLUICE_REASON_DNS_SOCKET;
	if (reason)
		return end(w, reason) == VERDICT_DROP ? REFUSE : PASS;
	*ret_turned = true;
	return PASS;
}

/* A relay on loopback is refused by losing the SYN: two tries are enough where no packet is ever lost. */
static SLUICE_INLINE void give_up_soon(struct bpf_sock_addr *ctx)
{
	int tries = 1;

	bpf_setsockopt(ctx, IPPROTO_TCP, TCP_SYNCNT, &tries, sizeof(tries));
}

/* True: `answer` is final unless turned. */
static SLUICE_INLINE int judge_target(struct bpf_sock_addr *ctx, struct work *w, struct loop_place *to,
				      bool *ret_turned)
{
	struct packet *p = &w->packet;
	int answer;

	*ret_turned = false;
	p->proto = ctx->protocol;
	p->dport = ctx->user_port;
	p->rule_port = p->dport;
	p->ip_known = 1;
	/* v4-mapped here means IPv4, by a socket of the other family. */
	p->ethertype = addr_is_v4(&p->dst) ? ETH_P_IP : ETH_P_IPV6;
	if (!owner_find(w) || work_mode(w) == SLUICE_MODE_OPEN || work_mode(w) == SLUICE_MODE_QUARANTINE)
		return PASS;
	flow_set_key(w, &p->src, &p->dst, 0, p->dport);
	answer = turn_query(ctx, w, to, ret_turned);
	if (answer >= 0)
		return answer;
	if (loop_address(&p->dst))
		return PASS;
	return is_hopeless(w) ? REFUSE : PASS;
}

static SLUICE_INLINE int target(struct bpf_sock_addr *ctx, bool v6, bool *ret_loop)
{
	struct slot *s = slot_take();
	struct loop_place to = {};
	bool turned;
	int answer;

	if (!s)
		return REFUSE;
	work_clear(&s->work);
	get_place(ctx, v6, &s->work.packet.dst);
	*ret_loop = loop_address(&s->work.packet.dst);
	answer = slot_give(s, judge_target(ctx, &s->work, &to, &turned));
	if (turned)
		put_place(ctx, v6, &to.addr, to.port);
	return answer;
}

static SLUICE_INLINE int connect_to(struct bpf_sock_addr *ctx, bool v6)
{
	bool loop;
	int answer = target(ctx, v6, &loop);

	if (answer && loop && ctx->protocol == IPPROTO_TCP)
		give_up_soon(ctx);
	return answer;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	return connect_to(ctx, false);
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	return connect_to(ctx, true);
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	bool loop;

	return target(ctx, false, &loop);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	bool loop;

	return target(ctx, true, &loop);
}

/* ---- what the program is told ------------------------------------------------------------------------------------ */

/* The proxy's address is nothing the program knows: it asked somebody else. NULL: leave the peer as it is. */
static SLUICE_INLINE const struct sluice_addr *asked_instead(struct bpf_sock_addr *ctx, const struct sluice_addr *peer)
{
	__u64 cookie = bpf_get_socket_cookie(ctx);

	if (!loop_is_proxy(ctx->protocol == IPPROTO_TCP, peer, ctx->user_port))
		return NULL;
	return bpf_map_lookup_elem(&dns_servers, &cookie);
}

static SLUICE_INLINE int restore(struct bpf_sock_addr *ctx, bool v6)
{
	const struct sluice_addr *asked;
	struct sluice_addr peer;

	get_place(ctx, v6, &peer);
	asked = asked_instead(ctx, &peer);
	if (asked && (v6 || addr_is_v4(asked)))
		put_place(ctx, v6, asked, bpf_htons(DNS_PORT));
	return PASS;
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	return restore(ctx, false);
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	return restore(ctx, true);
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *ctx)
{
	return restore(ctx, false);
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *ctx)
{
	return restore(ctx, true);
}

/* ---- sockets ----------------------------------------------------------------------------------------------------- */

/* A raw socket writes its own headers: what a policy speaks of never needs one. */
SEC("cgroup/sock_create")
int sock_create(struct bpf_sock *sk)
{
	const struct sluice_if *at = bpf_get_local_storage(&attached, 0);
	__u32 id = at->endpoint;
	const struct sluice_endpoint *ep = bpf_map_lookup_elem(&endpoints, &id);

	if (sk->type != SOCK_RAW || !ep || ep->generation != at->generation)
		return PASS;
	return SLUICE_STATE_MODE(ep->state) == SLUICE_MODE_ENFORCE ? REFUSE : PASS;
}

char LICENSE[] SEC("license") = "GPL";
