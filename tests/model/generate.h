/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random clusters, manifests and flows, biased to collisions: few labels, CIDRs inside one another, the same ports
 * everywhere, names below names. Only manifests that policy/ should accept are made.
 */
#ifndef SLUICE_TESTS_MODEL_GENERATE_H
#define SLUICE_TESTS_MODEL_GENERATE_H

#include "base/strbuf.h"
#include "tests/model/world.h"

struct rng {
	uint64_t state; /* not 0 */
};
uint32_t chance(struct rng *r, uint32_t below); /* 0 .. below - 1 */

/* What may occur in the manifests. */
enum feature {
	FEATURE_CNP,
	FEATURE_CCNP,
	FEATURE_CIDR_GROUP,
	FEATURE_ANP,
	FEATURE_NETWORK_POLICY,
	FEATURE_AWS_CLUSTER,
	FEATURE_UPSTREAM_CLUSTER,
	FEATURE_EXPRESSIONS,
	FEATURE_CILIUM_LABELS,
	FEATURE_ENTITIES,
	FEATURE_TO_SERVICES,
	FEATURE_NAMED_PORTS,
	FEATURE_ICMPS,
	FEATURE_DEFAULT_DENY,
	FEATURE_POD_PEERS, /* of ApplicationNetworkPolicy */
	FEATURE_MAX,
};
const char *feature_name(enum feature f);
/* A manifest that uses it and little else. */
const char *feature_probe(enum feature f);

/* An answer that an endpoint got: this name, this address. */
struct lease {
	const char *name;
	struct sluice_addr addr;
};

struct flow {
	struct sluice_addr to;
	uint8_t proto;
	uint16_t port;
};

void generate_world(struct rng *r, struct world *w);
/* One YAML text of several documents. `features`: bits 1 << enum feature. */
void generate_policies(struct rng *r, uint32_t features, struct strbuf *text);
void generate_lease(struct rng *r, struct lease *ret);
void generate_flow(struct rng *r, const struct world *w, struct flow *ret);
extern const char *const asked_names[];
extern const size_t nasked_names;

#endif
