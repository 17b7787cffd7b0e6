/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A compiled policy: one immutable, position-independent block of bytes, written by policy/compile.c, stored as
 * RUNDIR/proxy/<policy id, 16 hex digits>.img, mapped read-only by the proxy, the agent and bpfctl.
 *
 * The content is canonical: equal policies for equal endpoints give equal bytes, and image_hash() names them. It knows
 * no policy id; the id is what the agent publishes it under.
 *
 * image_open() checks every offset, count and index once, so that no later call can leave the block whatever the file
 * holds; the calls after it do not allocate and do not fail.
 */
#ifndef SLUICE_POLICY_IMAGE_H
#define SLUICE_POLICY_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "bpf/abi.h"

#define IMAGE_HASH_LEN 32

enum image_flags {
	IMAGE_ISOLATED = 1 << 0, /* default deny for egress */
	IMAGE_NAMES = 1 << 1,	 /* has name rules: port 53 is the proxy's */
	IMAGE_ASK_ANY = 1 << 2,	 /* not isolated: every name may be asked */
	IMAGE_REFUSED = 1 << 3,	 /* a refused policy selects the endpoint: deny for it, whatever the others allow */
};

struct image; /* a view; holds the bytes it was opened on by reference only */

/*
 * `data` must stay valid and unchanged while the view lives. 0, -EBADMSG (not an image, another version, or any part
 * out of bounds), -ENOMEM. The view is freed by image_freep (NULL-safe, sets NULL).
 */
int image_open(const void *data, size_t len, struct image **ret);
void image_freep(struct image **img);

uint32_t image_flags(const struct image *img);
const uint8_t *image_hash(const struct image *img); /* IMAGE_HASH_LEN bytes: SHA-256 of the content */

/* ---- the kernel's tables -------------------------------------------------------------------------------------- */

struct image_dest {
	struct sluice_addr addr; /* masked */
	uint32_t bits;		 /* 0..128, of the 16-byte form: an IPv4 /8 is 104 */
	struct sluice_dest dest;
};

struct image_rule {
	uint32_t set;
	uint8_t proto;
	uint8_t port_bits; /* 0..16 */
	uint8_t pad[2];
	__be16 port; /* masked */
	uint8_t pad2[2];
	struct sluice_rule rule;
};

size_t image_dest_count(const struct image *img);
const struct image_dest *image_dest_at(const struct image *img, size_t i);
size_t image_rule_count(const struct image *img);
const struct image_rule *image_rule_at(const struct image *img, size_t i);

/* Longest-prefix look-ups, the same answers as the kernel's tries give. False: no entry. */
bool image_find_dest(const struct image *img, const struct sluice_addr *addr, struct sluice_dest *ret);
/* Outside the cluster's table, but no name opens it: the API server's address, or one in a Service CIDR. */
bool image_bars_names(const struct image *img, const struct sluice_addr *addr);
bool image_find_rule(const struct image *img, uint32_t set, uint8_t proto, __be16 port, struct sluice_rule *ret);

/* ---- where rules come from ------------------------------------------------------------------------------------ */

struct image_source {
	const char *policy; /* "namespace/name", or "name" of a cluster-wide policy */
	const char *kind;
	const char *file;
	uint32_t line; /* from 1 */
	uint32_t column;
	const char *text; /* the rule in words, e.g. "toFQDNs pypi.org 443/TCP" */
};

/* rule from 1; false for 0 or one that does not exist. */
bool image_rule_source(const struct image *img, uint32_t rule, struct image_source *ret);
size_t image_rule_source_count(const struct image *img);
/* Names of the policies it was made of, in canonical order; for people. */
size_t image_policy_count(const struct image *img);
const char *image_policy_at(const struct image *img, size_t i);

/* ---- names ------------------------------------------------------------------------------------------------------ */

#define IMAGE_MATCH_SETS SLUICE_LEASE_SLOTS

struct image_match {
	bool askable;	/* may be asked at all */
	bool exact;	/* a pattern is the name itself, without a wildcard */
	bool overflow;	/* more distinct rule sets than fit: treat as an internal error, never as an allow */
	uint32_t nsets; /* 0 with askable: ask-only (semantics section 4) */
	uint32_t sets[IMAGE_MATCH_SETS];      /* each carries SLUICE_SET_NAME */
	uint32_t set_rules[IMAGE_MATCH_SETS]; /* the first rule that opens the name through that set */
	uint32_t rule; /* the first rule that opens it, else the first that lets it be asked; 0 when none */
};

/*
 * `name` is canonical: lower case, dots between labels, no final dot, `len` bytes (0: the root). Time does not grow
 * with the number of patterns. Bytes outside the name alphabet match no pattern but `*`-only ones.
 */
void image_match_name(const struct image *img, const char *name, size_t len, struct image_match *ret);

/* Is there an allowed name strictly below `name`? (RFC 8020: NXDOMAIN for it would kill those.) */
bool image_name_below(const struct image *img, const char *name, size_t len);

/* Could any address rule admit an address outside the cluster and link-local? (semantics section 4, ask-only names) */
bool image_opens_outside(const struct image *img);

/*
 * One pattern of the image: `*` is any label, `**.` at the start one or more labels of any kind, `*` inside a label zero
 * or more characters, "*" alone every name.
 */
struct image_name {
	char pattern[264];
	uint32_t set; /* 0: may be asked and opens nothing */
	uint32_t rule;
};
/* Calls `each` for every pattern, in the image's order, until it returns other than 0; returns that, or 0. */
int image_each_name(const struct image *img, int (*each)(const struct image_name *name, void *context), void *context);

/* ---- two images -------------------------------------------------------------------------------------------------- */

enum image_verdict {
	IMAGE_NO_RULE = 0, /* denied by default */
	IMAGE_DENY,
	IMAGE_ALLOW,
};

/* The address rules of two images differ for these destinations (less what a longer prefix says) and ports. */
struct image_change {
	struct sluice_prefix prefix;
	bool in_cluster; /* for addresses of the cluster; else for the others */
	uint8_t proto;
	uint16_t first; /* host order; ICMP: type in the upper byte */
	uint16_t last;
	enum image_verdict was;
	enum image_verdict is;
	uint32_t was_rule; /* of the old image */
	uint32_t is_rule;  /* of the new image */
};
/*
 * Calls `each` for every difference of verdict, by prefix and port, until it returns other than 0; returns that, 0 or
 * -ENOMEM. Names are not compared: image_each_name and image_match_name do that.
 */
int image_diff(const struct image *was, const struct image *is,
	       int (*each)(const struct image_change *change, void *context), void *context);

#endif
