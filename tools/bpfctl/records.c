/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bpfctl/records.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "bpf/abi_names.h"
#include "tools/bpfctl/out.h"
#include "tools/bpfctl/tables.h"

#define I(n) ((json_int_t)(n))

/* Sets `value` (given away) under `key`; a NULL value or object is an earlier failure and left to the caller. */
static void set(json_t *object, const char *key, json_t *value)
{
	if (object && value)
		json_object_set_new(object, key, value);
	else
		json_decref(value);
}

static double seconds_between(uint64_t from, uint64_t to)
{
	double s = ((double)to - (double)from) / (double)NSEC_PER_SEC;

	/* Tenths are enough, and the kernel's coarse clock knows no better than its tick. */
	return (double)(int64_t)(s * 10) / 10;
}

static uint64_t policy_of(uint32_t hi, uint32_t lo)
{
	return (uint64_t)hi << 32 | lo;
}

static json_t *proto_json(uint8_t proto)
{
	const char *name = proto_name(proto);

	return name ? json_string(name) : json_sprintf("%u", proto);
}

int records_open(const struct ctl *ctl, struct records *ret)
{
	_cleanup_records_ struct records r = { .now = clock_now() };

	r.pins = pins_require(ctl->pin_path);
	if (!r.pins)
		return -ENOENT;
	if (images_new(ctl->run_dir, &r.images) < 0) {
		ctl_error("out of memory");
		return -ENOMEM;
	}
	if (!ctl->json && !pins_agent_alive(r.pins, r.now))
		fputs("agent: not running; enforcement continues from the pins\n", stderr);
	*ret = r;
	r = (struct records){};
	return 0;
}

void records_close(struct records *r)
{
	pins_freep(&r->pins);
	images_freep(&r->images);
}

/* ---- endpoints ---------------------------------------------------------------------------------------------------- */

static bool label_at(const struct records *r, uint32_t id, uint32_t generation, struct sluice_label *ret)
{
	if (pins_lookup(r->pins, PIN_LABELS, &id, ret) < 0 || ret->generation != generation)
		return false;
	ret->interface[sizeof(ret->interface) - 1] = '\0';
	ret->namespace_name[sizeof(ret->namespace_name) - 1] = '\0';
	ret->name[sizeof(ret->name) - 1] = '\0';
	ret->policy[sizeof(ret->policy) - 1] = '\0';
	return true;
}

/* The endpoint of that generation; 0, which none has, when it is gone. */
static uint32_t endpoint_born(const struct records *r, uint32_t generation)
{
	uint32_t count = 0;
	const struct sluice_endpoint *ep = pins_endpoints(r->pins, &count);

	for (uint32_t i = 0; ep && i < count; i++) {
		if (ep[i].generation == generation)
			return i;
	}
	return 0;
}

const char *record_pod(const struct records *r, uint32_t id, uint32_t generation, char *buf)
{
	struct sluice_label label;

	buf[0] = '\0';
	if (generation == 0 || !label_at(r, id, generation, &label) || !label.name[0])
		return buf;
	snprintf(buf, RECORD_POD_MAX, "%s%s%s", label.namespace_name, label.namespace_name[0] ? "/" : "", label.name);
	return buf;
}

static json_t *split_policies(const char *text)
{
	json_t *list = json_array();

	while (list && *text) {
		size_t len = strcspn(text, ",");

		json_array_append_new(list, out_text(text, len));
		text += len;
		text += strspn(text, ", ");
	}
	return list;
}

static json_t *addr_list(const struct sluice_addr *addrs, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < count; i++)
		json_array_append_new(list, out_addr(&addrs[i]));
	return list;
}

static void set_state(json_t *o, uint64_t state)
{
	set(o, "mode", json_string(mode_name(SLUICE_STATE_MODE(state))));
	set(o, "dns_proxy", json_boolean(state & SLUICE_STATE_NAMES));
	set(o, "policy_id", out_hex(SLUICE_STATE_POLICY(state)));
	set(o, "epoch", json_integer(SLUICE_STATE_EPOCH(state)));
}

