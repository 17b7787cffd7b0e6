/* SPDX-License-Identifier: Apache-2.0 */
/* A thread that runs before everything that is not real-time, where it may, with the agent's few capabilities. */
#ifndef SLUICE_AGENT_RT_THREAD_H
#define SLUICE_AGENT_RT_THREAD_H

#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>

struct rt_thread {
	pthread_t thread;
	bool running;
	bool realtime; /* it may, and does */
	sem_t ready;
	int error;
	int above;
	void (*body)(void *context);
	void *context;
};

/*
 * Before capabilities are given up (privs_drop): it takes CAP_SYS_NICE. `above`: by how much its priority exceeds the lowest
 * real-time one. It gets no signals. 0 or -errno.
 */
int rt_thread_start(struct rt_thread *t, int above, void (*body)(void *context), void *context);
/* Waits for its end, if it was started. */
void rt_thread_join(struct rt_thread *t);

#endif
