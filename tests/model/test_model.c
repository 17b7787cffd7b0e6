/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compiled image against the evaluator, on random clusters, manifests and flows.
 *
 *   SLUICE_MODEL_CASES   how many cases, half of them from the fixed seed (2,000,000)
 *   SLUICE_SEED          the other half's seed, instead of a new one
 *   SLUICE_MODEL_WORLD   one world alone: the number a mismatch printed
 *   SLUICE_MODEL_VERBOSE also prints why manifests were refused
 *   SLUICE_MODEL_MAX     goes on after mismatches until so many were printed (1)
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "tests/model/trial.h"

#define FIXED_SEED 20261124
#define QUESTIONS  100 /* per endpoint; a few where nothing selects it */

struct tally {
	uint64_t flows;
	uint64_t allowed;
	uint64_t names;
	uint64_t by_lease;
	uint64_t open;
	uint64_t worlds;
	uint64_t refused;
	uint64_t mismatches;
};

static uint64_t setting(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 10) : otherwise;
}

/* splitmix64: neighbouring worlds have nothing in common. */
static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
	return (x ^ (x >> 31)) | 1;
}

/* ---- what policy/ knows ---------------------------------------------------------------------------------------- */

static uint32_t supported(void)
{
	uint32_t features = 0;

	for (uint32_t f = 0; f < FEATURE_MAX; f++) {
		const char *probe = feature_probe(f);
		struct both b = {};
		bool known = both_open(probe, strlen(probe), &b) == 0;

		both_clear(&b);
		if (known)
			features |= 1u << f;
		else
			printf("not supported: %s\n", feature_name(f));
	}
	return features;
}

/* ---- a world --------------------------------------------------------------------------------------------------- */

struct run {
	uint32_t features;
	uint64_t seed; /* of the present world */
	uint64_t max_mismatches;
	const char *text;
	size_t len;
	struct world world;
	struct adapter_world adapted;
	struct both both;
	struct tally tally;
};

static void take(struct run *run, const struct adapter_endpoint *e, const struct question *q)
{
	bool allowed = false;
	enum outcome o = ask_both(&run->both, &run->world, e, q, &allowed);

	if (o == OUTCOME_VOID)
		return;
	if (q->asked)
		run->tally.names++;
	else
		run->tally.flows++;
	run->tally.allowed += allowed && !q->asked;
	run->tally.open += e->open;
	if (o == OUTCOME_AGREE)
		return;
	if (run->tally.mismatches++ < run->max_mismatches) {
		printf("\nMISMATCH in world %" PRIu64 " (SLUICE_MODEL_WORLD)\n", run->seed);
		report(run->text, run->len, &run->world, q);
	}
}

static void ask_names(struct run *run, const struct adapter_endpoint *e, size_t pod)
{
	for (size_t i = 0; i < (e->open ? 1 : nasked_names); i++) {
		struct question q = { .pod = pod, .asked = asked_names[i] };

		take(run, e, &q);
	}
}

static void ask_flows(struct run *run, struct rng *r, struct adapter_endpoint *e, size_t pod)
{
	struct question q = { .pod = pod };

	while (q.nleases < ADAPTER_LEASES)
		generate_lease(r, &q.leases[q.nleases++]);
	adapter_lease(e, q.leases, q.nleases);
	for (size_t i = 0; i < (e->open ? 10 : QUESTIONS); i++) {
		generate_flow(r, &run->world, &q.flow);
		/* Half the flows go where some name leads. */
		if (i % 2)
			q.flow.to = q.leases[chance(r, ADAPTER_LEASES)].addr;
		run->tally.by_lease += adapter_judge(e, &q.flow).by_lease;
		take(run, e, &q);
	}
}

static void one_world(struct run *run, uint64_t seed)
{
	struct rng r = { seed };
	struct strbuf text = {};

	run->seed = seed;
	run->tally.worlds++;
	generate_world(&r, &run->world);
	generate_policies(&r, run->features, &text);
	if (text.failed)
		abort();
	run->text = text.data;
	run->len = text.len;
	adapter_world(&run->world, &run->adapted);
	if (both_open(text.data, text.len, &run->both) != 0) {
		run->tally.refused++;
		if (getenv("SLUICE_MODEL_VERBOSE"))
			printf("%s\n", text.data);
	} else {
		for (size_t pod = 0; pod < run->world.npods; pod++) {
			struct adapter_endpoint e;

			if (run->world.pods[pod].finished || run->world.pods[pod].host_network)
				continue;
			if (adapter_compile(run->both.store, &run->adapted, pod, &e) < 0)
				abort();
			ask_names(run, &e, pod);
			ask_flows(run, &r, &e, pod);
			adapter_clear(&e);
		}
	}
	both_clear(&run->both);
	strbuf_clear(&text);
}

/* ---- runs ------------------------------------------------------------------------------------------------------ */

static bool print_tally(const struct tally *t, double seconds)
{
	uint64_t cases = t->flows + t->names;

	printf("%" PRIu64 " cases (%" PRIu64 " flows, %" PRIu64 " allowed, %" PRIu64 " by a lease; %" PRIu64
	       " names) in %" PRIu64 " worlds, %.1f s\n",
	       cases, t->flows, t->allowed, t->by_lease, t->names, t->worlds, seconds);
	printf("%" PRIu64 " worlds refused, %" PRIu64 " cases of endpoints that nothing selects, %" PRIu64
	       " mismatches\n",
	       t->refused, t->open, t->mismatches);
	/* Were most refused, or nearly all allowed or denied, agreement would mean little. */
	if (t->refused * 20 > t->worlds || t->allowed * 10 < t->flows || t->allowed * 10 > t->flows * 9 ||
	    t->by_lease * 200 < t->flows || t->open * 3 > cases) {
		printf("the cases are one-sided\n");
		return false;
	}
	return t->mismatches == 0;
}

static bool run_seed(struct run *run, uint64_t seed, uint64_t cases)
{
	struct timespec from, to;

	run->tally = (struct tally){};
	printf("seed %" PRIu64 "\n", seed);
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (uint64_t i = 0; run->tally.flows + run->tally.names < cases; i++) {
		one_world(run, mix(seed + i));
		if (run->tally.mismatches >= run->max_mismatches)
			break;
		if (i > 1000 && run->tally.flows == 0)
			break;
	}
	clock_gettime(CLOCK_MONOTONIC, &to);
	return print_tally(&run->tally, (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9);
}

int main(void)
{
	static struct run run;
	uint64_t cases = setting("SLUICE_MODEL_CASES", 2000000), seed = setting("SLUICE_SEED", 0);
	uint64_t world = setting("SLUICE_MODEL_WORLD", 0);
	bool ok;

	run.features = supported();
	if (run.features != (1u << FEATURE_MAX) - 1)
		return 1;
	run.max_mismatches = setting("SLUICE_MODEL_MAX", 1);
	if (world) {
		one_world(&run, world);
		return run.tally.mismatches > 0;
	}
	if (seed == 0 && getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		abort();
	ok = run_seed(&run, FIXED_SEED, cases / 2);
	return run_seed(&run, seed, cases - cases / 2) && ok ? 0 : 1;
}