json_t *record_endpoint(const struct records *r, uint32_t id)
{
	uint32_t count = 0;
	const struct sluice_endpoint *ep = pins_endpoints(r->pins, &count);
	struct sluice_label label = {};
	json_t *o;
	int attached;

	if (!ep || id >= count)
		return NULL;
	ep += id;
	label_at(r, id, ep->generation, &label);
	o = json_pack("{s:I, s:I, s:o*, s:o*, s:o*, s:I}", "id", I(id), "generation", I(ep->generation), "namespace",
		      out_textz(label.namespace_name, sizeof(label.namespace_name)), "name",
		      out_textz(label.name, sizeof(label.name)), "interface",
		      out_textz(label.interface, sizeof(label.interface)), "ifindex", I(ep->ifindex));
	if (ep->cgroup)
		set(o, "cgroup", json_integer(I(ep->cgroup)));
	set_state(o, __atomic_load_n(&ep->state, __ATOMIC_ACQUIRE));
	if (SLUICE_STATE_MODE(ep->state) == SLUICE_MODE_QUARANTINE)
		set(o, "reason", json_string(quarantine_text(label.quarantine)));
	set(o, "policies", split_policies(label.policy));
	set(o, "addresses",
	    addr_list(ep->addrs, ep->naddrs < SLUICE_ENDPOINT_ADDRS ? ep->naddrs : SLUICE_ENDPOINT_ADDRS));
	attached = pins_endpoint_attached(r->pins, ep);
	set(o, "attached", attached < 0 ? json_null() : json_boolean(attached));
	return o;
}

json_t *record_drops(const __u64 *drops, uint64_t *ret_sum)
{
	json_t *o = json_object();
	uint64_t sum = 0;

	for (unsigned int i = 0; i < 256; i++) {
		const char *name = reason_name((uint8_t)i);
		char number[16];

		if (!drops[i])
			continue;
		snprintf(number, sizeof(number), "REASON_%u", i);
		set(o, strcmp(name, "UNKNOWN") ? name : number, json_integer(I(drops[i])));
		sum += drops[i];
	}
	if (ret_sum)
		*ret_sum = sum;
	return o;
}

static void set_runtime(json_t *o, const struct sluice_runtime *rt)
{
	uint64_t dropped;

	set(o, "drops", record_drops(rt->drops, &dropped));
	set(o, "dropped", json_integer(I(dropped)));
	set(o, "flows", json_integer(rt->flows));
	set(o, "tombstones", json_integer(rt->tombstones));
	set(o, "dropped_bytes", json_integer(I(rt->dropped_bytes)));
	set(o, "audited", json_integer(I(rt->audited)));
	set(o, "dns_assigned", json_integer(I(rt->dns_assigned)));
	set(o, "events_suppressed", json_integer(I(rt->events_suppressed)));
	set(o, "rejected", json_integer(I(rt->rejected)));
	set(o, "rejects_suppressed", json_integer(I(rt->rejects_suppressed)));
	set(o, "closed_tx_packets", json_integer(I(rt->closed_tx_packets)));
	set(o, "closed_tx_bytes", json_integer(I(rt->closed_tx_bytes)));
	set(o, "closed_rx_packets", json_integer(I(rt->closed_rx_packets)));
	set(o, "closed_rx_bytes", json_integer(I(rt->closed_rx_bytes)));
}

json_t *record_endpoint_counters(const struct records *r, uint32_t id)
{
	uint32_t count = 0;
	const struct sluice_runtime *rt = pins_runtime(r->pins, &count);
	json_t *o = record_endpoint(r, id);

	if (o && rt && id < count)
		set_runtime(o, &rt[id]);
	return o;
}

static bool names_endpoint(const struct records *r, const char *text, uint32_t id, uint32_t generation)
{
	struct sluice_label label;
	char pod[RECORD_POD_MAX];

	if (!label_at(r, id, generation, &label))
		return false;
	return !strcmp(text, record_pod(r, id, generation, pod)) ||
	       (label.interface[0] && !strcmp(text, label.interface));
}

int record_find_endpoint(const struct records *r, const char *text, uint32_t *ret)
{
	uint32_t count = 0, newest = 0;
	const struct sluice_endpoint *ep = pins_endpoints(r->pins, &count);
	uint64_t number;

	if (!ep)
		return -ENOENT;
	if (ctl_parse_number(text, 0, count - 1, &number) == 0 && ep[number].generation) {
		*ret = (uint32_t)number;
		return 0;
	}
	for (uint32_t i = 0; i < count; i++) {
		if (ep[i].generation > newest && names_endpoint(r, text, i, ep[i].generation)) {
			newest = ep[i].generation;
			*ret = i;
		}
	}
	return newest ? 0 : -ENOENT;
}

