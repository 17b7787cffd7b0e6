/* SPDX-License-Identifier: GPL-2.0 OR Apache-2.0 */
#include "bpf/abi_names.h"

#include <netinet/in.h>
#include <strings.h>

#include "base/cleanup.h"

struct reason {
	const char *name;
	const char *text;
};

/* Codes from 230 up are ours; Hubble's parser refuses a flow whose drop_reason_desc it does not know. */
#define FIRST_OWN_REASON 230

static const struct reason reasons[256] = {
	[SLUICE_REASON_NONE] = { "NONE", "allowed" },
	[SLUICE_REASON_SOURCE] = { "INVALID_SOURCE_IP", "source address is not the endpoint's" },
	[SLUICE_REASON_POLICY_DEFAULT] = { "POLICY_DENIED", "no rule allows it" },
	[SLUICE_REASON_MALFORMED] = { "INVALID_PACKET_DROPPED", "malformed packet" },
	[SLUICE_REASON_PROTOCOL] = { "CT_UNKNOWN_L4_PROTOCOL", "protocol is not one that can be allowed" },
	[SLUICE_REASON_ETHERTYPE] = { "UNSUPPORTED_L3_PROTOCOL", "neither IPv4, IPv6 nor ARP" },
	[SLUICE_REASON_FLOWS_FULL] = { "CT_MAP_INSERTION_FAILED",
				       "the endpoint's flow quota or the flow table is full" },
	[SLUICE_REASON_EXTENSION] = { "INVALID_IPV6_EXTENSION_HEADER", "IPv6 extension headers unknown or too many" },
	[SLUICE_REASON_FRAGMENT] = { "FIRST_LOGICAL_DATAGRAM_FRAGMENT_NOT_FOUND",
				     "fragment without an admitted first one, or of a datagram to port 53" },
	[SLUICE_REASON_POLICY_DENY] = { "POLICY_DENY", "a rule denies it" },
	[SLUICE_REASON_VLAN] = { "VLAN_FILTERED", "VLAN-tagged frame" },
	[SLUICE_REASON_QUARANTINE] = { "DROP_EP_NOT_READY",
				       "the endpoint is in quarantine: its policy is not known yet" },
	[SLUICE_REASON_NEVER_LEAVES] = { "NEVER_LEAVES", "an address that never leaves a pod" },
	[SLUICE_REASON_L2] = { "INVALID_DESTINATION_MAC", "destination MAC is not this host's" },
	[SLUICE_REASON_NEIGHBOUR] = { "NEIGHBOUR_SPOOF", "ARP or neighbour discovery that speaks for someone else" },
	[SLUICE_REASON_ICMP_ERROR] = { "ICMP_ERROR", "an ICMP error that belongs to no flow" },
	[SLUICE_REASON_DNS_SOCKET] = { "DNS_PROXY_UNAVAILABLE", "the DNS proxy is not there to answer" },
	[SLUICE_REASON_DNS_RATE] = { "DNS_RATE_LIMITED", "over the endpoint's DNS query rate" },
	[SLUICE_REASON_TCP_STATE] = { "TCP_NO_FLOW", "TCP flags that no sender makes" },
	[SLUICE_REASON_IP_OPTION] = { "IP_OPTION", "an IP option that steers the packet" },
	[SLUICE_REASON_CUT] = { "FLOW_CUT", "live flow cut: the policy in force no longer allows it" },
};

static const char *const modes[] = {
	[SLUICE_MODE_QUARANTINE] = "quarantine",
	[SLUICE_MODE_ENFORCE] = "enforce",
	[SLUICE_MODE_AUDIT] = "audit",
	[SLUICE_MODE_OPEN] = "open",
};

static const char *const quarantines[] = {
	[SLUICE_QUARANTINE_NONE] = "none",
	[SLUICE_QUARANTINE_UNKNOWN] = "no endpoint is known for the interface",
	[SLUICE_QUARANTINE_POLICY] = "its policy is not in force",
	[SLUICE_QUARANTINE_CLUSTER] = "the table of cluster addresses is full",
};

static const char *const event_verdicts[] = {
	[SLUICE_EVENT_DROPPED] = "DROPPED",
	[SLUICE_EVENT_FORWARDED] = "FORWARDED",
	[SLUICE_EVENT_AUDIT] = "AUDIT",
};

