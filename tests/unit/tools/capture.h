/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a command line of bpfctl in this process and keeps what it printed. */
#ifndef SLUICE_TESTS_UNIT_TOOLS_CAPTURE_H
#define SLUICE_TESTS_UNIT_TOOLS_CAPTURE_H

#include "tools/bpfctl/ctl.h"

/* `*ret_out` (stdout) is NUL-terminated, free(); stderr goes to the test's. */
enum ctl_exit capture(char **ret_out, int argc, char **argv);
/* The same for words after "bpfctl", ended by NULL. */
enum ctl_exit capture_words(char **ret_out, ...) __attribute__((sentinel));

#endif
