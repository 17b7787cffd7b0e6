/* SPDX-License-Identifier: Apache-2.0 */
/* The two ways on to an interface: TCX links (kernel 6.6 and later) and clsact filters. */
#ifndef SLUICE_AGENT_ATTACH_H
#define SLUICE_AGENT_ATTACH_H

#include "agent/config.h"

/*
 * ATTACH_TCX or ATTACH_CLSACT, as `wanted` says or, for ATTACH_AUTO, as the kernel offers; `prog` is any tc program of
 * ours. 0; -EOPNOTSUPP, logged, when TCX was asked for and there is none.
 */
int attach_choose(enum attach_mode wanted, int prog, enum attach_mode *ret);

#endif
