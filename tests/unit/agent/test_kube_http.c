/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to a server of the test's own, on loopback, that answers by script. */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/kube/http.h"
#include "base/cleanup.h"
#include "base/strbuf.h"

struct server {
	int fd;
	char address[64];
	pthread_t thread;
	char request[4096]; /* the last one */
};

#define OK "HTTP/1.1 200 OK\r\n"

static const struct {
	const char *path;
	const char *answer; /* NULL: none ever */
} script[] = {
	{ "/hello", OK "Content-Length: 5\r\n\r\nhello" },
	{ "/chunks", OK "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n" },
	{ "/busy", "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 9\r\n\r\nslow down" },
	{ "/gone", "HTTP/1.1 410 Gone\r\nContent-Length: 7\r\n\r\ntoo old" },
	{ "/short", OK "Content-Length: 50\r\n\r\nhello" },
	{ "/head", OK "Content-Length: 50\r\n\r\n" },
	{ "/never", NULL },
};

static void answer(struct server *s, int fd)
{
	size_t len = 0;
	ssize_t n;

	while (len < sizeof(s->request) - 1 && (n = read(fd, s->request + len, sizeof(s->request) - 1 - len)) > 0) {
		len += (size_t)n;
		s->request[len] = '\0';
		if (strstr(s->request, "\r\n\r\n"))
			break;
	}
	for (size_t i = 0; i < ARRAY_SIZE(script); i++) {
		char *at = strchr(s->request, ' ');

		if (!at || strncmp(at + 1, script[i].path, strlen(script[i].path)) != 0)
			continue;
		if (script[i].answer)
			(void)!write(fd, script[i].answer, strlen(script[i].answer));
		else
			(void)!read(fd, &(char){ 0 }, 1);
	}
}

static void *serve(void *context)
{
	struct server *s = context;

	for (;;) {
		int fd = accept(s->fd, NULL, NULL);

		if (fd < 0)
			return NULL;
		answer(s, fd);
		close(fd);
	}
}

static int setup(void **state)
{
	struct server *s = calloc(1, sizeof(*s));
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);

	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(s->fd, 16), 0);
	getsockname(s->fd, (struct sockaddr *)&sin, &len);
	snprintf(s->address, sizeof(s->address), "http://127.0.0.1:%u", ntohs(sin.sin_port));
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct server *s = *state;

	shutdown(s->fd, SHUT_RDWR);
	pthread_join(s->thread, NULL);
	close(s->fd);
	free(s);
	return 0;
}

struct client {
	sd_event *event;
	struct kube_http *http;
	struct kube_request *request;
	struct strbuf body;
	bool cancel; /* with the first bytes */
	unsigned int began;
	long status;
	long retry_after;
	char text[256];
};

static void on_data(void *context, const char *bytes, size_t len)
{
	struct client *c = context;

	strbuf_add(&c->body, bytes, len);
	if (!c->cancel)
		return;
	kube_request_cancelp(&c->request);
	sd_event_exit(c->event, 0);
}

static void on_began(void *context)
{
	struct client *c = context;

	assert_null(c->body.data);
	c->began++;
}

static void on_end(void *context, const struct kube_reply *reply)
{
	struct client *c = context;

	c->request = NULL;
	c->status = reply->status;
	c->retry_after = reply->retry_after;
	snprintf(c->text, sizeof(c->text), "%s", reply->text);
	sd_event_exit(c->event, 0);
}

static void client_clear(struct client *c)
{
	kube_http_freep(&c->http);
	sd_event_unref(c->event);
	strbuf_clear(&c->body);
}

static void get(struct client *c, const char *server, const char *path, unsigned int seconds)
{
	struct kube_access *a = calloc(1, sizeof(*a));
	const struct kube_call call = { .method = "GET", .path = path, .timeout_seconds = seconds };
	const struct kube_handlers handlers = { c, on_data, on_end, on_began };

	a->server = strdup(server);
	a->token = strdup("secret");
	assert_true(sd_event_new(&c->event) >= 0);
	assert_int_equal(kube_http_new(c->event, a, &c->http), 0);
	assert_int_equal(kube_http_start(c->http, &call, &handlers, &c->request), 0);
	assert_int_equal(sd_event_loop(c->event), 0);
}

static void test_bodies(void **state)
{
	CLEANUP(client_clear) struct client a = {}, b = {};
	struct server *s = *state;

	get(&a, s->address, "/hello?limit=1", 5);
	assert_int_equal(a.status, 200);
	assert_string_equal(a.body.data, "hello");
	assert_string_equal(a.text, "");
	assert_int_equal(a.began, 1);
	assert_non_null(strstr(s->request, "GET /hello?limit=1 HTTP/1.1\r\n"));
	assert_non_null(strstr(s->request, "Authorization: Bearer secret\r\n"));
	get(&b, s->address, "/chunks", 5);
	assert_string_equal(b.body.data, "abcdefg");
	client_clear(&b);
	b = (struct client){};
}

static void test_failures(void **state)
{
	struct server *s = *state;
	struct client c = {};

	get(&c, s->address, "/busy", 5);
	assert_int_equal(c.status, 429);
	assert_int_equal(c.retry_after, 7);
	assert_string_equal(c.text, "slow down");
	assert_null(c.body.data);
	assert_int_equal(c.began, 0);
	client_clear(&c);
	c = (struct client){};
	get(&c, s->address, "/gone", 5);
	assert_int_equal(c.status, 410);
	client_clear(&c);
	c = (struct client){};
	/* Cut off: what came was handed over, and it was no answer. */
	get(&c, s->address, "/short", 5);
	assert_int_equal(c.status, 0);
	assert_string_equal(c.body.data, "hello");
	assert_true(c.text[0] != '\0');
	client_clear(&c);
	c = (struct client){};
	/* A head, and nothing of a body: it began. */
	get(&c, s->address, "/head", 5);
	assert_int_equal(c.status, 0);
	assert_int_equal(c.began, 1);
	client_clear(&c);
	c = (struct client){};
	get(&c, s->address, "/never", 1);
	assert_int_equal(c.began, 0);
	assert_int_equal(c.status, 0);
	assert_non_null(strstr(c.text, "timed out"));
	client_clear(&c);
	c = (struct client){};
	get(&c, "http://127.0.0.1:1", "/hello", 5);
	assert_int_equal(c.status, 0);
	client_clear(&c);
}

/* In libcurl's own callback, which must not free what libcurl is using. */
static void test_cancelled(void **state)
{
	CLEANUP(client_clear) struct client c = { .cancel = true };
	struct server *s = *state;

	get(&c, s->address, "/chunks", 5);
	assert_null(c.request);
	assert_int_equal(c.status, 0);
	assert_true(c.body.len > 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = { TEST(test_bodies), TEST(test_failures), TEST(test_cancelled) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
