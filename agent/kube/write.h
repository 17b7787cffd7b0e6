/* SPDX-License-Identifier: Apache-2.0 */
/* The inventory's objects as the API would say them, with what was kept of them: read again they are the same. */
#ifndef SLUICE_AGENT_KUBE_WRITE_H
#define SLUICE_AGENT_KUBE_WRITE_H

#include <stdbool.h>

/* A member that no object of the API has: what was found in members that are not kept. */
#define KUBE_WRITE_ESCAPE "sluiceEscape"

#include "base/strbuf.h"
#include "policy/objects.h"

/* What the cache knows of an object besides. Borrowed. */
struct kube_metadata {
	const char *namespace_name; /* "": it has none */
	const char *name;
	const char *uid;
	const char *mirrors; /* the uid of the static pod whose mirror it is; NULL: none's */
	const char *escape;  /* of a host-network pod: kube_escape(); NULL: its cgroup holds it */
	bool deleting;
	bool finished;
};

/* Of `one`, which has one element of one kind, a JSON object in one line without its end. */
void kube_write_object(struct strbuf *out, const struct kube_metadata *m, const struct objects *one);

#endif
