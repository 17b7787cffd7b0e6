/* SPDX-License-Identifier: Apache-2.0 */
/* A folder of the test's own under /tmp, with files of given texts. */
#ifndef SLUICE_TESTS_UNIT_TOOLS_FOLDER_H
#define SLUICE_TESTS_UNIT_TOOLS_FOLDER_H

#include <stddef.h>

struct folder {
	char path[64];
	char *files[64]; /* full names, in the order they were made */
	size_t count;
};

void folder_make(struct folder *f);
/* Writes PATH/NAME; the full name, borrowed. */
const char *folder_add(struct folder *f, const char *name, const char *text);
void folder_remove(struct folder *f); /* and what folder_add made */

#endif
