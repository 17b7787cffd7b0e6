/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bpfctl/tables.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "bpf/abi_names.h"
#include "tools/bpfctl/events.h"
#include "tools/bpfctl/out.h"

static int64_t used_sockets(struct pins *pins)
{
	int64_t used = 0;

	for (uint32_t i = 0; i < SLUICE_SOCK_MAX; i++) {
		uint64_t cookie;
		int r = pins_lookup(pins, PIN_DNS_SOCKETS, &i, &cookie);

		if (r < 0 && r != -ENOENT)
			return r;
		used += r == 0;
	}
	return used;
}

static int64_t table_used(struct pins *pins, enum pin pin)
{
	switch (pin_shape(pin)->kind) {
	case PIN_KIND_RING:
		return events_backlog(pins);
	case PIN_KIND_SOCKETS:
		return used_sockets(pins);
	case PIN_KIND_HASH:
	case PIN_KIND_TRIE:
	case PIN_KIND_SHARED:
	case PIN_KIND_ARRAY:
	case PIN_KIND_PERCPU:
		break;
	}
	return pins_used(pins, pin);
}

json_t *tables_json(struct pins *pins)
{
	json_t *list = json_array();

	for (enum pin pin = 0; list && pin < PIN_MAX; pin++) {
		uint32_t max = 0;
		int fd = pins_fd(pins, pin, &max);
		int64_t used = fd < 0 ? fd : table_used(pins, pin);
		json_t *o = json_pack("{s:s, s:s, s:o, s:o}", "name", pin_shape(pin)->name, "what",
				      pin_shape(pin)->what, "used", used < 0 ? json_null() : json_integer(used), "max",
				      fd < 0 ? json_null() : json_integer(max));

		if (fd < 0)
			json_object_set_new(o, "error",
					    json_string(fd == -EPROTO ? "of another version" : strerror(-fd)));
		json_array_append_new(list, o);
	}
	return list;
}

json_t *totals_json(const __u64 *totals)
{
	json_t *o = json_object();

	for (unsigned int i = SLUICE_TOTAL_FORWARDED; i < SLUICE_TOTAL_MAX; i++) {
		const char *name = total_name((enum sluice_total)i);

		if (strcmp(name, "unknown"))
			json_object_set_new(o, name, json_integer((json_int_t)totals[i]));
	}
	return o;
}

/* ---- the DNS proxy ------------------------------------------------------------------------------------------------ */

static json_t *dns_counts(const struct sluice_dns_stats *stats)
{
	json_t *o = json_object();

	for (unsigned int i = 0; i < SLUICE_DNS_STAT_MAX; i++) {
		const char *name = dns_stat_name((enum sluice_dns_stat)i);

		if (strcmp(name, "unknown"))
			json_object_set_new(o, name, json_integer((json_int_t)stats->counts[i]));
	}
	return o;
}

static json_t *dns_rcodes(const struct sluice_dns_stats *stats)
{
	json_t *o = json_object();
	char number[16];

	for (unsigned int i = 0; i < SLUICE_DNS_RCODES; i++) {
		const char *name = rcode_name((uint8_t)i);

		if (!stats->rcodes[i])
			continue;
		snprintf(number, sizeof(number), "RCODE%u", i);
		json_object_set_new(o, strcmp(name, "unknown") ? name : number,
				    json_integer((json_int_t)stats->rcodes[i]));
	}
	return o;
}

static json_t *dns_qtypes(const struct sluice_dns_stats *stats)
{
	json_t *o = json_object();
	char number[16];

	for (unsigned int i = 0; i < SLUICE_DNS_QTYPES; i++) {
		const char *name = i == 0 ? "other" : qtype_name((uint16_t)i);

		if (!stats->qtypes[i])
			continue;
		snprintf(number, sizeof(number), "TYPE%u", i);
		json_object_set_new(o, name ? name : number, json_integer((json_int_t)stats->qtypes[i]));
	}
	return o;
}

static json_t *dns_latency(const struct sluice_dns_stats *stats)
{
	static const unsigned int bounds[] = SLUICE_DNS_LATENCY_BOUNDS;
	json_t *buckets = json_array();
	json_int_t count = 0;

	for (size_t i = 0; i < SLUICE_DNS_LATENCIES; i++) {
		json_array_append_new(buckets, json_pack("{s:o, s:I}", "up_to",
							 i < ARRAY_SIZE(bounds) ? json_integer(bounds[i]) : json_null(),
							 "count", (json_int_t)stats->latency_us[i]));
		count += (json_int_t)stats->latency_us[i];
	}
	return json_pack("{s:o, s:I, s:I}", "buckets", buckets, "count", count, "sum",
			 (json_int_t)stats->latency_sum_us);
}

static json_t *dns_resolvers(const struct sluice_dns_stats *stats)
{
	json_t *list = json_array();

	for (size_t i = 0; i < SLUICE_DNS_RESOLVERS; i++) {
		const struct sluice_dns_resolver *r = &stats->resolvers[i];

		if (r->port)
			json_array_append_new(
				list, json_pack("{s:o*, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "address",
						out_addr(&r->addr), "port", (json_int_t)r->port, "sent",
						(json_int_t)r->sent, "answers", (json_int_t)r->answers, "errors",
						(json_int_t)r->errors, "timeouts", (json_int_t)r->timeouts, "failures",
						(json_int_t)r->failures, "down", r->down != 0));
	}
	return list;
}

json_t *dns_stats_json(const struct sluice_dns_stats *stats)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "counts", dns_counts(stats), "rcodes", dns_rcodes(stats),
			 "qtypes", dns_qtypes(stats), "latency_us", dns_latency(stats), "resolvers",
			 dns_resolvers(stats));
}

int64_t dns_latency_bound(const json_t *latency, unsigned int percent)
{
	int64_t count = get_number(latency, "count"), seen = 0;
	json_t *bucket;
	size_t i;

	json_array_foreach(json_object_get(latency, "buckets"), i, bucket)
	{
		seen += get_number(bucket, "count");
		if (count > 0 && seen * 100 >= count * percent)
			return json_is_integer(json_object_get(bucket, "up_to")) ? get_number(bucket, "up_to") : -1;
	}
	return -1;
}
