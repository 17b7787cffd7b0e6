/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flow log. While the agent runs it is asked; without one, the kernel's ring of events and the proxy's ring of DNS
 * decisions are read from the pins: looked at, or, when following, consumed, since nobody else does.
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/api.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "tools/bpfctl/client.h"
#include "tools/bpfctl/ctl.h"
#include "tools/bpfctl/events.h"
#include "tools/bpfctl/lines.h"
#include "tools/bpfctl/out.h"
#include "tools/bpfctl/records.h"

#define DEFAULT_LAST	  20
#define ANSWER_TIMEOUT_MS 5000
#define POLL_NSEC	  (100 * 1000000l)

enum { OBSERVE_LAST, OBSERVE_FOLLOW, OBSERVE_POD, OBSERVE_VERDICT };

struct observe {
	const struct ctl *ctl;
	struct line_filter filter;
	uint64_t last;
	bool follow;
};

static void show(const struct observe *o, const json_t *line)
{
	if (!line_matches(line, &o->filter))
		return;
	if (o->ctl->json)
		out_json_line(line);
	else
		line_print(stdout, line);
}

/* The last `o->last` lines of the list that the filter lets through. */
static void show_last(const struct observe *o, const json_t *list)
{
	size_t first = json_array_size(list);
	uint64_t matched = 0;

	while (first > 0 && matched < o->last) {
		first--;
		matched += line_matches(json_array_get(list, first), &o->filter);
	}
	for (; first < json_array_size(list); first++)
		show(o, json_array_get(list, first));
}

/* ---- from the agent ----------------------------------------------------------------------------------------------- */

static json_t *observe_request(const struct observe *o)
{
	bool filtered = o->filter.pod || o->filter.verdict;
	/* The agent does not filter: what is to be filtered is asked for whole. */
	json_int_t last = filtered && !o->follow ? 1 << 20 : (json_int_t)o->last;

	return json_pack("{s:s, s:I, s:b}", "method", API_METHOD_OBSERVE, "last", last, "follow", o->follow);
}

/* The closing line: {"ok": true, "result": {"lost": N}}. */
static enum ctl_exit end_of_answer(const json_t *line)
{
	int64_t lost = get_number(json_object_get(line, "result"), "lost");

	if (!get_flag(line, "ok")) {
		ctl_error("the agent answered: %s", get_text(line, "error"));
		return CTL_UNREACHABLE;
	}
	if (lost)
		ctl_error("%lld event(s) were lost before the agent could read them", (long long)lost);
	return CTL_OK;
}

static enum ctl_exit from_agent(const struct observe *o, struct client *client)
{
	_cleanup_json_ json_t *list = json_array();
	int r = client_send(client, observe_request(o));

	while (r == 0) {
		json_t *line = NULL;

		r = client_receive(client, o->follow ? -1 : ANSWER_TIMEOUT_MS, &line);
		if (r < 0)
			break;
		if (json_object_get(line, "ok")) {
			enum ctl_exit code = end_of_answer(line);

			json_decref(line);
			show_last(o, list);
			return code;
		}
		if (!o->follow) {
			json_array_append_new(list, line);
			continue;
		}
		show(o, line);
		fflush(stdout);
		json_decref(line);
	}
	show_last(o, list);
	ctl_error("the agent broke off: %s", r == -EPIPE ? "it has ended" : strerror(-r));
	return CTL_UNREACHABLE;
}

/* ---- from the pins ------------------------------------------------------------------------------------------------ */

struct source {
	struct records *r;
	json_t *list;
};

static int keep_event(const struct sluice_event *event, void *context)
{
	struct source *s = context;

	json_array_append_new(s->list, line_from_event(s->r, event));
	return 0;
}

static int keep_dns(const struct sluice_dns_record *record, void *context)
{
	struct source *s = context;

	json_array_append_new(s->list, line_from_dns(s->r, record));
	return 0;
}

static enum ctl_exit look_at_pins(const struct observe *o, struct records *r)
{
	_cleanup_json_ json_t *list = json_array();
	struct source s = { .r = r, .list = list };
	uint64_t next = 0, lost = 0;
	int error = events_peek(r->pins, keep_event, &s);

