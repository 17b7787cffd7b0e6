/* SPDX-License-Identifier: Apache-2.0 */
/* The node's counters in Prometheus' text format 0.0.4. Names are those of `bpfctl status`, with `sluice_` before them. */
#ifndef SLUICE_AGENT_METRICS_H
#define SLUICE_AGENT_METRICS_H

#include "agent/status.h"
#include "base/strbuf.h"

/* Appends all of it. A counter that cannot be read is left out. */
void metrics_write(const struct status *s, struct strbuf *out);

/* One metric after another, for those that only another module knows. `type` is "counter" or "gauge". */
void metrics_head(struct strbuf *out, const char *name, const char *type, const char *help);
/* `labels` is "" or `key="value",…` made of values that need no escaping, or went through metrics_escape(). */
void metrics_value(struct strbuf *out, const char *name, const char *labels, uint64_t value);
/* As a label's value; into buf, cut when too long; returns buf. */
char *metrics_escape(const char *text, char *buf, size_t size);

#endif
