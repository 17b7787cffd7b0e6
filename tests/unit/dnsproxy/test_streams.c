/* SPDX-License-Identifier: Apache-2.0 */
/* Against a resolver on loopback that the test plays itself. Time is the loop's, and ahead of it for the sweeps. */
#include "tests/unit/dnsproxy/dns_test.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "dnsproxy/loop.h"
#include "dnsproxy/streams.h"

#define POD   3u
#define OTHER 4u

static struct streams *t;
static int loop, listener;
static struct proxy_resolver resolver;

/* What the user was told. */
static struct told {
	unsigned int answers, losses;
	bool fault;
	uint32_t stream;
	char text[256]; /* of the answers, one after the other */
	bool ask_again; /* from within the loss */
	uint32_t asked;
} told;

static void answer(void *context, uint32_t stream, const uint8_t *msg, size_t len, uint64_t now)
{
	size_t at = strlen(told.text);

	(void)context;
	(void)now;
	told.answers++;
	told.stream = stream;
	snprintf(told.text + at, sizeof(told.text) - at, "%.*s ", (int)len, (const char *)msg);
	streams_asked(t, stream);
}

static const uint8_t *padded(const char *text)
{
	static uint8_t msg[64];

	memset(msg, '.', sizeof(msg));
	memcpy(msg, text, strlen(text));
	return msg;
}

#define LEN 16 /* of the messages that are asked */

static int ask(const char *text, uint32_t endpoint, uint32_t *ret)
{
	return streams_ask(t, &resolver, 0, endpoint, padded(text), LEN, clock_now(), ret);
}

static void lost(void *context, uint32_t stream, bool fault, uint64_t now)
{
	(void)context;
	(void)now;
	told.losses++;
	told.fault = fault;
	told.stream = stream;
	if (told.ask_again)
		assert_int_equal(ask("again", POD, &told.asked), 0);
	streams_asked(t, stream);
}

/* Asked for so often that one is worth opening. */
static bool ready(uint32_t endpoint, uint64_t later)
{
	bool r = false;

	for (int i = 0; i < STREAM_WORTH; i++)
		r = streams_ready(t, &resolver, 0, endpoint, clock_now() + later);
	return r;
}

static void turn(void)
{
	uint64_t now;

	streams_flush(t);
	assert_int_equal(loop_run_once(loop, 200, &now), 0);
}

static int accepted(void)
{
	struct pollfd p = { listener, POLLIN, 0 };
	int fd;

	assert_int_equal(poll(&p, 1, 1000), 1);
	fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);
	return fd;
}

static bool nobody_connects(void)
{
	struct pollfd p = { listener, POLLIN, 0 };

	return poll(&p, 1, 0) == 0;
}

/* A connection that stands; the resolver's end of it. */
static int stand(uint32_t endpoint)
{
	assert_false(ready(endpoint, 0));
	turn();
	assert_true(ready(endpoint, 0));
	return accepted();
}

static size_t received(int fd, uint8_t *data, size_t size)
{
	struct pollfd p = { fd, POLLIN, 0 };
	ssize_t n;

	assert_int_equal(poll(&p, 1, 1000), 1);
	n = recv(fd, data, size, 0);
	assert_true(n >= 0);
	return (size_t)n;
}

static void give(int fd, const char *text)
{
	uint8_t data[2 + LEN] = { 0, LEN };

	memcpy(data + 2, padded(text), LEN);
	assert_int_equal(send(fd, data, sizeof(data), MSG_NOSIGNAL), sizeof(data));
}

static int set_up(void **state)
{
	const struct streams_user user = { NULL, answer, lost };
	struct sockaddr_in own = { .sin_family = AF_INET, .sin_addr = { htonl(0x7f000001) } };
	socklen_t len = sizeof(own);

	(void)state;
	memset(&told, 0, sizeof(told));
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&own, sizeof(own)), 0);
	assert_int_equal(listen(listener, 128), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&own, &len), 0);
	resolver = (struct proxy_resolver){ test_addr("127.0.0.1"), ntohs(own.sin_port), { 0 } };
	assert_int_equal(loop_new(&loop), 0);
	return streams_new(loop, &user, &t);
}

static int tear_down(void **state)
{
	(void)state;
	streams_freep(&t);
	closep(&loop);
	closep(&listener);
	return 0;
}

