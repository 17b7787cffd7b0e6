/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * A query is judged when it comes, and answered here or sent to a trusted resolver as a query of our own making. When
 * the answer comes it is judged again, with the policy then in force (hazard 15): the pod may have another one by then,
 * and a slow hostile answer must not open anything under it. So `settle` reads the endpoint's state, judges, writes the
 * leases under that policy, and reads the state again; only if it is still the same does the answer leave. A lease
 * written for a policy that was replaced meanwhile harms nobody: no endpoint uses it.
 *
 * Silence is for askers nobody knows. Everything else gets an answer: the policy's, or SERVFAIL.
 */
#include "dnsproxy/core.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "bpf/addr_class.h"
#include "dnsproxy/answer.h"
#include "dnsproxy/budget.h"
#include "dnsproxy/dnslog.h"
#include "dnsproxy/flight.h"
#include "dnsproxy/health.h"
#include "dnsproxy/judge.h"
#include "dnsproxy/lease.h"
#include "dnsproxy/rate.h"

#define INTERFACE_CACHE 1024 /* direct-mapped, a power of two */
#define SETTLE_TRIES	4

#define LOOPBACK_IFINDEX 1 /* in every network namespace */

struct core {
	struct maps maps;
	struct core_io io;
	struct proxy_settings settings;
	uint32_t epoch; /* counts the settings: a resolver's index means something within one only */
	struct health health[PROXY_MAX_RESOLVERS];
	struct {
		uint32_t ifindex;
		struct sluice_if link;
	} interfaces[INTERFACE_CACHE];
	struct dnslog_bucket *buckets; /* per endpoint */
	uint64_t *tcp_rates;	       /* per endpoint: token buckets */
	struct budget *budgets;	       /* per endpoint; memory that the setting does not need is not touched */
	/* One message is worked on at a time. */
	struct wire_query query;
	struct answer answer;
	uint8_t out[WIRE_MAX_MESSAGE];
	struct ledger *ledger;
	struct lease_memo memo;
	struct flights flights;
};

/* One question on its way to an answer. */
struct job {
	struct core *c;
	const struct core_asker *asker;
	const struct wire_query *query;
	const struct image *img;
	uint64_t now;
	uint64_t started;
	uint64_t state;
	uint64_t name; /* its id, once a resolver was asked */
	bool audit;
	bool asked;	  /* a resolver, for it */
	bool would_strip; /* under audit: something that enforcement takes out was left in */
	struct judgement j;
	struct sluice_dns_record rec;
};

int core_new(const struct maps *maps, const struct core_io *io, const struct proxy_settings *settings,
	     struct core **ret)
{
	struct core *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->maps = *maps;
	c->io = *io;
	c->settings = *settings;
	dnslog_set_resolvers(maps, settings);
	c->flights.nendpoints = maps->nendpoints;
	c->flights.shares = calloc(maps->nendpoints, sizeof(*c->flights.shares));
	c->buckets = calloc(maps->nendpoints, sizeof(*c->buckets));
	c->tcp_rates = calloc(maps->nendpoints, sizeof(*c->tcp_rates));
	c->budgets = calloc(maps->nendpoints, sizeof(*c->budgets));
	if (!c->flights.shares || !c->buckets || !c->tcp_rates || !c->budgets || ledger_new(&c->maps, &c->ledger) < 0) {
		core_freep(&c);
		return -ENOMEM;
	}
	*ret = c;
	return 0;
}

void core_freep(struct core **c)
{
	if (*c) {
		free((*c)->flights.shares);
		free((*c)->buckets);
		free((*c)->tcp_rates);
		free((*c)->budgets);
		ledger_freep(&(*c)->ledger);
	}
	free(*c);
	*c = NULL;
}

void core_set_settings(struct core *c, const struct proxy_settings *settings)
{
	c->settings = *settings;
	c->epoch++;
	dnslog_set_resolvers(&c->maps, settings);
	memset(c->health, 0, sizeof(c->health));
	if (c->memo.used)
		memset(&c->memo, 0, sizeof(c->memo));
	flight_leave_all(&c->flights);
}

uint32_t core_in_flight(const struct core *c)
{
	return c->flights.count;
}

static void count(struct core *c, enum sluice_dns_stat stat)
{
	dnslog_count(&c->maps, stat, 1);
}

/* ---- who asks ---------------------------------------------------------------------------------------------------- */

