/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A compiler that is kept from pass to pass against one that begins anew, while random clusters and manifests change: the
 * images are the same, and where a key is, the image is too. Some of the pods are told to the first one as kept ones, now these,
 * now those, and to the other never.
 *
 *   SLUICE_MODEL_PASSES  how many runs, half of them from the fixed seed (3,000)
 *   SLUICE_SEED          the other half's seed, instead of a new one
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "tests/model/adapter.h"

#define FIXED_SEED 20261125
#define STEPS	   10

/* Runs that once failed. */
static const uint64_t known[] = {
	6538361016636061597ull, /* two grants of one rule, painted in the order of their addresses */
};

struct made {
	uint64_t key;
	uint8_t *data; /* NULL: nothing selects it */
	size_t len;
};

struct run {
	struct world world;
	struct adapter_world worlds[2]; /* of this pass, and of the one before, which is overwritten */
	struct store *store;
	struct compiler *compiler;
	struct world_pod before[WORLD_MAX]; /* the pods of those versions */
	uint64_t versions[WORLD_MAX];
	uint64_t version;
	struct kept_pod pods[WORLD_MAX];
	uint64_t seed;
	struct made made[STEPS * WORLD_MAX];
	size_t nmade;
	uint64_t last[WORLD_MAX];
	uint64_t kept;
	uint64_t moved;
	uint64_t wrong;
	bool told;    /* namespaces are: a missing one is not known */
	bool missing; /* the last one is */
};

/* ---- changes ----------------------------------------------------------------------------------------------------- */

static void change_policies(struct run *run, struct rng *r)
{
	CLEANUP(strbuf_clear) struct strbuf text = {};
	struct diags diags = {};

	generate_policies(r, (1u << FEATURE_MAX) - 1, &text);
	store_update(run->store, chance(r, 2) ? "a" : "b", text.data, text.len, &diags);
	diags_clear(&diags);
}

/* Something of another cluster in the place of what was there, or one property. */
static void change_world(struct run *run, struct rng *r)
{
	struct world *w = &run->world, other;
	size_t pod = chance(r, (uint32_t)w->npods);

	generate_world(r, &other);
	switch (chance(r, 11)) {
	case 0:
		w->pods[pod] = other.pods[0];
		break;
	case 1:
		w->pods[pod].labels = other.pods[0].labels;
		break;
	case 2:
		w->pods[pod].ready = !w->pods[pod].ready;
		break;
	case 3:
		w->pods[pod].finished = !w->pods[pod].finished;
		break;
	case 4:
		w->namespaces[0].labels = other.namespaces[other.nnamespaces - 1].labels;
		break;
	case 5:
		w->nodes[0] = other.nodes[0];
		break;
	case 6:
		if (w->nservices && other.nservices)
			w->services[w->nservices - 1] = other.services[other.nservices - 1];
		break;
	case 7:
		memcpy(w->service_cidrs, other.service_cidrs, sizeof(w->service_cidrs));
		break;
	case 8:
		run->missing = !run->missing;
		break;
	case 9:
		run->told = !run->told;
		break;
	default:
		w->npods -= w->npods > 2;
	}
}

/* ---- a pass ------------------------------------------------------------------------------------------------------ */

static bool same(const uint8_t *a, size_t alen, const uint8_t *b, size_t blen)
{
	return (!a && !b) || (a && b && alen == blen && memcmp(a, b, alen) == 0);
}

static void wrong(struct run *run, const char *what)
{
	if (run->wrong++ == 0)
		printf("%s\n", what);
}

static void remember(struct run *run, uint64_t key, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < run->nmade; i++) {
		if (run->made[i].key != key)
			continue;
		if (!same(run->made[i].data, run->made[i].len, data, len))
			wrong(run, "two images have one key");
		return;
	}
	run->made[run->nmade].key = key;
	run->made[run->nmade].len = len;
	run->made[run->nmade].data = data ? malloc(len) : NULL;
	if (data)
		memcpy(run->made[run->nmade].data, data, len);
	run->nmade++;
}

static void ask(struct run *run, const struct inventory *inv, size_t pod)
{
	const struct subject *subject = &inv->pods[pod];
	_cleanup_free_ uint8_t *kept = NULL, *anew = NULL;
	struct diags diags = {};
	size_t nkept = 0, nanew = 0;
	uint64_t key = compiler_key(run->compiler, subject);

	if (compiler_compile(run->compiler, subject, &diags, &kept, &nkept) < 0 ||
	    compile(run->store, subject, inv, &diags, &anew, &nanew) < 0)
		abort();
	if (!same(kept, nkept, anew, nanew))
		wrong(run, "the kept compiler makes another image");
	if (compiler_key_apart(run->compiler, run->store, inv, subject) != key)
		wrong(run, "the kept compiler makes another key");
	remember(run, key, kept, nkept);
	if (run->last[pod] == key)
		run->kept++;
	else
		run->moved++;
	run->last[pod] = key;
	diags_clear(&diags);
}

