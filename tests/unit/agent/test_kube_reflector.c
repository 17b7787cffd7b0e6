/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/kube/reflector.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/strbuf.h"

/* What the sink heard, as words: "begin +a +b synced -a". */
struct heard {
	struct strbuf words;
};

static void hear(struct heard *h, const char *sign, json_t *object)
{
	const char *name = json_string_value(json_object_get(json_object_get(object, "metadata"), "name"));

	strbuf_addf(&h->words, "%s%s%s", h->words.len ? " " : "", sign, object ? name : "");
}

static void heard_begin(void *context)
{
	hear(context, "begin", NULL);
}

static void heard_put(void *context, json_t *object)
{
	hear(context, "+", object);
}

static void heard_gone(void *context, json_t *object)
{
	hear(context, "-", object);
}

static void heard_synced(void *context)
{
	hear(context, "synced", NULL);
}

static uint32_t no_random(void)
{
	return 0;
}

struct world {
	struct heard heard;
	struct kube_reflector *r;
	uint64_t now;
};

static int setup(void **state)
{
	static const struct kube_collection what = {
		.path = "/apis/g/v1/things", .older = "/apis/g/v0/things", .crd = "things.g", .page = 2
	};
	struct world *w = calloc(1, sizeof(*w));
	const struct kube_sink sink = { &w->heard, heard_begin, heard_put, heard_gone, heard_synced };

	w->now = 1000 * NSEC_PER_SEC;
	assert_int_equal(kube_reflector_new(&what, &sink, no_random, &w->r), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	kube_reflector_freep(&w->r);
	strbuf_clear(&w->heard.words);
	free(w);
	return 0;
}

static void assert_asks(struct world *w, const char *path)
{
	const char *asked = NULL;
	unsigned int seconds;
	uint64_t when;

	assert_int_equal(kube_reflector_poll(w->r, w->now, &asked, &seconds, &when), 1);
	assert_string_equal(asked, path);
}

/* Nothing for so many milliseconds, and then something. */
static void assert_waits(struct world *w, uint64_t msec)
{
	const char *asked = NULL;
	unsigned int seconds;
	uint64_t when = 0;

	assert_int_equal(kube_reflector_poll(w->r, w->now, &asked, &seconds, &when), 0);
	assert_int_equal((when - w->now) / NSEC_PER_MSEC, msec);
	w->now = when;
}

static void assert_heard(struct world *w, const char *words)
{
	assert_string_equal(w->heard.words.data ? w->heard.words.data : "", words);
	strbuf_clear(&w->heard.words);
}

static bool say(struct world *w, const char *text)
{
	return kube_reflector_data(w->r, text, strlen(text));
}

static void end(struct world *w, long status)
{
	kube_reflector_end(w->r, w->now, status, 0, status == 200 ? "" : "no");
}

static void answer(struct world *w, long status, const char *text)
{
	if (status == 200)
		say(w, text);
	end(w, status);
}

#define FIRST_PAGE  "/apis/g/v1/things?limit=2"
#define SECOND_PAGE FIRST_PAGE "&continue=a%2Fb%3D"
#define WATCH(rv)   "/apis/g/v1/things?watch=1&allowWatchBookmarks=true&timeoutSeconds=300&resourceVersion=" rv

#define EVENT(type, name, rv)                                                                                          \
	"{\"type\":\"" type "\",\"object\":{\"metadata\":{\"name\":\"" name "\",\"resourceVersion\":\"" rv "\"}}}\n"

#define LIST(rv, name)                                                                                                 \
	"{\"kind\":\"ThingList\",\"metadata\":{\"resourceVersion\":\"" rv                                              \
	"\"},\"items\":[{\"metadata\":{\"name\":\"" name "\"}}]}"

static void list(struct world *w, const char *version)
{
	char text[256];

	assert_asks(w, FIRST_PAGE);
	snprintf(text, sizeof(text),
		 "{\"kind\":\"ThingList\",\"metadata\":{\"resourceVersion\":\"%s\"},\"items\":[{\"metadata\":{\"name\":"
		 "\"a\"}}]}",
		 version);
	answer(w, 200, text);
	assert_heard(w, "begin +a synced");
}

static void test_pages_then_watch(void **state)
{
	struct kube_reflector_state s;
	struct world *w = *state;

	assert_asks(w, FIRST_PAGE);
	answer(w, 200,
	       "{\"kind\":\"ThingList\",\"apiVersion\":\"g/"
	       "v1\",\"metadata\":{\"resourceVersion\":\"5\",\"continue\":\"a/"
	       "b=\"},\"items\":[{\"metadata\":{\"name\":\"a\"}},{\"metadata\":{\"name\":\"b\"}}]}");
	assert_heard(w, "begin +a +b");
	kube_reflector_get(w->r, &s);
	assert_false(s.synced);
	assert_asks(w, SECOND_PAGE);
	answer(w, 200, LIST("5", "c"));
	assert_heard(w, "+c synced");
	kube_reflector_get(w->r, &s);
	assert_true(s.synced);
	assert_asks(w, WATCH("5"));
}

static void test_events(void **state)
{
	struct world *w = *state;
	const char *text = EVENT("ADDED", "b", "6") EVENT("MODIFIED", "a", "7") "\n" EVENT("DELETED", "b", "8");

	list(w, "5");
	assert_asks(w, WATCH("5"));
	for (const char *at = text; *at; at++)
		assert_true(kube_reflector_data(w->r, at, 1));
	assert_heard(w, "+b +a -b");
	assert_true(say(w, EVENT("BOOKMARK", "", "20") "{\"type\":\"ADDED\",\"obj"));
	assert_heard(w, "");
	end(w, 200);
	assert_asks(w, WATCH("20"));
}

static void test_too_old(void **state)
{
	struct world *w = *state;

	list(w, "5");
	assert_asks(w, WATCH("5"));
	end(w, 410);
	list(w, "30");
	assert_asks(w, WATCH("30"));
	assert_false(
		say(w, "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"message\":\"old\"}}\n"));
	end(w, 200);
	assert_waits(w, 250);
	list(w, "40");
	/* A server that says so each time is given time. */
	for (int i = 0; i < 3; i++) {
		assert_asks(w, WATCH("40"));
		end(w, 410);
		assert_waits(w, 500u << i);
		list(w, "40");
	}
}

static void test_list_too_old(void **state)
{
	struct world *w = *state;

	assert_asks(w, FIRST_PAGE);
	answer(w, 200,
	       "{\"kind\":\"ThingList\",\"metadata\":{\"resourceVersion\":\"5\",\"continue\":\"a/"
	       "b=\"},\"items\":[{\"metadata\":{\"name\":\"a\"}}]}");
	assert_asks(w, SECOND_PAGE);
	end(w, 410);
	assert_waits(w, 250);
	assert_heard(w, "begin +a");
	list(w, "9");
}

static void test_unreadable(void **state)
{
	struct kube_reflector_state s;
	struct world *w = *state;

	list(w, "5");
	assert_asks(w, WATCH("5"));
	assert_false(say(w, EVENT("ADDED", "b", "6") "{oops\n" EVENT("ADDED", "c", "7")));
	assert_heard(w, "+b");
	end(w, 200);
	list(w, "9");
	kube_reflector_get(w->r, &s);
	assert_int_equal(s.lost, 1);
	assert_int_equal(s.lists, 2);
}

/* What comes with the status 200 and is no list takes nothing away: policies that vanish open something. */
static void test_no_list(void **state)
{
	static const char *const texts[] = {
		"{}",
		"[]",
		"{\"kind\":\"Status\",\"metadata\":{},\"status\":\"Failure\"}",
		"{\"kind\":\"ThingList\",\"metadata\":{\"resourceVersion\":\"9\"}}",
		"{\"kind\":\"ThingList\",\"metadata\":{\"resourceVersion\":\"9\"},\"items\":{}}",
		"{\"kind\":\"ThingList\",\"metadata\":{},\"items\":[]}",
	};
	struct kube_reflector_state s;
	struct world *w = *state;

	list(w, "5");
	assert_asks(w, WATCH("5"));
	end(w, 410);
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_asks(w, FIRST_PAGE);
		answer(w, 200, texts[i]);
		assert_heard(w, "");
		kube_reflector_get(w->r, &s);
		assert_string_equal(s.error, "HTTP status 200: a list that cannot be read");
		w->now += 60 * NSEC_PER_SEC;
	}
	/* None at all is a list too. */
	assert_asks(w, FIRST_PAGE);
	answer(w, 200, "{\"kind\":\"ThingList\",\"metadata\":{\"resourceVersion\":\"9\"},\"items\":null}");
	assert_heard(w, "begin synced");
}