static bool endpoint_is(const struct core *c, uint32_t endpoint, uint32_t generation, uint32_t ifindex)
{
	const struct sluice_endpoint *ep;

	if (endpoint >= c->maps.nendpoints || generation == 0)
		return false;
	ep = &c->maps.endpoints[endpoint];
	return __atomic_load_n(&ep->generation, __ATOMIC_ACQUIRE) == generation &&
	       __atomic_load_n(&ep->ifindex, __ATOMIC_RELAXED) == ifindex;
}

static bool asker_lives(const struct core *c, const struct core_asker *a)
{
	return endpoint_is(c, a->endpoint, a->generation, a->ifindex);
}

static uint64_t state_of(const struct core *c, const struct core_asker *a)
{
	return __atomic_load_n(&c->maps.endpoints[a->endpoint].state, __ATOMIC_ACQUIRE);
}

static int identify_by_loopback(struct core *c, struct core_asker *asker)
{
	struct sluice_asker_key key = { .addr = asker->addr,
					.port = htons(asker->port),
					.proto = asker->tcp ? IPPROTO_TCP : IPPROTO_UDP };
	struct sluice_asker found;

	if (c->maps.find_asker(c->maps.context, &key, &found) < 0 ||
	    !endpoint_is(c, found.endpoint, found.generation, 0))
		return -ENOENT;
	asker->ifindex = 0;
	asker->server = found.server;
	asker->endpoint = found.endpoint;
	asker->generation = found.generation;
	return 0;
}

int core_identify(struct core *c, struct core_asker *asker)
{
	uint32_t slot = asker->ifindex & (INTERFACE_CACHE - 1);
	struct sluice_if *link = &c->interfaces[slot].link;

	asker->from = asker->server;
	if (asker->ifindex == LOOPBACK_IFINDEX)
		return identify_by_loopback(c, asker);
	if (c->interfaces[slot].ifindex != asker->ifindex ||
	    !endpoint_is(c, link->endpoint, link->generation, asker->ifindex)) {
		c->interfaces[slot].ifindex = 0;
		if (asker->ifindex == 0 || c->maps.find_interface(c->maps.context, asker->ifindex, link) < 0 ||
		    !endpoint_is(c, link->endpoint, link->generation, asker->ifindex))
			return -ENOENT;
		c->interfaces[slot].ifindex = asker->ifindex;
	}
	asker->endpoint = link->endpoint;
	asker->generation = link->generation;
	return 0;
}

/* ---- answering --------------------------------------------------------------------------------------------------- */

static struct wire_out out_for(const struct job *job)
{
	struct core *c = job->c;

	return (struct wire_out){ .data = c->out,
				  .cap = job->asker->tcp ? sizeof(c->out) : wire_udp_limit(job->query) };
}

/* The log's record, the counters, and the answer itself. */
static void send_answer(struct job *job, const struct wire_out *out, enum sluice_dns_verdict verdict,
			enum wire_rcode rcode)
{
	struct core *c = job->c;
	const struct core_asker *a = job->asker;
	struct sluice_dns_record *rec = &job->rec;

	rec->time = job->now;
	rec->state = job->state;
	rec->local = a->addr;
	rec->server = a->server;
	rec->endpoint = a->endpoint;
	rec->generation = a->generation;
	rec->latency_us = (uint32_t)((job->now - job->started) / 1000);
	rec->lport = htons(a->port);
	rec->qtype = job->query->qtype;
	rec->proto = a->tcp ? IPPROTO_TCP : IPPROTO_UDP;
	rec->verdict = (uint8_t)verdict;
	rec->rcode = (uint8_t)rcode;
	dnslog_set_name(rec, &job->query->name);
	dnslog_count_answer(&c->maps, rec, job->asked);
	dnslog_write(&c->maps, &c->buckets[a->endpoint], rec, job->now);
	c->io.reply(c->io.context, a, out->data, out->len);
}

static void answer_error(struct job *job, enum wire_rcode rcode, enum wire_ede ede)
{
	struct wire_out out = out_for(job);

	wire_begin(&out, job->query, rcode, false);
	wire_end(&out, job->query, rcode, ede, NULL);
	send_answer(job, &out, SLUICE_DNS_ERROR, rcode);
}

/* Says whose decision it was, so that nobody looks for a fault in the network. */
static void explain(const struct job *job, const char *what, char text[100])
{
	size_t npolicies = image_policy_count(job->img);
	int n = snprintf(text, 100, "%s by policy", what);

	for (size_t i = 0; i < npolicies && n < 99; i++)
		n += snprintf(text + n, 100 - (size_t)n, "%s%s", i ? ", " : " ", image_policy_at(job->img, i));
}

