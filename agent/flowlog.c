/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/flowlog.h"

#include <arpa/inet.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/clock.h"
#include "bpf/abi_names.h"

/* Bytes out of shared memory: JSON wants UTF-8, and a terminal no control characters. */
static json_t *text_json(const char *text, size_t max)
{
	size_t len = strnlen(text, max);
	char clean[256];

	if (len > sizeof(clean))
		len = sizeof(clean);
	for (size_t i = 0; i < len; i++)
		clean[i] = text[i] >= 0x20 && text[i] < 0x7f ? text[i] : '?';
	return json_stringn(clean, len);
}

/* CLOCK_MONOTONIC ns as wall-clock text, RFC 3339 with nanoseconds; right as long as the clock was not set meanwhile. */
static json_t *time_json(uint64_t monotonic)
{
	struct timespec real;
	uint64_t now = clock_now(), ns;
	struct tm tm;
	time_t seconds;
	char text[32];

	clock_gettime(CLOCK_REALTIME, &real);
	ns = (uint64_t)real.tv_sec * NSEC_PER_SEC + (uint64_t)real.tv_nsec - now + monotonic;
	seconds = (time_t)(ns / NSEC_PER_SEC);
	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	return json_sprintf("%s.%09uZ", text, (unsigned int)(ns % NSEC_PER_SEC));
}

static json_t *addr_json(const struct sluice_addr *addr)
{
	char text[ADDR_TEXT_MAX];

	return json_string(addr_format(addr, text));
}

static json_t *pod_json(const struct flowlog_sources *s, uint32_t id, uint32_t generation)
{
	json_t *o = json_pack("{s:I}", "ID", (json_int_t)id);
	struct sluice_label label;

	if (generation == 0 || !s->label(s->context, id, generation, &label))
		return o;
	json_object_set_new(o, "namespace", text_json(label.namespace_name, sizeof(label.namespace_name)));
	json_object_set_new(o, "pod_name", text_json(label.name, sizeof(label.name)));
	return o;
}

static json_t *ip_json(const struct sluice_addr *source, const struct sluice_addr *destination)
{
	return json_pack("{s:o, s:o, s:s}", "source", addr_json(source), "destination", addr_json(destination),
			 "ipVersion", addr_is_ipv4(source) ? "IPv4" : "IPv6");
}

static json_t *l4_json(uint8_t proto, uint16_t lport, uint16_t rport)
{
	const char *name = proto_name(proto);

	if (!name)
		return json_object();
	if (proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6)
		return json_pack("{s:{s:i, s:i}}", name, "type", rport >> 8, "code", rport & 0xff);
	return json_pack("{s:{s:i, s:i}}", name, "source_port", lport, "destination_port", rport);
}

/* The policy of the rule that decided, as Hubble lists it. */
static void set_policy(json_t *flow, const char *key, const struct image *img, uint32_t rule)
{
	struct image_source source;
	const char *slash;

	if (!img || !image_rule_source(img, rule, &source))
		return;
	slash = strchr(source.policy, '/');
	json_object_set_new(flow, key,
			    json_pack("[{s:s%, s:s, s:s}]", "namespace", source.policy,
				      slash ? (size_t)(slash - source.policy) : (size_t)0, "name",
				      slash ? slash + 1 : source.policy, "kind", source.kind));
}

/* Both kinds of record share the frame. Steals `flow`. */
static json_t *frame(json_t *flow, uint64_t monotonic)
{
	json_t *time = time_json(monotonic);
	char node[256] = "";

	gethostname(node, sizeof(node) - 1);
	json_object_set(flow, "time", time);
	json_object_set_new(flow, "node_name", text_json(node, sizeof(node)));
	json_object_set_new(flow, "traffic_direction", json_string("EGRESS"));
	return json_pack("{s:o, s:o, s:o}", "flow", flow, "node_name", text_json(node, sizeof(node)), "time", time);
}