static void few_queries_open_none(void **state)
{
	uint64_t now = clock_now();

	(void)state;
	for (int i = 0; i < 10; i++) {
		for (int j = 0; j < STREAM_WORTH - 1; j++)
			assert_false(streams_ready(t, &resolver, 0, POD, now));
		assert_int_equal(streams_count(t), 0);
		now += NSEC_PER_SEC + 1;
	}
}

static void queries_of_a_turn_leave_together(void **state)
{
	_cleanup_close_ int fd = stand(POD);
	uint8_t data[256];
	uint32_t a, b;

	(void)state;
	assert_int_equal(ask("one", POD, &a), 0);
	assert_int_equal(ask("two", POD, &b), 0);
	assert_int_equal(a, b);
	streams_flush(t);
	assert_int_equal(received(fd, data, sizeof(data)), 2 * (2 + LEN));
	assert_int_equal(data[1], LEN);
	assert_memory_equal(data + 2, "one...", 6);
	assert_memory_equal(data + 2 + LEN + 2, "two...", 6);
	/* In any order, cut anywhere. */
	give(fd, "TWO");
	turn();
	assert_string_equal(told.text, "TWO............. ");
	for (size_t i = 0; i < 2 + LEN; i++) {
		data[0] = 0;
		data[1] = LEN;
		memcpy(data + 2, padded("ONE"), LEN);
		assert_int_equal(send(fd, data + i, 1, MSG_NOSIGNAL), 1);
		assert_int_equal(told.answers, 1);
		turn();
	}
	assert_string_equal(told.text, "TWO............. ONE............. ");
	assert_int_equal(told.losses, 0);
	assert_int_equal(streams_count(t), 1);
}

static void a_message_of_full_size_arrives(void **state)
{
	_cleanup_close_ int fd = stand(POD);
	static uint8_t data[2 + 65535];
	size_t done = 0;
	uint32_t n;

	(void)state;
	assert_int_equal(ask("long", POD, &n), 0);
	memset(data, 'x', sizeof(data));
	data[0] = data[1] = 0xff;
	while (done < sizeof(data) || told.answers == 0) {
		ssize_t sent = send(fd, data + done, sizeof(data) - done, MSG_DONTWAIT | MSG_NOSIGNAL);

		done += sent > 0 ? (size_t)sent : 0;
		turn();
	}
	assert_int_equal(told.answers, 1);
	assert_int_equal(told.losses, 0);
}

static void who_waits_on_one_is_one_endpoint(void **state)
{
	_cleanup_close_ int first = stand(POD), second = -1;
	uint32_t a, b;

	(void)state;
	assert_int_equal(ask("slow", POD, &a), 0);
	/* Another pod's would stand behind it: it goes by UDP, and one is opened for the next. */
	assert_false(ready(OTHER, 0));
	turn();
	second = accepted();
	assert_true(ready(OTHER, 0));
	assert_int_equal(ask("quick", OTHER, &b), 0);
	assert_int_not_equal(a, b);
	/* Nobody waits on it any more: it is anybody's. */
	streams_flush(t);
	give(first, "SLOW");
	turn();
	assert_int_equal(told.answers, 1);
	assert_int_equal(streams_ask(t, &resolver, 0, 5, padded("x"), LEN, clock_now(), &b), 0);
	assert_int_equal(a, b);
	assert_true(nobody_connects());
}

static void one_that_lags_is_avoided(void **state)
{
	int fd = stand(POD);
	uint32_t a, b;

	(void)state;
	assert_int_equal(ask("slow", POD, &a), 0);
	assert_true(ready(POD, 0));
	assert_false(ready(POD, STREAM_SLOW + NSEC_PER_MSEC));
	assert_int_equal(streams_count(t), 2);
	/* Another resolver's is no help. */
	assert_false(streams_ready(t, &resolver, 1, POD, clock_now()));
	/* What has to go by TCP takes the one that is on its way. */
	assert_int_equal(streams_ask(t, &resolver, 0, POD, padded("x"), LEN, clock_now() + NSEC_PER_SEC, &b), 0);
	assert_int_not_equal(a, b);
	close(fd);
}