static const char *const dns_verdicts[] = {
	[SLUICE_DNS_ALLOWED] = "allowed", [SLUICE_DNS_DENIED] = "denied",     [SLUICE_DNS_ERROR] = "error",
	[SLUICE_DNS_AUDIT] = "audit",	  [SLUICE_DNS_FILTERED] = "filtered",
};

static const char *const origins[] = {
	[SLUICE_ORIGIN_POD] = "pod",
	[SLUICE_ORIGIN_OUTSIDE] = "outside",
	[SLUICE_ORIGIN_HOST] = "host",
	[SLUICE_ORIGIN_TOMBSTONE] = "tombstone",
};

static const char *const cluster_kinds[] = {
	[SLUICE_CLUSTER_NODE] = "node",
	[SLUICE_CLUSTER_POD] = "pod",
	[SLUICE_CLUSTER_SERVICE] = "service",
};

static const char *const totals[] = {
	[SLUICE_TOTAL_FORWARDED] = "forwarded",
	[SLUICE_TOTAL_FORWARDED_BYTES] = "forwarded_bytes",
	[SLUICE_TOTAL_DNS_ASSIGNED] = "dns_assigned",
	[SLUICE_TOTAL_AUDIT] = "audit",
	[SLUICE_TOTAL_EVENTS_LOST] = "events_lost",
	[SLUICE_TOTAL_EVENTS_SUPPRESSED] = "events_suppressed",
	[SLUICE_TOTAL_FLOWS_FULL] = "flows_full",
	[SLUICE_TOTAL_FLOWS_OPENED] = "flows_opened",
	[SLUICE_TOTAL_FLOWS_CUT] = "flows_cut",
	[SLUICE_TOTAL_INBOUND_NOTED] = "inbound_noted",
	[SLUICE_TOTAL_PROXY_BLOCKED] = "proxy_blocked",
	[SLUICE_TOTAL_REJECTED] = "rejected",
	[SLUICE_TOTAL_REJECTS_SUPPRESSED] = "rejects_suppressed",
	[SLUICE_TOTAL_CGROUP_BUSY] = "cgroup_busy",
	[SLUICE_TOTAL_DNS_DATAGRAMS] = "dns_datagrams",
	[SLUICE_TOTAL_DNS_SYNS] = "dns_syns",
};

static const char *const dns_stats[] = {
	[SLUICE_DNS_STAT_QUERIES_UDP] = "queries_udp",
	[SLUICE_DNS_STAT_QUERIES_TCP] = "queries_tcp",
	[SLUICE_DNS_STAT_ALLOWED] = "allowed",
	[SLUICE_DNS_STAT_DENIED] = "denied",
	[SLUICE_DNS_STAT_FILTERED] = "filtered",
	[SLUICE_DNS_STAT_AUDIT] = "audit",
	[SLUICE_DNS_STAT_FORMERR] = "formerr",
	[SLUICE_DNS_STAT_NOTIMP] = "notimp",
	[SLUICE_DNS_STAT_SERVFAIL] = "servfail",
	[SLUICE_DNS_STAT_UPSTREAM_SENT] = "upstream_sent",
	[SLUICE_DNS_STAT_UPSTREAM_ANSWERS] = "upstream_answers",
	[SLUICE_DNS_STAT_UPSTREAM_TIMEOUTS] = "upstream_timeouts",
	[SLUICE_DNS_STAT_UPSTREAM_WRONG] = "upstream_wrong",
	[SLUICE_DNS_STAT_ADDRS_STRIPPED] = "addrs_stripped",
	[SLUICE_DNS_STAT_RECORDS_IGNORED] = "records_ignored",
	[SLUICE_DNS_STAT_LEASES_WRITTEN] = "leases_written",
	[SLUICE_DNS_STAT_LEASES_FAILED] = "leases_failed",
	[SLUICE_DNS_STAT_LEASE_SLOTS_FULL] = "lease_slots_full",
	[SLUICE_DNS_STAT_LEASES_EVICTED] = "leases_evicted",
	[SLUICE_DNS_STAT_INFLIGHT_EVICTED] = "inflight_evicted",
	[SLUICE_DNS_STAT_NEW_NAMES] = "new_names_limited",
	[SLUICE_DNS_STAT_ANSWERS_UNSENT] = "answers_unsent",
	[SLUICE_DNS_STAT_ANSWERS_BARRED] = "answers_barred",
	[SLUICE_DNS_STAT_INFLIGHT_FULL] = "inflight_full",
	[SLUICE_DNS_STAT_TCP_CONNECTIONS] = "tcp_connections",
	[SLUICE_DNS_STAT_TCP_REFUSED] = "tcp_refused",
	[SLUICE_DNS_STAT_NO_ENDPOINT] = "no_endpoint",
	[SLUICE_DNS_STAT_NO_POLICY] = "no_policy",
	[SLUICE_DNS_STAT_TCP_RATE] = "tcp_rate",
	[SLUICE_DNS_STAT_SHARED] = "shared",
	[SLUICE_DNS_STAT_UPSTREAM_PLAIN] = "upstream_plain",
};