	if (error < 0) {
		ctl_error("cannot read the ring of events: %s", strerror(-error));
		return CTL_UNREACHABLE;
	}
	dns_log_read(r->pins, &next, &lost, keep_dns, &s);
	out_sort(list, "time", "time");
	show_last(o, list);
	return CTL_OK;
}

static enum ctl_exit follow_pins(const struct observe *o, struct records *r)
{
	__attribute__((cleanup(event_ring_freep))) struct event_ring *ring = NULL;
	struct timespec pause = { .tv_nsec = POLL_NSEC };
	uint64_t next = 0, lost = 0;
	struct observe batch = *o;
	int error = event_ring_open(o->ctl->pin_path, r->pins, &ring);

	if (error < 0) {
		ctl_error("cannot read the ring of events: %s", strerror(-error));
		return CTL_UNREACHABLE;
	}
	while (!pins_agent_alive(r->pins, clock_now())) {
		_cleanup_json_ json_t *list = json_array();
		struct source s = { .r = r, .list = list };

		r->now = clock_now();
		event_ring_consume(ring, keep_event, &s);
		dns_log_read(r->pins, &next, &lost, keep_dns, &s);
		out_sort(list, "time", "time");
		show_last(&batch, list);
		batch.last = UINT64_MAX; /* only the first batch is history */
		fflush(stdout);
		nanosleep(&pause, NULL);
	}
	return CTL_OK;
}

/* ---- the command -------------------------------------------------------------------------------------------------- */

static enum ctl_exit observe_once(const struct observe *o, bool *ret_again)
{
	__attribute__((cleanup(client_freep))) struct client *client = NULL;
	_cleanup_records_ struct records r = {};
	enum ctl_exit code;

	*ret_again = false;
	if (client_connect(o->ctl->socket, &client) == 0)
		return from_agent(o, client);
	if (records_open(o->ctl, &r) < 0)
		return CTL_UNREACHABLE;
	if (pins_agent_alive(r.pins, r.now)) {
		ctl_error("the agent runs but does not listen on %s", o->ctl->socket);
		return CTL_UNREACHABLE;
	}
	if (!o->follow)
		return look_at_pins(o, &r);
	code = follow_pins(o, &r);
	*ret_again = code == CTL_OK; /* an agent has come: it is the reader from now on */
	return code;
}

static enum ctl_exit run(const struct ctl *ctl, const struct ctl_args *args)
{
	struct observe o = { .ctl = ctl,
			     .filter.pod = args->value[OBSERVE_POD],
			     .follow = args->value[OBSERVE_FOLLOW] != NULL };
	const char *verdict = args->value[OBSERVE_VERDICT], *last = args->value[OBSERVE_LAST];
	enum ctl_exit code;
	bool again = true;

	o.last = o.follow ? 0 : DEFAULT_LAST;
	if (last && ctl_parse_number(last, 0, UINT32_MAX, &o.last) < 0)
		return ctl_usage("--last '%s' is no number from 0 to %u", last, UINT32_MAX);
	if (verdict) {
		o.filter.verdict = line_verdict(verdict);
		if (!o.filter.verdict)
			return ctl_usage("--verdict '%s' is none of dropped, forwarded, audit", verdict);
	}
	while ((code = observe_once(&o, &again)) == CTL_OK && again) {
		struct timespec pause = { .tv_sec = 1 }; /* the agent's heartbeat comes before its socket */

		o.last = 0;
		nanosleep(&pause, NULL);
	}
	return code;
}

static const struct ctl_opt opts[] = {
	[OBSERVE_LAST] = { 'n', "last", "N", "the last N flows (default 20; 0 with --follow)" },
	[OBSERVE_FOLLOW] = { 'f', "follow", NULL, "then those to come, until interrupted" },
	[OBSERVE_POD] = { 'p', "pod", "NAMESPACE/NAME", "only flows of this pod" },
	[OBSERVE_VERDICT] = { 'v', "verdict", "VERDICT", "only dropped, forwarded or audit" },
	{ 0 },
};

const struct ctl_command cmd_observe = {
	.path = "observe",
	.operands = "",
	.summary = "The flow log: who reached or failed to reach whom, and which rule said so",
	.detail = "-o json prints one object per line in the shape that `hubble observe --input-file` reads.",
	.opts = opts,
	.run = run,
};