static void an_endpoint_has_a_share(void **state)
{
	uint32_t n, most = 0;

	(void)state;
	for (int i = 0; i < STREAMS_PER_ENDPOINT * STREAM_QUERIES; i++) {
		assert_int_equal(ask("x", POD, &n), 0);
		most = n > most ? n : most;
	}
	assert_int_equal(most, STREAMS_PER_ENDPOINT - 1);
	assert_int_equal(ask("x", POD, &n), -EBUSY);
	assert_false(ready(POD, 0));
	assert_int_equal(streams_count(t), STREAMS_PER_ENDPOINT);
	assert_int_equal(ask("x", OTHER, &n), 0);
}

static void the_table_has_an_end(void **state)
{
	uint32_t n;

	(void)state;
	for (uint32_t i = 0; i < STREAMS_MAX; i++)
		assert_int_equal(ask("x", 10 + i, &n), 0);
	assert_int_equal(streams_count(t), STREAMS_MAX);
	assert_int_equal(ask("x", POD, &n), -EBUSY);
}

/* Several endpoints that keep all busy together: one of theirs ends for an endpoint that has fewer, and is told. */
static void several_do_not_take_all(void **state)
{
	const uint32_t full = STREAMS_MAX / STREAMS_PER_ENDPOINT;
	uint64_t now = clock_now();
	uint32_t n, last = 0;

	(void)state;
	for (uint32_t i = 0; i < full * STREAMS_PER_ENDPOINT * STREAM_QUERIES; i++) {
		uint32_t stream = i / STREAM_QUERIES;
		/* The second one of the second endpoint was asked on before all others. */
		uint64_t at = stream == STREAMS_PER_ENDPOINT + 1 ? now : now + 1 + stream;

		assert_int_equal(
			streams_ask(t, &resolver, 0, 10 + stream / STREAMS_PER_ENDPOINT, padded("x"), LEN, at, &n), 0);
		assert_int_equal(n, stream);
	}
	assert_int_equal(streams_count(t), STREAMS_MAX);
	assert_int_equal(told.losses, 0);
	/* What may go by UDP ends nobody's. */
	for (int i = 0; i < 2 * STREAM_WORTH; i++)
		assert_false(streams_ready(t, &resolver, 0, POD, now));
	assert_int_equal(told.losses, 0);
	assert_int_equal(streams_ask(t, &resolver, 0, POD, padded("x"), LEN, now, &last), 0);
	assert_int_equal(told.losses, 1);
	assert_false(told.fault);
	assert_int_equal(told.stream, STREAMS_PER_ENDPOINT + 1);
	assert_int_equal(last, told.stream);
	assert_int_equal(streams_count(t), STREAMS_MAX);
	/* The one that has lost it has but one less than the others: it takes nothing back. */
	for (uint32_t i = 0; i < STREAM_QUERIES; i++)
		assert_int_equal(streams_ask(t, &resolver, 1, 11, padded("x"), LEN, now, &n), -EBUSY);
	assert_int_equal(told.losses, 1);
}

/* A full table is no reason to leave the endpoint's own slow one. */
static void a_slow_one_is_better_than_none(void **state)
{
	_cleanup_close_ int fd = -1;
	uint32_t n, own;

	(void)state;
	fd = stand(POD);
	assert_int_equal(ask("slow", POD, &own), 0);
	for (uint32_t i = 1; i < STREAMS_MAX; i++)
		assert_int_equal(ask("x", 10 + i, &n), 0);
	assert_int_equal(streams_ask(t, &resolver, 0, POD, padded("x"), LEN, clock_now() + NSEC_PER_SEC, &n), 0);
	assert_int_equal(n, own);
	assert_int_equal(told.losses, 0);
}

/* Who asks from within an answer does not end the connection that it came by. */
static bool asks_within;
static uint32_t asked_within;

static void answer_and_ask(void *context, uint32_t stream, const uint8_t *msg, size_t len, uint64_t now)
{
	answer(context, stream, msg, len, now);
	if (asks_within)
		assert_int_equal(ask("within", POD, &asked_within), 0);
}

