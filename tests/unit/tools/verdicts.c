/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/tools/verdicts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/strbuf.h"
#include "tools/bpfctl/offline.h"

static void one_verdict(struct strbuf *b, struct offline *off, const struct offline_image *image,
			const struct subject *subject, const char *to, const char *port)
{
	struct explain_world world = offline_world(off, subject);
	struct explain_answer a = {};
	struct explain_query q = {};

	assert_int_equal(explain_parse_target(to, &q), 0);
	assert_int_equal(explain_parse_port(port, &q), 0);
	if (image->img)
		explain(image->img, &world, &q, &a);
	else
		explain_mode(image->mode, &a);
	strbuf_addf(b, "%s/%s %s %s: %s%s\n", subject->namespace_name, subject->name, to, port,
		    a.allowed ? "allowed" : "denied",
		    !a.has_askable ? ""
		    : a.askable	   ? " askable"
				   : " not askable");
}

char *verdicts_of(const char *const *files, const char *const *pods, const char *const *destinations,
		  const char *const *ports)
{
	CLEANUP(offline_clear) struct offline off = {};
	struct strbuf b = {};

	for (; *files; files++)
		assert_int_equal(offline_add(&off, *files), 0);
	for (; *pods; pods++) {
		CLEANUP(offline_image_clear) struct offline_image image = {};
		const struct subject *subject = fleet_find(&off.fleet, *pods);

		assert_non_null(subject);
		assert_int_equal(offline_compile(&off, subject, &off.diags, &image), 0);
		for (const char *const *to = destinations; *to; to++)
			for (const char *const *port = ports; *port; port++)
				one_verdict(&b, &off, &image, subject, *to, *port);
	}
	for (size_t i = 0; i < off.diags.count; i++) {
		char line[512];

		if (off.diags.items[i].level == DIAG_ERROR)
			fail_msg("%s", diag_format(&off.diags.items[i], line, sizeof(line)));
	}
	return strbuf_take(&b);
}

void assert_same_verdicts(const char *what, const char *a, const char *b)
{
	while (*a || *b) {
		size_t x = strcspn(a, "\n"), y = strcspn(b, "\n");

		if (x != y || strncmp(a, b, x) != 0)
			fail_msg("'%.*s' of the one, '%.*s' of the other, which is\n%s", (int)x, a, (int)y, b, what);
		a += x + (a[x] == '\n');
		b += y + (b[y] == '\n');
	}
}
