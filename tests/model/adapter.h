/* SPDX-License-Identifier: Apache-2.0 */
/* The model's world as policy's inventory, and one endpoint's image with the leases a proxy would write. */
#ifndef SLUICE_TESTS_MODEL_ADAPTER_H
#define SLUICE_TESTS_MODEL_ADAPTER_H

#include "policy/compile.h"
#include "policy/image.h"
#include "tests/model/generate.h"
#include "tests/model/world.h"

#define ADAPTER_LEASES 6

struct adapter_world {
	struct inventory inv;
	struct subject pods[WORLD_MAX];
	struct label pod_labels[WORLD_MAX][4];
	struct pod_port pod_ports[WORLD_MAX][3];
	struct inventory_namespace namespaces[WORLD_MAX];
	struct label namespace_labels[WORLD_MAX][4];
	struct inventory_node nodes[WORLD_MAX];
	struct label node_labels[WORLD_MAX][4];
	struct inventory_service services[WORLD_MAX];
	struct label service_labels[WORLD_MAX][4];
	struct label selectors[WORLD_MAX][4];
	struct service_port service_ports[WORLD_MAX][2];
	struct inventory_slice slices[WORLD_MAX];
	struct slice_endpoint slice_endpoints[WORLD_MAX][WORLD_ADDRS];
	struct slice_port slice_ports[WORLD_MAX][2];
	struct sluice_prefix service_cidrs[2];
	struct sluice_addr cluster[4 * WORLD_MAX * WORLD_ADDRS];
	size_t ncluster;
};

/* Borrows from `w`; pointers lead into `ret` itself. */
void adapter_world(const struct world *w, struct adapter_world *ret);

struct adapter_endpoint {
	const struct adapter_world *world;
	bool open; /* nothing selects it */
	uint8_t *data;
	size_t len;
	struct image *img;
	struct lease kept[ADAPTER_LEASES]; /* what was leased, or opens nothing anyway */
	size_t nkept;
	struct sluice_lease leases[ADAPTER_LEASES];
	size_t nleases;
};

/* 0; -errno when it does not compile or the image cannot be opened. */
int adapter_compile(const struct store *s, const struct adapter_world *w, size_t pod, struct adapter_endpoint *ret);
/* Replaces the leases. Left out: what the proxy would answer with SERVFAIL for want of slots. */
void adapter_lease(struct adapter_endpoint *e, const struct lease *leases, size_t n);
void adapter_clear(struct adapter_endpoint *e);

struct adapter_answer {
	bool allowed;
	bool by_lease;
	bool by_proxy; /* port 53 of an endpoint with name rules */
	uint32_t rule; /* image_rule_source() */
};
struct adapter_answer adapter_judge(const struct adapter_endpoint *e, const struct flow *flow);

#endif
