/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SLUICE_AGENT_KUBE_AWS_H
#define SLUICE_AGENT_KUBE_AWS_H

#include <jansson.h>
#include <stdbool.h>

/* Is it the VPC CNI's pod, with its network policy agent turned on (container aws-eks-nodeagent)? */
bool kube_aws_enforces(json_t *pod);

#endif
