/* SPDX-License-Identifier: Apache-2.0 */
#include "keep_notify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gm_cleanup.h"
#include "keep_fds.h"

/* ---- the socket ---- */

/*
 * Not in the abstract namespace: everybody may send there, and the queue is short (10 packets by
 * default), so that anybody could keep the daemon from being heard.
 */
static int make_folder(struct gm_keep_notify *notify)
{
	/* RuntimeDirectory= of a service manager. */
	const char *const parents[] = { getenv("RUNTIME_DIRECTORY"), "/run", "/tmp" };
	/* Room for "/notify" must be left in an address. */
	const size_t room = sizeof(notify->folder) - sizeof("/notify");

	for (size_t i = 0; i < GM_ARRAY_SIZE(parents); i++) {
		int length;

		if (!parents[i])
			continue;
		length = snprintf(notify->folder, sizeof(notify->folder), "%s/gmemd-keep-XXXXXX",
				  parents[i]);
		if (length > 0 && (size_t)length < room && mkdtemp(notify->folder))
			return 0;
	}
	notify->folder[0] = '\0';
	return -ENOENT;
}

static int bind_in_folder(struct gm_keep_notify *notify)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const int on = 1;

	snprintf(notify->path, sizeof(notify->path), "%.*s/notify",
		 (int)(sizeof(notify->path) - sizeof("/notify")), notify->folder);
	memcpy(address.sun_path, notify->path, sizeof(address.sun_path));
	if (bind(notify->socket, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    setsockopt(notify->socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		return -errno;
	return 0;
}

int gm_keep_notify_open(struct gm_keep_notify *ret_notify)
{
	struct gm_keep_notify notify = { .socket = -1 };
	int error;

	notify.socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (notify.socket < 0)
		return -errno;
	error = make_folder(&notify);
	if (!error)
		error = bind_in_folder(&notify);
	if (error) {
		gm_keep_notify_close(&notify);
		return error;
	}
	*ret_notify = notify;
	return 0;
}

void gm_keep_notify_close(struct gm_keep_notify *notify)
{
	gm_fd_close(notify->socket);
	notify->socket = -1;
	if (notify->path[0])
		(void)unlink(notify->path);
	if (notify->folder[0])
		(void)rmdir(notify->folder);
	notify->path[0] = '\0';
	notify->folder[0] = '\0';
}

/* ---- messages ---- */

static void parse_line(struct gm_keep_message *message, const char *line)
{
	static const char name[] = "FDNAME=", status[] = "STATUS=";
	const struct {
		const char *text;
		bool *flag;
	} flags[] = {
		{ "READY=1", &message->ready },		 { "STOPPING=1", &message->stopping },
		{ "WATCHDOG=1", &message->watchdog },	 { "FDSTORE=1", &message->store },
		{ "FDSTOREREMOVE=1", &message->remove }, { "FDPOLL=0", &message->no_poll },
	};

	for (size_t i = 0; i < GM_ARRAY_SIZE(flags); i++)
		if (strcmp(line, flags[i].text) == 0)
			*flags[i].flag = true;
	if (strncmp(line, name, sizeof(name) - 1) == 0)
		message->name = gm_keep_name_is_valid(line + sizeof(name) - 1)
					? line + sizeof(name) - 1
					: NULL;
	if (strncmp(line, status, sizeof(status) - 1) == 0)
		message->status = line + sizeof(status) - 1;
}

void gm_keep_message_parse(struct gm_keep_message *message)
{
	char *rest = message->text, *line;

	while ((line = strsep(&rest, "\n")))
		parse_line(message, line);
}

void gm_keep_message_done(struct gm_keep_message *message)
{
	for (size_t i = 0; i < message->n_fds; i++)
		gm_fd_close(message->fds[i]);
	message->n_fds = 0;
}

static void take_fds(struct gm_keep_message *message, const struct cmsghdr *control)
{
	size_t n = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);

	/* The kernel makes at most one of them, and no longer than we have room for. */
	memcpy(message->fds, CMSG_DATA(control), n * sizeof(int));
	message->n_fds = n;
}

/* The fds that came, and the sender: -1 when the kernel does not say. */
static pid_t read_control(struct gm_keep_message *message, struct msghdr *packet)
{
	pid_t sender = -1;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(packet); c; c = CMSG_NXTHDR(packet, c)) {
		struct ucred credentials;

		if (c->cmsg_level != SOL_SOCKET)
			continue;
		if (c->cmsg_type == SCM_RIGHTS) {
			take_fds(message, c);
		} else if (c->cmsg_type == SCM_CREDENTIALS) {
			memcpy(&credentials, CMSG_DATA(c), sizeof(credentials));
			sender = credentials.pid;
		}
	}
	return sender;
}

int gm_keep_notify_receive(const struct gm_keep_notify *notify, pid_t from,
			   struct gm_keep_message *message)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(struct ucred)) +
			   CMSG_SPACE(sizeof(int) * GM_KEEP_MESSAGE_FDS)];
	} control;
	struct iovec text = { .iov_base = message->text, .iov_len = sizeof(message->text) - 1 };
	struct msghdr packet = { .msg_iov = &text,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes) };
	ssize_t length;
	pid_t sender;

	*message = (struct gm_keep_message){ 0 };
	length = recvmsg(notify->socket, &packet, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (length < 0)
		return errno == EINTR ? -EBADMSG : -errno;
	sender = read_control(message, &packet);
	if (sender != from || (packet.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ||
	    memchr(message->text, '\0', (size_t)length)) {
		gm_keep_message_done(message);
		return -EBADMSG;
	}
	message->text[length] = '\0';
	gm_keep_message_parse(message);
	return 0;
}
