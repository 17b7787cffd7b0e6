/* SPDX-License-Identifier: Apache-2.0 */
/* What was denied to a command of `bpfctl run`. */
#ifndef SLUICE_TOOLS_BPFCTL_RUN_REPORT_H
#define SLUICE_TOOLS_BPFCTL_RUN_REPORT_H

#include "tools/bpfctl/ctl.h"

/*
 * Asks the run's agent, and writes to standard error: what was denied, or would have been (--audit), how often, by what
 * rule. `ctl` has the run's own pins and socket.
 */
void run_report(const struct ctl *ctl);

#endif
