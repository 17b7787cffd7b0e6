/* SPDX-License-Identifier: Apache-2.0 */
#include "dnsproxy/budget.h"

#include <string.h>

#include "base/clock.h"

bool budget_take(struct budget *b, uint32_t generation, uint64_t name, uint32_t per_minute, uint64_t now)
{
	uint64_t *set = b->names[name % BUDGET_SETS], unit;

	if (per_minute == 0)
		return true;
	if (b->generation != generation)
		*b = (struct budget){ .generation = generation };
	for (int i = 0; i < BUDGET_WAYS; i++)
		if (set[i] == name)
			return true;
	unit = 60 * NSEC_PER_SEC / per_minute;
	if (b->bucket < now)
		b->bucket = now;
	if (b->bucket + unit > now + unit * per_minute)
		return false;
	b->bucket += unit;
	memmove(set + 1, set, (BUDGET_WAYS - 1) * sizeof(*set));
	set[0] = name;
	return true;
}