static void answer_denied(struct job *job)
{
	static const enum wire_rcode rcodes[] = { [JUDGE_NODATA] = WIRE_NOERROR,
						  [JUDGE_NXDOMAIN] = WIRE_RCODE_NXDOMAIN,
						  [JUDGE_REFUSED] = WIRE_RCODE_REFUSED };
	bool denied = job->j.verdict == JUDGE_DENIED;
	enum wire_rcode rcode = rcodes[job->j.response];
	struct wire_out out = out_for(job);
	char text[100];

	explain(job, denied ? "denied" : "not asked", text);
	wire_begin(&out, job->query, rcode, false);
	if (job->j.response != JUDGE_REFUSED)
		wire_put_soa(&out, job->query, job->j.zone);
	wire_end(&out, job->query, rcode, WIRE_EDE_BLOCKED, text);
	send_answer(job, &out, denied ? SLUICE_DNS_DENIED : SLUICE_DNS_FILTERED, rcode);
}

/* ---- judging ----------------------------------------------------------------------------------------------------- */

/* False: it cannot be judged, and the asker gets SERVFAIL. */
static bool judge(struct job *job)
{
	struct core *c = job->c;
	enum sluice_mode mode;

	job->state = state_of(c, job->asker);
	mode = SLUICE_STATE_MODE(job->state);
	/* Without name rules nothing is handed over: what comes all the same was on its way when the policy changed. */
	if ((mode != SLUICE_MODE_ENFORCE && mode != SLUICE_MODE_AUDIT) || !(job->state & SLUICE_STATE_NAMES))
		return false;
	job->audit = mode == SLUICE_MODE_AUDIT;
	job->img = c->io.policy(c->io.context, SLUICE_STATE_POLICY(job->state));
	if (!job->img) {
		count(c, SLUICE_DNS_STAT_NO_POLICY);
		return false;
	}
	judge_name(job->img, &c->settings, &job->query->name, job->query->qtype, &job->j);
	return job->j.verdict != JUDGE_BROKEN;
}

static bool goes_upstream(const struct job *job)
{
	switch (job->j.verdict) {
	case JUDGE_ALLOWED:
	case JUDGE_FILTER:
	case JUDGE_WHOLE:
		return true;
	case JUDGE_EMPTY:
	case JUDGE_DENIED:
		return job->audit;
	case JUDGE_BROKEN:
		break;
	}
	return false;
}

/* As decide.h has it: a translator beyond the node turns the one form of an address into the other (hazard 12). */
static bool stands_for_cluster(const struct core *c, const struct sluice_addr *addr)
{
	struct sluice_addr v4;

	return addr_embedded_v4(addr, &v4) && c->maps.in_cluster(c->maps.context, &v4);
}

static struct lease_request lease_request_of(const struct job *job, uint64_t length)
{
	return (struct lease_request){ .policy = SLUICE_STATE_POLICY(job->state),
				       .name = job->name,
				       .text = &job->query->name,
				       .now = job->now,
				       .expires = job->now + length,
				       .by = { job->asker->endpoint, job->asker->generation },
				       .nsets = job->j.match.nsets,
				       .sets = job->j.match.sets };
}

/* The same name of the same policy has just opened it. */
static bool was_opened(const struct job *job, const struct sluice_addr *addr)
{
	struct lease_request req = lease_request_of(job, 0);

	return lease_recall(&job->c->memo, job->c->ledger, &req, addr) != NULL;
}

static enum answer_fate fate_of(const struct job *job, const struct sluice_addr *addr, bool in_cluster_domain)
{
	const struct core *c = job->c;
	bool in_cluster, may_open;

	if (job->j.verdict == JUDGE_ALLOWED && !in_cluster_domain && was_opened(job, addr))
		return ANSWER_OPEN;
	in_cluster = c->maps.in_cluster(c->maps.context, addr);
	may_open = !image_bars_names(job->img, addr) &&
		   judge_may_open(&c->settings, addr, in_cluster || stands_for_cluster(c, addr), in_cluster_domain);
	if (job->j.verdict == JUDGE_ALLOWED && may_open)
		return ANSWER_OPEN;
	if (job->j.verdict == JUDGE_WHOLE || job->j.open || judge_rule_allows(job->img, addr, in_cluster))
		return ANSWER_KEEP;
	if (job->j.verdict == JUDGE_FILTER && may_open &&
	    lease_holds(&c->maps, SLUICE_STATE_POLICY(job->state), job->asker->generation, addr, job->now))
		return ANSWER_KEEP;
	return ANSWER_STRIP;
}