/* What the API answers with when it says no; names in it are quoted, and its end may be cut off. */
static void test_words_of_a_refusal(void **state)
{
	struct kube_reflector_state s;
	struct world *w = *state;
	char text[400] = "{\"kind\":\"Status\",\"message\":\"things \\\"a\\\" is forbidden\",\"code\":403}";

	kube_reflector_end(w->r, w->now, 403, 0, text);
	kube_reflector_get(w->r, &s);
	assert_string_equal(s.error, "HTTP status 403: things \"a\" is forbidden");
	memset(text, '\\', sizeof(text) - 1);
	kube_reflector_end(w->r, w->now, 403, 0, text);
	kube_reflector_get(w->r, &s);
	assert_int_equal(strlen(s.error), 17 + sizeof(text) / 2);
}

static void test_failures(void **state)
{
	static const uint64_t waits[] = { 250, 500, 1000, 2000, 4000, 8000, 16000, 16000 };
	struct kube_reflector_state s;
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(waits); i++) {
		assert_asks(w, FIRST_PAGE);
		end(w, i % 2 ? 503 : 0);
		assert_waits(w, waits[i]);
	}
	kube_reflector_get(w->r, &s);
	assert_string_equal(s.error, "HTTP status 503: no");
	list(w, "5");
	kube_reflector_get(w->r, &s);
	assert_string_equal(s.error, "");
	assert_asks(w, WATCH("5"));
	kube_reflector_end(w->r, w->now, 429, 7, "slow down");
	assert_waits(w, 7250);
	assert_asks(w, WATCH("5"));
	kube_reflector_end(w->r, w->now, 429, 100000, "slow down");
	assert_waits(w, 120500);
	assert_heard(w, "");
	assert_asks(w, WATCH("5"));
	kube_reflector_get(w->r, &s);
	assert_false(s.watching);
	/* It may go on for minutes, and is well from its first word. */
	assert_true(say(w, "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"6\"}}}\n"));
	kube_reflector_get(w->r, &s);
	assert_true(s.watching);
	assert_string_equal(s.error, "");
}

