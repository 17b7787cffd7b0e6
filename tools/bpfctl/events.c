/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation
 * -------------------
 * A BPF ring buffer is three parts (Documentation/bpf/ringbuf.rst): a page with the consumer's position, a page with the
 * producer's, and the data, mapped twice in a row so that a record never wraps. A record is a header of 8 bytes (length
 * with a BUSY and a DISCARD bit, page offset) and its payload, rounded up to 8. libbpf's ring_buffer consumes what it
 * reads; looking without consuming needs a reader of our own, and so both ways are the one below.
 */
#include "tools/bpfctl/events.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "bpf/abi_names.h"
#include "tools/bpfctl/out.h"

#define RING_HEADER 8

struct event_ring {
	unsigned long *consumer; /* its page; writable only when we consume */
	const unsigned long *producer;
	const uint8_t *data;
	size_t size; /* a power of two */
	size_t page;
	bool consume;
};

void event_ring_freep(struct event_ring **ring)
{
	struct event_ring *r = *ring;

	if (!r)
		return;
	if (r->consumer)
		munmap(r->consumer, r->page);
	if (r->producer)
		munmap((void *)r->producer, r->page + 2 * r->size);
	free(r);
	*ring = NULL;
}

static int ring_map(int fd, size_t size, bool consume, struct event_ring **ret)
{
	__attribute__((cleanup(event_ring_freep))) struct event_ring *r = calloc(1, sizeof(*r));
	void *p;

	if (!r)
		return -ENOMEM;
	r->page = (size_t)sysconf(_SC_PAGESIZE);
	r->size = size;
	r->consume = consume;
	p = mmap(NULL, r->page, consume ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	r->consumer = p;
	p = mmap(NULL, r->page + 2 * size, PROT_READ, MAP_SHARED, fd, (off_t)r->page);
	if (p == MAP_FAILED)
		return -errno;
	r->producer = p;
	r->data = (const uint8_t *)p + r->page;
	*ret = TAKE_PTR(r);
	return 0;
}

int event_ring_open(const char *pin_path, struct pins *pins, struct event_ring **ret)
{
	char path[PATH_MAX];
	uint32_t size = 0;
	_cleanup_close_ int fd = -1;
	int r = pins_fd(pins, PIN_EVENTS, &size); /* checks the shape */

	if (r < 0)
		return r;
	if (snprintf(path, sizeof(path), "%s/" SLUICE_MAP_EVENTS, pin_path) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = bpf_obj_get(path);
	return fd < 0 ? -errno : ring_map(fd, size, true, ret);
}

/* Hands out the records between the two positions; with `consume` the consumer's position follows. */
static int ring_read(struct event_ring *ring, event_fn *each, void *context)
{
	unsigned long position = __atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE);
	unsigned long end = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);

	while (position < end) {
		const uint8_t *record = ring->data + (position & (ring->size - 1));
		uint32_t len = __atomic_load_n((const uint32_t *)record, __ATOMIC_ACQUIRE);
		uint32_t bytes = len & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
		int r = 0;

		if (len & BPF_RINGBUF_BUSY_BIT)
			break;
		if (!(len & BPF_RINGBUF_DISCARD_BIT) && bytes >= sizeof(struct sluice_event)) {
			struct sluice_event event;

			memcpy(&event, record + RING_HEADER, sizeof(event));
			/* An agent that consumes while we peek may have made room for a new record here. */
			if (ring->consume || __atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE) <= position)
				r = each(&event, context);
		}
		position += (bytes + RING_HEADER + 7) / 8 * 8;
		if (ring->consume)
			__atomic_store_n(ring->consumer, position, __ATOMIC_RELEASE);
		if (r)
			return r;
	}
	return 0;
}

int event_ring_consume(struct event_ring *ring, event_fn *each, void *context)
{
	return ring_read(ring, each, context);
}

static int ring_open_peek(struct pins *pins, struct event_ring **ret)
{
	uint32_t size = 0;
	int fd = pins_fd(pins, PIN_EVENTS, &size);

	return fd < 0 ? fd : ring_map(fd, size, false, ret);
}

int events_peek(struct pins *pins, event_fn *each, void *context)
{
	__attribute__((cleanup(event_ring_freep))) struct event_ring *ring = NULL;
	int r = ring_open_peek(pins, &ring);

	return r < 0 ? r : ring_read(ring, each, context);
}

int64_t events_backlog(struct pins *pins)
{
	__attribute__((cleanup(event_ring_freep))) struct event_ring *ring = NULL;
	int r = ring_open_peek(pins, &ring);
	unsigned long consumer;

	if (r < 0)
		return r;
	consumer = __atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE);
	return (int64_t)(__atomic_load_n(ring->producer, __ATOMIC_ACQUIRE) - consumer);
}

/* The slot's number must be the one we want before and after the copy; else the writer has come round. */
static bool copy_record(const struct sluice_dns_record *slot, uint64_t number, struct sluice_dns_record *ret)
{
	if (__atomic_load_n(&slot->seq, __ATOMIC_ACQUIRE) != number)
		return false;
	memcpy(ret, slot, sizeof(*ret));
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return __atomic_load_n(&slot->seq, __ATOMIC_RELAXED) == number;
}

int dns_log_read(struct pins *pins, uint64_t *next, uint64_t *lost, dns_fn *each, void *context)
{
	uint32_t count = 0;
	const struct sluice_dns_record *log = pins_dns_log(pins, &count);
	const struct sluice_dns_log_head *head = (const void *)log;
	uint64_t end, oldest, ring;

	if (!log || count < 2)
		return -ENOENT;
	ring = count - 1;
	end = __atomic_load_n(&head->next, __ATOMIC_ACQUIRE);
	oldest = end > ring ? end - ring : 1;
	if (*next == 0)
		*next = oldest;
	if (*next < oldest) {
		*lost += oldest - *next;
		*next = oldest;
	}
	for (; *next < end; ++*next) {
		struct sluice_dns_record record;
		int r = 0;

		if (copy_record(&log[1 + (*next - 1) % ring], *next, &record))
			r = each(&record, context);
		else
			++*lost;
		if (r)
			return r;
	}
	return 0;
}

json_t *event_json(const struct records *r, const struct sluice_event *event)
{
	const char *proto = proto_name(event->proto);
	char pod[RECORD_POD_MAX];
	json_t *o = json_pack("{s:s, s:s, s:I, s:o*, s:o*, s:I}", "verdict", event_verdict_name(event->verdict),
			      "reason", reason_name(event->reason), "endpoint", (json_int_t)event->endpoint, "pod",
			      out_textz(record_pod(r, event->endpoint, event->generation, pod), sizeof(pod)),
			      "policy_id", out_hex(SLUICE_STATE_POLICY(event->state)), "rule", (json_int_t)event->rule);

	if (event->ip_known) {
		json_object_set_new(o, "local", out_addr(&event->local));
		json_object_set_new(o, "local_port", json_integer(ntohs(event->lport)));
		json_object_set_new(o, "remote", out_addr(&event->remote));
		json_object_set_new(o, "remote_port", json_integer(ntohs(event->rport)));
		json_object_set_new(o, "protocol", proto ? json_string(proto) : json_sprintf("%u", event->proto));
	}
	json_object_set_new(o, "length", json_integer(event->length));
	json_object_set_new(o, "ethertype", json_sprintf("0x%04x", event->ethertype));
	return o;
}
