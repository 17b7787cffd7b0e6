/* SPDX-License-Identifier: Apache-2.0 */
/* The rules that spoke for a destination and did not decide. */
#ifndef SLUICE_TOOLS_BPFCTL_BEATEN_H
#define SLUICE_TOOLS_BPFCTL_BEATEN_H

#include <jansson.h>

#include "tools/bpfctl/offline.h"

/*
 * A list of {policy, kind, file, line, column, text, action}, the strongest first, without the rule `winner` (NULL: none
 * decided); a new reference. 0 or -ENOMEM.
 */
int beaten_rules(struct offline *off, const struct subject *subject, const struct explain_query *q,
		 const struct image_source *winner, json_t **ret);

#endif
