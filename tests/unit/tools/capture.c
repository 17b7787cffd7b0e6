/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/tools/capture.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum ctl_exit capture(char **ret_out, int argc, char **argv)
{
	FILE *file = tmpfile();
	int saved = dup(STDOUT_FILENO);
	enum ctl_exit code;
	long len;

	fflush(stdout);
	dup2(fileno(file), STDOUT_FILENO);
	code = ctl_main(argc, argv);
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	fseek(file, 0, SEEK_END);
	len = ftell(file);
	rewind(file);
	*ret_out = calloc(1, (size_t)len + 1);
	if (fread(*ret_out, 1, (size_t)len, file) != (size_t)len)
		abort();
	fclose(file);
	return code;
}

enum ctl_exit capture_words(char **ret_out, ...)
{
	char *argv[64] = { (char *)"bpfctl" };
	va_list words;
	int argc = 1;

	va_start(words, ret_out);
	while (argc < 63 && (argv[argc] = va_arg(words, char *)))
		argc++;
	va_end(words);
	return capture(ret_out, argc, argv);
}
