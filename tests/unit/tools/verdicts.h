/* SPDX-License-Identifier: Apache-2.0 */
/* The verdicts of manifests on lists of destinations, as text that two of them can be compared by. */
#ifndef SLUICE_TESTS_UNIT_TOOLS_VERDICTS_H
#define SLUICE_TESTS_UNIT_TOOLS_VERDICTS_H

#include <stddef.h>

/*
 * A line "POD DESTINATION PORT: allowed|denied [askable|not askable]" for each pod, destination and port; the lists end
 * with NULL. `files` are manifests and inventory. free().
 */
char *verdicts_of(const char *const *files, const char *const *pods, const char *const *destinations,
		  const char *const *ports);
/* Fails at the first line in which they differ. */
void assert_same_verdicts(const char *what, const char *a, const char *b);

#endif
