/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection: made, lost, made again. What is said on it is for others.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>

#include "gm_cleanup.h"
#include "gm_num.h"
#include "gm_scm.h"
#include "gm_verdict.h"
#include "remote.h"

#define GM_PATIENCE_DEFAULT_MS 10000
#define GM_PAUSE_FIRST_US 1000
#define GM_PAUSE_MOST_US 100000

/*
 * A connection that held so long, or brought an answer, was a good one: the next outage has the
 * whole patience. Otherwise a request that kills each daemon would be repeated for ever.
 */
#define GM_LINK_SOLID_US 1000000

/* A program that closed its standard streams must not find us there. */
static int above_stdio(int fd)
{
	int copy;

	if (fd < 0)
		return -errno;
	if (fd > 2)
		return fd;
	copy = gm_fd_dup(fd);
	gm_fd_close(fd);
	return copy;
}

void gm_link_remind(const struct gm_link *link, uint64_t at_us)
{
	const struct itimerspec when = {
		.it_value = { .tv_sec = (time_t)(at_us / 1000000),
			      .tv_nsec = (long)(at_us % 1000000) * 1000 },
	};

	/* Cannot fail: the fd is a timer, and the time is well-formed. */
	(void)timerfd_settime(link->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* ---- the beginning and the end */

/* The program's name, as far as the protocol takes it. */
static void default_name(char *name, size_t size)
{
	size_t n = 0;

	for (const char *c = program_invocation_short_name; *c && n < size - 1; c++) {
		name[n] = '_';
		if (gm_client_name_is_valid(c, 1))
			name[n] = *c;
		n++;
	}
	if (n == 0)
		name[n++] = '_';
	name[n] = '\0';
}

static int take_names(struct gmem_client *client, const char *address, const char *name)
{
	struct gm_link *link = &client->remote->link;

	if (strlen(address) >= sizeof(link->address.sun_path))
		return gm_fail(client, GMEM_INVALID, 0,
			       "The address has %zu characters; a socket's path has at most %zu.",
			       strlen(address), sizeof(link->address.sun_path) - 1);
	link->address.sun_family = AF_UNIX;
	memcpy(link->address.sun_path, address, strlen(address));
	if (!name) {
		default_name(link->name, sizeof(link->name));
		return 0;
	}
	if (!gm_client_name_is_valid(name, strlen(name)))
		return gm_fail(client, GMEM_INVALID, GM_RULE_NAME,
			       "A program's name has 1 to %d characters of A-Z, a-z, 0-9 and "
			       ". _ : - / (name, asked %zu characters).",
			       GM_CLIENT_NAME_MAX, strlen(name));
	memcpy(link->name, name, strlen(name));
	return 0;
}

static int open_fds(struct gm_link *link)
{
	struct epoll_event event = { .events = EPOLLIN };
	int r;

	r = above_stdio(epoll_create1(EPOLL_CLOEXEC));
	if (r < 0)
		return r;
	link->epoll_fd = r;
	r = above_stdio(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
	if (r < 0)
		return r;
	link->timer_fd = r;
	r = epoll_ctl(link->epoll_fd, EPOLL_CTL_ADD, link->timer_fd, &event);
	return r < 0 ? -errno : 0;
}

int gm_link_init(struct gmem_client *client, const char *address,
		 const struct gmem_connect_spec *spec)
{
	struct gm_link *link = &client->remote->link;
	int r;

	link->fd = link->epoll_fd = link->timer_fd = -1;
	link->state = GM_LINK_DOWN;
	link->give_up_us = UINT64_MAX;
	link->proven = true;
	link->patience_ms = spec->reconnect_ms ? spec->reconnect_ms : GM_PATIENCE_DEFAULT_MS;
	r = take_names(client, address, spec->name);
	if (r < 0)
		return r;
	r = open_fds(link);
	if (r < 0)
		return gm_fail_errno(client, r, "a client");
	if (getrandom(link->key, sizeof(link->key), 0) != sizeof(link->key))
		return gm_fail_errno(client, errno, "a session key");
	/* The key is a secret: what can be watched must not tell of it. */
	link->jitter = gm_now_us();
	return 0;
}

bool gm_link_is_cut(const struct gm_link *link)
{
	struct pollfd other_end = { .fd = link->fd };

	return link->fd < 0 || (poll(&other_end, 1, 0) > 0 && other_end.revents & POLLHUP);
}

void gm_link_drop(struct gm_remote *remote)
{
	struct gm_link *link = &remote->link;

	if (link->fd >= 0) {
		/* Where a child of a fork has it too, closing takes it out of no epoll. */
		(void)epoll_ctl(link->epoll_fd, EPOLL_CTL_DEL, link->fd, NULL);
		(void)shutdown(link->fd, SHUT_RDWR);
		gm_fd_close(gm_take_fd(&link->fd));
	}
	gm_remote_unsend(remote);
}

void gm_link_done(struct gm_link *link)
{
	gm_fd_close(link->fd);
	gm_fd_close(link->timer_fd);
	gm_fd_close(link->epoll_fd);
	explicit_bzero(link->key, sizeof(link->key));
}

void gm_link_over(struct gm_remote *remote)
{
	remote->link.state = GM_LINK_OVER;
	gm_link_drop(remote);
	/* A time long past, and nobody reads it: readable for good. */
	gm_link_remind(&remote->link, 1);
}

int gm_link_connect(struct gm_link *link, int timeout_ms)
{
	const struct timeval limit = {
		.tv_sec = timeout_ms / 1000,
		.tv_usec = (suseconds_t)(timeout_ms % 1000) * 1000,
	};
	struct epoll_event event = { .events = EPOLLIN };
	int flags = SOCK_SEQPACKET | SOCK_CLOEXEC | (timeout_ms ? 0 : SOCK_NONBLOCK);
	_gm_close_ int fd = above_stdio(socket(AF_UNIX, flags, 0));
	int r;

	if (fd < 0)
		return fd;
	/* Bounds the wait for a full backlog (unix_stream_connect). */
	if (timeout_ms > 0 && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
		return -errno;
	do {
		r = connect(fd, (const struct sockaddr *)&link->address, sizeof(link->address));
	} while (r < 0 && errno == EINTR);
	if (r < 0 || epoll_ctl(link->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	link->watched = EPOLLIN;
	link->fd = gm_take_fd(&fd);
	return 0;
}

/* ---- sending */

static void watch(struct gm_link *link, uint32_t events)
{
	struct epoll_event event = { .events = events };

	if (events == link->watched)
		return;
	/* Cannot fail: it is in there, and changing it takes no memory. */
	(void)epoll_ctl(link->epoll_fd, EPOLL_CTL_MOD, link->fd, &event);
	link->watched = events;
}

static int send_one(const struct gm_link *link, const struct gm_pending *pending)
{
	const struct gm_frame frame = {
		.version = GM_PROTOCOL_VERSION,
		.type = pending->type,
		.serial = pending->serial,
		.body_length = pending->body_length,
	};
	uint8_t header[GM_FRAME_HEADER_SIZE];

	gm_frame_encode(&frame, header);
	return gm_scm_send(link->fd, header, sizeof(header), pending->body, frame.body_length, NULL,
			   0, MSG_DONTWAIT);
}

bool gm_link_flush(struct gm_remote *remote)
{
	struct gm_link *link = &remote->link;
	bool has_sent = false;
	int r = 0;

	if (link->fd < 0)
		return false;
	for (struct gm_pending *pending = remote->pending; pending && remote->n_unsent && r == 0;
	     pending = pending->next) {
		if (pending->sent ||
		    (link->state != GM_LINK_UP && pending->kind != GM_PENDING_LINK))
			continue;
		r = send_one(link, pending);
		if (r < 0)
			break;
		pending->sent = has_sent = true;
		remote->n_unsent--;
	}
	/*
	 * What has failed otherwise shows as the end of the connection when it is read, after all
	 * that the daemon said before it went.
	 */
	if (r < 0 && r != -EAGAIN && r != -EINTR)
		(void)shutdown(link->fd, SHUT_RDWR);
	watch(link, EPOLLIN | (r == -EAGAIN || r == -EINTR ? EPOLLOUT : 0));
	return has_sent;
}

/* ---- outages */

uint64_t gm_link_clock_ms(const struct gm_link *link)
{
	uint64_t now = gm_link_is_away(link) ? link->down_us : gm_now_us();

	return (now - link->away_us) / 1000;
}

/* Half of the pause, and a random part of the other half (Knuth's MMIX generator). */
static uint64_t with_jitter(struct gm_link *link, uint64_t pause_us)
{
	link->jitter = link->jitter * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return pause_us / 2 + (link->jitter >> 33) % (pause_us / 2 + 1);
}

static void schedule(struct gm_link *link)
{
	uint64_t pause_us = link->pause_us;

	link->pause_us = pause_us ? gm_min_u64(pause_us * 2, GM_PAUSE_MOST_US) : GM_PAUSE_FIRST_US;
	link->next_us = gm_min_u64(gm_now_us() + with_jitter(link, pause_us), link->give_up_us);
	link->state = GM_LINK_DOWN;
	gm_link_remind(link, link->next_us);
}

static void begin_outage(struct gm_link *link)
{
	link->down_us = gm_now_us();
	if (!link->proven && link->down_us - link->up_us < GM_LINK_SOLID_US)
		return;
	link->give_up_us = link->down_us + (uint64_t)link->patience_ms * 1000;
	link->pause_us = 0;
}

int gm_link_lost(struct gmem_client *client, const struct gm_failure *why)
{
	struct gm_remote *remote = client->remote;
	struct gm_link *link = &remote->link;

	if (!link->known || link->patience_ms < 0)
		return gm_remote_end_with(client, why);
	link->why = *why;
	if (link->state == GM_LINK_UP)
		begin_outage(link);
	gm_link_drop(remote);
	schedule(link);
	gm_remote_end_cancelled(client);
	return 0;
}

int gm_link_lost_for(struct gmem_client *client, const char *why)
{
	struct gm_failure failure;

	gm_failure_set(&failure, GMEM_DISCONNECTED, "%s", why);
	return gm_link_lost(client, &failure);
}

int gm_link_check_patience(struct gmem_client *client)
{
	const struct gm_link *link = &client->remote->link;

	if (!gm_link_is_away(link) || gm_now_us() < link->give_up_us)
		return -GMEM_AGAIN;
	return gm_remote_end(client, GMEM_DISCONNECTED,
			     "The daemon did not come back within %d ms: %s", link->patience_ms,
			     link->why.text);
}

int gm_link_retry(struct gmem_client *client)
{
	struct gm_link *link = &client->remote->link;
	struct gm_failure why;
	int r;

	r = gm_link_check_patience(client);
	if (r != -GMEM_AGAIN || gm_now_us() < link->next_us)
		return r;
	r = gm_link_connect(link, 0);
	if (r < 0) {
		gm_failure_set(&why, GMEM_DISCONNECTED, "No connection: %s.",
			       r == -EAGAIN ? "it does not accept" : strerrordesc_np(-r));
		return gm_link_lost(client, &why);
	}
	/* From here on only the patience has a time. */
	gm_link_remind(link, link->give_up_us);
	if (gm_return_begin(client) < 0)
		return gm_link_lost_for(client, client->failure.text);
	return 0;
}

void gm_link_up(struct gm_remote *remote)
{
	struct gm_link *link = &remote->link;

	link->up_us = gm_now_us();
	if (link->known)
		link->away_us += link->up_us - link->down_us;
	link->known = true;
	link->state = GM_LINK_UP;
	link->connections++;
	link->proven = remote->n_pending == 0;
	gm_link_remind(link, 0);
	(void)gm_link_flush(remote);
}
