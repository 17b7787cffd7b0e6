/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * Nothing refers to an id before its tables and its file are whole: an endpoint's state word takes it up afterwards
 * (hazard 8). An id that no state word holds is therefore either unfinished or finished with, and a start may take away
 * all of those, whatever an earlier agent was doing when it ended.
 *
 * Two images are the same policy when their hashes are; a hundred endpoints of one template share one id.
 */
#include "agent/publish.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "agent/tables.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "dnsproxy/settings.h"
#include "policy/array.h"

#define IMAGE_MAX_BYTES (256u << 20)

/* A verdict takes microseconds and a query seconds; the proxy judges a slow answer by the policy then in force. */
#define LINGER_NSEC (2 * NSEC_PER_SEC)

struct publisher {
	struct kernel *k;
	int dir;
	struct published **items;
	size_t count;
	size_t current; /* those before it may not be taken for a new reference */
	uint64_t failures;
};

static void published_freep(struct published **pub)
{
	if (!*pub)
		return;
	image_freep(&(*pub)->img);
	free((*pub)->data);
	free(*pub);
	*pub = NULL;
}

void publisher_freep(struct publisher **p)
{
	if (!*p)
		return;
	for (size_t i = 0; i < (*p)->count; i++)
		published_freep(&(*p)->items[i]);
	free((*p)->items);
	closep(&(*p)->dir);
	free(*p);
	*p = NULL;
}

static const char *file_name(uint64_t id, char buf[64])
{
	snprintf(buf, 64, PROXY_IMAGE_FORMAT, (unsigned long long)id);
	return buf;
}

struct published *publisher_find(const struct publisher *p, uint64_t id)
{
	for (size_t i = 0; i < p->count; i++) {
		if (p->items[i]->id == id)
			return p->items[i];
	}
	return NULL;
}

/* Takes `data`. */
static int add(struct publisher *p, uint64_t id, uint8_t *data, size_t len, struct published **ret)
{
	CLEANUP(published_freep) struct published *pub = calloc(1, sizeof(*pub));
	struct published **slot;
	int r;

	if (!pub) {
		free(data);
		return -ENOMEM;
	}
	pub->id = id;
	pub->data = data;
	pub->len = len;
	r = image_open(data, len, &pub->img);
	if (r < 0)
		return r;
	slot = array_push(&p->items, &p->count, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	*ret = pub;
	*slot = TAKE_PTR(pub);
	return 0;
}

/* ---- start ------------------------------------------------------------------------------------------------------- */

static bool in_force(uint64_t id, void *context)
{
	const struct kernel *k = context;

	for (uint32_t i = 0; i < k->nendpoints; i++) {
		if (k->endpoints[i].generation && SLUICE_STATE_POLICY(k->endpoints[i].state) == id)
			return true;
	}
	return false;
}

static void closedirp(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static void adopt_file(struct publisher *p, const char *name)
{
	char *end, again[64];
	uint64_t id = strtoull(name, &end, 16);
	struct published *pub;
	char *data;
	size_t len;
	int r;

	if (strcmp(name, file_name(id, again)) != 0) {
		if (strcmp(name, PROXY_SETTINGS_FILE) != 0)
			unlinkat(p->dir, name, 0); /* what a write left that was cut off */
		return;
	}
	if (!in_force(id, p->k)) {
		unlinkat(p->dir, name, 0);
		return;
	}
	r = file_read(p->dir, name, IMAGE_MAX_BYTES, &data, &len);
	if (r == 0)
		r = add(p, id, (uint8_t *)data, len, &pub);
	if (r < 0)
		log_warning("the image of policy %llx cannot be taken over: %s", (unsigned long long)id, strerror(-r));
	else
		published_unref(pub, clock_now());
}

static int adopt(struct publisher *p)
{
	CLEANUP(closedirp) DIR *dir = NULL;
	struct dirent *entry;
	int fd = dup(p->dir);

	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		closep(&fd);
		return -errno;
	}
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] != '.')
			adopt_file(p, entry->d_name);
	}
	tables_clear_others(p->k, in_force, p->k);
	return 0;
}

