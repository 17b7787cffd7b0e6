/* SPDX-License-Identifier: Apache-2.0 */
/* A pattern and a name, a line each: the compiled image matches as the plain reading of the dialect does. */
#include <stdio.h>
#include <string.h>

#include "policy/compile.h"
#include "policy/image.h"
#include "policy/names.h"
#include "tests/fuzz/fuzz.h"
#include "tests/model/eval_private.h"

static const struct subject pod = { .namespace_name = "a", .name = "p" };
static const char cilium[] = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, namespace: a}\n"
			     "spec: {endpointSelector: {}, egress: [{toFQDNs: [{matchPattern: \"%s\"}]}]}\n";
static const char aws[] = "apiVersion: networking.k8s.aws/v1alpha1\nkind: ApplicationNetworkPolicy\n"
			  "metadata: {name: p, namespace: a}\n"
			  "spec: {podSelector: {}, egress: [{to: [{domainNames: [\"%s\"]}]}]}\n";

static bool compiled_matches(const char *text, const char *name)
{
	struct image_match m = {};
	struct diags diags = {};
	struct store *s = NULL;
	struct image *img = NULL;
	uint8_t *data = NULL;
	size_t size;

	must(store_new(&s) == 0 && store_update(s, "f", text, strlen(text), &diags) == 0);
	must(compile(s, &pod, NULL, &diags, &data, &size) == 0 && image_open(data, size, &img) == 0);
	image_match_name(img, name, strlen(name), &m);
	must(m.nsets <= 1 && !m.overflow && m.askable == (m.nsets > 0));
	image_freep(&img);
	free(data);
	diags_clear(&diags);
	store_freep(&s);
	return m.nsets > 0;
}

static void judge(enum name_dialect dialect, const char *pattern, const char *name)
{
	struct name_pattern p;
	const char *why;
	char text[1024];

	if (strlen(pattern) > 512 || name_pattern_parse(dialect, pattern, &p, &why) != NAME_OK)
		return;
	snprintf(text, sizeof(text), dialect == NAME_AWS ? aws : cilium, pattern);
	must(compiled_matches(text, name) ==
	     (dialect == NAME_AWS ? ev_aws_name_matches(pattern, name) : ev_cilium_name_matches(pattern, name)));
}

/* As the proxy has it: lower case, no final dot, labels of 1 to 63 bytes of the alphabet, 253 in all. */
static bool canonical(const char *name)
{
	size_t label = 0;

	for (const char *c = name; *c; c++) {
		if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-_.", *c) || (*c == '.' && label == 0))
			return false;
		label = *c == '.' ? 0 : label + 1;
		if (label > 63)
			return false;
	}
	return label > 0 && strlen(name) <= 253;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *pattern = strndup((const char *)data, size), *name;

	must(pattern != NULL);
	name = strchr(pattern, '\n');
	if (name) {
		*name++ = '\0';
		if (canonical(name)) {
			judge(NAME_CILIUM_PATTERN, pattern, name);
			judge(NAME_AWS, pattern, name);
		}
	}
	free(pattern);
	return 0;
}
