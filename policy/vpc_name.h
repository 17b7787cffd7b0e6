/* SPDX-License-Identifier: Apache-2.0 */
/* How the Amazon VPC CNI names the host's end of a pod's veth: a prefix, then a hash of namespace and name. */
#ifndef SLUICE_POLICY_VPC_NAME_H
#define SLUICE_POLICY_VPC_NAME_H

#define VPC_NAME_HASH 11 /* hexadecimal digits of SHA-1("namespace.name") */

/* Of a pod's first interface; the hash alone is the same for a pod that took another's place. Terminated. */
void vpc_name_hash(const char *namespace_name, const char *name, char ret[VPC_NAME_HASH + 1]);

#endif
