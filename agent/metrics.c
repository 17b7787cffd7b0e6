/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/metrics.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "bpf/abi_names.h"

#define LABELS_MAX   512
#define HEARTBEAT_NS (5 * NSEC_PER_SEC)

void metrics_head(struct strbuf *out, const char *name, const char *type, const char *help)
{
	strbuf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void metrics_value(struct strbuf *out, const char *name, const char *labels, uint64_t value)
{
	strbuf_addf(out, *labels ? "%s{%s} %llu\n" : "%s%s %llu\n", name, labels, (unsigned long long)value);
}

char *metrics_escape(const char *text, char *buf, size_t size)
{
	size_t len = 0;

	for (; *text && len + 3 < size; text++) {
		if (*text == '\\' || *text == '"' || *text == '\n')
			buf[len++] = '\\';
		buf[len++] = *text;
		if (*text == '\n')
			buf[len - 1] = 'n';
	}
	buf[len] = '\0';
	return buf;
}

static void single(struct strbuf *out, const char *name, const char *type, const char *help, uint64_t value)
{
	metrics_head(out, name, type, help);
	metrics_value(out, name, "", value);
}

static void labelled(struct strbuf *out, const char *name, const char *label, const char *value, uint64_t count)
{
	char labels[LABELS_MAX];

	snprintf(labels, sizeof(labels), "%s=\"%s\"", label, value);
	metrics_value(out, name, labels, count);
}

/* ---- the kernel's totals ----------------------------------------------------------------------------------------- */

static void read_totals(const struct kernel *k, uint64_t totals[SLUICE_TOTAL_MAX])
{
	int cpus = libbpf_num_possible_cpus();
	_cleanup_free_ uint64_t *values = cpus > 0 ? calloc((size_t)cpus, sizeof(*values)) : NULL;

	memset(totals, 0, SLUICE_TOTAL_MAX * sizeof(*totals));
	for (uint32_t i = 0; values && i < SLUICE_TOTAL_MAX; i++) {
		if (bpf_map_lookup_elem(k->totals, &i, values) < 0)
			continue;
		for (int cpu = 0; cpu < cpus; cpu++)
			totals[i] += values[cpu];
	}
}

static void write_totals(const struct status *s, struct strbuf *out)
{
	uint64_t totals[SLUICE_TOTAL_MAX];
	char name[96];

	read_totals(s->kernel, totals);
	metrics_head(out, "sluice_drops_total", "counter", "Packets of endpoints that were dropped, by reason.");
	for (unsigned int i = 0; i < SLUICE_TOTAL_FORWARDED; i++) {
		if (totals[i])
			labelled(out, "sluice_drops_total", "reason", reason_name((uint8_t)i), totals[i]);
	}
	for (unsigned int i = SLUICE_TOTAL_FORWARDED; i < SLUICE_TOTAL_MAX; i++) {
		const char *word = total_name((enum sluice_total)i);

		if (!strcmp(word, "unknown"))
			continue;
		snprintf(name, sizeof(name), "sluice_%s_total", word);
		single(out, name, "counter", "Counted by the kernel programs; see bpfctl(8), status.", totals[i]);
	}
}

/* ---- endpoints and policies -------------------------------------------------------------------------------------- */

static void write_modes(const struct status *s, struct strbuf *out)
{
	uint64_t modes[4] = {};

	for (size_t i = 0; i < endpoints_count(s->endpoints); i++) {
		const struct endpoint *ep = endpoints_at(s->endpoints, i);

		if (ep->id)
			modes[SLUICE_STATE_MODE(s->kernel->endpoints[ep->id].state) & 3]++;
	}
	metrics_head(out, "sluice_endpoints", "gauge", "Endpoints of this node, by the state they are in.");
	for (unsigned int i = 0; i < ARRAY_SIZE(modes); i++)
		labelled(out, "sluice_endpoints", "state", mode_name((enum sluice_mode)i), modes[i]);
}

static uint64_t drops_of(const struct sluice_runtime *runtime)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < ARRAY_SIZE(runtime->drops); i++)
		sum += __atomic_load_n(&runtime->drops[i], __ATOMIC_RELAXED);
	return sum;
}

