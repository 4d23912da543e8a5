/* SPDX-License-Identifier: Apache-2.0 */
#include "fd_store.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "gm_cleanup.h"

#define MESSAGE_SIZE 96

static const struct {
	const char *name;
	bool has_record;
} kinds[] = {
	[GM_STORED_STATE] = { "+state", false }, [GM_STORED_MAPS] = { "+maps", false },
	[GM_STORED_REGION] = { "+r", true },	 [GM_STORED_PIDFD] = { "+p", true },
	[GM_STORED_HALF] = { "+q", true },	 [GM_STORED_VM] = { "+v", true },
};

/* ---- names ---- */

void gm_stored_name(enum gm_stored_kind kind, uint32_t record, char ret_name[GM_STORED_NAME_SIZE])
{
	assert((size_t)kind < GM_ARRAY_SIZE(kinds) && record < GM_STORED_RECORDS_MAX);
	if (kinds[kind].has_record)
		snprintf(ret_name, GM_STORED_NAME_SIZE, "%s%x", kinds[kind].name, record);
	else
		snprintf(ret_name, GM_STORED_NAME_SIZE, "%s", kinds[kind].name);
}

/* One text for each number: lower case, no leading zero, so that a name is a key. */
static bool parse_record(const char *text, uint32_t *ret_record)
{
	size_t length = strspn(text, "0123456789abcdef");

	if (length == 0 || length > 4 || text[length] != '\0' || (length > 1 && text[0] == '0'))
		return false;
	*ret_record = (uint32_t)strtoul(text, NULL, 16);
	return true;
}

bool gm_stored_parse(const char *name, enum gm_stored_kind *ret_kind, uint32_t *ret_record)
{
	if (name[0] != GM_STORED_MARK)
		return false;
	*ret_record = 0;
	for (size_t i = 0; i < GM_ARRAY_SIZE(kinds); i++) {
		size_t length = strlen(kinds[i].name);

		*ret_kind = (enum gm_stored_kind)i;
		if (!kinds[i].has_record && strcmp(name, kinds[i].name) == 0)
			return true;
		if (kinds[i].has_record && strncmp(name, kinds[i].name, length) == 0 &&
		    parse_record(name + length, ret_record))
			return true;
	}
	*ret_kind = GM_STORED_OTHER;
	return true;
}

/* ---- the socket ---- */

/* A path, or '@' and an abstract name, as sd_notify(3) takes them. */
static int parse_address(const char *text, struct gm_fd_store *store)
{
	size_t length = strlen(text);

	if (length < 2 || (text[0] != '/' && text[0] != '@'))
		return -EINVAL;
	if (length >= sizeof(store->address.sun_path))
		return -ENAMETOOLONG;
	store->address.sun_family = AF_UNIX;
	memcpy(store->address.sun_path, text, length);
	if (text[0] == '@')
		store->address.sun_path[0] = '\0';
	/* The end of a path is counted, that of an abstract name would be part of it. */
	store->address_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length +
					    (text[0] == '/' ? 1 : 0));
	return 0;
}

static int connect_store(int fd, const struct gm_fd_store *store)
{
	return connect(fd, (const struct sockaddr *)&store->address, store->address_length) < 0
		       ? -errno
		       : 0;
}

/* What is no number says nothing. */
static uint32_t room(void)
{
	const char *text = getenv("FDSTORE");
	unsigned long n = text ? strtoul(text, NULL, 10) : 0;

	return n > 0 && n < GM_FD_STORE_MAX ? (uint32_t)n : GM_FD_STORE_MAX;
}

int gm_fd_store_open(struct gm_fd_store *ret_store)
{
	const char *text = getenv("NOTIFY_SOCKET");
	struct gm_fd_store store = { .max = room() };
	_gm_close_ int fd = -1;
	int error;

	if (!text || text[0] == '\0')
		return -ENOENT;
	error = parse_address(text, &store);
	if (error)
		return error;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	error = connect_store(fd, &store);
	if (error)
		return error;
	store.socket = gm_take_fd(&fd);
	*ret_store = store;
	return 0;
}

