/* SPDX-License-Identifier: Apache-2.0 */
/* A policy's destinations as the kernel searches them: the pages of struct sluice_dest_page, filled (bpf/abi.h). */
#ifndef SLUICE_POLICY_PAGES_H
#define SLUICE_POLICY_PAGES_H

#include <stddef.h>
#include <stdint.h>

#include "bpf/abi.h"
#include "policy/image.h"

struct pages {
	struct sluice_dest_page *items; /* in the order to write them in: the roots last */
	size_t count;
};

/*
 * `dests` are sorted by address, then bits, and none is there twice, as in an image. The answers are those of the
 * longest prefix. A family without a prefix has no page; the pages of one have the numbers from its root's on, and
 * stand in that order but for the root. 0, -ENOMEM; -E2BIG: a set above SLUICE_DEST_MAX_SET. Freed by pages_clear (safe on a zeroed one).
 */
int pages_build(const struct image_dest *dests, size_t count, uint64_t policy, struct pages *ret);
void pages_clear(struct pages *pages);

/* The most pages that so many policies with so many prefixes between them take. */
uint32_t pages_most(uint64_t policies, uint64_t prefixes);

#endif