/* ---- rules, flows, leases ----------------------------------------------------------------------------------------- */

json_t *record_source(const struct image *img, uint32_t rule)
{
	struct image_source source;

	if (!image_rule_source(img, rule, &source))
		return json_null();
	return json_pack("{s:o*, s:o*, s:o*, s:I, s:I, s:o*}", "policy", out_textz(source.policy, SIZE_MAX), "kind",
			 out_textz(source.kind, SIZE_MAX), "file", out_textz(source.file, SIZE_MAX), "line",
			 I(source.line), "column", I(source.column), "text", out_textz(source.text, SIZE_MAX));
}

json_t *record_rule(const struct records *r, uint64_t policy, uint32_t rule)
{
	const struct image *img;

	if (rule == 0 || !r->images || images_get(r->images, policy, &img) < 0)
		return json_null();
	return record_source(img, rule);
}

static json_t *name_json(const struct records *r, uint64_t id)
{
	char name[256];

	return pins_name(r->pins, id, name) ? out_textz(name, sizeof(name)) : json_string("");
}

static json_t *flow_flags(uint8_t flags)
{
	static const struct {
		uint8_t bit;
		const char *name;
	} names[] = {
		{ SLUICE_FLOW_LEASE, "lease" },
		{ SLUICE_FLOW_SEEN_REPLY, "replied" },
		{ SLUICE_FLOW_FIN_LOCAL, "fin-local" },
		{ SLUICE_FLOW_FIN_REMOTE, "fin-remote" },
		{ SLUICE_FLOW_RST, "rst" },
		{ SLUICE_FLOW_AUDIT, "audit" },
	};
	json_t *list = json_array();

	for (size_t i = 0; list && i < ARRAY_SIZE(names); i++) {
		if (flags & names[i].bit)
			json_array_append_new(list, json_string(names[i].name));
	}
	return list;
}

static json_t *flow_key(const struct records *r, const struct sluice_flow_key *key)
{
	char pod[RECORD_POD_MAX];

	record_pod(r, key->endpoint, key->generation, pod);
	return json_pack("{s:I, s:I, s:o*, s:o*, s:I, s:o*, s:I, s:o*}", "endpoint", I(key->endpoint), "generation",
			 I(key->generation), "pod", out_textz(pod, sizeof(pod)), "local", out_addr(&key->local),
			 "local_port", I(ntohs(key->lport)), "remote", out_addr(&key->remote), "remote_port",
			 I(ntohs(key->rport)), "protocol", proto_json(key->proto));
}

json_t *record_flow(const struct records *r, const struct sluice_flow *flow)
{
	uint32_t count = 0;
	const struct sluice_endpoint *ep = pins_endpoints(r->pins, &count);
	bool current = ep && flow->key.endpoint < count && ep[flow->key.endpoint].generation == flow->key.generation &&
		       SLUICE_STATE_JUDGED(ep[flow->key.endpoint].state) == flow->judged;
	json_t *o = flow_key(r, &flow->key);

	set(o, "origin", json_string(flow_origin_name(flow->origin)));
	set(o, "name", name_json(r, flow->name));
	set(o, "policy_id", out_hex(SLUICE_STATE_POLICY(flow->judged)));
	set(o, "current", json_boolean(current));
	set(o, "rule", json_integer(flow->rule));
	set(o, "rule_source", record_rule(r, SLUICE_STATE_POLICY(flow->judged), flow->rule));
	set(o, "flags", flow_flags(flow->flags));
	set(o, "age_seconds", json_real(seconds_between(flow->opened, r->now)));
	set(o, "idle_seconds", json_real(seconds_between(flow->last_seen, r->now)));
	set(o, "tx_packets", json_integer(I(flow->tx_packets)));
	set(o, "tx_bytes", json_integer(I(flow->tx_bytes)));
	set(o, "rx_packets", json_integer(I(flow->rx_packets)));
	set(o, "rx_bytes", json_integer(I(flow->rx_bytes)));
	return o;
}