static void the_one_that_answers_stays(void **state)
{
	const struct streams_user user = { NULL, answer_and_ask, lost };
	const uint32_t full = STREAMS_MAX / STREAMS_PER_ENDPOINT;
	_cleanup_close_ int fd = -1;
	uint32_t n, first;

	(void)state;
	streams_freep(&t);
	assert_int_equal(streams_new(loop, &user, &t), 0);
	fd = stand(10);
	assert_int_equal(ask("one", 10, &first), 0);
	for (uint32_t i = 1; i < full * STREAMS_PER_ENDPOINT * STREAM_QUERIES; i++)
		assert_int_equal(streams_ask(t, &resolver, 0, 10 + i / STREAM_QUERIES / STREAMS_PER_ENDPOINT,
					     padded("x"), LEN, clock_now() + 10 * NSEC_PER_SEC, &n),
				 0);
	streams_flush(t);
	asks_within = true;
	give(fd, "ONE");
	for (int i = 0; i < 200 && told.answers == 0; i++)
		turn();
	asks_within = false;
	assert_int_equal(told.answers, 1);
	assert_int_equal(told.losses, 1);
	assert_int_not_equal(asked_within, first);
	assert_int_equal(streams_count(t), STREAMS_MAX);
	give(fd, "TWO");
	for (int i = 0; i < 200 && told.answers == 1; i++)
		turn();
	assert_int_equal(told.answers, 2);
}

static void an_idle_one_makes_room(void **state)
{
	int fd = stand(POD);
	uint32_t n;

	(void)state;
	for (uint32_t i = 1; i < STREAMS_MAX; i++)
		assert_int_equal(streams_ask(t, &resolver, 1, 10 + i, padded("x"), LEN, clock_now(), &n), 0);
	assert_int_equal(streams_ask(t, &resolver, 1, POD, padded("x"), LEN, clock_now(), &n), 0);
	assert_int_equal(streams_count(t), STREAMS_MAX);
	assert_int_equal(told.losses, 0);
	close(fd);
}

static void refused_is_left_alone(void **state)
{
	uint32_t n;

	(void)state;
	closep(&listener);
	assert_false(ready(POD, 0));
	turn();
	assert_int_equal(streams_count(t), 0);
	assert_int_equal(told.losses, 0); /* nobody waited */
	assert_false(ready(POD, 0));
	assert_int_equal(streams_count(t), 0);
	assert_false(ready(POD, STREAM_REFUSED + NSEC_PER_SEC));
	assert_int_equal(streams_count(t), 1);
	turn();
	/* Who has no other way tries all the same. */
	assert_int_equal(ask("x", POD, &n), 0);
	turn();
	assert_int_equal(told.losses, 1);
	assert_true(told.fault);
	assert_int_equal(streams_count(t), 0);
}

static void half_open_ends(void **state)
{
	uint32_t n;

	(void)state;
	assert_int_equal(ask("x", POD, &n), 0);
	streams_sweep(t, clock_now() + STREAM_CONNECT - NSEC_PER_SEC);
	assert_int_equal(told.losses, 0);
	streams_sweep(t, clock_now() + STREAM_CONNECT + NSEC_PER_SEC);
	assert_int_equal(told.losses, 1);
	assert_true(told.fault);
	assert_int_equal(streams_count(t), 0);
}

static void closed_with_queries_is_told(void **state)
{
	_cleanup_close_ int fd = stand(POD);
	uint32_t a, b;

	(void)state;
	assert_int_equal(ask("one", POD, &a), 0);
	assert_int_equal(ask("two", POD, &b), 0);
	streams_flush(t);
	told.ask_again = true;
	closep(&fd);
	turn();
	assert_int_equal(told.losses, 1);
	assert_false(told.fault);
	assert_int_equal(told.stream, a);
	/* A number that some still wait under is not given away. */
	assert_int_not_equal(told.asked, a);
	assert_int_equal(streams_count(t), 1);
}

static void closed_while_idle_is_no_loss(void **state)
{
	_cleanup_close_ int fd = stand(POD);

	(void)state;
	closep(&fd);
	turn();
	assert_int_equal(told.losses, 0);
	assert_int_equal(streams_count(t), 0);
}

static void no_message_is_a_fault(void **state)
{
	_cleanup_close_ int fd = stand(POD);
	uint32_t n;

	(void)state;
	assert_int_equal(ask("one", POD, &n), 0);
	assert_int_equal(send(fd, "\0\3abc", 5, MSG_NOSIGNAL), 5);
	turn();
	assert_int_equal(told.losses, 1);
	assert_true(told.fault);
}