/* A server that is away again before its watch brought anything: that was a success all the same, if it lasted. */
static void test_back_off_begins_anew(void **state)
{
	static const uint64_t lasting[] = { 0, 900, 1000, 20000 }, waits[] = { 16000, 16000, 250, 250 };
	struct kube_reflector_state s;
	struct world *w = *state;

	list(w, "5");
	for (size_t i = 0; i < ARRAY_SIZE(lasting); i++) {
		for (int k = 0; k < 8; k++) {
			uint64_t when = 0;
			const char *path;
			unsigned int seconds;

			assert_asks(w, WATCH("5"));
			end(w, 0);
			assert_int_equal(kube_reflector_poll(w->r, w->now, &path, &seconds, &when), 0);
			w->now = when;
		}
		assert_asks(w, WATCH("5"));
		kube_reflector_get(w->r, &s);
		assert_false(s.watching);
		kube_reflector_began(w->r, w->now);
		kube_reflector_get(w->r, &s);
		assert_true(s.watching);
		assert_string_equal(s.error, "");
		w->now += lasting[i] * NSEC_PER_MSEC;
		end(w, 0);
		assert_waits(w, waits[i]);
		kube_reflector_get(w->r, &s);
		assert_false(s.watching);
	}
}

/* A watch that ends at once every time must not become a loop. */
static void test_short_watch(void **state)
{
	struct world *w = *state;

	list(w, "5");
	assert_asks(w, WATCH("5"));
	end(w, 200);
	assert_waits(w, 250);
	assert_asks(w, WATCH("5"));
	w->now += 300 * NSEC_PER_SEC;
	end(w, 200);
	assert_asks(w, WATCH("5"));
}