static void write_endpoint_counter(const struct status *s, struct strbuf *out, const char *name, const char *help,
				   uint64_t (*read)(const struct sluice_runtime *runtime))
{
	metrics_head(out, name, "counter", help);
	for (size_t i = 0; i < endpoints_count(s->endpoints); i++) {
		const struct endpoint *ep = endpoints_at(s->endpoints, i);
		char labels[LABELS_MAX], ns[LABELS_MAX / 3], pod[LABELS_MAX / 3];

		if (!ep->id)
			continue;
		snprintf(labels, sizeof(labels), "namespace=\"%s\",pod=\"%s\"",
			 metrics_escape(ep->wanted.namespace_name, ns, sizeof(ns)),
			 metrics_escape(ep->wanted.name, pod, sizeof(pod)));
		metrics_value(out, name, labels, read(&s->kernel->runtime[ep->id]));
	}
}

static uint64_t audited_of(const struct sluice_runtime *runtime)
{
	return __atomic_load_n(&runtime->audited, __ATOMIC_RELAXED);
}

static uint64_t dns_of(const struct sluice_runtime *runtime)
{
	return __atomic_load_n(&runtime->dns_assigned, __ATOMIC_RELAXED);
}

static void write_endpoints(const struct status *s, struct strbuf *out)
{
	write_modes(s, out);
	write_endpoint_counter(s, out, "sluice_endpoint_drops_total", "Packets of the endpoint that were dropped.",
			       drops_of);
	write_endpoint_counter(s, out, "sluice_endpoint_audited_total", "Packets that enforcement would have dropped.",
			       audited_of);
	write_endpoint_counter(s, out, "sluice_endpoint_dns_packets_total", "Packets handed to the DNS proxy.", dns_of);
}

static void write_policies(const struct status *s, struct strbuf *out)
{
	struct observe_losses lost;

	observe_losses(s->observe, &lost);
	single(out, "sluice_policies", "gauge", "Policies in force.", store_policy_count(s->store));
	single(out, "sluice_policies_refused", "gauge", "Policies whose present text is refused.",
	       store_refused_count(s->store));
	single(out, "sluice_policy_images", "gauge", "Compiled policies: what endpoints share counts once.",
	       publisher_count(s->publisher));
	single(out, "sluice_policy_publish_failures_total", "counter", "Policies that found a table full or no file.",
	       publisher_failures(s->publisher));
	metrics_head(out, "sluice_log_lost_total", "counter", "Lines that the flow log lost, by where.");
	labelled(out, "sluice_log_lost_total", "where", "events", lost.events);
	labelled(out, "sluice_log_lost_total", "where", "dns_records", lost.dns_records);
	labelled(out, "sluice_log_lost_total", "where", "file_lines", lost.file_lines);
}

/* ---- the DNS proxy ----------------------------------------------------------------------------------------------- */

static void write_dns_counts(const struct sluice_dns_stats *d, struct strbuf *out)
{
	char name[96], number[16];

	for (unsigned int i = 0; i < SLUICE_DNS_STAT_MAX; i++) {
		const char *word = dns_stat_name((enum sluice_dns_stat)i);

		if (!strcmp(word, "unknown"))
			continue;
		snprintf(name, sizeof(name), "sluice_dns_%s_total", word);
		single(out, name, "counter", "Counted by the DNS proxy; see bpfctl(8), status.", d->counts[i]);
	}
	metrics_head(out, "sluice_dns_responses_total", "counter", "Answers to endpoints, by rcode.");
	for (unsigned int i = 0; i < SLUICE_DNS_RCODES; i++) {
		const char *word = rcode_name((uint8_t)i);

		snprintf(number, sizeof(number), "RCODE%u", i);
		if (d->rcodes[i])
			labelled(out, "sluice_dns_responses_total", "rcode", strcmp(word, "unknown") ? word : number,
				 d->rcodes[i]);
	}
}

