/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bpfctl/images.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "dnsproxy/settings.h"

#define IMAGE_MAX_BYTES (256u << 20)

struct opened {
	uint64_t policy;
	int error; /* what opening it gave, so that a bad file is tried once */
	char *data;
	struct image *img;
};

struct images {
	char *dir;
	struct opened *items;
	size_t count;
};

int images_new(const char *run_dir, struct images **ret)
{
	__attribute__((cleanup(images_freep))) struct images *images = calloc(1, sizeof(*images));

	if (!images || asprintf(&images->dir, "%s/%s", run_dir, PROXY_DIR) < 0)
		return -ENOMEM;
	*ret = TAKE_PTR(images);
	return 0;
}

void images_freep(struct images **images)
{
	struct images *p = *images;

	if (!p)
		return;
	for (size_t i = 0; i < p->count; i++) {
		image_freep(&p->items[i].img);
		free(p->items[i].data);
	}
	free(p->items);
	free(p->dir);
	free(p);
	*images = NULL;
}

static int load(const struct images *images, struct opened *o)
{
	char path[PATH_MAX];
	size_t len = 0;
	int r;

	if (snprintf(path, sizeof(path), "%s/" PROXY_IMAGE_FORMAT, images->dir, (unsigned long long)o->policy) >=
	    (int)sizeof(path))
		return -ENAMETOOLONG;
	r = file_read(AT_FDCWD, path, IMAGE_MAX_BYTES, &o->data, &len);
	return r < 0 ? r : image_open(o->data, len, &o->img);
}

int images_get(struct images *images, uint64_t policy, const struct image **ret)
{
	struct opened *o = NULL;

	for (size_t i = 0; i < images->count && !o; i++) {
		if (images->items[i].policy == policy)
			o = &images->items[i];
	}
	if (!o) {
		struct opened *grown = reallocarray(images->items, images->count + 1, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		images->items = grown;
		o = &grown[images->count++];
		*o = (struct opened){ .policy = policy };
		o->error = load(images, o);
	}
	if (o->error < 0)
		return o->error;
	*ret = o->img;
	return 0;
}

bool image_file_id(const char *name, uint64_t *ret)
{
	char again[64];
	char *end;
	unsigned long long id;

	id = strtoull(name, &end, 16);
	snprintf(again, sizeof(again), PROXY_IMAGE_FORMAT, id);
	if (strcmp(again, name))
		return false;
	*ret = id;
	return true;
}

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

int images_list(const struct images *images, uint64_t **ret, size_t *ret_count)
{
	__attribute__((cleanup(closedirp))) DIR *dir = opendir(images->dir);
	_cleanup_free_ uint64_t *ids = NULL;
	struct dirent *entry;
	size_t count = 0;

	if (!dir)
		return -errno;
	while ((entry = readdir(dir))) {
		uint64_t *grown, id;

		if (!image_file_id(entry->d_name, &id))
			continue;
		grown = reallocarray(ids, count + 1, sizeof(*ids));
		if (!grown)
			return -ENOMEM;
		ids = grown;
		ids[count++] = id;
	}
	if (count)
		qsort(ids, count, sizeof(*ids), compare_ids);
	*ret = TAKE_PTR(ids);
	*ret_count = count;
	return 0;
}