#define CRD "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.g"

static void test_absent_kind(void **state)
{
	struct kube_reflector_state s;
	struct world *w = *state;

	assert_asks(w, FIRST_PAGE);
	end(w, 404);
	assert_heard(w, "");
	assert_asks(w, CRD);
	end(w, 404);
	assert_heard(w, "begin synced");
	kube_reflector_get(w->r, &s);
	assert_true(s.synced && s.absent);
	assert_waits(w, 10000);
	assert_asks(w, CRD);
	end(w, 404);
	assert_heard(w, "");
	assert_waits(w, 10000);
	assert_asks(w, CRD);
	answer(w, 200, "{}");
	/* Installed now, in the older version. */
	assert_asks(w, "/apis/g/v0/things?limit=2");
	answer(w, 200, LIST("5", "a"));
	assert_heard(w, "begin +a synced");
	kube_reflector_get(w->r, &s);
	assert_false(s.absent);
}

/* A 404 of the kind alone takes nothing away. */
static void test_404_of_a_starting_server(void **state)
{
	struct world *w = *state;

	list(w, "5");
	assert_asks(w, WATCH("5"));
	end(w, 404);
	assert_asks(w, FIRST_PAGE);
	end(w, 404);
	assert_asks(w, CRD);
	end(w, 503);
	assert_heard(w, "");
	w->now += 60 * NSEC_PER_SEC;
	assert_asks(w, CRD);
	answer(w, 200, "{}");
	assert_heard(w, "");
}

/* A server that is too old for a built-in kind: nobody waits for it, and a newer one's is found. */
static void test_optional_kind(void **state)
{
	static const struct kube_collection what = { .path = "/apis/g/v1/things", .page = 2, .optional = true };
	struct world *w = *state;
	const struct kube_sink sink = { &w->heard, heard_begin, heard_put, heard_gone, heard_synced };
	struct kube_reflector_state s;

	kube_reflector_freep(&w->r);
	assert_int_equal(kube_reflector_new(&what, &sink, no_random, &w->r), 0);
	assert_asks(w, FIRST_PAGE);
	end(w, 503);
	kube_reflector_get(w->r, &s);
	assert_false(s.synced);
	assert_waits(w, 250);
	assert_asks(w, FIRST_PAGE);
	end(w, 404);
	kube_reflector_get(w->r, &s);
	assert_true(s.synced && s.absent);
	assert_string_equal(s.error, "");
	assert_heard(w, "");
	assert_waits(w, 60000);
	list(w, "5");
	kube_reflector_get(w->r, &s);
	assert_false(s.absent);
	/* Gone again, with a server of before: what was known stays. */
	assert_asks(w, WATCH("5"));
	end(w, 404);
	assert_asks(w, FIRST_PAGE);
	end(w, 404);
	assert_heard(w, "");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_pages_then_watch),
		TEST(test_events),
		TEST(test_too_old),
		TEST(test_list_too_old),
		TEST(test_unreadable),
		TEST(test_no_list),
		TEST(test_failures),
		TEST(test_words_of_a_refusal),
		TEST(test_short_watch),
		TEST(test_back_off_begins_anew),
		TEST(test_absent_kind),
		TEST(test_optional_kind),
		TEST(test_404_of_a_starting_server),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