static int compare_kept(const void *a, const void *b)
{
	const struct subject *x = ((const struct kept_pod *)a)->pod, *y = ((const struct kept_pod *)b)->pod;
	int order = strcmp(x->namespace_name, y->namespace_name);

	return order ? order : strcmp(x->name, y->name);
}

/* The pods after the first `own` as a cache keeps them. */
static struct inventory keep_pods(struct run *run, const struct inventory *all, size_t own)
{
	struct inventory inv = *all;

	for (size_t i = 0; i < all->npods; i++) {
		if (run->versions[i] == 0 || memcmp(&run->before[i], &run->world.pods[i], sizeof(*run->before)) != 0)
			run->versions[i] = ++run->version;
		run->before[i] = run->world.pods[i];
		if (i >= own)
			run->pods[i - own] = (struct kept_pod){ &all->pods[i], run->versions[i] };
	}
	inv.npods = own;
	inv.kept = run->pods;
	inv.nkept = all->npods - own;
	qsort(run->pods, inv.nkept, sizeof(*run->pods), compare_kept);
	return inv;
}

static void pass(struct run *run, size_t step)
{
	struct adapter_world *now = &run->worlds[step % 2];
	struct inventory kept;

	memset(&run->worlds[(step + 1) % 2], 0xa5, sizeof(*now));
	adapter_world(&run->world, now);
	now->inv.namespaces_told = run->told;
	now->inv.nnamespaces -= run->missing && now->inv.nnamespaces > 0;
	kept = keep_pods(run, &now->inv, (run->seed >> 3 * step) % (run->world.npods + 1));
	if (compiler_begin(run->compiler, run->store, &kept) < 0)
		abort();
	for (size_t pod = 0; pod < run->world.npods; pod++)
		ask(run, &now->inv, pod);
}

/* Something refused comes, and goes; a policy, or what had an older text. */
static void change_refusal(struct run *run, size_t step)
{
	static const char other[] = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n"
				    "metadata: {name: refused, namespace: a}\n"
				    "spec: {endpointSelector: {matchLabels: {app: web}}, egress: [{toNobody: []}]}\n";
	struct diags diags = {};

	switch (run->seed >> 3 * step & 15) {
	case 0:
		store_update(run->store, "a", "- [", 3, &diags);
		break;
	case 1:
		store_update(run->store, "c", other, sizeof(other) - 1, &diags);
		break;
	case 2:
		store_remove(run->store, "c");
		break;
	case 3:
		store_remove(run->store, "b");
		break;
	}
	diags_clear(&diags);
}

static void one_run(struct run *run, uint64_t seed)
{
	struct rng r = { seed };

	generate_world(&r, &run->world);
	if (store_new(&run->store) < 0 || compiler_new((const uint64_t[2]){ seed, 1 }, &run->compiler) < 0)
		abort();
	run->seed = seed;
	memset(run->last, 0, sizeof(run->last));
	memset(run->versions, 0, sizeof(run->versions));
	change_policies(run, &r);
	for (size_t step = 0; step < STEPS; step++) {
		if (step && chance(&r, 5) == 0)
			change_policies(run, &r);
		else if (step)
			change_world(run, &r);
		change_refusal(run, step);
		pass(run, step);
	}
	for (size_t i = 0; i < run->nmade; i++)
		free(run->made[i].data);
	run->nmade = 0;
	compiler_freep(&run->compiler);
	store_freep(&run->store);
}

int main(void)
{
	static struct run run;
	const char *text = getenv("SLUICE_MODEL_PASSES"), *given = getenv("SLUICE_SEED");
	uint64_t runs = text ? strtoull(text, NULL, 10) : 3000, seed = given ? strtoull(given, NULL, 10) : 0;

	if (seed == 0 && getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return 1;
	printf("seeds %d and %" PRIu64 "\n", FIXED_SEED, seed);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		one_run(&run, known[i]);
	for (uint64_t i = 0; i < runs && !run.wrong; i++) {
		uint64_t of = (i % 2 ? seed : FIXED_SEED) + i / 2 * 0x9e3779b97f4a7c15ull;

		one_run(&run, of | 1);
		if (run.wrong)
			printf("in the run of seed %" PRIu64 "\n", of | 1);
	}
	printf("%" PRIu64 " keys stayed, %" PRIu64 " moved\n", run.kept, run.moved);
	/* Were none kept, or all, agreement would mean little. */
	return run.wrong || run.kept * 4 < run.moved || run.moved * 50 < run.kept;
}
