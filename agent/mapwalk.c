/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/mapwalk.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

#define BATCH	  1024u
#define BATCH_MAX (1u << 20)

struct batch {
	char *keys;
	char *values;
	unsigned int size;
};

static void batch_clear(struct batch *b)
{
	free(b->keys);
	free(b->values);
}

static int batch_grow(struct batch *b, size_t key_size, size_t value_size, unsigned int size)
{
	batch_clear(b);
	b->keys = calloc(size, key_size);
	b->values = calloc(size, value_size);
	b->size = size;
	return b->keys && b->values ? 0 : -ENOMEM;
}

static int hand_out(const struct batch *b, unsigned int count, size_t key_size, size_t value_size, mapwalk_fn *each,
		    void *context)
{
	for (unsigned int i = 0; i < count; i++) {
		int r = each(b->keys + i * key_size, b->values + i * value_size, context);

		if (r)
			return r;
	}
	return 0;
}

/* BPF_MAP_LOOKUP_BATCH: ENOSPC means a hash bucket that holds more than the batch, ENOENT the end. */
int mapwalk(int fd, size_t key_size, size_t value_size, mapwalk_fn *each, void *context)
{
	CLEANUP(batch_clear) struct batch b = {};
	char cursor[64], *in = NULL;
	int r = key_size <= sizeof(cursor) ? batch_grow(&b, key_size, value_size, BATCH) : -EINVAL;

	while (r == 0) {
		unsigned int count = b.size;
		int error;

		error = bpf_map_lookup_batch(fd, in, cursor, b.keys, b.values, &count, NULL) < 0 ? errno : 0;
		if (error == ENOSPC) {
			r = b.size >= BATCH_MAX ? -ENOSPC : batch_grow(&b, key_size, value_size, b.size * 4);
			continue;
		}
		if (error && error != ENOENT)
			return -error;
		r = hand_out(&b, count, key_size, value_size, each, context);
		if (error == ENOENT)
			return r;
		in = cursor;
	}
	return r;
}