void gm_fd_store_close(struct gm_fd_store *store)
{
	gm_fd_close(store->socket);
	*store = GM_FD_STORE_NULL;
}

/* ---- messages ---- */

static int64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* @fd: -1 for none. */
static int send_once(const struct gm_fd_store *store, char *message, size_t length, int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec text = { .iov_base = message, .iov_len = length };
	struct msghdr packet = { .msg_iov = &text, .msg_iovlen = 1 };

	if (fd >= 0) {
		packet.msg_control = control.bytes;
		packet.msg_controllen = sizeof(control.bytes);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	}
	return sendmsg(store->socket, &packet, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Until there is room for one more packet; the peer's queue is part of what POLLOUT means. */
static int wait_for_room(const struct gm_fd_store *store, int64_t end_us)
{
	struct pollfd waiting = { .fd = store->socket, .events = POLLOUT };
	int64_t left_ms = (end_us - now_us()) / 1000;

	if (left_ms <= 0)
		return -EAGAIN;
	if (poll(&waiting, 1, (int)left_ms) < 0 && errno != EINTR)
		return -errno;
	return 0;
}

/* The keeper's end was closed and has been made again under the same address. */
static bool is_cut_off(int error)
{
	return error == -ECONNREFUSED || error == -ENOTCONN || error == -ECONNRESET ||
	       error == -EPIPE;
}

static int tell_in_time(const struct gm_fd_store *store, char *message, size_t length, int fd,
			int64_t end_us)
{
	bool connected_again = false;

	for (;;) {
		int error = send_once(store, message, length, fd);

		if (is_cut_off(error) && !connected_again) {
			connected_again = true;
			error = connect_store(store->socket, store);
		} else if (error == -EAGAIN) {
			error = wait_for_room(store, end_us);
		} else if (error != -EINTR) {
			return error;
		}
		if (error && error != -EINTR)
			return error;
	}
}

static void pay_back(struct gm_fd_store *store, int64_t at_us)
{
	store->debt_us -= (at_us - store->since_us) / GM_FD_STORE_SHARE;
	if (store->debt_us < 0)
		store->debt_us = 0;
	store->since_us = at_us;
}

static int tell(struct gm_fd_store *store, char *message, size_t length, int fd)
{
	int64_t start_us = now_us();
	int64_t took_us;
	int error;

	pay_back(store, start_us);
	error = tell_in_time(store, message, length, fd,
			     start_us + GM_FD_STORE_PATIENCE_MS * INT64_C(1000) - store->debt_us);
	took_us = now_us() - start_us;
	if (error == -EAGAIN || took_us > GM_FD_STORE_SHORT_MS * INT64_C(1000)) {
		store->debt_us += took_us;
		store->since_us += took_us;
	}
	return error;
}

static int tell_about(struct gm_fd_store *store, const char *verb, const char *name,
		      const char *more, int fd)
{
	char message[MESSAGE_SIZE];
	int length = snprintf(message, sizeof(message), "%s\nFDNAME=%s%s", verb, name, more);

	if (store->socket < 0)
		return -ENOTCONN;
	if (length >= (int)sizeof(message))
		return -ENAMETOOLONG;
	return tell(store, message, (size_t)length, fd);
}

int gm_fd_store_push(struct gm_fd_store *store, const char *name, int fd)
{
	/* Without FDPOLL=0 a pidfd would leave the store when its process ends. */
	return fd < 0 ? -EBADF : tell_about(store, "FDSTORE=1", name, "\nFDPOLL=0", fd);
}

int gm_fd_store_remove(struct gm_fd_store *store, const char *name)
{
	return tell_about(store, "FDSTOREREMOVE=1", name, "", -1);
}