json_t *record_lease_slot(const struct records *r, const struct sluice_lease *lease,
			  const struct sluice_lease_slot *slot)
{
	char pod[RECORD_POD_MAX];
	json_t *o = json_pack("{s:o*, s:o*, s:o*, s:I}", "name", name_json(r, slot->name), "address",
			      out_addr(&lease->key.addr), "policy_id", out_hex(lease->key.policy), "set",
			      I(slot->set & ~SLUICE_SET_NAME));

	set(o, "expires_in_seconds", json_real(seconds_between(r->now, slot->expires)));
	set(o, "expired", json_boolean(slot->expires <= r->now));
	set(o, "generation", json_integer(slot->generation));
	record_pod(r, endpoint_born(r, slot->generation), slot->generation, pod);
	set(o, "asked_by", out_textz(pod, sizeof(pod)));
	return o;
}

/* ---- raw elements ------------------------------------------------------------------------------------------------- */

static json_t *settings_json(const struct sluice_settings *s)
{
	return json_pack("{s:I, s:I, s:b, s:b, s:o*, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:I, s:I}",
			 "abi", I(s->abi), "flags", I(s->flags), "audit", (s->flags & SLUICE_SETTING_AUDIT) != 0,
			 "log_allowed", (s->flags & SLUICE_SETTING_LOG_ALLOWED) != 0, "next_policy",
			 out_hex(s->next_policy), "proxy_generation", I(s->proxy_generation), "flow_quota",
			 I(s->flow_quota), "tombstone_quota", I(s->tombstone_quota), "dns_rate", I(s->dns_rate),
			 "dns_burst", I(s->dns_burst), "event_rate", I(s->event_rate), "event_burst", I(s->event_burst),
			 "next_generation", I(s->next_generation), "agent_heartbeat", I(s->agent_heartbeat), "reject",
			 (s->flags & SLUICE_SETTING_REJECT) != 0, "reject_rate", I(s->reject_rate), "reject_burst",
			 I(s->reject_burst)); /* name_key stays secret: it guards the name ids */
}

static json_t *first4_json(const struct sluice_dest_page *page, size_t block, size_t slot, uint32_t *ret_dest)
{
	const union sluice_dest_block4 *b = &page->v4.blocks[block];
	struct sluice_addr addr = { .b = { [10] = 0xff, [11] = 0xff } };

	addr.w[3] = htonl(page->kind == SLUICE_DEST_LEAF ? b->leaf.first[slot] : b->wide[slot]);
	*ret_dest = page->kind == SLUICE_DEST_LEAF ? b->leaf.dests[slot] : 0;
	return out_addr(&addr);
}

static json_t *first6_json(const struct sluice_dest_page *page, size_t block, size_t slot, uint32_t *ret_dest)
{
	const union sluice_dest_block6 *b = &page->v6.blocks[block];
	struct sluice_addr addr;

	for (size_t w = 0; w < ARRAY_SIZE(addr.w); w++)
		addr.w[w] = htonl(page->kind == SLUICE_DEST_LEAF ? b->leaf.first[slot][w] : b->wide[slot][w]);
	*ret_dest = page->kind == SLUICE_DEST_LEAF ? b->leaf.dests[slot] : 0;
	return out_addr(&addr);
}

/* Of a block. */
static size_t page_slots(const struct sluice_dest_page *page, bool ipv4)
{
	switch ((enum sluice_dest_kind)page->kind) {
	case SLUICE_DEST_LEAF:
		return ipv4 ? SLUICE_DEST4_SLOTS : SLUICE_DEST6_SLOTS;
	case SLUICE_DEST_NARROW:
		return 1;
	case SLUICE_DEST_WIDE:
		return ipv4 ? SLUICE_DEST4_WIDE_SLOTS : SLUICE_DEST6_WIDE_SLOTS;
	}
	return 1;
}

