/* SPDX-License-Identifier: Apache-2.0 */
/* All elements of a map, in batches. */
#ifndef SLUICE_AGENT_MAPWALK_H
#define SLUICE_AGENT_MAPWALK_H

#include <stddef.h>

/*
 * Calls `each` for every element of a hash map or trie; elements that come or go meanwhile may be seen, missed or, when
 * a hash grows under the walk, seen twice. The callback may delete what it was given. 0, -errno, or the first non-zero
 * value `each` returned.
 */
typedef int mapwalk_fn(const void *key, const void *value, void *context);
int mapwalk(int fd, size_t key_size, size_t value_size, mapwalk_fn *each, void *context);

#endif