static bool chain_in_cluster_domain(const struct core *c, const struct answer *a)
{
	for (uint16_t i = 0; i < a->nnames; i++)
		if (conf_in_cluster_domain(&c->settings, &a->names[i]))
			return true;
	return false;
}

/* Decides every address of the answer. Returns how many are stripped. */
static uint32_t decide_fates(struct job *job, struct answer *a)
{
	bool in_cluster_domain = chain_in_cluster_domain(job->c, a);
	uint32_t kept = 0, stripped = 0;
	struct sluice_addr addr;

	job->rec.naddrs = 0;
	job->would_strip = false;
	for (uint16_t i = 0; i < a->nrecords; i++) {
		struct answer_record *r = &a->records[i];
		bool is_address = answer_address(a, r, &addr);

		if (!is_address && (r->type == WIRE_A || r->type == WIRE_AAAA)) {
			r->fate = ANSWER_STRIP; /* of the wrong length */
			continue;
		}
		if (!is_address)
			continue;
		/* Those that are too many are not looked up: that costs more than all else that is done for a query. */
		r->fate = kept < ANSWER_MAX_ADDRS ? (uint8_t)fate_of(job, &addr, in_cluster_domain) : ANSWER_STRIP;
		if (job->audit && r->fate == ANSWER_STRIP && kept < ANSWER_MAX_ADDRS) {
			r->fate = ANSWER_KEEP;
			job->would_strip = true;
		}
		if (r->fate == ANSWER_STRIP) {
			stripped++;
			continue;
		}
		kept++;
		if (job->rec.naddrs < ARRAY_SIZE(job->rec.addrs))
			job->rec.addrs[job->rec.naddrs++] = addr;
	}
	return stripped;
}

static int open_address(struct core *c, const struct lease_request *req, const struct sluice_addr *addr,
			struct lease_result *res)
{
	const struct lease_memo_entry *known = lease_recall(&c->memo, c->ledger, req, addr);
	int r;

	if (known && lease_stands(known, req))
		return 0;
	r = lease_write(&c->maps, c->ledger, req, addr, res);
	if (r == 0)
		lease_remember(&c->memo, req, addr, res);
	return r;
}

/* 0 or -errno. Everything the answer opens is in the kernel before it leaves. */
static int write_leases(struct job *job, const struct answer *a)
{
	struct core *c = job->c;
	const struct proxy_settings *s = &c->settings;
	struct lease_result res = {};
	uint64_t length = lease_length(a->ttl, s->min_ttl, s->max_ttl, s->grace);
	struct lease_request req = lease_request_of(job, length);
	int r = 0;

	job->rec.ttl = 0;
	for (uint16_t i = 0; r == 0 && i < a->nrecords; i++) {
		struct sluice_addr addr;

		if (a->records[i].fate != ANSWER_OPEN || !answer_address(a, &a->records[i], &addr))
			continue;
		r = open_address(c, &req, &addr, &res);
		job->rec.ttl = (uint32_t)(length / NSEC_PER_SEC);
	}
	dnslog_count(&c->maps, SLUICE_DNS_STAT_LEASES_WRITTEN, res.written);
	dnslog_count(&c->maps, SLUICE_DNS_STAT_LEASES_EVICTED, res.evicted);
	dnslog_count(&c->maps, SLUICE_DNS_STAT_LEASE_SLOTS_FULL, res.reused + (r == -ENOSPC));
	if (r < 0) {
		count(c, SLUICE_DNS_STAT_LEASES_FAILED);
		job->rec.ttl = 0;
	}
	return r;
}

static enum sluice_dns_verdict verdict_of(const struct job *job, uint32_t stripped)
{
	switch (job->j.verdict) {
	case JUDGE_ALLOWED:
	case JUDGE_WHOLE:
		return job->would_strip ? SLUICE_DNS_AUDIT : SLUICE_DNS_ALLOWED;
	case JUDGE_FILTER:
		if (job->would_strip)
			return SLUICE_DNS_AUDIT;
		return stripped > 0 && job->rec.naddrs == 0 ? SLUICE_DNS_FILTERED : SLUICE_DNS_ALLOWED;
	case JUDGE_EMPTY:
	case JUDGE_DENIED:
		return SLUICE_DNS_AUDIT;
	case JUDGE_BROKEN:
		break;
	}
	return SLUICE_DNS_ERROR;
}