static json_t *page_json(const struct sluice_dest_page *page)
{
	bool ipv4 = SLUICE_DEST_KEY_PAGE(page->key) < SLUICE_DEST_ROOT6;
	size_t blocks = ipv4 ? SLUICE_DEST4_BLOCKS : SLUICE_DEST6_BLOCKS;
	size_t slots = page_slots(page, ipv4);
	json_t *intervals = json_array();

	for (size_t i = 0; intervals && i < page->count && i < blocks * slots; i++) {
		uint32_t dest;
		json_t *one = json_pack("{s:o*}", "first",
					ipv4 ? first4_json(page, i / slots, i % slots, &dest)
					     : first6_json(page, i / slots, i % slots, &dest));

		if (page->kind != SLUICE_DEST_LEAF) {
			set(one, "page", json_integer(page->child + i));
		} else {
			set(one, "set", json_integer(SLUICE_DEST_SET(dest)));
			set(one, "cluster_set", json_integer(SLUICE_DEST_CLUSTER_SET(dest)));
		}
		json_array_append_new(intervals, one);
	}
	return json_pack("{s:o*, s:I, s:o*}", "policy_id", out_hex(SLUICE_DEST_KEY_POLICY(page->key)), "page",
			 I(SLUICE_DEST_KEY_PAGE(page->key)), "intervals", intervals);
}

static json_t *rule_json(const struct sluice_rule_key *key, const struct sluice_rule *rule)
{
	uint32_t bits = key->prefixlen - SLUICE_RULE_FIXED_BITS;
	uint32_t first = ntohs(key->port), last = first | (0xffffu >> bits);

	return json_pack("{s:o*, s:I, s:b, s:o*, s:I, s:I, s:s, s:I, s:I}", "policy_id",
			 out_hex(policy_of(key->policy_hi, key->policy_lo)), "set", I(key->set & ~SLUICE_SET_NAME),
			 "name_set", (key->set & SLUICE_SET_NAME) != 0, "protocol", proto_json(key->proto),
			 "first_port", I(first), "last_port", I(last), "verdict",
			 rule->verdict == SLUICE_ALLOW ? "allow" : "deny", "precedence", I(rule->precedence), "rule",
			 I(rule->rule));
}

static json_t *lease_json(const struct records *r, const struct sluice_lease *lease)
{
	json_t *slots = json_array();

	for (size_t i = 0; slots && i < SLUICE_LEASE_SLOTS; i++) {
		if (lease->slots[i].set)
			json_array_append_new(slots, record_lease_slot(r, lease, &lease->slots[i]));
	}
	return json_pack("{s:o*, s:o*, s:o*}", "policy_id", out_hex(lease->key.policy), "address",
			 out_addr(&lease->key.addr), "slots", slots);
}

static json_t *line_json(const struct records *r, uint32_t index, const struct sluice_lease_line *line)
{
	const struct sluice_lease lease = { .key = line->key };
	json_t *o = record_lease_slot(r, &lease, &line->slot);

	set(o, "index", json_integer(index));
	return o;
}

static json_t *frag_json(const struct sluice_frag *frag)
{
	const struct sluice_frag_key *key = &frag->key;

	return json_pack("{s:I, s:I, s:o*, s:o*, s:o*, s:I, s:o*}", "endpoint", I(key->endpoint), "generation",
			 I(key->generation), "local", out_addr(&key->local), "remote", out_addr(&key->remote),
			 "protocol", proto_json(key->proto), "id", I(key->id), "judged", out_hex(frag->judged));
}

static json_t *label_json(const struct sluice_label *label)
{
	return json_pack("{s:I, s:o*, s:o*, s:o*, s:o*}", "generation", I(label->generation), "interface",
			 out_textz(label->interface, sizeof(label->interface)), "namespace",
			 out_textz(label->namespace_name, sizeof(label->namespace_name)), "name",
			 out_textz(label->name, sizeof(label->name)), "policies",
			 out_textz(label->policy, sizeof(label->policy)));
}

