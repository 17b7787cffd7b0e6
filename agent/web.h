/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is read over HTTP: /metrics, and for the kubelet's probes /healthz (the event loop runs) and /readyz (policies are
 * in force). Nothing is changed by it, and nothing in it is secret. libmicrohttpd's, on the agent's event loop.
 */
#ifndef SLUICE_AGENT_WEB_H
#define SLUICE_AGENT_WEB_H

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "base/strbuf.h"

struct web_handlers {
	void *context;
	void (*metrics)(void *context, struct strbuf *out);
	/* False: not yet, or not any more, and `out` says why. */
	bool (*ready)(void *context, struct strbuf *out);
};

struct web;

/* Listens on "ADDRESS:PORT", "[ADDRESS]:PORT" or ":PORT". 0; -EINVAL: it is none of these; else -errno. */
int web_open(sd_event *event, const char *listen, const struct web_handlers *handlers, struct web **ret);
void web_freep(struct web **w);

#endif