/* Judges the answer under the policy now in force and sends it. Returns false when the asker is gone. */
static bool settle(struct job *job, struct answer *a)
{
	struct core *c = job->c;

	for (int i = 0; i < SETTLE_TRIES; i++) {
		struct wire_out out = out_for(job);
		uint32_t stripped;
		bool whole;

		if (!asker_lives(c, job->asker))
			return false;
		if (!judge(job))
			break;
		if (!goes_upstream(job)) {
			answer_denied(job);
			return true;
		}
		stripped = decide_fates(job, a);
		whole = answer_write(a, job->query, job->j.verdict == JUDGE_FILTER && !job->audit, &out);
		/* The pod asks again by TCP, and learns then: RFC 2181 section 9. */
		if (!whole)
			job->rec.naddrs = 0;
		if (whole && write_leases(job, a) < 0)
			break;
		if (!asker_lives(c, job->asker))
			return false;
		if (state_of(c, job->asker) != job->state)
			continue;
		dnslog_count(&c->maps, SLUICE_DNS_STAT_ADDRS_STRIPPED, stripped);
		dnslog_count(&c->maps, SLUICE_DNS_STAT_RECORDS_IGNORED, a->ignored);
		send_answer(job, &out, verdict_of(job, stripped), a->rcode);
		return true;
	}
	job->rec.naddrs = 0;
	answer_error(job, WIRE_RCODE_SERVFAIL, WIRE_EDE_NONE);
	return true;
}

/* ---- upstream ---------------------------------------------------------------------------------------------------- */

/* What the present try is counted under; NULL when the settings have changed since. */
static struct sluice_dns_resolver *tally_of(struct core *c, const struct flight *f)
{
	return f->epoch == c->epoch ? &c->maps.stats->resolvers[f->index] : NULL;
}

enum failure { FAILED_ERROR, FAILED_TIMEOUT, FAILED_SOCKET };

static void resolver_failed(struct core *c, struct flight *f, enum failure failure, uint64_t now)
{
	struct sluice_dns_resolver *tally = tally_of(c, f);
	struct health *h = &c->health[f->index];

	if (!tally)
		return;
	switch (failure) {
	case FAILED_ERROR:
		dnslog_add(&tally->errors, 1);
		f->refused |= 1u << f->index;
		break;
	case FAILED_TIMEOUT:
		dnslog_add(&tally->timeouts, 1);
		break;
	case FAILED_SOCKET:
		dnslog_add(&tally->failures, 1);
		break;
	}
	health_bad(h, failure == FAILED_ERROR ? HEALTH_ERROR : HEALTH_SILENCE, now);
	__atomic_store_n(&tally->down, health_down(h), __ATOMIC_RELAXED);
}

/*
 * One not tried yet before one that was, one that is up before one that is not, and at first the one that the pod asked,
 * if it is a trusted one. None that has answered this question with an error; -1: none is left.
 */
static int choose_resolver(const struct core *c, const struct flight *f, uint64_t now)
{
	const struct proxy_settings *s = &c->settings;
	int asked = f->tries == 0 ? conf_find_resolver(s, &f->asker.server) : -1, best = -1, best_rank = -1;

	for (int i = 0; i < (int)s->nresolvers; i++) {
		uint32_t bit = 1u << i;
		int rank = (f->tried & bit ? 0 : 4) + (health_up(&c->health[i], now) ? 2 : 0) + (i == asked);

		if (!(f->refused & bit) && rank > best_rank) {
			best = i;
			best_rank = rank;
		}
	}
	return best;
}

static void give_back(struct core *c, struct flight *f)
{
	if (f->sent)
		c->io.asked(c->io.context, f->transport, f->tcp);
	flight_unsent(&c->flights, f);
}

/* One try at one resolver. */
static int send_try(struct core *c, struct flight *f, uint32_t index, bool tcp, bool plain, uint64_t now)
{
	uint64_t deadline = now + c->settings.query_timeout_ms * NSEC_PER_MSEC;
	uint16_t id = flight_pick_id(&c->flights, c->io.random(c->io.context));
	uint8_t msg[WIRE_MIN_UDP];
	size_t len = wire_write_query(msg, sizeof(msg), &f->query, id, !plain);
	int r;

	f->resolver = c->settings.resolvers[index];
	f->index = (uint8_t)index;
	f->tried |= 1u << index;
	f->tries++;
	f->tcp = tcp;
	f->plain = plain;
	health_asked(&c->health[index], now);
	r = c->io.ask(c->io.context, &f->resolver, index, tcp, f->asker.endpoint, msg, len, &f->transport);
	if (r < 0)
		return r;
	flight_sent(&c->flights, f, id, deadline);
	count(c, SLUICE_DNS_STAT_UPSTREAM_SENT);
	dnslog_add(&c->maps.stats->resolvers[index].sent, 1);
	if (plain)
		count(c, SLUICE_DNS_STAT_UPSTREAM_PLAIN);
	return 0;
}

