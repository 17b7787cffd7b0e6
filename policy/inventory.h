/* SPDX-License-Identifier: Apache-2.0 */
/* The inventory with an order to it: what is behind a Service, and which addresses are the cluster's. Private. */
#ifndef SLUICE_POLICY_INVENTORY_H
#define SLUICE_POLICY_INVENTORY_H

#include "policy/compile.h"

/* One address behind a Service. */
struct member {
	struct sluice_addr addr;
	const char *hostname;	   /* NULL: none */
	const struct subject *pod; /* a running pod of the Service's namespace with that address; NULL: none */
	const struct inventory_slice *slice; /* NULL: found by the Service's selector */
	bool ready;			     /* kube-proxy would use it */
};

struct members {
	struct member *items;
	size_t count;
};

struct inventory_index {
	const struct inventory *inv;
	const struct subject **pods; /* running ones, by namespace and name; borrowed */
	size_t npods;
	const struct sluice_addr *cluster; /* sorted; borrowed */
	size_t ncluster;
	const struct inventory_slice **slices; /* by namespace and Service */
	struct sluice_addr *api_server; /* its EndpointSlices' addresses, sorted: names open none of them (hazard 12) */
	size_t napi_server;
	struct members *members; /* by Service of the inventory */
	size_t nmembers;
};

/* The rest, from the inventory, its pods and the cluster's addresses. 0, -ENOMEM */
int index_build(struct inventory_index *index);
void index_clear(struct inventory_index *index);
bool index_in_cluster(const struct inventory_index *index, const struct sluice_addr *addr);
/* An address outside the cluster's table that no name opens: the API server's, or in a Service CIDR. */
bool index_bars_names(const struct inventory_index *index, const struct sluice_addr *addr);
bool service_is_api_server(const struct inventory_service *s);

/* What is behind a Service of the index's inventory, sorted by address. */
const struct members *service_members(const struct inventory_index *index, const struct inventory_service *s);
/* The member's port for that port of the Service; 0: it has none. */
uint16_t member_port(const struct member *m, const struct service_port *port);

#endif
