/* SPDX-License-Identifier: Apache-2.0 */
/* The line of ports cut where either of two policies changes its mind. Private to diff*.c. */
#ifndef SLUICE_TOOLS_BPFCTL_DIFF_PORTS_H
#define SLUICE_TOOLS_BPFCTL_DIFF_PORTS_H

#include <jansson.h>

#include "policy/image.h"

struct cuts {
	uint32_t *items; /* first ports of segments; sorted, each once, after cuts_sort */
	size_t count;
	bool oom;
};
void cuts_clear(struct cuts *c);
/* Where the rows of a set begin and end, for a protocol. */
void cuts_add_set(struct cuts *c, const struct image *img, uint32_t set, uint8_t proto);
void cuts_sort(struct cuts *c); /* and adds 0 */

/* One answer for one port. */
struct port_word {
	bool allowed;
	uint32_t rule; /* of its image; 0: none */
};

/* What changed for one destination: ports newly allowed and newly denied, each with the first rule behind it. */
struct changes {
	json_t *allowed; /* texts */
	json_t *denied;
	uint32_t allowed_rule; /* of the new image */
	uint32_t denied_rule;  /* of the old one */
	bool oom;
};
void changes_clear(struct changes *c);
bool changes_equal(const struct changes *a, const struct changes *b);

/* Asks both sides at every cut of every protocol and notes where they differ. */
struct port_asker {
	void (*cut)(void *context, uint8_t proto, struct cuts *cuts);
	void (*ask)(void *context, uint8_t proto, uint16_t port, struct port_word *was, struct port_word *is);
	void *context;
};
void changes_find(struct changes *c, const struct port_asker *asker);

#endif
