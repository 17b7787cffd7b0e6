/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of the flow log (Hubble's shape): made from kernel records, filtered, and printed for people. */
#ifndef SLUICE_TOOLS_BPFCTL_LINES_H
#define SLUICE_TOOLS_BPFCTL_LINES_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "tools/bpfctl/records.h"

struct line_filter {
	const char *pod;     /* "namespace/name", at either end; NULL: any */
	const char *verdict; /* "DROPPED", ...; NULL: any */
};

/* What a person may call a verdict: "denied", "dropped", "DROPPED" -> "DROPPED". NULL for no verdict's name. */
const char *line_verdict(const char *text);
bool line_matches(const json_t *line, const struct line_filter *filter);
/* One line: time, verdict, who -> whom (name), port/protocol, reason, rule. */
void line_print(FILE *f, const json_t *line);

/* NULL when memory runs out. */
json_t *line_from_event(const struct records *r, const struct sluice_event *event);
json_t *line_from_dns(const struct records *r, const struct sluice_dns_record *record);

#endif
