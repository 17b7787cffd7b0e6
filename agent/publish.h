/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiled policies in force: each image once, under an id of its own, in the kernel's tables and as a file for the
 * proxy, counted by who uses it.
 */
#ifndef SLUICE_AGENT_PUBLISH_H
#define SLUICE_AGENT_PUBLISH_H

#include <stddef.h>
#include <stdint.h>

#include "agent/kernel.h"
#include "policy/image.h"

struct published {
	uint64_t id;
	struct image *img;
	uint8_t *data; /* what img views */
	size_t len;
	unsigned int refs;
	uint64_t retire_at; /* CLOCK_MONOTONIC ns, when refs is 0 */
};

struct publisher;

/*
 * Takes over what is in force: an image file whose id some endpoint's state word holds (`keep`) is read and kept, with
 * no reference yet; everything else in the folder and in the tables under any other id goes. `run_dir`/proxy is made
 * when it is not there. 0 or -errno.
 */
int publisher_open(struct kernel *k, const char *run_dir, struct publisher **ret);
void publisher_freep(struct publisher **p);

/*
 * The policy of this image, published under a new id if it is not in force already; one reference more. 0; -errno when
 * a table is full or the file cannot be written: nothing of it remains. `image` stays the caller's.
 */
int publisher_get(struct publisher *p, const uint8_t *image, size_t len, struct published **ret);
struct published *publisher_find(const struct publisher *p, uint64_t id); /* borrowed, no reference; NULL */
void published_ref(struct published *pub);
/* One reference less. Without any, it stays for a moment longer, since a packet or a query may be on its way. */
void published_unref(struct published *pub, uint64_t now);

/* Takes away what is due. */
void publisher_collect(struct publisher *p, uint64_t now);
/* From now on no image is taken as published already: the epoch of the present ids is used up. */
void publisher_renew(struct publisher *p);

size_t publisher_count(const struct publisher *p);
/* How often a policy could not be published because a table was full or a file failed. */
uint64_t publisher_failures(const struct publisher *p);

/* The folder of images and settings that the proxy sees. */
int publisher_dir(const struct publisher *p);

#endif