static void idle_ones_end(void **state)
{
	_cleanup_close_ int fd = stand(POD);
	uint64_t now = clock_now();
	uint32_t n;

	(void)state;
	streams_sweep(t, now + STREAM_IDLE - NSEC_PER_SEC);
	assert_int_equal(streams_count(t), 1);
	assert_int_equal(ask("one", POD, &n), 0);
	streams_sweep(t, now + STREAM_IDLE + NSEC_PER_SEC); /* not while somebody waits: the core gives up in time */
	assert_int_equal(streams_count(t), 1);
	streams_flush(t);
	give(fd, "ONE");
	turn();
	streams_sweep(t, now + STREAM_IDLE + NSEC_PER_SEC);
	assert_int_equal(streams_count(t), 0);
}

static void old_ones_take_no_more(void **state)
{
	_cleanup_close_ int fd = stand(POD);
	uint32_t n, m;

	(void)state;
	assert_int_equal(ask("one", POD, &n), 0);
	streams_sweep(t, clock_now() + STREAM_AGE + NSEC_PER_SEC);
	assert_int_equal(streams_count(t), 1);
	assert_false(ready(POD, 0));
	assert_int_equal(ask("two", POD, &m), 0);
	assert_int_not_equal(n, m);
	streams_flush(t);
	give(fd, "ONE");
	for (int i = 0; i < 5 && told.answers == 0; i++)
		turn();
	assert_string_equal(told.text, "ONE............. ");
	assert_int_equal(streams_count(t), 1);
}

static void one_with_a_query_given_up_takes_no_more(void **state)
{
	int fd = stand(POD);
	uint32_t n;

	(void)state;
	assert_int_equal(ask("one", POD, &n), 0);
	streams_asked(t, n); /* not from within an answer */
	assert_false(ready(POD, 0));
	streams_sweep(t, clock_now());
	assert_int_equal(streams_count(t), 1); /* the new one */
	turn();
	assert_true(ready(POD, 0));
	close(fd);
}

static void one_with_a_query_given_up_makes_room(void **state)
{
	int fd = stand(POD);
	uint32_t n, given_up;

	(void)state;
	for (uint32_t i = 1; i < STREAMS_MAX; i++)
		assert_int_equal(streams_ask(t, &resolver, 1, 10 + i, padded("x"), LEN, clock_now(), &n), 0);
	assert_int_equal(ask("one", POD, &given_up), 0);
	streams_asked(t, given_up);
	assert_int_equal(ask("two", POD, &n), 0);
	assert_int_equal(n, given_up);
	assert_int_equal(told.losses, 0);
	close(fd);
}

static void new_resolvers_get_new_ones(void **state)
{
	_cleanup_close_ int fd = stand(POD);
	uint32_t n;

	(void)state;
	assert_int_equal(ask("one", POD, &n), 0);
	assert_int_equal(streams_ask(t, &resolver, 1, POD, padded("x"), LEN, clock_now(), &n), 0);
	streams_reset(t, clock_now());
	assert_int_equal(told.losses, 1); /* the one that did not stand yet */
	assert_false(told.fault);
	streams_flush(t);
	give(fd, "ONE"); /* the other serves out */
	turn();
	assert_int_equal(told.answers, 1);
	assert_int_equal(streams_count(t), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(few_queries_open_none),
		TEST(queries_of_a_turn_leave_together),
		TEST(a_message_of_full_size_arrives),
		TEST(who_waits_on_one_is_one_endpoint),
		TEST(one_that_lags_is_avoided),
		TEST(an_endpoint_has_a_share),
		TEST(the_table_has_an_end),
		TEST(an_idle_one_makes_room),
		TEST(several_do_not_take_all),
		TEST(a_slow_one_is_better_than_none),
		TEST(the_one_that_answers_stays),
		TEST(refused_is_left_alone),
		TEST(half_open_ends),
		TEST(closed_with_queries_is_told),
		TEST(closed_while_idle_is_no_loss),
		TEST(no_message_is_a_fault),
		TEST(idle_ones_end),
		TEST(old_ones_take_no_more),
		TEST(one_with_a_query_given_up_takes_no_more),
		TEST(one_with_a_query_given_up_makes_room),
		TEST(new_resolvers_get_new_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
