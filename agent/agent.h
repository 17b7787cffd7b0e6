/* SPDX-License-Identifier: Apache-2.0 */
/* The agent as a whole: what it was told, what it found, and the loop that brings the two together. */
#ifndef SLUICE_AGENT_AGENT_H
#define SLUICE_AGENT_AGENT_H

/*
 * Runs until SIGTERM or SIGINT. 0; AGENT_UNINSTALLED: and was told that it goes for good; -errno when it could not start,
 * with the reason logged.
 */
#define AGENT_UNINSTALLED 1
int agent_run(const char *config_path);

/* Only reads the configuration, and logs what is wrong in it. 0; -EINVAL; -errno of the file. */
int agent_check(const char *config_path);

#endif
