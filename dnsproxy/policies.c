/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image's file is written once, under a name of its own, and never changed: a policy id is not used again (hazard 7).
 * So what is mapped stays right for as long as it is mapped, also when the agent has removed the file.
 */
#include "dnsproxy/policies.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "dnsproxy/settings.h"

#define SLOTS 256

struct slot {
	uint64_t id;
	uint64_t used; /* the counter's value when last asked for; 0: free */
	void *data;
	size_t len;
	struct image *img;
};

struct policies {
	int dir;
	uint64_t counter;
	struct slot *last; /* asked for last: most queries come in runs */
	struct slot slots[SLOTS];
};

int policies_new(int dir, struct policies **ret)
{
	struct policies *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	p->dir = dir;
	*ret = p;
	return 0;
}

static void clear_slot(struct policies *p, struct slot *s)
{
	if (s->used == 0)
		return;
	image_freep(&s->img);
	munmap(s->data, s->len);
	*s = (struct slot){};
	p->last = NULL;
}

void policies_freep(struct policies **p)
{
	for (int i = 0; *p && i < SLOTS; i++)
		clear_slot(*p, &(*p)->slots[i]);
	free(*p);
	*p = NULL;
}

static int map_image(int dir, uint64_t id, struct slot *s)
{
	_cleanup_close_ int fd = -1;
	struct stat st;
	char path[32];
	int r;

	snprintf(path, sizeof(path), PROXY_IMAGE_FORMAT, (unsigned long long)id);
	fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size <= 0 || st.st_size > INT32_MAX)
		return -EBADMSG;
	s->len = (size_t)st.st_size;
	s->data = mmap(NULL, s->len, PROT_READ, MAP_SHARED, fd, 0);
	if (s->data == MAP_FAILED)
		return -errno;
	r = image_open(s->data, s->len, &s->img);
	if (r < 0)
		munmap(s->data, s->len);
	return r;
}

static struct slot *find_slot(struct policies *p, uint64_t id)
{
	if (p->last && p->last->id == id)
		return p->last;
	for (int i = 0; i < SLOTS; i++)
		if (p->slots[i].used && p->slots[i].id == id)
			return &p->slots[i];
	return NULL;
}

static struct slot *oldest_slot(struct policies *p)
{
	struct slot *best = &p->slots[0];

	for (int i = 1; i < SLOTS; i++)
		if (p->slots[i].used < best->used)
			best = &p->slots[i];
	return best;
}

const struct image *policies_get(struct policies *p, uint64_t id)
{
	struct slot *s = find_slot(p, id);

	if (!s) {
		struct slot fresh = { .id = id };

		if (map_image(p->dir, id, &fresh) < 0)
			return NULL;
		s = oldest_slot(p);
		clear_slot(p, s);
		*s = fresh;
	}
	s->used = ++p->counter;
	p->last = s;
	return s->img;
}

static bool is_used(uint64_t id, const struct sluice_endpoint *endpoints, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (__atomic_load_n(&endpoints[i].generation, __ATOMIC_RELAXED) != 0 &&
		    SLUICE_STATE_POLICY(__atomic_load_n(&endpoints[i].state, __ATOMIC_RELAXED)) == id)
			return true;
	return false;
}

void policies_drop_unused(struct policies *p, const struct sluice_endpoint *endpoints, uint32_t n)
{
	for (int i = 0; i < SLOTS; i++)
		if (p->slots[i].used && !is_used(p->slots[i].id, endpoints, n))
			clear_slot(p, &p->slots[i]);
}
