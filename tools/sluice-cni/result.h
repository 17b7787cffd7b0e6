/* SPDX-License-Identifier: Apache-2.0 */
/* The interfaces of a CNI result that are this host's end of a pod's veth. */
#ifndef SLUICE_TOOLS_SLUICE_CNI_RESULT_H
#define SLUICE_TOOLS_SLUICE_CNI_RESULT_H

#include <jansson.h>
#include <net/if.h>
#include <stddef.h>
#include <stdint.h>

#define RESULT_MAX_INTERFACES 16

struct host_interface {
	char name[IF_NAMESIZE];
	uint32_t ifindex;
};

/*
 * Fills `ret`. Results also name what is no device (the VPC CNI's dummy…), or not the pod's (a bridge): these are passed by.
 * How many there are; -E2BIG.
 */
int result_host_interfaces(const json_t *result, struct host_interface ret[RESULT_MAX_INTERFACES]);

#endif