json_t *flowlog_event(const struct flowlog_sources *s, const struct sluice_event *event)
{
	bool forwarded = event->verdict == SLUICE_EVENT_FORWARDED;
	json_t *flow = json_pack("{s:s, s:o, s:{}, s:s}", "verdict", event_verdict_name(event->verdict), "source",
				 pod_json(s, event->endpoint, event->generation), "destination", "Type", "L3_L4");
	struct sluice_name name;

	if (event->ip_known) {
		json_object_set_new(flow, "IP", ip_json(&event->local, &event->remote));
		json_object_set_new(flow, "l4", l4_json(event->proto, ntohs(event->lport), ntohs(event->rport)));
	}
	if (event->name && s->name(s->context, event->name, &name))
		json_object_set_new(flow, "destination_names", json_pack("[o]", text_json(name.text, name.len)));
	if (!forwarded) {
		json_object_set_new(flow, "drop_reason", json_integer(event->reason));
		json_object_set_new(flow, "drop_reason_desc", json_string(reason_hubble(event->reason)));
		json_object_set_new(flow, "Summary", json_string(reason_text(event->reason)));
	}
	set_policy(flow, forwarded ? "egress_allowed_by" : "egress_denied_by",
		   s->image(s->context, SLUICE_STATE_POLICY(event->state)), event->rule);
	return frame(flow, event->time);
}

static const char *dns_flow_verdict(uint8_t verdict)
{
	switch ((enum sluice_dns_verdict)verdict) {
	case SLUICE_DNS_ALLOWED:
		return "FORWARDED";
	case SLUICE_DNS_AUDIT:
		return "AUDIT";
	case SLUICE_DNS_ERROR:
		return "ERROR";
	case SLUICE_DNS_DENIED:
	case SLUICE_DNS_FILTERED:
		return "DROPPED";
	}
	return "DROPPED";
}

/* Which rule lets the name be asked: the policy that the record was judged by still knows. */
static void set_dns_policy(const struct flowlog_sources *s, json_t *flow, const struct sluice_dns_record *record)
{
	const struct image *img = s->image(s->context, SLUICE_STATE_POLICY(record->state));
	struct image_match match;

	if (!img || record->verdict != SLUICE_DNS_ALLOWED)
		return;
	image_match_name(img, record->name, record->name_len, &match);
	set_policy(flow, "egress_allowed_by", img, match.rule);
}

/* Hubble's reader knows no member of our own: what is missing before the record is said in words too. */
static void set_dns_summary(json_t *flow, const struct sluice_dns_record *record)
{
	const char *denied = record->verdict == SLUICE_DNS_DENIED ? "the policy does not list the name" : "";

	if (record->left_out)
		json_object_set_new(flow, "Summary",
				    json_sprintf("%s%s%llu earlier queries of this endpoint were not logged", denied,
						 *denied ? "; " : "", (unsigned long long)record->left_out));
	else if (*denied)
		json_object_set_new(flow, "Summary", json_string(denied));
}

json_t *flowlog_dns(const struct flowlog_sources *s, const struct sluice_dns_record *record)
{
	const char *qtype = qtype_name(record->qtype);
	json_t *ips = json_array(), *dns;
	json_t *flow = json_pack("{s:s, s:o, s:{}, s:s}", "verdict", dns_flow_verdict(record->verdict), "source",
				 pod_json(s, record->endpoint, record->generation), "destination", "Type", "L7");

	for (size_t i = 0; i < record->naddrs && i < sizeof(record->addrs) / sizeof(record->addrs[0]); i++)
		json_array_append_new(ips, addr_json(&record->addrs[i]));
	dns = json_pack("{s:o, s:o, s:I, s:I, s:[o]}", "query", text_json(record->name, record->name_len), "ips", ips,
			"ttl", (json_int_t)record->ttl, "rcode", (json_int_t)record->rcode, "qtypes",
			qtype ? json_string(qtype) : json_sprintf("TYPE%u", record->qtype));
	json_object_set_new(flow, "IP", ip_json(&record->local, &record->server));
	json_object_set_new(flow, "l4", l4_json(record->proto, ntohs(record->lport), 53));
	json_object_set_new(flow, "l7",
			    json_pack("{s:s, s:o, s:I}", "type", "RESPONSE", "dns", dns, "latency_ns",
				      (json_int_t)record->latency_us * 1000));
	set_dns_summary(flow, record);
	set_dns_policy(s, flow, record);
	return frame(flow, record->time);
}
