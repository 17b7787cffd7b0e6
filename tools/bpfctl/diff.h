/* SPDX-License-Identifier: Apache-2.0 */
/* What two compiled policies of one endpoint allow differently. Exact: over their tables, not over samples. */
#ifndef SLUICE_TOOLS_BPFCTL_DIFF_H
#define SLUICE_TOOLS_BPFCTL_DIFF_H

#include <jansson.h>

#include "policy/image.h"
#include "policy/names.h"

/* The names to compare: every pattern that stands in either side's manifests. */
struct diff_names {
	struct name_pattern *items;
	size_t count;
};
void diff_names_sort(struct diff_names *names); /* and drops what is there twice */

/*
 * {allowed: [...], denied: [...]}, what `is` newly allows and newly denies: {destination, except, scope, ports, rule} of
 * addresses, {name, ports, rule} of names, {name, askable} of questions to DNS. A NULL image stands for an endpoint that
 * nothing selects. A new reference, NULL without memory.
 */
json_t *diff_images(const struct image *was, const struct image *is, const struct diff_names *names);

#endif
