/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/observe.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "agent/flowlog.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "policy/array.h"

/* What one tick takes at most of either source; more waits for the next one and is not lost before the ring is full. */
#define TICK_RECORDS 16384

struct line {
	char *text;
	size_t len;
};

struct pending {
	uint64_t time;
	json_t *line;
};

struct observe {
	const struct kernel *k;
	const struct publisher *p;
	struct ring_buffer *ring;
	struct flowlog_sources sources;
	uint64_t *dns_next; /* in the kernel's settings, so that a new start goes on where the last one ended */
	uint64_t dns_lost;
	uint64_t file_lost;
	struct line history[OBSERVE_HISTORY];
	uint64_t lines; /* ever made; the newest is at (lines - 1) % OBSERVE_HISTORY */
	struct pending *pending;
	size_t npending;
	observe_line_fn *listener;
	void *listener_context;
	char *path;
	int file;
};

/* ---- words for numbers ------------------------------------------------------------------------------------------- */

static bool find_label(void *context, uint32_t endpoint, uint32_t generation, struct sluice_label *ret)
{
	const struct observe *o = context;

	return bpf_map_lookup_elem(o->k->labels, &endpoint, ret) == 0 && ret->generation == generation;
}

static bool find_name(void *context, uint64_t id, struct sluice_name *ret)
{
	const struct observe *o = context;

	return bpf_map_lookup_elem(o->k->names, &id, ret) == 0 && ret->id == id;
}

static const struct image *find_image(void *context, uint64_t policy)
{
	const struct observe *o = context;
	const struct published *pub = publisher_find(o->p, policy);

	return pub ? pub->img : NULL;
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void keep(struct observe *o, uint64_t time, json_t *line)
{
	struct pending *p = line ? array_push(&o->pending, &o->npending, sizeof(*p)) : NULL;

	if (p)
		*p = (struct pending){ time, line };
	else
		json_decref(line);
}

static int take_event(void *context, void *data, size_t size)
{
	struct observe *o = context;
	const struct sluice_event *event = data;

	if (size >= sizeof(*event))
		keep(o, event->time, flowlog_event(&o->sources, event));
	return o->npending >= TICK_RECORDS ? -EAGAIN : 0;
}

int observe_new(const struct kernel *k, const struct publisher *p, struct observe **ret)
{
	CLEANUP(observe_freep) struct observe *o = calloc(1, sizeof(*o));

	if (!o)
		return -ENOMEM;
	o->k = k;
	o->p = p;
	o->file = -1;
	o->dns_next = (uint64_t *)&k->settings->dns_log_next;
	o->sources = (struct flowlog_sources){ o, find_label, find_name, find_image };
	o->ring = ring_buffer__new(k->events, take_event, o, NULL);
	if (!o->ring)
		return -errno;
	*ret = TAKE_PTR(o);
	return 0;
}

void observe_freep(struct observe **o)
{
	if (!*o)
		return;
	ring_buffer__free((*o)->ring);
	for (size_t i = 0; i < OBSERVE_HISTORY; i++)
		free((*o)->history[i].text);
	for (size_t i = 0; i < (*o)->npending; i++)
		json_decref((*o)->pending[i].line);
	free((*o)->pending);
	free((*o)->path);
	closep(&(*o)->file);
	free(*o);
	*o = NULL;
}

/* ---- the file ---------------------------------------------------------------------------------------------------- */

static int open_file(struct observe *o)
{
	closep(&o->file);
	o->file = open(o->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0640);
	if (o->file < 0) {
		int r = -errno;

		log_error("flows.file %s: %s", o->path, strerror(-r));
		return r;
	}
	return 0;
}

int observe_set_file(struct observe *o, const char *path)
{
	char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	free(o->path);
	o->path = copy;
	closep(&o->file);
	return path[0] ? open_file(o) : 0;
}

/* A file that was renamed away (logrotate) is opened anew. */
static void check_file(struct observe *o)
{
	struct stat now, then;

	if (!o->path || !o->path[0])
		return;
	if (o->file >= 0 && fstat(o->file, &then) == 0 && stat(o->path, &now) == 0 && now.st_ino == then.st_ino &&
	    now.st_dev == then.st_dev)
		return;
	open_file(o);
}

static void write_file(struct observe *o, const struct line *line)
{
	struct iovec iov[2] = { { line->text, line->len }, { (char *)"\n", 1 } };

	if (!o->path || !o->path[0])
		return;
	if (o->file < 0 || writev(o->file, iov, 2) != (ssize_t)line->len + 1)
		o->file_lost++;
}

/* ---- taking in --------------------------------------------------------------------------------------------------- */

/* The slot's number must be the one we want before and after the copy; else the writer has come round. */
static bool copy_record(const struct sluice_dns_record *slot, uint64_t number, struct sluice_dns_record *ret)
{
	if (__atomic_load_n(&slot->seq, __ATOMIC_ACQUIRE) != number)
		return false;
	memcpy(ret, slot, sizeof(*ret));
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&slot->seq, __ATOMIC_RELAXED) == number;
}

