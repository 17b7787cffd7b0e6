/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <stdio.h>

#include "bpf/abi.h"
#include "tools/bpfctl/ctl.h"
#include "tools/bpfctl/out.h"

static enum ctl_exit run(const struct ctl *ctl, const struct ctl_args *args)
{
	(void)args;
	if (ctl->json)
		return out_json(json_pack("{s:s, s:i}", "version", SLUICE_VERSION, "abi", SLUICE_ABI_VERSION));
	printf("bpfctl %s (kernel map layout %d)\n", SLUICE_VERSION, SLUICE_ABI_VERSION);
	return CTL_OK;
}

const struct ctl_command cmd_version = {
	.path = "version",
	.operands = "",
	.summary = "Version of this program and of the map layout it reads",
	.run = run,
};
