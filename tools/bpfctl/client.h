/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's control socket (agent/api.h): one JSON request, then lines of JSON. */
#ifndef SLUICE_TOOLS_BPFCTL_CLIENT_H
#define SLUICE_TOOLS_BPFCTL_CLIENT_H

#include <jansson.h>
#include <stdbool.h>

struct client;

/* 0; -ENOENT, -ECONNREFUSED: no agent listens; -errno. */
int client_connect(const char *path, struct client **ret);
void client_freep(struct client **client);

/* Steals `request`. 0 or -errno. */
int client_send(struct client *client, json_t *request);
/*
 * The next line. 0; -EPIPE when the agent has closed; -EAGAIN after `timeout_ms` without one (negative: wait for
 * ever); -EBADMSG for what is no JSON object; -errno.
 */
int client_receive(struct client *client, int timeout_ms, json_t **ret);

/* Connects, sends `request` (stolen), and gives the `result`. As client_call(). */
int client_ask(const char *path, json_t *request, json_t **ret);
/* Connects, asks `method`, and gives the `result`. 0; -EREMOTEIO with the agent's words on stderr; else as above. */
int client_call(const char *path, const char *method, json_t **ret);

#endif