static void take_dns(struct observe *o)
{
	const struct sluice_dns_log_head *head = (const void *)o->k->dns_log;
	uint64_t ring = o->k->ndns_log - 1, end = __atomic_load_n(&head->next, __ATOMIC_ACQUIRE);
	uint64_t oldest = end > ring ? end - ring : 1;

	if (*o->dns_next == 0 || *o->dns_next > end)
		*o->dns_next = oldest;
	if (*o->dns_next < oldest) {
		o->dns_lost += oldest - *o->dns_next;
		*o->dns_next = oldest;
	}
	for (; *o->dns_next < end && o->npending < TICK_RECORDS; ++*o->dns_next) {
		struct sluice_dns_record record;

		if (copy_record(&o->k->dns_log[1 + (*o->dns_next - 1) % ring], *o->dns_next, &record))
			keep(o, record.time, flowlog_dns(&o->sources, &record));
		else
			o->dns_lost++;
	}
}

static int by_time(const void *a, const void *b)
{
	uint64_t x = ((const struct pending *)a)->time, y = ((const struct pending *)b)->time;

	return x < y ? -1 : x > y;
}

static void emit(struct observe *o, json_t *json)
{
	struct line *slot = &o->history[o->lines % OBSERVE_HISTORY];
	char *text = json_dumps(json, JSON_COMPACT);

	json_decref(json);
	if (!text)
		return;
	free(slot->text);
	*slot = (struct line){ text, strlen(text) };
	o->lines++;
	write_file(o, slot);
	if (o->listener)
		o->listener(slot->text, slot->len, o->listener_context);
}

void observe_tick(struct observe *o)
{
	ring_buffer__consume(o->ring);
	take_dns(o);
	if (o->npending == 0)
		return;
	qsort(o->pending, o->npending, sizeof(*o->pending), by_time);
	check_file(o);
	for (size_t i = 0; i < o->npending; i++)
		emit(o, o->pending[i].line);
	o->npending = 0;
}

void observe_set_listener(struct observe *o, observe_line_fn *fn, void *context)
{
	o->listener = fn;
	o->listener_context = context;
}

void observe_history(const struct observe *o, size_t last, observe_line_fn *fn, void *context)
{
	uint64_t count = o->lines < OBSERVE_HISTORY ? o->lines : OBSERVE_HISTORY;

	if (count > last)
		count = last;
	for (uint64_t n = o->lines - count; n < o->lines; n++)
		fn(o->history[n % OBSERVE_HISTORY].text, o->history[n % OBSERVE_HISTORY].len, context);
}

void observe_losses(const struct observe *o, struct observe_losses *ret)
{
	*ret = (struct observe_losses){
		.events = kernel_total(o->k, SLUICE_TOTAL_EVENTS_LOST),
		.dns_records = o->dns_lost,
		.file_lines = o->file_lost,
	};
}