static struct job job_of(struct core *c, const struct flight *f, const struct flight *sent, uint64_t now)
{
	return (struct job){ .c = c,
			     .asker = &f->asker,
			     .query = &f->query,
			     .now = now,
			     .started = f->started,
			     .state = state_of(c, &f->asker),
			     .asked = true,
			     .name = f->name,
			     .rec = { .upstream = sent->resolver.addr } };
}

/*
 * The end of a query, and of all that wait on it: each is judged and leased for itself, under the policy that its own
 * endpoint has now. Without an answer all get SERVFAIL, never silence.
 */
static void finish(struct core *c, struct flight *sent, struct answer *a, uint64_t now)
{
	struct flight *next = flight_first_waiting(&c->flights, sent);

	give_back(c, sent);
	for (struct flight *f = sent; f; f = next, next = f ? flight_next_waiting(&c->flights, f) : NULL) {
		struct job job = job_of(c, f, sent, now);

		if (a)
			settle(&job, a);
		else if (asker_lives(c, &f->asker))
			answer_error(&job, WIRE_RCODE_SERVFAIL, WIRE_EDE_NETWORK);
		flight_free(&c->flights, f);
	}
}

/*
 * What a pod asks by TCP goes on by TCP where a connection stands: a pipeline costs both sides less. That is a favour and
 * no need: the second try goes by UDP, unless the answer is known not to fit.
 */
static bool by_tcp(const struct core *c, const struct flight *f, uint32_t index)
{
	return f->cut || (f->asker.tcp && f->tries == 0 &&
			  c->io.ready_tcp(c->io.context, &c->settings.resolvers[index], index, f->asker.endpoint));
}

static void try_next(struct core *c, struct flight *f, uint64_t now)
{
	give_back(c, f);
	f->downgraded = false;
	if (f->epoch != c->epoch) {
		f->epoch = c->epoch;
		f->tried = f->refused = 0;
	}
	while (f->tries < c->settings.query_tries) {
		int index = choose_resolver(c, f, now), r;

		if (index < 0)
			break;
		r = send_try(c, f, (uint32_t)index, by_tcp(c, f, (uint32_t)index), health_plain(&c->health[index], now),
			     now);
		if (r == 0)
			return;
		/* Ours are all in use: nothing to do with the resolver. */
		if (r != -EBUSY)
			resolver_failed(c, f, FAILED_SOCKET, now);
	}
	finish(c, f, NULL, now);
}

/* The same question to the same resolver, put otherwise: part of the same try. */
static void ask_again(struct core *c, struct flight *f, bool tcp, bool plain, uint64_t now)
{
	give_back(c, f);
	if (f->epoch != c->epoch || send_try(c, f, f->index, tcp, plain, now) < 0)
		try_next(c, f, now);
}

/* Nobody's fault but the connection's: the same resolver, once more, and by UDP if that will do. */
static void leave_stream(struct core *c, struct flight *f, uint64_t now)
{
	if (f->tries < c->settings.query_tries)
		ask_again(c, f, f->cut, f->plain, now);
	else
		finish(c, f, NULL, now);
}

/*
 * A pod whose resolver is silent fills its share and would have to wait for the time-out of what it asked first; that is
 * given up instead. Nobody else's is, unless the table is full: some pods together can fill it, and a pod that has less
 * under way than they is still served. Who waits for the same answer goes on.
 */
static bool give_up_oldest(struct core *c, uint32_t endpoint, uint64_t now)
{
	struct flight *f = flight_to_give_up(&c->flights, endpoint), old;
	struct job job;

	if (!f)
		return false;
	old = *f;
	if (!flight_hand_on(&c->flights, f)) {
		give_back(c, f);
		flight_free(&c->flights, f);
	}
	count(c, SLUICE_DNS_STAT_INFLIGHT_EVICTED);
	job = job_of(c, &old, &old, now);
	if (asker_lives(c, &old.asker))
		answer_error(&job, WIRE_RCODE_SERVFAIL, WIRE_EDE_NETWORK);
	return true;
}

