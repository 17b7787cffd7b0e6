/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a target on every file of the folders given: what libFuzzer does with -runs=0, in builds without it. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "tests/fuzz/fuzz.h"

static unsigned int replay(const char *path)
{
	DIR *dir = opendir(path);
	unsigned int runs = 0;
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		_cleanup_free_ char *data = NULL;
		size_t len;

		if (e->d_name[0] == '.' || file_read(dirfd(dir), e->d_name, 1 << 20, &data, &len) < 0)
			continue;
		LLVMFuzzerTestOneInput((const uint8_t *)data, len);
		runs++;
	}
	if (dir)
		closedir(dir);
	return runs;
}

int main(int argc, char **argv)
{
	unsigned int runs = 0;

	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	for (int i = 1; i < argc; i++)
		runs += replay(argv[i]);
	printf("%u inputs\n", runs);
	return runs > 0 ? 0 : 1;
}
