/* SPDX-License-Identifier: Apache-2.0 */
/* What DNS says of a list of names, many at a time. The one file that uses c-ares is resolve.c. */
#ifndef SLUICE_TOOLS_BPFCTL_RESOLVE_H
#define SLUICE_TOOLS_BPFCTL_RESOLVE_H

#include <stddef.h>

#include "base/addr.h"

enum resolve_status {
	RESOLVE_OK,
	RESOLVE_NO_NAME, /* NXDOMAIN */
	RESOLVE_NO_DATA, /* the name has neither A nor AAAA */
	RESOLVE_TIMEOUT, /* no resolver answered */
	RESOLVE_FAILED,	 /* every resolver refused or failed */
};
const char *resolve_status_name(enum resolve_status status); /* "ok", "no-such-name", ... */

struct resolve_addr {
	struct sluice_addr addr;
	char *reverse; /* the name of its PTR record, without final dot; NULL: none */
};

struct resolve_name {
	const char *name; /* borrowed */
	enum resolve_status status;
	char **aliases; /* the chain that led to the addresses, in its order, without final dots */
	size_t naliases;
	struct resolve_addr *addrs;
	size_t naddrs;
};

struct resolve_options {
	const char *server;	 /* "ADDR", "ADDR:PORT", "[ADDR]:PORT"; NULL: what /etc/resolv.conf says */
	unsigned int timeout_ms; /* of one try */
	unsigned int tries;
};

/*
 * Fills `names[i]` from `name` on, addresses and their reverse names. 0; -EINVAL: the server's text is no address;
 * -ENOMEM; -errno. What was filled is freed by resolve_clear in any case.
 */
int resolve_names(struct resolve_name *names, size_t count, const struct resolve_options *options);
void resolve_clear(struct resolve_name *names, size_t count);

#endif
