/* SPDX-License-Identifier: Apache-2.0 */
/* Advice on manifests that are valid: what another implementation makes of them, and what they forget. */
#ifndef SLUICE_TOOLS_BPFCTL_LINT_H
#define SLUICE_TOOLS_BPFCTL_LINT_H

#include "policy/diag.h"
#include "tools/bpfctl/tree.h"

/*
 * Warnings, each at its place and with its id in brackets at the end. The files are judged together: what one policy
 * lacks, another that selects the same pods may have. An object's annotation LINT_IGNORE lists ids it does without.
 * 0 or -ENOMEM.
 */
#define LINT_IGNORE "sluice.dev/lint-ignore"
int lint(const struct tree *t, struct diags *diags);

#endif
