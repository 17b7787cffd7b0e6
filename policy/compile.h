/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From manifests to compiled policies. A `store` holds the manifests as last accepted; `compile` turns what of it
 * selects one endpoint into an image. No files are opened here and no clock is read: the caller supplies bytes.
 */
#ifndef SLUICE_POLICY_COMPILE_H
#define SLUICE_POLICY_COMPILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr_type.h"
#include "policy/diag.h"

struct label {
	const char *key;
	const char *value;
};

/* One enforcement target as selectors see it. Borrowed strings. */
struct subject {
	const char *namespace_name;
	const char *name;
	const struct label *labels;
	size_t nlabels;
	const struct sluice_addr *addrs;
	size_t naddrs;
};

/* What in-cluster peers are resolved against: in standalone mode the endpoints file. Borrowed. */
struct inventory {
	const struct subject *pods;
	size_t npods;
};

struct store;

int store_new(struct store **ret); /* 0, -ENOMEM */
void store_freep(struct store **s);

/*
 * Reads `text` as the new content of `file` (the name is used in messages and in rule sources). What is wrong goes to
 * `diags`, all of it, each with line and column. Semantics section 2:
 *  - not YAML, or a policy whose selector cannot be read: the file's last good state stays; without one, the
 *    endpoints it might select are denied unless something else selects them;
 *  - a refused policy: its last good state stays; what the refused text selects beyond that is denied.
 * 0: everything accepted; 1: something was refused (diags has errors); -ENOMEM.
 */
int store_update(struct store *s, const char *file, const char *text, size_t len, struct diags *diags);

/* The file is gone, and with it everything it said. 0, -ENOENT, -ENOMEM. */
int store_remove(struct store *s, const char *file);

size_t store_policy_count(const struct store *s);
size_t store_refused_count(const struct store *s);

/* One line per policy or refusal in force, for `bpfctl policy get` and `status`. Borrowed until the store changes. */
struct store_entry {
	const char *policy; /* "namespace/name" */
	const char *kind;
	const char *file;
	uint32_t line;
	bool refused;	/* the present text is refused */
	bool last_good; /* an older text is in force instead */
};
size_t store_entry_count(const struct store *s);
void store_entry_at(const struct store *s, size_t i, struct store_entry *ret);

/*
 * 0: `ret` holds an image (free() it). 1: nothing selects the endpoint; `ret` is untouched and it is open.
 * -ENOMEM; -E2BIG when the image would pass a format limit, with a diagnostic (the caller must deny).
 * `key`, when not NULL, receives a 64-bit fingerprint of the selection and the inventory, before any compiling:
 * subjects with equal keys get equal images, so callers compile once per key.
 */
int compile(const struct store *s, const struct subject *subject, const struct inventory *inv, struct diags *diags,
	    uint8_t **ret, size_t *ret_len);
uint64_t compile_key(const struct store *s, const struct subject *subject, const struct inventory *inv);

#endif