static const char *const rcodes[] = { "NOERROR", "FORMERR", "SERVFAIL",	     "NXDOMAIN",
				      "NOTIMP",	 "REFUSED", [16] = "BADVERS" };

struct number {
	uint16_t value;
	const char *name;
};

static const struct number protos[] = {
	{ IPPROTO_TCP, "TCP" },	  { IPPROTO_UDP, "UDP" },	{ IPPROTO_SCTP, "SCTP" },
	{ IPPROTO_ICMP, "ICMP" }, { IPPROTO_ICMPV6, "ICMPv6" },
};

/* RFC 1035 section 3.2.2, RFC 3596, RFC 2782, RFC 3403, RFC 4034, RFC 9460, RFC 8659. */
static const struct number qtypes[] = {
	{ 1, "A" },	{ 2, "NS" },	 { 5, "CNAME" },  { 6, "SOA" },	   { 12, "PTR" },  { 15, "MX" },
	{ 16, "TXT" },	{ 28, "AAAA" },	 { 33, "SRV" },	  { 35, "NAPTR" }, { 43, "DS" },   { 48, "DNSKEY" },
	{ 64, "SVCB" }, { 65, "HTTPS" }, { 252, "AXFR" }, { 255, "ANY" },  { 257, "CAA" },
};

static const char *name_at(const char *const *names, size_t count, size_t i)
{
	return i < count && names[i] ? names[i] : "unknown";
}

#define NAME_AT(table, i) name_at(table, ARRAY_SIZE(table), (size_t)(i))

const char *reason_name(uint8_t reason)
{
	return reasons[reason].name ? reasons[reason].name : "UNKNOWN";
}

const char *reason_hubble(uint8_t reason)
{
	if (reason == SLUICE_REASON_L2)
		return "INVALID_DESTINATION_MAC";
	if (reason == SLUICE_REASON_NONE || reason >= FIRST_OWN_REASON || !reasons[reason].name)
		return "DROP_REASON_UNKNOWN";
	return reasons[reason].name;
}

const char *reason_text(uint8_t reason)
{
	return reasons[reason].text ? reasons[reason].text : "unknown reason";
}

const char *mode_name(enum sluice_mode mode)
{
	return NAME_AT(modes, mode);
}

const char *quarantine_text(enum sluice_quarantine why)
{
	return NAME_AT(quarantines, why);
}

const char *event_verdict_name(enum sluice_event_verdict verdict)
{
	return NAME_AT(event_verdicts, verdict);
}

const char *dns_verdict_name(enum sluice_dns_verdict verdict)
{
	return NAME_AT(dns_verdicts, verdict);
}

const char *flow_origin_name(enum sluice_flow_origin origin)
{
	return NAME_AT(origins, origin);
}

const char *cluster_kind_name(enum sluice_cluster_kind kind)
{
	return NAME_AT(cluster_kinds, kind);
}

const char *total_name(enum sluice_total total)
{
	return NAME_AT(totals, total);
}

const char *dns_stat_name(enum sluice_dns_stat stat)
{
	return NAME_AT(dns_stats, stat);
}

const char *rcode_name(uint8_t rcode)
{
	return NAME_AT(rcodes, rcode);
}

const char *proto_name(uint8_t proto)
{
	for (size_t i = 0; i < ARRAY_SIZE(protos); i++) {
		if (protos[i].value == proto)
			return protos[i].name;
	}
	return NULL;
}

uint8_t proto_number(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(protos); i++) {
		if (!strcasecmp(protos[i].name, name))
			return (uint8_t)protos[i].value;
	}
	return 0;
}

const char *qtype_name(uint16_t qtype)
{
	for (size_t i = 0; i < ARRAY_SIZE(qtypes); i++) {
		if (qtypes[i].value == qtype)
			return qtypes[i].name;
	}
	return NULL;
}
