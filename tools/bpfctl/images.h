/* SPDX-License-Identifier: Apache-2.0 */
/* The compiled policies in RUNDIR/proxy, opened once each. */
#ifndef SLUICE_TOOLS_BPFCTL_IMAGES_H
#define SLUICE_TOOLS_BPFCTL_IMAGES_H

#include <stddef.h>
#include <stdint.h>

#include "policy/image.h"

struct images;

int images_new(const char *run_dir, struct images **ret); /* 0, -ENOMEM */
void images_freep(struct images **images);

/* 0, -ENOENT, -EBADMSG, -errno. The view belongs to `images`. */
int images_get(struct images *images, uint64_t policy, const struct image **ret);
/* Ids that have an image file, ascending; free(). 0, -ENOENT when there is no run directory, -errno. */
int images_list(const struct images *images, uint64_t **ret, size_t *ret_count);

/* The id in "%016llx.img"; false for any other name. */
bool image_file_id(const char *name, uint64_t *ret);

#endif
