/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kube/condition.h"

#include <stdio.h>
#include <string.h>

#include "base/siphash.h"
#include "base/strbuf.h"

static const char *const types[] = { [KUBE_VALID] = "Valid", [KUBE_ENFORCED] = "Enforced" };

/* Only to tell whether two are the same: nobody gains by making them collide but that his own condition stays. */
static uint64_t print_of(const char *status, const char *reason, const char *message, int64_t generation)
{
	static const uint64_t key[2] = { 0x536c75696365, 0x436f6e646974696f };
	struct strbuf b = {};
	uint64_t print;

	strbuf_addf(&b, "%s\n%s\n%lld\n%s", status, reason, (long long)generation, message);
	print = siphash24(b.data ? b.data : "", b.len, key);
	strbuf_clear(&b);
	return print ? print : 1;
}

static const char *text_of(json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static bool ends_so(const char *text, const char *end)
{
	size_t len = strlen(text), n = strlen(end);

	return len >= n && !strcmp(text + len - n, end);
}

static void read_one(json_t *condition, struct kube_condition *ret)
{
	const char *status = text_of(condition, "status"), *reason = text_of(condition, "reason");

	*ret = (struct kube_condition){
		.print = print_of(status, reason, text_of(condition, "message"),
				  json_integer_value(json_object_get(condition, "observedGeneration"))),
		.positive = !strcmp(status, "True"),
		.ours = ends_so(reason, KUBE_OURS),
	};
	snprintf(ret->since, sizeof(ret->since), "%s", text_of(condition, "lastTransitionTime"));
}

void kube_conditions_read(json_t *object, struct kube_condition ret[KUBE_CONDITIONS])
{
	json_t *list = json_object_get(json_object_get(object, "status"), "conditions"), *condition;
	size_t i;

	memset(ret, 0, KUBE_CONDITIONS * sizeof(*ret));
	json_array_foreach(list, i, condition)
	{
		for (size_t k = 0; k < KUBE_CONDITIONS; k++) {
			if (!strcmp(text_of(condition, "type"), types[k]))
				read_one(condition, &ret[k]);
		}
	}
}

static const char *status_of(const struct kube_wanted *w)
{
	return w->positive ? "True" : "False";
}

uint64_t kube_wanted_print(const struct kube_wanted *w)
{
	json_t *message = kube_text_json(w->message);
	uint64_t print = print_of(status_of(w), w->reason, message ? json_string_value(message) : "", w->generation);

	json_decref(message);
	return print;
}

json_t *kube_wanted_json(enum kube_condition_type type, const struct kube_wanted *w, const struct kube_condition *seen,
			 time_t wall)
{
	bool same = seen->print && seen->positive == w->positive && seen->since[0];
	char now[KUBE_TIME_MAX];
	json_t *o = json_pack("{s:s, s:s, s:s, s:s, s:o}", "type", types[type], "status", status_of(w), "reason",
			      w->reason, "lastTransitionTime", same ? seen->since : kube_time(wall, now), "message",
			      kube_text_json(w->message));

	if (o && w->generation)
		json_object_set_new(o, "observedGeneration", json_integer(w->generation));
	return o;
}
