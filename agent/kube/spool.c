/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kube/spool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "base/cleanup.h"
#include "base/file.h"

struct part {
	struct strbuf bytes;
	struct part *next;
};

struct kube_spool {
	int dir;
	const char *name;
	int done;
	pthread_t thread;
	int result; /* the thread's until it is joined */
	bool lost;  /* there was no memory for a part */
	/* Both threads', under the lock: */
	pthread_mutex_t lock;
	pthread_cond_t news;
	struct part *first;
	struct part **last;
	bool ended;
	int fault; /* why what came is not whole */
};

static void part_free(struct part *p)
{
	strbuf_clear(&p->bytes);
	free(p);
}

/* Waits for it. NULL: there are no more. */
static struct part *next_part(struct kube_spool *s)
{
	struct part *p;

	pthread_mutex_lock(&s->lock);
	while (!s->first && !s->ended)
		pthread_cond_wait(&s->news, &s->lock);
	p = s->first;
	if (p)
		s->first = p->next;
	if (!s->first)
		s->last = &s->first;
	pthread_mutex_unlock(&s->lock);
	return p;
}

static void *write_parts(void *context)
{
	struct kube_spool *s = context;
	struct file_parts f;
	struct part *p;

	file_parts_begin(&f, s->dir, s->name, 0600);
	while ((p = next_part(s))) {
		file_parts_add(&f, p->bytes.data, p->bytes.len);
		part_free(p);
	}
	s->result = file_parts_end(&f, s->fault == 0, true);
	if (s->fault < 0)
		s->result = s->fault;
	eventfd_write(s->done, 1);
	return NULL;
}

/* Signals are the main thread's. */
static int start_thread(struct kube_spool *s)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = -pthread_create(&s->thread, NULL, write_parts, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

static void spool_free(struct kube_spool *s)
{
	pthread_cond_destroy(&s->news);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

int kube_spool_start(int dir, const char *name, int done, struct kube_spool **ret)
{
	struct kube_spool *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->dir = dir;
	s->name = name;
	s->done = done;
	s->last = &s->first;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->news, NULL);
	r = start_thread(s);
	if (r < 0) {
		spool_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

/* NULL: there will be none. */
static void tell(struct kube_spool *s, struct part *p, int fault)
{
	pthread_mutex_lock(&s->lock);
	if (p) {
		*s->last = p;
		s->last = &p->next;
	}
	s->ended = !p;
	s->fault = s->fault ? s->fault : fault;
	pthread_cond_signal(&s->news);
	pthread_mutex_unlock(&s->lock);
}

void kube_spool_add(struct kube_spool *s, struct strbuf *part)
{
	struct part *p = part->failed ? NULL : calloc(1, sizeof(*p));

	if (p) {
		p->bytes = *part;
		*part = (struct strbuf){};
		tell(s, p, 0);
	} else {
		strbuf_clear(part);
		s->lost = true;
	}
}

void kube_spool_end(struct kube_spool *s, int result)
{
	tell(s, NULL, s->lost ? -ENOMEM : result);
}

int kube_spool_join(struct kube_spool **s)
{
	int r;

	pthread_join((*s)->thread, NULL);
	r = (*s)->result;
	spool_free(*s);
	*s = NULL;
	return r;
}
