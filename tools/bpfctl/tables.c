/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bpfctl/tables.h"

#include <errno.h>
#include <string.h>

#include "bpf/abi_names.h"
#include "tools/bpfctl/events.h"

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

json_t *dns_counts_json(const struct sluice_dns_stats *stats)
{
	json_t *o = json_object();

	for (unsigned int i = 0; i < SLUICE_DNS_STAT_MAX; i++) {
		const char *name = dns_stat_name((enum sluice_dns_stat)i);

		if (strcmp(name, "unknown"))
			json_object_set_new(o, name, json_integer((json_int_t)stats->counts[i]));
	}
	return o;
}
