/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flow log: takes events out of the kernel's ring and records out of the proxy's, makes lines of them, keeps the
 * last ones, writes them to a file and to whoever listens.
 */
#ifndef SLUICE_AGENT_OBSERVE_H
#define SLUICE_AGENT_OBSERVE_H

#include <stddef.h>
#include <stdint.h>

#include "agent/endpoints.h"
#include "agent/kernel.h"
#include "agent/publish.h"

#define OBSERVE_HISTORY 8192

struct observe;

/* One line of JSON without its newline; borrowed. */
typedef void observe_line_fn(const char *line, size_t len, void *context);

int observe_new(const struct kernel *k, const struct publisher *p, struct observe **ret); /* 0 or -errno */
void observe_freep(struct observe **o);

/* "" : no file. 0 or -errno (logged), and then there is none. */
int observe_set_file(struct observe *o, const char *path);
/* Every new line goes there too. */
void observe_set_listener(struct observe *o, observe_line_fn *fn, void *context);

/* Takes in what has come since. Meant for every 100 ms. */
void observe_tick(struct observe *o);
/* The last `last` lines, oldest first. */
void observe_history(const struct observe *o, size_t last, observe_line_fn *fn, void *context);

/* Events that the kernel's ring had no room for, DNS records overwritten unread, lines the file did not take. */
struct observe_losses {
	uint64_t events;
	uint64_t dns_records;
	uint64_t file_lines;
};
void observe_losses(const struct observe *o, struct observe_losses *ret);

#endif
