/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/bpfctl/ctl.h"

const struct ctl_command *const ctl_commands[] = {
	&cmd_status,
	&cmd_endpoint_list,
	&cmd_endpoint_get,
	&cmd_policy_check,
	&cmd_policy_explain,
	&cmd_policy_diff,
	&cmd_policy_convert,
	&cmd_policy_get,
	&cmd_name_list,
	&cmd_flow_list,
	&cmd_map_list,
	&cmd_map_dump,
	&cmd_observe,
	&cmd_run,
	&cmd_cleanup,
	&cmd_version,
	NULL,
};
