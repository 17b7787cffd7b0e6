/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/nlsock.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "base/cleanup.h"

#define WAIT_SECONDS 2 /* for an answer: the kernel's come at once, and the agent's loop must not hang on one */

void nlsock_freep(struct nlsock **n)
{
	if (!*n)
		return;
	if ((*n)->socket)
		mnl_socket_close((*n)->socket);
	free(*n);
	*n = NULL;
}

int nlsock_open(int family, struct nlsock **ret)
{
	CLEANUP(nlsock_freep) struct nlsock *n = calloc(1, sizeof(*n));
	const struct timeval wait = { .tv_sec = WAIT_SECONDS };

	if (!n)
		return -ENOMEM;
	n->socket = mnl_socket_open2(family, SOCK_CLOEXEC);
	if (!n->socket || mnl_socket_bind(n->socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(mnl_socket_get_fd(n->socket), SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0)
		return -errno;
	n->seq = (uint32_t)time(NULL);
	*ret = TAKE_PTR(n);
	return 0;
}

int nlsock_talk(struct nlsock *n, struct nlmsghdr *nlh, mnl_cb_t cb, void *data)
{
	uint32_t port = mnl_socket_get_portid(n->socket);
	int r = MNL_CB_OK;

	nlh->nlmsg_seq = ++n->seq;
	if (mnl_socket_sendto(n->socket, nlh, nlh->nlmsg_len) < 0)
		return -errno;
	while (r > MNL_CB_STOP) {
		ssize_t len = mnl_socket_recvfrom(n->socket, n->buf, sizeof(n->buf));

		if (len < 0)
			return -errno;
		r = mnl_cb_run(n->buf, (size_t)len, n->seq, port, cb, data);
		/* An answer that nobody waited for any more, to a question before. */
		if (r < 0 && errno == EPROTO)
			r = MNL_CB_OK;
	}
	return r < 0 ? -errno : 0;
}