static void forward(struct job *job)
{
	struct core *c = job->c;
	struct flight *f = flight_new(&c->flights, job->asker, job->query);
	int first;

	if (!f && give_up_oldest(c, job->asker->endpoint, job->now))
		f = flight_new(&c->flights, job->asker, job->query);

	if (!f) {
		count(c, SLUICE_DNS_STAT_INFLIGHT_FULL);
		answer_error(job, WIRE_RCODE_SERVFAIL, WIRE_EDE_NONE);
		return;
	}
	f->started = job->now;
	f->epoch = c->epoch;
	first = choose_resolver(c, f, job->now);
	f->name = lease_name_id(&c->maps, &job->query->name);
	if (first >= 0 && flight_join(&c->flights, f, SLUICE_STATE_POLICY(job->state), (uint8_t)first))
		count(c, SLUICE_DNS_STAT_SHARED);
	else
		try_next(c, f, job->now);
}

enum reading {
	READ_FOREIGN,
	READ_USELESS, /* an error, or malformed: another resolver may know better */
	READ_NO_EDNS, /* it does not take our OPT record */
	READ_CUT,     /* truncated, and the pod is on TCP already: it cannot be told to go there */
	READ_GOOD,
};

/* Our port may be sent anything: id, socket (so the resolver and our port) and question must all be right. */
static enum reading read_answer(struct core *c, const struct flight *f, const uint8_t *msg, size_t len)
{
	struct answer *a = &c->answer;
	bool refuses;

	if (!answer_matches(msg, len, &f->query, f->id))
		return !f->plain && answer_is_bare_error(msg, len, f->id) ? READ_NO_EDNS : READ_FOREIGN;
	if (answer_read(msg, len, &f->query, a) < 0)
		return READ_USELESS;
	if (a->rcode == WIRE_NOERROR || a->rcode == WIRE_RCODE_NXDOMAIN)
		return a->truncated && f->asker.tcp && !f->tcp ? READ_CUT : READ_GOOD;
	refuses = a->rcode == WIRE_RCODE_FORMERR || a->rcode == WIRE_RCODE_NOTIMP || a->rcode == WIRE_RCODE_BADVERS;
	return refuses && !f->plain ? READ_NO_EDNS : READ_USELESS;
}

static void resolver_answered(struct core *c, const struct flight *f, uint64_t now)
{
	struct sluice_dns_resolver *tally = tally_of(c, f);

	if (!tally)
		return;
	health_good(&c->health[f->index]);
	__atomic_store_n(&tally->down, 0, __ATOMIC_RELAXED);
	if (f->downgraded)
		health_set_plain(&c->health[f->index], now);
}

bool core_answer(struct core *c, uint32_t transport, bool tcp, const uint8_t *msg, size_t len, uint64_t now)
{
	struct flight *f = len >= WIRE_HEADER ? flight_by_id(&c->flights, (uint16_t)(msg[0] << 8 | msg[1])) : NULL;
	bool ours = f && f->transport == transport && f->tcp == tcp;
	enum reading reading = ours ? read_answer(c, f, msg, len) : READ_FOREIGN;

	count(c, reading == READ_FOREIGN ? SLUICE_DNS_STAT_UPSTREAM_WRONG : SLUICE_DNS_STAT_UPSTREAM_ANSWERS);
	if (reading != READ_FOREIGN && tally_of(c, f))
		dnslog_add(&tally_of(c, f)->answers, 1);
	switch (reading) {
	case READ_FOREIGN:
		return false;
	case READ_USELESS:
		resolver_failed(c, f, FAILED_ERROR, now);
		try_next(c, f, now);
		break;
	case READ_NO_EDNS:
		f->downgraded = true;
		ask_again(c, f, tcp, true, now);
		break;
	case READ_CUT:
		f->cut = true;
		ask_again(c, f, true, f->plain, now);
		break;
	case READ_GOOD:
		resolver_answered(c, f, now);
		finish(c, f, &c->answer, now);
		break;
	}
	return true;
}

void core_unsent(struct core *c, bool barred)
{
	count(c, SLUICE_DNS_STAT_ANSWERS_UNSENT);
	if (barred)
		count(c, SLUICE_DNS_STAT_ANSWERS_BARRED);
}

void core_lost(struct core *c, uint32_t transport, bool tcp, bool fault, uint64_t now)
{
	for (uint16_t i = 0; i < c->flights.fresh; i++) {
		struct flight *f = &c->flights.slots[i];

		if (!f->used || !f->sent || f->transport != transport || f->tcp != tcp)
			continue;
		if (!fault) {
			leave_stream(c, f, now);
			continue;
		}
		resolver_failed(c, f, FAILED_SOCKET, now);
		try_next(c, f, now);
	}
}

