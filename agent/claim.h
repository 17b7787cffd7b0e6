/* SPDX-License-Identifier: Apache-2.0 */
/* Whose an interface is by the CNI's word: what sluice-cni tells of the pod whose interface it has just closed (api.h). */
#ifndef SLUICE_AGENT_CLAIM_H
#define SLUICE_AGENT_CLAIM_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/addr_type.h"
#include "bpf/abi.h"

struct claim {
	char uid[64];
	char namespace_name[64];
	char name[254];
	struct sluice_addr addrs[SLUICE_ENDPOINT_ADDRS]; /* what the CNI gave the pod's end; may be none */
	size_t naddrs;
	/* The API's addresses of the pod when the claim came: an earlier sandbox's, until they are others. */
	struct sluice_addr before[SLUICE_ENDPOINT_ADDRS];
	size_t nbefore;
	bool told; /* that the API contradicts it */
};

/*
 * Reads "pod" and "addresses" of a request. 1; 0: it has no "pod"; -EINVAL, and `ret_error` says why. `ret` is set whole, with
 * nothing known of before.
 */
int claim_read(const json_t *request, struct claim *ret, const char **ret_error);

/* Is it that pod's? Names too: a uid is the word of whoever wrote the object where it comes from an annotation. */
bool claim_is_of(const struct claim *c, const char *uid, const char *namespace_name, const char *name);

void claim_note_before(struct claim *c, const struct sluice_addr *addrs, size_t naddrs);

/*
 * Do the API's addresses of the pod contradict it? Not while there are none, nor when the CNI gave them all, nor while they are
 * those from before the claim: the kubelet writes them only after ADD.
 */
bool claim_contradicted(const struct claim *c, const struct sluice_addr *addrs, size_t naddrs);

#endif