static void write_dns_latency(const struct sluice_dns_stats *d, struct strbuf *out)
{
	static const unsigned int bounds[] = SLUICE_DNS_LATENCY_BOUNDS;
	static const char name[] = "sluice_dns_upstream_latency_seconds";
	uint64_t sum = 0;

	metrics_head(out, name, "histogram", "From a query to its answer, where a resolver was asked.");
	for (size_t i = 0; i < SLUICE_DNS_LATENCIES; i++) {
		sum += d->latency_us[i];
		if (i < ARRAY_SIZE(bounds))
			strbuf_addf(out, "%s_bucket{le=\"%g\"} %llu\n", name, bounds[i] / 1e6, (unsigned long long)sum);
	}
	strbuf_addf(out, "%s_bucket{le=\"+Inf\"} %llu\n%s_sum %.6f\n%s_count %llu\n", name, (unsigned long long)sum,
		    name, (double)d->latency_sum_us / 1e6, name, (unsigned long long)sum);
}

static uint64_t resolver_count(const struct sluice_dns_resolver *r, unsigned int which)
{
	const uint64_t counts[] = { r->sent, r->answers, r->errors, r->timeouts, r->failures, r->down == 0 };

	return counts[which];
}

static void write_resolvers(const struct sluice_dns_stats *d, struct strbuf *out)
{
	static const struct {
		const char *name;
		const char *type;
		const char *help;
	} metrics[] = {
		{ "sluice_dns_resolver_queries_total", "counter", "Queries sent to the resolver." },
		{ "sluice_dns_resolver_answers_total", "counter", "Answers of it that matched one." },
		{ "sluice_dns_resolver_errors_total", "counter", "Of those, that said nothing of the name." },
		{ "sluice_dns_resolver_timeouts_total", "counter", "Queries it did not answer in time." },
		{ "sluice_dns_resolver_failures_total", "counter", "Queries that could not be sent to it." },
		{ "sluice_dns_resolver_up", "gauge", "0: others are preferred until it answers again." },
	};

	for (unsigned int m = 0; m < ARRAY_SIZE(metrics); m++) {
		metrics_head(out, metrics[m].name, metrics[m].type, metrics[m].help);
		for (size_t i = 0; i < SLUICE_DNS_RESOLVERS; i++) {
			char address[ADDR_TEXT_MAX], labels[LABELS_MAX];

			if (!d->resolvers[i].port)
				continue;
			snprintf(labels, sizeof(labels), "address=\"%s\",port=\"%llu\"",
				 addr_format(&d->resolvers[i].addr, address), (unsigned long long)d->resolvers[i].port);
			metrics_value(out, metrics[m].name, labels, resolver_count(&d->resolvers[i], m));
		}
	}
}

static void write_dns(const struct status *s, struct strbuf *out)
{
	const struct sluice_dns_stats *d = s->kernel->dns_stats;
	uint64_t now = clock_now(), beat = __atomic_load_n(&d->heartbeat, __ATOMIC_RELAXED);

	single(out, "sluice_dns_proxy_up", "gauge", "1: the DNS proxy runs.", beat && now - beat < HEARTBEAT_NS);
	write_dns_counts(d, out);
	write_dns_latency(d, out);
	write_resolvers(d, out);
}

void metrics_write(const struct status *s, struct strbuf *out)
{
	metrics_head(out, "sluice_build_info", "gauge", "1; the version is the label.");
	labelled(out, "sluice_build_info", "version", SLUICE_VERSION, 1);
	write_endpoints(s, out);
	write_policies(s, out);
	write_totals(s, out);
	write_dns(s, out);
}
