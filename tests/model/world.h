/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small cluster as the model sees it: what the generator makes, the evaluator judges against, and adapter.c turns into
 * policy's inventory. Everything is fixed-size and by value; strings are literals of the generator.
 */
#ifndef SLUICE_TESTS_MODEL_WORLD_H
#define SLUICE_TESTS_MODEL_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr_type.h"

#define WORLD_MAX   8
#define WORLD_ADDRS 2 /* one of each family */

struct world_label {
	const char *key;
	const char *value;
};

struct world_labels {
	struct world_label items[4];
	size_t count;
};

struct world_addrs {
	struct sluice_addr items[WORLD_ADDRS];
	size_t count;
};

struct world_namespace {
	const char *name;
	struct world_labels labels;
};

struct world_port {
	const char *name;
	uint8_t proto;
	uint16_t number;
};

struct world_pod {
	const char *namespace_name;
	const char *name;
	const char *account;
	struct world_labels labels;
	struct world_addrs addrs;
	struct world_port ports[3];
	size_t nports;
	bool ready;
	bool finished;	   /* has no address any more, whatever `addrs` says */
	bool host_network; /* `addrs` are its node's; as a peer it is that node */
};

struct world_node {
	const char *name;
	struct world_labels labels;
	struct world_addrs addrs;
	bool local;
};

struct world_service_port {
	uint8_t proto;
	uint16_t port;
	uint16_t target;
	const char *target_name; /* instead of `target`: a container port's name */
};

/* default/kubernetes is the API server. What stands behind a Service are the ready pods of its namespace with its selector's labels, or `outside`. */
struct world_service {
	const char *namespace_name;
	const char *name;
	struct world_labels labels;
	struct world_labels selector; /* none: `outside` are its backends */
	struct world_addrs addrs;
	struct world_addrs outside;
	struct world_service_port ports[2];
	size_t nports;
};

struct world {
	struct world_namespace namespaces[WORLD_MAX];
	size_t nnamespaces;
	struct world_pod pods[WORLD_MAX];
	size_t npods;
	struct world_node nodes[WORLD_MAX];
	size_t nnodes;
	struct world_service services[WORLD_MAX];
	size_t nservices;
	const char *service_cidrs[2]; /* an address inside is a ClusterIP, known or not; NULL: none */
};

#endif
