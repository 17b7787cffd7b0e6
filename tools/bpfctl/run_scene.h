/* SPDX-License-Identifier: Apache-2.0 */
/* All that one `bpfctl run` sets up around its command, and takes away again, also when that was left to a later one. */
#ifndef SLUICE_TOOLS_BPFCTL_RUN_SCENE_H
#define SLUICE_TOOLS_BPFCTL_RUN_SCENE_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#define RUN_SCENE_BASE "/run/sluice-run"

struct run_scene {
	char id[32];
	char dir[128];	       /* RUN_SCENE_BASE/ID: configuration, policies, logs */
	char pins[128];	       /* on a BPF file system */
	char socket[160];      /* the agent's */
	char run_dir[160];     /* the agent's and the proxy's */
	char cgroup[PATH_MAX]; /* below this process's own: agent, proxy and command are within */
	char command[PATH_MAX];
	int lock; /* held while the run lives */
	pid_t agent, proxy;
};

#define RUN_SCENE_INIT                                                                                                 \
	{                                                                                                              \
		.lock = -1                                                                                             \
	}

/* Folder, cgroups. 0 or -errno with a message; whatever it made is in *s, for run_scene_remove. */
int run_scene_make(struct run_scene *s);
/* Starts an agent and a proxy of the run's own over the files in its folder. 0 or -errno with a message. */
int run_scene_start(struct run_scene *s);
/* Has one of them ended? Tells, with its log. */
bool run_scene_failed(struct run_scene *s);
/* Ends every process of the run, those of the command too, and removes everything. */
void run_scene_remove(struct run_scene *s);

/*
 * Removes what runs have left whose bpfctl was killed; `told` is called with each one's id, `dry` only that. Returns how
 * many.
 */
unsigned int run_scene_sweep(bool dry, void (*told)(void *context, const char *id), void *context);

#endif