static int open_dir(const char *run_dir, int *ret)
{
	char path[PATH_MAX];
	int fd;

	if (snprintf(path, sizeof(path), "%s/" PROXY_DIR, run_dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	if ((mkdir(run_dir, 0755) < 0 && errno != EEXIST) || (mkdir(path, 0755) < 0 && errno != EEXIST))
		return -errno;
	/* Root's alone to write, whatever umask or an earlier hand made of it: the proxy trusts what it finds there. */
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fchown(fd, 0, 0) < 0 || fchmod(fd, 0755) < 0) {
		closep(&fd);
		return -errno;
	}
	*ret = fd;
	return 0;
}

int publisher_open(struct kernel *k, const char *run_dir, struct publisher **ret)
{
	CLEANUP(publisher_freep) struct publisher *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->k = k;
	p->dir = -1;
	r = open_dir(run_dir, &p->dir);
	if (r == 0)
		r = adopt(p);
	if (r == 0)
		*ret = TAKE_PTR(p);
	return r;
}

/* ---- publishing -------------------------------------------------------------------------------------------------- */

static struct published *find_equal(const struct publisher *p, const struct image *img)
{
	for (size_t i = p->current; i < p->count; i++) {
		if (memcmp(image_hash(p->items[i]->img), image_hash(img), IMAGE_HASH_LEN) == 0)
			return p->items[i];
	}
	return NULL;
}

static void take_away(struct publisher *p, const struct published *pub)
{
	char name[64];

	tables_clear(p->k, pub->id, pub->img);
	unlinkat(p->dir, file_name(pub->id, name), 0);
}

/* What is being published is among the items. The table of pages has room for more, since they may all be of IPv6, and half empty. */
static bool dests_fit(const struct publisher *p)
{
	size_t count = 0;

	for (size_t i = 0; i < p->count; i++)
		count += image_dest_count(p->items[i]->img);
	return count <= p->k->max_dests;
}

static int put(struct publisher *p, const struct published *pub)
{
	char name[64];
	int r = dests_fit(p) ? tables_fill(p->k, pub->id, pub->img) : -ENOSPC;

	if (r < 0) {
		log_error("a policy cannot be put in force: the kernel's tables: %s", strerror(-r));
		return r;
	}
	r = file_replace(p->dir, file_name(pub->id, name), pub->data, pub->len, 0644);
	if (r < 0) {
		log_error("a policy cannot be put in force: its image: %s", strerror(-r));
		tables_clear(p->k, pub->id, pub->img);
	}
	return r;
}

static int publish(struct publisher *p, const uint8_t *image, size_t len, struct published **ret)
{
	uint8_t *copy = malloc(len);
	struct published *pub;
	int r;

	if (!copy)
		return -ENOMEM;
	memcpy(copy, image, len);
	/* The id is used up before anything is written under it, so that none is ever used twice (hazard 7). */
	r = add(p, p->k->settings->next_policy++, copy, len, &pub);
	if (r < 0)
		return r;
	r = put(p, pub);
	if (r < 0) {
		published_freep(&p->items[--p->count]);
		return r;
	}
	*ret = pub;
	return 0;
}

int publisher_get(struct publisher *p, const uint8_t *image, size_t len, struct published **ret)
{
	CLEANUP(image_freep) struct image *img = NULL;
	struct published *pub;
	int r = image_open(image, len, &img);

	if (r < 0)
		return r;
	pub = find_equal(p, img);
	if (!pub)
		r = publish(p, image, len, &pub);
	if (r < 0) {
		p->failures++;
		return r;
	}
	published_ref(pub);
	*ret = pub;
	return 0;
}

void published_ref(struct published *pub)
{
	pub->refs++;
}

void published_unref(struct published *pub, uint64_t now)
{
	if (pub->refs)
		pub->refs--;
	if (pub->refs == 0)
		pub->retire_at = now + LINGER_NSEC;
}

void publisher_renew(struct publisher *p)
{
	p->current = p->count;
}

/* ---- the end of one ---------------------------------------------------------------------------------------------- */

static bool is_due(const struct published *pub, uint64_t now)
{
	return pub->refs == 0 && pub->retire_at <= now;
}

static bool stays(uint64_t id, void *context)
{
	const struct publisher *p = context;

	return publisher_find(p, id) != NULL || in_force(id, p->k);
}

void publisher_collect(struct publisher *p, uint64_t now)
{
	size_t kept = 0, current = p->current;
	bool any = false;

	for (size_t i = 0; i < p->count; i++) {
		struct published *pub = p->items[i];

		/* A state word that still holds the id (an endpoint nobody could be told about) keeps it. */
		if (!is_due(pub, now) || in_force(pub->id, p->k)) {
			p->items[kept++] = pub;
			continue;
		}
		take_away(p, pub);
		current -= i < p->current;
		published_freep(&pub);
		any = true;
	}
	p->current = current;
	p->count = kept;
	if (any)
		tables_clear_leases(p->k, stays, p);
}

size_t publisher_count(const struct publisher *p)
{
	return p->count;
}

uint64_t publisher_failures(const struct publisher *p)
{
	return p->failures;
}

int publisher_dir(const struct publisher *p)
{
	return p->dir;
}
