/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket of agent/api.h. */
#ifndef SLUICE_AGENT_API_SERVER_H
#define SLUICE_AGENT_API_SERVER_H

#include <jansson.h>
#include <stddef.h>
#include <systemd/sd-event.h>

#include "agent/observe.h"

/* What answers the requests: a new object each, NULL when memory runs out. */
struct api_handlers {
	void *context;
	json_t *(*status)(void *context);
	json_t *(*endpoints)(void *context);
	json_t *(*policies)(void *context);
	/* These two, when NULL: `ret_error` says why; it points at a constant. */
	json_t *(*interface)(void *context, const json_t *request, const char **ret_error);
	json_t *(*trace)(void *context, const json_t *request, const char **ret_error);
	void (*reload)(void *context);
	struct observe *observe;
};

struct api_server;

/* Listens on `path`, replacing a socket that nobody listens on. 0 or -errno (logged). */
int api_server_open(sd_event *event, const char *path, const struct api_handlers *handlers, struct api_server **ret);
void api_server_freep(struct api_server **s); /* closes all connections and removes the socket */
/* A new line of the flow log, for those who follow it. */
void api_server_line(const char *line, size_t len, void *server);

#endif
