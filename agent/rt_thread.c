/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/rt_thread.h"

#include <sched.h>
#include <signal.h>
#include <sys/resource.h>

#include "agent/privs.h"

#define NICE_OTHERWISE (-20)

static void *run(void *data)
{
	struct rt_thread *t = data;
	const struct sched_param priority = { .sched_priority = sched_get_priority_min(SCHED_FIFO) + t->above };

	t->realtime = pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority) == 0;
	if (!t->realtime)
		setpriority(PRIO_PROCESS, 0, NICE_OTHERWISE);
	/* Capabilities are each thread's own. */
	t->error = privs_drop();
	sem_post(&t->ready);
	if (t->error == 0)
		t->body(t->context);
	return NULL;
}

/* Signals are the main thread's. */
int rt_thread_start(struct rt_thread *t, int above, void (*body)(void *context), void *context)
{
	sigset_t all, before;
	int r;

	t->above = above;
	t->body = body;
	t->context = context;
	sem_init(&t->ready, 0, 0);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = -pthread_create(&t->thread, NULL, run, t);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	t->running = r == 0;
	while (r == 0 && sem_wait(&t->ready) < 0)
		continue;
	sem_destroy(&t->ready);
	return r < 0 ? r : t->error;
}

void rt_thread_join(struct rt_thread *t)
{
	if (t->running)
		pthread_join(t->thread, NULL);
	t->running = false;
}