uint64_t core_tick(struct core *c, uint64_t now)
{
	struct flight *f;

	while ((f = flight_first(&c->flights)) && f->deadline <= now) {
		count(c, SLUICE_DNS_STAT_UPSTREAM_TIMEOUTS);
		if (f->tcp && !f->cut) {
			/* It may have stood behind another query, and tells nothing of the resolver. */
			leave_stream(c, f, now);
			continue;
		}
		resolver_failed(c, f, FAILED_TIMEOUT, now);
		try_next(c, f, now);
	}
	return f ? f->deadline : UINT64_MAX;
}

/* ---- queries ----------------------------------------------------------------------------------------------------- */

static int read_query(struct job *job, const uint8_t *msg, size_t len)
{
	struct core *c = job->c;
	const struct wire_query *q = &c->query;
	enum wire_result result = wire_read_query(msg, len, &c->query);

	if (q->question_len)
		dnslog_add(&c->maps.stats->qtypes[q->qtype < SLUICE_DNS_QTYPES ? q->qtype : 0], 1);
	switch (result) {
	case WIRE_OK:
		return 0;
	case WIRE_SHORT:
		count(c, SLUICE_DNS_STAT_FORMERR);
		return -EBADMSG;
	case WIRE_FORMERR:
		answer_error(job, WIRE_RCODE_FORMERR, WIRE_EDE_NONE);
		break;
	case WIRE_NOTIMP:
		answer_error(job, WIRE_RCODE_NOTIMP, WIRE_EDE_NONE);
		break;
	case WIRE_BADVERS:
		answer_error(job, WIRE_RCODE_BADVERS, WIRE_EDE_NONE);
		break;
	}
	return 1;
}

/*
 * The kernel counts a segment of TCP as one query, and a segment holds many: here they are counted one by one, at the rate
 * that datagrams have (hazard 20).
 */
static bool within_tcp_rate(struct core *c, const struct core_asker *a, uint64_t now)
{
	const struct sluice_settings *s = c->maps.settings;

	return !a->tcp || rate_take(&c->tcp_rates[a->endpoint], s->dns_rate, s->dns_burst, now);
}

/* The zones of the search list are the operator's: what is asked of them tells nobody outside. */
static bool within_budget(struct job *job)
{
	struct core *c = job->c;
	const struct core_asker *a = job->asker;
	const struct wire_name *name = &job->query->name;

	if (c->settings.new_names == 0 || job->j.match.exact || conf_search_above(&c->settings, name) >= 0)
		return true;
	if (budget_take(&c->budgets[a->endpoint], a->generation, lease_name_id(&c->maps, name), c->settings.new_names,
			job->now))
		return true;
	count(c, SLUICE_DNS_STAT_NEW_NAMES);
	return false;
}

static void answer_over_budget(struct job *job)
{
	struct wire_out out = out_for(job);

	wire_begin(&out, job->query, WIRE_RCODE_REFUSED, false);
	wire_end(&out, job->query, WIRE_RCODE_REFUSED, WIRE_EDE_BLOCKED, "over dns.newNamesPerMinute");
	send_answer(job, &out, SLUICE_DNS_DENIED, WIRE_RCODE_REFUSED);
}

int core_query(struct core *c, const struct core_asker *from, const uint8_t *msg, size_t len, uint64_t now)
{
	struct core_asker asker = *from;
	struct job job = { .c = c, .asker = &asker, .query = &c->query, .now = now, .started = now };
	int r;

	count(c, asker.tcp ? SLUICE_DNS_STAT_QUERIES_TCP : SLUICE_DNS_STAT_QUERIES_UDP);
	if (asker.tcp ? !asker_lives(c, &asker) : core_identify(c, &asker) < 0) {
		count(c, SLUICE_DNS_STAT_NO_ENDPOINT);
		return -ENOENT;
	}
	job.state = state_of(c, &asker);
	r = read_query(&job, msg, len);
	if (r != 0)
		return r < 0 ? r : 0;
	if (!within_tcp_rate(c, &asker, now)) {
		count(c, SLUICE_DNS_STAT_TCP_RATE);
		answer_error(&job, WIRE_RCODE_SERVFAIL, WIRE_EDE_NONE);
	} else if (!judge(&job)) {
		answer_error(&job, WIRE_RCODE_SERVFAIL, WIRE_EDE_NONE);
	} else if (!goes_upstream(&job)) {
		answer_denied(&job);
	} else if (!within_budget(&job) && !job.audit) {
		answer_over_budget(&job);
	} else {
		forward(&job);
	}
	return 0;
}
