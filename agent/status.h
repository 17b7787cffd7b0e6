/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent answers to `status` and `endpoints`: what only it knows. The rest bpfctl reads from the pins. */
#ifndef SLUICE_AGENT_STATUS_H
#define SLUICE_AGENT_STATUS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/discover.h"
#include "agent/endpoints.h"
#include "agent/kernel.h"
#include "agent/observe.h"
#include "agent/publish.h"
#include "dnsproxy/settings.h"
#include "policy/compile.h"

struct status {
	const struct kernel *kernel;
	const struct publisher *publisher;
	const struct endpoints *endpoints;
	const struct observe *observe;
	const struct discover *discover;
	const struct store *store;
	const char *config_path;
	const char *policy_dir;
	const struct proxy_settings *proxy;
	const char *problems; /* one a line; NULL */
	size_t quarantined;
	unsigned int pins_repaired; /* kernel_check_pins, since the start */
	bool audit;
	uint64_t started;
};

json_t *status_json(const struct status *s);
json_t *status_endpoints_json(const struct endpoints *e);

#endif
