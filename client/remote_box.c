/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boxes: the way of an fd to the daemon, by way of a worker of its that looks at it first. A box
 * ends with the daemon; what had no answer then goes into another one.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "gm_cleanup.h"
#include "gm_fd.h"
#include "gm_scm.h"
#include "gm_verdict.h"
#include "remote.h"

static int open_box(struct gmem_client *client, uint64_t domain, uint64_t deadline,
		    struct gm_box *ret_box, struct gm_fdset *ret_fds)
{
	Gmem__FdBoxRequest request = GMEM__FD_BOX_REQUEST__INIT;
	_gm_reply_ struct gm_reply reply = { 0 };
	const Gmem__FdBoxReply *answer;
	struct gm_pending *pending;
	int r;

	request.has_domain = true;
	request.domain = domain;
	r = gm_remote_post(client, GM_PENDING_CALL, GM_MSG_FD_BOX, &request.base, &pending);
	if (r < 0)
		return r;
	r = gm_remote_finish(client, pending, deadline, &reply);
	if (r < 0)
		return r;
	answer = (const Gmem__FdBoxReply *)reply.message;
	if (!answer->box || answer->n_fd_names != 1 || reply.fds.n_fds != 1 ||
	    answer->fd_names[0].len != strlen("box") ||
	    memcmp(answer->fd_names[0].data, "box", strlen("box")) != 0)
		return gm_remote_nonsense(client, "a box without its file descriptor");
	*ret_box = (struct gm_box){ .id = answer->box,
				    .connection = client->remote->link.connections };
	gm_fdset_move(ret_fds, &reply.fds);
	return 0;
}

int gm_remote_box(struct gmem_client *client, uint64_t domain, int fd, uint64_t deadline,
		  struct gm_box *ret_box)
{
	struct gm_fdset fds = GM_FDSET_NULL;
	const uint8_t byte = 0;
	int r;

	r = open_box(client, domain, deadline, ret_box, &fds);
	if (r < 0)
		return r;
	r = gm_scm_send(gm_fdset_peek(&fds, 0), &byte, sizeof(byte), NULL, 0, &fd, 1, MSG_DONTWAIT);
	gm_fdset_done(&fds);
	/* Its other end has gone: the daemon's answer to the next request says why. */
	if (r < 0 && r != -EPIPE && r != -ECONNRESET)
		return gm_fail_errno(client, r, "sending a file descriptor");
	return 0;
}

bool gm_remote_box_is_gone(const struct gmem_client *client, const struct gm_box *box)
{
	return client->failure.status == GMEM_NO_SUCH_OBJECT &&
	       strcmp(client->failure.rule, gm_rule_name(GM_RULE_BOX)) == 0 &&
	       client->remote->link.connections != box->connection;
}
