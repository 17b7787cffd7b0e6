/* SPDX-License-Identifier: Apache-2.0 */
/* The API's "trace": which rules speak for a destination (agent/api.h). */
#ifndef SLUICE_AGENT_TRACE_H
#define SLUICE_AGENT_TRACE_H

#include <jansson.h>

#include "agent/endpoints.h"

/* A new reference; NULL: `ret_error` says why, when it is not the memory. */
json_t *trace_answer(struct endpoints *e, const struct endpoints_input *in, const json_t *request,
		     const char **ret_error);

#endif
