/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/vpc_name.h"

#include <sha1.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

void vpc_name_hash(const char *namespace_name, const char *name, char ret[VPC_NAME_HASH + 1])
{
	uint8_t digest[SHA1_DIGEST_LENGTH];
	char text[2 * SHA1_DIGEST_LENGTH + 1];
	SHA1_CTX sha;

	SHA1Init(&sha);
	SHA1Update(&sha, (const uint8_t *)namespace_name, strlen(namespace_name));
	SHA1Update(&sha, (const uint8_t *)".", 1);
	SHA1Update(&sha, (const uint8_t *)name, strlen(name));
	SHA1Final(digest, &sha);
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
	snprintf(ret, VPC_NAME_HASH + 1, "%.*s", VPC_NAME_HASH, text);
}
