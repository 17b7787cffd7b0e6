/* SPDX-License-Identifier: Apache-2.0 */
/* Diagnostics as log lines, FILE:LINE:COL first. */
#ifndef SLUICE_AGENT_DIAG_LOG_H
#define SLUICE_AGENT_DIAG_LOG_H

#include "base/log.h"
#include "policy/diag.h"

static inline void diag_log(const struct diags *diags)
{
	static const enum log_level levels[] = {
		[DIAG_NOTICE] = LOG_LEVEL_INFO,
		[DIAG_WARNING] = LOG_LEVEL_WARNING,
		[DIAG_ERROR] = LOG_LEVEL_ERROR,
	};

	for (size_t i = 0; i < diags->count; i++) {
		char line[1024];

		log_at(levels[diags->items[i].level], "%s", diag_format(&diags->items[i], line, sizeof(line)));
	}
}

#endif