static json_t *dns_record_json(const struct records *r, const struct sluice_dns_record *rec)
{
	const char *qtype = qtype_name(rec->qtype);
	char pod[RECORD_POD_MAX];
	json_t *o = json_pack(
		"{s:I, s:I, s:o*, s:o*, s:I, s:o*, s:o*, s:o*}", "seq", I(rec->seq), "endpoint", I(rec->endpoint),
		"pod", out_textz(record_pod(r, rec->endpoint, rec->generation, pod), sizeof(pod)), "local",
		out_addr(&rec->local), "local_port", I(ntohs(rec->lport)), "server", out_addr(&rec->server), "upstream",
		out_addr(&rec->upstream), "name", out_text(rec->name, rec->name_len));

	set(o, "type", qtype ? json_string(qtype) : json_sprintf("TYPE%u", rec->qtype));
	set(o, "protocol", proto_json(rec->proto));
	set(o, "verdict", json_string(dns_verdict_name(rec->verdict)));
	set(o, "rcode", json_string(rcode_name(rec->rcode)));
	set(o, "ttl", json_integer(rec->ttl));
	set(o, "left_out", json_integer(I(rec->left_out)));
	set(o, "latency_us", json_integer(rec->latency_us));
	set(o, "age_seconds", json_real(seconds_between(rec->time, r->now)));
	set(o, "addresses", addr_list(rec->addrs, rec->naddrs < 8 ? rec->naddrs : 8));
	return o;
}

static json_t *shared_element(const struct records *r, enum pin pin, uint32_t index, const void *value)
{
	if (pin == PIN_SETTINGS)
		return settings_json(value);
	if (pin == PIN_ENDPOINTS)
		return record_endpoint(r, index);
	if (pin == PIN_DNS_STATS)
		return dns_stats_json(value);
	if (pin == PIN_LEASE_USE)
		return json_pack("{s:I, s:o*}", "index", I(index), "seconds_ago",
				 json_real(seconds_between(*(const uint64_t *)value, r->now)));
	if (pin == PIN_CLUSTER_QUIET)
		return json_pack("{s:I, s:o*}", "index", I(index), "groups", out_hex(*(const uint64_t *)value));
	if (pin == PIN_DNS_LOG && index == 0) {
		const struct sluice_dns_log_head *head = value;

		return json_pack("{s:I, s:I}", "next", I(head->next), "suppressed", I(head->suppressed));
	}
	if (pin == PIN_DNS_LOG)
		return dns_record_json(r, value);
	if (pin == PIN_RUNTIME) {
		json_t *o = json_pack("{s:I}", "endpoint", I(index));

		set_runtime(o, value);
		return o;
	}
	return NULL;
}

/* One case per map; the totals and sockets are special kinds that `map dump` reads by itself. */
json_t *record_element(const struct records *r, enum pin pin, const void *key, const void *value)
{
	const struct sluice_if *entry = value;
	const struct sluice_cluster *member = value;
	const struct sluice_proxy_peer *peer = key;

	switch (pin) {
	case PIN_IFINDEXES:
		return json_pack("{s:I, s:I, s:I}", "ifindex", I(*(const uint32_t *)key), "endpoint",
				 I(entry->endpoint), "generation", I(entry->generation));
	case PIN_LABELS:
		return label_json(value);
	case PIN_DESTS:
		return page_json(value);
	case PIN_RULES:
		return rule_json(key, value);
	case PIN_LEASES:
		return lease_json(r, value);
	case PIN_LEASE_LINES:
		return line_json(r, *(const uint32_t *)key, value);
	case PIN_NAMES:
		return json_pack(
			"{s:o*, s:o*}", "id", out_hex(*(const uint64_t *)key), "name",
			out_text(((const struct sluice_name *)value)->text, ((const struct sluice_name *)value)->len));
	case PIN_CLUSTER:
		return json_pack("{s:o*, s:s, s:b}", "address", out_addr(key), "kind", cluster_kind_name(member->kind),
				 "local", member->local != 0);
	case PIN_PROXY_PEERS:
		return json_pack("{s:o*, s:I}", "address", out_addr(&peer->addr), "port", I(peer->port));
	case PIN_FLOWS:
		return record_flow(r, value);
	case PIN_FRAGS:
		return frag_json(value);
	case PIN_SETTINGS:
	case PIN_ENDPOINTS:
	case PIN_RUNTIME:
	case PIN_LEASE_USE:
	case PIN_CLUSTER_QUIET:
	case PIN_DNS_LOG:
	case PIN_DNS_STATS:
		return shared_element(r, pin, *(const uint32_t *)key, value);
	case PIN_EVENTS:
	case PIN_TOTALS:
	case PIN_DNS_SOCKETS:
	case PIN_MAX:
		break;
	}
	return NULL;
}
