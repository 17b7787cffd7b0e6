/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sluice-cni in the node's CNI configuration: the program in cni.binDir, and in cni.confDir a list of our own, which sorts
 * before the others, is the first of them with sluice-cni at its end, and is kept in step with it.
 */
#ifndef SLUICE_AGENT_CNI_INSTALL_H
#define SLUICE_AGENT_CNI_INSTALL_H

#include <jansson.h>
#include <stdbool.h>

#include "agent/config.h"
#include "agent/watch.h"
#include "base/strbuf.h"

struct cni_install;

/* `plugin` is the program to install; NULL: the one that belongs to this agent. 0 or -ENOMEM. */
int cni_install_new(const struct config *config, const char *plugin, struct cni_install **ret);
void cni_install_freep(struct cni_install **c); /* what is installed stays */

/* The folders whose news cni_install_refresh() is for. 0 or -errno. */
int cni_install_watch(const struct cni_install *c, struct watch *w);

/* Puts there what is missing or another than it should be; what is as it should be is not touched. */
void cni_install_refresh(struct cni_install *c);

/* Is sluice-cni called for every pod that starts now? */
bool cni_install_in_force(const struct cni_install *c);
/* Why it is not, or not in step; "" when all is well. */
const char *cni_install_problem(const struct cni_install *c);

json_t *cni_install_json(const struct cni_install *c);
void cni_install_metrics(const struct cni_install *c, struct strbuf *out);

#endif
