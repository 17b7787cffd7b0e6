/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bpfctl/run_report.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/api.h"
#include "base/cleanup.h"
#include "base/strbuf.h"
#include "bpf/abi_names.h"
#include "policy/array.h"
#include "tools/bpfctl/client.h"
#include "tools/bpfctl/out.h"
#include "tools/bpfctl/pins.h"

#define ANSWER_TIMEOUT_MS 5000
#define SHOWN		  50

/* Equal lines are one, counted. */
struct entry {
	char *text;
	unsigned long count;
};

struct report {
	struct entry *entries;
	size_t count;
	size_t audited;
};

static void report_clear(struct report *r)
{
	for (size_t i = 0; i < r->count; i++)
		free(r->entries[i].text);
	free(r->entries);
}

static void put_destination(struct strbuf *b, const json_t *flow)
{
	const json_t *ip = json_object_get(flow, "IP"), *l4 = json_object_get(flow, "l4"), *transport;
	const char *name = json_string_value(json_array_get(json_object_get(flow, "destination_names"), 0));
	const char *address = get_text(ip, "destination"), *protocol;
	bool v6 = strchr(address, ':') != NULL;

	strbuf_addf(b, v6 ? "[%s]" : "%s", address);
	json_object_foreach((json_t *)l4, protocol, transport)
	{
		if (json_object_get(transport, "destination_port"))
			strbuf_addf(b, ":%lld", (long long)get_number(transport, "destination_port"));
		strbuf_addf(b, " %s", protocol);
	}
	if (name)
		strbuf_addf(b, " (%s)", name);
}

static void put_rule(struct strbuf *b, const json_t *flow)
{
	const json_t *policy = json_array_get(json_object_get(flow, "egress_denied_by"), 0);
	const char *why = get_text(flow, "Summary");

	if (!why[0])
		why = get_text(flow, "drop_reason_desc");
	if (why[0])
		strbuf_addf(b, ": %s", why);
	if (policy)
		strbuf_addf(b, ", by %s %s%s%s", get_text(policy, "kind"), get_text(policy, "namespace"),
			    get_text(policy, "namespace")[0] ? "/" : "", get_text(policy, "name"));
}

static void add_line(struct report *r, const json_t *line)
{
	const json_t *flow = json_object_get(line, "flow");
	const json_t *dns = json_object_get(json_object_get(flow, "l7"), "dns");
	bool audit = strcmp(get_text(flow, "verdict"), "AUDIT") == 0;
	CLEANUP(strbuf_clear) struct strbuf b = {};
	struct entry *e;

	if (!audit && strcmp(get_text(flow, "verdict"), "DROPPED") != 0)
		return;
	r->audited += audit;
	if (dns)
		strbuf_addf(&b, "name %s", get_text(dns, "query"));
	else
		put_destination(&b, flow);
	put_rule(&b, flow);
	for (size_t i = 0; i < r->count; i++) {
		if (b.data && strcmp(r->entries[i].text, b.data) == 0) {
			r->entries[i].count++;
			return;
		}
	}
	e = array_push(&r->entries, &r->count, sizeof(*e));
	if (e)
		*e = (struct entry){ strbuf_take(&b), 1 };
	if (e && !e->text)
		r->count--;
}

/* The agent collects the kernel's and the proxy's rings every tenth of a second; this comes after the last. */
static int ask(const struct ctl *ctl, struct report *r, int64_t *ret_lost)
{
	__attribute__((cleanup(client_freep))) struct client *client = NULL;
	int error = client_connect(ctl->socket, &client);

	if (error == 0)
		error = client_send(client, json_pack("{s:s, s:I, s:b}", "method", API_METHOD_OBSERVE, "last",
						      (json_int_t)1 << 20, "follow", 0));
	while (error == 0) {
		_cleanup_json_ json_t *line = NULL;

		error = client_receive(client, ANSWER_TIMEOUT_MS, &line);
		if (error == 0 && json_object_get(line, "ok")) {
			*ret_lost = get_number(json_object_get(line, "result"), "lost");
			return 0;
		}
		if (error == 0)
			add_line(r, line);
	}
	return error;
}

/* Exact, whatever events left out. */
static uint64_t count_drops(const struct ctl *ctl)
{
	__attribute__((cleanup(pins_freep))) struct pins *pins = NULL;
	uint64_t totals[SLUICE_TOTAL_MAX] = {}, sum = 0;

	if (pins_open(ctl->pin_path, &pins) < 0 || pins_totals(pins, (__u64 *)totals) < 0)
		return 0;
	for (int i = 0; i < 256; i++)
		sum += totals[SLUICE_TOTAL_DROPS + i];
	return sum;
}

static int by_count(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	return x->count != y->count ? (x->count < y->count ? 1 : -1) : strcmp(x->text, y->text);
}

static void print_json(const struct report *r, uint64_t drops)
{
	_cleanup_json_ json_t *list = json_array();

	for (size_t i = 0; i < r->count; i++)
		json_array_append_new(list, json_pack("{s:I, s:s}", "count", (json_int_t)r->entries[i].count, "what",
						      r->entries[i].text));
	json_dumpf(json_pack("{s:O, s:I, s:b}", "denied", list, "packets", (json_int_t)drops, "audit", r->audited > 0),
		   stderr, JSON_COMPACT);
	fputc('\n', stderr);
}

static void print_text(const struct report *r, uint64_t drops, int64_t lost)
{
	fprintf(stderr, "bpfctl run: %s, %llu packet(s) and connection(s) in all:\n",
		r->audited ? "the policy would have denied (audit)" : "denied", (unsigned long long)drops);
	for (size_t i = 0; i < r->count && i < SHOWN; i++)
		fprintf(stderr, "  %5lu x %s\n", r->entries[i].count, r->entries[i].text);
	if (r->count > SHOWN)
		fprintf(stderr, "  and %zu more\n", r->count - SHOWN);
	if (lost)
		fprintf(stderr, "  %lld event(s) were lost before they were read\n", (long long)lost);
}

void run_report(const struct ctl *ctl)
{
	CLEANUP(report_clear) struct report r = {};
	int64_t lost = 0;
	uint64_t drops = count_drops(ctl);
	int error = ask(ctl, &r, &lost);

	if (error < 0)
		ctl_error("what was denied is not known: the run's agent: %s", strerror(-error));
	if (r.count)
		qsort(r.entries, r.count, sizeof(*r.entries), by_count);
	if (ctl->json)
		print_json(&r, drops);
	else if (r.count || drops)
		print_text(&r, drops, lost);
}
